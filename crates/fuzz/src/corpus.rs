//! The inputs that are kept: hand-made ones, and what hunts have found.

use crate::Target;
use std::io;
use std::path::PathBuf;

/// Octets of all corpora together, at most: they are part of the repository.
pub const OCTETS_MAX: u64 = 500 * 1024;

/// The folder of a target's corpus.
pub fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The inputs of a target, in the order of their names.
///
/// # Errors
/// A file cannot be read.
pub fn load(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let Ok(entries) = std::fs::read_dir(folder(target)) else { return Ok(Vec::new()) };
    let mut inputs = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, std::fs::read(path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Keeps an input under a name that begins so; gives the whole name.
///
/// # Errors
/// It cannot be written.
pub fn keep(target: &Target, begins: &str, input: &[u8]) -> io::Result<PathBuf> {
    let folder = folder(target);
    std::fs::create_dir_all(&folder)?;
    let sum = input.iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let path = folder.join(format!("{begins}-{sum:016x}"));
    std::fs::write(&path, input)?;
    Ok(path)
}
