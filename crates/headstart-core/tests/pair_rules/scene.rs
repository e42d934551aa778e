//! A pair, a clock, and a driver that does what a test says.

use std::time::Duration;

use headstart_core::Instant;
use headstart_core::pair::{
    Accepted, Config, Event, MEMBERS_MAX, MemberId, Outcome, Pair, Source, Step,
};
use headstart_core::race::AttemptKind::{self, Plain};
use headstart_core::race::Close::Abortive;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const FIRST: usize = 0;
pub(crate) const SECOND: usize = 1;

/// A pair, a clock, and a driver that does what the test says.
pub(crate) struct Scene {
    pub(crate) pair: Pair,
    pub(crate) now: Instant,
}

impl Scene {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::from_nanos(5);
        let pair = Pair::new(config, now);
        Self { pair, now }
    }

    pub(crate) fn usual() -> Self {
        Self::new(Config::default())
    }

    pub(crate) fn resetting() -> Self {
        Self::new(Config {
            resets_losers: true,
            ..Config::default()
        })
    }

    pub(crate) fn small_log(log_max: usize) -> Self {
        Self::new(Config {
            log_max,
            ..Config::default()
        })
    }

    /// A second copy has come by plain TCP.
    pub(crate) fn joined(mut self) -> Self {
        assert!(self.joins(Plain));
        self
    }

    pub(crate) fn joins(&mut self, kind: AttemptKind) -> bool {
        self.pair.join(self.now, kind).is_some()
    }

    pub(crate) fn id(&self, index: usize) -> MemberId {
        self.pair.id(index).expect("a member")
    }

    pub(crate) fn tell(&mut self, index: usize, event: Event) {
        let id = self.id(index);
        self.pair.handle(self.now, id, event);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Accepted {
        self.pair.write(self.now, bytes)
    }

    #[track_caller]
    pub(crate) fn writes(&mut self, bytes: &[u8]) {
        assert_eq!(self.write(bytes), Accepted::Bytes(bytes.len()));
    }

    pub(crate) fn abandon(&mut self) {
        self.pair.abandon(self.now);
    }

    /// What the pair wants done, closes and all; questions are answered as if
    /// nothing more was acknowledged.
    #[track_caller]
    pub(crate) fn step(&mut self) -> Step {
        for _ in 0..MEMBERS_MAX {
            let step = self.pair.poll(self.now);
            let Step::Ask(id) = step else {
                return step;
            };
            self.pair.handle(self.now, id, Event::Acked(0));
        }
        panic!("asks without an end")
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, step: Step) {
        assert_eq!(self.step(), step);
    }

    /// These bytes are asked to be sent, and are.
    #[track_caller]
    pub(crate) fn sends(&mut self, index: usize, bytes: &[u8]) {
        let id = self.id(index);
        self.expect(Step::Write(id));
        assert_eq!(self.pair.unsent(id).concat(), bytes);
        self.tell(index, Event::Wrote(bytes.len()));
    }

    #[track_caller]
    pub(crate) fn blocks(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Write(id));
        self.tell(index, Event::Blocked);
    }

    #[track_caller]
    pub(crate) fn finishes(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Shutdown(id));
        self.tell(index, Event::Finished);
    }

    #[track_caller]
    pub(crate) fn loses(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Close(id, Abortive));
    }

    #[track_caller]
    pub(crate) fn waits(&mut self) {
        let step = self.step();
        assert!(matches!(step, Step::Wait(_)), "{step:?}");
    }

    /// The application reads so many bytes that came on this member.
    #[track_caller]
    pub(crate) fn reads(&mut self, index: usize, bytes: usize) {
        let id = self.id(index);
        self.tell(index, Event::Readable);
        assert_eq!(self.pair.source(), Source::From(id));
        self.tell(index, Event::Delivered(bytes));
        self.tell(index, Event::Drained);
    }

    pub(crate) fn chosen(&self) -> Option<usize> {
        self.pair.chosen().map(MemberId::index)
    }

    pub(crate) fn winner(&self) -> Option<usize> {
        self.pair.winner().map(MemberId::index)
    }

    pub(crate) fn sure_winner(&self) -> Option<usize> {
        self.pair.sure_winner().map(MemberId::index)
    }

    pub(crate) fn outcome(&self, index: usize) -> Outcome {
        self.pair.member(self.id(index)).expect("a member").1
    }
}
