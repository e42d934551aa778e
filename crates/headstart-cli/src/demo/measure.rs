//! Measuring one path: a lab of its own, a cookie, and then the dials.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use headstart_lab::{Family, Lab, Rule};
use headstart_tokio::Peer;
use tokio::runtime::Runtime;

use super::path::Path;
use super::row::{Column, Row, Sample};
use super::server::{Calls, Server};
use super::way::Way;
use crate::dial::{Client, Dialled, Plan};

/// Dials in each way, as long as they are quick.
const DIALS: usize = 5;
/// A way whose dials have taken longer than this gets no further dial.
const ENOUGH: Duration = Duration::from_secs(1);
/// Bytes of each first flight.
const SIZE: usize = 512;
/// Round trips that late packets may take.
const LATE: u32 = 4;
/// Tries to fetch a cookie.
const COOKIE_TRIES: usize = 3;
const PORT: u16 = 4000;

/// What holds for every path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) rtt: Duration,
    /// How long a dial may take.
    pub(super) patience: Duration,
}

impl Setting {
    /// Patience for one SYN retransmission (RFC 6298: 1 s) and what it needs
    /// around it.
    pub(super) fn new(rtt: Duration) -> Self {
        Self {
            rtt,
            patience: Duration::from_millis(2500) + rtt * 10,
        }
    }

    fn plan(&self) -> Plan {
        // The second exchange shows whether the connection lives on.
        Plan {
            size: SIZE,
            exchanges: 2,
            patience: self.patience,
        }
    }
}

/// Measures one path.
pub(super) fn row(path: Path, setting: &Setting) -> io::Result<Row> {
    let columns = match path {
        Path::FirstContact => first_contacts(path, setting)?,
        Path::NoFastOpen | Path::Under(_) => {
            Site::build(path, setting)?.measure(&Way::ALL, DIALS)?
        }
    };
    Ok(Row::new(path, columns))
}

/// Dials that have no cookie: each in a lab of its own, since it leaves one.
fn first_contacts(path: Path, setting: &Setting) -> io::Result<Vec<Column>> {
    let mut columns = Vec::new();
    for way in Way::ALL {
        let began = Instant::now();
        let mut samples = Vec::new();
        while goes_on(samples.len(), DIALS, began) {
            let site = Site::build(path, setting)?;
            for column in site.measure(&[way], 1)? {
                samples.extend(column.dials);
            }
        }
        columns.extend(Column::new(way, samples));
    }
    Ok(columns)
}

/// A lab with its servers. Servers stop before the wire is cut.
#[derive(Debug)]
struct Site<'a> {
    path: Path,
    setting: &'a Setting,
    calls: Calls,
    _servers: Vec<Server>,
    lab: Lab,
}

impl<'a> Site<'a> {
    fn build(path: Path, setting: &'a Setting) -> io::Result<Self> {
        let lab = Lab::builder().rtt(setting.rtt).build()?;
        if path == Path::NoFastOpen {
            lab.server().set_fast_open(0x1)?;
        }
        let calls = Calls::default();
        let mut hosts = vec![lab.server()];
        hosts.extend(path.is_balanced().then(|| lab.second_server()));
        let mut servers = Vec::new();
        for host in hosts {
            for peer in [Peer::FirstCome, Peer::Pairing] {
                let address = server_address(&lab, peer);
                servers.push(Server::start(host, address, peer, calls.clone())?);
            }
        }
        Ok(Self {
            path,
            setting,
            calls,
            _servers: servers,
            lab,
        })
    }

    /// Measures so many dials in each way, from the client's host.
    fn measure(&self, ways: &[Way], dials: usize) -> io::Result<Vec<Column>> {
        self.lab.client().run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            if self.path.has_cookie() {
                self.fetch_cookie(&runtime)?;
            }
            self.lab.set_rule(self.path.rule());
            let mut dialled = Vec::new();
            for way in ways {
                dialled.push((*way, self.dial_some(&runtime, *way, dials)?));
            }
            thread::sleep(self.setting.rtt * LATE + self.path.late());
            let columns = dialled.into_iter().filter_map(|(way, dialled)| {
                Column::new(way, dialled.into_iter().map(|d| self.sample(d)).collect())
            });
            Ok(columns.collect())
        })?
    }

    fn dial_some(&self, runtime: &Runtime, way: Way, most: usize) -> io::Result<Vec<Dialled>> {
        let began = Instant::now();
        let mut dialled = Vec::new();
        while goes_on(dialled.len(), most, began) {
            dialled.push(self.dial(runtime, way)?);
        }
        Ok(dialled)
    }

    fn dial(&self, runtime: &Runtime, way: Way) -> io::Result<Dialled> {
        let target = server_address(&self.lab, way.peer()).into();
        runtime.block_on(async {
            let client = Client::new(way.mode(), way.peer(), None)?;
            Ok(client.dial(target, self.setting.plan()).await)
        })
    }

    fn sample(&self, dialled: Dialled) -> Sample {
        let calls = self.calls.of(&dialled.flight);
        Sample::new(dialled, calls, self.setting.rtt)
    }

    /// Dials with Fast Open until data goes with the SYN.
    fn fetch_cookie(&self, runtime: &Runtime) -> io::Result<()> {
        self.lab.set_rule(Rule::Transparent);
        if self.path.wants_experimental_cookie() {
            // A server that gives no cookie makes Linux ask in the older way.
            self.lab.server().set_fast_open(0x1)?;
            self.dial(runtime, Way::FastOpen)?;
            self.lab.server().set_fast_open(0x3)?;
        }
        for _ in 0..COOKIE_TRIES {
            self.dial(runtime, Way::FastOpen)?;
            if self.dial(runtime, Way::FastOpen)?.syn_data {
                return Ok(());
            }
        }
        Err(io::Error::other(
            "the server gave no Fast Open cookie on a clear path",
        ))
    }
}

/// Whether there is to be another dial after so many.
fn goes_on(dials: usize, most: usize, began: Instant) -> bool {
    dials == 0 || (dials < most && began.elapsed() < ENOUGH)
}

/// Servers that differ in what they do with a second copy differ by port.
fn server_address(lab: &Lab, peer: Peer) -> SocketAddr {
    let port = match peer {
        Peer::Pairing => PORT,
        Peer::FirstCome | Peer::Unaware => PORT + 1,
    };
    SocketAddr::new(lab.server_addr(Family::V4), port)
}
