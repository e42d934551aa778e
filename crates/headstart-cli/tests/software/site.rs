//! A web site in the lab: nginx behind a gate on the server, a forward on the
//! client, and what curl says of both ways.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use headstart_lab::{Family, Host, Lab, Rule};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{PATIENCE, Server, headstart};

/// Where the gate listens, for TLS and for Tokens.
pub(crate) const GATE_TLS: u16 = 443;
pub(crate) const GATE_TOKEN: u16 = 80;
/// Where nginx listens itself, on every address.
pub(crate) const NGINX_TLS: u16 = 8443;
pub(crate) const NGINX: u16 = 8080;
/// Where the forwards listen.
pub(crate) const FORWARD_TLS: u16 = 1443;
pub(crate) const FORWARD_TOKEN: u16 = 1080;
/// The pages, by their size.
pub(crate) const SIZES: [usize; 3] = [1, 64 * 1024, 32 * 1024 * 1024];

/// What must be installed.
pub(crate) fn tools() -> Result<(), String> {
    for tool in ["nginx", "curl", "haproxy", "openssl", "wrk"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .stdout(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!("there is no {tool} (Debian has packages of all)"));
        }
    }
    Ok(())
}

/// A process that is killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end, but not for ever.
    pub(crate) fn wait(&mut self) {
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "a process does not end");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The site, its files in a folder of its own.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) folder: PathBuf,
    nginx: Option<Process>,
}

impl Site {
    pub(crate) fn start(rtt: Duration) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "headstart-site-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("www/up")).unwrap();
        for size in SIZES {
            fs::write(folder.join("www").join(size.to_string()), page(size)).unwrap();
        }
        certificate(&folder);
        let lab = Lab::builder().rtt(rtt).build().unwrap();
        let mut site = Self {
            lab,
            folder,
            nginx: None,
        };
        site.start_nginx();
        site
    }

    pub(crate) fn start_nginx(&mut self) {
        let configuration = self.folder.join("nginx.conf");
        fs::write(&configuration, nginx_conf(&self.folder)).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-c")
            .arg(&configuration)
            .arg("-e")
            .arg(self.folder.join("error.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.nginx = Some(spawn(self.lab.server(), command));
        self.until_answering(self.lab.server(), "127.0.0.1", NGINX);
    }

    /// Ends nginx at once, or lets it finish what it does.
    pub(crate) fn stop_nginx(&mut self, signal: Signal) {
        let mut nginx = self.nginx.take().unwrap();
        nginx.signal(signal);
        nginx.wait();
    }

    pub(crate) fn address(&self) -> String {
        self.lab.server_addr(Family::V4).to_string()
    }

    /// A gate before nginx, for TLS or for Tokens.
    pub(crate) fn gate(&self, framing: &str) -> Server {
        let (listen, to) = match framing {
            "tls" => (GATE_TLS, NGINX_TLS),
            _ => (GATE_TOKEN, NGINX),
        };
        let (listen, to) = (
            format!("{}:{listen}", self.address()),
            format!("127.0.0.1:{to}"),
        );
        let command = headstart(&[
            "gate",
            "--json",
            "--framing",
            framing,
            "--listen",
            &listen,
            "--to",
            &to,
        ]);
        self.lab.server().run(|| Server::spawn(command)).unwrap()
    }

    /// A forward to that gate, which remembers what earlier ones have learnt.
    pub(crate) fn forward(&self, framing: &str) -> Server {
        let (listen, to) = match framing {
            "tls" => (FORWARD_TLS, GATE_TLS),
            _ => (FORWARD_TOKEN, GATE_TOKEN),
        };
        let (listen, to) = (
            format!("127.0.0.1:{listen}"),
            format!("{}:{to}", self.address()),
        );
        let memory = self.folder.join("memory");
        let command = headstart(&[
            "forward",
            "--json",
            "--framing",
            framing,
            "--listen",
            &listen,
            "--to",
            &to,
            "--memory",
            memory.to_str().unwrap(),
            // Dead connections would be waited for.
            "--drain",
            "1",
        ]);
        self.lab.client().run(|| Server::spawn(command)).unwrap()
    }

    /// Runs curl on the client.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Output {
        let common = ["--silent", "--show-error", "--insecure", "--max-time", "20"];
        let mut command = Command::new("curl");
        command.args(common).args(arguments);
        self.lab.client().run(|| command.output().unwrap()).unwrap()
    }

    /// Waits until a port of an address of a host's own answers.
    pub(crate) fn until_answering(&self, host: &Host, address: &str, port: u16) {
        let began = Instant::now();
        let answers = || std::net::TcpStream::connect((address, port)).is_ok();
        while !host.run(answers).unwrap() {
            let log = || fs::read_to_string(self.folder.join("error.log"));
            assert!(
                began.elapsed() < PATIENCE,
                "port {port} does not answer: {:?}",
                log()
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// Lets the path be hostile from now on.
    pub(crate) fn under(&self, rule: Rule) {
        self.lab.set_rule(rule);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.nginx.take());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts a process on a host.
pub(crate) fn spawn(host: &Host, mut command: Command) -> Process {
    Process(host.run(|| command.spawn().unwrap()).unwrap())
}

/// A page of this size, not all alike.
pub(crate) fn page(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ u32::try_from(size).unwrap();
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// A self-signed certificate and its key.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=site.test", "-keyout"])
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("certificate.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

fn nginx_conf(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; user root; worker_processes 2; pid {folder}/nginx.pid;
         error_log {folder}/error.log;
         events {{ worker_connections 4096; }}
         http {{
             access_log off; tcp_nodelay on; keepalive_requests 1000000;
             client_max_body_size 64m; client_body_temp_path {folder}/body;
             proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
             uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
             server {{
                 listen {NGINX} reuseport backlog=4096;
                 listen {NGINX_TLS} ssl reuseport backlog=4096;
                 ssl_certificate {folder}/certificate.pem;
                 ssl_certificate_key {folder}/key.pem;
                 ssl_protocols TLSv1.3; ssl_session_tickets off;
                 root {folder}/www;
                 location /up/ {{ dav_methods PUT; }}
             }}
         }}"
    )
}
