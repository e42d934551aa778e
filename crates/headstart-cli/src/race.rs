//! `headstart race`.

use std::time::Duration;

use headstart_io::Target;
use headstart_tokio::Peer;
use headstart_tokio::core::race::AttemptKind;
use serde::Serialize;

use crate::attempts::{AttemptLine, kind_name};
use crate::cli::RaceArgs;
use crate::dial::{Client, Dialled, Plan};
use crate::exit::{Done, Stop};
use crate::memory::Kept;
use crate::output::{self, BAD, GOOD, micros, millis, styled};

/// Runs the command.
pub(crate) fn run(args: &RaceArgs) -> Result<Done, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::because("starting", error))?;
    let done = runtime.block_on(dial_all(args));
    // A name server that does not answer must not keep the process.
    runtime.shutdown_background();
    done
}

async fn dial_all(args: &RaceArgs) -> Result<Done, Stop> {
    let kept = args.memory.as_deref().map(Kept::open).transpose()?;
    let client = Client::new(args.mode, Peer::FirstCome, kept.as_ref())
        .map_err(|error| Stop::because("starting", error))?;
    let plan = Plan {
        size: args.size,
        exchanges: args.exchanges,
        patience: args.timeout,
    };
    let mut tally = Tally::default();
    let dialled = dial_each(args, &client, plan, &mut tally).await;
    // Also if nobody wants to read any more.
    if let Some(kept) = &kept {
        kept.save();
    }
    dialled?;
    let summary = tally.summary();
    match args.json {
        true => output::json(&LastLine { summary })?,
        false => output::line(summary.words())?,
    }
    Ok(if summary.failed == 0 {
        Done::Well
    } else {
        Done::Partly
    })
}

async fn dial_each(
    args: &RaceArgs,
    client: &Client,
    plan: Plan,
    tally: &mut Tally,
) -> Result<(), Stop> {
    for number in 0..args.n {
        let target = Target::Host(args.server.host.clone(), args.server.port);
        let dialled = client.dial(target, plan).await;
        tally.add(&dialled);
        match args.json {
            true => output::json(&Line::new(number, args, &dialled))?,
            false => output::line(words(number, &dialled))?,
        }
    }
    Ok(())
}

/// A dial, as JSON tells it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    n: u64,
    ok: bool,
    mode: &'static str,
    winner: Option<&'static str>,
    first_byte_us: Option<u64>,
    total_us: Option<u64>,
    syn_data: bool,
    bytes_copied: usize,
    error: Option<&'a str>,
    attempts: &'a [AttemptLine],
}

impl<'a> Line<'a> {
    fn new(n: u64, args: &RaceArgs, dialled: &'a Dialled) -> Self {
        Self {
            n,
            ok: dialled.is_ok(),
            mode: args.mode.name(),
            winner: dialled.winner.map(kind_name),
            first_byte_us: dialled.first_byte.map(micros),
            total_us: dialled.total.map(micros),
            syn_data: dialled.syn_data,
            bytes_copied: dialled.bytes_copied,
            error: dialled.failure.as_ref().map(|failed| failed.why.as_str()),
            attempts: &dialled.attempts,
        }
    }
}

/// A dial, for people.
fn words(number: u64, dialled: &Dialled) -> String {
    let number = number.saturating_add(1);
    let first = dialled.first_byte.map(millis);
    let answer = match (&first, dialled.winner) {
        (Some(first), Some(AttemptKind::Plain)) => format!("plain answered after {first}"),
        (Some(first), _) if dialled.syn_data => {
            format!("Fast Open answered after {first}, with the data in its SYN")
        }
        (Some(first), _) => format!("Fast Open answered after {first}, without data in its SYN"),
        (None, _) => String::new(),
    };
    match &dialled.failure {
        None => match dialled.suspended {
            Some(trouble) => format!("{number}: {answer}; Fast Open not tried: {trouble}"),
            None => format!("{number}: {answer}"),
        },
        Some(failed) if first.is_some() => {
            format!(
                "{number}: {answer}, then {}: {}",
                styled(BAD, "failed"),
                failed.why
            )
        }
        Some(failed) => format!("{number}: {}: {}", styled(BAD, "failed"), failed.why),
    }
}

#[derive(Debug, Serialize)]
struct LastLine {
    summary: Summary,
}

/// All dials. Times are to the first byte of reply, of dials that went well.
#[derive(Clone, Copy, Debug, Serialize)]
struct Summary {
    dials: u64,
    ok: u64,
    failed: u64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
}

impl Summary {
    fn words(&self) -> String {
        let ok = styled(GOOD, format_args!("{} ok", self.ok));
        let mut text = format!("{} dialled, {ok}", self.dials);
        if self.failed > 0 {
            let failed = styled(BAD, format_args!("{} failed", self.failed));
            text.push_str(&format!(", {failed}"));
        }
        if let (Some(p50), Some(p99)) = (self.p50_us, self.p99_us) {
            let [p50, p99] = [p50, p99].map(|us| millis(Duration::from_micros(us)));
            text.push_str(&format!(
                "; first byte: median {p50}, 99th percentile {p99}"
            ));
        }
        text
    }
}

#[derive(Debug, Default)]
struct Tally {
    dials: u64,
    first_bytes_us: Vec<u64>,
}

impl Tally {
    fn add(&mut self, dialled: &Dialled) {
        self.dials += 1;
        if let (true, Some(first_byte)) = (dialled.is_ok(), dialled.first_byte) {
            self.first_bytes_us.push(micros(first_byte));
        }
    }

    fn summary(&mut self) -> Summary {
        self.first_bytes_us.sort_unstable();
        let ok = u64::try_from(self.first_bytes_us.len()).unwrap_or(u64::MAX);
        Summary {
            dials: self.dials,
            ok,
            failed: self.dials.saturating_sub(ok),
            p50_us: percentile(&self.first_bytes_us, 50),
            p99_us: percentile(&self.first_bytes_us, 99),
        }
    }
}

/// The smallest value that so many per cent do not exceed (nearest rank).
fn percentile(sorted: &[u64], per_cent: usize) -> Option<u64> {
    let rank = sorted.len().saturating_mul(per_cent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<_> = (1..=100).collect();
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[1, 2, 3], 50), Some(2));
        assert_eq!(percentile(&hundred, 50), Some(50));
        assert_eq!(percentile(&hundred, 99), Some(99));
    }
}
