//! One connection, used as programs use it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use headstart::core::race::{AttemptKind, Exit, NotStarted, Outcome as Out, Report};
use headstart::{Framing, Peer};
use headstart_io::Admitted;
use headstart_lab::{Family, Lab, Rule};

use crate::common::conn::{Conn, Race};
use crate::common::runtimes::{Here, Rt};
use crate::common::server::Server;
use crate::common::{self, Outcome, PATIENCE, ensure, exchange, pattern};
use crate::harness::{RTT, fetch_cookie, lock, tests_of};

tests_of![X:
    vectored_writes_pass_before_and_after_the_choice,
    a_half_closed_race_reads_the_big_answer,
    halves_in_two_tasks_do_not_steal_wakes,
    a_server_that_speaks_first_is_heard,
    an_upload_that_is_dropped_at_once_arrives,
    the_runtimes_own_stream_is_given_back,
    names_are_resolved_and_wrong_ones_reported,
    a_pair_is_answered_by_either_way,
];

/// A lab whose client has the server's cookie.
pub fn lab(rule: Rule) -> io::Result<Lab> {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(rule);
    Ok(lab)
}

/// A test counts only if both attempts started, or a rule says why not: on a
/// busy machine plain may be open before the flight is written.
pub fn counts(report: &Report) -> bool {
    report.raced()
        || report
            .attempts
            .iter()
            .any(|a| a.outcome == Out::Out(Exit::NotStarted(NotStarted::PlainOpen)))
}

/// A gate with a handler of the test's.
pub fn server<X: Rt, F>(
    lab: &Lab,
    pairing: bool,
    handler: impl Fn(Admitted<X::Runtime>) -> F + Send + 'static,
) -> io::Result<Server<X>>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let settings = move |gate: headstart_io::GateBuilder<X::Runtime>| gate.pairing(pairing);
    Server::start(
        lab,
        lab.server(),
        Family::V4,
        Framing::token(),
        settings,
        handler,
    )
}

/// Runs a client of one runtime in the lab.
pub fn client<X: Rt, T: Send>(
    lab: &Lab,
    work: impl AsyncFnOnce(Here<X>) -> io::Result<T> + Send,
) -> io::Result<T> {
    lab.client().run(|| X::block_on(work))?
}

fn vectored_writes_pass_before_and_after_the_choice<X: Rt>() -> Outcome {
    let lab = lab(Rule::Transparent)?;
    let echo = server::<X, _>(&lab, true, common::server::echo)?;
    let writes = client::<X, _>(&lab, async |here| {
        let mut stream = here.token_dialer().build()?.dial(echo.address).await?;
        let (one, two) = (pattern(300, 1), pattern(300, 2));
        let both = [IoSlice::new(&one), IoSlice::new(&two)];
        // A vectored write counts whole: it is one first flight.
        let first = stream.write_vectored(&both).await?;
        let mut echoed = vec![0; 600];
        here.within("an echo", stream.read_exact(&mut echoed))
            .await?;
        assert!(echoed == [&one[..], &two[..]].concat());
        let after = stream.write_vectored(&both).await?;
        here.within("an echo", stream.read_exact(&mut echoed[..after]))
            .await?;
        assert!(echoed[..after] == [&one[..], &two[..]].concat()[..after]);
        assert_eq!(stream.report().flight, Some(24 + 600));
        Ok((first, after))
    })?;
    ensure!(writes == (600, 600), "{writes:?} of 600 bytes written");
    Ok(())
}

fn a_half_closed_race_reads_the_big_answer<X: Rt>() -> Outcome {
    const BIG: usize = 8 << 20;
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::DropSynAck] {
        let lab = lab(rule)?;
        let server = server::<X, _>(&lab, true, |mut admitted| async move {
            assert_eq!(admitted.stream.read_to_end().await?.len(), 600);
            admitted.stream.write_all(&pattern(BIG, 4)).await?;
            admitted.stream.close().await
        })?;
        let report = client::<X, _>(&lab, async |here| {
            let mut stream = here.token_dialer().build()?.dial(server.address).await?;
            stream.write_all(&pattern(600, 0)).await?;
            here.within("a shutdown", stream.close()).await?;
            let answer = here.within("the answer", stream.read_to_end()).await?;
            assert!(answer == pattern(BIG, 4), "{} bytes", answer.len());
            Ok(stream.report())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(counts(&report), "{rule}: {report:?}");
        ensure!(server.handled() == 1, "{rule}: handled more than once");
    }
    Ok(())
}

/// A half of a stream: what every runtime's `split` is, a lock around polls.
struct Half<C>(Arc<Mutex<C>>);

impl<C: Conn> Conn for Half<C> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_close(cx)
    }
}

fn halves_in_two_tasks_do_not_steal_wakes<X: Rt>() -> Outcome {
    const UPLOAD: usize = 1 << 20;
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::StripOption] {
        let lab = lab(rule)?;
        let echo = server::<X, _>(&lab, true, common::server::echo)?;
        client::<X, _>(&lab, async |here| {
            let mut stream = here.token_dialer().build()?.dial(echo.address).await?;
            stream.first_flight(&pattern(600, 0))?;
            let stream = Arc::new(Mutex::new(stream));
            let (mut reader, mut writer) = (Half(stream.clone()), Half(stream));
            let reading = here.spawn(async move { reader.read_to_end().await });
            let writing = here.spawn(async move {
                writer.write_all(&pattern(UPLOAD, 9)).await?;
                writer.flush().await?;
                writer.close().await
            });
            here.within("writing", writing).await?;
            let all = here.within("reading", reading).await?;
            assert!(all[600..] == pattern(UPLOAD, 9));
            Ok(())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(echo.handled() == 1, "{rule}: handled more than once");
    }
    Ok(())
}

fn a_server_that_speaks_first_is_heard<X: Rt>() -> Outcome {
    let lab = lab(Rule::Transparent)?;
    let server = server::<X, _>(&lab, true, |mut admitted| async move {
        admitted.stream.write_all(b"hello").await?;
        let mut question = [0; 3];
        admitted.stream.read_exact(&mut question).await?;
        assert_eq!(&question, b"you");
        admitted.stream.write_all(b"too").await
    })?;
    let report = client::<X, _>(&lab, async |here| {
        let mut stream = here.token_dialer().build()?.dial(server.address).await?;
        let mut greeting = [0; 5];
        // A Token of no bytes is the first message.
        here.within("a greeting", stream.read_exact(&mut greeting))
            .await?;
        stream.write_all(b"you").await?;
        here.within("an answer", stream.read_exact(&mut greeting[..3]))
            .await?;
        assert_eq!(&greeting, b"toolo");
        Ok(stream.report())
    })?;
    ensure!(counts(&report) && report.flight == Some(24), "{report:?}");
    ensure!(server.handled() == 1, "handled more than once");
    Ok(())
}

fn an_upload_that_is_dropped_at_once_arrives<X: Rt>() -> Outcome {
    const UPLOAD: usize = 40_000;
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::ResetSyn] {
        let lab = lab(rule)?;
        let (heard, hears) = smol::channel::unbounded();
        let server = server::<X, _>(&lab, true, move |mut admitted| {
            let heard = heard.clone();
            async move {
                let all = admitted.stream.read_to_end().await;
                heard.send(all).await.map_err(io::Error::other)
            }
        })?;
        let all = client::<X, _>(&lab, async |here| {
            let dialer = here.token_dialer().build()?;
            let mut stream = dialer.dial(server.address).await?;
            stream.first_flight(&pattern(600, 0))?;
            here.within("a write", stream.write_all(&pattern(UPLOAD, 5)))
                .await?;
            drop(stream);
            here.until(PATIENCE, dialer.settled()).await;
            assert_eq!(dialer.unsettled(), 0);
            here.within("the upload", async {
                hears.recv().await.map_err(io::Error::other)?
            })
            .await
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(
            all.len() == 600 + UPLOAD && all[600..] == pattern(UPLOAD, 5),
            "{rule}: {} bytes came",
            all.len()
        );
        ensure!(server.handled() == 1, "{rule}: handled more than once");
    }
    Ok(())
}

fn the_runtimes_own_stream_is_given_back<X: Rt>() -> Outcome {
    let lab = lab(Rule::DropSynWithData)?;
    let echo = server::<X, _>(&lab, true, common::server::echo)?;
    client::<X, _>(&lab, async |here| {
        let mut stream = here.token_dialer().build()?.dial(echo.address).await?;
        stream.write_all(b"before").await?;
        let Err(mut stream) = stream.into_inner() else {
            return Err(io::Error::other("given before it was chosen"));
        };
        let mut echoed = [0; 6];
        here.within("an echo", stream.read_exact(&mut echoed))
            .await?;
        let won = stream.report().winner().map(|winner| winner.kind);
        assert_eq!(won, Some(AttemptKind::Plain));
        let Ok(mut inner) = stream.into_inner() else {
            return Err(io::Error::other("not given"));
        };
        inner.write_all(b"behind").await?;
        here.within("an echo", inner.read_exact(&mut echoed))
            .await?;
        assert_eq!(&echoed, b"behind");
        Ok(())
    })?;
    Ok(())
}

fn names_are_resolved_and_wrong_ones_reported<X: Rt>() -> Outcome {
    X::block_on(async |here| {
        let dialer = here.dialer().build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        for host in ["localhost", "127.0.0.1"] {
            let dialled = here.within(host, dialer.dial((host, port))).await;
            drop(dialled?);
        }
        let wrong = here.within("a wrong name", dialer.dial(("no.such.host.invalid", port)));
        assert!(wrong.await.is_err());
        Ok(())
    })?;
    Ok(())
}

fn a_pair_is_answered_by_either_way<X: Rt>() -> Outcome {
    for rule in [
        Rule::DropServerDataAfterHandshake,
        Rule::BlackholeAfterHandshake,
        Rule::LoseFirstSynAck,
        Rule::LoseFirstServerData,
    ] {
        let lab = lab(rule)?;
        let echo = server::<X, _>(&lab, true, common::server::echo)?;
        client::<X, _>(&lab, async |here| {
            let dialer = here.dialer().token().peer(Peer::Pairing).build()?;
            for round in 0..3 {
                let mut stream = dialer.dial(echo.address).await?;
                here.within("an exchange", exchange(&mut stream, &pattern(600, round)))
                    .await?;
                let upload = pattern(100_000, round);
                here.within("an upload", exchange(&mut stream, &upload))
                    .await?;
            }
            Ok(())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(echo.handled() == 3, "{rule}: not handled once each");
    }
    Ok(())
}
