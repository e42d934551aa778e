//! The wire: whole data, right times, honest counts, a readable capture.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use headstart_lab::{Direction, Family, Lab, Rule};
use libtest_mimic::{Failed, Trial};

use crate::exchange::{PORT, exchange, serve};
use crate::trial;

const BULK: usize = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        trial("a_full_queue_drops_and_counts", full_queue),
        trial("labs_do_not_see_each_other", two_labs),
        trial("a_host_has_settings_of_its_own", settings),
        trial("a_lab_is_torn_down_while_busy", torn_down_while_busy),
        trial("a_capture_holds_every_crossing", capture),
    ];
    for family in Family::ALL {
        tests.push(trial(
            format!("bulk_is_whole_both_ways_{family}"),
            move || {
                bulk(
                    Lab::builder().rtt(Duration::from_millis(10)).build()?,
                    family,
                    true,
                )
            },
        ));
        tests.push(trial(format!("bulk_survives_loss_{family}"), move || {
            let lossy = Rule::RandomLoss { per_mille: 5 };
            bulk(
                Lab::builder()
                    .rtt(Duration::from_millis(1))
                    .rule(lossy)
                    .seed(7)
                    .build()?,
                family,
                false,
            )
        }));
        tests.push(trial(
            format!("the_round_trip_is_exact_{family}"),
            move || exact(family),
        ));
    }
    tests
}

/// Bytes in which no part is like another.
fn pattern(seed: u8) -> Vec<u8> {
    let byte = |i: usize| (i.wrapping_mul(31) ^ (i >> 8) ^ (i >> 16)) as u8 ^ seed;
    (0..BULK).map(byte).collect()
}

/// Data arrive unchanged in both directions at once, and no packet is lost
/// against the lab's will.
fn bulk(lab: Lab, family: Family, lossless: bool) -> Result<(), Failed> {
    let (up, down) = (Arc::new(pattern(1)), Arc::new(pattern(2)));
    let address = (lab.server_addr(family), PORT);
    let listener = lab.server().run(|| TcpListener::bind(address))??;
    let (expected, sent) = (Arc::clone(&up), Arc::clone(&down));
    let server = thread::spawn(move || swap(listener.accept()?.0, sent, &expected));
    let start = Instant::now();
    let client = lab.client().run(|| TcpStream::connect(address))??;
    swap(client, up, &down)?;
    server.join().map_err(|_| "the server panicked")??;
    let rate = 16.0 * BULK as f64 * 1e-6 / start.elapsed().as_secs_f64();
    println!("{family}: {rate:.0} Mbit/s\n{}", lab.stats());
    let stats = lab.stats();
    if lossless && (stats.unwanted_drops(), stats.to_server.dropped_by_rule) != (0, 0) {
        return Err(format!("lost packets: {stats}").into());
    }
    if !lossless && stats.to_server.dropped_by_rule == 0 {
        return Err(format!("lost nothing: {stats}").into());
    }
    Ok(())
}

/// Sends one thing and receives another at the same time.
fn swap(stream: TcpStream, sent: Arc<Vec<u8>>, expected: &[u8]) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let sender = thread::spawn(move || {
        out.write_all(&sent)?;
        out.shutdown(Shutdown::Write)
    });
    let mut received = Vec::new();
    (&stream).read_to_end(&mut received)?;
    sender
        .join()
        .map_err(|_| io::Error::other("the sender panicked"))??;
    if received == expected {
        Ok(())
    } else {
        Err(io::Error::other("other bytes than sent"))
    }
}

/// A UDP packet goes and comes in one round trip: never sooner, and on time if
/// the machine has the time. The `measure` example tells more.
fn exact(family: Family) -> Result<(), Failed> {
    let rtt = Duration::from_millis(20);
    let lab = Lab::builder().rtt(rtt).build()?;
    let (server, client) = udp_pair(&lab, family)?;
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], peer);
        }
    });
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        client.send(&[1; 33])?;
        assert_eq!(client.recv(&mut [0; 64])?, 33);
        times.push(start.elapsed());
    }
    times.sort();
    println!("{family}: {:?} to {:?}", times[0], times[19]);
    if times[0] < rtt || times[0] > rtt + Duration::from_millis(2) {
        return Err(format!("{rtt:?} took {times:?}").into());
    }
    Ok(())
}

fn udp_pair(lab: &Lab, family: Family) -> io::Result<(UdpSocket, UdpSocket)> {
    let server = lab
        .server()
        .run(|| UdpSocket::bind((lab.server_addr(family), PORT)))??;
    let client = lab
        .client()
        .run(|| UdpSocket::bind((lab.client_addr(family), 0)))??;
    client.connect((lab.server_addr(family), PORT))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((server, client))
}

/// Packets beyond the queue's limit are dropped, the others delivered, all counted.
fn full_queue() -> Result<(), Failed> {
    let lab = Lab::builder()
        .rtt(Duration::from_millis(200))
        .queue(10)
        .build()?;
    let (server, client) = udp_pair(&lab, Family::V4)?;
    for number in 0..25 {
        client.send(&[number])?;
    }
    let mut buffer = [0];
    for number in 0..10 {
        server.recv(&mut buffer)?;
        assert_eq!(buffer[0], number);
    }
    server.set_read_timeout(Some(Duration::from_millis(300)))?;
    assert!(server.recv(&mut buffer).is_err());
    let stats = lab.stats();
    let counters = stats.direction(Direction::ToServer);
    assert_eq!(
        (
            counters.received,
            counters.delivered,
            counters.dropped_by_queue
        ),
        (25, 10, 15),
        "{stats}"
    );
    assert_eq!(stats.unwanted_drops(), 15);
    Ok(())
}

/// The same addresses in two labs are different machines.
fn two_labs() -> Result<(), Failed> {
    let labs = [Lab::builder().build()?, Lab::builder().build()?];
    let served = serve(labs[0].server(), labs[0].server_addr(Family::V4));
    exchange(&labs[0], Family::V4, false, PATIENCE).first_byte?;
    assert!(
        exchange(&labs[1], Family::V4, false, PATIENCE)
            .first_byte
            .is_err()
    );
    assert_eq!(served.try_iter().count(), 1);
    assert_eq!(labs[0].server().name(), "server");
    Ok(())
}

fn settings() -> Result<(), Failed> {
    let lab = Lab::builder().build()?;
    lab.client().set_sysctl("net.ipv4.tcp_syn_retries", "3")?;
    lab.client().set_fast_open(0x5)?;
    assert_eq!(lab.client().sysctl("net.ipv4.tcp_syn_retries")?, "3");
    assert_eq!(lab.client().sysctl("net.ipv4.tcp_fastopen")?, "5");
    assert_eq!(lab.server().sysctl("net.ipv4.tcp_fastopen")?, "3");
    assert_eq!(lab.second_server().sysctl("net.ipv4.tcp_fastopen")?, "3");
    assert_ne!(lab.server().sysctl("net.ipv4.tcp_syn_retries")?, "3");
    let error = lab
        .client()
        .set_sysctl("kernel.hostname", "x")
        .err()
        .map(|error| error.kind());
    assert_eq!(error, Some(io::ErrorKind::InvalidInput));
    Ok(())
}

/// A packet that passes is in the file twice, one that is dropped once.
fn capture() -> Result<(), Failed> {
    let folder = std::env::temp_dir().join(format!("headstart-lab-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("capture.pcapng");
    let lab = Lab::builder()
        .rule(Rule::RandomLoss { per_mille: 1000 })
        .pcap(&path)
        .build()?;
    let (server, client) = udp_pair(&lab, Family::V4)?;
    let (server6, client6) = udp_pair(&lab, Family::V6)?;
    client.send(b"lost")?;
    while lab.stats().to_server.dropped_by_rule == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    lab.set_rule(Rule::Transparent);
    client6.send(b"kept")?;
    server6.recv(&mut [0; 4])?;
    drop((lab, server));
    let bytes = std::fs::read(&path)?;
    std::fs::remove_dir_all(&folder)?;
    let blocks = blocks(&bytes).ok_or("a malformed block")?;
    let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 1, 1, 6, 6, 6]);
    let packets: Vec<_> = blocks[4..]
        .iter()
        .map(|(_, body)| (body[0], &body[20..]))
        .collect();
    let (lost, kept) = (&packets[0], &packets[1..]);
    assert_eq!((lost.0, lost.1.len()), (0, 28 + 4));
    assert_eq!((kept[0].0, kept[1].0), (0, 1));
    assert_eq!(kept[0].1, kept[1].1);
    assert!(kept[0].1.ends_with(b"kept"));
    Ok(())
}

/// The blocks of a pcapng file, each with its kind and body.
fn blocks(mut bytes: &[u8]) -> Option<Vec<(u32, &[u8])>> {
    let word = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?));
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let length = usize::try_from(word(bytes.get(4..)?)?).ok()?;
        let (block, rest) = bytes.split_at_checked(length)?;
        if word(block.get(length.checked_sub(4)?..)?)? != word(&block[4..])? || length % 4 != 0 {
            return None;
        }
        blocks.push((word(block)?, block.get(8..length - 4)?));
        bytes = rest;
    }
    Some(blocks)
}

/// Taking a lab down does not wait for its hosts to fall silent.
fn torn_down_while_busy() -> Result<(), Failed> {
    let lab = Lab::builder().build()?;
    let (_server, client) = udp_pair(&lab, Family::V4)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let _ = client.send(&[0; 1000]);
        }
    });
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    drop(lab);
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    flood.join().map_err(|_| "the flood panicked")?;
    if took < Duration::from_secs(2) {
        Ok(())
    } else {
        Err(format!("took {took:?}").into())
    }
}
