//! Garbage on every door closes its connection and touches nothing else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::outside::{kcat, psql};
use testkit::process::{ProcessNode, http};
use testkit::random::Random;

use crate::world::{World, long};

/// A Kafka request frame: length, API key, version, correlation id, client id `x`, body.
fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend([0, 1, b'x']);
    bytes.extend(body);
    let mut framed = (bytes.len() as i32).to_be_bytes().to_vec();
    framed.extend(bytes);
    framed
}

/// What a hostile client sends; each must end the connection, or at least be answered with an error.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let mut tls = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    tls.extend([0xab; 300]);
    let mut produce = Vec::new();
    produce.extend((-1_i16).to_be_bytes());
    produce.extend(1_i16.to_be_bytes());
    produce.extend(1000_i32.to_be_bytes());
    produce.extend(0x7fff_ffff_i32.to_be_bytes());
    vec![
        ("a Metadata body of 7fffffff", frame(3, 1, &[0x7f, 0xff, 0xff, 0xff])),
        ("a Produce with 2^31 topics", frame(0, 3, &produce)),
        ("a length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 1]),
        ("a negative length", vec![0xff, 0xff, 0xff, 0xff, 0, 3]),
        ("a length of 0", vec![0, 0, 0, 0]),
        ("a length of 3", vec![0, 0, 0, 3, 0, 3, 0]),
        ("an unknown API", frame(9999, 0, &[])),
        ("an unknown version", frame(3, 99, &[])),
        ("a TLS hello", tls),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec()),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        ("a Postgres startup of 2 GiB", [&[0x7f, 0xff, 0xff, 0xff][..], &[0, 3, 0, 0]].concat()),
        ("a Postgres startup of 4 bytes", vec![0, 0, 0, 4]),
        ("an endless HTTP header", [&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 200_000]].concat()),
        ("a deep JSON body", {
            let body = "[".repeat(100_000);
            format!("POST /subjects/a/versions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }),
    ]
}

/// Sends bytes, closes our half, and waits until the other side has closed too.
fn send(port: u16, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    // The other side may close while we write.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = [0; 65_536];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => return Err(e).context("the connection stays open"),
        }
    }
}

fn canary(world: &World, node: &ProcessNode) -> Result<()> {
    let address = format!("127.0.0.1:{}", world.ports.kafka());
    kcat(&["-b", &address, "-t", "canary", "-P"], "still here\n")?;
    let one = psql(world.ports.postgres(), &["-At", "-c", "SELECT 1"])?;
    ensure!(one.trim() == "1", "{one}");
    for (port, path) in [
        (world.ports.registry(), "/subjects"),
        (world.ports.catalog(), "/v1/config"),
        (world.ports.admin(), "/metrics"),
    ] {
        let (status, body) = http(port, "GET", path, "")?;
        ensure!(status == 200, "{path}: {status} {body}");
    }
    let resident = node.resident_bytes()?;
    ensure!(resident < 1 << 30, "{resident} bytes are resident");
    Ok(())
}

#[test]
fn garbage_closes_its_connection_and_nothing_else() -> Result<()> {
    let world = World::new("hostile")?;
    let node = world.start()?;
    let ports = world.ports;
    let doors = [ports.kafka(), ports.postgres(), ports.registry(), ports.catalog(), ports.admin()];
    canary(&world, &node)?;
    for door in doors {
        for (name, bytes) in payloads() {
            send(door, &bytes).with_context(|| format!("{name} on port {door}"))?;
        }
    }
    let mut random = Random(3);
    let rounds = if long() { 20_000 } else { 400 };
    for _ in 0..rounds {
        let door = doors[random.below(5) as usize];
        let samples = payloads();
        let (_, mut bytes) = samples[random.below(samples.len() as u64) as usize].clone();
        bytes.truncate(2048);
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next_u64() as u8;
        }
        send(door, &bytes).with_context(|| format!("{bytes:02x?} on port {door}"))?;
    }
    canary(&world, &node)?;
    node.stop()
}

#[test]
fn half_frames_held_open_do_not_hold_others() -> Result<()> {
    let world = World::new("half-frames")?;
    let node = world.start()?;
    let ports = world.ports;
    let mut held = Vec::new();
    for door in [ports.kafka(), ports.postgres(), ports.registry(), ports.catalog(), ports.admin()] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(("127.0.0.1", door))?;
            stream.write_all(&[0, 0, 1])?;
            held.push(stream);
        }
    }
    canary(&world, &node)?;
    drop(held);
    node.stop()
}
