//! Many connections, many partitions, slow readers, bombs: a node stays usable and its memory bounded. Figures are
//! printed; only memory is asserted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::process::ProcessNode;
use topics::batch::{BatchBuilder, Compression};

use crate::world::{TESTNODE, World, long};

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that speaks frames made by hand.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn connect(world: &World) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", world.ports.kafka()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    fn send(&mut self, api: i16, version: i16, body: &[u8]) -> Result<()> {
        Ok(self.0.write_all(&frame(api, version, body))?)
    }

    /// The next answer, without length and correlation id.
    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut answer)?;
        Ok(answer.split_off(4))
    }

    /// ApiVersions: the least that a client asks.
    fn greet(&mut self) -> Result<()> {
        self.send(18, 0, &[])?;
        self.receive().map(drop)
    }

    /// Produces one batch with acks=all; gives the error code.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, batch: &[u8]) -> Result<i16> {
        let mut body = Vec::new();
        body.extend((-1_i16).to_be_bytes());
        body.extend((-1_i16).to_be_bytes());
        body.extend(30_000_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        body.extend(text(topic));
        body.extend(1_i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(batch);
        self.send(0, 7, &body)?;
        let answer = self.receive()?;
        // Topics (1), name, partitions (1), index, error code.
        let at = 4 + 2 + topic.len() + 4 + 4;
        let code = answer.get(at..at + 2).context("a short answer")?;
        Ok(i16::from_be_bytes([code[0], code[1]]))
    }

    /// Asks for as much as there is of a partition from `offset` on.
    fn ask_for_records(&mut self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let mut body = Vec::new();
        body.extend((-1_i32).to_be_bytes());
        body.extend(500_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        body.extend(i32::MAX.to_be_bytes());
        body.push(0);
        body.extend(1_i32.to_be_bytes());
        body.extend(text(topic));
        body.extend(1_i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend(i32::MAX.to_be_bytes());
        self.send(1, 4, &body)
    }
}

fn frame(api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((10 + body.len() + 1) as i32).to_be_bytes());
    bytes.extend(api.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend([0, 1, b'x']);
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn batch(bytes: usize) -> Result<bytes::Bytes> {
    let mut batch = BatchBuilder::new();
    batch.push(1_700_000_000_000, None, Some(&vec![7; bytes]), &[]);
    Ok(batch.build()?)
}

fn mib(node: &ProcessNode) -> Result<u64> {
    Ok(node.resident_bytes()? / MIB)
}

fn create(world: &World, topic: &str, partitions: u32) -> Result<()> {
    world.frazil(&["topic", "create", topic, "-p", &partitions.to_string()]).map(drop)
}

#[test]
fn many_connections_and_partitions_stay_usable() -> Result<()> {
    let many: u32 = if long() { 10_000 } else { 1_000 };
    let connections = match std::env::var("FRAZIL_CONNECTIONS") {
        Ok(count) => count.parse().context("FRAZIL_CONNECTIONS")?,
        Err(_) => many,
    };
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    ensure!(
        files / 16 * 9 >= u64::from(connections) + 16,
        "this test opens {connections} connections, a node gives nine sixteenths of its files to those of Kafka, and only \
         {files} may be open: type `ulimit -Hn 18000` as root, or FRAZIL_CONNECTIONS={} for fewer",
        (files / 16 * 9).saturating_sub(16)
    );
    let world = World::new("many")?;
    let begun = Instant::now();
    let node = world.start()?;
    println!("empty: ready after {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    let begun = Instant::now();
    create(&world, "many", many)?;
    println!("{many} partitions: made in {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    let mut client = Raw::connect(&world)?;
    let begun = Instant::now();
    let one = batch(100)?;
    for partition in 0..many as i32 {
        ensure!(client.produce("many", partition, &one)? == 0, "partition {partition} takes no record");
    }
    println!("a record in each of them, one after the other: {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    let begun = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..connections {
        let mut connection = Raw::connect(&world)?;
        connection.greet()?;
        idle.push(connection);
    }
    println!("{connections} connections: open in {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    // Usable: the first, the last and a new one are served, and everything is there.
    for connection in [0, idle.len() - 1] {
        idle[connection].greet()?;
    }
    ensure!(client.produce("many", 0, &one)? == 0, "no produce beside the idle connections");
    let mut reader = Raw::connect(&world)?;
    for partition in [0, many as i32 / 2, many as i32 - 1] {
        reader.ask_for_records("many", partition, 0)?;
        ensure!(reader.receive()?.len() > 100, "partition {partition} has no record");
    }
    let resident = mib(&node)?;
    // Seen with 10,000 partitions and 4,700 connections: 142 MiB; 72 of them empty, about 12 KiB per connection.
    let bound = 150 + u64::from(many + connections) / 100;
    ensure!(
        resident < bound,
        "{resident} MiB with {connections} connections and {many} partitions, not {bound}"
    );
    drop((idle, client, reader));
    let begun = Instant::now();
    node.kill()?;
    let node = world.start()?;
    println!("after kill -9 with {many} partitions: ready after {:?}, {} MiB", begun.elapsed(), mib(&node)?);
    let mut client = Raw::connect(&world)?;
    ensure!(client.produce("many", many as i32 - 1, &one)? == 0, "no produce after the restart");
    let begun = Instant::now();
    node.stop()?;
    println!("clean stop: {:?}", begun.elapsed());
    Ok(())
}

#[test]
fn slow_readers_do_not_fill_the_memory() -> Result<()> {
    let world = World::new("slow")?;
    let node = world.start()?;
    create(&world, "large", 1)?;
    let mut client = Raw::connect(&world)?;
    let large = batch(1_000_000)?;
    for _ in 0..24 {
        ensure!(client.produce("large", 0, &large)? == 0, "not taken");
    }
    let before = mib(&node)?;
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut reader = Raw::connect(&world)?;
        reader.ask_for_records("large", 0, 0)?;
        slow.push(reader);
    }
    // Nobody reads. Others go on: what they ask for is small, and shares get smaller before anybody waits.
    for offset in 0..10 {
        let mut quick = Raw::connect(&world)?;
        quick.ask_for_records("large", 0, offset)?;
        ensure!(quick.receive()?.len() > 1_000_000, "a batch is returned whole");
        ensure!(client.produce("large", 0, &large)? == 0, "not taken");
    }
    let with_readers = mib(&node)?;
    println!("60 readers that ask for 24 MiB each and take none: {before} -> {with_readers} MiB");
    ensure!(with_readers < before + 330, "{before} -> {with_readers} MiB");
    // Who takes it at last gets it.
    for reader in &mut slow {
        ensure!(reader.receive()?.len() > 1_000_000, "a slow reader got nothing");
    }
    node.stop()
}

#[test]
fn bombs_and_deep_pipelines_cost_little() -> Result<()> {
    let world = World::new("bombs")?;
    let node = world.start()?;
    create(&world, "t", 1)?;
    let mut canary = Raw::connect(&world)?;
    let one = batch(100)?;
    ensure!(canary.produce("t", 0, &one)? == 0, "not taken");
    let before = mib(&node)?;
    // Each unpacks to more than the log unpacks; ten clients at once.
    let mut bomb = BatchBuilder::new().compression(Compression::Zstd);
    bomb.push(1_700_000_000_000, None, Some(&vec![0; 66 << 20]), &[]);
    let bomb = bomb.build()?;
    std::thread::scope(|scope| {
        let throwers: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| Raw::connect(&world).and_then(|mut raw| raw.produce("t", 0, &bomb))))
            .collect();
        throwers.into_iter().try_for_each(|thrower| {
            let code = thrower.join().map_err(|_| anyhow::anyhow!("thrower"))??;
            ensure!(code != 0, "a bomb was taken");
            Ok(())
        })
    })?;
    let after_bombs = mib(&node)?;
    println!("10 batches of {} bytes that unpack to 66 MiB: {before} -> {after_bombs} MiB", bomb.len());
    // Requests without end, and nobody reads the answers: the node stops reading.
    let mut flood = Raw::connect(&world)?;
    flood.0.set_write_timeout(Some(Duration::from_millis(500)))?;
    let many = frame(3, 1, &(-1_i32).to_be_bytes()).repeat(1_000);
    let mut sent = 0;
    while sent < 64 * MIB && flood.0.write_all(&many).is_ok() {
        sent += many.len() as u64;
    }
    let after_flood = mib(&node)?;
    println!("a pipeline that nobody reads: {sent} bytes went in, {after_bombs} -> {after_flood} MiB");
    ensure!(sent < 64 * MIB, "the node never stopped reading");
    ensure!(after_flood < after_bombs + 64, "{after_bombs} -> {after_flood} MiB");
    ensure!(canary.produce("t", 0, &one)? == 0, "the others wait");
    node.stop()
}

#[test]
fn few_files_may_be_open() -> Result<()> {
    let world = World::new("files")?;
    let script = world.path("few-files");
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n 256\nexec {TESTNODE} \"$@\"\n"))?;
    std::process::Command::new("chmod").arg("+x").arg(&script).status()?;
    let start = || ProcessNode::start(Path::new(&script), &world.data_dir(), world.ports, &[]);
    let node = start()?;
    create(&world, "many", 2_000)?;
    let one = batch(100)?;
    let mut client = Raw::connect(&world)?;
    for partition in (0..2_000).step_by(3) {
        ensure!(client.produce("many", partition, &one)? == 0, "partition {partition} takes no record");
    }
    node.kill()?;
    let node = start()?;
    let mut client = Raw::connect(&world)?;
    for partition in (0..2_000).step_by(3) {
        client.ask_for_records("many", partition, 0)?;
        ensure!(client.receive()?.len() > 100, "partition {partition} has no record");
    }
    node.stop()
}
