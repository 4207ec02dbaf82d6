//! How many segments a link may hold unanswered. The carrier sets the size, the engine takes permits,
//! and an answered submission gives its permit back by being dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

/// A window of unanswered segments.
#[derive(Debug)]
pub struct Window {
    size: AtomicUsize,
    taken: AtomicUsize,
    changed: Notify,
    epochs: Mutex<Epochs>,
}

/// The permits that are out, counted by the time between two barriers in which they were taken. The last one is now.
#[derive(Debug)]
struct Epochs {
    /// The number of the first one that is kept: all before it are over.
    first: u64,
    kept: VecDeque<Epoch>,
}

#[derive(Debug, Default)]
struct Epoch {
    permits: usize,
    /// Who waits until this and every earlier epoch is over.
    waiting: Option<oneshot::Sender<()>>,
}

impl Epochs {
    fn now(&self) -> u64 {
        self.first + self.kept.len() as u64 - 1
    }

    fn of(&mut self, number: u64) -> &mut Epoch {
        let place = usize::try_from(number - self.first).expect("few epochs are kept");
        self.kept.get_mut(place).expect("an epoch is kept while a permit of it is out")
    }

    /// Ends what is over, oldest first, and tells who waited for it.
    fn end(&mut self) {
        while self.kept.len() > 1 && self.kept.front().is_some_and(|epoch| epoch.permits == 0) {
            if let Some(waiting) = self.kept.pop_front().and_then(|epoch| epoch.waiting) {
                // Nobody may be waiting any more.
                let _ = waiting.send(());
            }
            self.first += 1;
        }
    }
}

impl Window {
    /// An empty window: nothing may be submitted until the carrier is up.
    pub fn new() -> Arc<Self> {
        let epochs = Epochs { first: 0, kept: VecDeque::from([Epoch::default()]) };
        Arc::new(Self {
            size: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            changed: Notify::new(),
            epochs: Mutex::new(epochs),
        })
    }

    fn epochs(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().expect("nothing panics while it holds this")
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
        taken.ok().map(|_| self.permit(segments))
    }

    /// Takes as many places as are free, up to `segments`; `None` if there is none.
    pub fn take_up_to(self: &Arc<Self>, segments: usize) -> Option<Permit> {
        let mut got = 0;
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            got = self.size().saturating_sub(taken).min(segments);
            (got > 0).then_some(taken + got)
        });
        taken.ok().map(|_| self.permit(got))
    }

    /// Takes places that may not be there: for the rest of a message of which a part already has places.
    pub fn take_anyway(self: &Arc<Self>, segments: usize) -> Permit {
        self.taken.fetch_add(segments, Ordering::SeqCst);
        self.permit(segments)
    }

    fn permit(self: &Arc<Self>, segments: usize) -> Permit {
        let mut epochs = self.epochs();
        let epoch = epochs.now();
        epochs.of(epoch).permits += 1;
        Permit { window: Arc::clone(self), segments, epoch }
    }

    /// Waits until every permit that is out now has come back, also those that an earlier barrier waits for: then
    /// whatever was on its way to the carrier when this was called has been answered or given up.
    pub fn barrier(&self) -> impl Future<Output = ()> + Send + use<> {
        let (over, wait) = oneshot::channel();
        {
            let mut epochs = self.epochs();
            let now = epochs.now();
            epochs.of(now).waiting = Some(over);
            epochs.kept.push_back(Epoch::default());
            epochs.end();
        }
        async move {
            // The sender cannot go without sending.
            let _ = wait.await;
        }
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
    epoch: u64,
}

impl Permit {
    /// Splits off a permit for one segment; `None` when this one holds no more.
    pub fn split_one(&mut self) -> Option<Self> {
        self.split(1)
    }

    /// Splits off a permit for so many segments; `None` when this one holds fewer.
    pub fn split(&mut self, segments: usize) -> Option<Self> {
        self.segments = self.segments.checked_sub(segments)?;
        self.window.epochs().of(self.epoch).permits += 1;
        Some(Self { window: Arc::clone(&self.window), segments, epoch: self.epoch })
    }

    /// How many places it holds.
    pub const fn segments(&self) -> usize {
        self.segments
    }

    /// Gives these back together, all of one window: whoever waits for room is woken once, and finds all of it.
    pub fn give_back(permits: Vec<Self>) {
        let mut permits = permits.into_iter();
        let Some(mut all) = permits.next() else { return };
        for mut permit in permits {
            debug_assert!(Arc::ptr_eq(&all.window, &permit.window), "they are of one window");
            all.segments += std::mem::take(&mut permit.segments);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.segments > 0 {
            self.window.taken.fetch_sub(self.segments, Ordering::SeqCst);
            self.window.changed.notify_waiters();
        }
        let mut epochs = self.window.epochs();
        epochs.of(self.epoch).permits -= 1;
        epochs.end();
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

    #[tokio::test]
    async fn a_barrier_waits_for_the_permits_of_its_time_and_no_others() {
        let window = Window::new();
        window.resize(10);
        window.barrier().await;
        let mut before = window.take(2).expect("room");
        let part = before.split_one().expect("one of two");
        let mut barrier = Box::pin(window.barrier());
        let after = window.take(1).expect("room");
        drop(before);
        assert!(futures_poll(&mut barrier).await.is_none());
        drop(part);
        barrier.await;
        drop(after);
        assert_eq!(window.free(), 10);
    }

    #[tokio::test]
    async fn places_that_come_back_together_are_all_there_for_whoever_is_woken() {
        let window = Window::new();
        window.resize(5);
        let first = window.take(2).expect("room");
        let mut barrier = Box::pin(window.barrier());
        let second = window.take(3).expect("room");
        let mut room = Box::pin(window.changed());
        assert!(futures_poll(&mut room).await.is_none());
        Permit::give_back(vec![first, second]);
        assert_eq!(window.free(), 5);
        assert!(futures_poll(&mut room).await.is_some());
        assert!(futures_poll(&mut barrier).await.is_some());
        Permit::give_back(Vec::new());
    }

    #[tokio::test]
    async fn a_barrier_waits_for_what_an_earlier_barrier_waits_for_too() {
        let window = Window::new();
        window.resize(10);
        let oldest = window.take(1).expect("room");
        let mut first = Box::pin(window.barrier());
        let middle = window.take(1).expect("room");
        let mut second = Box::pin(window.barrier());
        drop(middle);
        assert!(futures_poll(&mut second).await.is_none());
        assert!(futures_poll(&mut first).await.is_none());
        drop(oldest);
        first.await;
        second.await;
        window.barrier().await;
    }

    /// One look at a future: whether it is ready now.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
