//! What was measured.

use headstart_tokio::core::race::AttemptKind;
use serde::Serialize;

use super::path::Path;
use super::way::Way;
use crate::attempts::{AttemptLine, kind_name};
use crate::dial::Dialled;
use crate::output::micros;

/// One path.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(rename = "path", serialize_with = "path_name")]
    pub(super) path: Path,
    summary: &'static str,
    /// The middlebox, in the lab's words.
    rule: String,
    #[serde(rename = "modes")]
    pub(super) columns: Vec<Column>,
}

fn path_name<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.name())
}

impl Row {
    pub(super) fn new(path: Path, columns: Vec<Column>) -> Self {
        Self {
            path,
            summary: path.summary(),
            rule: path.rule().to_string(),
            columns,
        }
    }

    /// The column of a way to dial.
    pub(super) fn column(&self, way: Way) -> Option<&Column> {
        self.columns.iter().find(|column| column.way == way)
    }
}

/// One way to dial over one path. Its own figures are those of the dial in
/// the middle, failed dials counted as the slowest.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    #[serde(rename = "mode", serialize_with = "way_name")]
    pub(super) way: Way,
    #[serde(flatten)]
    pub(super) middle: Sample,
    pub(super) dials: Vec<Sample>,
}

fn way_name<S: serde::Serializer>(way: &Way, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(way.name())
}

impl Column {
    /// A column of at least one dial.
    pub(super) fn new(way: Way, dials: Vec<Sample>) -> Option<Self> {
        let mut sorted: Vec<_> = dials.iter().collect();
        sorted.sort_by_key(|sample| sample.first_byte_us.unwrap_or(u64::MAX));
        let middle = (*sorted.get(sorted.len() / 2)?).clone();
        Some(Self { way, middle, dials })
    }

    /// The number of admissions that differs from one, if a dial had such.
    pub(super) fn odd_admissions(&self) -> Option<u32> {
        let odd = self
            .dials
            .iter()
            .map(|sample| sample.admissions)
            .filter(|a| *a != 1);
        odd.max()
    }
}

/// One dial. Times are since before its first system call.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// To the first byte of the reply.
    pub(super) round_trips: Option<f64>,
    pub(super) first_byte_us: Option<u64>,
    pub(super) winner: Option<&'static str>,
    /// Whether the reply was to data in the SYN.
    pub(super) syn_data: bool,
    /// Why there was no reply.
    pub(super) error: Option<String>,
    /// The same in a few words.
    #[serde(skip)]
    pub(super) short: Option<String>,
    /// When the dial had failed, in round trips.
    pub(super) failed_after: Option<f64>,
    /// What went wrong after the first reply, on a second exchange.
    pub(super) then: Option<String>,
    /// How often the server's handler was called for it.
    pub(super) admissions: u32,
    pub(super) bytes_copied: usize,
    pub(super) attempts: Vec<AttemptLine>,
}

impl Sample {
    pub(super) fn new(dialled: Dialled, admissions: u32, rtt: std::time::Duration) -> Self {
        let round_trips = |time: std::time::Duration| {
            let trips = time.as_secs_f64() / rtt.as_secs_f64();
            (trips * 1000.0).round() / 1000.0
        };
        let (error, then) = match (&dialled.failure, dialled.exchanges) {
            (Some(failed), 0) => (Some(failed), None),
            (Some(failed), _) => (None, Some(failed.why.clone())),
            (None, _) => (None, None),
        };
        Self {
            round_trips: dialled
                .first_byte
                .filter(|_| error.is_none())
                .map(round_trips),
            first_byte_us: dialled.first_byte.filter(|_| error.is_none()).map(micros),
            winner: dialled.winner.map(kind_name),
            syn_data: dialled.syn_data,
            error: error.map(|failed| failed.why.clone()),
            short: error.map(|failed| failed.short.clone()),
            failed_after: error.and_then(|failed| failed.after).map(round_trips),
            then,
            admissions,
            bytes_copied: dialled.bytes_copied,
            attempts: dialled.attempts,
        }
    }

    /// Whether Fast Open gave the reply.
    pub(super) fn fast_open_won(&self) -> bool {
        self.winner == Some(kind_name(AttemptKind::FastOpen))
    }
}
