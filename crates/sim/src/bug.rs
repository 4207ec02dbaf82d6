//! Bugs that are put in on purpose, to see whether the simulation finds them: each is a patch in `bugs`. A copy of the
//! sources is made beside them, a patch applied, the simulation built from it and run until it breaks a promise.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The patches, by name: `(name, file)`.
pub fn patches() -> Vec<(String, PathBuf)> {
    let folder = root().join("crates/sim/bugs");
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "patch"))
        .map(|path| {
            let name = path.file_stem().expect("it has an ending").to_string_lossy().into_owned();
            (name, path)
        })
        .collect();
    found.sort();
    found
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies in crates/sim").to_owned()
}

/// Looks for each bug in these seeds, and says which were found.
pub fn hunt(names: &[String], seeds: Range<u64>, workers: usize) -> ExitCode {
    let wanted: Vec<_> = patches()
        .into_iter()
        .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted.as_str())))
        .collect();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let copy = target.join("bugs");
    if let Err(error) = copy_sources(&copy) {
        eprintln!("the sources cannot be copied to {}: {error}", copy.display());
        return ExitCode::from(2);
    }
    let mut found = 0;
    for (name, patch) in &wanted {
        let sentence = match look_for(&copy, &target, patch, &seeds, workers) {
            Ok(Some(sentence)) => {
                found += 1;
                format!("found: {sentence}")
            }
            Ok(None) => format!("NOT FOUND in the seeds {}..{}", seeds.start, seeds.end),
            Err(error) => format!("NOT TRIED: {error}"),
        };
        println!("{name}: {sentence}");
    }
    println!("{found} of {} bugs are found", wanted.len());
    if found == wanted.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What git knows of, as it is now.
fn copy_sources(to: &Path) -> std::io::Result<()> {
    let root = root();
    let listed = Command::new("git").arg("ls-files").current_dir(&root).output()?;
    for file in String::from_utf8_lossy(&listed.stdout).lines() {
        let (from, to) = (root.join(file), to.join(file));
        let Ok(text) = std::fs::read(&from) else { continue };
        // What is the same keeps its date, so that little is built again.
        if std::fs::read(&to).is_ok_and(|known| known == text) {
            continue;
        }
        std::fs::create_dir_all(to.parent().expect("a file has a folder"))?;
        std::fs::write(&to, text)?;
    }
    Ok(())
}

/// Applies a patch, builds, runs until a promise is broken, and takes the patch back. `None` if none was broken.
fn look_for(
    copy: &Path,
    target: &Path,
    patch: &Path,
    seeds: &Range<u64>,
    workers: usize,
) -> Result<Option<String>, String> {
    apply(copy, patch, false)?;
    let result = build_and_run(copy, target, seeds, workers);
    apply(copy, patch, true)?;
    result
}

fn apply(copy: &Path, patch: &Path, back: bool) -> Result<(), String> {
    let mut command = Command::new("git");
    // The copy lies inside a repository that does not know it: without this, git would look there.
    command.env("GIT_DIR", copy.join("no-repository")).arg("apply").current_dir(copy);
    if back {
        command.arg("--reverse");
    }
    let output = command.arg(patch).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn build_and_run(
    copy: &Path,
    target: &Path,
    seeds: &Range<u64>,
    workers: usize,
) -> Result<Option<String>, String> {
    let target = target.join("bugs-built");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "tidings-sim"])
        .env("CARGO_TARGET_DIR", &target)
        // What counts here is the time to build.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
        .current_dir(copy)
        .output()
        .map_err(|error| error.to_string())?;
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    let output = Command::new(target.join("release/tidings-sim"))
        .args(["--seeds", &format!("{}..{}", seeds.start, seeds.end), "--until-first"])
        .args(["--workers", &workers.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The first line says how many seeds it took, the second which promise was broken.
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let summary = lines.find(|line| line.contains(" seeds, ")).unwrap_or_default();
    let took = summary.split(',').next().unwrap_or_default();
    let broken = text.lines().rfind(|line| line.starts_with("seed ")).unwrap_or_default();
    Ok((!output.status.success()).then(|| format!("{took}: {broken}")))
}
