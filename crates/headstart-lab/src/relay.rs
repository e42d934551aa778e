//! The wire: reads packets from one side, keeps them for the delay, writes them to the other.

use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        prctl,
        time::TimeSpec,
    },
};

use crate::{
    checksum::seal_transport,
    middlebox::{Middlebox, Ruling, Verdict},
    packet_socket::{ETHERNET, PacketSocket},
    pcap::Capture,
    queue::DelayQueue,
    rule::Rule,
    segment::Parsed,
    stats::Stats,
    topology::{Direction, Port},
    trace::{Fate, Trace, TraceEntry},
    way::Ways,
};

/// Packets read or written before the relay looks at the other side again.
const BATCH: usize = 16;
/// Largest packet that can be read, in bytes.
const PACKET_MAX: usize = 65_536;
/// Ethernet types that the wire carries.
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// How late the kernel may wake the relay, in nanoseconds, so as to save power.
const TIMER_SLACK: std::ffi::c_ulong = 1;
/// From a long sleep a machine wakes late, from a short one on time: the relay
/// wakes so much early, and sleeps again for the rest.
const LIGHT_SLEEP: Duration = Duration::from_micros(300);
/// Nice value, `setpriority(2)`.
const HIGHEST_PRIORITY: i32 = -20;

/// What the lab and its relay thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) started: Instant,
    /// The relay shall end; the event wakes it.
    stop: AtomicBool,
    wake: EventFd,
    board: Mutex<Board>,
}

/// What changes while the relay runs.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) rule: Rule,
    pub(crate) ways: Ways,
    pub(crate) stats: Stats,
    pub(crate) trace: Trace,
}

impl Shared {
    pub(crate) fn new(rule: Rule) -> io::Result<Self> {
        let board = Mutex::new(Board {
            rule,
            ..Board::default()
        });
        Ok(Self {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            board,
        })
    }

    /// Tells the relay to end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        // Writing fails only if the counter would overflow: it is awake then.
        let _ = self.wake.write(1);
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        // A half-counted packet does no harm.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the relay's interfaces.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) port: Port,
    pub(crate) socket: PacketSocket,
    /// Packets the kernel has lost on their way in, as it last said.
    pub(crate) lost: u32,
}

/// The relay thread's own.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) interfaces: [Interface; 3],
    pub(crate) middlebox: Middlebox,
    pub(crate) queue: DelayQueue,
    /// From in to out: half a round trip.
    pub(crate) delay: Duration,
    pub(crate) capture: Option<Capture>,
    pub(crate) shared: Arc<Shared>,
}

impl Relay {
    /// Forwards packets until the lab says stop.
    pub(crate) fn run(mut self) {
        be_punctual();
        let mut buffer = vec![0; PACKET_MAX];
        let outcome = loop {
            match self.turn(&mut buffer) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(capture) = &mut self.capture {
            let _ = capture.flush();
        }
        if outcome.is_err() {
            self.shared.board().stats.broken = true;
        }
    }

    /// Reads some, writes some, and sleeps if there was nothing to do. False at the end.
    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let read = self.receive(buffer)?;
        let wrote = self.deliver();
        if !read && !wrote {
            self.sleep()?;
        }
        Ok(!self.shared.stop.load(Ordering::Relaxed))
    }

    /// Reads what came in, a batch from each interface; true if there was anything.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut any = false;
        for interface in &mut self.interfaces {
            for _ in 0..BATCH {
                let mut ethernet = [0; ETHERNET];
                let Some(received) = interface.socket.receive(&mut ethernet, buffer)? else {
                    break;
                };
                any = true;
                let now = Instant::now();
                let arrival = now.checked_sub(received.age).unwrap_or(now);
                if let Some(lost) = received.lost {
                    let news = lost.wrapping_sub(interface.lost);
                    interface.lost = lost;
                    let mut board = self.shared.board();
                    board
                        .stats
                        .direction_mut(interface.port.direction())
                        .dropped_by_kernel += u64::from(news);
                }
                let Some(packet) = buffer.get(..received.len) else {
                    continue;
                };
                if !is_for_the_other_side(interface.port, &ethernet, packet) {
                    continue;
                }
                let wire = Wire {
                    middlebox: &mut self.middlebox,
                    queue: &mut self.queue,
                    capture: &mut self.capture,
                    shared: &self.shared,
                    delay: self.delay,
                };
                wire.pass(interface.port, packet.to_vec(), arrival);
            }
        }
        Ok(any)
    }

    /// Writes a batch of packets that are due; true if there was any.
    fn deliver(&mut self) -> bool {
        let mut any = false;
        for _ in 0..BATCH {
            let now = Instant::now();
            let Some(due) = self.queue.pop_due(now) else {
                break;
            };
            any = true;
            let Some(exit) = self.interfaces.iter().find(|one| one.port == due.exit) else {
                continue;
            };
            let sent = exit
                .socket
                .send(&ethernet_header(exit.port, &due.packet), &due.packet);
            let unrecorded = record(&mut self.capture, exit.port, &due.packet);
            let late = now.saturating_duration_since(due.at);
            let mut board = self.shared.board();
            let stats = &mut board.stats;
            stats.unrecorded += unrecorded;
            stats.late_max = stats.late_max.max(late);
            stats.late_total = stats.late_total.saturating_add(late);
            let counters = stats.direction_mut(exit.port.direction().back());
            if sent.is_ok() {
                counters.delivered += 1;
                counters.delivered_bytes += due.packet.len() as u64;
            } else {
                counters.dropped_by_kernel += 1;
            }
        }
        any
    }

    /// Sleeps until a packet comes or is due, or the lab says stop.
    fn sleep(&mut self) -> io::Result<()> {
        let wait = self
            .queue
            .next_at()
            .map(|at| nap(at.saturating_duration_since(Instant::now())));
        if let (None, Some(capture)) = (wait, &mut self.capture) {
            let _ = capture.flush();
        }
        let [client, server, second] = &self.interfaces;
        let mut files = [
            PollFd::new(self.shared.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(client.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(server.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(second.socket.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut files, wait.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// How long to sleep at a stretch if the next packet is due in `left`.
fn nap(left: Duration) -> Duration {
    left.checked_sub(LIGHT_SLEEP)
        .filter(|rest| !rest.is_zero())
        .unwrap_or(left)
}

/// Asks the kernel to wake the calling thread at once and before others.
///
/// Only root may go before others; without either the relay works, but is
/// later: by some 50 us, and by milliseconds on a busy machine.
fn be_punctual() {
    let _ = prctl::set_timerslack(TIMER_SLACK);
    // On Linux this means the calling thread alone.
    let _ = rustix::process::setpriority_process(None, HIGHEST_PRIORITY);
}

/// The parts of the relay that a packet passes between in and out.
struct Wire<'a> {
    middlebox: &'a mut Middlebox,
    queue: &'a mut DelayQueue,
    capture: &'a mut Option<Capture>,
    shared: &'a Shared,
    delay: Duration,
}

impl Wire<'_> {
    /// Shows a packet to the middlebox and queues what comes of it.
    fn pass(self, port: Port, mut packet: Vec<u8>, arrival: Instant) {
        let direction = port.direction();
        let parsed = Parsed::new(&packet);
        if let Some(parsed) = &parsed {
            seal_transport(&mut packet, parsed);
        }
        let unrecorded = record(self.capture, port, &packet);
        let mut board = self.shared.board();
        board.stats.unrecorded += unrecorded;
        board.stats.direction_mut(direction).received += 1;
        let Ruling {
            verdict,
            server,
            late,
            befallen,
        } = self.middlebox.judge(
            board.rule,
            &board.ways,
            direction,
            &mut packet,
            parsed.as_ref(),
        );
        let exit = match direction {
            Direction::ToServer => server,
            Direction::ToClient => Port::Client,
        };
        let due = arrival + self.delay + late;
        let mut fate = fate(&verdict);
        let counters = board.stats.direction_mut(direction);
        counters.befallen += u64::from(befallen);
        let fits = match verdict {
            Verdict::Forward => self.queue.push(due, exit, packet),
            Verdict::Rewritten => {
                counters.rewritten += 1;
                self.queue.push(due, exit, packet)
            }
            Verdict::Drop => {
                counters.dropped_by_rule += 1;
                true
            }
            Verdict::Duplicate(after) => {
                counters.made += 1;
                self.queue.push(due, exit, packet.clone())
                    && self.queue.push(due + after, exit, packet)
            }
            Verdict::Answer(answer) => {
                counters.dropped_by_rule += 1;
                board.stats.direction_mut(direction.back()).made += 1;
                self.queue.push(due, port, answer)
            }
        };
        if !fits {
            fate = Fate::Overflowed;
            board.stats.direction_mut(direction).dropped_by_queue += 1;
        }
        let at = arrival.saturating_duration_since(self.shared.started);
        let segment = parsed.and_then(|parsed| parsed.segment);
        board.trace.push(TraceEntry {
            at,
            direction,
            fate,
            segment,
        });
    }
}

fn fate(verdict: &Verdict) -> Fate {
    match verdict {
        Verdict::Forward => Fate::Forwarded,
        Verdict::Rewritten => Fate::Rewritten,
        Verdict::Drop => Fate::Dropped,
        Verdict::Answer(_) => Fate::Answered,
        Verdict::Duplicate(_) => Fate::Duplicated,
    }
}

/// Whether a frame is an IP packet from the host behind the port to one
/// receiver: not ARP, not multicast, not the relay's kernel speaking.
fn is_for_the_other_side(port: Port, ethernet: &[u8; ETHERNET], packet: &[u8]) -> bool {
    let [.., s0, s1, s2, s3, s4, s5, t0, t1] = *ethernet;
    let multicast = match [t0, t1] {
        ETHERTYPE_IPV4 => packet.get(16).is_none_or(|first| *first >= 224),
        ETHERTYPE_IPV6 => packet.get(24).is_none_or(|first| *first == 0xff),
        _ => return false,
    };
    [s0, s1, s2, s3, s4, s5] == port.host_mac() && !multicast
}

/// The Ethernet header of a packet to the host behind a port.
fn ethernet_header(port: Port, packet: &[u8]) -> [u8; ETHERNET] {
    let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let [a, b, c, d, e, f] = port.host_mac();
    let [t0, t1] = if is_v6 {
        ETHERTYPE_IPV6
    } else {
        ETHERTYPE_IPV4
    };
    // The sender's address is the relay's; nobody looks at it.
    [a, b, c, d, e, f, 2, 0, 0, 0, 0, 0xff, t0, t1]
}

/// Writes a packet to the capture file, if there is one; says how many were not written.
fn record(capture: &mut Option<Capture>, port: Port, packet: &[u8]) -> u64 {
    capture.as_mut().map_or(0, |capture| {
        u64::from(capture.packet(port, packet).is_err())
    })
}
