//! Power cuts at every kind of moment, on a disk that forgets what was not synced.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base::clock::ManualClock;
use storage::simulated::SimulatedDisk;
use storage::{Control, Objects, SharedDisk};

use crate::catalog::Deps;
use crate::fixture::{advance, ids, rows, schema, source};
use crate::{CatalogError, CommitError, CommitOutcome, NewTable, Settings, Table, Tables};

/// Power cuts of one run; the whole campaign is run by the workspace's checker.
const CUTS: u64 = 48;
const STEP: i64 = 3;
const APPENDS: i64 = 4;

fn open(disk: &SimulatedDisk) -> Result<Tables, CatalogError> {
    let shared: SharedDisk = Arc::new(disk.clone());
    let failed = |source| storage::ControlError::Open { path: "/d".into(), source };
    shared.create_dir_all(Path::new("/d/warehouse")).map_err(failed)?;
    let control = Control::open(&shared, Path::new("/d/control.redb"))?;
    let objects = Objects::local(shared, "/d/warehouse".into());
    let settings = Settings { commit_attempts: 2, manifests_to_merge: 3, ..Settings::default() };
    Tables::open(settings, Deps { objects, control, clock: Arc::new(ManualClock::at(1)) })
}

async fn append(tables: &Tables, table: &Table, from: i64) -> Result<CommitOutcome, CommitError> {
    let failed = |e: crate::WriteError| CommitError::Invalid(format!("{e:?}"));
    let mut writer = tables.writer(table).map_err(failed)?;
    writer.write(&rows(from, from + STEP)).await.map_err(failed)?;
    let staged = writer.finish().await.map_err(failed)?;
    tables.append(&table.ident, staged, vec![advance(0, from, from + STEP)], BTreeMap::new()).await
}

/// A disk with a catalog that has been opened: making the control store itself is tested in `storage`.
fn empty_catalog() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    drop(open(&disk).expect("open"));
    disk
}

/// What was acknowledged before the power went: whether there is a table, and up to where it is committed.
async fn work(disk: &SimulatedDisk) -> (bool, i64) {
    let Ok(tables) = open(disk) else { return (false, 0) };
    let new = NewTable { schema: schema(), partition_by: "()".into(), properties: BTreeMap::new() };
    let Ok(table) = tables.create(&tables.ident("t"), new).await else { return (false, 0) };
    for i in 0..APPENDS {
        if append(&tables, &table, i * STEP).await.is_err() {
            return (true, i * STEP);
        }
    }
    (true, APPENDS * STEP)
}

async fn check(disk: &SimulatedDisk, created: bool, acked: i64, name: &str) {
    let tables = open(disk).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let table = match tables.load(&tables.ident("t")).await {
        Ok(table) => table,
        Err(CatalogError::NoSuchTable(_)) if !created => return,
        Err(e) => panic!("{name}: {e:?}"),
    };
    let progress = table.progress().unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let next = progress.get(&source(0)).map_or(0, |at| at.position.next);
    assert!(next == acked || next == acked + STEP, "{name}: acknowledged {acked}, found {next}");
    for snapshot in table.snapshots() {
        let found = ids(&tables, &table, Some(snapshot.id)).await;
        assert_eq!(found, (0..snapshot.sequence * STEP).collect::<Vec<_>>(), "{name}");
    }
    // The commit whose reply was lost is tried again, and the work goes on.
    let again = append(&tables, &table, acked).await;
    let expected_done = next > acked;
    match again {
        Ok(CommitOutcome::AlreadyDone { .. }) => assert!(expected_done, "{name}"),
        Ok(CommitOutcome::Committed { .. }) => assert!(!expected_done, "{name}"),
        Err(e) => panic!("{name}: {e:?}"),
    }
    append(&tables, &table, acked + STEP).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let table = tables.load(&table.ident).await.expect("load");
    assert_eq!(ids(&tables, &table, None).await, (0..acked + 2 * STEP).collect::<Vec<_>>(), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_power_cuts() {
    let whole = empty_catalog();
    let start = whole.operations();
    assert_eq!(work(&whole).await, (true, APPENDS * STEP));
    let operations = whole.operations() - start;
    assert!(operations > CUTS, "{operations} operations");
    for cut in 0..CUTS {
        let at = cut * operations / CUTS;
        let disk = empty_catalog();
        disk.cut_power_after(at);
        let (created, acked) = work(&disk).await;
        check(&disk.after_power_cut(cut), created, acked, &format!("power cut after {at} operations")).await;
    }
}
