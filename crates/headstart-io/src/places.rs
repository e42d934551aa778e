//! Who waits for the same thing: any number of tasks, each in a place of its
//! own, which is given up when its future is dropped.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use crate::sync::{Mutex, lock};

/// Whose place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// A future's, by the order in which they came.
    Future(u64),
    /// A task's that polls without a future of ours, by its waker's data and
    /// table: nothing else tells wakers apart.
    Task(usize, usize),
}

impl Owner {
    fn task(waker: &Waker) -> Self {
        let table = std::ptr::from_ref(waker.vtable());
        Self::Task(waker.data().addr(), table.addr())
    }
}

/// The wakers of who waits. However many they are, each costs about the same.
#[derive(Debug, Default)]
pub(crate) struct Places {
    wakers: BTreeMap<Owner, Waker>,
    next: u64,
}

impl Places {
    /// All who wait: to be woken when nothing is locked.
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers).into_values().collect()
    }

    /// The waker that another has taken the place of: to be dropped when
    /// nothing is locked.
    #[must_use]
    fn wait(&mut self, owner: Owner, cx: &Context<'_>) -> Option<Waker> {
        match self.wakers.get_mut(&owner) {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            Some(waker) => Some(std::mem::replace(waker, cx.waker().clone())),
            None => self.wakers.insert(owner, cx.waker().clone()),
        }
    }
}

/// A future's place among those who wait for something of what is locked.
#[derive(Debug)]
pub(crate) struct Place<'a, T> {
    locked: &'a Mutex<T>,
    places: fn(&mut T) -> &mut Places,
    number: Option<u64>,
}

impl<'a, T> Place<'a, T> {
    pub(crate) fn new(locked: &'a Mutex<T>, places: fn(&mut T) -> &mut Places) -> Self {
        Self {
            locked,
            places,
            number: None,
        }
    }

    /// What `look` finds, or else waits until all who wait are woken.
    pub(crate) fn poll<V>(
        &mut self,
        cx: &Context<'_>,
        look: impl FnOnce(&mut T) -> Option<V>,
    ) -> Poll<V> {
        let number = &mut self.number;
        poll(self.locked, self.places, cx, look, |places| {
            Owner::Future(*number.get_or_insert_with(|| {
                places.next += 1;
                places.next
            }))
        })
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Some(number) = self.number else {
            return;
        };
        let mut locked = lock(self.locked);
        let places = (self.places)(&mut locked);
        let given_up = places.wakers.remove(&Owner::Future(number));
        drop(locked);
        drop(given_up);
    }
}

/// As [`Place::poll`], for a task without a future of ours. Nothing says when
/// it gives up waiting, so its waker stays until all are woken.
pub(crate) fn poll_as_task<T, V>(
    locked: &Mutex<T>,
    places: fn(&mut T) -> &mut Places,
    cx: &Context<'_>,
    look: impl FnOnce(&mut T) -> Option<V>,
) -> Poll<V> {
    poll(locked, places, cx, look, |_| Owner::task(cx.waker()))
}

fn poll<T, V>(
    mutex: &Mutex<T>,
    places: fn(&mut T) -> &mut Places,
    cx: &Context<'_>,
    look: impl FnOnce(&mut T) -> Option<V>,
    owner: impl FnOnce(&mut Places) -> Owner,
) -> Poll<V> {
    let mut locked = lock(mutex);
    if let Some(found) = look(&mut locked) {
        return Poll::Ready(found);
    }
    let places = places(&mut locked);
    let owner = owner(places);
    let replaced = places.wait(owner, cx);
    drop(locked);
    drop(replaced);
    Poll::Pending
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::{Duration, Instant};

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Debug, Default)]
    struct Locked {
        places: Places,
        done: bool,
    }

    fn places(locked: &mut Locked) -> &mut Places {
        &mut locked.places
    }

    fn done(locked: &mut Locked) -> Option<()> {
        locked.done.then_some(())
    }

    fn wait<'a>(mutex: &'a Mutex<Locked>, waker: &Waker) -> Place<'a, Locked> {
        let mut place = Place::new(mutex, places);
        let polled = place.poll(&Context::from_waker(waker), done);
        assert!(polled.is_pending());
        place
    }

    fn wake_all(mutex: &Mutex<Locked>) {
        let wakers = lock(mutex).places.take();
        wakers.into_iter().for_each(Waker::wake);
    }

    #[test]
    fn a_dropped_place_leaves_nothing() {
        let mutex = Mutex::new(Locked::default());
        let counter = Arc::<Counter>::default();
        let kept = wait(&mutex, &counter.clone().into());
        for _ in 0..1000 {
            drop(wait(&mutex, &counter.clone().into()));
        }
        assert_eq!(lock(&mutex).places.wakers.len(), 1);
        assert_eq!(Arc::strong_count(&counter), 2);
        wake_all(&mutex);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        drop(kept);
        assert_eq!(Arc::strong_count(&counter), 1);
    }

    #[test]
    fn a_place_has_its_latest_waker() {
        let mutex = Mutex::new(Locked::default());
        let [old, new] = [Arc::<Counter>::default(), Arc::default()];
        let mut place = wait(&mutex, &old.clone().into());
        let polled = place.poll(&Context::from_waker(&new.clone().into()), done);
        assert!(polled.is_pending());
        assert_eq!(Arc::strong_count(&old), 1);
        wake_all(&mutex);
        assert_eq!(new.0.load(Ordering::Relaxed), 1);
        lock(&mutex).done = true;
        let polled = place.poll(&Context::from_waker(Waker::noop()), done);
        assert!(polled.is_ready());
    }

    #[test]
    fn each_task_waits_once_however_often_it_asks() {
        let mutex = Mutex::new(Locked::default());
        let tasks = [Arc::<Counter>::default(), Arc::default()];
        for _ in 0..10 {
            for task in &tasks {
                let waker = Waker::from(task.clone());
                let cx = Context::from_waker(&waker);
                assert!(poll_as_task(&mutex, places, &cx, done).is_pending());
            }
        }
        assert_eq!(lock(&mutex).places.wakers.len(), 2);
        wake_all(&mutex);
        for task in &tasks {
            assert_eq!(task.0.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn a_crowd_costs_each_who_waits_about_the_same() {
        const CROWD: usize = 20_000;
        let mutex = Mutex::new(Locked::default());
        let tasks: Vec<_> = (0..CROWD).map(|_| Arc::<Counter>::default()).collect();
        let began = Instant::now();
        for task in &tasks {
            let waker = Waker::from(task.clone());
            let cx = Context::from_waker(&waker);
            assert!(poll_as_task(&mutex, places, &cx, done).is_pending());
        }
        let crowd: Vec<_> = tasks
            .iter()
            .map(|task| wait(&mutex, &task.clone().into()))
            .collect();
        drop(crowd);
        // By a search among all it is seconds.
        assert!(began.elapsed() < Duration::from_secs(1));
        assert_eq!(lock(&mutex).places.wakers.len(), CROWD);
    }
}
