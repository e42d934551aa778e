//! Node URLs come back as they were understood, and whatever is none is refused.

#![no_main]

use headstart_core::config::Peer;
use headstart_core::peers::{Directory, NODE_URL_MAX, NodeUrl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(url) = text.parse::<NodeUrl>() else {
        return;
    };
    let written = url.to_string();
    assert!(
        text.len() <= NODE_URL_MAX && written.len() <= NODE_URL_MAX,
        "{written}"
    );
    assert_eq!(written.parse(), Ok(url.clone()));
    assert!(url.port() > 0 && !url.host().is_empty());
    let abilities = url.abilities();
    let raced = abilities.debounce >= 2 && abilities.accepts_fast_open();
    assert_eq!(abilities.peer() != Peer::Unaware, raced);
    let mut directory = Directory::with_capacity(1);
    assert_eq!(directory.insert(url.clone()), Ok(()));
    assert_eq!(directory.get(url.host(), url.port()), Some(&url));
});
