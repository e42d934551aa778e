//! Counts the system calls of a piece of work, by strace.

use std::collections::BTreeMap;
use std::fmt;

use super::Outcome;

/// How often each system call was made.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each of them divided by `count`.
    pub fn per(&self, count: f64) -> String {
        let each = |(name, calls): (&String, &u64)| format!("{name} {:.1}", *calls as f64 / count);
        self.0.iter().map(each).collect::<Vec<_>>().join(", ")
    }

    /// Reads the table of `strace -c`.
    fn parse(table: &str) -> Self {
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (calls, name) = (words.get(3)?.parse().ok()?, *words.last()?);
            // The thread waits by futex for its tracer to come and go.
            (!matches!(name, "total" | "futex" | "restart_syscall"))
                .then(|| (name.to_owned(), calls))
        };
        Self(table.lines().filter_map(line).collect())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.per(1.0))
    }
}

/// Does the work, and counts the system calls that this thread makes for it.
///
/// # Errors
/// Why they cannot be counted; the work is not done then.
#[cfg(target_os = "linux")]
pub fn system_calls<T>(work: impl FnOnce() -> T) -> Outcome<(Counts, T)> {
    use std::sync::mpsc;

    let thread = std::fs::read_link("/proc/thread-self")?;
    let id = thread
        .file_name()
        .and_then(|id| id.to_str())
        .ok_or("no number of this thread")?;
    std::thread::scope(|scope| {
        let (attached, is_attached) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        let tracer = scope.spawn(move || tracer::follow(id, &attached, &is_done));
        // Without a word the tracer has ended, and its result says why.
        let result = is_attached.recv().ok().map(|()| work());
        drop(done);
        let table = tracer
            .join()
            .map_err(|_| "the tracer's thread panicked")??;
        let result = result.ok_or("strace did not attach")?;
        Ok((Counts::parse(&table), result))
    })
}

#[cfg(not(target_os = "linux"))]
pub fn system_calls<T>(_work: impl FnOnce() -> T) -> Outcome<(Counts, T)> {
    Err("strace is a tool of Linux".into())
}

#[cfg(target_os = "linux")]
mod tracer {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::{Receiver, Sender};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::Outcome;

    /// Looks for the tracer this often, and so many times.
    const PAUSE: Duration = Duration::from_millis(5);
    const LOOKS: usize = 1000;

    /// Runs strace on a thread until the work is done; its table.
    pub(super) fn follow(
        thread: &str,
        attached: &Sender<()>,
        is_done: &Receiver<()>,
    ) -> Outcome<String> {
        let mut strace = Command::new("strace")
            .args(["-q", "-c", "-p", thread])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        if wait_until_attached(thread, &mut strace)? {
            let _ = attached.send(());
            // It never comes: this waits for the sender to go.
            let _ = is_done.recv();
        }
        let pid = Pid::from_raw(i32::try_from(strace.id())?);
        // It may have ended by itself, saying why.
        let _ = kill(pid, Signal::SIGINT);
        let mut said = String::new();
        if let Some(mut pipe) = strace.stderr.take() {
            pipe.read_to_string(&mut said)?;
        }
        strace.wait()?;
        match said.contains("syscall") {
            true => Ok(said),
            false => Err(format!("strace: {}", said.trim()).into()),
        }
    }

    fn wait_until_attached(thread: &str, strace: &mut Child) -> Outcome<bool> {
        let path = format!("/proc/self/task/{thread}/status");
        for _ in 0..LOOKS {
            let status = std::fs::read_to_string(&path)?;
            let tracer = status
                .lines()
                .find_map(|line| line.strip_prefix("TracerPid:"));
            if tracer.is_some_and(|tracer| tracer.trim() != "0") {
                return Ok(true);
            }
            if strace.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(false)
    }
}
