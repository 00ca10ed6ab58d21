//! Files are put together while records come and queries run: every query, at every moment and of every snapshot, finds each
//! partition's records from the first to some last one, once each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::outside::Companion;
use testkit::process::http;

use crate::storm::{SCHEMA, Storm};
use crate::world::{World, long};

const TOPIC: &str = "flow";
const PARTITIONS: u32 = 3;

/// What a query saw of one partition.
type Counts = Vec<u64>;

/// Asks the node's SQL and checks the answer; how many records each partition has.
fn look(world: &World, freshness: &str) -> Result<Counts> {
    let sql = format!(
        "SELECT (redpanda).partition AS p, count(*) AS c, count(DISTINCT (redpanda).offset) AS d, \
         min((redpanda).offset) AS first, max((redpanda).offset) AS last, sum(n)::bigint AS s FROM {TOPIC} \
         GROUP BY 1 ORDER BY 1"
    );
    let set = format!("SET frazil.freshness = '{freshness}'");
    let text = world.frazil(&["sql", "-o", "ndjson", "-c", &set, "-c", &sql])?;
    let mut counts = vec![0; PARTITIONS as usize];
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let get = |name: &str| row[name].as_u64().with_context(|| format!("{name} of {line}"));
        let (partition, count) = (get("p")?, get("c")?);
        // storm.py begins with 1 and deals the records out in turn.
        let begin = if partition == 0 { u64::from(PARTITIONS) } else { partition };
        let sum = count * begin + u64::from(PARTITIONS) * (count * (count - 1) / 2);
        let whole = get("d")? == count && get("first")? == 0 && get("last")? + 1 == count && get("s")? == sum;
        ensure!(whole, "{freshness}: {line}, the sum should be {sum}");
        counts[partition as usize] = count;
    }
    Ok(counts)
}

/// Looks again and again: what was seen stays seen, and what was acknowledged before is there.
fn query(world: &World, storm: &Storm, freshness: &str, stop: &AtomicBool) -> Result<u64> {
    let (mut before, mut looks) = (vec![0; PARTITIONS as usize], 0);
    while !stop.load(Ordering::SeqCst) {
        let acknowledged = storm.acknowledged();
        let counts = look(world, freshness)?;
        ensure!(before.iter().zip(&counts).all(|(a, b)| a <= b), "{freshness}: {counts:?} after {before:?}");
        let total: u64 = counts.iter().sum();
        ensure!(
            freshness != "latest" || total >= acknowledged,
            "{total} rows of {acknowledged} acknowledged"
        );
        before = counts;
        looks += 1;
    }
    Ok(looks)
}

fn compact(world: &World, stop: &AtomicBool) -> Result<u64> {
    let mut times = 0;
    while !stop.load(Ordering::SeqCst) {
        let path = format!("/v1/tables/{TOPIC}/maintenance");
        let body = r#"{"action":"compact","dry_run":false,"all":true}"#;
        let begun = Instant::now();
        let (status, answer) = http(world.ports.admin(), "POST", &path, body)?;
        if let Ok(done) = serde_json::from_str::<serde_json::Value>(&answer) {
            println!("{} -> {} files after {:?}", done["files_before"], done["files_after"], begun.elapsed());
        }
        // 404 until there is a table, 409 while the node does the same by itself.
        ensure!(matches!(status, 200 | 404 | 409), "{status} {answer}");
        times += u64::from(status == 200);
        std::thread::sleep(Duration::from_millis(700));
    }
    Ok(times)
}

#[test]
fn files_are_put_together_under_way() -> Result<()> {
    let world = World::new("compaction")?;
    let node = world.start()?;
    world.create_table_topic(TOPIC, PARTITIONS, 200)?;
    node.register_schema(&format!("{TOPIC}-value"), SCHEMA)?;
    let storm = Storm::start(&world, TOPIC, PARTITIONS, 1000, 0)?;
    let (catalog, partitions) = (world.ports.catalog().to_string(), PARTITIONS.to_string());
    let watch = Companion::start("watch.py", &[&catalog, TOPIC, &partitions])?;
    let (duration, begun) = (Duration::from_secs(if long() { 300 } else { 20 }), Instant::now());
    let stop = AtomicBool::new(false);
    let (looks, compactions) = std::thread::scope(|scope| -> Result<(u64, u64)> {
        let readers = ["latest", "available", "committed"].map(|freshness| {
            let (world, storm, stop) = (&world, &storm, &stop);
            scope.spawn(move || query(world, storm, freshness, stop))
        });
        let compactions = scope.spawn(|| compact(&world, &stop));
        while begun.elapsed() < duration && !readers.iter().any(|reader| reader.is_finished()) {
            std::thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::SeqCst);
        let mut looks = 0;
        for reader in readers {
            looks += reader.join().map_err(|_| anyhow::anyhow!("reader"))??;
        }
        Ok((looks, compactions.join().map_err(|_| anyhow::anyhow!("compaction"))??))
    })?;
    let sent = storm.finish()?;
    node.wait_until_committed(TOPIC, Duration::from_secs(60))?;
    let seen = watch.finish().context("the outside readers")?;
    let words: Vec<u64> = seen.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [outside, snapshots, replaced, most, _] = words[..] else { anyhow::bail!("watch.py says {seen}") };
    println!(
        "{} records, {snapshots} snapshots, {replaced} of them compactions ({compactions} asked for), {looks} looks by SQL, \
         {outside} by PyIceberg and DuckDB; at most {most} data files at once",
        sent.len()
    );
    ensure!(
        look(&world, "committed")?.iter().sum::<u64>() == sent.len() as u64,
        "rows are missing at the end"
    );
    ensure!(looks > 0 && outside > 0 && replaced > 0, "nothing was seen");
    ensure!(most < 150, "{most} data files at once after {} appends", snapshots - replaced);
    node.verify(TOPIC)?;
    node.stop()
}
