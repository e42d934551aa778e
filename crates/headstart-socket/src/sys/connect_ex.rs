//! `ConnectEx` with data: one overlapped operation that connects and sends.
//!
//! The kernel reads the flight and writes the `OVERLAPPED` until the operation ends, so both live in
//! an allocation with two owners: the [`Operation`], and the operation under way itself, whose share
//! a callback of the system's thread pool gives back when the operation has ended. Nobody waits: a
//! socket that is closed cancels its operations, and a cancelled operation has ended, too.
//!
//! The operation never holds the socket, so it can neither keep it open nor touch another that got
//! its number.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, OnceLock};

use socket2::{SockAddr, Socket};
use windows_sys::Win32::Networking::WinSock::{
    self, LPFN_CONNECTEX, SIO_GET_EXTENSION_FUNCTION_POINTER, SO_UPDATE_CONNECT_CONTEXT, SOCKET,
    SOL_SOCKET, WSA_IO_INCOMPLETE, WSA_IO_PENDING, WSAID_CONNECTEX,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0};
use windows_sys::Win32::System::Threading::{
    CloseThreadpoolWait, CreateEventW, CreateThreadpoolWait, PTP_CALLBACK_INSTANCE, PTP_WAIT,
    SetThreadpoolWait,
};
use windows_sys::core::BOOL;

/// `LPFN_CONNECTEX` of `mswsock.h`.
type ConnectEx = unsafe extern "system" fn(
    SOCKET,
    *const WinSock::SOCKADDR,
    c_int,
    *const c_void,
    u32,
    *mut u32,
    *mut OVERLAPPED,
) -> BOOL;

const FALSE: BOOL = 0;
const TRUE: BOOL = 1;

/// Bit 0 of the event's handle: completion goes to the event alone, never to a completion port that
/// a runtime may bind the socket to (`GetQueuedCompletionStatus`, "Remarks").
const NO_PORT: usize = 1;

/// A connection that `ConnectEx` opens; the default is none.
#[derive(Debug, Default)]
pub(crate) struct Operation(Option<Started>);

#[derive(Debug)]
struct Started {
    shared: Arc<InFlight>,
    /// How it ended, once somebody has looked: `None` is well, a number an error.
    ended: OnceLock<Option<i32>>,
}

/// What the kernel reads and writes while the operation is under way.
struct InFlight {
    overlapped: UnsafeCell<OVERLAPPED>,
    flight: Box<[u8]>,
    /// Set when the operation has ended. Closed after the callback's wait for it.
    event: OwnedHandle,
}

// SAFETY: all of it may be used from any thread; the one cell is written by the kernel, and only read
// here, through the system's own `WSAGetOverlappedResult`, which is made for that.
unsafe impl Send for InFlight {}
// SAFETY: as above.
unsafe impl Sync for InFlight {}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("flight", &self.flight.len())
            .finish_non_exhaustive()
    }
}

/// Starts connecting a bound socket, with a copy of the flight to be sent.
pub(super) fn start(socket: &Socket, addr: &SockAddr, flight: &[u8]) -> io::Result<Operation> {
    let connect_ex = function(socket)?;
    let length = u32::try_from(flight.len()).map_err(io::Error::other)?;
    let shared = InFlight::new(flight)?;
    let wait = Wait::new(&shared)?;
    // Written only if the operation ends at once.
    let mut sent = 0;
    // SAFETY: the socket is open while it is borrowed and the address while it is; flight, event and
    // `OVERLAPPED` live until the operation has ended, since `wait` shares them and, once armed,
    // keeps its share until then; if the operation did not start, nobody uses them.
    let started = unsafe {
        connect_ex(
            raw(socket),
            addr.as_ptr().cast(),
            addr.len(),
            shared.flight.as_ptr().cast(),
            length,
            &mut sent,
            shared.overlapped.get(),
        )
    };
    if started == FALSE {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(WSA_IO_PENDING) {
            return Err(error);
        }
    }
    wait.arm(&shared.event);
    Ok(Operation(Some(Started {
        shared,
        ended: OnceLock::new(),
    })))
}

impl Operation {
    /// See [`Operation::finish`](crate::Operation::finish).
    pub(crate) fn finish(&self, socket: &Socket) -> io::Result<()> {
        match &self.0 {
            None => Ok(()),
            Some(started) => started.finish(socket),
        }
    }
}

impl Started {
    fn finish(&self, socket: &Socket) -> io::Result<()> {
        let ended = match self.ended.get() {
            Some(ended) => *ended,
            None => {
                let ended = match self.shared.result(socket) {
                    Ok(()) => None,
                    Err(error) if error.raw_os_error() == Some(WSA_IO_INCOMPLETE) => {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    Err(error) => error.raw_os_error(),
                };
                *self.ended.get_or_init(|| ended)
            }
        };
        ended.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }
}

impl InFlight {
    fn new(flight: &[u8]) -> io::Result<Arc<Self>> {
        // SAFETY: takes no pointers that are not null.
        let event = unsafe { CreateEventW(ptr::null(), TRUE, FALSE, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is new, and owned by nobody else.
        let event = unsafe { OwnedHandle::from_raw_handle(event.cast()) };
        let overlapped = OVERLAPPED {
            Internal: 0,
            InternalHigh: 0,
            Anonymous: OVERLAPPED_0 {
                Pointer: ptr::null_mut(),
            },
            hEvent: event.as_raw_handle().map_addr(|handle| handle | NO_PORT),
        };
        Ok(Arc::new(Self {
            overlapped: UnsafeCell::new(overlapped),
            flight: flight.into(),
            event,
        }))
    }

    /// How the operation ended; makes the socket an ordinary connected one if it ended well.
    fn result(&self, socket: &Socket) -> io::Result<()> {
        let (mut bytes, mut flags) = (0, 0);
        // SAFETY: the socket is open while it is borrowed; the pointers are to what they should be.
        let ended = unsafe {
            WinSock::WSAGetOverlappedResult(
                raw(socket),
                self.overlapped.get(),
                &mut bytes,
                FALSE,
                &mut flags,
            )
        };
        if ended == FALSE {
            return Err(io::Error::last_os_error());
        }
        // How many bytes it counts is not asked: the manual counts those sent "after the connection was
        // established", so perhaps not those in the SYN. An operation that succeeds has sent all.
        // SAFETY: the socket is open while it is borrowed; the option has no value to be read.
        let updated = unsafe {
            WinSock::setsockopt(
                raw(socket),
                SOL_SOCKET,
                SO_UPDATE_CONNECT_CONTEXT,
                ptr::null(),
                0,
            )
        };
        match updated {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A wait of the thread pool's for the end of an operation, with a share of what that uses.
struct Wait {
    wait: PTP_WAIT,
    share: *const InFlight,
}

impl Wait {
    fn new(shared: &Arc<InFlight>) -> io::Result<Self> {
        let share = Arc::into_raw(shared.clone());
        // SAFETY: the callback gets the share, and gives it back once.
        let wait = unsafe {
            CreateThreadpoolWait(Some(ended), share.cast_mut().cast::<c_void>(), ptr::null())
        };
        if wait == 0 {
            let error = io::Error::last_os_error();
            // SAFETY: the share was given to nobody.
            drop(unsafe { Arc::from_raw(share) });
            return Err(error);
        }
        Ok(Self { wait, share })
    }

    /// Leaves itself to the callback, which comes once: when the event is set, or at once if it is.
    fn arm(self, event: &OwnedHandle) {
        // SAFETY: the wait is open; so is the event, until the callback gives its share back.
        unsafe { SetThreadpoolWait(self.wait, event.as_raw_handle(), ptr::null()) };
        std::mem::forget(self);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it after this; from within its own callback that is
        // allowed, too.
        unsafe { CloseThreadpoolWait(self.wait) };
        // SAFETY: the share is this wait's own.
        drop(unsafe { Arc::from_raw(self.share) });
    }
}

/// The operation has ended, well or not.
unsafe extern "system" fn ended(
    _instance: PTP_CALLBACK_INSTANCE,
    share: *mut c_void,
    wait: PTP_WAIT,
    _result: u32,
) {
    let share = share.cast_const().cast();
    drop(Wait { wait, share });
}

/// The address of `ConnectEx` for this socket's provider (`mswsock.h`).
fn function(socket: &Socket) -> io::Result<ConnectEx> {
    let name = WSAID_CONNECTEX;
    let mut function: LPFN_CONNECTEX = None;
    let mut filled = 0;
    // SAFETY: the socket is open while it is borrowed; the system reads one GUID and writes one
    // pointer to a function of this type, where there is room for it.
    let result = unsafe {
        WinSock::WSAIoctl(
            raw(socket),
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const name).cast(),
            size_of_val(&name) as u32,
            (&raw mut function).cast(),
            size_of_val(&function) as u32,
            &mut filled,
            ptr::null_mut(),
            None,
        )
    };
    match (result, function) {
        (0, Some(function)) => Ok(function),
        (0, None) => Err(super::unsupported()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn raw(socket: &Socket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::sync::Weak;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use socket2::{Domain, Protocol, Type};

    use super::*;

    /// Waits no longer than this for what must come.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn socket() -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        socket
    }

    fn dial(addr: SocketAddr) -> (Socket, Operation, Weak<InFlight>) {
        let socket = socket();
        let operation = start(&socket, &addr.into(), b"flight").unwrap();
        let shared = Arc::downgrade(&operation.0.as_ref().unwrap().shared);
        (socket, operation, shared)
    }

    fn expect_freed(shared: &Weak<InFlight>) {
        let began = Instant::now();
        while shared.strong_count() > 0 {
            assert!(began.elapsed() < PATIENCE, "still there");
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_an_operation_owns_is_freed_when_it_has_ended_and_nobody_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (socket, operation, shared) = dial(addr);
        let _accepted = listener.accept().unwrap();
        // The kernel's share goes; the other stays with who may ask.
        let began = Instant::now();
        while shared.strong_count() > 1 {
            assert!(
                began.elapsed() < PATIENCE,
                "the kernel's share is still there"
            );
            sleep(Duration::from_millis(1));
        }
        operation.finish(&socket).unwrap();
        drop(operation);
        expect_freed(&shared);
        assert_eq!(socket.peer_addr().unwrap().as_socket(), Some(addr));
    }

    #[test]
    fn what_an_operation_owns_outlives_it_while_the_kernel_may_read_it() {
        // Nobody answers once the backlog is full.
        let listener = socket();
        listener.listen(1).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let mut fillers = Vec::new();
        loop {
            let filler = dial(addr);
            sleep(Duration::from_millis(200));
            let pending = filler.2.strong_count() > 1;
            fillers.push(filler);
            if pending {
                break;
            }
        }
        for operation_first in [true, false] {
            let (socket, operation, shared) = dial(addr);
            assert_eq!(shared.strong_count(), 2);
            if operation_first {
                drop(operation);
                sleep(Duration::from_millis(50));
                assert_eq!(shared.strong_count(), 1, "the kernel still has it");
                drop(socket);
            } else {
                drop(socket);
                drop(operation);
            }
            expect_freed(&shared);
        }
    }
}
