//! The middlebox with packets made by hand.

use etherparse::{PacketBuilder, TcpOptionElement};
use proptest::prelude::*;

use super::*;
use crate::link;

const ISN: u32 = 1000;
const COOKIE: [u8; 10] = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];
const EXPERIMENT: [u8; 12] = [254, 12, 0xf9, 0x89, 1, 2, 3, 4, 5, 6, 7, 8];

/// A packet of one connection, which is number `port`.
struct Packet {
    v6: bool,
    port: u16,
    back: bool,
    sequence: u32,
    syn: bool,
    ack: bool,
    options: Vec<u8>,
    data: usize,
}

impl Packet {
    fn build(&self) -> Vec<u8> {
        let (mut from, mut to) = ((1_u8, self.port), (2_u8, 80));
        if self.back {
            std::mem::swap(&mut from, &mut to);
        }
        let ip = if self.v6 {
            let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
            PacketBuilder::ipv6(address(from.0), address(to.0), 64)
        } else {
            PacketBuilder::ipv4([192, 0, 2, from.0], [192, 0, 2, to.0], 64)
        };
        let mut tcp = ip.tcp(from.1, to.1, self.sequence, 64_000);
        if self.syn {
            tcp = tcp.syn();
        }
        if self.ack {
            tcp = tcp.ack(ISN + 1);
        }
        let mut options = vec![2, 4, 5, 180];
        options.extend(&self.options);
        let mut packet = Vec::new();
        tcp.options_raw(&options)
            .unwrap()
            .write(&mut packet, &vec![7; self.data])
            .unwrap();
        packet
    }
}

fn syn(v6: bool, options: &[u8], data: usize) -> Packet {
    Packet {
        v6,
        port: 5000,
        back: false,
        sequence: ISN,
        syn: true,
        ack: false,
        options: options.to_vec(),
        data,
    }
}

/// What the server sends: a SYN-ACK, or data.
fn reply(v6: bool, syn: bool, data: usize) -> Packet {
    Packet {
        v6,
        port: 5000,
        back: true,
        sequence: 9000,
        syn,
        ack: true,
        options: vec![],
        data,
    }
}

/// Judges a packet; gives it back as it goes on.
fn judge(middlebox: &mut Middlebox, rule: Rule, packet: &Packet) -> (Ruling, Vec<u8>) {
    judge_on(middlebox, rule, &Ways::default(), packet)
}

/// The same on ways that are not all open.
fn judge_on(
    middlebox: &mut Middlebox,
    rule: Rule,
    ways: &Ways,
    packet: &Packet,
) -> (Ruling, Vec<u8>) {
    let direction = if packet.back {
        Direction::ToClient
    } else {
        Direction::ToServer
    };
    let mut bytes = packet.build();
    let parsed = Parsed::new(&bytes);
    let ruling = middlebox.judge(rule, ways, direction, &mut bytes, parsed.as_ref());
    (ruling, bytes)
}

/// The verdicts over a whole Fast Open exchange with data both ways.
fn verdicts(rule: Rule, first: &Packet) -> Vec<Verdict> {
    verdicts_on(rule, Way::Open, first)
}

/// The same on a way to the server.
fn verdicts_on(rule: Rule, way: Way, first: &Packet) -> Vec<Verdict> {
    let v6 = first.v6;
    let mut ways = Ways::default();
    ways.set(server_of(first), way);
    let mut middlebox = Middlebox::new(1);
    let data = Packet {
        syn: false,
        ack: true,
        sequence: ISN + 1,
        options: vec![],
        ..syn(v6, &[], 0)
    };
    let packets = [
        reply(v6, true, 0),
        reply(v6, false, 50),
        data,
        reply(v6, false, 50),
    ];
    let mut all = vec![judge_on(&mut middlebox, rule, &ways, first).0.verdict];
    all.extend(
        packets
            .iter()
            .map(|packet| judge_on(&mut middlebox, rule, &ways, packet).0.verdict),
    );
    all
}

fn server_of(syn: &Packet) -> std::net::IpAddr {
    let parsed = Parsed::new(&syn.build()).unwrap();
    parsed.segment.unwrap().destination.ip()
}

#[test]
fn each_rule_drops_what_its_name_says() {
    use Verdict::{Drop as X, Forward as F};
    let table = [
        (Rule::Transparent, [F, F, F, F, F]),
        (Rule::DropSynWithData, [X, F, F, F, F]),
        (Rule::DropSynWithOption, [X, F, F, F, F]),
        (Rule::DropSynWithExperimentalOption, [F, F, F, F, F]),
        (Rule::DropSynWithAnyOption, [X, F, F, F, F]),
        (Rule::DropSynAck, [F, X, F, F, F]),
        (Rule::DropServerDataAfterHandshake, [F, F, X, F, X]),
        (Rule::BlackholeAfterHandshake, [F, F, X, X, X]),
        (Rule::BlackholeAfter(3), [F, F, F, X, X]),
        (Rule::BlackholeAfter(0), [X, X, X, X, X]),
        (Rule::LoseFirstSyn, [X, F, F, F, F]),
        (Rule::LoseFirstSynAck, [F, X, F, F, F]),
        (Rule::LoseFirstServerData, [F, F, X, F, F]),
    ];
    for v6 in [false, true] {
        for (rule, expected) in &table {
            assert_eq!(verdicts(*rule, &syn(v6, &COOKIE, 200)), expected, "{rule}");
        }
    }
    let experimental = verdicts(
        Rule::DropSynWithExperimentalOption,
        &syn(false, &EXPERIMENT, 200),
    );
    assert_eq!(experimental[0], X);
}

#[test]
fn plain_connections_always_pass() {
    for rule in Rule::ALL
        .into_iter()
        .filter(|rule| !matches!(rule, Rule::RandomLoss { .. }))
    {
        for v6 in [false, true] {
            let verdicts = verdicts(rule, &syn(v6, &[], 0));
            assert!(
                verdicts.iter().all(|verdict| *verdict == Verdict::Forward),
                "{rule}: {verdicts:?}"
            );
        }
    }
}

#[test]
fn a_way_ends_where_its_name_says() {
    use Verdict::{Drop as X, Forward as F};
    let cookie_request = &[34, 2];
    for v6 in [false, true] {
        let plain = syn(v6, &[], 0);
        let fast_open = syn(v6, &COOKIE, 200);
        let fetcher = syn(v6, cookie_request, 0);
        let dies = Way::PlainDiesAfter;
        let table = [
            (Way::Open, &plain, [F, F, F, F, F]),
            (Way::Dead, &plain, [X, F, F, X, F]),
            (Way::Dead, &fast_open, [X, F, F, X, F]),
            (dies(0), &plain, [X, X, X, X, X]),
            (dies(2), &plain, [F, F, X, X, X]),
            (dies(2), &fast_open, [F, F, F, F, F]),
            (dies(2), &fetcher, [F, F, F, F, F]),
        ];
        for (way, first, expected) in table {
            let seen = verdicts_on(Rule::Transparent, way, first);
            assert_eq!(seen, expected, "{way:?}");
        }
        for first in [&plain, &fast_open] {
            let seen = verdicts_on(Rule::Transparent, Way::Unreachable, first);
            let answered = |verdict: &Verdict| matches!(verdict, Verdict::Answer(_));
            let answered: Vec<_> = seen.iter().map(answered).collect();
            assert_eq!(answered, [true, false, false, true, false]);
        }
    }
}

/// Packets of a connection that begins so, on a link with one fault: which
/// of them it befalls, and how.
fn befallen(first: &Packet, packet: link::Packet, nth: u32, mishap: Mishap) -> Vec<Ruling> {
    let fault = link::Fault {
        packet,
        nth,
        mishap,
    };
    let mut ways = Ways::default();
    let link = Link::new().delay(Duration::from_millis(5)).fault(fault);
    ways.set_link(server_of(first), Opening::FastOpen, link);
    let mut middlebox = Middlebox::new(1);
    let bare = |data| Packet {
        syn: false,
        ack: true,
        options: vec![],
        ..syn(first.v6, &[], data)
    };
    let packets = [
        reply(first.v6, true, 0),
        bare(0),
        bare(9),
        reply(first.v6, false, 50),
        reply(first.v6, false, 50),
        reply(first.v6, false, 0),
    ];
    let mut judged = |packet| judge_on(&mut middlebox, Rule::Transparent, &ways, packet).0;
    [judged(first)]
        .into_iter()
        .chain(packets.iter().map(judged))
        .collect()
}

#[test]
fn faults_befall_the_packets_that_they_name() {
    use link::Packet as P;
    let fast_open = syn(false, &COOKIE, 200);
    let (lost, after) = (Mishap::Lost, Duration::from_millis(7));
    let table = [
        (P::Syn, 1, 0),
        (P::SynAck, 1, 1),
        (P::ClientAck, 1, 2),
        (P::ClientData, 1, 3),
        (P::ServerData, 1, 4),
        (P::ServerData, 2, 5),
        (P::ServerAck, 1, 6),
    ];
    for (packet, nth, place) in table {
        let whom = |mishap, verdict: Verdict| {
            let rulings = befallen(&fast_open, packet, nth, mishap);
            let is_it = |ruling: &Ruling| ruling.befallen && ruling.verdict == verdict;
            let places = (0..rulings.len()).filter(|at| is_it(&rulings[*at]));
            let late = rulings[place].late;
            (places.collect::<Vec<_>>(), late)
        };
        let delay = Duration::from_millis(5);
        assert_eq!(whom(lost, Verdict::Drop), (vec![place], delay));
        let again = Verdict::Duplicate(after);
        assert_eq!(whom(Mishap::Twice(after), again), (vec![place], delay));
        let late = whom(Mishap::Late(after), Verdict::Forward);
        assert_eq!(late, (vec![place], delay + after));
    }
    for rulings in [
        befallen(&fast_open, P::Syn, 2, lost),
        befallen(&syn(false, &[], 0), P::Syn, 1, lost),
    ] {
        let befallen = rulings.iter().filter(|ruling| ruling.befallen);
        assert_eq!(befallen.count(), 0);
    }
}

#[test]
fn a_rule_comes_before_the_way() {
    let first = syn(false, &COOKIE, 200);
    let of = |rule, way| verdicts_on(rule, way, &first).swap_remove(0);
    let dropped = of(Rule::DropSynWithData, Way::Unreachable);
    assert_eq!(dropped, Verdict::Drop);
    let Verdict::Answer(answer) = of(Rule::ResetSyn, Way::Unreachable) else {
        panic!("no answer")
    };
    assert!(Parsed::new(&answer).unwrap().segment.unwrap().rst);
    assert_eq!(of(Rule::CutData, Way::Dead), Verdict::Drop);
    let after = Duration::from_secs(1);
    assert_eq!(of(Rule::DuplicateSyn { after }, Way::Dead), Verdict::Drop);
}

#[test]
fn a_connection_keeps_its_way() {
    let (first, back) = (syn(false, &[], 0), reply(false, true, 0));
    let address = server_of(&first);
    let mut middlebox = Middlebox::new(1);
    let mut ways = Ways::default();
    ways.set(address, Way::PlainDiesAfter(1));
    let mut judged = |ways: &Ways, packet: &Packet| {
        judge_on(&mut middlebox, Rule::Transparent, ways, packet)
            .0
            .verdict
    };
    assert_eq!(judged(&ways, &first), Verdict::Forward);
    ways.set(address, Way::Open);
    assert_eq!(judged(&ways, &back), Verdict::Drop);
    let second = Packet {
        sequence: ISN + 77,
        ..first
    };
    assert_eq!(judged(&ways, &second), Verdict::Forward);
    assert_eq!(judged(&ways, &back), Verdict::Forward);
}

#[test]
fn a_new_syn_between_the_same_ends_begins_anew() {
    let mut middlebox = Middlebox::new(1);
    let first = syn(false, &COOKIE, 200);
    let rule = Rule::LoseFirstSyn;
    assert_eq!(judge(&mut middlebox, rule, &first).0.verdict, Verdict::Drop);
    assert_eq!(
        judge(&mut middlebox, rule, &first).0.verdict,
        Verdict::Forward,
        "sent again"
    );
    let second = Packet {
        sequence: ISN + 77,
        ..first
    };
    assert_eq!(
        judge(&mut middlebox, rule, &second).0.verdict,
        Verdict::Drop,
        "a new one"
    );
}

#[test]
fn balance_takes_turns_by_connection() {
    let mut middlebox = Middlebox::new(1);
    let mut server_of = |port| {
        let packet = Packet {
            port,
            ..syn(true, &[], 0)
        };
        judge(&mut middlebox, Rule::Balance, &packet).0.server
    };
    let servers = [5000, 5001, 5000, 5001, 5002].map(&mut server_of);
    use Port::{SecondServer, Server};
    assert_eq!(
        servers,
        [Server, SecondServer, Server, SecondServer, Server]
    );
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    let lost = |seed| {
        let mut middlebox = Middlebox::new(seed);
        let rule = Rule::RandomLoss { per_mille: 300 };
        let mut one = || {
            judge(&mut middlebox, rule, &reply(false, false, 10))
                .0
                .verdict
        };
        (0..100).map(|_| one()).collect::<Vec<_>>()
    };
    assert_eq!(lost(4), lost(4));
    assert_ne!(lost(4), lost(5));
}

#[test]
fn rewriting_leaves_a_sound_packet() {
    let other = TcpOptionElement::MaximumSegmentSize(1460);
    for v6 in [false, true] {
        for options in [&COOKIE[..], &EXPERIMENT] {
            for (rule, data, cookie) in [
                (Rule::StripOption, 200, false),
                (Rule::StripOptionAndData, 0, false),
                (Rule::CutData, 0, true),
            ] {
                let before = Parsed::new(&syn(v6, options, 200).build())
                    .unwrap()
                    .segment
                    .unwrap();
                let (ruling, packet) = judge(&mut Middlebox::new(1), rule, &syn(v6, options, 200));
                assert_eq!(ruling.verdict, Verdict::Rewritten, "{rule}");
                let segment = Parsed::new(&packet).unwrap().segment.unwrap();
                assert_eq!(
                    (segment.payload, segment.fast_open.is_some()),
                    (data, cookie),
                    "{rule}"
                );
                assert_eq!((segment.syn, segment.sequence), (true, before.sequence));
                let first = sound(&packet);
                assert_eq!(first, Some(other.clone()), "{rule}: other options stay");
            }
        }
    }
}

#[test]
fn a_reset_acknowledges_syn_and_data() {
    for v6 in [false, true] {
        let (ruling, _) = judge(
            &mut Middlebox::new(1),
            Rule::ResetSyn,
            &syn(v6, &COOKIE, 200),
        );
        let Verdict::Answer(answer) = ruling.verdict else {
            panic!("{ruling:?}")
        };
        let segment = Parsed::new(&answer).unwrap().segment.unwrap();
        assert!(segment.rst && !segment.syn);
        assert_eq!(segment.acknowledgment, Some(ISN + 201));
        assert_eq!(
            (segment.source.port(), segment.destination.port()),
            (80, 5000)
        );
        sound(&answer);
    }
}

#[test]
fn an_unreachable_quotes_the_packet() {
    for (v6, most) in [(false, 576), (true, 1280)] {
        let packet = syn(v6, &COOKIE, 1300);
        let (ruling, _) = judge(&mut Middlebox::new(1), Rule::UnreachableSyn, &packet);
        let Verdict::Answer(answer) = ruling.verdict else {
            panic!("{ruling:?}")
        };
        assert_eq!(answer.len(), most);
        let parsed = Parsed::new(&answer).unwrap();
        assert!(
            packet
                .build()
                .starts_with(&answer[parsed.transport.start + 8..])
        );
    }
}

/// Asserts that lengths and checksums are right; gives back the first TCP option.
fn sound(packet: &[u8]) -> Option<TcpOptionElement> {
    let sliced = etherparse::SlicedPacket::from_ip(packet).unwrap();
    let Some(etherparse::TransportSlice::Tcp(tcp)) = &sliced.transport else {
        panic!("not TCP")
    };
    let header = tcp.to_header();
    let sum = match sliced.net.as_ref().unwrap() {
        etherparse::NetSlice::Ipv4(ip) => {
            assert_eq!(usize::from(ip.header().total_len()), packet.len());
            let ip = ip.header().to_header();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            header.calc_checksum_ipv4(&ip, tcp.payload()).unwrap()
        }
        etherparse::NetSlice::Ipv6(ip) => {
            assert_eq!(usize::from(ip.header().payload_length()) + 40, packet.len());
            header
                .calc_checksum_ipv6(&ip.header().to_header(), tcp.payload())
                .unwrap()
        }
        etherparse::NetSlice::Arp(_) => panic!("not IP"),
    };
    assert_eq!(header.checksum, sum);
    header.options_iterator().next().and_then(Result::ok)
}

proptest! {
    /// No bytes, and no damage to a packet, make the middlebox panic or lengthen it.
    #[test]
    fn hostile_packets_do_no_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        v6: bool,
        back: bool,
    ) {
        let direction = if back { Direction::ToClient } else { Direction::ToServer };
        let mut broken = syn(v6, &COOKIE, 60).build();
        for (place, value) in damage {
            let place = place.index(broken.len());
            broken[place] = value;
        }
        let mut short = broken.clone();
        short.truncate(cut.index(broken.len() + 1));
        for packet in [bytes, broken, short] {
            for rule in Rule::ALL {
                let mut packet = packet.clone();
                let before = packet.len();
                let parsed = Parsed::new(&packet);
                if let Some(parsed) = &parsed {
                    crate::checksum::seal_transport(&mut packet, parsed);
                }
                let mut middlebox = Middlebox::new(1);
                middlebox.judge(rule, &Ways::default(), direction, &mut packet, parsed.as_ref());
                prop_assert!(packet.len() <= before);
            }
        }
    }
}
