//! Measures the lab itself: how exact its round trip is, and how much it carries.
//!
//! `cargo run --release -p headstart-lab --example measure`

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    headstart_lab::enter()?;
    for millis in [0, 1, 10, 50] {
        linux::round_trips(std::time::Duration::from_millis(millis))?;
    }
    for millis in [0, 10, 50] {
        linux::bulk(std::time::Duration::from_millis(millis))?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        error::Error,
        io::{Read, Write},
        net::{TcpListener, TcpStream, UdpSocket},
        time::{Duration, Instant},
    };

    use headstart_lab::{Family, Lab};

    const PINGS: u32 = 200;
    const BULK: u64 = 256 << 20;
    const PORT: u16 = 7;

    /// Times echoes of a small UDP packet.
    pub(super) fn round_trips(rtt: Duration) -> Result<(), Box<dyn Error>> {
        let lab = Lab::builder().rtt(rtt).build()?;
        let address = (lab.server_addr(Family::V4), PORT);
        let server = lab.server().run(|| UdpSocket::bind(address))??;
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..length], peer);
            }
        });
        let own = (lab.client_addr(Family::V4), 0);
        let client = lab.client().run(|| UdpSocket::bind(own))??;
        client.connect(address)?;
        let mut over = Vec::new();
        for _ in 0..PINGS {
            let start = Instant::now();
            client.send(&[1; 32])?;
            client.recv(&mut [0; 64])?;
            over.push(start.elapsed().saturating_sub(rtt));
        }
        over.sort();
        let (half, most) = (over[over.len() / 2], over[over.len() * 99 / 100]);
        println!("round trip {rtt:?}: over by {half:?} (median), {most:?} (99 of 100)");
        println!("{}", lab.stats());
        Ok(())
    }

    /// Times one bulk transfer to the server.
    pub(super) fn bulk(rtt: Duration) -> Result<(), Box<dyn Error>> {
        let lab = Lab::builder().rtt(rtt).build()?;
        let address = (lab.server_addr(Family::V4), PORT);
        let listener = lab.server().run(|| TcpListener::bind(address))??;
        let server = std::thread::spawn(move || -> std::io::Result<u64> {
            let (mut stream, _) = listener.accept()?;
            let received = std::io::copy(&mut stream, &mut std::io::sink())?;
            stream.write_all(&[1])?;
            Ok(received)
        });
        let start = Instant::now();
        let mut client = lab.client().run(|| TcpStream::connect(address))??;
        std::io::copy(&mut std::io::repeat(7).take(BULK), &mut client)?;
        client.shutdown(std::net::Shutdown::Write)?;
        client.read_exact(&mut [0])?;
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(server.join().map_err(|_| "the server panicked")??, BULK);
        println!(
            "{} MiB at {rtt:?}: {:.0} Mbit/s",
            BULK >> 20,
            BULK as f64 * 8e-6 / seconds
        );
        println!("{}", lab.stats());
        Ok(())
    }
}
