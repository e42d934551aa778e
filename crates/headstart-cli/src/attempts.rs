//! A race's report, as JSON tells it.

use std::time::Duration;

use headstart_io::RaceError;
use headstart_tokio::core::Instant;
use headstart_tokio::core::race::{AttemptKind, AttemptReport, Exit, Outcome, Report};
use serde::Serialize;

use crate::output::micros;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    Won,
    Lost,
    Failed,
    NotStarted,
}

/// The name of a kind in JSON.
pub(crate) fn kind_name(kind: AttemptKind) -> &'static str {
    match kind {
        AttemptKind::Plain => "plain",
        AttemptKind::FastOpen => "fastopen",
    }
}

/// One attempt. Times are in microseconds since before the first system call
/// of its dial; `null` is what did not happen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AttemptLine {
    pub(crate) kind: &'static str,
    pub(crate) outcome: Fate,
    pub(crate) reason: Option<String>,
    pub(crate) started_us: Option<u64>,
    pub(crate) opened_us: Option<u64>,
    pub(crate) first_byte_us: Option<u64>,
}

impl AttemptLine {
    fn new(attempt: &AttemptReport, began: Instant) -> Self {
        let since = |at: Option<Instant>| at.map(|at| micros(at.saturating_since(began)));
        let (outcome, reason) = fate(attempt.outcome);
        let started = match outcome {
            Fate::NotStarted => None,
            _ => attempt.started,
        };
        Self {
            kind: kind_name(attempt.kind),
            outcome,
            reason,
            started_us: since(started),
            opened_us: since(attempt.opened),
            first_byte_us: since(attempt.first_byte),
        }
    }
}

/// The attempts of a dial that went well.
pub(crate) fn of(report: &Report) -> Vec<AttemptLine> {
    let lines = report.attempts.iter();
    lines
        .map(|attempt| AttemptLine::new(attempt, report.began))
        .collect()
}

/// The attempts of a dial that had no reply: none of them won. The reasons are
/// the race's where it told them, and otherwise `why`.
pub(crate) fn of_failure(
    report: &Report,
    error: Option<&RaceError>,
    why: &str,
) -> Vec<AttemptLine> {
    let told = |attempt: &AttemptReport| {
        let (.., exit) = error?.reasons.iter().find(|(id, ..)| *id == attempt.id)?;
        Some(fate(Outcome::Out(exit)))
    };
    let attempts = report.attempts.iter();
    let lines = attempts.map(|attempt| {
        let mut line = AttemptLine::new(attempt, report.began);
        if !matches!(attempt.outcome, Outcome::Out(_)) {
            let silent = || (Fate::Failed, Some(why.to_owned()));
            (line.outcome, line.reason) = told(attempt).unwrap_or_else(silent);
        }
        line
    });
    lines.collect()
}

/// The attempts of a dial that failed on the spot.
pub(crate) fn of_error(error: &RaceError) -> Vec<AttemptLine> {
    let reasons = error.reasons.iter();
    let lines = reasons.map(|(_, kind, exit)| {
        let (outcome, reason) = fate(Outcome::Out(exit));
        AttemptLine {
            kind: kind_name(kind),
            outcome,
            reason,
            started_us: None,
            opened_us: None,
            first_byte_us: None,
        }
    });
    lines.collect()
}

/// When the last attempt ended, where all of them have.
pub(crate) fn ended(report: &Report) -> Option<Duration> {
    let ends: Option<Vec<_>> = report
        .attempts
        .iter()
        .map(|attempt| attempt.ended)
        .collect();
    let last = ends?.into_iter().max()?;
    Some(last.saturating_since(report.began))
}

fn fate(outcome: Outcome) -> (Fate, Option<String>) {
    match outcome {
        Outcome::Won => (Fate::Won, None),
        Outcome::Racing | Outcome::Out(Exit::Lost) => (Fate::Lost, None),
        Outcome::Out(Exit::NotStarted(why)) => (Fate::NotStarted, Some(why.to_string())),
        Outcome::Out(exit @ (Exit::CookieOnly | Exit::Delivered)) => {
            (Fate::Lost, Some(exit.to_string()))
        }
        Outcome::Out(exit @ (Exit::Failed(_) | Exit::Ended { .. })) => {
            (Fate::Failed, Some(exit.to_string()))
        }
    }
}
