//! `tidings`: one program. `dev` to try, `serve` to run, and the operator's commands, which need no server.
//!
//! Exit codes: 0 it was done, 1 it could not be done (or `doctor` found something wrong, or a table has no row that an import can
//! take over), 2 the command or the configuration is wrong. `serve` also ends with 74 if the disk failed, and with 75 if other nodes took it for dead.

mod account;
mod backup;
mod carrier;
mod code;
mod config;
mod consent;
mod contact;
mod copy;
mod dev;
mod directory;
mod doctor;
mod duration;
mod explain;
mod health;
mod home;
mod import;
mod inbound;
mod log;
mod message;
mod node;
mod operator;
mod output;
mod review;
mod segment;
mod serve;
mod signal;
mod simulate;
mod suppression;
mod template;
mod token;
mod viewer;
mod webhook;

use clap::{CommandFactory as _, Parser, Subcommand};
use config::connection::Secrets;
use config::section::{LogFormat, LogLevel};
use operator::{Misconfigured, Place};
use output::Output;
use std::path::PathBuf;
use std::process::ExitCode;

/// A message is some hundred small allocations, many of them freed on another thread than the one that made them. With the
/// system's allocator an eighth of the processor time goes there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The send-SMS API that you run yourself.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    place: Place,
    /// Show results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Log more; twice for each step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything on this machine, with a simulated carrier
    Dev(dev::How),
    /// Run, with the carriers of the configuration
    Serve(serve::How),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Bring the store up to date
    Migrate,
    /// Make, list, rotate and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// List and make accounts
    #[command(subcommand)]
    Account(account::Command),
    /// See what became of messages
    #[command(subcommand)]
    Message(message::Command),
    /// See what people sent
    #[command(subcommand)]
    Inbound(inbound::Command),
    /// See, pause and resume connections to carriers
    #[command(subcommand)]
    Carrier(carrier::Command),
    /// See and change who is told what becomes of messages
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// See failures that need a decision, and decide
    #[command(subcommand)]
    Review(review::Command),
    /// See one-time codes, and the prefixes that get none
    #[command(subcommand)]
    Code(code::Command),
    /// Make templates, and see what they say and cost
    #[command(subcommand)]
    Template(template::Command),
    /// See and change who must not be sent to
    #[command(subcommand)]
    Suppression(suppression::Command),
    /// See what people agreed to, and prove it
    #[command(subcommand)]
    Consent(consent::Command),
    /// See and change who people are, and take tables of them in and out
    #[command(subcommand)]
    Contact(contact::Command),
    /// Keep queries over contacts, and see whom they find
    #[command(subcommand)]
    Segment(segment::Command),
    /// Say in one sentence why somebody would get a message now, or would not
    Explain(explain::How),
    /// See, set or release the hold on all sending
    #[command(subcommand)]
    Hold(backup::Hold),
    /// See who changed what
    Audit(account::Trail),
    /// Look at everything and say what is wrong
    Doctor,
    /// See which processes serve the database, and which of them has which connection
    Nodes,
    /// Copy the store while everything runs
    Backup {
        /// The new file, or a directory to put it into
        to: PathBuf,
    },
    /// Make a data directory (--data) out of a backup, held until it is released
    Restore {
        /// The backup
        from: PathBuf,
        /// The journal of opt-outs of the old one, a directory or a file: what came after the backup is replayed
        #[arg(long, value_name = "PATH")]
        journal: Option<PathBuf>,
    },
    /// Move everything from a data directory into a PostgreSQL database, or back
    Copy(copy::How),
    /// Pretend to be a carrier
    #[command(subcommand)]
    Simulate(simulate::Command),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with it
    Check,
    /// Print it as it counts, secrets masked
    Show,
    /// Print every key with its default
    Example,
}

fn main() -> ExitCode {
    const USAGE: u8 = 2;
    let cli = Cli::parse();
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A closed pipe (`tidings … | head`) is nobody's mistake.
            let closed = error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
            if closed {
                return ExitCode::SUCCESS;
            }
            output::remark(&format!("{error:#}"));
            if error.is::<Misconfigured>() {
                ExitCode::from(USAGE)
            } else if let Some(broken) = error.downcast_ref::<serve::Broken>() {
                ExitCode::from(broken.exit_code())
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<bool> {
    let output = Output::new(cli.json);
    let Cli { place, verbose, command, .. } = cli;
    let place = place.or_environment();
    match command {
        Command::Config(command) => return configuration(command, &place, output).map(|()| true),
        Command::Completions { shell } => {
            // Into memory first: the generator cannot bear that a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidings", &mut script);
            return output::write(&script).map(|()| true);
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(act(command, &place, verbose, output));
    // What still runs holds nothing that is not committed.
    runtime.shutdown_background();
    done
}

async fn act(command: Command, place: &Place, verbose: u8, output: Output) -> anyhow::Result<bool> {
    match command {
        Command::Dev(how) => dev::run(how, place, verbose, output).await?,
        Command::Serve(how) => serve::run(how, place, verbose).await?,
        Command::Doctor => return doctor::run(place, output).await,
        command => {
            log::start(LogFormat::Human, LogLevel::Warn.louder(verbose));
            match command {
                Command::Migrate => backup::migrate(place, output).await?,
                Command::Token(command) => token::run(command, place, output).await?,
                Command::Account(command) => account::run(command, place, output).await?,
                Command::Message(command) => message::run(command, place, output).await?,
                Command::Inbound(command) => inbound::run(command, place, output).await?,
                Command::Carrier(command) => carrier::run(command, place, output).await?,
                Command::Webhook(command) => webhook::run(command, place, output).await?,
                Command::Review(command) => review::run(command, place, output).await?,
                Command::Code(command) => code::run(command, place, output).await?,
                Command::Template(command) => template::run(command, place, output).await?,
                Command::Suppression(command) => suppression::run(command, place, output).await?,
                Command::Consent(command) => consent::run(command, place, output).await?,
                Command::Contact(command) => contact::run(command, place, output).await?,
                Command::Segment(command) => segment::run(command, place, output).await?,
                Command::Explain(how) => explain::run(how, place, output).await?,
                Command::Hold(command) => backup::hold(command, place, output).await?,
                Command::Audit(trail) => account::audit(trail, place, output).await?,
                Command::Backup { to } => backup::backup(to, place, output).await?,
                Command::Restore { from, journal } => {
                    backup::restore(&from, journal.as_deref(), place, output).await?;
                }
                Command::Copy(how) => return copy::run(how, output).await,
                Command::Nodes => node::run(place, output).await?,
                Command::Simulate(command) => simulate::run(command, output).await?,
                Command::Dev(_)
                | Command::Serve(_)
                | Command::Doctor
                | Command::Config(_)
                | Command::Completions { .. } => unreachable!("these were done above"),
            }
        }
    }
    Ok(true)
}

fn configuration(command: ConfigCommand, place: &Place, output: Output) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Example => output.show(&config::example(), config::example),
        ConfigCommand::Show => {
            let shown = place.configuration(Secrets::Left)?.show();
            let value: toml::Table = toml::from_str(&shown)?;
            output.show(&value, || shown)
        }
        ConfigCommand::Check => {
            let config = match place.configuration(Secrets::Fetched) {
                Ok(config) => config,
                Err(why) if output.json() => {
                    let problems = why.downcast_ref::<Misconfigured>().map_or(&[][..], |why| &why.0);
                    let problems: Vec<_> = problems
                        .iter()
                        .map(|problem| serde_json::json!({ "place": problem.place, "sentence": problem.sentence }))
                        .collect();
                    output.show(&serde_json::json!({ "right": false, "problems": problems }), String::new)?;
                    return Err(why);
                }
                Err(why) => return Err(why),
            };
            serve::codes(&config)?;
            let warnings = config.warnings();
            let file =
                place.file().map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
            output.show(&serde_json::json!({ "right": true, "problems": [], "warnings": warnings }), || {
                let mut text = format!("{file}: right.");
                for warning in &warnings {
                    text.push_str(&format!("\nlook: {warning}"));
                }
                text
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn describe(command: &mut clap::Command, path: &str, text: &mut String) {
        let path = if path.is_empty() {
            command.get_name().to_owned()
        } else {
            format!("{path} {}", command.get_name())
        };
        let help = command.clone().bin_name(&path).term_width(100).render_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let _ = write!(text, "\n## `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            describe(inner, &path, text);
        }
    }

    #[test]
    fn the_reference_of_the_command_line_is_current() {
        let mut text = String::from(
            "# The command line\n\nGenerated from the program: do not edit by hand.\n\n\
             Commands need no running server: they open the store of the data directory. With `--json` each prints \
             one JSON value.\nExit codes: 0 it was done, 1 it could not be done (or `doctor` found something wrong, or a \
             table has no row that an import can take over), \
             2 the command or the configuration is wrong, 74 the disk failed while serving, 75 this node was taken for \
             dead by the others while serving: start it again.\n",
        );
        let mut command = Cli::command();
        command.build();
        describe(&mut command, "", &mut text);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference/cli.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "run with UPDATE=1");
    }

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
