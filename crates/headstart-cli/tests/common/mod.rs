//! Running the real command, and reading what it says.
#![allow(dead_code)] // Each test binary uses its part.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long to wait for anything before calling it never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The command, with these arguments.
pub(crate) fn headstart(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headstart"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    headstart(arguments).output().unwrap()
}

/// What a command wrote to standard output, as lines of JSON.
pub(crate) fn json_lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a command wrote to standard error.
pub(crate) fn complaints(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A server at work. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens.
    pub(crate) address: String,
    /// What it said first.
    pub(crate) listening: Value,
}

impl Server {
    /// Starts `headstart serve` on a free port of the loopback interface.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments = [&["serve", "127.0.0.1:0", "--json"], arguments].concat();
        Self::spawn(headstart(&arguments))
    }

    /// Starts a server, and waits until it listens.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Self {
            child,
            lines,
            address: String::new(),
            listening: Value::Null,
        };
        server.listening = server.next();
        assert_eq!(server.listening["event"], "listening");
        let address = server
            .listening
            .get("addr")
            .or(server.listening.get("address"));
        server.address = address.unwrap().as_str().unwrap().to_owned();
        server
    }

    /// The next line.
    pub(crate) fn next(&self) -> Value {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .expect("the server says something");
        serde_json::from_str(&line).unwrap()
    }

    /// The next event of this name; others are skipped.
    pub(crate) fn expect(&self, event: &str) -> Value {
        loop {
            let next = self.next();
            if next["event"] == event {
                return next;
            }
        }
    }

    /// Ends the server by a signal; its events that were not read, its
    /// summary, and its exit status.
    pub(crate) fn end(mut self, signal: Signal) -> (Vec<Value>, Value, ExitStatus) {
        kill(self.pid(), signal).unwrap();
        let mut rest = Vec::new();
        let summary = loop {
            let next = self.next();
            match next.get("summary") {
                Some(summary) => break summary.clone(),
                None => rest.push(next),
            }
        };
        assert!(
            self.lines.recv_timeout(PATIENCE).is_err(),
            "the summary is the last line"
        );
        (rest, summary, self.child.wait().unwrap())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process, but not for ever; what it wrote to standard error.
pub(crate) fn wait(mut child: Child) -> (ExitStatus, String) {
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the command does not end");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut text).unwrap();
    }
    (status, text)
}
