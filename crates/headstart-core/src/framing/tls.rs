//! Where a TLS ClientHello ends.
//!
//! A ClientHello is one handshake message (RFC 8446 section 4: type, 24 bits of
//! length, body), cut into one or more records (section 5.1: content type,
//! version, 16 bits of length, fragment). What is checked is the record layer
//! and the message's type and length; what is in it is the TLS library's to
//! judge. Wherever the record layer leaves a choice, this takes the stricter
//! one: bytes that are refused here are sent on one connection only and lose
//! nothing but the race.

use super::Malformed;

/// Content type, version, length.
const RECORD_HEADER_LEN: u8 = 5;
/// Message type, length.
const HANDSHAKE_HEADER_LEN: u8 = 4;
/// Content type "handshake".
const HANDSHAKE: u8 = 22;
/// Message type "client_hello".
const CLIENT_HELLO: u8 = 1;
/// Longest fragment of a plaintext record, in bytes.
const FRAGMENT_MAX: u16 = 1 << 14;
/// Most records that a ClientHello may come in: enough for one of 3,400 bytes
/// in fragments of 27, the smallest that a TLS library is known to be set to.
const RECORDS_MAX: u8 = 128;
/// The shortest body that can be a ClientHello: version 2, random 32, session
/// id 1, cipher suites 2 + 2, compression 1 + 1 (RFC 8446 section 4.1.2).
/// Without its random bytes, a message would not be unique.
const BODY_MIN: u32 = 41;
/// The longest body that servers are known to take; rustls stops here.
const BODY_MAX: u32 = 0xFFFF;

/// Finds the end of one ClientHello.
#[derive(Clone, Debug)]
pub(super) struct ClientHello {
    /// Bytes of the current record's header that have come.
    record_seen: u8,
    /// Bytes of the handshake header that have come.
    handshake_seen: u8,
    /// Records begun.
    records: u8,
    /// Bytes missing from the current record's fragment.
    fragment_left: u16,
    /// Bytes missing from the body; known once the handshake header is whole.
    body_left: u32,
}

impl ClientHello {
    pub(super) const fn new() -> Self {
        Self {
            record_seen: 0,
            handshake_seen: 0,
            records: 0,
            fragment_left: 0,
            body_left: 0,
        }
    }

    /// Length of the shortest ClientHello, in one record.
    pub(super) const fn least() -> usize {
        RECORD_HEADER_LEN as usize + HANDSHAKE_HEADER_LEN as usize + BODY_MIN as usize
    }

    /// Whether the record in which the ClientHello ends is whole.
    pub(super) const fn is_complete(&self) -> bool {
        self.handshake_seen == HANDSHAKE_HEADER_LEN && self.body_left == 0
    }

    /// Takes at least one byte of `input`, which is not empty, and says how
    /// many. Not to be called when complete.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let Some(&byte) = input.first() else {
            return Ok(0);
        };
        if self.record_seen < RECORD_HEADER_LEN {
            self.take_record_header(byte)?;
            return Ok(1);
        }
        let taken = if self.handshake_seen < HANDSHAKE_HEADER_LEN {
            self.take_handshake_header(byte)?;
            1
        } else {
            self.skip_body(input.len())
        };
        if self.fragment_left == 0 {
            self.record_seen = 0;
        }
        Ok(taken)
    }

    /// The least number of bytes that must still come.
    pub(super) fn least_left(&self) -> u64 {
        let header = HANDSHAKE_HEADER_LEN.saturating_sub(self.handshake_seen);
        let message = u64::from(self.body_left) + u64::from(header);
        // The rest of a record header counts only within one: if the record is
        // whole and the message not, there will be another.
        let record = RECORD_HEADER_LEN.saturating_sub(self.record_seen);
        match message.max(u64::from(self.fragment_left)) {
            0 => 0,
            least => least + u64::from(record),
        }
    }

    fn take_record_header(&mut self, byte: u8) -> Result<(), Malformed> {
        match self.record_seen {
            0 if byte != HANDSHAKE => return Err(Malformed::NotTls),
            0 if self.records == RECORDS_MAX => return Err(Malformed::TooManyRecords),
            0 => self.records = self.records.saturating_add(1),
            1 if byte != 3 => return Err(Malformed::NotTls),
            2 if !matches!(byte, 1..=4) => return Err(Malformed::NotTls),
            3 => self.fragment_left = u16::from(byte) << 8,
            4 => {
                self.fragment_left |= u16::from(byte);
                self.check_fragment()?;
            }
            _ => {}
        }
        self.record_seen = self.record_seen.saturating_add(1);
        Ok(())
    }

    fn take_handshake_header(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.handshake_seen == 0 {
            if byte != CLIENT_HELLO {
                return Err(Malformed::NotClientHello);
            }
        } else {
            self.body_left = self.body_left << 8 | u32::from(byte);
        }
        self.fragment_left = self.fragment_left.saturating_sub(1);
        self.handshake_seen = self.handshake_seen.saturating_add(1);
        if self.handshake_seen == HANDSHAKE_HEADER_LEN {
            self.check_body()?;
        }
        Ok(())
    }

    /// Skips what is in hand of the current fragment, and says how many bytes.
    fn skip_body(&mut self, in_hand: usize) -> usize {
        let skipped = u16::try_from(in_hand)
            .unwrap_or(u16::MAX)
            .min(self.fragment_left);
        self.fragment_left = self.fragment_left.saturating_sub(skipped);
        self.body_left = self.body_left.saturating_sub(u32::from(skipped));
        usize::from(skipped)
    }

    /// Checks a record by its header.
    fn check_fragment(&self) -> Result<(), Malformed> {
        match self.fragment_left {
            0 => Err(Malformed::EmptyRecord),
            length if length > FRAGMENT_MAX => Err(Malformed::OversizedRecord),
            _ => self.check_end(),
        }
    }

    /// Checks the message by its header.
    fn check_body(&self) -> Result<(), Malformed> {
        match self.body_left {
            length if length < BODY_MIN => Err(Malformed::NotClientHello),
            length if length > BODY_MAX => Err(Malformed::TooLong {
                limit: BODY_MAX as usize,
            }),
            _ => self.check_end(),
        }
    }

    /// Refuses a record that goes on where the message ends.
    fn check_end(&self) -> Result<(), Malformed> {
        let whole_header = self.handshake_seen == HANDSHAKE_HEADER_LEN;
        if whole_header && u32::from(self.fragment_left) > self.body_left {
            Err(Malformed::DataAfterClientHello)
        } else {
            Ok(())
        }
    }
}
