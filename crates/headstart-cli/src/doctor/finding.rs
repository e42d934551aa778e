//! What the doctor finds, why it matters, and what mends it.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// Could not be seen, and why.
    Unknown,
    /// Works, but not well or not for all.
    Warning,
    /// Keeps Fast Open or connections from working, or makes them dangerous.
    Problem,
}

/// Where a command is to be typed.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // Containers are Linux's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// Here, in this namespace, until the next start.
    Now,
    /// Here, for every start from now on.
    Boot,
    /// In the program's own source or configuration.
    Program,
    /// On the host of a Docker or Podman container.
    Docker,
    /// In the specification of a Kubernetes pod.
    Kubernetes,
    /// In the unit of a systemd service.
    Systemd,
    /// On the host of a FreeBSD jail.
    #[cfg_attr(not(target_os = "freebsd"), allow(dead_code))]
    Jail,
}

impl Place {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Boot => "for good",
            Self::Program => "in the program",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
            Self::Systemd => "systemd",
            Self::Jail => "jail",
        }
    }
}

/// One way to mend a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Remedy {
    pub(super) place: Place,
    /// A command as a shell takes it, if that is the place (`Now`, `Boot`, `Docker`, `Jail`); else
    /// the line to write there.
    pub(super) command: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Stable, for programs.
    pub(super) name: &'static str,
    pub(super) status: Status,
    /// What was seen.
    pub(super) found: String,
    /// Why it matters; empty where all is well.
    pub(super) why: String,
    pub(super) remedies: Vec<Remedy>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found.into(), "")
    }

    /// It could not be seen.
    pub(super) fn unknown(name: &'static str, found: impl Into<String>, why: &str) -> Self {
        Self::new(name, Status::Unknown, found.into(), why)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn warning(name: &'static str, found: impl Into<String>, why: &str) -> Self {
        Self::new(name, Status::Warning, found.into(), why)
    }

    pub(super) fn problem(name: &'static str, found: impl Into<String>, why: &str) -> Self {
        Self::new(name, Status::Problem, found.into(), why)
    }

    fn new(name: &'static str, status: Status, found: String, why: &str) -> Self {
        Self {
            name,
            status,
            found,
            why: why.to_owned(),
            remedies: Vec::new(),
        }
    }

    /// Adds a way to mend it.
    pub(super) fn mend(mut self, place: Place, command: impl Into<String>) -> Self {
        self.remedies.push(Remedy {
            place,
            command: command.into(),
        });
        self
    }

    /// Adds the ways to set a sysctl that each network namespace has for itself.
    #[cfg(target_os = "linux")]
    pub(super) fn set(self, name: &str, value: &str) -> Self {
        let quoted = match value.contains(char::is_whitespace) {
            true => format!("'{name}={value}'"),
            false => format!("{name}={value}"),
        };
        self.mend(Place::Now, format!("sysctl -w {quoted}"))
            .mend(
                Place::Boot,
                format!("echo '{name} = {value}' >> /etc/sysctl.d/60-headstart.conf"),
            )
            .mend(Place::Docker, format!("docker run --sysctl {quoted} ..."))
            .mend(
                Place::Docker,
                format!(
                    "nsenter --net --target \"$(docker inspect -f '{{{{.State.Pid}}}}' NAME)\" \
                     sysctl -w {quoted}"
                ),
            )
            .mend(
                Place::Kubernetes,
                format!("spec.securityContext.sysctls: [{{name: {name}, value: \"{value}\"}}]"),
            )
            .mend(
                Place::Kubernetes,
                format!("kubelet --allowed-unsafe-sysctls={name}"),
            )
            .mend(
                Place::Systemd,
                format!(
                    "for a unit with PrivateNetwork= or NetworkNamespacePath=: \
                     ExecStartPre=+sysctl -w {quoted}"
                ),
            )
    }
}
