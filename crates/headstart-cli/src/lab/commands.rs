//! The lab, and the two commands in it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headstart_lab::{Family, Host, Lab, LabError, Rule};
use headstart_socket as socket;

use super::children::{Asked, Children, GOODBYE};
use super::{LabArgs, ready};
use crate::exit::{Done, Stop};
use crate::output::{complain, spinner};

/// What stands between the two commands.
const BETWEEN: &str = "---";
/// How long a server may take until it listens.
const READY: Duration = Duration::from_secs(10);
/// How long nobody needs to be told what is being waited for.
const SILENT: Duration = Duration::from_secs(1);
/// How often something that is waited for is looked at: at first, and at last.
const GLANCE: Duration = Duration::from_millis(10);
const GLANCE_MAX: Duration = Duration::from_millis(200);

/// Runs the commands; it ends as the client's does, and then nothing of it is left. `entered` is
/// called once the process has the rights that a lab needs.
pub(super) fn run(
    args: &LabArgs,
    mut children: Children,
    entered: impl FnOnce() -> Result<(), Stop>,
) -> Result<Done, Stop> {
    let cannot = |error| Stop::because("the lab cannot run here", error);
    headstart_lab::enter().map_err(cannot)?;
    entered()?;
    headstart_lab::check().map_err(cannot)?;
    let mut builder = Lab::builder().rtt(Duration::from_millis(args.rtt));
    if let Some(file) = &args.pcap {
        builder = builder.pcap(file);
    }
    let lab = builder.build().map_err(|error| match error {
        // A lab was built a moment ago: this is about what was asked for.
        LabError::Io { .. } => Stop::Because(error.to_string()),
        error => cannot(error),
    })?;
    let done = run_in(&lab, args, &mut children);
    if !children.end() {
        complain("warning", "not every process of the lab could be ended");
    }
    done
}

fn run_in(lab: &Lab, args: &LabArgs, children: &mut Children) -> Result<Done, Stop> {
    let (server, client) = split(&args.commands)?;
    if args.cookie {
        fetch_cookies(lab).map_err(|error| Stop::because("fetching a cookie", error))?;
    }
    lab.set_rule(args.rule);
    let hosts = match args.rule {
        Rule::Balance => &[lab.server(), lab.second_server()][..],
        _ => &[lab.server()],
    };
    let mut servers = Vec::new();
    for host in hosts {
        let mut command = fill(lab, server);
        // A group of its own: ^C at the terminal is for the client, whose end is the server's.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(io::stderr());
        servers.push((*host, start(children, host, command)?));
    }
    if let Some(asked) = wait_until_ready(&servers, children)? {
        return Ok(Done::Status(128 + asked.signal as u8));
    }
    let client = start(children, lab.client(), fill(lab, client))?;
    let outcome = children.attend(&client, GOODBYE);
    let outcome =
        outcome.map_err(|error| Stop::because("waiting for the client's command", error))?;
    Ok(Done::Status(outcome.code()))
}

/// The server's command and the client's.
pub(super) fn split(commands: &[OsString]) -> Result<(&[OsString], &[OsString]), Stop> {
    let at = commands.iter().position(|word| word == BETWEEN);
    let (server, rest) = commands.split_at(at.unwrap_or(commands.len()));
    match rest.split_first() {
        Some((_, client)) if !server.is_empty() && !client.is_empty() => Ok((server, client)),
        _ => Err(Stop::Misused(
            "two commands are needed: headstart lab -- SERVER-CMD --- CLIENT-CMD".into(),
        )),
    }
}

/// A command with its addresses.
fn fill(lab: &Lab, words: &[OsString]) -> Command {
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
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .envs(places.map(|(_, name, address)| (name, address.to_string())));
    command
}

fn start(children: &mut Children, host: &Host, mut command: Command) -> Result<Child, Stop> {
    let started = children.start_on(host, &mut command);
    started.map_err(|error| {
        let program = display(command.get_program());
        Stop::because(
            format_args!("starting {program} on the {}", host.name()),
            error,
        )
    })
}

fn display(word: &OsStr) -> std::path::Display<'_> {
    std::path::Path::new(word).display()
}

/// Waits until each server listens; what this process was asked meanwhile.
fn wait_until_ready(
    servers: &[(&Host, Child)],
    children: &mut Children,
) -> Result<Option<Asked>, Stop> {
    let began = Instant::now();
    let mut glance = GLANCE;
    let mut telling = None;
    loop {
        if let Some(status) = servers
            .iter()
            .find_map(|(_, server)| children.status(server))
        {
            return Err(Stop::because("the server's command has ended", status));
        }
        let mut listen = servers
            .iter()
            .map(|(host, _)| host.run(ready::is_listening)?);
        let listen = listen.try_fold(true, |all, one| one.map(|one| all && one));
        if listen.map_err(|error| Stop::because("looking at the server", error))? {
            return Ok(None);
        }
        if began.elapsed() > READY {
            complain("warning", "the server does not listen on TCP; going on");
            return Ok(None);
        }
        if began.elapsed() > SILENT {
            telling.get_or_insert_with(|| spinner("waiting for the server to listen"));
        }
        let asked = children.wait(glance);
        let asked = asked.map_err(|error| Stop::because("waiting for the server", error))?;
        if asked.is_some() {
            return Ok(asked);
        }
        glance = (glance * 3 / 2).min(GLANCE_MAX);
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
