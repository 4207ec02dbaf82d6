//! The octets of a connection, with an end to every wait: a head must come within its time once it has begun, and an
//! answer must be taken. What ambiguous requests do here is in `framing`.

use super::framing::Framing;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// From the first octet of a request to the end of its head.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer that waits for it.
pub(super) const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream that is patient, but not for ever.
pub(super) struct Patient<S> {
    stream: S,
    framing: Framing,
    head: Clock,
    take: Clock,
}

impl<S> Patient<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            framing: Framing::new(),
            head: Clock::new(HEAD_TIMEOUT),
            take: Clock::new(TAKE_TIMEOUT),
        }
    }
}

/// A time that runs while something is waited for.
struct Clock {
    limit: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    const fn new(limit: Duration) -> Self {
        Self { limit, running: None }
    }

    fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it if it does not run; an error when its time is over.
    fn check(&mut self, context: &mut Context<'_>, what: &'static str) -> io::Result<()> {
        let limit = self.limit;
        match self.running.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::Error::new(ErrorKind::TimedOut, what)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.framing.read(&mut buffer.filled_mut()[before..]);
        if !self.framing.in_head() {
            self.head.stop();
        } else if polled.is_pending() {
            self.head.check(context, "the head of a request took too long")?;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn taken<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(_) => self.take.stop(),
            Poll::Pending => self.take.check(context, "the client did not take its answer")?,
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, octets);
        self.taken(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.taken(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
