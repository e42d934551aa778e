//! The lab itself.

use std::{net::IpAddr, sync::Arc, thread::JoinHandle, time::Duration};

use crate::{
    builder::LabBuilder,
    host::Host,
    link::{Link, Opening},
    relay::Shared,
    rule::Rule,
    stats::Stats,
    topology::{Family, Port, other_addr},
    trace::TraceEntry,
    way::Way,
};

/// A client, two servers, and a hostile wire between them.
///
/// Dropping it cuts the wire; the hosts go with their last thread and socket.
/// Labs do not see each other: any number can be up at once.
#[derive(Debug)]
pub struct Lab {
    hosts: [Host; 3],
    shared: Arc<Shared>,
    relay: Option<JoinHandle<()>>,
    rtt: Duration,
}

impl Lab {
    /// Begins a lab with default settings.
    pub fn builder() -> LabBuilder {
        LabBuilder::new()
    }

    pub(crate) fn new(
        hosts: [Host; 3],
        shared: Arc<Shared>,
        relay: JoinHandle<()>,
        rtt: Duration,
    ) -> Self {
        Self {
            hosts,
            shared,
            relay: Some(relay),
            rtt,
        }
    }

    /// The client's machine.
    #[must_use]
    pub fn client(&self) -> &Host {
        let [client, ..] = &self.hosts;
        client
    }

    /// The server's machine, or the first of two under [`Rule::Balance`].
    #[must_use]
    pub fn server(&self) -> &Host {
        let [_, server, _] = &self.hosts;
        server
    }

    /// The second server's machine. It has the addresses of the first, but Fast
    /// Open cookies of its own (sysctl `net.ipv4.tcp_fastopen_key`); only
    /// [`Rule::Balance`] sends it anything.
    #[must_use]
    pub fn second_server(&self) -> &Host {
        let [.., second] = &self.hosts;
        second
    }

    /// The client's address: 192.0.2.1 or 2001:db8::1.
    #[must_use]
    pub fn client_addr(&self, family: Family) -> IpAddr {
        Port::Client.host_addr(family)
    }

    /// The address of both servers: 192.0.2.2 or 2001:db8::2.
    #[must_use]
    pub fn server_addr(&self, family: Family) -> IpAddr {
        Port::Server.host_addr(family)
    }

    /// The other address of both servers, for dials to several: 192.0.2.3 or
    /// 2001:db8::3.
    #[must_use]
    pub fn other_addr(&self, family: Family) -> IpAddr {
        other_addr(family)
    }

    /// The round trip that the wire adds.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.rtt
    }

    /// The rule for connections that begin now.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.shared.board().rule
    }

    /// Changes the rule, for connections that begin from now on. Those that
    /// began earlier keep theirs.
    pub fn set_rule(&self, rule: Rule) {
        self.shared.board().rule = rule;
    }

    /// Changes the way to a server's address, for connections that begin from
    /// now on. Those that began earlier keep theirs.
    pub fn set_way(&self, address: IpAddr, way: Way) {
        self.shared.board().ways.set(address, way);
    }

    /// Changes the path of connections to a server's address that begin in this
    /// manner, from now on. Those that began earlier keep theirs.
    pub fn set_link(&self, address: IpAddr, opening: Opening, link: Link) {
        self.shared.board().ways.set_link(address, opening, link);
    }

    /// What the relay has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.board().stats
    }

    /// The latest packets that reached the middlebox, at most 4,096, oldest first.
    #[must_use]
    pub fn trace(&self) -> Vec<TraceEntry> {
        self.shared.board().trace.to_vec()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(relay) = self.relay.take() {
            // A panic of the relay has been printed; a destructor has nobody to tell.
            let _ = relay.join();
        }
    }
}
