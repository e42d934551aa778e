//! How races end without an answer (R3, R4, R5).

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use headstart::core::race::{AttemptKind, Exit, FailureKind, Outcome as Out, Report};
use headstart::tokio::{Dialer, DialerBuilder};
use headstart::{FirstFlight, Kinds, RaceError};
use headstart_lab::{Family, Lab, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{self, Outcome, PORT, ensure, on_client, pattern};
use crate::support::{Bare, Manner, RTT, attempt, fetch_cookie, tests, within};

tests![
    r4_refused_by_all_is_one_error_with_every_reason,
    r4_closed_by_all_is_end_of_file,
    r4_reset_by_all_is_an_error,
    r4_one_refused_is_not_all_refused,
    r5_a_sole_survivor_tells_the_others_reasons,
    r5_a_later_error_is_the_connections_own,
    errors_of_one_plain_attempt_are_plain,
];

fn asserted() -> io::Result<DialerBuilder> {
    Ok(Dialer::builder()?
        .first_flight(FirstFlight::Asserted)
        .insist(true))
}

/// Writes a flight and reads to the end.
fn ask(
    lab: &Lab,
    address: SocketAddr,
    settings: impl FnOnce(DialerBuilder) -> DialerBuilder + Send,
) -> io::Result<(io::Result<Vec<u8>>, Report)> {
    on_client(lab, async || {
        let dialer = settings(asserted()?).build()?;
        let mut stream = dialer.dial(address).await?;
        stream.write_all(&pattern(600, 0)).await?;
        let mut answer = Vec::new();
        let read = within("an end", stream.read_to_end(&mut answer)).await;
        Ok((read.map(|_| answer), stream.report()))
    })
}

fn race_error(error: &io::Error) -> Result<&RaceError, String> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.ok_or_else(|| format!("no RaceError: {error:?}"))
}

fn r4_refused_by_all_is_one_error_with_every_reason() -> Outcome {
    for (family, cookie) in [(Family::V4, false), (Family::V4, true), (Family::V6, true)] {
        let lab = common::lab(RTT / 5)?;
        if cookie {
            fetch_cookie(&lab, family)?;
        }
        let closed = SocketAddr::new(lab.server_addr(family), PORT);
        let (answer, report) = ask(&lab, closed, |dialer| dialer)?;
        ensure!(report.raced(), "{report:?}");
        let error = answer.err().ok_or("an answer from nobody")?;
        ensure!(
            error.kind() == io::ErrorKind::ConnectionRefused,
            "{error:?}"
        );
        let reasons: Vec<_> = race_error(&error)?.reasons.iter().collect();
        ensure!(reasons.len() == 2, "{reasons:?}");
        for (_, _, exit) in reasons {
            ensure!(
                matches!(exit, Exit::Failed(f) if f.kind == FailureKind::Refused),
                "{error}"
            );
        }
        let text = error.to_string();
        let wanted = "plain: refused (os error 111); fast open: refused (os error 111)";
        ensure!(text == wanted, "{text}");
        ensure!(
            race_error(&error)?.source().is_none(),
            "a cause that is told already"
        );
    }
    Ok(())
}

fn r4_closed_by_all_is_end_of_file() -> Outcome {
    for cookie in [false, true] {
        let lab = common::lab(RTT / 5)?;
        if cookie {
            fetch_cookie(&lab, Family::V4)?;
        }
        let bare = Bare::start(&lab, Family::V4, Manner::Close)?;
        let (answer, report) = ask(&lab, bare.address, |dialer| dialer)?;
        ensure!(
            matches!(&answer, Ok(bytes) if bytes.is_empty()),
            "{answer:?}: {report:?}"
        );
        ensure!(report.raced(), "{report:?}");
        ensure!(
            report.attempts.iter().all(|a| a.first_byte.is_none()),
            "{report:?}"
        );
    }
    Ok(())
}

fn r4_reset_by_all_is_an_error() -> Outcome {
    for cookie in [false, true] {
        let lab = common::lab(RTT / 5)?;
        if cookie {
            fetch_cookie(&lab, Family::V4)?;
        }
        let bare = Bare::start(&lab, Family::V4, Manner::Reset(b""))?;
        let (answer, report) = ask(&lab, bare.address, |dialer| dialer)?;
        let error = answer.err().ok_or("an answer from nobody")?;
        ensure!(
            error.kind() == io::ErrorKind::ConnectionReset,
            "{error:?}: {report:?}"
        );
        ensure!(race_error(&error)?.reasons.iter().count() == 2, "{error}");
    }
    Ok(())
}

fn r4_one_refused_is_not_all_refused() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(Rule::ResetSyn);
    let bare = Bare::start(&lab, Family::V4, Manner::Answer(b"answer"))?;
    let answered = on_client(&lab, async || {
        let mut stream = asserted()?.build()?.dial(bare.address).await?;
        stream.write_all(&pattern(600, 0)).await?;
        let mut answer = [0; 6];
        within("an answer", stream.read_exact(&mut answer)).await?;
        Ok(stream.report())
    })?;
    let fast_open = attempt(&answered, AttemptKind::FastOpen)?.outcome;
    ensure!(
        matches!(fast_open, Out::Out(Exit::Failed(f)) if f.kind == FailureKind::Refused),
        "{answered:?}"
    );
    Ok(())
}

/// Fast Open is refused, and plain is reset before it has answered.
fn r5_a_sole_survivor_tells_the_others_reasons() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(Rule::ResetSyn);
    let bare = Bare::start(&lab, Family::V4, Manner::Reset(b""))?;
    let (answer, report) = ask(&lab, bare.address, |dialer| dialer)?;
    let error = answer.err().ok_or("an answer from nobody")?;
    let reasons: Vec<_> = race_error(&error)?
        .reasons
        .iter()
        .map(|(_, k, e)| (k, e))
        .collect();
    let [
        (AttemptKind::Plain, Exit::Failed(plain)),
        (AttemptKind::FastOpen, Exit::Failed(other)),
    ] = reasons[..]
    else {
        return Err(format!("{error}: {report:?}").into());
    };
    ensure!(plain.kind == FailureKind::Reset, "{error}");
    ensure!(other.kind == FailureKind::Refused, "{error}");
    ensure!(error.kind() == io::ErrorKind::ConnectionReset, "{error:?}");
    Ok(())
}

fn r5_a_later_error_is_the_connections_own() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    let bare = Bare::start(&lab, Family::V4, Manner::Reset(b"answer"))?;
    let (answer, report) = ask(&lab, bare.address, |dialer| dialer)?;
    let error = answer.err().ok_or("no reset")?;
    ensure!(
        error.kind() == io::ErrorKind::ConnectionReset,
        "{error:?}: {report:?}"
    );
    ensure!(
        error.raw_os_error().is_some(),
        "not the system's own: {error:?}"
    );
    Ok(())
}

fn errors_of_one_plain_attempt_are_plain() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    let closed = SocketAddr::new(lab.server_addr(Family::V4), PORT);
    let (answer, _) = ask(&lab, closed, |dialer| dialer.kinds(Kinds::PlainOnly))?;
    let error = answer.err().ok_or("an answer from nobody")?;
    ensure!(
        error.kind() == io::ErrorKind::ConnectionRefused,
        "{error:?}"
    );
    ensure!(
        error.to_string() == "plain: refused (os error 111)",
        "{error}"
    );
    Ok(())
}
