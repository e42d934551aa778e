//! Who waits for a race or a pair: one reader and one writer, apart.

use std::task::{Context, Waker};

/// What a writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Room for bytes.
    Room,
    /// A kernel that holds everything.
    Flushed,
    /// A kernel that has FIN.
    Finished,
}

/// A reader and a writer that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    reader: Option<Waker>,
    writer: Option<(Want, Waker)>,
    /// A waker that another has taken the place of, to be dropped unlocked.
    replaced: Option<Waker>,
}

impl Waiters {
    /// The reader waits, until it has something to do.
    pub(crate) fn reader_waits(&mut self, cx: &Context<'_>) {
        let same = |waker: &Waker| waker.will_wake(cx.waker());
        if !self.reader.as_ref().is_some_and(same) {
            self.replaced = self.reader.replace(cx.waker().clone());
        }
    }

    /// The writer waits for something.
    pub(crate) fn writer_waits(&mut self, want: Want, cx: &Context<'_>) {
        match &mut self.writer {
            Some((wanted, waker)) if waker.will_wake(cx.waker()) => *wanted = want,
            writer => {
                let before = writer.replace((want, cx.waker().clone()));
                self.replaced = before.map(|(_, waker)| waker);
            }
        }
    }

    /// Whether a reader waits.
    pub(crate) fn is_read(&self) -> bool {
        self.reader.is_some()
    }

    /// Those who have something to do now.
    pub(crate) fn take(
        &mut self,
        read: bool,
        has: impl FnOnce(Want) -> bool,
    ) -> [Option<Waker>; 2] {
        let write = self.writer.as_ref().is_some_and(|(want, _)| has(*want));
        let reader = self.reader.take_if(|_| read);
        let writer = self.writer.take_if(|_| write);
        [reader, writer.map(|(_, waker)| waker)]
    }

    pub(crate) fn take_replaced(&mut self) -> Option<Waker> {
        self.replaced.take()
    }
}
