//! Where the doctor runs: settings and counters belong to a network namespace, not to the machine.

use std::fs;
use std::path::Path;

use crate::doctor::finding::{Finding, Place};

/// A setting that only the machine's first network namespace has (`net_core_table` of the kernel).
const ONLY_IN_THE_FIRST: &str = "/proc/sys/net/core/netdev_max_backlog";

/// The network namespace of the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Namespace {
    /// As the kernel names it, such as `net:[4026531840]`.
    name: String,
    /// Whether it is the machine's first, and no container's.
    first: bool,
    /// What kind of container this looks like, if any.
    container: Option<&'static str>,
}

impl Namespace {
    pub(in crate::doctor) fn read() -> Self {
        let name = fs::read_link("/proc/thread-self/ns/net");
        Self {
            name: name.map_or_else(|error| error.to_string(), |name| name.display().to_string()),
            first: Path::new(ONLY_IN_THE_FIRST).exists(),
            container: container(),
        }
    }

    /// The remedies that can be used where this runs.
    pub(in crate::doctor) fn remedies(&self) -> &'static [Place] {
        match (self.first, self.container) {
            // The machine's own settings: engines refuse to set them for a container.
            (true, Some("kubernetes" | "docker" | "podman")) => {
                &[Place::Now, Place::Boot, Place::Program]
            }
            (_, Some("kubernetes")) => &[Place::Now, Place::Program, Place::Kubernetes],
            (_, Some("docker" | "podman")) => &[Place::Now, Place::Program, Place::Docker],
            (true, _) => &[Place::Now, Place::Boot, Place::Program, Place::Systemd],
            (false, _) => &[
                Place::Now,
                Place::Program,
                Place::Docker,
                Place::Kubernetes,
                Place::Systemd,
            ],
        }
    }

    pub(super) fn finding(&self) -> Finding {
        const NAME: &str = "namespace";
        let name = &self.name;
        let container = self.container.unwrap_or("no known container");
        Finding::ok(
            NAME,
            match (self.first, self.container) {
                (true, None) => format!("the machine's own network namespace, {name}"),
                (true, Some(container)) => {
                    format!(
                        "the machine's own network namespace, {name}, in {container}: its settings \
                         are the host's, and to be set there"
                    )
                }
                (false, _) => format!(
                    "a network namespace of its own, {name} ({container}): its settings and \
                     counters are not the host's"
                ),
            },
        )
    }
}

/// By the marks that container engines leave.
fn container() -> Option<&'static str> {
    let exists = |path: &str| Path::new(path).exists();
    if exists("/var/run/secrets/kubernetes.io") {
        return Some("kubernetes");
    }
    if exists("/.dockerenv") {
        return Some("docker");
    }
    if exists("/run/.containerenv") {
        return Some("podman");
    }
    let systemd = fs::read_to_string("/run/systemd/container").ok()?;
    Some(match systemd.trim() {
        "docker" => "docker",
        "podman" => "podman",
        "lxc" => "lxc",
        "systemd-nspawn" => "systemd-nspawn",
        _ => "a container",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedies(first: bool, container: Option<&'static str>) -> &'static [Place] {
        let namespace = Namespace {
            name: String::new(),
            first,
            container,
        };
        namespace.remedies()
    }

    #[test]
    fn a_container_in_the_hosts_namespace_is_mended_as_the_host() {
        for engine in ["docker", "podman", "kubernetes"] {
            let places = remedies(true, Some(engine));
            assert_eq!(
                places,
                [Place::Now, Place::Boot, Place::Program],
                "{engine}"
            );
        }
    }

    #[test]
    fn a_container_with_its_own_namespace_is_mended_by_its_engine() {
        for (engine, place) in [
            ("docker", Place::Docker),
            ("podman", Place::Docker),
            ("kubernetes", Place::Kubernetes),
        ] {
            let places = remedies(false, Some(engine));
            assert!(
                places.contains(&place) && !places.contains(&Place::Boot),
                "{engine}"
            );
        }
    }
}
