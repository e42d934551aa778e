//! The file, whole at any time.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use headstart_core::path::{PathKey, Remembered, Standing, Trouble, WallTime};
use headstart_store::{Contents, FILE_MAX, MemoryFile, PATHS_KEPT, Warning};
use proptest::prelude::*;
use tempfile::TempDir;

/// Set for the process that writes until it is killed.
const WRITER: &str = "HEADSTART_STORE_WRITER";

fn file() -> (TempDir, MemoryFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = MemoryFile::new(folder.path().join("memory"));
    (folder, file)
}

fn path(number: u16, noted: u64) -> Remembered {
    let [high, low] = number.to_be_bytes();
    Remembered {
        path: PathKey::new([192, 0, 2, 1].into(), ([10, 0, high, low], 443).into()),
        noted: WallTime::from_millis(noted),
        standing: Standing::Open {
            trust: 1,
            asked: false,
            relapse: None,
        },
    }
}

fn suspended(number: u16, noted: u64) -> Remembered {
    Remembered {
        standing: Standing::Suspended {
            trouble: Trouble::Silent,
            doublings: 2,
            until: WallTime::from_millis(noted + 240_000),
        },
        ..path(number, noted)
    }
}

fn written(file: &MemoryFile, contents: &Contents) -> Vec<u8> {
    file.update(|stored| *stored = contents.clone()).unwrap();
    fs::read(file.name()).unwrap()
}

#[test]
fn what_is_not_there_is_empty() {
    let (folder, file) = file();
    assert_eq!(file.load().unwrap(), Default::default());
    fs::write(file.name(), "").unwrap();
    assert_eq!(file.load().unwrap(), Default::default());
    let elsewhere = MemoryFile::new(folder.path().join("no/such/folder"));
    assert_eq!(elsewhere.load().unwrap(), Default::default());
    let error = elsewhere.update(|_| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(MemoryFile::new(folder.path()).load().is_err());
}

#[test]
fn people_can_read_it() {
    let (_folder, file) = file();
    let contents = Contents {
        paths: vec![path(1, 5), suspended(2, 7)],
        peers: vec!["id@host:1?debounce=2&f=1".parse().unwrap()],
    };
    let text = String::from_utf8(written(&file, &contents)).unwrap();
    let expected = concat!(
        r#"{"is":"headstart-memory","version":1}"#,
        "\n",
        r#"{"is":"open","local":"192.0.2.1","peer":"10.0.0.1:443","noted":5,"trust":1,"asked":false}"#,
        "\n",
        r#"{"is":"suspended","local":"192.0.2.1","peer":"10.0.0.2:443","noted":7,"trouble":"silent","doublings":2,"until":240007}"#,
        "\n",
        r#"{"is":"peer","url":"id@host:1?debounce=2&f=1"}"#,
        "\n",
        r#"{"is":"end","lines":3,"sum":"0ef4f1c36aa88468"}"#,
        "\n",
    );
    assert_eq!(text, expected);
}

#[test]
fn nothing_is_left_beside_it_but_its_lock() {
    let (folder, file) = file();
    file.update(|stored| stored.merge([path(1, 1)])).unwrap();
    file.update(|stored| stored.merge([path(2, 1)])).unwrap();
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["memory", "memory.lock"]);
    assert_eq!(file.load().unwrap().contents.paths.len(), 2);
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_it_and_a_link_stays_one() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (folder, file) = file();
    let link = folder.path().join("link");
    file.update(|_| ()).unwrap();
    symlink(file.name(), &link).unwrap();
    let linked = MemoryFile::new(&link);
    linked.update(|stored| stored.merge([path(1, 1)])).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(file.load().unwrap().contents.paths.len(), 1);
    let mode = fs::metadata(file.name()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn it_stays_its_owners_with_its_mode() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    const SERVICE: u32 = 65_534;
    let is_service = |name: &std::path::Path| {
        let file = fs::metadata(name).unwrap();
        (file.uid(), file.gid()) == (SERVICE, SERVICE)
    };
    let (folder, file) = file();
    // Only root may give something away.
    let is_root = chown(folder.path(), Some(SERVICE), Some(SERVICE)).is_ok();
    let lock = folder.path().join("memory.lock");
    for mode in [0o600, 0o640] {
        file.update(|stored| stored.merge([path(1, 1)])).unwrap();
        assert!(!is_root || is_service(file.name()) && is_service(&lock));
        let found = fs::metadata(file.name()).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{found:o}");
        fs::set_permissions(file.name(), fs::Permissions::from_mode(0o640)).unwrap();
        // From now on the file's owner counts, not the folder's.
        if is_root {
            chown(folder.path(), Some(0), Some(0)).unwrap();
            fs::remove_file(&lock).unwrap();
        }
    }
}

/// Who owns the folder may lay a link where the new file is to be: it is not followed.
#[cfg(unix)]
#[test]
fn a_link_in_the_way_is_not_written_through() {
    let (folder, file) = file();
    let other = folder.path().join("other");
    fs::write(&other, "mine").unwrap();
    let new = format!("memory.{}.new", std::process::id());
    std::os::unix::fs::symlink(&other, folder.path().join(new)).unwrap();
    file.update(|stored| stored.merge([path(1, 1)])).unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    assert_eq!(file.load().unwrap().contents.paths.len(), 1);
}

#[test]
fn what_is_something_else_is_never_written_over() {
    let newer = "{\"is\":\"headstart-memory\",\"version\":2}\nwho knows\n";
    let cases = [
        ("root:x:0:0::/root:/bin/sh\n", Warning::Foreign),
        ("{}", Warning::Foreign),
        ("\n", Warning::Foreign),
        (newer, Warning::Newer(2)),
    ];
    for (text, warning) in cases {
        let (_folder, file) = file();
        fs::write(file.name(), text).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.warning, Some(warning), "{text}");
        assert_eq!(loaded.contents, Contents::default());
        let error = file
            .update(|stored| stored.merge([path(1, 1)]))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(file.name()).unwrap(), text);
    }
}

fn example() -> Contents {
    Contents {
        paths: vec![path(1, 5), suspended(2, 7), path(3, 9)],
        peers: vec!["h:1?f=1".parse().unwrap(), "g:2".parse().unwrap()],
    }
}

#[test]
fn a_file_of_which_one_bit_is_wrong_is_empty() {
    let (_folder, file) = file();
    let right = written(&file, &example());
    for place in 0..right.len() * 8 {
        let mut wrong = right.clone();
        wrong[place / 8] ^= 1 << (place % 8);
        fs::write(file.name(), &wrong).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.contents, Contents::default(), "bit {place}");
        assert!(loaded.warning.is_some(), "bit {place}");
    }
}

#[test]
fn a_file_whose_beginning_is_lost_is_written_anew() {
    let (_folder, file) = file();
    let right = written(&file, &example());
    let lost: Vec<u8> = right.iter().enumerate().map(keep_behind(40)).collect();
    for bytes in [vec![0; 4_096], lost] {
        fs::write(file.name(), bytes).unwrap();
        let warning = file.load().unwrap().warning;
        assert!(matches!(warning, Some(Warning::Damaged { line: 1, .. })));
        file.update(|stored| stored.merge([path(1, 1)])).unwrap();
        assert_eq!(file.load().unwrap().contents.paths.len(), 1);
    }
}

/// Zeros, and from there on what is there.
fn keep_behind(place: usize) -> impl Fn((usize, &u8)) -> u8 {
    move |(at, byte)| if at < place { 0 } else { *byte }
}

/// Wherever it breaks off: all, or nothing with a warning, never a part.
#[test]
fn a_file_that_breaks_off_is_empty_and_written_anew() {
    let (_folder, file) = file();
    let whole = written(&file, &example());
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for length in 1..whole.len() {
        fs::write(file.name(), &whole[..length]).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.contents, Contents::default(), "{length}");
        match loaded.warning {
            Some(Warning::Damaged { .. }) if length >= header => {}
            Some(Warning::Foreign) if length < header => continue,
            other => panic!("{length}: {other:?}"),
        }
        file.update(|stored| stored.merge([path(9, 9)])).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!((loaded.contents.paths.len(), loaded.warning), (1, None));
    }
}

#[test]
fn damage_is_told_with_its_line() {
    let (_folder, file) = file();
    let whole = String::from_utf8(written(&file, &example())).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let header = lines[0];
    for (text, line) in [
        (whole.replace("\"suspended\"", "\"suspected\""), 3),
        (whole.replace("silent", "noisy"), 3),
        (whole.replace("h:1?f=1", "h:0?f=1"), 5),
        (whole.replace("\"lines\":5", "\"lines\":6"), 7),
        (whole.clone() + "more", 7),
        (whole.clone() + "\n", 7),
        (whole.replace("\"trust\":1", "\"trust\":256"), 2),
        (whole.replace("10.0.0.2:443", "10.0.0.2"), 3),
        (format!("{header}{header}"), 2),
        (header.to_owned(), 2),
        (
            lines
                .iter()
                .filter(|l| !l.contains("10.0.0.2"))
                .copied()
                .collect(),
            6,
        ),
    ] {
        fs::write(file.name(), &text).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.contents, Contents::default());
        match loaded.warning {
            Some(Warning::Damaged { line: at, .. }) => assert_eq!(at, line, "{text}"),
            other => panic!("{other:?}: {text}"),
        }
    }
    let mut bytes = whole.into_bytes();
    let place = bytes.iter().rposition(|byte| *byte == b'h').unwrap();
    bytes[place] = 0xFF;
    fs::write(file.name(), bytes).unwrap();
    let warning = file.load().unwrap().warning;
    assert!(
        matches!(warning, Some(Warning::Damaged { line: 5, .. })),
        "{warning:?}"
    );
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let (_folder, file) = file();
    let mut bytes = written(&file, &Contents::default());
    bytes.truncate(bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    fs::write(file.name(), &bytes).unwrap();
    let sparse = fs::OpenOptions::new()
        .write(true)
        .open(file.name())
        .unwrap();
    sparse.set_len(FILE_MAX * 1_000).unwrap();
    let warning = file.load().unwrap().warning;
    assert!(
        matches!(warning, Some(Warning::Damaged { .. })),
        "{warning:?}"
    );
}

#[test]
fn of_what_two_know_the_newer_stays() {
    let mut contents = Contents {
        paths: vec![path(1, 10), suspended(2, 20), path(3, 30)],
        peers: Vec::new(),
    };
    contents.merge([suspended(1, 11), path(2, 19), suspended(3, 30), path(4, 5)]);
    let expected = [
        path(4, 5),
        suspended(1, 11),
        suspended(2, 20),
        suspended(3, 30),
    ];
    assert_eq!(contents.paths, expected, "what goes first comes first");
}

#[test]
fn what_is_in_trouble_is_kept_longest() {
    let mut contents = Contents::default();
    let most = u16::try_from(PATHS_KEPT).unwrap();
    contents.merge((0..most).map(|number| path(number, 1_000 + u64::from(number))));
    contents.merge([suspended(60_000, 1), suspended(60_001, 2), path(60_002, 3)]);
    assert_eq!(contents.paths.len(), PATHS_KEPT);
    let kept = |number: u16| {
        contents
            .paths
            .iter()
            .any(|r| r.path == path(number, 0).path)
    };
    assert!(kept(60_000) && kept(60_001) && kept(2) && kept(most - 1));
    assert!(!kept(60_002) && !kept(0) && !kept(1));
}

#[test]
fn a_peer_is_known_once() {
    let mut contents = Contents::default();
    for url in ["h:1?f=1", "h:2", "h:1?debounce=2&f=1"] {
        contents.insert_peer(url.parse().unwrap());
    }
    let urls: Vec<_> = contents.peers.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["h:2", "h:1?debounce=2&f=1"]);
}

#[test]
fn writers_at_the_same_time_lose_nothing_of_each_other() {
    let (_folder, file) = file();
    std::thread::scope(|scope| {
        for writer in 0..4_u16 {
            let file = &file;
            scope.spawn(move || {
                for number in 0..25 {
                    let news = path(writer * 100 + number, 1);
                    file.update(|stored| stored.merge([news])).unwrap();
                }
            });
        }
    });
    let loaded = file.load().unwrap();
    assert_eq!((loaded.contents.paths.len(), loaded.warning), (100, None));
}

/// A process that writes is killed, again and again: the file is whole, and
/// nothing that was written before is gone.
#[cfg(unix)]
#[test]
fn a_writer_that_is_killed_leaves_a_whole_file() {
    if let Some(name) = std::env::var_os(WRITER) {
        let file = MemoryFile::new(name);
        for number in (0..u16::MAX).cycle() {
            file.update(|stored| stored.merge([suspended(number % 500, 5)]))
                .unwrap();
        }
    }
    let (_folder, file) = file();
    file.update(|stored| stored.merge([suspended(9_999, 9)]))
        .unwrap();
    for kill in 0..20 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_writer_that_is_killed_leaves_a_whole_file"])
            .env(WRITER, file.name())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + 7 * kill));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.warning, None);
        let kept = |r: &Remembered| r.path == path(9_999, 0).path;
        assert!(loaded.contents.paths.iter().any(kept));
    }
    assert!(
        file.load().unwrap().contents.paths.len() > 1,
        "nobody wrote"
    );
    file.update(|_| ()).unwrap();
}

fn remembered() -> impl Strategy<Value = Remembered> {
    let ip = || {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|b| IpAddr::from(Ipv4Addr::from(b))),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ]
    };
    let standing = prop_oneof![
        (
            any::<u8>(),
            any::<bool>(),
            prop::option::of(any::<(u8, u64)>())
        )
            .prop_map(|(trust, asked, relapse)| Standing::Open {
                trust,
                asked,
                relapse: relapse.map(|(n, until)| (n, WallTime::from_millis(until))),
            }),
        (
            prop::sample::select(Trouble::ALL.to_vec()),
            any::<u8>(),
            any::<u64>()
        )
            .prop_map(|(trouble, doublings, until)| Standing::Suspended {
                trouble,
                doublings,
                until: WallTime::from_millis(until),
            }),
    ];
    (ip(), ip(), any::<u16>(), any::<u64>(), standing).prop_map(
        |(local, peer, port, noted, standing)| Remembered {
            path: PathKey::new(local, SocketAddr::new(peer, port)),
            noted: WallTime::from_millis(noted),
            standing,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        paths in prop::collection::vec(remembered(), 0..9),
        hosts in prop::collection::vec("[a-z]{1,9}", 0..4),
    ) {
        let peers = hosts.iter().map(|host| format!("{host}:1?debounce=2&f=1").parse().unwrap());
        let contents = Contents { paths, peers: peers.collect() };
        let (_folder, file) = file();
        written(&file, &contents);
        let loaded = file.load().unwrap();
        prop_assert_eq!(loaded.contents, contents);
        prop_assert_eq!(loaded.warning, None);
    }

    /// Whatever is in it: something or a warning, and no panic.
    #[test]
    fn a_changed_byte_does_no_harm(place: prop::sample::Index, byte: u8) {
        let (_folder, file) = file();
        let mut bytes = written(&file, &example());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        fs::write(file.name(), &bytes).unwrap();
        let loaded = file.load().unwrap();
        if loaded.warning.is_some() {
            prop_assert_eq!(loaded.contents, Contents::default());
        } else {
            prop_assert_eq!(loaded.contents.paths.len(), 3);
            prop_assert_eq!(loaded.contents.peers.len(), 2);
        }
    }
}
