//! Bad input closes its own connection and touches nothing else.

use std::time::Instant;

use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

use super::*;
use crate::kafka::versions::SERVED;

/// A client that produces all the while, on a connection of its own, and must never notice anything.
struct Canary {
    client: Client,
    produced: i64,
}

impl Canary {
    async fn new(node: &Node) -> Self {
        node.create("canary", 1).await;
        Self { client: node.client().await, produced: 0 }
    }

    async fn sing(&mut self) {
        assert_eq!(self.client.produce("canary", 0, batch(1)).await, (0, self.produced));
        self.produced += 1;
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes()[..], body].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_its_connection_and_nothing_else() {
    let node = Node::start(Limits::default()).await;
    let mut canary = Canary::new(&node).await;
    let attacks: Vec<(&str, Vec<u8>)> = vec![
        ("a 4-byte Metadata body", frame(&hex("0003 0001 00000001 ffff 7fffffff"))),
        ("a compact Metadata body", frame(&hex("0003 0009 00000001 ffff 00 ffffffff0f"))),
        ("a 12-byte Produce body", frame(&hex("0000 0003 00000001 ffff ffff 0001 00000001 7fffffff"))),
        ("a length of 2 GiB", hex("7fffffff 0003 0001 00000001")),
        ("a negative length", hex("ffffffff 0003 0001 00000001")),
        ("a length of 0", hex("00000000")),
        ("a short header", frame(&hex("0003 0001 0000"))),
        ("a TLS ClientHello", hex("16030100f8010000f40303 00112233445566778899aabbccddeeff")),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("Postgres", hex("00000008 04d2162f")),
        ("an unknown api key", frame(&hex("0fff 0000 00000001 ffff"))),
        ("Produce of message sets", frame(&hex("0000 0002 00000001 ffff 0001 00000001 00000000"))),
        ("a client id beyond the frame", frame(&hex("0003 0001 00000001 7fff 00"))),
        ("header tags beyond the frame", frame(&hex("0003 0009 00000001 ffff ffffffff0f"))),
        ("a topic name that is no UTF-8", frame(&hex("0003 0001 00000001 ffff 00000001 0002 c328"))),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
    ];
    for (what, bytes) in &attacks {
        let mut attacker = node.client().await;
        // The door may close before everything is sent.
        let _unsent = attacker.stream.write_all(bytes).await;
        assert_eq!(attacker.closed().await, 0, "{what}: something was answered");
        canary.sing().await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_frames_never_hurt_others() {
    let node = Node::start(Limits::default()).await;
    let mut canary = Canary::new(&node).await;
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    for _ in 0..100 {
        let served = &SERVED[random() as usize % SERVED.len()];
        let version = served.usable_min + i16::from(random()) % (served.max - served.usable_min + 1);
        let mut body = BytesMut::new();
        body.put_i16(served.api as i16);
        body.put_i16(version);
        body.put_i32(1);
        body.put_i16(-1);
        let length = random() % 64;
        body.extend((0..length).map(|_| [0, 0, 0, 1, random(), 0xff][random() as usize % 6]));
        let mut attacker = node.client().await;
        let _unsent = attacker.stream.write_all(&frame(&body)).await;
        attacker.stream.shutdown().await.ok();
        attacker.closed().await;
    }
    canary.sing().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_frames_are_cut_off_and_hold_nobody_up() {
    let short = Duration::from_millis(300);
    let limits = Limits {
        first_byte_timeout: short,
        request_timeout: short,
        in_flight_bytes_max: 1 << 20,
        request_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let node = Node::start(limits).await;
    let mut canary = Canary::new(&node).await;
    let mut held = Vec::new();
    for sent in [&b""[..], &[0], &[0, 0, 0, 100], &[0, 0x0f, 0, 0, 1, 2, 3], &[0, 0, 0, 20, 0, 3, 0, 1]] {
        for _ in 0..4 {
            let mut client = node.client().await;
            client.send_raw(sent).await;
            held.push(client);
        }
    }
    let begun = Instant::now();
    canary.sing().await;
    for client in &mut held {
        assert_eq!(client.closed().await, 0);
    }
    assert!(begun.elapsed() < PATIENCE);
    canary.sing().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_in_a_batch_is_refused_and_the_node_goes_on() {
    let node = Node::with_topic("t", 1).await;
    let mut canary = Canary::new(&node).await;
    let mut attacker = node.client().await;
    // Some kilobytes that unpack to more than the log ever unpacks.
    let mut zeros = ::topics::batch::BatchBuilder::new().compression(::topics::batch::Compression::Zstd);
    zeros.push(1_700_000_000_000, None, Some(&vec![0; 65 << 20]), &[]);
    node.create("zeros", 1).await;
    let (error, _) = attacker.produce("zeros", 0, zeros.build().unwrap()).await;
    assert_ne!(error, 0);
    canary.sing().await;
    // A batch that announces 2^31-1 records in a few bytes, with a right checksum.
    let mut bomb = batch(1).to_vec();
    bomb[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    bomb[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    let crc = crc32c(&bomb[21..]);
    bomb[17..21].copy_from_slice(&crc.to_be_bytes());
    let (error, _) = attacker.produce("t", 0, bomb.into()).await;
    assert_ne!(error, 0);
    canary.sing().await;
    assert_eq!(attacker.produce("t", 0, batch(1)).await, (0, 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_records_is_refused() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    let mut empty = batch(1).slice(..61).to_vec();
    empty[8..12].copy_from_slice(&49_i32.to_be_bytes());
    for (count, last) in [(0, -1), (0, 0), (-1, -1), (1, 0)] {
        empty[57..61].copy_from_slice(&i32::to_be_bytes(count));
        empty[23..27].copy_from_slice(&i32::to_be_bytes(last));
        let crc = crc32c(&empty[21..]);
        empty[17..21].copy_from_slice(&crc.to_be_bytes());
        let (error, offset) = client.produce("t", 0, empty.clone().into()).await;
        assert!(error != 0 && offset == -1, "{count} records, last {last}: {error}");
    }
    assert_eq!(client.produce("t", 0, batch(1)).await, (0, 0));
    node.stop().await;
}

/// What is unsynced is not held back by an answer that is in line before its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_in_line_before_produces_holds_nobody_up() {
    let node = Node::with_topic("t", 1).await;
    node.create("quiet", 1).await;
    let mut poller = node.client().await;
    let poll = records::fetch_request("quiet", 0, 0, 60_000);
    poller.send(Api::Fetch, 12, &poll).await;
    // More than may be unsynced at once, all behind the poll.
    let mut large = ::topics::batch::BatchBuilder::new();
    large.push(1_700_000_000_000, None, Some(&vec![b'x'; 1_000_000]), &[]);
    let large = large.build().unwrap();
    for _ in 0..30 {
        poller.send(Api::Produce, 11, &produce_request("t", 0, large.clone(), -1)).await;
    }
    let mut other = node.client().await;
    let (error, offset) = other.produce("quiet", 0, batch(1)).await;
    assert_eq!((error, offset), (0, 0), "the record that the poll waits for");
    for _ in 0..31 {
        poller.receive_frame().await.expect("all are answered, the poll first");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_0_waits_for_nothing_and_hears_of_refusals() {
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    for _ in 0..10 {
        client.send(Api::Produce, 11, &produce_request("t", 0, batch(2), 0)).await;
    }
    // The next answer is that of the next request that has one.
    assert_eq!(client.produce("t", 0, batch(1)).await, (0, 20));
    let response: ProduceResponse =
        client.call(Api::Produce, 11, &produce_request("t", 0, batch(1), 1)).await;
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 21);
    client.send(Api::Produce, 11, &produce_request("none", 0, batch(1), 0)).await;
    assert_eq!(client.closed().await, 0, "a refusal ends the connection");
    node.stop().await;
}

/// Bit by bit: tests have time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_turned_away() {
    let node = Node::start(Limits { connections_max: 2, ..Limits::default() }).await;
    let (mut one, mut two) = (node.client().await, node.client().await);
    let request = MetadataRequest::default().with_topics(None);
    for client in [&mut one, &mut two] {
        client.call::<MetadataResponse>(Api::Metadata, 12, &request).await;
    }
    assert_eq!(node.client().await.closed().await, 0);
    drop(two);
    // The place is free once the door has noticed.
    loop {
        let mut three = node.client().await;
        let _unsent = three.stream.write_all(&frame(&hex("0012 0000 00000001 ffff"))).await;
        if three.receive_frame().await.is_some() {
            break;
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_but_waiting_ones_are_not() {
    let idle = Duration::from_millis(200);
    let node = Node::start(Limits { idle_timeout: idle, ..Limits::default() }).await;
    node.create("t", 1).await;
    let mut quiet = node.client().await;
    quiet.call::<MetadataResponse>(Api::Metadata, 12, &MetadataRequest::default().with_topics(None)).await;
    assert_eq!(quiet.closed().await, 0);
    let mut waiting = node.client().await;
    let fetch = records::fetch_request("t", 0, 0, 4 * idle.as_millis() as i32);
    let response: kafka_protocol::messages::FetchResponse = waiting.call(Api::Fetch, 12, &fetch).await;
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    node.stop().await;
}
