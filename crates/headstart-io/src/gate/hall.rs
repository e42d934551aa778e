//! What a gate and its task share: the connections that were let in, who
//! waits for them, and the counters.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::builder::Settings;
use super::counters::Counts;
use super::joined::Joined;
use super::waiting::Bell;
use super::{Admitted, GateEvent};
use crate::clocks::Clocks;
use crate::driver::Queue;
use crate::places::{self, Place, Places};
use crate::runtime::Runtime;
use crate::sync::{Mutex, lock};

/// Admitted connections, and who waits for them.
pub(super) struct Hall<R: Runtime> {
    pub(super) admitted: VecDeque<Admitted<R>>,
    /// Who waits for one.
    accepting: Places,
    closed: bool,
    end: Option<End>,
    /// Who waits until the task has ended.
    closing: Places,
}

/// An admitted connection and how many are left behind it, or why there are
/// no more.
type Next<R> = io::Result<(Admitted<R>, usize)>;

impl<R: Runtime> Hall<R> {
    fn next(&mut self) -> Option<Next<R>> {
        match self.admitted.pop_front() {
            Some(admitted) => Some(Ok((admitted, self.admitted.len()))),
            None => self.end.as_ref().map(|end| Err(end.to_error())),
        }
    }
}

/// Why no more connections will come.
pub(super) struct End {
    kind: io::ErrorKind,
    text: String,
}

impl End {
    /// The gate was closed, or its task is gone.
    pub(super) fn closed() -> Self {
        Self {
            kind: io::ErrorKind::NotConnected,
            text: "the gate is closed".into(),
        }
    }

    /// The listener is broken.
    pub(super) fn broken(error: &io::Error) -> Self {
        Self {
            kind: error.kind(),
            text: error.to_string(),
        }
    }

    fn to_error(&self) -> io::Error {
        io::Error::new(self.kind, self.text.clone())
    }
}

/// What the gate and its task share.
pub(super) struct Shared<R: Runtime> {
    pub(super) runtime: R,
    pub(super) settings: Settings<R>,
    /// The runtime's clock, and that of the claims.
    pub(super) clocks: Clocks,
    pub(super) counts: Arc<Counts>,
    pub(super) bell: Arc<Bell>,
    pub(super) hall: Mutex<Hall<R>>,
    /// The pairs that this gate's task drives.
    pub(super) queue: Arc<Queue<Joined<R>>>,
}

impl<R: Runtime> Shared<R> {
    pub(super) fn new(runtime: R, settings: Settings<R>) -> Self {
        let claims = settings.claims.as_ref();
        Self {
            clocks: claims.map_or_else(Clocks::default, |claims| claims.clocks(&runtime)),
            runtime,
            settings,
            counts: Arc::default(),
            bell: Arc::default(),
            hall: Mutex::new(Hall {
                admitted: VecDeque::new(),
                accepting: Places::default(),
                closed: false,
                end: None,
                closing: Places::default(),
            }),
            queue: Queue::new(),
        }
    }

    /// The next admitted connection.
    pub(super) async fn accept(&self) -> io::Result<Admitted<R>> {
        let mut place = Place::new(&self.hall, |hall| &mut hall.accepting);
        let next = poll_fn(|cx| place.poll(cx, Hall::next)).await;
        self.let_through(next)
    }

    /// As [`accept`](Self::accept), for a task without a place of its own.
    pub(super) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<Admitted<R>>> {
        let next = places::poll_as_task(&self.hall, |hall| &mut hall.accepting, cx, Hall::next);
        next.map(|next| self.let_through(next))
    }

    /// Has the task let somebody in again, if there was no room before.
    fn let_through(&self, next: Next<R>) -> io::Result<Admitted<R>> {
        let (admitted, left) = next?;
        if left + 1 >= self.settings.admitted_max {
            self.bell.ring();
        }
        Ok(admitted)
    }

    pub(super) fn is_full(&self) -> bool {
        lock(&self.hall).admitted.len() >= self.settings.admitted_max
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.hall).closed
    }

    /// No more connections are to be accepted.
    pub(super) fn close(&self) {
        lock(&self.hall).closed = true;
        self.queue.close();
        self.bell.ring();
    }

    /// Waits until the task is gone.
    pub(super) async fn ended(&self) {
        let mut place = Place::new(&self.hall, |hall| &mut hall.closing);
        let ended = |hall: &mut Hall<R>| hall.end.is_some().then_some(());
        poll_fn(|cx| place.poll(cx, ended)).await;
    }

    pub(super) fn admit(&self, admitted: Admitted<R>) {
        let wakers = {
            let mut hall = lock(&self.hall);
            hall.admitted.push_back(admitted);
            hall.accepting.take()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn tell(&self, event: GateEvent) {
        event.tell(self.settings.watcher.as_ref());
    }

    /// No more connections will come. The first reason counts.
    pub(super) fn end(&self, why: End) {
        let wakers = {
            let mut hall = lock(&self.hall);
            hall.end.get_or_insert(why);
            [hall.accepting.take(), hall.closing.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl<R: Runtime> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
