//! R2, R3, R6, R11, R13: which bytes are where.

use headstart_core::config::{LoserClose, Peer};
use headstart_core::framing::token::{Header, Id};

use super::Found;
use crate::app::ReadEnd;
use crate::run::Finished;
use crate::stream::{SYN_PAYLOAD, Statement};
use headstart_core::FirstFlight;
use headstart_core::race::{AttemptKind, Close};

pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    r2_same_bytes_everywhere(run, found);
    r6_copy_has_an_end(run, found);
    r11_fin_is_behind_the_last_byte(run, found);
    r13_a_syn_carries_the_flight(run, found);
    r3_one_connection_answers(run, found);
}

/// The Token that leads what is written, if one does.
fn header(run: &Finished<'_>) -> Option<[u8; 24]> {
    let FirstFlight::Token { id: Id(id) } = run
        .scenario
        .client
        .statement
        .first_flight(run.scenario.seed)
    else {
        return None;
    };
    let flight = run.report.flight.unwrap_or(24).saturating_sub(24);
    let header = Header {
        id: Id(id),
        flight_len: u16::try_from(flight).unwrap_or(u16::MAX),
        resets_losers: run.scenario.race.losers == LoserClose::Abortive,
    };
    Some(header.encode())
}

fn r2_same_bytes_everywhere(run: &Finished<'_>, found: &mut Found) {
    let header = header(run);
    for flow in &run.world.flows {
        let Some(socket) = run.world.sockets.get(flow.client) else {
            continue;
        };
        let (led, rest) = match &header {
            None => (true, &socket.tx[..]),
            Some(header) => {
                let (head, rest) = socket.tx.split_at(header.len().min(socket.tx.len()));
                (header.starts_with(head), rest)
            }
        };
        let same = led && run.upload.starts_with(rest) && rest.len() <= run.app.written;
        found.require(same, "R2", || {
            format!("{} {} was sent other bytes", flow.kind, flow.target)
        });
    }
}

fn r6_copy_has_an_end(run: &Finished<'_>, found: &mut Found) {
    let flight = run.report.flight.unwrap_or(0);
    let lengths = || {
        let sockets = run.world.flows.iter();
        sockets.filter_map(|flow| Some(run.world.sockets.get(flow.client)?.tx.len()))
    };
    let beyond = lengths().filter(|sent| *sent > flight).count();
    found.require(beyond <= 1, "R6", || {
        format!("bytes beyond the first flight are on {beyond} connections")
    });
    let alone = run.scenario.race.peer == Peer::Unaware && !run.scenario.race.insist
        || run.scenario.client.statement == Statement::Unstated;
    let carrying = lengths().filter(|sent| *sent > 0).count();
    found.require(!alone || carrying <= 1, "R13", || {
        format!("bytes that may not be copied are on {carrying} connections")
    });
}

fn r11_fin_is_behind_the_last_byte(run: &Finished<'_>, found: &mut Found) {
    let all = run
        .app
        .written
        .saturating_add(run.scenario.client.statement.header_len());
    let won = run.won().map(|flow| flow.client);
    for flow in &run.world.flows {
        let Some(socket) = run.world.sockets.get(flow.client) else {
            continue;
        };
        let loser = flow.closed == Some(Close::Graceful) && won != Some(flow.client);
        let whole = socket.tx.len() == all || socket.tx.is_empty() && run.app.written == 0;
        found.require(!socket.fin || loser || whole, "R11", || {
            let sent = socket.tx.len();
            format!(
                "FIN on {} {} behind byte {sent} of {all}",
                flow.kind, flow.target
            )
        });
    }
}

fn r13_a_syn_carries_the_flight(run: &Finished<'_>, found: &mut Found) {
    let flight = run.report.flight.unwrap_or(0);
    for flow in &run.world.flows {
        let Some(socket) = run.world.sockets.get(flow.client) else {
            continue;
        };
        let carried = socket.syn_len as usize;
        let right = carried <= flight.min(SYN_PAYLOAD)
            && (carried == 0 || flow.kind == AttemptKind::FastOpen);
        found.require(right, "R13", || {
            format!("a SYN carries {carried} bytes where the flight has {flight}")
        });
    }
}

fn r3_one_connection_answers(run: &Finished<'_>, found: &mut Found) {
    if run.app.read.is_empty() {
        return;
    }
    let peer = run
        .won()
        .and_then(|flow| run.world.sockets.get(flow.client)?.peer);
    let Some(sent) = peer.and_then(|peer| run.world.sockets.get(peer)) else {
        return found.require(false, "R3", || "bytes were read, and nobody won".to_owned());
    };
    found.require(sent.tx.starts_with(&run.app.read), "R3", || {
        let read = run.app.read.len();
        format!("the {read} bytes read are not the first that the connection sent")
    });
    // A failure is told once: where a write has taken it, reading just ends.
    let whole = run.app.read_end != Some(ReadEnd::Eof)
        || run.app.write_failed.is_some()
        || run.app.read.len() == sent.tx.len();
    found.require(whole, "R3", || {
        let (read, sent) = (run.app.read.len(), sent.tx.len());
        format!("end of file after {read} bytes of {sent}")
    });
}
