//! Many races: none leaks a descriptor. Each test has a process of its own.

use std::io;
use std::time::Duration;

use headstart::Framing;
use headstart_lab::{Family, Lab};

use crate::common::conn::Race;
use crate::common::runtimes::Rt;
use crate::common::server::Server;
use crate::common::{self, Outcome, PATIENCE, ensure, exchange, pattern};
use crate::descriptors::{back_to, descriptors, unlimited};
use crate::harness::{RTT, fetch_cookie, tests_of};
use crate::streams::client;

tests_of![X:
    thousands_of_races_one_by_one_leak_no_descriptor,
    a_thousand_races_at_once_leak_no_descriptor,
];

fn echo<X: Rt>(rtt: Duration) -> io::Result<(Lab, Server<X>)> {
    let lab = common::lab(rtt)?;
    fetch_cookie(&lab, Family::V6)?;
    let server = Server::echo(&lab, lab.server(), Family::V6, Framing::token())?;
    // What the runtimes themselves open stays open.
    client::<X, _>(&lab, async |here| {
        let dialer = here.token_dialer().build()?;
        let mut stream = dialer.dial(server.address).await?;
        exchange(&mut stream, b"warm").await?;
        drop(stream);
        dialer.settled().await;
        Ok(())
    })?;
    server.handled();
    Ok((lab, server))
}

fn thousands_of_races_one_by_one_leak_no_descriptor<X: Rt>() -> Outcome {
    const RACES: usize = 3_000;
    let (lab, server) = echo::<X>(Duration::from_millis(1))?;
    let before = descriptors()?;
    let raced = client::<X, _>(&lab, async |here| {
        let dialer = here.token_dialer().build()?;
        let mut raced = 0;
        for _ in 0..RACES {
            let mut stream = dialer.dial(server.address).await?;
            here.within("an exchange", exchange(&mut stream, &pattern(600, 0)))
                .await?;
            raced += usize::from(stream.report().raced());
        }
        here.until(PATIENCE, dialer.settled()).await;
        assert_eq!(dialer.unsettled(), 0);
        Ok(raced)
    })?;
    ensure!(raced > RACES * 9 / 10, "only {raced} of {RACES} were races");
    let handled = server.handled();
    ensure!(handled == RACES, "{handled} handler calls");
    back_to(before)
}

fn a_thousand_races_at_once_leak_no_descriptor<X: Rt>() -> Outcome {
    const RACES: usize = 1_000;
    unlimited()?;
    let (lab, server) = echo::<X>(RTT / 2)?;
    let before = descriptors()?;
    client::<X, _>(&lab, async |here| {
        let dialer = here.token_dialer().build()?;
        let mut races = Vec::new();
        for number in 0..RACES {
            let (dialer, address) = (dialer.clone(), server.address);
            races.push(here.spawn(async move {
                let mut stream = dialer.dial(address).await?;
                exchange(&mut stream, &pattern(600, number as u8)).await
            }));
        }
        for race in races {
            here.within("an exchange", race).await?;
        }
        here.until(PATIENCE, dialer.settled()).await;
        assert_eq!(dialer.unsettled(), 0);
        Ok(())
    })?;
    let handled = server.handled();
    ensure!(handled == RACES, "{handled} handler calls");
    back_to(before)
}
