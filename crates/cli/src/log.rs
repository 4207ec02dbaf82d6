//! Where log lines go: standard error, for people on a terminal, as JSON otherwise. What is logged elsewhere never
//! holds message texts, full phone numbers or secrets.

use crate::config::section::{LogFormat, LogLevel};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Begins to log. The second call in a process does nothing.
pub fn start(format: LogFormat, level: LogLevel) {
    // Libraries are quieter than we are: their debug lines may hold what ours never do.
    let filter = EnvFilter::new(format!(
        "warn,tidings={level},tidings_cli={level},tidings_api={level},tidings_engine={level},tidings_store={level},\
         tidings_carriers={level},tidings_smpp={level},tidings_egress={level}",
        level = level.as_filter()
    ));
    let terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    // Standard error may be a closed pipe: a line that cannot be written is lost, and nothing panics over it.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .log_internal_errors(false);
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    let _ = if human {
        lines.with_ansi(colours).with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
}
