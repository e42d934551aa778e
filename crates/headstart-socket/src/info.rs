//! What the kernel knows about one connection: `TCP_INFO`, decoded. macOS and iOS have less of it, in
//! `TCP_CONNECTION_INFO`; other systems have nothing here.

use std::io;
use std::time::Duration;

use socket2::SockRef;

use crate::sys;

/// `TCPI_OPT_SYN_DATA` of `linux/tcp.h`.
#[cfg(any(target_os = "linux", target_os = "android", test))]
const OPTION_SYN_DATA: u8 = 32;

/// The state of a connection (RFC 9293 section 3.3.2), numbered as in Linux's `net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Open on this side.
    Established,
    /// SYN sent, or about to be sent with data.
    SynSent,
    /// SYN received; an accepted Fast Open connection whose handshake has not ended.
    SynRecv,
    /// This side has closed, its FIN is not acknowledged.
    FinWait1,
    /// This side has closed, its FIN is acknowledged.
    FinWait2,
    /// Closed on both sides, waiting for stray packets.
    TimeWait,
    /// Not connected, or ended by an error.
    Close,
    /// The peer has closed.
    CloseWait,
    /// Both have closed, this side's FIN is not acknowledged.
    LastAck,
    /// A listener.
    Listen,
    /// Both have closed at the same time.
    Closing,
    /// A number this crate has no name for.
    Unknown(u8),
}

impl State {
    #[cfg(any(target_os = "linux", target_os = "android", test))]
    fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Established,
            2 => Self::SynSent,
            // 12 is TCP_NEW_SYN_RECV, the same state before there is a socket.
            3 | 12 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            other => Self::Unknown(other),
        }
    }

    /// Whether the three-way handshake is still under way.
    pub fn is_handshake(self) -> bool {
        matches!(self, Self::SynSent | Self::SynRecv)
    }
}

/// Why a Fast Open attempt sent no data in its SYN, or in vain
/// (`enum tcp_fastopen_client_fail` of `linux/tcp.h`, Linux 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FastOpenFailure {
    /// 1: there was no cookie.
    NoCookie,
    /// 2: the SYN-ACK acknowledged the SYN but not the data in it.
    DataNotAcked,
    /// 3: the SYN had to be retransmitted, which is done without data.
    SynRetransmitted,
}

/// Facts about one connection at one moment.
///
/// Fields that are `Option` are absent where the kernel does not tell them, or is too old for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// Where the connection stands.
    pub state: State,
    /// On the dialling side: the peer acknowledged data in the SYN. On an accepted connection:
    /// data came in the SYN and was accepted.
    pub syn_data_acked: bool,
    /// What went wrong with Fast Open on the dialling side. Zero in the kernel is `None` here,
    /// so before Linux 5.5 it is always `None`.
    pub fast_open_failure: Option<FastOpenFailure>,
    /// Timeouts in a row without an acknowledgement since. Zero but on Linux.
    pub timeouts: u8,
    /// Segments retransmitted over the connection's life.
    pub retransmits: u32,
    /// Segments sent and not yet acknowledged, the SYN or FIN included. Zero but on Linux.
    pub unacked: u32,
    /// The smoothed round trip time; zero before the first sample.
    pub rtt: Duration,
    /// The mean deviation of the round trip time.
    pub rtt_deviation: Duration,
    /// The shortest round trip seen (Linux 4.6); `None` also before the first sample.
    pub min_rtt: Option<Duration>,
    /// The current retransmission timeout.
    pub rto: Duration,
    /// Bytes one segment carries to the peer.
    pub send_mss: u32,
    /// Sequence numbers the peer has acknowledged (Linux 4.1): its bytes, and one each for the SYN
    /// of the dialling side and for a FIN.
    pub acked: Option<u64>,
    /// Sequence numbers received in order (Linux 4.1): the peer's bytes, and one for its FIN.
    pub received: Option<u64>,
    /// Bytes written that have not been sent even once (Linux 4.6).
    pub not_sent: Option<u32>,
}

impl TcpInfo {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the platform has no `TCP_INFO` that this
    /// crate reads; [`InvalidData`](io::ErrorKind::InvalidData) if the kernel's answer is too short
    /// to hold even the facts of Linux 2.6; otherwise the system's.
    pub fn of<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<Self> {
        sys::tcp_info(&socket.into())
    }

    /// Reads `struct tcp_info` of `linux/tcp.h` by offset, as far as it goes: what `sock_diag` tells
    /// of other processes' sockets. Linux only.
    ///
    /// `None` if it is too short to hold even the facts of Linux 2.6.
    #[cfg(any(target_os = "linux", target_os = "android", test))]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let micros = |offset| u32_at(bytes, offset).map(|us| Duration::from_micros(us.into()));
        Some(Self {
            state: State::from_number(*bytes.first()?),
            timeouts: *bytes.get(2)?,
            syn_data_acked: bytes.get(5)? & OPTION_SYN_DATA != 0,
            fast_open_failure: client_fail(*bytes.get(7)?),
            rto: micros(8)?,
            send_mss: u32_at(bytes, 16)?,
            unacked: u32_at(bytes, 24)?,
            rtt: micros(68)?,
            rtt_deviation: micros(72)?,
            retransmits: u32_at(bytes, 100)?,
            acked: u64_at(bytes, 120),
            received: u64_at(bytes, 128),
            not_sent: u32_at(bytes, 144),
            // The kernel's word for "no sample yet" is all ones.
            min_rtt: u32_at(bytes, 148)
                .filter(|us| *us != u32::MAX)
                .map(|us| Duration::from_micros(us.into())),
        })
    }
}

/// The two-bit field `tcpi_fastopen_client_fail`, after one bit, in C's order of bit-fields.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn client_fail(byte: u8) -> Option<FastOpenFailure> {
    let bits = if cfg!(target_endian = "big") {
        byte >> 5
    } else {
        byte >> 1
    };
    match bits & 3 {
        1 => Some(FastOpenFailure::NoCookie),
        2 => Some(FastOpenFailure::DataNotAcked),
        3 => Some(FastOpenFailure::SynRetransmitted),
        _ => None,
    }
}

#[cfg(any(target_os = "linux", target_os = "android", test))]
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|b| u32::from_ne_bytes(*b))
}

#[cfg(any(target_os = "linux", target_os = "android", test))]
fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|b| u64::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP_INFO_MAX: usize = 512;

    #[test]
    fn every_length_is_decoded_or_refused_whole() {
        let bytes = [0xff; TCP_INFO_MAX];
        for length in 0..=TCP_INFO_MAX {
            let info = TcpInfo::decode(&bytes[..length]);
            assert_eq!(info.is_some(), length >= 104, "{length}");
            let Some(info) = info else { continue };
            assert_eq!(info.acked.is_some(), length >= 128, "{length}");
            assert_eq!(info.received.is_some(), length >= 136, "{length}");
            assert_eq!(info.not_sent.is_some(), length >= 148, "{length}");
            assert_eq!(info.min_rtt, None, "all ones is no sample");
        }
    }

    #[test]
    fn each_fact_is_read_from_its_own_bytes() {
        let mut bytes = [0; 256];
        bytes[0] = 2;
        bytes[2] = 5;
        bytes[5] = OPTION_SYN_DATA | 1;
        for (offset, value) in [
            (8, 8_000_u32),
            (16, 1_460),
            (24, 3),
            (68, 1_500),
            (72, 72),
            (100, 9),
        ] {
            bytes[offset..][..4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes[144..148].copy_from_slice(&10_u32.to_ne_bytes());
        bytes[148..152].copy_from_slice(&11_u32.to_ne_bytes());
        bytes[120..128].copy_from_slice(&(1_u64 << 40).to_ne_bytes());
        let info = TcpInfo::decode(&bytes).unwrap();
        assert_eq!(info.state, State::SynSent);
        assert!(info.state.is_handshake());
        assert_eq!(info.timeouts, 5);
        assert!(info.syn_data_acked);
        assert_eq!(info.fast_open_failure, None);
        assert_eq!(info.rto, Duration::from_millis(8));
        assert_eq!(info.send_mss, 1_460);
        assert_eq!(info.unacked, 3);
        assert_eq!(info.rtt, Duration::from_micros(1_500));
        assert_eq!(info.rtt_deviation, Duration::from_micros(72));
        assert_eq!(info.not_sent, Some(10));
        assert_eq!(info.min_rtt, Some(Duration::from_micros(11)));
        assert_eq!(info.retransmits, 9);
        assert_eq!(info.acked, Some(1 << 40));
        assert_eq!(info.received, Some(0));
    }

    #[test]
    fn states_are_numbered_as_in_the_kernel() {
        use State::*;
        let named = [
            Unknown(0),
            Established,
            SynSent,
            SynRecv,
            FinWait1,
            FinWait2,
            TimeWait,
            Close,
            CloseWait,
            LastAck,
            Listen,
            Closing,
            SynRecv,
            Unknown(13),
        ];
        for (number, state) in (0..).zip(named) {
            assert_eq!(State::from_number(number), state);
        }
    }

    /// Bit-fields are laid out from the other end on big-endian machines.
    #[cfg(target_endian = "big")]
    #[test]
    fn client_fail_is_bits_five_and_six() {
        assert_eq!(client_fail(0b1001_1111), None);
        assert_eq!(client_fail(0b0010_0000), Some(FastOpenFailure::NoCookie));
        assert_eq!(
            client_fail(0b1100_0000),
            Some(FastOpenFailure::DataNotAcked)
        );
        assert_eq!(
            client_fail(0b0110_0000),
            Some(FastOpenFailure::SynRetransmitted)
        );
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn client_fail_is_bits_one_and_two() {
        assert_eq!(client_fail(0b1111_1001), None);
        assert_eq!(client_fail(0b010), Some(FastOpenFailure::NoCookie));
        assert_eq!(client_fail(0b101), Some(FastOpenFailure::DataNotAcked));
        assert_eq!(client_fail(0b110), Some(FastOpenFailure::SynRetransmitted));
    }
}
