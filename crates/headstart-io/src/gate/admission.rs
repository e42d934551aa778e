//! What becomes of a first message: let in, joined with an earlier copy, or
//! turned away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headstart_core::debounce::Verdict;
use headstart_core::framing::token::{HEADER_LEN, Header};
use headstart_core::pair::{self, Pair};
use headstart_core::time::Instant;

use super::hall::Shared;
use super::joined::Joined;
use super::news::Witness;
use super::slot::{Copy, Late};
use super::{Admitted, GateEvent, GateStream, Via};
use crate::driver::{Cell, Driven};
use crate::runtime::{Runtime, Stream};

/// What became of a first message.
enum Found<R: Runtime> {
    First(Admission<R>),
    Copy {
        copy: Copy<R::Stream>,
        /// What is kept open for it.
        of: Option<Arc<Cell<Joined<R>>>>,
        age: Duration,
        copies: u32,
    },
}

/// A connection that is let in: alone, also for want of room, or open for copies.
enum Admission<R: Runtime> {
    Alone(Copy<R::Stream>),
    Unpaired(Copy<R::Stream>),
    Open(Arc<Cell<Joined<R>>>),
}

impl<R: Runtime> Shared<R> {
    /// Admits the first copy of a message, joins a later one, or resets it.
    pub(super) fn decide(&self, copy: Copy<R::Stream>, message: Vec<u8>, now: Instant) {
        let via = match copy.stream.syn_data_acked() {
            Ok(true) => Via::FastOpen,
            Ok(false) | Err(_) => Via::Plain,
        };
        let peer = copy.peer;
        let local = copy.stream.local_addr().ok();
        let let_in = |message, admission| self.let_in(peer, local, via, message, admission);
        let Some(claims) = &self.settings.claims else {
            self.counts.first.count();
            return let_in(message, Admission::Alone(copy));
        };
        let number = claims.number();
        let claimed = self.clocks.to_shared(now);
        // Whoever observes the next copy finds the pair.
        let found = claims.claim(claimed, &message, number, |seen| {
            self.counts.forced_out.add(seen.forced_out);
            match seen.verdict {
                Verdict::First => Found::First(self.keep_open(copy, via, &message, number, now)),
                Verdict::Duplicate { of, age, copies } => Found::Copy {
                    copy,
                    of: self.settings.pairs.as_ref().and_then(|p| p.find(of)),
                    age,
                    copies,
                },
            }
        });
        match found {
            Found::First(admission) => let_in(message, admission),
            Found::Copy {
                copy,
                of,
                age,
                copies,
            } => {
                let late = Late {
                    copy,
                    via,
                    age,
                    copies,
                };
                self.meet(&message, late, of);
            }
        }
    }

    /// Joins a copy with what is kept open for it, or resets it.
    fn meet(&self, message: &[u8], late: Late<R::Stream>, of: Option<Arc<Cell<Joined<R>>>>) {
        let rejected = match of {
            Some(cell) => {
                let met = cell.with(|joined, cx| joined.join(cx, message, late, self.witness()));
                if met.is_ok() {
                    // Now that it was told of, it may be answered.
                    cell.with(|joined, cx| joined.drive(cx));
                }
                met.err()
            }
            None => {
                self.counts.duplicates.count();
                self.tell(late.duplicate());
                Some(late.copy)
            }
        };
        if let Some(copy) = rejected {
            // Who sees the reset can know why.
            copy.stream.close_abortively();
        }
    }

    fn witness(&self) -> Witness {
        Witness {
            counts: self.counts.clone(),
            watcher: self.settings.watcher.clone(),
        }
    }

    /// Keeps a message that came by Fast Open open for copies, if there is room.
    fn keep_open(
        &self,
        copy: Copy<R::Stream>,
        via: Via,
        message: &[u8],
        number: u64,
        now: Instant,
    ) -> Admission<R> {
        // Counted before anybody can find it a copy of something.
        self.counts.first.count();
        let pairs = match &self.settings.pairs {
            Some(pairs) if via == Via::FastOpen => pairs,
            Some(_) | None => return Admission::Alone(copy),
        };
        let bytes = message.len() + copy.beyond.len();
        let Some(place) = pairs.place(number, bytes) else {
            self.counts.unpaired.count();
            return Admission::Unpaired(copy);
        };
        let token_at = self.settings.framing.token_at();
        let header = token_at.and_then(|at| message.get(at..)?.first_chunk());
        let limits = pairs.limits();
        let config = pair::Config {
            window: limits.window,
            log_max: limits.log_max,
            resets_losers: header
                .is_some_and(|bytes| Header::decode(bytes).is_ok_and(|token| token.resets_losers)),
        };
        let cell = self.queue.adopt(Joined::new(
            Pair::new(config, now),
            self.runtime.clone(),
            message,
            copy,
            place,
            self.witness(),
        ));
        pairs.insert(number, cell.clone());
        Admission::Open(cell)
    }

    fn let_in(
        &self,
        peer: SocketAddr,
        local: Option<SocketAddr>,
        via: Via,
        mut bytes: Vec<u8>,
        admission: Admission<R>,
    ) {
        let message = bytes.len();
        let skip = remove_token(&mut bytes, self.settings.framing.token_at());
        let admitted = GateEvent::Admitted {
            peer,
            via,
            bytes: message,
        };
        let alone = |mut bytes: Vec<u8>, copy: Copy<R::Stream>| {
            bytes.extend(copy.beyond);
            GateStream::direct(bytes, skip, copy.stream)
        };
        let stream = match admission {
            Admission::Alone(copy) => {
                self.tell(admitted);
                alone(bytes, copy)
            }
            Admission::Unpaired(copy) => {
                self.tell(admitted);
                self.tell(GateEvent::Unpaired { peer });
                alone(bytes, copy)
            }
            Admission::Open(cell) => {
                // It hears from its connection, and of the passing of time; and
                // tells that it was admitted, if no copy has had it do so.
                cell.with(|joined, cx| joined.drive(cx));
                GateStream::paired(bytes, skip, cell)
            }
        };
        self.admit(Admitted {
            stream: stream.into(),
            peer,
            local,
            via,
            message,
        });
    }
}

/// Puts what stands before a Token's header in its place; how many bytes of the
/// first message are then to be skipped.
fn remove_token(message: &mut [u8], token_at: Option<usize>) -> usize {
    match token_at {
        Some(at) if at + HEADER_LEN <= message.len() => {
            message.copy_within(..at, HEADER_LEN);
            HEADER_LEN
        }
        Some(_) | None => 0,
    }
}
