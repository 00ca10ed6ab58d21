//! Commits of many guests at once, with a node that is killed: a table is one register that only compare-and-set moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::process::http;
use testkit::random::Random;

use crate::world::{World, long};

const CLIENTS: usize = 32;

/// An Avro file of manifest lists without a manifest: header with schema and codec, sync marker, no block.
fn empty_manifest_list() -> Vec<u8> {
    let schema = r#"{"type":"record","name":"manifest_file","fields":[{"name":"manifest_path","type":"string","field-id":500}]}"#;
    let mut bytes = b"Obj\x01\x04\x16avro.schema".to_vec();
    // Lengths are zigzag varints; this one has two bytes.
    let length = (schema.len() * 2) as u16;
    bytes.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    bytes.extend(schema.as_bytes());
    bytes.extend(b"\x14avro.codec\x08null\x00");
    bytes.extend([7; 16]);
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Made,
    Refused,
    Unknown,
}

/// One attempt to move a table from a snapshot to a new one.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    table: usize,
    expected: Option<i64>,
    new: i64,
    outcome: Outcome,
}

struct Run {
    port: u16,
    tables: usize,
    attempts: usize,
    begun: AtomicUsize,
    down: AtomicBool,
    history: Mutex<Vec<Attempt>>,
}

fn path(table: usize) -> String {
    format!("/v1/namespaces/public/tables/register{table}")
}

fn load(port: u16, table: usize, snapshots: &str) -> Result<Value> {
    let (status, body) = http(port, "GET", &format!("{}?snapshots={snapshots}", path(table)), "")?;
    ensure!(status == 200, "{status} {body}");
    Ok(serde_json::from_str(&body)?)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl Run {
    fn client(&self, number: usize) -> Result<()> {
        let mut random = Random(number as u64 + 1);
        let mut seen = BTreeMap::new();
        loop {
            let at = self.begun.fetch_add(1, Ordering::SeqCst);
            if at >= self.attempts {
                return Ok(());
            }
            let table = random.below(self.tables as u64) as usize;
            let loaded = loop {
                match load(self.port, table, "refs") {
                    Ok(loaded) => break loaded,
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            };
            let metadata = &loaded["metadata"];
            let sequence = metadata["last-sequence-number"].as_i64().context("sequence")?;
            let before = seen.insert(table, sequence).unwrap_or(0);
            ensure!(sequence >= before, "table {table} went back from {before} to {sequence}");
            let expected = metadata["current-snapshot-id"].as_i64().filter(|id| *id >= 0);
            let new = 1 + at as i64;
            let outcome = self.attempt(table, metadata, expected, sequence + 1, new)?;
            let mut history = self.history.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
            history.push(Attempt { table, expected, new, outcome });
        }
    }

    fn attempt(
        &self,
        table: usize,
        metadata: &Value,
        expected: Option<i64>,
        sequence: i64,
        new: i64,
    ) -> Result<Outcome> {
        let location = metadata["location"].as_str().context("location")?;
        let mut snapshot = json!({"snapshot-id": new, "sequence-number": sequence, "timestamp-ms": now_ms(),
            "manifest-list": format!("{location}/metadata/empty.avro"), "schema-id": 0,
            "summary": {"operation": "append"}});
        if let Some(parent) = expected {
            snapshot["parent-snapshot-id"] = parent.into();
        }
        let body = json!({
            "requirements": [{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": expected}],
            "updates": [{"action": "add-snapshot", "snapshot": snapshot},
                {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": new}]});
        match http(self.port, "POST", &path(table), &body.to_string()) {
            Ok((200, _)) => Ok(Outcome::Made),
            Ok((409, answer)) => {
                ensure!(answer.contains("CommitFailedException"), "{answer}");
                Ok(Outcome::Refused)
            }
            // Only a node that is being killed may leave its clients without a word.
            Err(_) if self.down.load(Ordering::SeqCst) => Ok(Outcome::Unknown),
            other => anyhow::bail!("a commit was answered {other:?}"),
        }
    }
}

/// The chain of one table holds what was acknowledged, nothing that was refused, and nothing that nobody asked for.
fn check(port: u16, table: usize, attempts: &[Attempt]) -> Result<usize> {
    let loaded = load(port, table, "all")?;
    let metadata = &loaded["metadata"];
    let parents: BTreeMap<i64, Option<i64>> = metadata["snapshots"]
        .as_array()
        .context("snapshots")?
        .iter()
        .filter_map(|s| Some((s["snapshot-id"].as_i64()?, s["parent-snapshot-id"].as_i64())))
        .collect();
    let mut chain = BTreeMap::new();
    let mut at = metadata["current-snapshot-id"].as_i64();
    while let Some(id) = at.filter(|id| *id >= 0) {
        let parent = *parents.get(&id).with_context(|| format!("snapshot {id} is not there"))?;
        ensure!(chain.insert(id, parent).is_none(), "the chain is a ring at {id}");
        at = parent;
    }
    ensure!(chain.len() == parents.len(), "table {table} has snapshots beside its chain: a fork");
    let by_id: BTreeMap<i64, &Attempt> = attempts.iter().map(|a| (a.new, a)).collect();
    let mut unasked: BTreeSet<i64> = chain.keys().copied().collect();
    for (id, attempt) in &by_id {
        unasked.remove(id);
        match (attempt.outcome, chain.get(id)) {
            (Outcome::Made, Some(parent)) | (Outcome::Unknown, Some(parent)) => {
                ensure!(*parent == attempt.expected, "{attempt:?} has the parent {parent:?}");
            }
            (Outcome::Made, None) => anyhow::bail!("lost: {attempt:?}"),
            (Outcome::Refused, Some(_)) => anyhow::bail!("refused and made: {attempt:?}"),
            (Outcome::Refused | Outcome::Unknown, None) => {}
        }
    }
    ensure!(unasked.is_empty(), "table {table}: nobody asked for {unasked:?}");
    let name = loaded["metadata-location"].as_str().and_then(|l| l.rsplit('/').next()).context("location")?;
    let version: usize = name.split('-').next().unwrap_or_default().parse()?;
    ensure!(version == chain.len(), "table {table}: version {version} after {} commits", chain.len());
    Ok(chain.len())
}

#[test]
fn tables_are_registers_under_many_guests_and_kills() -> Result<()> {
    let (attempts, tables, kills) = if long() { (20_000, 64, 40) } else { (1_000, 4, 4) };
    let world = World::new("catalog-commits")?;
    let mut node = Some(world.start()?);
    let port = world.ports.catalog();
    for table in 0..tables {
        let body = json!({"name": format!("register{table}"), "schema": {"type": "struct", "schema-id": 0,
            "fields": [{"id": 1, "name": "id", "required": true, "type": "long"}]}});
        let (status, made) = http(port, "POST", "/v1/namespaces/public/tables", &body.to_string())?;
        ensure!(status == 200, "{status} {made}");
        let made: Value = serde_json::from_str(&made)?;
        let location = made["metadata"]["location"].as_str().and_then(|l| l.strip_prefix("file://"));
        std::fs::write(
            format!("{}/metadata/empty.avro", location.context("location")?),
            empty_manifest_list(),
        )?;
    }
    let run = Run {
        port,
        tables,
        attempts,
        begun: AtomicUsize::new(0),
        down: AtomicBool::new(false),
        history: Mutex::default(),
    };
    let outcomes: Vec<Result<()>> = std::thread::scope(|scope| -> Result<_> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                scope.spawn({
                    let run = &run;
                    move || run.client(n)
                })
            })
            .collect();
        let mut random = Random(99);
        for kill in 1..=kills {
            let at = attempts * kill / (kills + 1);
            while run.begun.load(Ordering::SeqCst) < at && clients.iter().any(|c| !c.is_finished()) {
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_millis(random.below(20)));
            run.down.store(true, Ordering::SeqCst);
            node.take().context("the node")?.kill()?;
            node = Some(world.start()?);
            // Whoever asked the old one has noticed by now, or will when it asks the new one.
            std::thread::sleep(Duration::from_millis(200));
            run.down.store(false, Ordering::SeqCst);
        }
        let join = |client: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))
        };
        Ok(clients.into_iter().map(join).collect())
    })?;
    outcomes.into_iter().collect::<Result<()>>()?;
    let history = run.history.into_inner().map_err(|_| anyhow::anyhow!("poisoned"))?;
    let count = |outcome| history.iter().filter(|a| a.outcome == outcome).count();
    let mut made = 0;
    for table in 0..tables {
        let own: Vec<Attempt> = history.iter().filter(|a| a.table == table).copied().collect();
        made += check(port, table, &own)?;
    }
    let (ok, refused, unknown) = (count(Outcome::Made), count(Outcome::Refused), count(Outcome::Unknown));
    eprintln!("{made} commits: {ok} acknowledged, {refused} refused, {unknown} unknown, {kills} kills");
    ensure!(ok > 0 && refused > 0 && made >= ok, "nothing was tried");
    node.take().context("the node")?.stop()
}
