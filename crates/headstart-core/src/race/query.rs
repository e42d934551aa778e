//! What may be asked of a race at any time.

use super::attempt::State;
use super::{AttemptId, AttemptKind, Ending, Exit, Outcome, Race, Reasons, Report};

impl Race {
    /// The attempt that is the connection, chosen by a reply, as the sole
    /// survivor, or to take held bytes.
    pub fn chosen(&self) -> Option<AttemptId> {
        self.chosen
    }

    /// Whether a flush is done: the application has the connection, or a
    /// kernel holds everything written, on the connection once it is chosen
    /// (R16). What only the race holds would be lost with the process.
    pub fn is_flushed(&self) -> bool {
        self.attempts.iter().any(|attempt| match attempt.state {
            State::Handshake { taken, .. } | State::Open { taken, .. } => taken >= self.log.len(),
            State::Taken => true,
            State::Waiting | State::Due | State::Fetching { .. } | State::Recalled | State::Out => {
                false
            }
        })
    }

    /// Whether FIN was handed to a kernel, on the connection once it is chosen.
    pub fn is_finished(&self) -> bool {
        self.attempts.iter().any(|attempt| match attempt.state {
            State::Open { finished, .. } => finished,
            State::Taken => self.finishing,
            _ => attempt.report.outcome == Outcome::Out(Exit::Delivered),
        })
    }

    /// How the race ended, if it ended without a connection.
    pub fn ending(&self) -> Option<Ending> {
        self.is_dead().then(|| self.reasons().ending())
    }

    /// Why the attempts that are out are out.
    pub fn reasons(&self) -> Reasons {
        let mut reasons = Reasons::default();
        for attempt in &self.attempts {
            if let Outcome::Out(exit) = attempt.report.outcome {
                reasons.push(attempt.report.id, attempt.report.kind, exit);
            }
        }
        reasons
    }

    /// The story so far.
    pub fn report(&self) -> Report {
        Report {
            began: self.began,
            flight: self.log.flight(),
            plans: self.config.targets.iter().map(|t| t.plan).collect(),
            attempts: self.attempts.iter().map(|attempt| attempt.report).collect(),
        }
    }

    /// The attempt with this number, if there is one.
    pub fn id(&self, index: usize) -> Option<AttemptId> {
        (index < self.attempts.len()).then_some(AttemptId(index))
    }

    /// The kind of an attempt, and the position of its address.
    pub fn attempt(&self, id: AttemptId) -> Option<(AttemptKind, usize)> {
        let attempt = self.attempts.get(id.index())?;
        Some((attempt.report.kind, attempt.report.target))
    }

    /// Whether this attempt's handshake is under way: its driver waits for it
    /// to open.
    pub fn is_opening(&self, id: AttemptId) -> bool {
        matches!(
            self.state(id),
            State::Handshake { .. } | State::Fetching { .. }
        )
    }

    /// Whether this attempt has something to send and waits for room.
    pub fn is_blocked(&self, id: AttemptId) -> bool {
        match self.state(id) {
            State::Open {
                taken,
                writable: false,
                ..
            } => taken < self.limit(id),
            _ => false,
        }
    }

    /// Bytes in the log; at most [`FLIGHT_MAX`](crate::framing::FLIGHT_MAX) and `held_max`.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// Whether no attempt is, or can become, the connection.
    pub(super) fn is_dead(&self) -> bool {
        !self
            .attempts
            .iter()
            .any(|attempt| attempt.state.contends() || attempt.state == State::Taken)
    }
}
