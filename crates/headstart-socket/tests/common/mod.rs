//! A network namespace per test, and waiting without clocks.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use headstart_socket::status::Counters;
use headstart_socket::{
    Connecting, Kind, ListenOptions, Listening, Options, Progress, connect, listen, take_error,
};

/// Both sides on: client 0x1, server 0x2.
pub(crate) const BOTH: u32 = 0x3;

/// Any port of the IPv4 loopback address.
pub(crate) const V4: &str = "127.0.0.1:0";

/// Any port of the IPv6 loopback address.
pub(crate) const V6: &str = "[::1]:0";

/// Waits no longer than this for what must come: a hang becomes a failure.
const PATIENCE_MS: i32 = 20_000;

/// Runs a test in a thread with a network namespace of its own: loopback up, no cookies, no
/// connections, counters at zero, and this value of the `tcp_fastopen` sysctl.
pub(crate) fn in_namespace(fastopen: u32, test: impl FnOnce() + Send + 'static) {
    let body = move || -> io::Result<()> {
        enter_namespace()?;
        set_sysctl("net/ipv4/tcp_fastopen", fastopen)?;
        test();
        Ok(())
    };
    match thread::spawn(body).join() {
        Ok(Ok(())) => {}
        Ok(Err(why)) if std::env::var_os("HEADSTART_REQUIRE_LAB").is_some() => {
            panic!("no network namespace: {why}")
        }
        Ok(Err(why)) => println!("skipped: no network namespace: {why}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn enter_namespace() -> io::Result<()> {
    // SAFETY: takes no pointers; only the calling thread changes its namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    interface_request(libc::SIOCSIFFLAGS, |request| {
        request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    })
}

/// Sets the MTU of the loopback interface, in bytes: what Ethernet has, to see its limits.
pub(crate) fn set_mtu(bytes: i32) -> io::Result<()> {
    interface_request(libc::SIOCSIFMTU, |request| {
        request.ifr_ifru.ifru_mtu = bytes
    })
}

fn interface_request(number: libc::c_ulong, fill: impl FnOnce(&mut libc::ifreq)) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    fill(&mut request);
    // SAFETY: the kernel reads one `ifreq` from the pointer.
    if unsafe { libc::ioctl(socket.as_raw_fd(), number as _, &request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets a sysctl of this thread's namespace.
pub(crate) fn set_sysctl(name: &str, value: impl Display) -> io::Result<()> {
    fs::write(format!("/proc/sys/{name}"), value.to_string())
}

/// Waits until a socket is readable or has failed.
pub(crate) fn wait_readable(socket: &impl AsRawFd) {
    wait(socket, libc::POLLIN);
}

/// Waits until a socket is writable or has failed.
pub(crate) fn wait_writable(socket: &impl AsRawFd) {
    wait(socket, libc::POLLOUT);
}

fn wait(socket: &impl AsRawFd, events: i16) {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the pointer is to one `pollfd`.
    let ready = unsafe { libc::poll(&mut poll, 1, PATIENCE_MS) };
    assert_eq!(ready, 1, "nothing happened");
}

/// Listens with these options on a free port of `at`.
pub(crate) fn server(at: &str, options: &ListenOptions) -> (Listening, SocketAddr) {
    let listening = listen(at.parse().unwrap(), options).unwrap();
    let addr = listening.listener.local_addr().unwrap();
    (listening, addr)
}

/// Accepts the next connection.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    wait_readable(listener);
    listener.accept().unwrap().0
}

/// Asserts that nobody is waiting to be accepted.
pub(crate) fn expect_nobody(listener: &TcpListener) {
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

/// Dials with Fast Open.
pub(crate) fn dial(addr: SocketAddr, flight: &[u8]) -> Connecting {
    connect(addr, Kind::FastOpen, flight, &Options::new()).unwrap()
}

/// Dials once without a cookie, which brings one, and closes without a trace.
pub(crate) fn fetch_cookie(listener: &TcpListener, addr: SocketAddr) {
    let first = dial(addr, b"first");
    assert_eq!(first.progress, Progress::CookieRequest);
    wait_writable(&first.stream);
    assert!(take_error(&first.stream).unwrap().is_none());
    let accepted = accept(listener);
    headstart_socket::close_abortively(first.stream).unwrap();
    headstart_socket::close_abortively(accepted).unwrap();
}

/// Reads exactly so many bytes, waiting for them.
pub(crate) fn read(stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut got = vec![0; length];
    let mut filled = 0;
    while filled < length {
        wait_readable(stream);
        match io::Read::read(&mut &*stream, &mut got[filled..]) {
            Ok(0) => panic!("the stream ended after {filled} bytes"),
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => panic!("{e}"),
        }
    }
    got
}

/// Writes all, waiting for room.
pub(crate) fn write(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        wait_writable(stream);
        match io::Write::write(&mut &*stream, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// The Fast Open counters of this namespace.
pub(crate) fn counters() -> Counters {
    Counters::read().unwrap()
}

/// How many connections of this namespace are in a state, by its number in `net/tcp_states.h`.
pub(crate) fn connections_in_state(number: u8) -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let state = format!("{number:02X}");
    table
        .lines()
        .skip(1)
        .filter(|l| l.split_whitespace().nth(3) == Some(&state))
        .count()
}

/// Makes a system call of this thread fail wherever one argument has a value: how older kernels are
/// had on new ones.
pub(crate) fn refuse(call: libc::c_long, argument: u32, value: libc::c_int, errno: libc::c_int) {
    // Offsets into `struct seccomp_data` of `linux/seccomp.h`, on little-endian machines.
    const NUMBER: u32 = 0;
    let argument = 16 + 8 * argument;
    let load = |from| libc::sock_filter {
        code: 0x20,
        jt: 0,
        jf: 0,
        k: from,
    };
    let unless_equal = |skip, k| libc::sock_filter {
        code: 0x15,
        jt: 0,
        jf: skip,
        k,
    };
    let give = |k| libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [
        load(NUMBER),
        unless_equal(3, call as u32),
        load(argument),
        unless_equal(1, value as u32),
        give(libc::SECCOMP_RET_ERRNO | errno as u32),
        give(libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: takes no pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0);
    // SAFETY: the kernel copies the filter, whose length is that of `program`.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
