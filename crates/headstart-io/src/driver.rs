//! The one task of a dialer: it moves races that nobody polls, and finishes
//! those whose application is gone (R16).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use headstart_core::time::Instant;

use crate::race::Running;
use crate::runtime::{Runtime, Timer};

/// Races driven before other tasks get their turn.
const BATCH: usize = 64;

/// A race that its application and the driver share.
#[derive(Debug)]
pub(crate) struct Cell<R: Runtime> {
    id: u64,
    running: Mutex<Running<R>>,
    queued: AtomicBool,
    queue: Arc<Queue<R>>,
}

impl<R: Runtime> Cell<R> {
    /// Works on the race, drives it, and wakes whoever that concerns. Sockets
    /// see one waker, the cell's, whoever polls them.
    pub(crate) fn with<T>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Running<R>, &mut Context<'_>) -> T,
    ) -> T {
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let mut running = lock(&self.running);
        let before = running.deadline;
        let was_settled = running.is_settled();
        let result = work(&mut running, &mut cx);
        let (after, settled) = (running.deadline, running.is_settled());
        let wakers = running.take_wakers(&mut cx);
        if before != after {
            self.queue.reset_deadline(self, before, after);
        }
        drop(running);
        if settled && !was_settled {
            self.queue.forget(self);
        }
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }

    /// A look at the race that changes nothing.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Running<R>) -> T) -> T {
        look(&lock(&self.running))
    }
}

impl<R: Runtime> Wake for Cell<R> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let waker = {
                let mut work = lock(&self.queue.work);
                work.ready.push_back(self.clone());
                work.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

#[derive(Debug)]
struct Work<R: Runtime> {
    live: HashMap<u64, Arc<Cell<R>>>,
    ready: VecDeque<Arc<Cell<R>>>,
    deadlines: BTreeMap<(Instant, u64), Arc<Cell<R>>>,
    waker: Option<Waker>,
    next_id: u64,
    closed: bool,
}

/// What the driver has to do; shared with the dialer and its races.
#[derive(Debug)]
pub(crate) struct Queue<R: Runtime> {
    work: Mutex<Work<R>>,
}

impl<R: Runtime> Queue<R> {
    pub(crate) fn new() -> Arc<Self> {
        let work = Work {
            live: HashMap::new(),
            ready: VecDeque::new(),
            deadlines: BTreeMap::new(),
            waker: None,
            next_id: 0,
            closed: false,
        };
        Arc::new(Self { work: Mutex::new(work) })
    }

    /// Takes a race into care until it is settled.
    pub(crate) fn adopt(self: &Arc<Self>, running: Running<R>) -> Arc<Cell<R>> {
        let mut work = lock(&self.work);
        let id = work.next_id;
        work.next_id += 1;
        let cell = Arc::new(Cell {
            id,
            running: Mutex::new(running),
            queued: AtomicBool::new(false),
            queue: self.clone(),
        });
        work.live.insert(id, cell.clone());
        cell
    }

    /// No further races will come: the driver ends after the last.
    pub(crate) fn close(&self) {
        let waker = {
            let mut work = lock(&self.work);
            work.closed = true;
            work.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Races in care.
    pub(crate) fn live(&self) -> usize {
        lock(&self.work).live.len()
    }

    fn forget(&self, cell: &Arc<Cell<R>>) {
        let waker = {
            let mut work = lock(&self.work);
            work.live.remove(&cell.id);
            match work.closed && work.live.is_empty() {
                true => work.waker.take(),
                false => None,
            }
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn reset_deadline(
        &self,
        cell: &Arc<Cell<R>>,
        before: Option<Instant>,
        after: Option<Instant>,
    ) {
        let waker = {
            let mut work = lock(&self.work);
            if let Some(before) = before {
                work.deadlines.remove(&(before, cell.id));
            }
            if let Some(after) = after {
                work.deadlines.insert((after, cell.id), cell.clone());
            }
            work.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The driver task.
pub(crate) struct Driver<R: Runtime> {
    queue: Arc<Queue<R>>,
    runtime: R,
    timer: R::Timer,
}

impl<R: Runtime> Driver<R> {
    pub(crate) fn new(queue: Arc<Queue<R>>, runtime: R) -> Self {
        let timer = runtime.timer();
        Self { queue, runtime, timer }
    }

    /// The next race to drive. Without one: whether the driver is done.
    fn next(&mut self, cx: &mut Context<'_>) -> Result<Arc<Cell<R>>, Poll<()>> {
        loop {
            let earliest = {
                let mut work = lock(&self.queue.work);
                if let Some(cell) = work.ready.pop_front() {
                    return Ok(cell);
                }
                if work.closed && work.live.is_empty() {
                    return Err(Poll::Ready(()));
                }
                let earliest = work.deadlines.first_key_value().map(|((at, _), _)| *at);
                if let Some(at) = earliest
                    && at <= self.runtime.now()
                    && let Some((_, cell)) = work.deadlines.pop_first()
                {
                    return Ok(cell);
                }
                work.waker = Some(cx.waker().clone());
                earliest
            };
            match earliest {
                None => return Err(Poll::Pending),
                Some(at) => match self.timer.poll_at(cx, at) {
                    Poll::Pending => return Err(Poll::Pending),
                    Poll::Ready(()) => {}
                },
            }
        }
    }
}

impl<R: Runtime> Future for Driver<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        for _ in 0..BATCH {
            match driver.next(cx) {
                Ok(cell) => {
                    cell.queued.store(false, Ordering::Release);
                    cell.with(|running, cx| running.drive(cx));
                }
                Err(done) => return done,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Drop for Driver<R> {
    /// The runtime is going: let the races' sockets go too.
    fn drop(&mut self) {
        let (live, ready, deadlines) = {
            let mut work = lock(&self.queue.work);
            (
                std::mem::take(&mut work.live),
                std::mem::take(&mut work.ready),
                std::mem::take(&mut work.deadlines),
            )
        };
        drop((live, ready, deadlines));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
