//! A capture file: pcapng (draft-ietf-opsawg-pcapng), read by Wireshark and tcpdump.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::topology::Port;

/// Section header block, version 1.0, little endian, length unknown.
const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Packets begin with the IP header.
const LINKTYPE_RAW: u16 = 101;
const OPTION_NAME: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
/// Times are counted in units of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Writes every packet that crosses one of the relay's interfaces.
///
/// So a packet that passes is there twice, as when capturing on both sides of a
/// middlebox; one that is dropped only once.
#[derive(Debug)]
pub(crate) struct Capture {
    file: BufWriter<File>,
}

impl Capture {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut capture = Self {
            file: BufWriter::new(File::create(path)?),
        };
        let mut section = BYTE_ORDER.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend(u64::MAX.to_le_bytes());
        capture.block(SECTION, &section)?;
        for port in Port::ALL {
            let mut interface = LINKTYPE_RAW.to_le_bytes().to_vec();
            interface.extend([0; 6]);
            option(&mut interface, OPTION_NAME, port.name().as_bytes());
            option(&mut interface, OPTION_RESOLUTION, &[NANOSECONDS]);
            option(&mut interface, 0, &[]);
            capture.block(INTERFACE, &interface)?;
        }
        capture.flush()?;
        Ok(capture)
    }

    /// Writes one packet.
    pub(crate) fn packet(&mut self, port: Port, packet: &[u8]) -> io::Result<()> {
        let interface: u32 = match port {
            Port::Client => 0,
            Port::Server => 1,
            Port::SecondServer => 2,
        };
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let length = length(packet)?;
        let mut body = Vec::with_capacity(packet.len().saturating_add(24));
        body.extend(interface.to_le_bytes());
        // The upper half of the time comes first, each in little endian.
        body.extend(nanos.rotate_right(32).to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(packet);
        pad(&mut body);
        self.block(PACKET, &body)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// Writes a block: kind, length, body, length.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let total = length(body)?.saturating_add(12);
        self.file.write_all(&kind.to_le_bytes())?;
        self.file.write_all(&total.to_le_bytes())?;
        self.file.write_all(body)?;
        self.file.write_all(&total.to_le_bytes())
    }
}

/// The length of a body or packet, as a field.
fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// Appends an option, padded.
fn option(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(kind.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Fills up to a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
