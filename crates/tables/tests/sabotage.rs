//! The switches that turn guarantees off: alone in their process, for they are global.
#![cfg(feature = "sabotage")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use base::clock::ManualClock;
use storage::{Control, Objects, RealDisk, SharedDisk};
use tables::commit::decide::{Decision, Proposal, decide};
use tables::commit::facts::{Carrier, Facts};
use tables::maintenance::{Compact, Expire};
use tables::progress::Carried;
use tables::{
    Advance, Fates, NewTable, Position, Progress, Recorded, Settings, SourceId, TableIdent, Tables, sabotage,
};
use uuid::Uuid;

#[test]
fn without_the_fence_a_range_is_committed_twice() {
    let source = SourceId { log: Uuid::nil(), topic: Uuid::nil(), partition: 0 };
    let to = Position { next: 20, hash: 5 };
    let carried = Carried { sequence: 1, progress: Progress::from([(source, Recorded::from_here(to))]) };
    let facts = Facts { carrier: Some(Carrier { snapshot_id: 1, carried }), ..Facts::default() };
    let proposal =
        Proposal { base: None, advances: &[Advance { source, from: 10, to, fates: Fates::default() }] };
    assert_eq!(decide(&facts, &proposal), Decision::AlreadyDone);
    sabotage::RANGE_FENCE_OFF.store(true, Ordering::Relaxed);
    assert_eq!(decide(&facts, &proposal), Decision::Commit);
}

/// A table with four files of ten rows, in a directory that goes with the guard.
struct Place(std::path::PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn four_files() -> (Place, Tables, TableIdent, Arc<ManualClock>) {
    let place = Place(std::env::temp_dir().join(format!("frazil-sabotage-{}", Uuid::new_v4())));
    std::fs::create_dir_all(place.0.join("warehouse")).expect("directory");
    let disk: SharedDisk = Arc::new(RealDisk);
    let control = Control::open(&disk, &place.0.join("control.redb")).expect("control");
    let objects = Objects::local(disk, place.0.join("warehouse"));
    let clock = Arc::new(ManualClock::at(1_000));
    let deps = tables::catalog::Deps { objects, control, clock: Arc::<ManualClock>::clone(&clock) };
    let tables = Tables::open(Settings::default(), deps).expect("tables");
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let ident = tables.ident("t");
    let new =
        NewTable { schema: Arc::clone(&schema), partition_by: "()".into(), properties: BTreeMap::new() };
    let table = tables.create(&ident, new).await.expect("create");
    for i in 0..4 {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(i * 10..i * 10 + 10));
        let mut writer = tables.writer(&table).expect("writer");
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), vec![ids]).expect("batch"))
            .await
            .expect("write");
        let staged = writer.finish().await.expect("finish");
        tables.append(&ident, staged, vec![], BTreeMap::new()).await.expect("append");
        clock.advance(60_000);
    }
    (place, tables, ident, clock)
}

async fn rows(tables: &Tables, ident: &TableIdent) -> Result<u64, String> {
    let table = tables.load(ident).await.map_err(|e| e.to_string())?;
    let scan = tables.scan(&table, None).await.map_err(|e| e.to_string())?;
    for file in &scan.files {
        tables.objects().get(&file.location).await.map_err(|e| e.to_string())?;
    }
    Ok(scan.files.iter().map(|f| f.rows).sum())
}

#[tokio::test]
async fn without_the_second_look_two_compactions_double_the_rows() {
    let all = Compact { all: true, ..Compact::default() };
    for (off, expected) in [(false, 40), (true, 80)] {
        let (_place, tables, ident, _) = four_files().await;
        sabotage::REVALIDATION_OFF.store(off, Ordering::Relaxed);
        let (first, second) = tokio::join!(tables.compact(&ident, &all), tables.compact(&ident, &all));
        sabotage::REVALIDATION_OFF.store(false, Ordering::Relaxed);
        first.expect("first");
        second.expect("second");
        assert_eq!(rows(&tables, &ident).await, Ok(expected));
    }
}

#[tokio::test]
async fn without_a_look_at_the_survivors_expiry_deletes_what_they_have() {
    for off in [false, true] {
        let (_place, tables, ident, clock) = four_files().await;
        sabotage::SURVIVORS_FORGOTTEN.store(off, Ordering::Relaxed);
        let one = Expire { older_than_ms: Some(i64::MAX), retain_last: Some(1), dry_run: false };
        tables.expire_snapshots(&ident, &one).await.expect("expire");
        clock.advance(3_600_000);
        tables.delete_doomed(&ident).await.expect("delete");
        sabotage::SURVIVORS_FORGOTTEN.store(false, Ordering::Relaxed);
        let read = rows(&tables, &ident).await;
        assert_eq!(read.is_err(), off, "{read:?}");
    }
}
