//! What a file says.

use headstart_core::path::{Remembered, Standing};
use headstart_core::peers::NodeUrl;

/// Most paths that a file keeps; those heard of last.
pub const PATHS_KEPT: usize = headstart_core::path::PATHS_DEFAULT;

/// What is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Paths, in the order in which they are to be restored.
    pub paths: Vec<Remembered>,
    /// Peers that are known.
    pub peers: Vec<NodeUrl>,
}

impl Contents {
    /// Takes in what another knows of paths. Of what both know, that which was
    /// heard last stays; beyond [`PATHS_KEPT`] goes what is not in trouble, then
    /// what was heard longest ago.
    pub fn merge(&mut self, paths: impl IntoIterator<Item = Remembered>) {
        self.paths.extend(paths);
        // What was heard last comes first of each path, and of equals the newcomer.
        self.paths.reverse();
        self.paths
            .sort_by_key(|r| (r.path, std::cmp::Reverse(r.noted)));
        self.paths.dedup_by_key(|r| r.path);
        self.paths.sort_by_key(|r| (is_in_trouble(r), r.noted));
        let surplus = self.paths.len().saturating_sub(PATHS_KEPT);
        self.paths.drain(..surplus);
    }

    /// Takes in a peer, in place of what was said of the same host and port.
    pub fn insert_peer(&mut self, url: NodeUrl) {
        let same = |known: &NodeUrl| (known.host(), known.port()) == (url.host(), url.port());
        self.peers.retain(|known| !same(known));
        self.peers.push(url);
    }
}

fn is_in_trouble(remembered: &Remembered) -> bool {
    matches!(remembered.standing, Standing::Suspended { .. })
}
