//! What happens at the gate, line by line. Writing is a thread of its own: a
//! reader that is slow, or gone, never holds up the gate.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use headstart_tokio::{GateEvent, Via};
use serde::Serialize;
use tokio::sync::Notify;

use super::Summary;
use crate::exit::{Stop, even_unread};
use crate::output::{self, BAD, GOOD, ODD, styled};

/// Events that wait to be written; beyond, they are counted and dropped.
const WAITING_MAX: usize = 64 * 1024;

/// An event. Fields that are not known are left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Event {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fast_open: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fast_open_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    framing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debounce: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pairing: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Where and how the server listens.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) fast_open: bool,
    /// Why it is on or off.
    pub(super) note: String,
    pub(super) framing: &'static str,
    pub(super) debounce: bool,
    pub(super) pairing: bool,
}

impl Event {
    pub(super) fn listening(listening: &Listening) -> Self {
        Self {
            event: "listening",
            addr: Some(listening.address),
            fast_open: Some(listening.fast_open),
            fast_open_state: Some(listening.note.clone()),
            framing: Some(listening.framing),
            debounce: Some(listening.debounce),
            pairing: Some(listening.pairing),
            ..Self::default()
        }
    }

    /// What the gate tells; nothing for kinds of event not known here.
    pub(super) fn of(event: &GateEvent) -> Option<Self> {
        let told = match event {
            GateEvent::Admitted { peer, via, bytes } => Self {
                via: Some(via_name(*via)),
                bytes: Some(*bytes),
                ..Self::from("admitted", *peer)
            },
            GateEvent::Duplicate {
                peer,
                via,
                age,
                copies,
            } => Self {
                via: Some(via_name(*via)),
                reason: Some(format!(
                    "copy {copies}, {} after the first",
                    output::millis(*age)
                )),
                ..Self::from("duplicate", *peer)
            },
            GateEvent::Paired {
                peer,
                via,
                age,
                copies,
            } => Self {
                via: Some(via_name(*via)),
                reason: Some(format!(
                    "copy {copies}, {} after the first, joined with it",
                    output::millis(*age)
                )),
                ..Self::from("paired", *peer)
            },
            GateEvent::Unpaired { peer } => Self {
                reason: Some("too many messages are kept open for copies".into()),
                ..Self::from("unpaired", *peer)
            },
            GateEvent::PairEnded { peer, won, age, .. } => Self {
                via: won.map(via_name),
                reason: Some(match won {
                    Some(_) => format!("won, {} after the first copy", output::millis(*age)),
                    None => format!("nobody is left, {}", output::millis(*age)),
                }),
                ..Self::from("pair_ended", *peer)
            },
            GateEvent::Malformed { peer, error } => Self {
                reason: Some(error.to_string()),
                ..Self::from("malformed", *peer)
            },
            GateEvent::TimedOut { peer, bytes } => Self {
                bytes: Some(*bytes),
                reason: Some("no whole first message in time".into()),
                ..Self::from("timeout", *peer)
            },
            GateEvent::Closed { peer, bytes } => Self {
                bytes: Some(*bytes),
                reason: Some("it ended before its first message was whole".into()),
                ..Self::from("closed", *peer)
            },
            GateEvent::Evicted { peer } => Self {
                reason: Some("too many connections without a whole first message".into()),
                ..Self::from("evicted", *peer)
            },
            GateEvent::AcceptFailed { error } => Self {
                event: "accept_failed",
                reason: Some(error.to_string()),
                ..Self::default()
            },
            _ => return None,
        };
        Some(told)
    }

    fn from(event: &'static str, peer: SocketAddr) -> Self {
        Self {
            event,
            peer: Some(peer),
            ..Self::default()
        }
    }

    /// For people.
    fn words(&self) -> String {
        let style = match self.event {
            "admitted" | "paired" | "pair_ended" | "listening" => GOOD,
            "malformed" | "accept_failed" => BAD,
            _ => ODD,
        };
        let mut text = styled(style, self.event.replace('_', " "));
        if let Some(addr) = self.addr {
            text.push_str(&format!(" on {addr}"));
        }
        if let Some(state) = &self.fast_open_state {
            text.push_str(&format!(", Fast Open {state}"));
        }
        if let Some(peer) = self.peer {
            text.push_str(&format!(" {peer}"));
        }
        match self.via {
            Some("fastopen") => text.push_str(" by Fast Open"),
            Some(via) => text.push_str(&format!(" by {via} TCP")),
            None => {}
        }
        if let Some(bytes) = self.bytes {
            text.push_str(&format!(", {bytes} bytes"));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {reason}"));
        }
        text
    }
}

fn via_name(via: Via) -> &'static str {
    match via {
        Via::Plain => "plain",
        Via::FastOpen => "fastopen",
    }
}

/// A line to be written.
#[derive(Debug)]
enum Line {
    Event(Event),
    Last(Summary),
}

#[derive(Debug, Serialize)]
struct LastLine {
    summary: Summary,
}

/// Takes events, and has them written.
#[derive(Debug)]
pub(super) struct Events {
    lines: SyncSender<Line>,
    dropped: AtomicU64,
    closed: Arc<Notify>,
    writer: Mutex<Option<JoinHandle<Result<(), Stop>>>>,
}

impl Events {
    /// Starts writing, for programs or for people.
    pub(super) fn start(json: bool) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let closed = Arc::new(Notify::new());
        let tell_closed = closed.clone();
        let writer = thread::Builder::new()
            .name("events".into())
            .spawn(move || {
                // Clients are served whether or not anybody reads of it.
                let result = even_unread(write(&waiting, json));
                if result.is_err() {
                    tell_closed.notify_one();
                }
                result
            })?;
        let writer = Mutex::new(Some(writer));
        Ok(Self {
            lines,
            dropped: AtomicU64::new(0),
            closed,
            writer,
        })
    }

    /// Has an event written; never waits.
    pub(super) fn tell(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Line::Event(event)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ready when writing has failed, but not because nobody reads.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Has the summary written as the last line, and waits for that.
    pub(super) fn end(&self, mut summary: Summary) -> Result<(), Stop> {
        summary.unwritten_events = self.dropped.load(Ordering::Relaxed);
        // If the writer is gone, it says why below.
        let _ = self.lines.send(Line::Last(summary));
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Ok(()),
        }
    }
}

fn write(waiting: &Receiver<Line>, json: bool) -> Result<(), Stop> {
    for line in waiting {
        match (line, json) {
            (Line::Event(event), true) => output::json(&event)?,
            (Line::Event(event), false) => output::line(event.words())?,
            (Line::Last(summary), true) => return output::json(&LastLine { summary }),
            (Line::Last(summary), false) => return output::line(summary.words()),
        }
    }
    Ok(())
}

impl Summary {
    fn words(&self) -> String {
        let Self {
            accepted,
            first,
            duplicates,
            joined,
            malformed,
            timeouts,
            closed,
            ..
        } = self;
        let mut text = format!(
            "{accepted} connections: {first} admitted, {joined} paired, {duplicates} duplicates, \
             {malformed} malformed, {timeouts} timed out, {closed} closed early"
        );
        for (count, what) in [
            (self.forced_out, "forgotten before their time"),
            (self.unpaired, "not paired for want of room"),
            (self.evicted, "evicted"),
            (self.accept_errors, "failed accepts"),
            (self.broken, "broken after admission"),
            (self.unwritten_events, "events not written"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}
