//! `headstart gate`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headstart_tokio::{Admitted, Gate, ListenOptions, Options, QueueLen};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::args::{GateArgs, HeaderVersion};
use super::header::header;
use super::relay::End;
use super::service::{Guest, Listening, Service};
use super::telemetry;
use crate::cli::Server;
use crate::exit::{Done, Stop};
use crate::output::complain;
use crate::signals::Signals;
use crate::{limits, serve};

/// After so long without a byte a peer is asked whether it still lives.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) fn run(args: &GateArgs) -> Result<Done, Stop> {
    limits::raise_descriptors();
    telemetry::log(args.service.log);
    let runtime = runtime().map_err(|error| Stop::because("starting", error))?;
    let summary = runtime.block_on(async {
        let signals = Signals::new().map_err(|e| Stop::because("waiting for signals", e))?;
        telemetry::metrics(args.service.metrics)?;
        let (service, ending) = Service::new(&args.service, &args.to);
        let threads = start(args, &service)?;
        let summary = ending.wait(signals).await;
        for thread in threads {
            let ended = thread.join();
            let ended = ended.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            ended.map_err(|error| {
                Stop::because(format_args!("accepting at {}", args.listen), error)
            })?;
        }
        Ok(summary)
    })?;
    summary.tell(args.service.json)?;
    Ok(Done::Well)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Starts the accept loops, and tells that they listen.
fn start(args: &GateArgs, service: &Service) -> Result<Vec<JoinHandle<io::Result<()>>>, Stop> {
    let stop = |error| Stop::listening(args.listen, &error);
    let backend = Arc::new(Backend {
        to: args.to.clone(),
        timeout: args.connect_timeout,
        header: args.proxy_protocol,
    });
    let held = (args.threads > 1).then(|| hold(args.listen)).transpose();
    let mut held = held.map_err(stop)?;
    let mut first: Option<Arc<Gate>> = None;
    let mut threads = Vec::new();
    for number in 0..args.threads {
        let (ready, is_ready) = mpsc::channel();
        let address = match (&first, &held) {
            (Some(first), _) => first.local_addr(),
            (None, Some(held)) => held.local_addr().map_err(stop)?,
            (None, None) => args.listen,
        };
        let open = opener(args, address);
        let (service, backend, beside) = (service.clone(), backend.clone(), first.clone());
        let accepting = move || {
            runtime()?.block_on(async move {
                let gate = match open(beside) {
                    Ok(gate) => Arc::new(gate),
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return Ok(());
                    }
                };
                let _ = ready.send(Ok(gate.clone()));
                accept(&gate, &service, &backend).await
            })
        };
        let thread = thread::Builder::new().name(format!("gate-{number}"));
        threads.push(thread.spawn(accepting).map_err(stop)?);
        let gate = is_ready
            .recv()
            .map_err(io::Error::other)
            .and_then(|gate| gate);
        let gate = gate.map_err(stop)?;
        if first.is_none() {
            // Before anybody is told: whoever comes to it is not heard.
            held = None;
            let fast_open = gate.fast_open();
            if !fast_open.is_on() && !args.admission.no_fast_open {
                complain(
                    "warning",
                    &format!("Fast Open is {fast_open}. {}", serve::REMEDY),
                );
            }
            let fast_open = Some(fast_open.to_string());
            Listening::new(gate.local_addr(), args.to.to_string(), fast_open)
                .tell(args.service.json)?;
            first = Some(gate);
        }
    }
    Ok(threads)
}

/// Listens alone, which fails where anybody else listens, until the first gate
/// does. A port that is shared is shared with other processes too, and they know
/// nothing of what is admitted here: each would admit a message once more.
fn hold(address: SocketAddr) -> io::Result<TcpListener> {
    let options = ListenOptions::new().fast_open(QueueLen::Off);
    let alone = headstart_socket::listen(address, &options)?.listener;
    // Now that nobody else can: the gates that are opened here.
    let_share(&alone)?;
    Ok(alone)
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
fn let_share(listener: &TcpListener) -> io::Result<()> {
    headstart_socket::socket2::SockRef::from(listener).set_reuse_port(true)
}

/// There are no shared ports here.
#[cfg(any(
    not(unix),
    target_os = "solaris",
    target_os = "illumos",
    target_os = "cygwin"
))]
fn let_share(_listener: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How a thread opens its gate: beside the first, if it is not the first.
fn opener(
    args: &GateArgs,
    address: SocketAddr,
) -> impl FnOnce(Option<Arc<Gate>>) -> io::Result<Gate> + Send + 'static {
    let options = ListenOptions::new()
        .fast_open(args.admission.queue())
        .reuse_port(args.threads > 1)
        .options(Options::new().nodelay(true).keepalive(Some(KEEPALIVE)));
    let (framing, admission) = (args.framing.framing(), args.admission);
    move |first| {
        let builder = Gate::builder(framing)?.listen_options(options);
        let builder = admission.apply(builder);
        let builder = match &first {
            Some(first) => builder.beside(first),
            None => builder,
        };
        builder.bind(address)
    }
}

/// Serves who is admitted until no more are wanted, and then those that were
/// admitted before; lets what is open come to its end.
async fn accept(gate: &Gate, service: &Service, backend: &Arc<Backend>) -> io::Result<()> {
    let drained = async {
        service.draining().await;
        tokio::select! {
            () = gate.close() => service.drained().await,
            () = service.drained() => {}
        }
    };
    tokio::select! {
        biased;
        Err(error) = serve_all(gate, service, backend) => Err(error),
        () = drained => Ok(()),
    }
}

/// Serves until nobody will be admitted any more: an error unless the gate was
/// to close.
async fn serve_all(gate: &Gate, service: &Service, backend: &Arc<Backend>) -> io::Result<()> {
    loop {
        let admitted = match gate.accept().await {
            Ok(admitted) => admitted,
            Err(_) if service.is_draining() => return Ok(()),
            Err(error) => return Err(error),
        };
        // Only now: gates that share a port are given connections by the system,
        // whether they have room for them or not.
        match service.room().await {
            Some(guest) => {
                tokio::spawn(backend.clone().serve(admitted, gate.local_addr(), guest));
            }
            None => {
                admitted.stream.spoil();
                service.turned_away(admitted.peer);
            }
        }
    }
}

/// The server behind the gate.
#[derive(Debug)]
struct Backend {
    to: Server,
    timeout: Duration,
    header: Option<HeaderVersion>,
}

impl Backend {
    async fn serve(self: Arc<Self>, admitted: Admitted, listening: SocketAddr, guest: Guest) {
        let dialled = admitted.local.unwrap_or(listening);
        let mut client = admitted.stream;
        match self.dial(admitted.peer, dialled).await {
            // What broke is counted and logged.
            Ok(mut server) => drop(guest.relay(admitted.peer, &mut client, &mut server).await),
            Err(error) => {
                client.spoil();
                guest.not_dialled(&error);
            }
        }
    }

    async fn dial(&self, client: SocketAddr, dialled: SocketAddr) -> io::Result<TcpStream> {
        let to = (self.to.host.as_str(), self.to.port);
        let dial = async {
            let mut server = TcpStream::connect(to).await?;
            server.set_nodelay(true)?;
            if let Some(version) = self.header {
                server.write_all(&header(version, client, dialled)?).await?;
            }
            Ok(server)
        };
        match timeout(self.timeout, dial).await {
            Ok(dialled) => dialled,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
