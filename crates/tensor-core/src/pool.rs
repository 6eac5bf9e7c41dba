//! A few threads that take work from one list: fork and join in less than a microsecond.
//!
//! Between two jobs a thread spins for a while, because in training the next job is near, and parks
//! when none comes. One that comes late, because something else has its core, finds the door closed and
//! is not waited for. Which thread does what is left to chance; so no result may depend on it, and none
//! does: a job writes what no other job reads or writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Turns of an empty loop before a thread parks: a fraction of a millisecond, but in an interpreter.
const SPINS: usize = if cfg!(miri) { 1 << 4 } else { 1 << 14 };

/// Work for any number of threads, as often as one likes: it is done when nothing is left of it. Borrowed
/// from the caller of [`Pool::each`] until all have left it.
type Work<'a> = &'a (dyn Fn() + Sync);

/// Threads that wait for work. Dropped, they end.
#[derive(Debug, Default)]
pub struct Pool {
    /// `None` where the caller is the only thread.
    shared: Option<Arc<Shared>>,
    helpers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The work in hand: a pointer to a [`Work`].
    work: AtomicPtr<()>,
    door: Door,
    /// Whether a helper panicked.
    panicked: AtomicBool,
    end: AtomicBool,
}

/// Lets helpers in to a work while it is open, and counts those that are in.
///
/// One number holds all of it: helpers inside in its lowest bits, and in units of [`OPEN`] how often it
/// was opened or closed, so that it is open while they are odd. A helper that goes in has counted itself
/// by the same operation that found it open: nobody goes in behind a work that is done.
#[derive(Debug, Default)]
struct Door(AtomicUsize);

/// More than there are helpers.
const OPEN: usize = 1 << 15;

impl Door {
    /// Opens it to the next work. What was written before is seen by who goes in.
    ///
    /// It has to be closed, and nobody inside.
    fn open(&self) {
        self.0.fetch_add(OPEN, Ordering::Release);
    }

    /// Lets nobody in any more.
    fn close(&self) {
        self.0.fetch_add(OPEN, Ordering::Relaxed);
    }

    /// Whether all have left. Then what they wrote is seen.
    fn is_left(&self) -> bool {
        self.0.load(Ordering::Acquire).is_multiple_of(OPEN)
    }

    /// How often it was opened or closed: another number for each work.
    fn seen(&self) -> usize {
        self.0.load(Ordering::Acquire) / OPEN
    }

    /// Whether the caller is inside now. It has to [leave](Self::leave).
    fn enter(&self) -> bool {
        let one_more = |door: usize| (door / OPEN % 2 == 1).then_some(door + 1);
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok()
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller's included. One thread means no other.
    pub fn new(threads: usize) -> Self {
        if threads <= 1 {
            return Self::default();
        }
        let shared = Arc::new(Shared::default());
        let helper = |_| {
            let shared = shared.clone();
            thread::spawn(move || shared.help())
        };
        Self { helpers: (1..threads).map(helper).collect(), shared: Some(shared) }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        1 + self.helpers.len()
    }

    /// Does `job` with every item, on whichever thread is free, and returns when all is done.
    /// Allocates nothing.
    ///
    /// # Panics
    /// If a job does.
    pub fn each<I: Send>(&mut self, items: impl Iterator<Item = I> + Send, job: impl Fn(I) + Sync) {
        let Some(shared) = &self.shared else { return items.for_each(job) };
        let items = Mutex::new(items);
        let next = || items.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
        self.run(shared, &|| {
            while let Some(item) = next() {
                job(item);
            }
        });
    }

    /// Runs `work` here, and on every helper that comes before this is done.
    fn run(&self, shared: &Shared, work: Work<'_>) {
        shared.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        shared.door.open();
        for helper in &self.helpers {
            helper.thread().unpark();
        }
        let own = catch_unwind(AssertUnwindSafe(work));
        shared.door.close();
        // Nothing may leave this function while a helper still holds `work`.
        wait_until(|| shared.door.is_left(), thread::yield_now);
        let helper_panicked = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(!helper_panicked, "a thread of the pool panicked");
    }
}

impl Shared {
    fn ends(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    /// What a helper does all its life.
    fn help(&self) {
        let mut seen = 0;
        loop {
            wait_until(|| self.ends() || self.door.seen() != seen, thread::park);
            if self.ends() {
                return;
            }
            seen = self.door.seen();
            if !self.door.enter() {
                continue;
            }
            let work = self.work.load(Ordering::Relaxed).cast::<Work<'_>>();
            #[expect(
                unsafe_code,
                reason = "threads that outlive a borrow cannot be given it safely"
            )]
            // SAFETY: `run` stored a pointer to a `Work` before it opened the door, and keeps that alive
            // until the door is closed and all have left, which this thread has not.
            let work = unsafe { *work };
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.door.leave();
        }
    }
}

/// Spins until `ready`, with a `rest` now and then once that takes long.
fn wait_until(ready: impl Fn() -> bool, rest: impl Fn()) {
    let mut spins = 0;
    while !ready() {
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else {
            rest();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        // The door stays closed: there is no work behind it.
        shared.end.store(true, Ordering::Relaxed);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // It has nothing to say; a panic of its work was told when it happened.
            let _ = helper.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_whatever_the_number_of_threads() {
        for threads in [1, 2, 3, 7] {
            let mut pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            let mut values = vec![0_u32; 100];
            for round in 1..=50 {
                pool.each(values.iter_mut(), |value| *value += 1);
                assert_eq!(values, vec![round; 100], "{threads} threads");
            }
        }
    }

    #[test]
    fn a_panic_comes_back_and_the_pool_goes_on() {
        let mut pool = Pool::new(3);
        for bad in 0..20 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                pool.each(0..20, |item| assert_ne!(item, bad));
            }));
            assert!(panicked.is_err());
        }
        // Of two panics at once one is told, and the other does not stay behind.
        let mut pair = Pool::new(2);
        let both_have_one = std::sync::Barrier::new(2);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            pair.each(0..2, |_| {
                both_have_one.wait();
                panic!("both");
            });
        }));
        assert!(panicked.is_err());
        for pool in [&mut pool, &mut pair] {
            let count = AtomicUsize::new(0);
            pool.each(0..20, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 20);
        }
    }

    #[test]
    fn all_is_done_when_each_returns_and_a_dropped_pool_leaves_no_thread() {
        let mut pool = Pool::new(2);
        let shared = pool.shared.clone().expect("two threads share");
        let (caller, count) = (thread::current().id(), AtomicUsize::new(0));
        let both_have_one = std::sync::Barrier::new(2);
        pool.each(0..2, |_| {
            both_have_one.wait();
            if thread::current().id() != caller {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 2);
        drop(pool);
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    fn a_door_lets_in_while_it_is_open_and_each_work_has_another_number() {
        let door = Door::default();
        assert!(!door.enter());
        let mut seen = vec![door.seen()];
        for _ in 0..3 {
            door.open();
            seen.push(door.seen());
            assert!(door.is_left() && door.enter() && door.enter());
            door.leave();
            door.close();
            assert!(!door.enter() && !door.is_left());
            door.leave();
            assert!(door.is_left());
            seen.push(door.seen());
        }
        assert!(seen.is_sorted_by(|before, after| before < after));
    }

    #[test]
    fn a_parked_thread_wakes() {
        let mut pool = Pool::new(2);
        thread::sleep(std::time::Duration::from_millis(20));
        let count = AtomicUsize::new(0);
        pool.each(0..2, |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 2);
    }
}
