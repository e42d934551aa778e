//! The one task of a dialer, and of a gate: it moves races and pairs that
//! nobody polls, and finishes those whose application is gone (R16).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use headstart_core::time::Instant;

use crate::places::{Place, Places};
use crate::runtime::{Runtime, Timer};
use crate::sync::{AtomicBool, Mutex, lock};

/// Races driven before other tasks get their turn.
const BATCH: usize = 64;

/// Tells somebody something.
pub(crate) type News = Box<dyn FnOnce() + Send>;

/// What is driven until it is settled: a race or a pair, with its sockets.
pub(crate) trait Driven: Send + 'static {
    /// Takes in what its sockets say; whether they said anything.
    fn listen(&mut self, cx: &mut Context<'_>) -> bool;

    /// Does what is to be done; whether that gave its sockets something to say.
    fn act(&mut self) -> bool;

    /// Brings it up to date with its sockets and the time.
    fn drive(&mut self, cx: &mut Context<'_>) {
        while !self.is_settled() {
            let heard = self.listen(cx);
            let acted = self.act();
            if !heard && !acted {
                return;
            }
        }
    }

    /// When to drive it again, unless something happens before.
    fn deadline(&self) -> Option<Instant>;

    /// Nothing is left to drive.
    fn is_settled(&self) -> bool;

    /// Those of whoever waits and has something to do now, and of nobody
    /// else: somebody woken in vain would wait again, and so be woken again.
    fn take_wakers(&mut self, cx: &mut Context<'_>) -> [Option<Waker>; 2];

    /// A waker that another has taken the place of, to be dropped unlocked.
    fn take_replaced(&mut self) -> Option<Waker>;

    /// What is to be told now, unlocked: whoever is told may run any code. Until
    /// [`told`](Self::told) there is nothing more, for nobody: news are told in
    /// their order.
    fn take_news(&mut self) -> Option<News> {
        None
    }

    /// What was taken was told.
    fn told(&mut self) {}

    /// Nobody will drive it any more: closes its sockets.
    fn orphan(&mut self);
}

/// A race, or a pair, that its application and the driver share.
#[derive(Debug)]
pub(crate) struct Cell<W: Driven> {
    id: u64,
    running: Mutex<W>,
    queued: AtomicBool,
    queue: Arc<Queue<W>>,
}

impl<W: Driven> Cell<W> {
    /// Works on the race, drives it, and wakes whoever that concerns. Sockets
    /// see one waker, the cell's, whoever polls them.
    ///
    /// Lock order: the race, then the queue. Nobody is woken under either:
    /// waking, and dropping a waker, may run anybody's code.
    pub(crate) fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut W, &mut Context<'_>) -> T) -> T {
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let mut running = lock(&self.running);
        let before = running.deadline();
        let was_settled = running.is_settled();
        let result = work(&mut running, &mut cx);
        let (after, settled) = (running.deadline(), running.is_settled());
        let wakers = running.take_wakers(&mut cx);
        let replaced = running.take_replaced();
        let mut news = running.take_news();
        let driver = match before == after {
            true => None,
            false => self.queue.reset_deadline(self, before, after),
        };
        drop(running);
        drop(replaced);
        while let Some(tell) = news {
            tell();
            let mut running = lock(&self.running);
            running.told();
            news = running.take_news();
        }
        if settled && !was_settled {
            self.queue.forget(self);
        }
        wakers
            .into_iter()
            .flatten()
            .chain(driver)
            .for_each(Waker::wake);
        result
    }

    /// A look at the race that changes nothing.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&W) -> T) -> T {
        look(&lock(&self.running))
    }
}

impl<W: Driven> Wake for Cell<W> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let waker = {
                let mut work = lock(&self.queue.work);
                // A socket keeps this waker when its race is long settled.
                if !work.live.contains_key(&self.id) {
                    return;
                }
                work.ready.push_back(self.clone());
                work.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

#[derive(Debug)]
struct Work<W: Driven> {
    live: HashMap<u64, Arc<Cell<W>>>,
    ready: VecDeque<Arc<Cell<W>>>,
    deadlines: BTreeMap<(Instant, u64), Arc<Cell<W>>>,
    /// The driver's.
    waker: Option<Waker>,
    /// Who waits until no race is live.
    settling: Places,
    next_id: u64,
    closed: bool,
    /// The latest, for a test that looks on.
    #[cfg(all(test, not(shuttle)))]
    latest: Option<Arc<Cell<W>>>,
}

/// What the driver has to do; shared with the dialer and its races.
#[derive(Debug)]
pub(crate) struct Queue<W: Driven> {
    work: Mutex<Work<W>>,
}

impl<W: Driven> Queue<W> {
    pub(crate) fn new() -> Arc<Self> {
        let work = Work {
            live: HashMap::new(),
            ready: VecDeque::new(),
            deadlines: BTreeMap::new(),
            waker: None,
            settling: Places::default(),
            next_id: 0,
            closed: false,
            #[cfg(all(test, not(shuttle)))]
            latest: None,
        };
        Arc::new(Self {
            work: Mutex::new(work),
        })
    }

    /// Takes a race into care until it is settled.
    pub(crate) fn adopt(self: &Arc<Self>, running: W) -> Arc<Cell<W>> {
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
        #[cfg(all(test, not(shuttle)))]
        work.latest.replace(cell.clone());
        cell
    }

    /// The latest, for a test that looks on.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn take_latest(&self) -> Option<Arc<Cell<W>>> {
        lock(&self.work).latest.take()
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

    /// Waits until no race is in care.
    pub(crate) async fn settled(&self) {
        let mut place = Place::new(&self.work, |work| &mut work.settling);
        let none_left = |work: &mut Work<W>| work.live.is_empty().then_some(());
        poll_fn(|cx| place.poll(cx, none_left)).await;
    }

    fn forget(&self, cell: &Arc<Cell<W>>) {
        let (driver, settling) = {
            let mut work = lock(&self.work);
            work.live.remove(&cell.id);
            match (work.live.is_empty(), work.closed) {
                (true, true) => (work.waker.take(), work.settling.take()),
                (true, false) => (None, work.settling.take()),
                (false, _) => (None, Vec::new()),
            }
        };
        driver.into_iter().chain(settling).for_each(Waker::wake);
    }

    /// Notes a race's new deadline; the driver's waker, if it must know now.
    fn reset_deadline(
        &self,
        cell: &Arc<Cell<W>>,
        before: Option<Instant>,
        after: Option<Instant>,
    ) -> Option<Waker> {
        let mut work = lock(&self.work);
        if let Some(before) = before {
            work.deadlines.remove(&(before, cell.id));
        }
        let after = after.filter(|_| work.live.contains_key(&cell.id))?;
        work.deadlines.insert((after, cell.id), cell.clone());
        // One that is not the earliest comes up when those before it have.
        let earliest = work
            .deadlines
            .first_key_value()
            .is_some_and(|((_, id), _)| *id == cell.id);
        work.waker.take_if(|_| earliest)
    }
}

/// The driver task.
pub(crate) struct Driver<W: Driven, R: Runtime> {
    queue: Arc<Queue<W>>,
    runtime: R,
    timer: R::Timer,
}

impl<W: Driven, R: Runtime> Driver<W, R> {
    pub(crate) fn new(queue: Arc<Queue<W>>, runtime: R) -> Self {
        let timer = runtime.timer();
        Self {
            queue,
            runtime,
            timer,
        }
    }

    /// The next race to drive. Without one: whether the driver is done.
    fn next(&mut self, cx: &mut Context<'_>) -> Result<Arc<Cell<W>>, Poll<()>> {
        loop {
            let earliest = {
                let mut work = lock(&self.queue.work);
                if let Some(cell) = work.ready.pop_front() {
                    return Ok(cell);
                }
                if work.closed && work.live.is_empty() {
                    return Err(Poll::Ready(()));
                }
                let earliest = work.deadlines.first_key_value();
                let earliest = earliest.map(|((at, _), cell)| (*at, cell.clone()));
                match earliest {
                    // It stays noted until it is set anew: the clock may go
                    // back before it is driven.
                    Some((at, cell)) if at <= self.runtime.now() => return Ok(cell),
                    earliest => {
                        work.waker = Some(cx.waker().clone());
                        earliest.map(|(at, _)| at)
                    }
                }
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

impl<W: Driven, R: Runtime> Future for Driver<W, R> {
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

impl<W: Driven, R: Runtime> Drop for Driver<W, R> {
    /// The runtime is going, if races are live: their sockets go with it, and
    /// whoever waits for them is told.
    fn drop(&mut self) {
        let (live, ready, deadlines, settling) = {
            let mut work = lock(&self.queue.work);
            (
                std::mem::take(&mut work.live),
                std::mem::take(&mut work.ready),
                std::mem::take(&mut work.deadlines),
                work.settling.take(),
            )
        };
        for cell in live.values() {
            cell.with(|running, _| running.orphan());
        }
        drop((live, ready, deadlines));
        settling.into_iter().for_each(Waker::wake);
    }
}
