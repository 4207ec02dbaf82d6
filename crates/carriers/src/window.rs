//! How many segments a link may hold unanswered. The carrier sets the size, the engine takes permits,
//! and an answered submission gives its permit back by being dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A window of unanswered segments.
#[derive(Debug, Default)]
pub struct Window {
    size: AtomicUsize,
    taken: AtomicUsize,
    changed: Notify,
}

impl Window {
    /// An empty window: nothing may be submitted until the carrier is up.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sets the size: the sum over the bound sessions, 0 while there are none.
    pub fn resize(&self, size: usize) {
        self.size.store(size, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// The size.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::SeqCst)
    }

    /// Segments that may be submitted now.
    pub fn free(&self) -> usize {
        self.size().saturating_sub(self.taken())
    }

    /// Segments that are submitted and not answered.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Takes places for all of `segments`, or none. A message larger than the whole window may go when nothing else
    /// is out, since otherwise it never could.
    pub fn take(self: &Arc<Self>, segments: usize) -> Option<Permit> {
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            let size = self.size();
            let fits = taken + segments <= size || (taken == 0 && size > 0);
            fits.then_some(taken + segments)
        });
        taken.ok().map(|_| Permit { window: Arc::clone(self), segments })
    }

    /// Waits until something changed: a permit came back, or the size is another.
    /// Create the future before looking at [`Window::free`], or a change may be missed.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

/// Places in a window; dropped, they are free again.
#[derive(Debug)]
pub struct Permit {
    window: Arc<Window>,
    segments: usize,
}

impl Permit {
    /// Splits off a permit for one segment; `None` when this one holds no more.
    pub fn split_one(&mut self) -> Option<Self> {
        self.segments = self.segments.checked_sub(1)?;
        Some(Self { window: Arc::clone(&self.window), segments: 1 })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.segments > 0 {
            self.window.taken.fetch_sub(self.segments, Ordering::SeqCst);
            self.window.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_permits_than_places() {
        let window = Window::new();
        assert!(window.take(1).is_none());
        window.resize(3);
        let mut two = window.take(2).expect("room for two");
        assert!(window.take(2).is_none());
        let one = two.split_one().expect("one of two");
        drop(two);
        assert_eq!(window.free(), 2);
        drop(one);
        assert_eq!(window.free(), 3);
        let large = window.take(9).expect("alone, a large one goes");
        assert_eq!(window.free(), 0);
        assert!(window.take(1).is_none());
        drop(large);
        window.resize(0);
        assert!(window.take(1).is_none());
    }
}
