//! The runtimes as programs find them, with their global executors, and under
//! executors that know nothing of them. Each test has a process of its own:
//! the threads of an executor stay in the namespace in which they started.

use std::future::Future;
use std::io;
use std::time::Duration;

use headstart::{Framing, Peer};
use headstart_async_std::AsyncStd;
use headstart_io::{Dialer, Runtime};
use headstart_lab::{Family, Rule};
use headstart_smol::Smol;

use crate::common::conn::{Conn, Race};
use crate::common::{Outcome, Server, ensure, exchange, pattern};
use crate::harness::{tests, until};
use crate::streams::{counts, lab};

tests![
    smol_under_its_own_block_on,
    smol_under_an_executor_that_knows_no_sockets,
    async_std_under_its_own_block_on,
    async_std_under_an_executor_that_knows_no_sockets,
];

fn smol_under_its_own_block_on() -> Outcome {
    race::<Smol>(|work| smol::block_on(work))
}

fn smol_under_an_executor_that_knows_no_sockets() -> Outcome {
    race::<Smol>(|work| smol::future::block_on(work))
}

fn async_std_under_its_own_block_on() -> Outcome {
    race::<AsyncStd>(|work| async_std::task::block_on(work))
}

fn async_std_under_an_executor_that_knows_no_sockets() -> Outcome {
    race::<AsyncStd>(|work| smol::future::block_on(work))
}

type Work<'a> = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// Races over paths that need the driver's task: it starts nothing but ends
/// what is dropped, and a plain path that opens late is chosen by it.
fn race<R: Runtime<RaceStream: Race>>(block_on: fn(Work<'_>) -> io::Result<()>) -> Outcome {
    let lab = lab(Rule::DropSynWithData)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    lab.client().run(|| {
        block_on(Box::pin(async {
            let dialer = Dialer::<R>::builder()?
                .token()
                .peer(Peer::FirstCome)
                .memory(None)
                .build()?;
            for round in 0..20 {
                let mut stream = dialer.dial(server.address).await?;
                exchange(&mut stream, &pattern(600, round)).await?;
                assert!(counts(&stream.report()));
            }
            // Nobody polls this one: the driver delivers it.
            let mut stream = dialer.dial(server.address).await?;
            stream.write_all(&pattern(600, 0)).await?;
            drop(stream);
            dialer.settled().await;
            Ok(())
        }))
    })??;
    let mut handled = 0;
    until("the handler called for each", || {
        handled += server.handled();
        handled == 21
    })?;
    std::thread::sleep(Duration::from_millis(50));
    ensure!(server.handled() == 0, "handled too often");
    Ok(())
}
