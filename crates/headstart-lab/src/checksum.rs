//! Checksums, made right before a packet goes on.
//!
//! The hosts leave the TCP and UDP checksums to their interface (checksum
//! offload), which has none to make; and the middlebox rewrites packets.

use etherparse::{IpNumber, checksum::Sum16BitWords};

use crate::segment::Parsed;

/// Where the checksum is in a TCP and in a UDP header.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;
/// Where the checksum is in an IPv4 header.
const IPV4_CHECKSUM: usize = 10;

/// Makes the transport checksum of a packet right. Leaves other packets as they are.
pub(crate) fn seal_transport(packet: &mut [u8], parsed: &Parsed) -> Option<()> {
    let offset = match parsed.protocol {
        IpNumber::TCP => TCP_CHECKSUM,
        IpNumber::UDP => UDP_CHECKSUM,
        _ => return None,
    };
    let (header, rest) = packet.split_at_mut_checked(parsed.transport.start)?;
    let transport = rest.get_mut(..parsed.transport.len())?;
    let place = offset..offset.checked_add(2)?;
    let old = transport.get_mut(place.clone())?;
    if parsed.protocol == IpNumber::UDP && *old == [0, 0] {
        return None; // over IPv4: no checksum wanted
    }
    old.fill(0);
    let addresses = if parsed.ipv6 {
        header.get(8..40)?
    } else {
        header.get(12..20)?
    };
    let sum = Sum16BitWords::new()
        .add_slice(addresses)
        .add_2bytes([0, parsed.protocol.0])
        .add_4bytes(u32::try_from(transport.len()).ok()?.to_be_bytes())
        .add_slice(transport);
    let sum = if parsed.protocol == IpNumber::UDP {
        sum.to_ones_complement_with_no_zero()
    } else {
        sum.ones_complement()
    };
    transport
        .get_mut(place)?
        .copy_from_slice(&sum.to_ne_bytes());
    Some(())
}

/// Makes the header checksum of an IPv4 packet right.
pub(crate) fn seal_ipv4(packet: &mut [u8]) -> Option<()> {
    let length = usize::from(packet.first()? & 0x0f).checked_mul(4)?;
    let header = packet.get_mut(..length)?;
    header.get_mut(IPV4_CHECKSUM..IPV4_CHECKSUM + 2)?.fill(0);
    let sum = Sum16BitWords::new().add_slice(header).ones_complement();
    header
        .get_mut(IPV4_CHECKSUM..IPV4_CHECKSUM + 2)?
        .copy_from_slice(&sum.to_ne_bytes());
    Some(())
}
