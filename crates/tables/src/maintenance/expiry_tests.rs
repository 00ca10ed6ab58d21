use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::TableUpdate;
use iceberg::spec::StatisticsFile;

use super::compaction_tests::compact;
use super::{HOUR, MINUTE};
use crate::fixture::{Fixture, ids, rows, schema};
use crate::maintenance::{Expire, Limits, NewRef, Orphans, OrphansFound, RefKind, RollbackTo};
use crate::{CommitError, CommitOutcome, Settings, Table, TableIdent};

async fn head(f: &Fixture, ident: &TableIdent) -> Table {
    f.tables.load(ident).await.expect("load")
}

/// Three hours of commits, one a minute, each with ten rows; compacted every half an hour.
async fn three_hours(f: &Fixture, ident: &TableIdent) -> i64 {
    for i in 0..180 {
        f.clock.advance(MINUTE);
        f.append(ident, i * 10, i * 10 + 10).await;
        if i % 30 == 29 {
            compact(f, ident).await;
        }
    }
    1800
}

fn tag(name: &str, snapshot_id: i64, max_age_ms: Option<i64>) -> NewRef {
    NewRef {
        name: name.into(),
        kind: RefKind::Tag,
        snapshot_id: Some(snapshot_id),
        max_age_ms,
        replace: false,
    }
}

/// All snapshots of a table have the rows of their progress.
async fn check_snapshots(f: &Fixture, ident: &TableIdent) {
    let table = head(f, ident).await;
    for snapshot in table.snapshots() {
        let total: i64 = snapshot.summary["total-records"].parse().expect("number");
        let found = ids(&f.tables, &table, Some(snapshot.id)).await;
        assert_eq!(found, (0..total).collect::<Vec<_>>(), "snapshot {}", snapshot.sequence);
    }
}

#[tokio::test]
async fn metadata_goes_first_and_files_later() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    let rows = three_hours(&f, &ident).await;
    let before = head(&f, &ident).await;
    let tagged = before.snapshots()[7].id;
    f.tables.create_ref(&ident, tag("keep", tagged, None)).await.expect("tag");
    f.tables.create_ref(&ident, tag("short", before.snapshots()[8].id, Some(MINUTE))).await.expect("tag");
    let files = f.files(&before).await;

    let dry =
        f.tables.expire_snapshots(&ident, &Expire { dry_run: true, ..Expire::default() }).await.expect("dry");
    assert_eq!(head(&f, &ident).await.snapshots().len(), before.snapshots().len());
    let done = f.tables.expire_snapshots(&ident, &Expire::default()).await.expect("expire");
    assert_eq!(done, dry);
    assert_eq!(done.refs, ["short"]);
    let table = head(&f, &ident).await;
    // 61 of the last hour and 2 of its compactions, 6 per hour before, the tagged one, and stretches at the edges.
    assert!((70..=80).contains(&table.snapshots().len()), "{}", table.snapshots().len());
    assert_eq!(table.snapshots().len(), done.left);
    assert!(table.metadata.snapshot_by_id(tagged).is_some());
    assert_eq!(f.ids(&ident).await, (0..rows).collect::<Vec<_>>());
    assert!(f.tables.load(&ident).await.expect("load").progress().is_ok());
    check_snapshots(&f, &ident).await;

    // A reader that began before is not disturbed for an hour.
    assert_eq!(f.tables.doomed(&ident), done.files);
    assert_eq!(f.tables.delete_doomed(&ident).await.expect("early"), 0);
    for snapshot in before.snapshots() {
        ids(&f.tables, &before, Some(snapshot.id)).await;
    }
    f.clock.advance(HOUR);
    assert_eq!(f.tables.delete_doomed(&ident).await.expect("delete"), done.files);
    assert_eq!(f.tables.doomed(&ident), 0);
    check_snapshots(&f, &ident).await;
    let (now, old): (BTreeSet<_>, BTreeSet<_>) =
        (f.files(&table).await.into_iter().collect(), files.into_iter().collect());
    assert!(now.len() < old.len() - done.files / 2 && done.files > 100, "{done:?}");
    // What is left is what the table refers to: nothing was forgotten.
    let all = Orphans { dry_run: true, older_than_ms: Some(0) };
    let found = f.tables.remove_orphans(&ident, &all).await.expect("orphans");
    assert_eq!(found, OrphansFound::default());
    // The table goes on, exactly once.
    assert!(matches!(f.append(&ident, 1790, 1800).await, CommitOutcome::AlreadyDone { .. }));
    f.append(&ident, 1800, 1810).await;
    assert_eq!(f.ids(&ident).await, (0..1810).collect::<Vec<_>>());
}

#[tokio::test]
async fn icebergs_words_bound_what_is_kept() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    for i in 0..10 {
        f.clock.advance(MINUTE);
        f.append(&ident, i, i + 1).await;
    }
    let set = |key: &str, value: &str| TableUpdate::SetProperties {
        updates: HashMap::from([(key.to_owned(), value.to_owned())]),
    };
    let updates = vec![
        set("history.expire.max-snapshot-age-ms", &(2 * MINUTE).to_string()),
        set("history.expire.min-snapshots-to-keep", "5"),
    ];
    f.tables.commit(&ident, vec![], updates).await.expect("properties");
    f.tables.expire_snapshots(&ident, &Expire::default()).await.expect("expire");
    assert_eq!(head(&f, &ident).await.snapshots().len(), 5);
    let one = Expire { older_than_ms: Some(i64::MAX), retain_last: Some(1), dry_run: false };
    f.tables.expire_snapshots(&ident, &one).await.expect("expire");
    let table = head(&f, &ident).await;
    assert_eq!(table.snapshots().len(), 1);
    assert!(table.progress().expect("progress").values().all(|at| at.position.next == 10));
    assert!(matches!(f.append(&ident, 9, 10).await, CommitOutcome::AlreadyDone { .. }));
}

#[tokio::test]
async fn the_last_progress_stays_behind_commits_of_others() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.clock.advance(MINUTE);
    f.append(&ident, 0, 10).await;
    for i in 10..20 {
        f.clock.advance(HOUR);
        let staged = f.stage(&head(&f, &ident).await, &rows(i, i + 1)).await;
        f.tables.append(&ident, staged, vec![], BTreeMap::new()).await.expect("guest");
    }
    let one = Expire { older_than_ms: Some(i64::MAX), retain_last: Some(1), dry_run: false };
    f.tables.expire_snapshots(&ident, &one).await.expect("expire");
    let table = head(&f, &ident).await;
    assert_eq!(table.snapshots().len(), 2, "the head and the carrier");
    assert!(table.progress().expect("progress").values().all(|at| at.position.next == 10));
    assert!(matches!(f.append(&ident, 5, 10).await, CommitOutcome::AlreadyDone { .. }));
}

#[tokio::test]
async fn statistics_go_with_their_snapshot() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    f.clock.advance(HOUR);
    let table = head(&f, &ident).await;
    let path = format!("{}/metadata/statistics.puffin", table.metadata.location());
    f.tables.objects().put_new(&path, "figures".into()).await.expect("file");
    let statistics = StatisticsFile {
        snapshot_id: table.current_snapshot_id().expect("head"),
        statistics_path: path.clone(),
        file_size_in_bytes: 7,
        file_footer_size_in_bytes: 1,
        key_metadata: None,
        blob_metadata: vec![],
    };
    f.tables.commit(&ident, vec![], vec![TableUpdate::SetStatistics { statistics }]).await.expect("set");
    f.append(&ident, 10, 20).await;
    let one = Expire { older_than_ms: Some(i64::MAX), retain_last: Some(1), dry_run: false };
    let now = Orphans { dry_run: false, older_than_ms: Some(0) };
    f.tables.remove_orphans(&ident, &now).await.expect("first sight");
    f.clock.advance(4 * 24 * HOUR);
    f.tables.remove_orphans(&ident, &now).await.expect("second sight");
    assert!(f.tables.objects().size(&path).await.expect("size").is_some(), "it is referred to");
    f.tables.expire_snapshots(&ident, &one).await.expect("expire");
    assert_eq!(head(&f, &ident).await.metadata.statistics_iter().len(), 0);
    f.clock.advance(HOUR);
    f.tables.delete_doomed(&ident).await.expect("delete");
    assert!(f.tables.objects().size(&path).await.expect("size").is_none());
}

#[tokio::test]
async fn a_snapshot_with_a_name_cannot_be_removed_by_anybody() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    let first = head(&f, &ident).await.current_snapshot_id().expect("head");
    f.append(&ident, 10, 20).await;
    f.tables.create_ref(&ident, tag("first", first, None)).await.expect("tag");
    let remove = TableUpdate::RemoveSnapshots { snapshot_ids: vec![first] };
    let refused = f.tables.commit(&ident, vec![], vec![remove.clone()]).await.expect_err("refused");
    assert!(refused.to_string().contains("`first` refers to it"), "{refused}");
    let drop_tag = TableUpdate::RemoveSnapshotRef { ref_name: "first".into() };
    f.tables.commit(&ident, vec![], vec![drop_tag, remove]).await.expect("both");
    assert_eq!(head(&f, &ident).await.snapshots().len(), 1);
}

#[tokio::test]
async fn orphans_go_when_nobody_can_want_them() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    let table = head(&f, &ident).await;
    let held = f.stage(&table, &rows(10, 20)).await;
    drop(f.stage(&table, &rows(20, 30)).await);
    let foreign = format!("{}/data/00000-guest.parquet", table.metadata.location());
    f.tables.objects().put_new(&foreign, "x".into()).await.expect("put");
    // Files have the machine's time.
    f.clock.advance(base::clock::Clock::now_ms(&base::clock::SystemClock) - 1_000 + MINUTE);

    let look = |dry_run| Orphans { dry_run, older_than_ms: None };
    let found = f.tables.remove_orphans(&ident, &look(true)).await.expect("dry");
    assert_eq!((found.removed.len(), found.waiting.len()), (0, 2), "{found:?}");
    f.clock.advance(HOUR);
    let found = f.tables.remove_orphans(&ident, &look(true)).await.expect("dry");
    assert_eq!((found.removed.len(), found.waiting.as_slice()), (1, [foreign.clone()].as_slice()));
    assert!(f.tables.objects().size(&found.removed[0]).await.expect("size").is_some(), "only said");
    let found = f.tables.remove_orphans(&ident, &look(false)).await.expect("ours");
    assert!(f.tables.objects().size(&found.removed[0]).await.expect("size").is_none());
    assert_eq!(found.removed.len(), 1);
    f.clock.advance(3 * 24 * HOUR);
    let found = f.tables.remove_orphans(&ident, &look(false)).await.expect("others'");
    assert_eq!(found.removed, [foreign]);
    // What was leased all the time can still be committed.
    let advances = vec![crate::fixture::advance(0, 10, 20)];
    f.tables.append(&ident, held, advances, BTreeMap::new()).await.expect("append");
    assert_eq!(f.ids(&ident).await, (0..20).collect::<Vec<_>>());
    f.clock.advance(30 * 24 * HOUR);
    for _ in 0..2 {
        let found = f.tables.remove_orphans(&ident, &look(false)).await.expect("none");
        assert_eq!(found, OrphansFound::default());
        f.clock.advance(HOUR);
    }
}

#[tokio::test]
async fn references_are_made_moved_and_dropped() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    let none = f.tables.create_ref(&ident, NewRef { snapshot_id: None, ..tag("x", 1, None) }).await;
    assert!(none.expect_err("empty").to_string().contains("no snapshot yet"));
    for i in 0..3 {
        f.clock.advance(MINUTE);
        f.append(&ident, i * 10, i * 10 + 10).await;
    }
    let snapshots: Vec<i64> = head(&f, &ident).await.snapshots().iter().map(|s| s.id).collect();
    for (bad, word) in [
        (tag("main", snapshots[0], None), "rollback"),
        (tag("", snapshots[0], None), "1 to 255"),
        (tag("a\nb", snapshots[0], None), "control"),
        (tag("x", 99, None), "may have expired"),
        (tag("x", snapshots[0], Some(0)), "positive"),
    ] {
        let error = f.tables.create_ref(&ident, bad).await.expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    }
    f.tables.create_ref(&ident, tag("v1", snapshots[0], Some(HOUR))).await.expect("tag");
    let again = f.tables.create_ref(&ident, tag("v1", snapshots[1], None)).await;
    assert!(again.expect_err("exists").to_string().contains("has a tag `v1` already"));
    let moved = NewRef { replace: true, ..tag("v1", snapshots[1], None) };
    f.tables.create_ref(&ident, moved).await.expect("moved");
    let branch = NewRef { kind: RefKind::Branch, ..tag("dev", snapshots[2], None) };
    f.tables.create_ref(&ident, branch).await.expect("branch");
    let refs = head(&f, &ident).await.refs().expect("refs");
    let names: Vec<_> = refs.iter().map(|r| (r.name.as_str(), r.kind, r.snapshot_id)).collect();
    assert_eq!(
        names,
        [
            ("dev", RefKind::Branch, snapshots[2]),
            ("main", RefKind::Branch, snapshots[2]),
            ("v1", RefKind::Tag, snapshots[1])
        ]
    );
    assert!(f.tables.drop_ref(&ident, "v1", RefKind::Branch).await.is_err(), "it is a tag");
    f.tables.drop_ref(&ident, "v1", RefKind::Tag).await.expect("drop");
    f.tables.drop_ref(&ident, "dev", RefKind::Branch).await.expect("drop");
    assert!(f.tables.drop_ref(&ident, "main", RefKind::Branch).await.is_err());
}

#[tokio::test]
async fn a_table_is_moved_back_by_id_time_and_name() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    for i in 0..4 {
        f.clock.advance(MINUTE);
        f.append(&ident, i * 10, i * 10 + 10).await;
    }
    let snapshots = head(&f, &ident).await.snapshots();
    f.tables.create_ref(&ident, tag("two", snapshots[1].id, None)).await.expect("tag");
    let to = |to: RollbackTo| {
        let (tables, ident) = (f.tables.clone(), ident.clone());
        async move { tables.rollback(&ident, &to).await }
    };
    assert_eq!(
        to(RollbackTo::Timestamp(snapshots[2].timestamp_ms + 1)).await.expect("time"),
        snapshots[2].id
    );
    assert_eq!(f.ids(&ident).await.len(), 30);
    assert_eq!(to(RollbackTo::Ref("two".into())).await.expect("tag"), snapshots[1].id);
    assert_eq!(to(RollbackTo::Snapshot(snapshots[0].id)).await.expect("id"), snapshots[0].id);
    assert_eq!(f.ids(&ident).await.len(), 10);
    for bad in [RollbackTo::Snapshot(1), RollbackTo::Ref("no".into()), RollbackTo::Timestamp(0)] {
        assert!(matches!(to(bad).await, Err(CommitError::Invalid(_))));
    }
    // The feeder stops: it is at 40, the table at 10.
    let staged = f.stage(&head(&f, &ident).await, &rows(40, 50)).await;
    let advances = vec![crate::fixture::advance(0, 40, 50)];
    let refused = f.tables.append(&ident, staged, advances, BTreeMap::new()).await;
    assert!(matches!(refused, Err(CommitError::RolledBack { .. })), "{refused:?}");
    // What main was moved back from is thinned like the rest, so a mistake can be undone.
    f.tables.expire_snapshots(&ident, &Expire::default()).await.expect("expire");
    to(RollbackTo::Snapshot(snapshots[3].id)).await.expect("forward");
    assert!(head(&f, &ident).await.progress().is_ok());
    f.append(&ident, 40, 50).await;
    assert_eq!(f.ids(&ident).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_table_with_very_many_doomed_files_leaves_them_to_the_search_for_orphans() {
    let maintenance = Limits { doomed_max: 3, ..Limits::default() };
    let f = Fixture::with(Settings { maintenance, ..Settings::default() });
    let ident = f.create("t", schema(), "").await.ident;
    for i in 0..10 {
        f.clock.advance(MINUTE);
        f.append(&ident, i, i + 1).await;
    }
    f.clock.advance(MINUTE);
    compact(&f, &ident).await;
    let one = Expire { older_than_ms: Some(i64::MAX), retain_last: Some(1), dry_run: false };
    let done = f.tables.expire_snapshots(&ident, &one).await.expect("expire");
    assert!(done.files > 20 && f.tables.doomed(&ident) == 3, "{done:?}");
    let look = Orphans::default();
    assert_eq!(f.tables.remove_orphans(&ident, &look).await.expect("seen").removed.len(), 0);
    f.clock.advance(HOUR);
    assert_eq!(f.tables.delete_doomed(&ident).await.expect("doomed"), 3);
    assert_eq!(f.tables.remove_orphans(&ident, &look).await.expect("found").removed.len(), done.files - 3);
    assert_eq!(f.ids(&ident).await, (0..10).collect::<Vec<_>>());
}
