//! `headstart probe`: dials a server as a client would, some bounded number of times, and says what
//! the path does to Fast Open.

mod copies;
mod dial;
mod speech;
mod verdict;

use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use headstart_socket::{Kind, syn_payload};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::cli::ProbeArgs;
use crate::exit::{self, Done, Stop};
use crate::netlink;
use crate::output::{self, BAD, GOOD, ODD, micros, millis, spinner, styled};
use copies::Copies;
use dial::{Cannot, Reaction, Seen, Sent, dial, dial_with_option_only};
use speech::Language;
use verdict::{Plain, Verdict};

/// Plain dials to compare with.
const PLAIN_DIALS: usize = 2;
/// Dials that ask for a cookie, at most: one whose SYN was lost by chance proves nothing.
const COOKIE_DIALS: usize = 3;
/// Dials with data in the SYN.
const DATA_DIALS: usize = 4;

/// A name that can stand in a ClientHello.
pub(crate) fn server_name(text: &str) -> Result<String, String> {
    Language::tls(text).map(|_| text.to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &ProbeArgs) -> Result<Done, Stop> {
    let began = Instant::now();
    let language = match (&args.tls, args.token) {
        (Some(name), _) => Language::tls(name).map_err(|error| Stop::because("--tls", error))?,
        (None, true) => Language::Token { size: args.size },
        (None, false) => Language::Quiet,
    };
    let spinner = spinner("looking up the name");
    let server = (args.server.host.as_str(), args.server.port);
    let found = server
        .to_socket_addrs()
        .map_err(|error| Stop::because(format_args!("cannot find {}", args.server.host), error))?
        .next();
    let Some(address) = found else {
        return Err(Stop::Because(format!(
            "{} has no address",
            args.server.host
        )));
    };
    let copies = match language.is_unique() {
        true => Copies::Unknown,
        false => Copies::NotTried,
    };
    let mut probe = Probe {
        address,
        language,
        patience: args.timeout,
        spinner,
        dials: Vec::new(),
        cookie: None,
        plain: None,
        copies,
    };
    let verdict = probe.verdict()?;
    probe.spinner.finish_and_clear();
    let first_message = probe.first_message()?;
    let document = Document {
        server: args.server.to_string(),
        address,
        mode: probe.language.mode(),
        verdict,
        words: verdict.words(),
        works: probe.count(Verdict::Works),
        data_dials: probe.data().count(),
        rtt_us: probe.round_trip().map(micros),
        plain_first_byte_us: probe.fastest(|sent| sent == Sent::Plain).map(micros),
        fast_open_first_byte_us: probe
            .fastest(|sent| matches!(sent, Sent::Data(_)))
            .map(micros),
        cookie: probe.cookie,
        copies: probe.copies,
        first_message,
        took_ms: micros(began.elapsed()) / 1000,
        dials: probe.dials.iter().map(Line::new).collect(),
    };
    exit::even_unread(match args.json {
        true => output::json(&document),
        false => print(&document),
    })?;
    Ok(match verdict {
        Verdict::Works => Done::Well,
        _ => Done::Partly,
    })
}

/// Where the cookie came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Cookie {
    /// The kernel had one already.
    Cached,
    /// The server gave one now.
    Given,
    /// The server gave none.
    None,
}

/// A probe under way.
struct Probe {
    address: SocketAddr,
    language: Language,
    patience: Duration,
    spinner: ProgressBar,
    /// In their order.
    dials: Vec<(What, Seen)>,
    cookie: Option<Cookie>,
    plain: Option<Plain>,
    copies: Copies,
}

/// What a dial was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Plain,
    Cookie,
    Data,
    Option,
    Copy,
}

impl Probe {
    fn verdict(&mut self) -> Result<Verdict, Stop> {
        self.spinner.set_message("dialling by plain TCP");
        let plain = self.dial_together(PLAIN_DIALS, Kind::Plain).map_err(stop)?;
        self.keep(What::Plain, &plain);
        match Plain::of(&plain) {
            Ok(compare) => self.plain = Some(compare),
            Err(verdict) => return Ok(verdict),
        }
        if let Some(verdict) = verdict::of_plain(&plain, self.language.is_answered()) {
            return Ok(verdict);
        }
        let verdict = match self.fast_open(plain) {
            Ok(verdict) => verdict,
            Err(Cannot::SwitchedOff) => Verdict::ClientOff,
            Err(Cannot::Because(why)) => return Err(Stop::Because(why)),
        };
        if let Some(verdict) = self.of_server(verdict).map_err(stop)? {
            return Ok(verdict);
        }
        if self.language.is_unique() {
            self.spinner.set_message("sending one first message twice");
            let has_cookie = matches!(self.cookie, Some(Cookie::Cached | Cookie::Given));
            let (copies, dials) =
                copies::examine(self.address, &self.language, has_cookie, self.patience);
            self.copies = copies;
            self.keep(What::Copy, &dials);
        }
        Ok(verdict)
    }

    /// What is wrong with the server, if it is that and not the path that keeps Fast Open from working:
    /// the dials before may have been too many for it.
    fn of_server(&mut self, verdict: Verdict) -> Result<Option<Verdict>, Cannot> {
        if !verdict.may_be_the_servers() {
            return Ok(None);
        }
        self.spinner.set_message("dialling by plain TCP again");
        let again = dial(self.address, Kind::Plain, self.speech()?, self.patience)?;
        self.keep(What::Plain, std::slice::from_ref(&again));
        Ok(match (Plain::of(&[again]), self.plain) {
            (Err(verdict), _) => Some(verdict),
            (Ok(now), Some(before))
                if now.reaction == Reaction::None && before.reaction != Reaction::None =>
            {
                Some(Verdict::Mixed)
            }
            (Ok(_), _) => None,
        })
    }

    /// Gets a cookie, then uses it.
    fn fast_open(&mut self, mut plain: Vec<Seen>) -> Result<Verdict, Cannot> {
        self.spinner.set_message("asking for a cookie");
        let mut asked = Vec::new();
        let mut data = Vec::new();
        let mut before = None;
        while data.is_empty() {
            if asked.len() == COOKIE_DIALS
                || asked.iter().any(|dial: &Seen| dial.sent == Sent::Paused)
            {
                self.cookie = Some(Cookie::None);
                return Ok(verdict::without_cookie(&asked));
            }
            before = self.cookie_in_cache();
            let seen = dial(self.address, Kind::FastOpen, self.speech()?, self.patience)?;
            if let Sent::Data(_) = seen.sent {
                self.keep(What::Data, std::slice::from_ref(&seen));
                data.push(seen);
            } else {
                self.keep(What::Cookie, std::slice::from_ref(&seen));
                asked.push(seen);
            }
        }
        let fresh = !asked.is_empty();
        // These were plain but for the request.
        plain.extend(asked);
        let compare = match Plain::of(&plain) {
            Ok(compare) => *self.plain.insert(compare),
            Err(verdict) => return Ok(verdict),
        };
        self.cookie = Some(if fresh { Cookie::Given } else { Cookie::Cached });
        self.spinner.set_message("dialling with data in the SYN");
        let after = self.cookie_in_cache();
        let more = self.dial_together(DATA_DIALS.saturating_sub(data.len()), Kind::FastOpen)?;
        self.keep(What::Data, &more);
        data.extend(
            more.into_iter()
                .filter(|dial| matches!(dial.sent, Sent::Data(_))),
        );
        let changed =
            |one: &Option<_>, other: &Option<_>| one.is_some() && other.is_some() && one != other;
        let first = changed(&before, &after);
        let again = changed(&after, &self.cookie_in_cache());
        if (fresh && first) || again {
            return Ok(Verdict::CookiesDiffer);
        }
        Ok(match verdict::of_dials(&data, &compare) {
            Verdict::SynDataIgnored if fresh => Verdict::SynDataCut,
            Verdict::SynDataDropped if !fresh => self.option_or_data()?,
            verdict => verdict,
        })
    }

    /// With a cookie from before it is not known whether the option passes.
    fn option_or_data(&mut self) -> Result<Verdict, Cannot> {
        self.spinner
            .set_message("dialling with the option, without data");
        let seen = dial_with_option_only(self.address, self.patience)
            .map_err(|error| Cannot::Because(error.to_string()))?;
        let passed = seen.opened.is_some() && seen.syn_retransmits == 0;
        self.keep(What::Option, &[seen]);
        Ok(match passed {
            true => Verdict::SynDataDropped,
            false => Verdict::SynOptionDropped,
        })
    }

    fn speech(&self) -> Result<speech::Speech, Cannot> {
        self.language.begin().map_err(Cannot::Because)
    }

    /// Several at once, so that a silent path costs the time of one.
    fn dial_together(&self, count: usize, kind: Kind) -> Result<Vec<Seen>, Cannot> {
        thread::scope(|scope| {
            let dials: Vec<_> = (0..count)
                .map(|_| {
                    scope.spawn(move || dial(self.address, kind, self.speech()?, self.patience))
                })
                .collect();
            let ended = dials.into_iter().filter_map(|dial| dial.join().ok());
            ended.collect()
        })
    }

    fn keep(&mut self, what: What, dials: &[Seen]) {
        self.dials
            .extend(dials.iter().map(|dial| (what, dial.clone())));
    }

    /// The cookie for this server, if the kernel tells.
    fn cookie_in_cache(&self) -> Option<Vec<u8>> {
        let peer = self.address.ip();
        let all = netlink::remembered().ok()?;
        all.into_iter().find(|one| one.peer == Some(peer))?.cookie
    }

    fn data(&self) -> impl Iterator<Item = &Seen> {
        let data = self.dials.iter().filter(|(what, _)| *what == What::Data);
        data.map(|(_, seen)| seen)
    }

    fn count(&self, verdict: Verdict) -> usize {
        let Some(plain) = self.plain else { return 0 };
        self.data()
            .filter(|seen| verdict::of_dial(seen, &plain) == verdict)
            .count()
    }

    fn round_trip(&self) -> Option<Duration> {
        let plain = self.dials.iter().filter(|(what, _)| *what == What::Plain);
        plain.filter_map(|(_, seen)| seen.opened).min()
    }

    fn fastest(&self, of: impl Fn(Sent) -> bool) -> Option<Duration> {
        let compared = self.dials.iter().filter(|(what, _)| *what != What::Copy);
        let of = compared.filter(|(_, seen)| of(seen.sent));
        of.filter_map(|(_, seen)| seen.first_byte).min()
    }

    /// Whether the client's first message fits into one SYN.
    fn first_message(&self) -> Result<FirstMessage, Stop> {
        let bytes = self.language.begin().map_err(Stop::Because)?.first.len();
        let taken = self.data().filter_map(|seen| match seen.sent {
            Sent::Data(taken) if taken < bytes => Some(taken),
            _ => None,
        });
        let syn_holds = taken.min().unwrap_or_else(|| {
            syn_payload(&self.address).max(
                self.data()
                    .filter_map(|seen| match seen.sent {
                        Sent::Data(taken) => Some(taken),
                        _ => None,
                    })
                    .max()
                    .unwrap_or(0),
            )
        });
        Ok(FirstMessage {
            bytes,
            syn_holds,
            fits: bytes <= syn_holds,
        })
    }
}

fn stop(cannot: Cannot) -> Stop {
    match cannot {
        Cannot::SwitchedOff => Stop::Because("Fast Open is switched off".into()),
        Cannot::Because(why) => Stop::Because(why),
    }
}

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Document {
    server: String,
    address: SocketAddr,
    mode: &'static str,
    verdict: Verdict,
    words: &'static str,
    /// How many dials with data in the SYN worked, and how many there were.
    works: usize,
    data_dials: usize,
    rtt_us: Option<u64>,
    plain_first_byte_us: Option<u64>,
    fast_open_first_byte_us: Option<u64>,
    cookie: Option<Cookie>,
    copies: Copies,
    first_message: FirstMessage,
    took_ms: u64,
    dials: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct FirstMessage {
    bytes: usize,
    /// Bytes that one SYN surely holds.
    syn_holds: usize,
    fits: bool,
}

/// A dial. Times are in microseconds since before its first system call.
#[derive(Debug, Serialize)]
struct Line {
    what: What,
    syn_bytes: usize,
    opened_us: Option<u64>,
    syn_retransmits: u32,
    syn_data_acked: bool,
    first_byte_us: Option<u64>,
    reaction: &'static str,
    finished: bool,
    error: Option<String>,
}

impl Line {
    fn new((what, seen): &(What, Seen)) -> Self {
        Self {
            what: *what,
            syn_bytes: match seen.sent {
                Sent::Data(bytes) => bytes,
                _ => 0,
            },
            opened_us: seen.opened.map(micros),
            syn_retransmits: seen.syn_retransmits,
            syn_data_acked: seen.syn_data_acked,
            first_byte_us: seen.first_byte.map(micros),
            reaction: match seen.reaction {
                Reaction::Answered => "answered",
                Reaction::Closed => "closed",
                Reaction::Reset => "reset",
                Reaction::None => "none",
            },
            finished: seen.finished,
            error: seen.error.as_ref().map(|(_, text)| text.clone()),
        }
    }
}

fn print(document: &Document) -> Result<(), Stop> {
    let style = match document.verdict {
        Verdict::Works => GOOD,
        Verdict::NoCookie | Verdict::SynDataCut | Verdict::SynDataIgnored => ODD,
        _ => BAD,
    };
    let verdict = serde_json::to_value(document.verdict).unwrap_or_default();
    let name = verdict.as_str().unwrap_or_default();
    output::line(format_args!("{}: {}", document.server, styled(style, name)))?;
    output::line(document.words)?;
    output::line("")?;
    let row = |what: &str, text: String| output::line(format_args!("  {what:<15} {text}"));
    row("address", document.address.to_string())?;
    let time = |us: Option<u64>| us.map(|us| millis(Duration::from_micros(us)));
    if let Some(rtt) = time(document.rtt_us) {
        row("round trip", rtt)?;
    }
    let none = || "no answer to it".to_owned();
    row(
        "plain TCP",
        time(document.plain_first_byte_us).map_or_else(none, first_byte),
    )?;
    if document.data_dials > 0 {
        let first = time(document.fast_open_first_byte_us).map_or_else(none, first_byte);
        let (works, dials) = (document.works, document.data_dials);
        row(
            "data in the SYN",
            format!("{first}; {works} of {dials} dials worked"),
        )?;
    }
    row(
        "cookie",
        match document.cookie {
            Some(Cookie::Cached) => "there was one already".to_owned(),
            Some(Cookie::Given) => "given by the server now".to_owned(),
            Some(Cookie::None) => "none given".to_owned(),
            None => "not asked for".to_owned(),
        },
    )?;
    let message = document.first_message;
    let fits = match message.fits {
        true => "fits into one SYN",
        false => "does not fit into one SYN, the rest waits for the handshake",
    };
    row(
        "first message",
        format!(
            "{} bytes: {fits} ({} bytes)",
            message.bytes, message.syn_holds
        ),
    )?;
    row("copies", document.copies.words().to_owned())
}

fn first_byte(time: String) -> String {
    format!("first byte of the answer after {time}")
}
