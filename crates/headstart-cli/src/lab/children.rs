//! What this process starts, and what that starts in turn: none of it outlives this process's work.
//!
//! A process that loses its parent becomes this one's child (`PR_SET_CHILD_SUBREAPER`), so that when
//! there is no child left, there is nothing left.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use headstart_lab::Host;
use nix::libc::SI_KERNEL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use procfs::process::{Process, all_processes};
use rustix::process::{WaitOptions, set_child_subreaper, wait};

/// How long processes may take to end once they are asked to.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);
/// How often to look again while processes are being killed.
const GLANCE: Duration = Duration::from_millis(50);
/// How often to look after a child in case the kernel does not tell: where whoever started this
/// process ignores `SIGCHLD`.
const LOOK: Duration = Duration::from_secs(1);
/// What ends the lab.
const ENDINGS: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// A signal that asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) signal: Signal,
    /// Whether the terminal sent it: then the client's command, in the same process group, has got it too.
    by_terminal: bool,
}

impl Asked {
    /// Whether only the one at the terminal decides what it means: a shell does not end by ^C.
    fn is_a_key(self) -> bool {
        self.by_terminal && matches!(self.signal, Signal::SIGINT | Signal::SIGQUIT)
    }
}

/// All children of this process, however they came to be.
#[derive(Debug)]
pub(super) struct Children {
    signals: SignalFd,
    blocked: SigSet,
    /// Those that were started here; the status of the ended.
    known: HashMap<u32, Option<ExitStatus>>,
}

impl Children {
    /// To be called before any thread is started: later ones would take the signals.
    pub(super) fn new() -> io::Result<Self> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        // What is ignored from outside (nohup) stays so.
        let ignored = Process::myself()
            .and_then(|me| me.status())
            .map_or(0, |status| status.sigign);
        let heeded = ENDINGS
            .into_iter()
            .filter(|signal| ignored >> (*signal as u32 - 1) & 1 == 0);
        let set: SigSet = heeded.chain([Signal::SIGCHLD]).collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            signals: SignalFd::with_flags(&set, flags)?,
            blocked: set,
            known: HashMap::new(),
        })
    }

    /// Starts one in this process' place. It blocks the same signals until it takes them itself.
    pub(super) fn start(&mut self, command: &mut Command) -> io::Result<Child> {
        let child = command.spawn()?;
        self.known.insert(child.id(), None);
        Ok(child)
    }

    /// Starts one on this host, with no signal blocked.
    pub(super) fn start_on(&mut self, host: &Host, command: &mut Command) -> io::Result<Child> {
        let blocked = self.blocked;
        // A process is where the thread is that starts it, and blocks what that does. A signal that
        // meets this thread in between ends this process: its keeper does the rest.
        let child = host.run(|| {
            blocked.thread_unblock()?;
            command.spawn()
        })??;
        self.known.insert(child.id(), None);
        Ok(child)
    }

    /// The status of a child that has ended.
    pub(super) fn status(&self, child: &Child) -> Option<ExitStatus> {
        self.known.get(&child.id()).copied().flatten()
    }

    /// Waits until a child has ended, or this process is asked to end; no longer than this.
    pub(super) fn wait(&mut self, patience: Duration) -> io::Result<Option<Asked>> {
        // Whole milliseconds, rounded up: a rest of less would be no wait at all.
        let patience = patience.saturating_add(Duration::from_micros(999));
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut asked = None;
        while let Some(info) = self.signals.read_signal()? {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) | Err(_) => {}
                Ok(signal) => {
                    asked = asked.or(Some(Asked {
                        signal,
                        by_terminal: info.ssi_code == SI_KERNEL,
                    }));
                }
            }
        }
        self.bury();
        Ok(asked)
    }

    /// Waits until this child has ended. Passes on what this process is asked; from then on the child
    /// has so long.
    pub(super) fn attend(&mut self, child: &Child, grace: Duration) -> io::Result<Outcome> {
        let mut last: Option<(Signal, Instant)> = None;
        loop {
            let alone = self.bury();
            if let Some(status) = self.status(child) {
                return Ok(Outcome::Ended(status));
            }
            if alone {
                return Err(nix::errno::Errno::ECHILD.into());
            }
            let left = last.map(|(_, asked)| grace.saturating_sub(asked.elapsed()));
            if let (Some((signal, _)), Some(Duration::ZERO)) = (last, left) {
                return Ok(Outcome::Overdue(signal));
            }
            let Some(asked) = self.wait(left.map_or(LOOK, |left| left.min(LOOK)))? else {
                continue;
            };
            if !asked.by_terminal {
                let _ = kill(pid(child), asked.signal);
            }
            if !asked.is_a_key() {
                last.get_or_insert((asked.signal, Instant::now()));
            }
        }
    }

    /// Ends every process below this one: asks first, then kills. Whether none is left.
    pub(super) fn end(&mut self) -> bool {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let began = Instant::now();
            let mut sent = false;
            while began.elapsed() < GOODBYE {
                if self.bury() {
                    return true;
                }
                // Whoever is asked may do last things, and start what that needs; who is killed may not.
                if !sent || signal == Signal::SIGKILL {
                    for one in descendants() {
                        let _ = kill(one, signal);
                    }
                    sent = true;
                }
                if self.wait(GLANCE).is_err() {
                    break;
                }
            }
        }
        self.bury()
    }

    /// Takes note of all children that have ended; whether there are no more.
    fn bury(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let id = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
                    if let Some(known) = self.known.get_mut(&id) {
                        *known = Some(ExitStatus::from_raw(status.as_raw()));
                    }
                }
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }
}

/// How a child came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ended(ExitStatus),
    /// It did not end in time after this.
    Overdue(Signal),
}

impl Outcome {
    /// As shells do: 128 and the signal's number, if one ended it.
    pub(super) fn code(self) -> u8 {
        let code = match self {
            Self::Ended(status) => status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal)),
            Self::Overdue(signal) => Some(128 + signal as i32),
        };
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

pub(super) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Every process below this one.
fn descendants() -> Vec<Pid> {
    let Ok(all) = all_processes() else {
        return Vec::new();
    };
    let stats = all.flatten().filter_map(|process| process.stat().ok());
    let parents: Vec<(i32, i32)> = stats.map(|stat| (stat.pid, stat.ppid)).collect();
    let mut below = vec![Pid::this().as_raw()];
    let mut next = 0;
    while let Some(&parent) = below.get(next) {
        below.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(one, _)| one),
        );
        next += 1;
    }
    below.into_iter().skip(1).map(Pid::from_raw).collect()
}
