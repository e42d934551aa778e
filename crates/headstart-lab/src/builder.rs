//! Settings of a lab, and its building.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    enter::require_capabilities,
    error::{Doing, LabError, Part},
    host::Host,
    lab::Lab,
    middlebox::Middlebox,
    namespace::Namespace,
    netlink::{Netlink, VethEnd},
    packet_socket::PacketSocket,
    pcap::Capture,
    queue::DelayQueue,
    relay::{Interface, Relay, Shared},
    rule::Rule,
    topology::{Family, Port, prefix_len},
};

/// Longest round trip.
const RTT_MAX: Duration = Duration::from_secs(10);
/// Packets on their way at most, if not said otherwise: some 100 MB.
const QUEUE_DEFAULT: usize = 65_536;
const QUEUE_MAX: usize = 1 << 20;
/// The same on every machine, and the only one that every kernel has and lets
/// every namespace use. The machine's own choice may pace, which shows in times.
const CONGESTION_CONTROL: &str = "reno";
/// The interface of every host.
const INTERFACE: &str = "eth0";

/// Settings of a lab; each has a default.
#[derive(Debug, Clone)]
#[must_use]
pub struct LabBuilder {
    rtt: Duration,
    rule: Rule,
    seed: u64,
    queue: usize,
    pcap: Option<PathBuf>,
}

impl LabBuilder {
    pub(crate) fn new() -> Self {
        Self {
            rtt: Duration::ZERO,
            rule: Rule::Transparent,
            seed: 0,
            queue: QUEUE_DEFAULT,
            pcap: None,
        }
    }

    /// The round trip that the wire adds, 0 to 10 s; half of it each way. Default: 0.
    pub fn rtt(mut self, rtt: Duration) -> Self {
        self.rtt = rtt;
        self
    }

    /// What the middlebox does first. Default: [`Rule::Transparent`].
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    /// The seed of [`Rule::RandomLoss`]. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many packets can be on their way, both ways together, 1 to 1,048,576;
    /// more are dropped and counted. Default: 65,536.
    pub fn queue(mut self, packets: usize) -> Self {
        self.queue = packets;
        self
    }

    /// Writes every packet to a pcapng file with an interface for each host: a
    /// packet that passes is there twice, one that is dropped only once, where
    /// it came in. Complete when the lab is dropped. Default: no file.
    pub fn pcap(mut self, path: impl AsRef<Path>) -> Self {
        self.pcap = Some(path.as_ref().to_owned());
        self
    }

    /// Builds the lab: namespaces, interfaces, addresses, and the relay thread.
    ///
    /// # Errors
    ///
    /// [`LabError::Setting`] if a setting is out of range,
    /// [`LabError::NotPermitted`] without the rights that [`enter`](crate::enter)
    /// gives, [`LabError::Missing`] if the kernel lacks a part, and
    /// [`LabError::Io`] for everything else.
    pub fn build(self) -> Result<Lab, LabError> {
        self.check()?;
        require_capabilities()?;
        let capture = match &self.pcap {
            Some(path) => {
                let doing = format!("creating the capture file {}", path.display());
                Some(Capture::create(path).doing(&doing)?)
            }
            None => None,
        };
        let wires = Namespace::new()?;
        let [client, server, second] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
        let interfaces = in_namespace(&wires, || {
            Ok([
                add_port(Port::Client, &client)?,
                add_port(Port::Server, &server)?,
                add_port(Port::SecondServer, &second)?,
            ])
        })?;
        let hosts = [
            set_up_host(Port::Client, client)?,
            set_up_host(Port::Server, server)?,
            set_up_host(Port::SecondServer, second)?,
        ];
        in_namespace(&wires, || {
            Port::ALL
                .into_iter()
                .try_for_each(|port| await_carrier(port.name()))
        })?;
        let shared = Arc::new(Shared::new(self.rule).doing("making an event file")?);
        let relay = Relay {
            interfaces,
            middlebox: Middlebox::new(self.seed),
            queue: DelayQueue::new(self.queue),
            delay: self.rtt / 2,
            capture,
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("lab-relay".to_owned())
            .spawn(move || relay.run())
            .doing("starting the relay thread")?;
        Ok(Lab::new(hosts, shared, thread, self.rtt))
    }

    fn check(&self) -> Result<(), LabError> {
        if self.rtt > RTT_MAX {
            return Err(LabError::Setting {
                reason: "rtt: at most 10 s",
            });
        }
        if !(1..=QUEUE_MAX).contains(&self.queue) {
            return Err(LabError::Setting {
                reason: "queue: 1 to 1048576 packets",
            });
        }
        Ok(())
    }
}

/// Runs a step of the building on a thread in the namespace.
fn in_namespace<T: Send>(
    namespace: &Namespace,
    step: impl FnOnce() -> Result<T, LabError> + Send,
) -> Result<T, LabError> {
    namespace.run(step).doing("entering a network namespace")?
}

/// Makes a veth pair between the calling thread's namespace and a host's, and
/// opens the near end.
fn add_port(port: Port, host: &Namespace) -> Result<Interface, LabError> {
    let mut netlink = Netlink::open().needs(Part::Netlink)?;
    let near = VethEnd {
        name: port.name(),
        mac: None,
        namespace: None,
    };
    let far = VethEnd {
        name: INTERFACE,
        mac: Some(port.host_mac()),
        namespace: Some(host.handle()),
    };
    netlink.add_veth(&near, &far).needs(Part::Veth)?;
    // Nothing can come in before the socket is open: the far end is down.
    let socket = PacketSocket::open(port.name()).needs(Part::PacketSockets)?;
    netlink
        .set_up(port.name(), true)
        .doing("setting up the relay's interface")?;
    Ok(Interface {
        port,
        socket,
        lost: 0,
    })
}

/// Waits until an interface of the calling thread's namespace carries packets.
fn await_carrier(name: &str) -> Result<(), LabError> {
    let mut netlink = Netlink::open().needs(Part::Netlink)?;
    netlink.wait_for_carrier(name).doing("waiting for the wire")
}

/// Gives a host its loopback, addresses and settings.
fn set_up_host(port: Port, namespace: Namespace) -> Result<Host, LabError> {
    let host = Host::new(port.name(), namespace);
    host.run(|| {
        let mut netlink = Netlink::open().needs(Part::Netlink)?;
        netlink
            .set_up("lo", false)
            .doing("setting up the loopback interface")?;
        netlink
            .set_up(INTERFACE, true)
            .doing("setting up a host's interface")?;
        port.host_addrs(Family::V4).try_for_each(|address| {
            netlink
                .add_address(INTERFACE, address, prefix_len(Family::V4))
                .doing("adding an IPv4 address")
        })
    })
    .doing("entering a host")??;
    host.run(|| await_carrier(INTERFACE))
        .doing("entering a host")??;
    allow_ipv6(&host).needs(Part::Ipv6)?;
    host.run(|| {
        let mut netlink = Netlink::open()?;
        port.host_addrs(Family::V6).try_for_each(|address| {
            netlink.add_address(INTERFACE, address, prefix_len(Family::V6))?;
            netlink.wait_for_address(address)
        })
    })
    .doing("entering a host")?
    .needs(Part::Ipv6)?;
    host.set_fast_open(port.fast_open_bits())
        .needs(Part::Sysctl)?;
    host.set_sysctl("net.ipv4.tcp_congestion_control", CONGESTION_CONTROL)
        .needs(Part::Sysctl)?;
    Ok(host)
}

/// Undoes a machine-wide "IPv6 off by default".
fn allow_ipv6(host: &Host) -> io::Result<()> {
    const NAME: &str = "net.ipv6.conf.eth0.disable_ipv6";
    if host.sysctl(NAME)? == "0" {
        Ok(())
    } else {
        host.set_sysctl(NAME, "0")
    }
}
