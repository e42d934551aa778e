//! nginx or the gate goes and comes back while clients fetch: whatever is
//! answered whole is answered rightly.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::site::{FORWARD_TOKEN, SIZES, Site, page};

const CLIENTS: usize = 8;
const RESTARTS: usize = 5;
/// How long it is there, and gone.
const TURN: Duration = Duration::from_millis(300);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        Trial::test("nginx_restarted_under_load_answers_nothing_wrongly", || {
            under_load(|site, turn| {
                let mut gate = Some(site.gate("token"));
                turn(gate.is_some());
                for round in 0..RESTARTS {
                    let signal = if round % 2 == 0 {
                        Signal::SIGTERM
                    } else {
                        Signal::SIGQUIT
                    };
                    site.stop_nginx(signal);
                    turn(false);
                    site.start_nginx();
                    turn(true);
                }
                drop(gate.take());
            });
            Ok(())
        }),
        Trial::test("a_gate_killed_under_load_answers_nothing_wrongly", || {
            under_load(|site, turn| {
                for _ in 0..RESTARTS {
                    // Dropping it kills it.
                    let gate = site.gate("token");
                    turn(true);
                    drop(gate);
                    turn(false);
                }
                let _gate = site.gate("token");
                turn(true);
            });
            Ok(())
        }),
    ]
}

/// What became of requests.
#[derive(Debug, Default)]
struct Tally {
    right: AtomicUsize,
    failed: AtomicUsize,
    wrong: AtomicUsize,
}

/// Lets clients fetch while the site is disturbed; what they got while
/// everything was there must not all have failed.
fn under_load(disturb: impl FnOnce(&mut Site, &mut dyn FnMut(bool))) {
    let mut site = Site::start(Duration::from_millis(2));
    let _forward = site.forward("token");
    let (tally, over) = (Tally::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = site.lab.client().clone();
            let (tally, over) = (&tally, &over);
            scope.spawn(move || {
                let fetching = || {
                    let mut round = number;
                    while !over.load(Ordering::Relaxed) {
                        round += 1;
                        let size = SIZES[round % 2];
                        match fetch(size) {
                            Ok(Some(body)) if body == page(size) => &tally.right,
                            Ok(Some(_)) => &tally.wrong,
                            Ok(None) | Err(_) => {
                                sleep(Duration::from_millis(5));
                                &tally.failed
                            }
                        }
                        .fetch_add(1, Ordering::Relaxed);
                    }
                };
                client.run(fetching).unwrap();
            });
        }
        let mut turn = |whole: bool| {
            let before = tally.right.load(Ordering::Relaxed);
            sleep(TURN);
            let mut waited = Duration::ZERO;
            while whole && tally.right.load(Ordering::Relaxed) == before {
                sleep(TURN);
                waited += TURN;
                if waited > Duration::from_secs(20) {
                    over.store(true, Ordering::Relaxed);
                    panic!("nobody is answered any more: {tally:?}");
                }
            }
        };
        disturb(&mut site, &mut turn);
        over.store(true, Ordering::Relaxed);
    });
    println!("{tally:?}");
    let (right, wrong) = (tally.right.into_inner(), tally.wrong.into_inner());
    assert!(right > 0 && wrong == 0, "{right} right, {wrong} wrong");
}

/// Fetches a page; `None` if it did not come whole.
fn fetch(size: usize) -> io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(("127.0.0.1", FORWARD_TOKEN))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET /{size} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n"
    )?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let body = all.split_off(end + 4);
    let head = String::from_utf8_lossy(&all);
    let ok = head.starts_with("HTTP/1.1 200");
    // Who says how much there is, and then brings less, is cut off, not wrong.
    let whole = head.contains(&format!("Content-Length: {size}\r\n")) && body.len() >= size;
    Ok((ok && whole).then_some(body))
}
