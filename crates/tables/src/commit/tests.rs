use std::collections::{BTreeMap, HashMap};

use base::{ErrorKind, Fault};
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use iceberg::{TableRequirement, TableUpdate};

use super::*;
use crate::failpoints::{Mishap::Unavailable, Step};
use crate::fixture::{Fixture, advance, at, rows, schema, source};
use crate::progress::{Advance, PROGRESS_KEY, Position, Recorded};
use crate::{Settings, TableIdent, Tables};

type Outcome = Result<CommitOutcome, CommitError>;

async fn append(f: &Fixture, ident: &TableIdent, from: i64, to: i64) -> Outcome {
    append_for(f, ident, advance(0, from, to)).await
}

async fn append_for(f: &Fixture, ident: &TableIdent, advance: Advance) -> Outcome {
    let table = f.tables.load(ident).await?;
    let staged = f.stage(&table, &rows(advance.from, advance.to.next)).await;
    f.tables.append(ident, staged, vec![advance], BTreeMap::new()).await
}

fn is_committed(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(CommitOutcome::Committed { .. }))
}

async fn new_table(f: &Fixture) -> TableIdent {
    f.create("trades", schema(), "()").await.ident
}

async fn set_main(tables: &Tables, ident: &TableIdent, snapshot_id: i64) {
    let reference = SnapshotReference::new(snapshot_id, SnapshotRetention::branch(None, None, None));
    let update = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference };
    tables.commit(ident, vec![], vec![update]).await.expect("set main");
}

/// An append as another engine makes it: no word about progress.
async fn foreign_append(f: &Fixture, ident: &TableIdent, from: i64, to: i64) {
    let table = f.tables.load(ident).await.expect("load");
    let staged = f.stage(&table, &rows(from, to)).await;
    let outcome = f.tables.append(ident, staged, vec![], BTreeMap::new()).await;
    assert!(is_committed(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn rows_and_progress_appear_together() {
    let mut f = Fixture::new();
    let ident = new_table(&f).await;
    let before = f.tables.load(&ident).await.expect("load");
    assert!(!before.has_carrier().expect("facts"));
    assert!(is_committed(&append(&f, &ident, 0, 10).await));
    let summary = BTreeMap::from([("frazil.dropped".to_owned(), "2".to_owned())]);
    let nothing = crate::StagedFiles::default();
    let outcome = f.tables.append(&ident, nothing, vec![advance(0, 10, 12)], summary).await;
    assert!(is_committed(&outcome), "{outcome:?}");
    f.reopen();
    let table = f.tables.load(&ident).await.expect("load");
    let recorded = table.progress().expect("progress")[&source(0)];
    assert_eq!(recorded.position, at(12));
    assert!(recorded.adds_up() && recorded.account.first == 0, "{recorded:?}");
    assert!(table.has_carrier().expect("facts"));
    assert_eq!(table.total_records(), 10);
    assert_eq!(f.ids(&ident).await, (0..10).collect::<Vec<_>>());
    let snapshots = table.snapshots();
    assert_eq!(snapshots.iter().map(|s| s.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(snapshots[1].parent, Some(snapshots[0].id));
    assert_eq!(snapshots[1].summary["frazil.dropped"], "2");
    assert_eq!(snapshots[0].summary["added-records"], "10");
    assert!(is_committed(&append(&f, &ident, 12, 15).await));
}

#[tokio::test]
async fn the_same_range_is_committed_once() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    assert!(is_committed(&append(&f, &ident, 0, 10).await));
    assert!(matches!(append(&f, &ident, 0, 10).await, Ok(CommitOutcome::AlreadyDone { .. })));
    assert!(matches!(append(&f, &ident, 5, 12).await, Err(CommitError::Fenced { recorded: 10, .. })));
    assert!(matches!(append(&f, &ident, 11, 12).await, Err(CommitError::Gap { recorded: 10, .. })));
    assert_eq!(f.ids(&ident).await, (0..10).collect::<Vec<_>>());
    let other_log = Advance { to: Position { next: 10, hash: 1 }, ..advance(0, 0, 10) };
    assert!(matches!(append_for(&f, &ident, other_log).await, Err(CommitError::Diverged { .. })));
}

#[tokio::test]
async fn a_lost_reply_is_looked_up() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    f.tables.faults().add(Step::AfterPointer, Unavailable);
    let outcome = append(&f, &ident, 0, 10).await;
    assert!(is_committed(&outcome), "our commit id is on the chain: {outcome:?}");
    f.tables.faults().add(Step::BeforePointer, Unavailable);
    f.tables.faults().add(Step::BeforePointer, Unavailable);
    assert!(is_committed(&append(&f, &ident, 10, 20).await), "not made: made again");
    f.tables.faults().add(Step::AfterPointer, Unavailable);
    f.tables.faults().add(Step::BeforePointer, Unavailable);
    assert!(is_committed(&append(&f, &ident, 20, 30).await));
    assert_eq!(f.ids(&ident).await, (0..30).collect::<Vec<_>>());
    assert_eq!(f.tables.load(&ident).await.expect("load").snapshots().len(), 3);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_said_so_and_loses_nothing() {
    let f = Fixture::with(Settings { commit_attempts: 2, ..Settings::default() });
    let ident = new_table(&f).await;
    f.tables.faults().add(Step::BeforePointer, Unavailable);
    f.tables.faults().add(Step::BeforePointer, Unavailable);
    let outcome = append(&f, &ident, 0, 10).await;
    let Err(e @ CommitError::Unknown { .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(e.kind(), ErrorKind::Unavailable);
    assert!(is_committed(&append(&f, &ident, 0, 10).await));
    assert_eq!(f.ids(&ident).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_of_one_range_one_wins() {
    let f = std::sync::Arc::new(Fixture::new());
    let ident = new_table(&f).await;
    for round in 0..3 {
        let (from, to) = (round * 10, round * 10 + 10);
        let racing: Vec<_> = (0..6)
            .map(|_| {
                let (f, ident) = (f.clone(), ident.clone());
                tokio::spawn(async move { append(&f, &ident, from, to).await })
            })
            .collect();
        let mut committed = 0;
        for task in racing {
            let outcome = task.await.expect("task");
            assert!(outcome.is_ok(), "{outcome:?}");
            committed += usize::from(is_committed(&outcome));
        }
        assert_eq!(committed, 1);
    }
    assert_eq!(f.ids(&ident).await, (0..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_different_sources_all_get_through() {
    let f = std::sync::Arc::new(Fixture::new());
    let ident = new_table(&f).await;
    let racing: Vec<_> = (0..6)
        .map(|partition| {
            let (f, ident) = (f.clone(), ident.clone());
            let from = i64::from(partition) * 10;
            tokio::spawn(async move { append_for(&f, &ident, advance(partition, from, from + 10)).await })
        })
        .collect();
    for task in racing {
        assert!(is_committed(&task.await.expect("task")));
    }
    assert_eq!(f.ids(&ident).await, (0..60).collect::<Vec<_>>());
    let progress = f.tables.load(&ident).await.expect("load").progress().expect("progress");
    assert_eq!(progress.len(), 6);
}

#[tokio::test]
async fn a_foreign_append_in_between_is_kept() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    assert!(is_committed(&append(&f, &ident, 0, 10).await));
    let table = f.tables.load(&ident).await.expect("load");
    let staged = f.stage(&table, &rows(10, 20)).await;
    foreign_append(&f, &ident, 100, 103).await;
    let progress = f.tables.load(&ident).await.expect("load").progress().expect("progress");
    assert_eq!(progress[&source(0)].position.next, 10, "the carrier is found behind the foreign snapshot");
    let outcome = f.tables.append(&ident, staged, vec![advance(0, 10, 20)], BTreeMap::new()).await;
    assert!(is_committed(&outcome), "{outcome:?}");
    foreign_append(&f, &ident, 103, 105).await;
    assert!(matches!(append(&f, &ident, 10, 20).await, Ok(CommitOutcome::AlreadyDone { .. })));
    let expected: Vec<i64> = (0..20).chain(100..105).collect();
    assert_eq!(f.ids(&ident).await, expected);
    assert_eq!(f.tables.load(&ident).await.expect("load").total_records(), 25);
}

#[tokio::test]
async fn a_table_moved_back_stops_until_it_is_resumed() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    for i in 0..3 {
        assert!(is_committed(&append(&f, &ident, i * 10, i * 10 + 10).await));
    }
    let first = f.tables.load(&ident).await.expect("load").snapshots()[0].id;
    set_main(&f.tables, &ident, first).await;
    let table = f.tables.load(&ident).await.expect("load");
    assert!(matches!(table.progress(), Err(CommitError::RolledBack { .. })));
    let refused = append(&f, &ident, 30, 40).await.expect_err("rolled back");
    let text = refused.to_string();
    assert!(text.contains("table resume public.trades") && text.contains("sequence 3"), "{text}");
    assert_eq!(f.ids(&ident).await, (0..10).collect::<Vec<_>>(), "it serves what is committed");
    // A foreign append does not make it any better.
    let staged = f.stage(&table, &rows(100, 101)).await;
    let foreign = f.tables.append(&ident, staged, vec![], BTreeMap::new()).await;
    assert!(matches!(foreign, Err(CommitError::RolledBack { .. })), "{foreign:?}");
    // `--replay`: from where the chain stands.
    let accepted = Progress::from([(source(0), Recorded::from_here(at(10)))]);
    let table = f.tables.accept_progress(&ident, accepted.clone()).await.expect("accept");
    assert_eq!(table.progress().expect("progress"), accepted);
    assert!(is_committed(&append(&f, &ident, 10, 20).await));
    assert_eq!(f.ids(&ident).await, (0..20).collect::<Vec<_>>());
    // Forward again to a snapshot from before: that is going back, too.
    let third = f.tables.load(&ident).await.expect("load").snapshots()[2].id;
    set_main(&f.tables, &ident, third).await;
    assert!(matches!(append(&f, &ident, 30, 40).await, Err(CommitError::RolledBack { .. })));
}

#[tokio::test]
async fn main_removed_is_moved_back() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    assert!(is_committed(&append(&f, &ident, 0, 10).await));
    let update = TableUpdate::RemoveSnapshotRef { ref_name: MAIN_BRANCH.into() };
    f.tables.commit(&ident, vec![], vec![update]).await.expect("remove main");
    assert!(matches!(append(&f, &ident, 10, 20).await, Err(CommitError::RolledBack { .. })));
}

#[tokio::test]
async fn an_expired_chain_leaves_the_property() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    assert!(is_committed(&append(&f, &ident, 0, 10).await));
    foreign_append(&f, &ident, 100, 101).await;
    foreign_append(&f, &ident, 101, 102).await;
    let snapshots = f.tables.load(&ident).await.expect("load").snapshots();
    let expire = TableUpdate::RemoveSnapshots { snapshot_ids: vec![snapshots[0].id, snapshots[1].id] };
    f.tables.commit(&ident, vec![], vec![expire]).await.expect("expire");
    let table = f.tables.load(&ident).await.expect("load");
    assert_eq!(table.progress().expect("progress")[&source(0)].position.next, 10);
    assert!(is_committed(&append(&f, &ident, 10, 20).await));
    // Without the property nobody could know: a range that was committed would be committed again. So the table must
    // not be taken for rolled back, nor the range for new, while it is there.
    assert!(matches!(append(&f, &ident, 0, 10).await, Ok(CommitOutcome::AlreadyDone { .. })));
}

#[tokio::test]
async fn progress_that_does_not_parse_stops_the_commit() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    let updates = HashMap::from([(PROGRESS_KEY.to_owned(), r#"{"v":9}"#.to_owned())]);
    f.tables.commit(&ident, vec![], vec![TableUpdate::SetProperties { updates }]).await.expect("set");
    let error = append(&f, &ident, 0, 10).await.expect_err("newer form");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("the frazil that wrote it"), "{error}");
}

#[tokio::test]
async fn small_manifests_are_merged_and_nothing_is_lost() {
    let f = Fixture::with(Settings { manifests_to_merge: 4, ..Settings::default() });
    let ident = f.create("parted", schema(), "(symbol)").await.ident;
    for i in 0..15 {
        assert!(is_committed(&append(&f, &ident, i * 5, i * 5 + 5).await));
        let table = f.tables.load(&ident).await.expect("load");
        let head = table.metadata.current_snapshot().expect("head");
        let version = table.metadata.format_version();
        let list = crate::manifests::list(f.tables.objects(), head, version).await.expect("list");
        assert!(list.len() <= 5, "{} manifests", list.len());
        for manifest in &list {
            let size = f.tables.objects().size(&manifest.manifest_path).await.expect("size");
            assert_eq!(size, Some(manifest.manifest_length as u64));
        }
    }
    assert_eq!(f.ids(&ident).await, (0..75).collect::<Vec<_>>());
    let table = f.tables.load(&ident).await.expect("load");
    assert_eq!(table.total_records(), 75);
    // Every earlier snapshot reads the same as on its day.
    for snapshot in table.snapshots() {
        let scan = f.tables.scan(&table, Some(snapshot.id)).await.expect("scan");
        let rows: u64 = scan.files.iter().map(|file| file.rows).sum();
        assert_eq!(rows, snapshot.sequence as u64 * 5);
    }
    // Each file keeps the snapshot and the sequence number it came with.
    let head = table.metadata.current_snapshot().expect("head");
    let list = crate::manifests::list(f.tables.objects(), head, table.metadata.format_version()).await;
    let mut sequences = std::collections::BTreeSet::new();
    for manifest in list.expect("list") {
        for entry in crate::manifests::entries(f.tables.objects(), &manifest).await.expect("entries") {
            let by_id = table.metadata.snapshot_by_id(entry.snapshot_id).expect("snapshot");
            assert_eq!(
                (entry.sequence, entry.file_sequence),
                (by_id.sequence_number(), by_id.sequence_number())
            );
            sequences.insert(entry.sequence);
        }
    }
    assert_eq!(sequences, (1..=15).collect());
}

#[tokio::test]
async fn nonsense_advances_are_refused() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    for advances in
        [vec![advance(0, 10, 5)], vec![advance(0, -1, 5)], vec![advance(0, 0, 5), advance(0, 5, 9)]]
    {
        let outcome = f.tables.append(&ident, crate::StagedFiles::default(), advances, BTreeMap::new()).await;
        assert!(matches!(outcome, Err(CommitError::Invalid(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn files_of_a_dropped_table_do_not_enter_its_successor() {
    let f = Fixture::new();
    let ident = new_table(&f).await;
    let old = f.tables.load(&ident).await.expect("load");
    let staged = f.stage(&old, &rows(0, 5)).await;
    f.tables.drop(&ident, false).await.expect("drop");
    new_table(&f).await;
    let outcome = f.tables.append(&ident, staged, vec![advance(0, 0, 5)], BTreeMap::new()).await;
    assert!(matches!(outcome, Err(CommitError::Invalid(_))), "{outcome:?}");
    let uuid = TableRequirement::UuidMatch { uuid: old.uuid() };
    let refused = f.tables.commit(&ident, vec![uuid], vec![]).await;
    assert!(matches!(refused, Err(CommitError::RequirementFailed(_))), "{refused:?}");
}

#[tokio::test]
async fn columns_evolve_through_the_catalog() {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    let f = Fixture::new();
    let ident = new_table(&f).await;
    assert!(is_committed(&append(&f, &ident, 0, 3).await));
    let wider = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("symbol", DataType::Utf8, true),
        Field::new("note", DataType::Utf8, true),
    ]));
    let table = f.tables.evolve(&ident, &wider).await.expect("evolve");
    assert_eq!(table.arrow_schema().expect("schema").fields().len(), 3);
    let again = f.tables.evolve(&ident, &wider).await.expect("evolve");
    assert_eq!(again.metadata_location, table.metadata_location, "nothing to change, nothing written");
    assert!(is_committed(&append(&f, &ident, 3, 6).await), "rows of the old shape still fit");
    assert_eq!(f.ids(&ident).await, (0..6).collect::<Vec<_>>());
    let text = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
    let refused = f.tables.evolve(&ident, &text).await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}
