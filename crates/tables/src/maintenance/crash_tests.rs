//! Power cuts while tables are kept in shape.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base::clock::ManualClock;
use storage::simulated::SimulatedDisk;
use storage::{Control, Objects, SharedDisk};

use super::{HOUR, MINUTE};
use crate::catalog::Deps;
use crate::fixture::{advance, ids, rows, schema, source};
use crate::maintenance::{Compact, Expire, Orphans};
use crate::{NewTable, Settings, Tables};

/// Power cuts of one run.
const CUTS: u64 = 20;
const STEP: i64 = 3;
const APPENDS: i64 = 6;

type Failed = Box<dyn std::error::Error>;

fn open(disk: &SimulatedDisk, clock: &Arc<ManualClock>) -> Result<Tables, Failed> {
    let shared: SharedDisk = Arc::new(disk.clone());
    shared.create_dir_all(Path::new("/d/warehouse"))?;
    let control = Control::open(&shared, Path::new("/d/control.redb"))?;
    let objects = Objects::local(shared, "/d/warehouse".into());
    let settings = Settings { commit_attempts: 2, manifests_to_merge: 3, ..Settings::default() };
    let clock = Arc::<ManualClock>::clone(clock);
    Ok(Tables::open(settings, Deps { objects, control, clock })?)
}

/// Appends, compacts, expires and deletes; returns how far it was acknowledged before the power went.
async fn work(disk: &SimulatedDisk, clock: &Arc<ManualClock>, acked: &mut i64) -> Result<(), Failed> {
    let tables = open(disk, clock)?;
    let ident = tables.ident("t");
    let new = NewTable { schema: schema(), partition_by: "(symbol)".into(), properties: BTreeMap::new() };
    let table = tables.create(&ident, new).await?;
    for i in 0..APPENDS {
        let from = i * STEP;
        let mut writer = tables.writer(&table)?;
        writer.write(&rows(from, from + STEP)).await?;
        let staged = writer.finish().await?;
        tables.append(&ident, staged, vec![advance(0, from, from + STEP)], BTreeMap::new()).await?;
        *acked = from + STEP;
        clock.advance(MINUTE);
        if i % 3 == 2 {
            tables.compact(&ident, &Compact { all: true, ..Compact::default() }).await?;
            tables.rewrite_manifests(&ident, true).await?;
            let one = Expire { older_than_ms: Some(i64::MAX), retain_last: Some(2), dry_run: false };
            tables.expire_snapshots(&ident, &one).await?;
            clock.advance(HOUR);
            tables.delete_doomed(&ident).await?;
        }
    }
    Ok(())
}

async fn check(disk: &SimulatedDisk, clock: &Arc<ManualClock>, acked: i64, name: &str) -> Result<(), Failed> {
    let tables = open(disk, clock)?;
    let ident = tables.ident("t");
    let Ok(table) = tables.load(&ident).await else {
        assert_eq!(acked, 0, "{name}");
        return Ok(());
    };
    let next = table.progress()?.get(&source(0)).map_or(0, |at| at.position.next);
    assert!(next == acked || next == acked + STEP, "{name}: acknowledged {acked}, found {next}");
    for snapshot in table.snapshots() {
        let total: i64 = snapshot.summary["total-records"].parse()?;
        let found = ids(&tables, &table, Some(snapshot.id)).await;
        assert_eq!(found, (0..total).collect::<Vec<_>>(), "{name}: snapshot {}", snapshot.sequence);
    }
    // What is left over is found, and nothing else.
    for _ in 0..2 {
        tables.remove_orphans(&ident, &Orphans::default()).await?;
        clock.advance(HOUR);
    }
    let found = tables.remove_orphans(&ident, &Orphans::default()).await?;
    assert!(found.removed.is_empty() && found.waiting.is_empty(), "{name}: {found:?}");
    tables.compact(&ident, &Compact { all: true, ..Compact::default() }).await?;
    let table = tables.load(&ident).await?;
    assert_eq!(ids(&tables, &table, None).await, (0..next).collect::<Vec<_>>(), "{name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_leaves_orphans_at_worst() {
    let clock = Arc::new(ManualClock::at(1_000));
    let whole = SimulatedDisk::new();
    drop(open(&whole, &clock).expect("open"));
    let start = whole.operations();
    let mut acked = 0;
    work(&whole, &clock, &mut acked).await.expect("without a cut");
    let operations = whole.operations() - start;
    for cut in 0..CUTS {
        let at = cut * operations / CUTS;
        let clock = Arc::new(ManualClock::at(1_000));
        let disk = SimulatedDisk::new();
        drop(open(&disk, &clock).expect("open"));
        disk.cut_power_after(at);
        let mut acked = 0;
        let _ = work(&disk, &clock, &mut acked).await;
        let name = format!("power cut after {at} of {operations} operations");
        let checked = check(&disk.after_power_cut(cut), &clock, acked, &name).await;
        checked.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}
