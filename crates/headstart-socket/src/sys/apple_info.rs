//! `struct tcp_connection_info` of Apple's `<netinet/tcp.h>`, read by offset.
//!
//! The `libc` crate has the structure too, but with a word for each of the fifteen bits of Fast
//! Open, which the header puts into one.

use std::time::Duration;

use crate::info::{FastOpenFailure, State, TcpInfo};

/// Room for the structure of systems to come; the kernel says how much of it it filled.
#[cfg(target_vendor = "apple")]
pub(super) const LENGTH_MAX: usize = 512;

// The bits of the word at `TFO`, from the least significant, in the order of the header.
const COOKIE_REQ: u32 = 1 << 0;
const SYN_LOSS: u32 = 1 << 2;
const SYN_DATA_SENT: u32 = 1 << 3;
const SYN_DATA_ACKED: u32 = 1 << 4;
const SYN_DATA_RCV: u32 = 1 << 5;

// Where fields are, in bytes: three of a byte and one of padding, then words.
const RTO: usize = 12;
const MAXSEG: usize = 16;
const SRTT: usize = 44;
const RTTVAR: usize = 48;
const TFO: usize = 52;
const TXRETRANSMITPACKETS: usize = 104;

/// Decodes the structure; nothing if it is too short to have the bits of Fast Open.
pub(super) fn decode(bytes: &[u8]) -> Option<TcpInfo> {
    let word = |offset| {
        let word = bytes.get(offset..)?.first_chunk();
        word.map(|b| u32::from_ne_bytes(*b))
    };
    let long = |offset| {
        let long = bytes.get(offset..)?.first_chunk();
        long.map(|b| u64::from_ne_bytes(*b))
    };
    let millis = |offset| word(offset).map(|ms| Duration::from_millis(ms.into()));
    let tfo = word(TFO)?;
    Some(TcpInfo {
        state: state(*bytes.first()?),
        syn_data_acked: tfo & (SYN_DATA_ACKED | SYN_DATA_RCV) != 0,
        fast_open_failure: failure(tfo),
        // Not told.
        timeouts: 0,
        unacked: 0,
        retransmits: long(TXRETRANSMITPACKETS)
            .map_or(0, |packets| u32::try_from(packets).unwrap_or(u32::MAX)),
        rtt: millis(SRTT)?,
        rtt_deviation: millis(RTTVAR)?,
        min_rtt: None,
        rto: millis(RTO)?,
        send_mss: word(MAXSEG)?,
        // Of what was acknowledged and received, nothing is told that is exact.
        acked: None,
        received: None,
        not_sent: None,
    })
}

fn failure(tfo: u32) -> Option<FastOpenFailure> {
    if tfo & SYN_LOSS != 0 {
        Some(FastOpenFailure::SynRetransmitted)
    } else if tfo & COOKIE_REQ != 0 {
        Some(FastOpenFailure::NoCookie)
    } else if tfo & SYN_DATA_SENT != 0 && tfo & SYN_DATA_ACKED == 0 {
        Some(FastOpenFailure::DataNotAcked)
    } else {
        None
    }
}

/// The states of `<netinet/tcp_fsm.h>`, which BSD systems number in another order than Linux.
fn state(number: u8) -> State {
    match number {
        0 => State::Close,
        1 => State::Listen,
        2 => State::SynSent,
        3 => State::SynRecv,
        4 => State::Established,
        5 => State::CloseWait,
        6 => State::FinWait1,
        7 => State::Closing,
        8 => State::LastAck,
        9 => State::FinWait2,
        10 => State::TimeWait,
        other => State::Unknown(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header's structure, 112 bytes, with a number of its own in each field that is read.
    fn bytes(tfo: u32) -> Vec<u8> {
        let mut bytes = vec![4, 6, 6, 0];
        for (place, word) in (1_u32..=12).enumerate() {
            assert_eq!(bytes.len(), 4 + 4 * place);
            bytes.extend((1_000 * word).to_ne_bytes());
        }
        bytes.extend(tfo.to_ne_bytes());
        for long in 1_u64..=7 {
            bytes.extend((1_000_000 * long).to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn fields_are_where_the_header_has_them() {
        let bytes = bytes(SYN_DATA_SENT | SYN_DATA_ACKED);
        assert_eq!(bytes.len(), 112);
        let info = decode(&bytes).unwrap();
        assert_eq!(info.state, State::Established);
        assert_eq!(info.rto, Duration::from_secs(3), "the third word");
        assert_eq!(info.send_mss, 4_000, "the fourth word");
        assert_eq!(info.rtt, Duration::from_secs(11), "the eleventh word");
        assert_eq!(info.rtt_deviation, Duration::from_secs(12));
        assert_eq!(info.retransmits, 7_000_000, "the seventh long");
        assert!(info.syn_data_acked);
        assert_eq!(info.fast_open_failure, None);
    }

    #[test]
    fn the_bits_of_fast_open_are_told_apart() {
        let info = |tfo| decode(&bytes(tfo)).unwrap();
        assert_eq!(info(0).fast_open_failure, None);
        assert!(!info(0).syn_data_acked);
        assert!(info(SYN_DATA_RCV).syn_data_acked);
        let why = |tfo| info(tfo).fast_open_failure;
        assert_eq!(why(COOKIE_REQ), Some(FastOpenFailure::NoCookie));
        assert_eq!(why(SYN_DATA_SENT), Some(FastOpenFailure::DataNotAcked));
        assert_eq!(
            why(SYN_DATA_SENT | SYN_LOSS),
            Some(FastOpenFailure::SynRetransmitted)
        );
    }

    #[test]
    fn any_length_is_survived() {
        let bytes = bytes(!0);
        for end in 0..=bytes.len() {
            assert_eq!(decode(&bytes[..end]).is_some(), end >= 56, "{end}");
        }
    }
}
