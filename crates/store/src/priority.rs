//! Which threads the system lets run first.

/// How much before others: the scale goes to -20, and others are at 0.
#[cfg(target_os = "linux")]
const NICENESS: i32 = -10;

/// Lets this thread run before others where many want to, if the process may say so (`CAP_SYS_NICE`, or a limit on `nice`): the writer
/// has every caller wait for it, and whoever takes its processor while its transaction is open takes it from all of them.
pub(crate) fn raise() {
    // Elsewhere this is a matter of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the writer runs when its turn comes, like every other thread");
    }
}
