//! `headstart forward`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headstart_tokio::core::race::AttemptKind;
use headstart_tokio::{Dialer, FirstFlight, ListenOptions, Options, Peer, QueueLen, Schedule};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::args::ForwardArgs;
use super::gate::KEEPALIVE;
use super::relay::End;
use super::service::{Guest, Listening, Service};
use super::telemetry;
use crate::cli::{FramingName, Server};
use crate::exit::{Done, Stop};
use crate::limits;
use crate::memory::Kept;
use crate::output::complain;
use crate::signals::Signals;

/// How often what is learnt is written.
const SAVE: Duration = Duration::from_secs(30);

/// Runs the command.
pub(crate) fn run(args: &ForwardArgs) -> Result<Done, Stop> {
    limits::raise_descriptors();
    telemetry::log(args.service.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::because("starting", error))?;
    let done = runtime.block_on(forward(args));
    runtime.shutdown_background();
    done
}

async fn forward(args: &ForwardArgs) -> Result<Done, Stop> {
    let signals = Signals::new().map_err(|error| Stop::because("waiting for signals", error))?;
    telemetry::metrics(args.service.metrics)?;
    let listener = listen(args)
        .map_err(|error| Stop::because(format_args!("listening on {}", args.listen), error))?;
    let address = listener
        .local_addr()
        .map_err(|error| Stop::because("listening", error))?;
    let kept = args.memory.as_deref().map(Kept::open).transpose()?;
    let known = kept
        .as_ref()
        .and_then(|kept| kept.peers.get(&args.to.host, args.to.port));
    if let Some(url) = known.filter(|url| url.abilities().peer() == Peer::Unaware) {
        let why = "so nothing is raced: `headstart peers FILE --add` says otherwise";
        complain(
            "warning",
            &format!("the memory knows {url}, which does not debounce, {why}"),
        );
    }
    let far = Arc::new(Far {
        dialer: dialer(args, kept.as_ref())
            .map_err(|error| Stop::because("preparing to dial", error))?,
        to: args.to.clone(),
        first_byte: (args.framing == FramingName::Token)
            .then(|| Duration::from_millis(args.first_byte)),
    });
    let (service, ending) = Service::new(&args.service, &args.to);
    Listening::new(address, args.to.to_string(), None).tell(args.service.json)?;
    let accepting = tokio::spawn(accept(listener, service, far.clone()));
    let keeping = kept.map(|kept| Keeping::start(Arc::new(kept)));
    let summary = ending.wait(signals).await;
    accepting
        .await
        .map_err(|error| Stop::because("accepting", error))?;
    // What clients wrote last is still on its way.
    let _ = timeout(args.service.drain, far.dialer.settled()).await;
    if let Some(keeping) = keeping {
        keeping.end().await;
    }
    summary.tell(args.service.json)?;
    Ok(Done::Well)
}

/// Writes what is learnt of paths to its file, from time to time and at the end.
struct Keeping {
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

impl Keeping {
    fn start(kept: Arc<Kept>) -> Self {
        let again = kept.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SAVE).await;
                let kept = again.clone();
                let _ = tokio::task::spawn_blocking(move || kept.save()).await;
            }
        });
        Self { kept, task }
    }

    async fn end(self) {
        self.task.abort();
        let kept = self.kept;
        let _ = tokio::task::spawn_blocking(move || kept.save()).await;
    }
}

fn listen(args: &ForwardArgs) -> io::Result<TcpListener> {
    let options = ListenOptions::new().fast_open(QueueLen::Off);
    let listening = headstart_socket::listen(args.listen, &options)?;
    TcpListener::from_std(listening.listener)
}

fn dialer(args: &ForwardArgs, kept: Option<&Kept>) -> io::Result<Dialer> {
    let dialer = Dialer::builder()?
        .memory(kept.map(|kept| kept.memory.clone()).unwrap_or_default())
        .peers(kept.map(|kept| kept.peers.clone()).unwrap_or_default())
        .options(Options::new().nodelay(true).keepalive(Some(KEEPALIVE)))
        .peer(args.peer.into());
    let dialer = match args.framing {
        FramingName::Token => dialer.token(),
        framing => dialer.first_flight(FirstFlight::Framed(framing.framing())),
    };
    let dialer = match args.hedge {
        Some(delay) => dialer.schedule(Schedule::Hedged {
            first: AttemptKind::FastOpen,
            delay: Duration::from_millis(delay),
        }),
        None => dialer,
    };
    dialer.build()
}

/// Accepts connections until no more are wanted; nobody listens then.
async fn accept(listener: TcpListener, service: Service, far: Arc<Far>) {
    loop {
        let next = async { Some((service.room().await?, listener.accept().await)) };
        let next = tokio::select! {
            biased;
            () = service.draining() => None,
            next = next => next,
        };
        let Some((guest, accepted)) = next else {
            return;
        };
        match accepted {
            Ok((client, address)) => {
                tokio::spawn(far.clone().serve(client, address, guest));
            }
            Err(error) => {
                // One connection is gone, or descriptors have run out.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Pause after an accept that failed.
const BACK_OFF: Duration = Duration::from_millis(20);

/// The server far away.
#[derive(Debug)]
struct Far {
    dialer: Dialer,
    to: Server,
    /// How long a client may take to its first byte.
    first_byte: Option<Duration>,
}

impl Far {
    async fn serve(self: Arc<Self>, mut client: TcpStream, address: SocketAddr, guest: Guest) {
        let _ = client.set_nodelay(true);
        let to = (self.to.host.as_str(), self.to.port);
        let mut server = match self.dialer.dial(to).await {
            Ok(server) => server,
            Err(error) => {
                client.spoil();
                return guest.not_dialled(&error);
            }
        };
        if let Some(time) = self.first_byte {
            // Reading from the race says that the first flight is over.
            let _ = timeout(time, client.readable()).await;
        }
        let result = guest.relay(address, &mut client, &mut server).await;
        let winner = match server.report().winner() {
            Some(winner) if winner.kind == AttemptKind::FastOpen => "fastopen",
            Some(_) => "plain",
            None => "none",
        };
        metrics::counter!(telemetry::RACES, "winner" => winner).increment(1);
        tracing::debug!(client = %address, winner, ok = result.is_ok(), "raced");
    }
}
