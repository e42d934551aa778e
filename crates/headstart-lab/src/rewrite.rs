//! What middleboxes do to packets, and what they answer.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpHeaders, PacketBuilder, PacketBuilderStep, icmpv4, icmpv6,
};

use crate::{
    checksum::{seal_ipv4, seal_transport},
    segment::{Parsed, Segment, fast_open_options},
};

/// The option that does nothing, one byte long.
const NOP: u8 = 1;
/// Hop limit of packets that the middlebox makes.
const HOPS: u8 = 64;
/// How much of a refused packet an ICMP error carries: RFC 1812 section
/// 4.3.2.3 and RFC 4443 section 3.1, less the headers.
const QUOTE_V4: usize = 576 - 28;
const QUOTE_V6: usize = 1280 - 48;

/// Overwrites the Fast Open options of a segment with NOPs; lengths stay.
pub(crate) fn strip_option(packet: &mut [u8], parsed: &Parsed) -> Option<()> {
    let options = packet.get_mut(parsed.options())?;
    let places: Vec<_> = fast_open_options(options).map(|(_, place)| place).collect();
    for place in places {
        options.get_mut(place)?.fill(NOP);
    }
    seal_transport(packet, parsed)
}

/// Cuts the data off a segment. Sequence numbers stay: whoever gets the rest
/// acknowledges less, and the sender sends the data again.
pub(crate) fn cut_payload(packet: &mut Vec<u8>, parsed: &Parsed) -> Option<()> {
    let end = parsed.transport.start.checked_add(parsed.tcp_header)?;
    if parsed.tcp_header == 0 || end > parsed.transport.end {
        return None;
    }
    packet.truncate(end);
    if parsed.ipv6 {
        // The payload length counts from behind the fixed header of 40 bytes.
        let length = u16::try_from(end.checked_sub(40)?).ok()?;
        packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
    } else {
        let length = u16::try_from(end).ok()?;
        packet.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
        seal_ipv4(packet)?;
    }
    let shorter = Parsed {
        transport: parsed.transport.start..end,
        ..parsed.clone()
    };
    seal_transport(packet, &shorter)
}

/// A reset that refuses `segment`, as if its destination had sent it
/// (RFC 9293 section 3.5.2).
pub(crate) fn reset(segment: &Segment) -> Option<Vec<u8>> {
    let flags = u32::from(segment.syn).wrapping_add(u32::from(segment.fin));
    let length = u32::try_from(segment.payload).ok()?.wrapping_add(flags);
    let acknowledged = segment.sequence.wrapping_add(length);
    let mut packet = Vec::new();
    from_destination(segment)?
        .tcp(
            segment.destination.port(),
            segment.source.port(),
            segment.acknowledgment.unwrap_or(0),
            0,
        )
        .rst()
        .ack(acknowledged)
        .write(&mut packet, &[])
        .ok()?;
    Some(packet)
}

/// An ICMP error that says that the destination of `packet` cannot be reached:
/// host unreachable (type 3 code 1), over IPv6 address unreachable (type 1 code 3).
pub(crate) fn unreachable(packet: &[u8], segment: &Segment) -> Option<Vec<u8>> {
    let answer = from_destination(segment)?;
    let quote = |most: usize| packet.get(..most).unwrap_or(packet);
    let mut made = Vec::new();
    match segment.source.ip() {
        IpAddr::V4(_) => answer
            .icmpv4(Icmpv4Type::DestinationUnreachable(
                icmpv4::DestUnreachableHeader::Host,
            ))
            .write(&mut made, quote(QUOTE_V4)),
        IpAddr::V6(_) => answer
            .icmpv6(Icmpv6Type::DestinationUnreachable(
                icmpv6::DestUnreachableCode::Address,
            ))
            .write(&mut made, quote(QUOTE_V6)),
    }
    .ok()?;
    Some(made)
}

/// The beginning of a packet from a segment's destination back to its source.
fn from_destination(segment: &Segment) -> Option<PacketBuilderStep<IpHeaders>> {
    match (segment.destination.ip(), segment.source.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Some(PacketBuilder::ipv4(from.octets(), to.octets(), HOPS))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Some(PacketBuilder::ipv6(from.octets(), to.octets(), HOPS))
        }
        _ => None,
    }
}
