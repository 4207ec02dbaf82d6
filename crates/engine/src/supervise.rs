//! Keeps a room's loop running: one that panics is started again, and says so. A loop that died in silence would be a
//! connection that sends nothing while everything looks well.
//!
//! What a single message does to its handler is caught closer to it; this is the net below.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How long a loop rests before it is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// A loop that borrows its state.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs a loop over its state until it ends by itself.
pub(crate) async fn supervise<S: Send>(
    name: &'static str,
    mut state: S,
    run: impl for<'a> Fn(&'a mut S) -> Run<'a>,
) {
    loop {
        let mut running = run(&mut state);
        let ended =
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
                Ok(Poll::Ready(())) => Poll::Ready(true),
                Ok(Poll::Pending) => Poll::Pending,
                Err(_) => Poll::Ready(false),
            });
        if ended.await {
            return;
        }
        drop(running);
        tracing::error!(name, "a loop panicked; it is started again");
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-14
    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_goes_on_with_what_it_had() {
        let mut seen = Vec::new();
        let state = (vec![3, 2, 1], &mut seen);
        supervise("a test", state, |(left, seen)| {
            Box::pin(async {
                while let Some(next) = left.pop() {
                    tokio::task::yield_now().await;
                    assert_ne!(next, 2, "as planned");
                    seen.push(next);
                }
            })
        })
        .await;
        assert_eq!(seen, [1, 3]);
    }
}
