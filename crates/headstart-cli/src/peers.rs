//! `headstart peers`.

use std::net::ToSocketAddrs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headstart_store::{Contents, MemoryFile};
use headstart_tokio::Peer;
use headstart_tokio::core::path::{Remembered, Standing, WallTime};
use headstart_tokio::core::peers::NodeUrl;
use serde::Serialize;

use crate::cli::{PeersArgs, Server};
use crate::exit::{self, Done, Stop};
use crate::memory;
use crate::output::{self, BAD, GOOD, ODD, complain, styled};

/// Runs the command.
pub(crate) fn run(args: &PeersArgs) -> Result<Done, Stop> {
    let file = MemoryFile::new(&args.file);
    let mut contents = memory::load(&file)?;
    let mut done = Done::Well;
    if !args.add.is_empty() || !args.forget.is_empty() {
        let mut change = |contents: &mut Contents| {
            for peer in &args.forget {
                if forget(contents, peer) == 0 {
                    complain("warning", &format!("nothing is known of {peer}"));
                    done = Done::Partly;
                }
            }
            args.add
                .iter()
                .for_each(|url| contents.insert_peer(url.clone()));
        };
        file.update(|stored| {
            change(stored);
            contents = stored.clone();
        })
        .map_err(|error| Stop::because("writing", error))?;
    }
    exit::even_unread(list(&contents, args.json))?;
    Ok(done)
}

/// Forgets a peer, and the paths to its addresses; how many of them were known.
fn forget(contents: &mut Contents, peer: &Server) -> usize {
    let known = |contents: &Contents| contents.paths.len().saturating_add(contents.peers.len());
    let before = known(contents);
    // A name that is no more has no paths that anybody could use.
    let found = (peer.host.as_str(), peer.port).to_socket_addrs();
    let addresses: Vec<_> = found.into_iter().flatten().collect();
    contents
        .paths
        .retain(|path| !addresses.contains(&path.path.peer()));
    let is_peer =
        |url: &NodeUrl| url.host().eq_ignore_ascii_case(&peer.host) && url.port() == peer.port;
    contents.peers.retain(|url| !is_peer(url));
    before.saturating_sub(known(contents))
}

fn list(contents: &Contents, json: bool) -> Result<(), Stop> {
    let now = now();
    let mut suspended = 0_usize;
    let mut paths = contents.paths.clone();
    paths.sort_by_key(|remembered| remembered.path);
    for remembered in &paths {
        let line = PathLine::new(remembered, now);
        suspended = suspended.saturating_add(usize::from(!line.fast_open));
        match json {
            true => output::json(&line)?,
            false => output::line(line.words())?,
        }
    }
    for url in &contents.peers {
        match json {
            true => output::json(&PeerLine::new(url))?,
            false => output::line(format!("{url}: {}", words_of(url)))?,
        }
    }
    let summary = Summary {
        paths: paths.len(),
        suspended,
        peers: contents.peers.len(),
    };
    match json {
        true => output::json(&LastLine { summary }),
        false => output::line(format_args!(
            "paths: {}, Fast Open suspended on {suspended}; peers: {}",
            summary.paths, summary.peers
        )),
    }
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or(Duration::ZERO).as_millis();
    WallTime::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A path, as JSON tells it. Times are milliseconds since 1970.
#[derive(Debug, Serialize)]
struct PathLine {
    peer: String,
    local: String,
    /// Whether the next race uses it.
    fast_open: bool,
    trouble: Option<&'static str>,
    retry_ms: Option<u64>,
    noted_ms: u64,
    trust: u8,
    #[serde(skip)]
    words: String,
}

impl PathLine {
    fn new(remembered: &Remembered, now: WallTime) -> Self {
        let mut line = Self {
            peer: remembered.path.peer().to_string(),
            local: remembered.path.local().to_string(),
            fast_open: true,
            trouble: None,
            retry_ms: None,
            noted_ms: remembered.noted.as_millis(),
            trust: 0,
            words: String::new(),
        };
        match remembered.standing {
            Standing::Open { trust, asked, .. } => {
                line.trust = trust;
                line.words = match (trust, asked) {
                    (0, true) => "no cookie yet".to_owned(),
                    _ => format!("{}, trust {trust}", styled(GOOD, "used")),
                };
            }
            Standing::Suspended { trouble, until, .. } => {
                line.trouble = Some(trouble.name());
                line.retry_ms = Some(until.as_millis());
                let left = until.as_millis().saturating_sub(now.as_millis());
                line.fast_open = left == 0;
                line.words = match line.fast_open {
                    true => format!("{}: {trouble}", styled(ODD, "next race retries")),
                    false => {
                        let left = for_people(Duration::from_millis(left));
                        format!("{} for {left}: {trouble}", styled(BAD, "suspended"))
                    }
                };
            }
        }
        line
    }

    fn words(&self) -> String {
        format!("{} from {}: {}", self.peer, self.local, self.words)
    }
}

/// A time to the unit that matters.
fn for_people(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1_000);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// A peer, as JSON tells it.
#[derive(Debug, Serialize)]
struct PeerLine {
    url: String,
    host: String,
    port: u16,
    kind: &'static str,
    accepts_fast_open: bool,
}

impl PeerLine {
    fn new(url: &NodeUrl) -> Self {
        Self {
            url: url.to_string(),
            host: url.host().to_owned(),
            port: url.port(),
            kind: match url.abilities().peer() {
                Peer::Unaware => "unaware",
                Peer::FirstCome => "first-come",
                Peer::Pairing => "pairing",
            },
            accepts_fast_open: url.abilities().accepts_fast_open(),
        }
    }
}

fn words_of(url: &NodeUrl) -> &'static str {
    match url.abilities().peer() {
        Peer::Unaware => "not raced, as it takes debounce=2&f=1 or pairing=1",
        Peer::FirstCome => "raced; takes the first copy that comes",
        Peer::Pairing => "raced; answers every copy",
    }
}

#[derive(Debug, Serialize)]
struct LastLine {
    summary: Summary,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Summary {
    paths: usize,
    suspended: usize,
    peers: usize,
}

#[cfg(test)]
mod tests {
    use headstart_tokio::core::path::PathKey;

    use super::*;

    #[test]
    fn a_name_stands_for_its_addresses() {
        let path = |address: &str| Remembered {
            path: PathKey::new([127, 0, 0, 1].into(), address.parse().unwrap()),
            noted: WallTime::from_millis(1),
            standing: Standing::Open {
                trust: 0,
                asked: false,
                relapse: None,
            },
        };
        let mut contents = Contents {
            paths: vec![path("127.0.0.1:443"), path("127.0.0.1:444")],
            peers: vec!["localhost:443?f=1".parse().unwrap()],
        };
        let peer: Server = "localhost:443".parse().unwrap();
        assert_eq!(forget(&mut contents, &peer), 2);
        assert_eq!(contents.paths, [path("127.0.0.1:444")]);
        assert_eq!(forget(&mut contents, &peer), 0);
    }

    #[test]
    fn times_are_in_the_unit_that_matters() {
        for (millis, words) in [
            (1, "1 s"),
            (119_000, "119 s"),
            (119_001, "2 min"),
            (7_199_000, "119 min"),
            (86_400_000, "24 h"),
        ] {
            assert_eq!(for_people(Duration::from_millis(millis)), words);
        }
    }
}
