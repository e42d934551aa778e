//! What a gate and its task share: the connections that were let in, who
//! waits for them, and the counters.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::builder::Settings;
use super::counters::Counts;
use super::joined::Joined;
use super::waiting::Bell;
use super::{Admitted, GateEvent};
use crate::driver::Queue;
use crate::runtime::Runtime;
use crate::sync::{Mutex, lock};

/// Admitted connections, and who waits for them.
pub(super) struct Hall<R: Runtime> {
    pub(super) admitted: VecDeque<Admitted<R>>,
    /// Who waits, by the number of their place.
    wakers: Vec<(u64, Waker)>,
    next_place: u64,
    closed: bool,
    end: Option<End>,
    /// Those of who waits until the task has ended.
    closing: Vec<Waker>,
}

/// The place of all who wait without an `accept` of their own.
pub(super) const SHARED_PLACE: u64 = 0;

/// The place of an `accept` among those who wait: given up when dropped.
pub(super) struct Place<'a, R: Runtime> {
    pub(super) hall: &'a Mutex<Hall<R>>,
    pub(super) number: Option<u64>,
}

impl<R: Runtime> Drop for Place<'_, R> {
    fn drop(&mut self) {
        let mut hall = lock(self.hall);
        let found = hall
            .wakers
            .iter()
            .position(|(number, _)| Some(*number) == self.number);
        let given_up = found.map(|index| hall.wakers.swap_remove(index));
        drop(hall);
        drop(given_up);
    }
}

/// Why no more connections will come.
struct End {
    kind: io::ErrorKind,
    text: String,
}

impl End {
    fn to_error(&self) -> io::Error {
        io::Error::new(self.kind, self.text.clone())
    }
}

/// What the gate and its task share.
pub(super) struct Shared<R: Runtime> {
    pub(super) runtime: R,
    pub(super) settings: Settings<R>,
    pub(super) counts: Arc<Counts>,
    pub(super) bell: Arc<Bell>,
    pub(super) hall: Mutex<Hall<R>>,
    /// The pairs that this gate's task drives.
    pub(super) queue: Arc<Queue<Joined<R>>>,
}

impl<R: Runtime> Shared<R> {
    pub(super) fn new(runtime: R, settings: Settings<R>) -> Self {
        Self {
            runtime,
            settings,
            counts: Arc::default(),
            bell: Arc::default(),
            hall: Mutex::new(Hall {
                admitted: VecDeque::new(),
                wakers: Vec::new(),
                next_place: SHARED_PLACE,
                closed: false,
                end: None,
                closing: Vec::new(),
            }),
            queue: Queue::new(),
        }
    }

    /// Takes an admitted connection, or waits for one in the place of this
    /// number, which is given to who has none.
    pub(super) fn poll_place(
        &self,
        place: &mut Option<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Admitted<R>>> {
        let mut hall = lock(&self.hall);
        if let Some(admitted) = hall.admitted.pop_front() {
            let was_full = hall.admitted.len() + 1 >= self.settings.admitted_max;
            drop(hall);
            if was_full {
                self.bell.ring();
            }
            return Poll::Ready(Ok(admitted));
        }
        if let Some(end) = &hall.end {
            return Poll::Ready(Err(end.to_error()));
        }
        let number = *place.get_or_insert_with(|| {
            hall.next_place += 1;
            hall.next_place
        });
        let place = hall.wakers.iter_mut().find(|(other, waker)| {
            *other == number && (number != SHARED_PLACE || waker.will_wake(cx.waker()))
        });
        // A waker is dropped when the hall is unlocked.
        let _replaced = match place {
            Some((_, waker)) if waker.will_wake(cx.waker()) => None,
            Some((_, waker)) => Some(std::mem::replace(waker, cx.waker().clone())),
            None => {
                hall.wakers.push((number, cx.waker().clone()));
                None
            }
        };
        drop(hall);
        Poll::Pending
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

    /// Ready when the task is gone.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut hall = lock(&self.hall);
        if hall.end.is_some() {
            return Poll::Ready(());
        }
        if !hall.closing.iter().any(|waker| waker.will_wake(cx.waker())) {
            hall.closing.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn admit(&self, admitted: Admitted<R>) {
        let wakers = {
            let mut hall = lock(&self.hall);
            hall.admitted.push_back(admitted);
            std::mem::take(&mut hall.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(super) fn tell(&self, event: GateEvent) {
        event.tell(self.settings.watcher.as_ref());
    }

    /// No more connections will come, because of this error or because the
    /// task is gone.
    pub(super) fn end(&self, error: Option<io::Error>) {
        let wakers = {
            let mut hall = lock(&self.hall);
            hall.end.get_or_insert_with(|| match error {
                Some(error) => End {
                    kind: error.kind(),
                    text: error.to_string(),
                },
                None => End {
                    kind: io::ErrorKind::NotConnected,
                    text: "the gate is closed".into(),
                },
            });
            let accepting = std::mem::take(&mut hall.wakers);
            let closing = std::mem::take(&mut hall.closing);
            accepting.into_iter().map(|(_, waker)| waker).chain(closing)
        };
        wakers.for_each(Waker::wake);
    }
}

impl<R: Runtime> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}
