//! Node URLs, the form in which peers say what they can do.

use headstart_core::config::Peer;
use headstart_core::peers::{
    Abilities, Directory, DirectoryFull, HOST_MAX, NODE_URL_MAX, NodeUrl, NodeUrlError,
};
use proptest::prelude::*;

const ID: &str = "12vha9oTFnerxYRgeQ2BZqoFrLrnmmf5UWTCY2jA77dF3YvWew7";

fn read(text: &str) -> Result<NodeUrl, NodeUrlError> {
    text.parse()
}

#[test]
fn storjs_own_examples_are_read() {
    for (text, id, host) in [
        ("33.20.0.1:7777", None, "33.20.0.1"),
        (
            "[2001:db8:1f70::999:de8:7648:6e8]:7777",
            None,
            "2001:db8:1f70:0:999:de8:7648:6e8",
        ),
        (&format!("{ID}@33.20.0.1:7777"), Some(ID), "33.20.0.1"),
        (
            &format!("storj://{ID}@33.20.0.1:7777/?noise_pub=12vha9oTFnerxY&noise_proto=1"),
            Some(ID),
            "33.20.0.1",
        ),
    ] {
        let url = read(text).unwrap();
        let expected: core::net::IpAddr = host.parse().unwrap();
        assert_eq!(url.host().parse(), Ok(expected));
        assert_eq!((url.id(), url.port()), (id, 7777));
        assert_eq!(url.abilities().peer(), Peer::Unaware);
    }
}

#[test]
fn abilities_say_whether_a_peer_is_raced() {
    for (query, peer, fast_open) in [
        ("", Peer::Unaware, false),
        ("?debounce=2", Peer::Unaware, false),
        ("?f=1", Peer::Unaware, true),
        ("?debounce=1&f=1", Peer::Unaware, true),
        ("?debounce=0&f=1&pairing=1", Peer::Unaware, true),
        ("?debounce=2&f=1", Peer::FirstCome, true),
        ("?debounce=2&f=1&pairing=0", Peer::FirstCome, true),
        ("?f=fF&debounce=4294967295", Peer::FirstCome, true),
        ("?debounce=3&f=fffffffffffffffe", Peer::Unaware, false),
        ("?debounce=2&f=1&pairing=1", Peer::Pairing, true),
        ("?pairing=1", Peer::Pairing, true),
        ("?pairing=1&f=0", Peer::Unaware, false),
        ("?pairing=1&debounce=0", Peer::Unaware, true),
        ("?debounce=2&f=2&pairing=1", Peer::Unaware, false),
        ("?&&debounce=2&f=1&", Peer::FirstCome, true),
    ] {
        let abilities = read(&format!("host:1{query}")).unwrap().abilities();
        assert_eq!(abilities.peer(), peer, "{query}");
        assert_eq!(abilities.accepts_fast_open(), fast_open, "{query}");
    }
}

#[test]
fn what_is_written_is_storjs_form() {
    let written = |abilities| {
        let url = NodeUrl::new("Node.Example", 7777, abilities).unwrap();
        url.to_string()
    };
    assert_eq!(
        written(Abilities::FIRST_COME),
        "node.example:7777?debounce=2&f=1"
    );
    assert_eq!(
        written(Abilities::PAIRING),
        "node.example:7777?debounce=2&f=1&pairing=1"
    );
    assert_eq!(written(Abilities::default()), "node.example:7777");
    for (text, canonical) in [
        (
            "storj://abc@HOST:1/?z=1&f=0A&noise_pub=K&debounce=02&a&b=",
            "abc@host:1?a&b&debounce=2&f=a&noise_pub=K&z=1",
        ),
        ("[2001:DB8:0:0::1]:65535", "[2001:db8::1]:65535"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
        ("x@h:1?f=0&debounce=0&pairing=0", "x@h:1"),
    ] {
        assert_eq!(read(text).unwrap().to_string(), canonical);
    }
}

#[test]
fn what_is_wrong_is_told() {
    use NodeUrlError as E;
    let long_host = "h".repeat(HOST_MAX + 1) + ":1";
    let too_long = format!("h:1?x={}", "x".repeat(NODE_URL_MAX - 5));
    for (text, error) in [
        ("", E::Port),
        ("host", E::Port),
        (":1", E::Host),
        ("abc@", E::Port),
        ("abc@:1", E::Host),
        ("http://host:1", E::Scheme),
        ("STORJ://host:1", E::Scheme),
        ("@host:1", E::Id),
        ("a b@host:1", E::Id),
        ("a@b@host:1", E::Host),
        ("host:", E::Port),
        ("host:0", E::Port),
        ("host:+1", E::Port),
        ("host:65536", E::Port),
        ("host:1:2", E::Port),
        ("host:1//", E::Port),
        ("ho st:1", E::Host),
        ("hö.st:1", E::Host),
        ("ho%41st:1", E::Host),
        ("::1:80", E::Host),
        ("[::1:80", E::Host),
        ("[::1]", E::Port),
        ("[::1]80", E::Port),
        ("[host]:80", E::Host),
        ("[::1%2]:80", E::Host),
        ("[1.2.3.4]:80", E::Host),
        (&long_host, E::Host),
        (&too_long, E::TooLong),
        ("h:1?=2", E::Query),
        ("h:1?a b", E::Query),
        ("h:1?a=b://c", E::Query),
        ("storj://h:1?a=b://c", E::Query),
        ("storj://storj://h:1", E::Port),
        ("h:1?a=1#b", E::Query),
        ("h:1?ä", E::Query),
        ("h:1?f=1&f=1", E::Repeated),
        ("h:1?x&x=2", E::Repeated),
        ("h:1?debounce", E::Debounce),
        ("h:1?debounce=-1", E::Debounce),
        ("h:1?debounce=+1", E::Debounce),
        ("h:1?debounce=a", E::Debounce),
        ("h:1?debounce=4294967296", E::Debounce),
        ("h:1?f=", E::Features),
        ("h:1?f=0x1", E::Features),
        ("h:1?f=+1", E::Features),
        ("h:1?f=10000000000000000", E::Features),
        ("h:1?pairing", E::Pairing),
        ("h:1?pairing=2", E::Pairing),
        ("h:1?pairing=true", E::Pairing),
    ] {
        assert_eq!(read(text), Err(error), "{text}");
    }
    let just = format!("h:1?x={}", "x".repeat(NODE_URL_MAX - 6));
    assert_eq!(just.len(), NODE_URL_MAX);
    assert!(read(&just).is_ok());
    assert!(read(&("h".repeat(HOST_MAX) + ":1")).is_ok());
    // As it is written this one is longer: `::8:0:0:0:1`.
    let grows = |length: usize| {
        let head = "[0:0:0:8::1]:1?x=";
        read(&format!("{head}{}", "x".repeat(length - head.len())))
    };
    assert_eq!(grows(NODE_URL_MAX), Err(E::TooLong));
    let written = grows(NODE_URL_MAX - 1).unwrap().to_string();
    assert_eq!(written.len(), NODE_URL_MAX);
    assert!(read(&written).is_ok());
}

#[test]
fn peers_are_made_by_the_same_rules() {
    let new = |host, port| NodeUrl::new(host, port, Abilities::FIRST_COME);
    assert_eq!(new("host", 0), Err(NodeUrlError::Port));
    assert_eq!(new("", 1), Err(NodeUrlError::Host));
    assert_eq!(new("a:b", 1), Err(NodeUrlError::Host));
    assert_eq!(new("::1", 1).unwrap().to_string(), "[::1]:1?debounce=2&f=1");
}

#[test]
fn a_directory_knows_a_peer_by_any_way_to_write_it() {
    let mut directory = Directory::with_capacity(2);
    assert!(directory.is_empty());
    directory
        .insert(read("[2001:db8:0::1]:1?f=1").unwrap())
        .unwrap();
    directory.insert(read("Host:1").unwrap()).unwrap();
    assert_eq!(
        directory.insert(read("other:1").unwrap()),
        Err(DirectoryFull)
    );
    // The same peer, in place of what was known.
    directory
        .insert(read("hOST:1?debounce=2&f=1").unwrap())
        .unwrap();
    assert_eq!(directory.len(), 2);
    assert!(!directory.is_empty());
    let known = directory.get("HOST", 1).unwrap();
    assert_eq!(known.abilities(), Abilities::FIRST_COME);
    assert!(directory.get("2001:DB8::1", 1).is_some());
    assert_eq!(directory.get("host", 2), None);
    assert_eq!(directory.get("other", 1), None);
    let listed: Vec<_> = directory.iter().map(NodeUrl::to_string).collect();
    assert_eq!(listed, ["[2001:db8::1]:1?f=1", "host:1?debounce=2&f=1"]);
    assert!(directory.remove("HoSt", 1).is_some());
    assert_eq!(directory.remove("host", 1), None);
    directory.insert(read("other:1").unwrap()).unwrap();
    assert_eq!(Directory::default().len(), 0);
}

/// Texts that are often nearly right.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("storj://"),
        Just("id"),
        Just("@"),
        Just("host"),
        Just("[::1]"),
        Just(":"),
        Just("1"),
        Just("7777"),
        Just("/"),
        Just("?"),
        Just("&"),
        Just("="),
        Just("debounce=2"),
        Just("f=1"),
        Just("pairing=1"),
        Just("noise_pub=x"),
        Just("é"),
        Just("%"),
        Just("0"),
    ];
    prop_oneof![
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat()),
        "[ -~]{0,40}",
        any::<String>(),
    ]
}

fn urls() -> impl Strategy<Value = String> {
    (
        prop::option::of("[A-Za-z0-9]{1,60}"),
        prop_oneof![
            "[A-Za-z0-9._-]{1,40}",
            any::<[u8; 16]>().prop_map(|b| format!("[{}]", core::net::Ipv6Addr::from(b))),
            any::<[u8; 4]>().prop_map(|b| core::net::Ipv4Addr::from(b).to_string()),
        ],
        1..=u16::MAX,
        any::<(u32, u64, bool)>(),
        // Without a slash: `://` would be a scheme.
        prop::collection::btree_map("[g-o]{1,5}", "[!-%'-.0-<>-~]{0,10}", 0..4),
    )
        .prop_map(|(id, host, port, (debounce, features, pairing), others)| {
            let id = id.map(|id| id + "@").unwrap_or_default();
            let pairing = u8::from(pairing);
            let others: String = others
                .into_iter()
                .map(|(name, value)| format!("&{name}={}", value.replace('#', "")))
                .collect();
            format!(
                "{id}{host}:{port}?debounce={debounce}&f={features:X}&pairing={pairing}{others}"
            )
        })
}

proptest! {
    #[test]
    fn nothing_that_is_read_changes_when_written(text in prop_oneof![texts(), urls()]) {
        if let Ok(url) = read(&text) {
            let written = url.to_string();
            prop_assert!(written.len() <= NODE_URL_MAX, "{written}");
            prop_assert_eq!(read(&written), Ok(url));
        }
    }

    #[test]
    fn every_well_formed_url_is_read(text in urls()) {
        let url = read(&text);
        prop_assert!(url.is_ok(), "{:?}", url);
    }
}
