//! Runs the two commands.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headstart_lab::{Family, Host, Lab};
use headstart_socket as socket;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{LabArgs, ready};
use crate::exit::{Done, Stop};
use crate::output::complain;

/// What stands between the two commands.
const BETWEEN: &str = "---";
/// How long a server may take until it listens.
const READY: Duration = Duration::from_secs(10);
/// How long a server may take to end.
const GOODBYE: Duration = Duration::from_secs(5);
/// How often something that is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Runs the command; it ends as the client's command does.
pub(crate) fn run(args: &LabArgs) -> Result<Done, Stop> {
    let (server, client) = split(&args.commands)?;
    let cannot = |error| Stop::because("the lab cannot run here", error);
    headstart_lab::enter().map_err(cannot)?;
    headstart_lab::check().map_err(cannot)?;
    let mut builder = Lab::builder().rtt(Duration::from_millis(args.rtt));
    if let Some(file) = &args.pcap {
        builder = builder.pcap(file);
    }
    let lab = builder.build().map_err(cannot)?;
    if args.cookie {
        fetch_cookies(&lab).map_err(|error| Stop::because("fetching a cookie", error))?;
    }
    lab.set_rule(args.rule);
    let mut server = Served(start(
        &lab,
        lab.server(),
        server,
        Stdio::from(io::stderr()),
    )?);
    wait_until_ready(&lab, &mut server.0)?;
    let mut client = start(&lab, lab.client(), client, Stdio::inherit())?;
    let status = client
        .wait()
        .map_err(|error| Stop::because("waiting for the client's command", error))?;
    Ok(Done::Status(code(status)))
}

/// The server's command and the client's.
fn split(commands: &[OsString]) -> Result<(&[OsString], &[OsString]), Stop> {
    let at = commands.iter().position(|word| word == BETWEEN);
    let (server, rest) = commands.split_at(at.unwrap_or(commands.len()));
    match rest.split_first() {
        Some((_, client)) if !server.is_empty() && !client.is_empty() => Ok((server, client)),
        _ => Err(Stop::Because(
            "two commands are needed: headstart lab -- SERVER-CMD --- CLIENT-CMD".into(),
        )),
    }
}

fn start(lab: &Lab, host: &Host, words: &[OsString], stdout: Stdio) -> Result<Child, Stop> {
    let places = [
        ("{server}", "HEADSTART_SERVER", lab.server_addr(Family::V4)),
        (
            "{server6}",
            "HEADSTART_SERVER6",
            lab.server_addr(Family::V6),
        ),
        ("{client}", "HEADSTART_CLIENT", lab.client_addr(Family::V4)),
    ];
    let fill = |word: &OsString| match word.to_str() {
        Some(text) => places
            .iter()
            .fold(text.to_owned(), |text, (place, _, address)| {
                text.replace(place, &address.to_string())
            })
            .into(),
        None => word.clone(),
    };
    let mut words = words.iter().map(fill);
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command
        .args(words)
        .envs(places.map(|(_, name, address)| (name, address.to_string())))
        .stdout(stdout);
    // A process is where the thread is that starts it.
    let started = host.run(|| command.spawn()).and_then(|started| started);
    started.map_err(|error| {
        Stop::because(
            format_args!("starting {} on the {}", display(&program), host.name()),
            error,
        )
    })
}

fn display(word: &OsStr) -> std::path::Display<'_> {
    std::path::Path::new(word).display()
}

fn wait_until_ready(lab: &Lab, server: &mut Child) -> Result<(), Stop> {
    let began = Instant::now();
    loop {
        let ended = server.try_wait();
        if let Some(status) = ended.map_err(|e| Stop::because("waiting for the server", e))? {
            return Err(Stop::because("the server's command has ended", status));
        }
        let listening = lab.server().run(ready::is_listening);
        let listening = listening.and_then(|listening| listening);
        if listening.map_err(|error| Stop::because("looking at the server", error))? {
            return Ok(());
        }
        if began.elapsed() > READY {
            complain("warning", "the server does not listen on TCP; going on");
            return Ok(());
        }
        sleep(GLANCE);
    }
}

/// Lets the client's kernel have a cookie for each of the server's addresses.
fn fetch_cookies(lab: &Lab) -> io::Result<()> {
    for family in [Family::V4, Family::V6] {
        let address = (lab.server_addr(family), 0).into();
        let listening = lab
            .server()
            .run(|| socket::listen(address, &socket::ListenOptions::new()))??;
        let address = listening.listener.local_addr()?;
        lab.client().run(|| {
            let options = socket::Options::new();
            let attempt = socket::connect(address, socket::Kind::FastOpen, b"?", &options)?;
            let began = Instant::now();
            while socket::TcpInfo::of(&attempt.stream)?.state.is_handshake() {
                if began.elapsed() > READY {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                sleep(GLANCE);
            }
            socket::close_abortively(attempt.stream)
        })??;
    }
    Ok(())
}

/// The server's command, which ends when the client's has.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let Ok(id) = i32::try_from(self.0.id()) else {
            return;
        };
        // One that has ended is not sent anything: it is still ours to wait for.
        if let Ok(None) = self.0.try_wait() {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let began = Instant::now();
        while let Ok(None) = self.0.try_wait() {
            if began.elapsed() > GOODBYE {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            sleep(GLANCE);
        }
    }
}

/// As shells do: 128 and the signal's number, if one ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
