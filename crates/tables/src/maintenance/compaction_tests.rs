use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use iceberg::TableUpdate;
use iceberg::spec::{NestedField, TableMetadataBuilder};

use crate::fixture::{Fixture, ids, read, rows, schema};
use crate::maintenance::{Compact, Compacted, MaintenanceError, NewRef, RefKind, RollbackTo};
use crate::{CommitError, CommitOutcome, Settings, Table, TableIdent};

pub(super) async fn compact(f: &Fixture, ident: &TableIdent) -> Compacted {
    let all = Compact { all: true, ..Compact::default() };
    f.tables.compact(ident, &all).await.expect("compact")
}

async fn head(f: &Fixture, ident: &TableIdent) -> Table {
    f.tables.load(ident).await.expect("load")
}

fn summary(table: &Table) -> HashMap<String, String> {
    table.snapshots().pop().expect("snapshot").summary
}

#[tokio::test]
async fn rows_stay_and_files_go() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "(symbol)").await.ident;
    for i in 0..6 {
        f.append(&ident, i * 10, i * 10 + 10).await;
    }
    let before = head(&f, &ident).await;
    assert_eq!(f.tables.scan(&before, None).await.expect("scan").files.len(), 18);
    let dry = Compact { dry_run: true, all: true, stop: None };
    let planned = f.tables.compact(&ident, &dry).await.expect("plan");
    assert_eq!((planned.files_before, planned.files_after, planned.snapshot_id), (18, 3, None));
    assert_eq!(head(&f, &ident).await.metadata_location, before.metadata_location);

    let done = compact(&f, &ident).await;
    assert_eq!((done.files_before, done.files_after, done.rows, done.more), (18, 3, 60, false));
    assert!(done.left_alone.is_empty() && done.bytes_after < done.bytes_before, "{done:?}");
    let after = head(&f, &ident).await;
    assert_eq!(after.current_snapshot_id(), done.snapshot_id);
    assert_eq!(after.snapshots().pop().expect("head").operation, "replace");
    assert_eq!(f.ids(&ident).await, (0..60).collect::<Vec<_>>());
    let old = ids(&f.tables, &after, before.current_snapshot_id()).await;
    assert_eq!(old, (0..60).collect::<Vec<_>>(), "time travel");
    let keys = summary(&after);
    for (key, value) in [
        ("added-data-files", "3"),
        ("deleted-data-files", "18"),
        ("added-records", "60"),
        ("deleted-records", "60"),
        ("total-data-files", "3"),
        ("total-records", "60"),
        ("frazil.maintenance", "compaction"),
    ] {
        assert_eq!(keys[key], value, "{key}");
    }
    // Nothing more to do, and the table goes on.
    assert_eq!(compact(&f, &ident).await.snapshot_id, None);
    f.append(&ident, 60, 70).await;
    assert_eq!(f.ids(&ident).await, (0..70).collect::<Vec<_>>());
}

#[tokio::test]
async fn progress_is_carried_along() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    f.append(&ident, 10, 20).await;
    let before = head(&f, &ident).await.progress().expect("progress");
    let made = compact(&f, &ident).await.snapshot_id.expect("snapshot");
    let table = head(&f, &ident).await;
    assert_eq!(table.progress().expect("not rolled back"), before);
    assert!(
        table.metadata.snapshot_by_id(made).is_some_and(|s| {
            s.summary().additional_properties.contains_key(crate::progress::PROGRESS_KEY)
        })
    );
    // A range that is there is found again, one that is not fits.
    assert!(matches!(f.append(&ident, 10, 20).await, CommitOutcome::AlreadyDone { .. }));
    assert!(matches!(f.append(&ident, 20, 30).await, CommitOutcome::Committed { .. }));
    // A table that is moved back to a compaction is rolled back, and says from where.
    f.tables.rollback(&ident, &RollbackTo::Snapshot(made)).await.expect("rollback");
    let rolled_back = head(&f, &ident).await;
    assert!(matches!(rolled_back.progress(), Err(CommitError::RolledBack { .. })));
    let refused = f.tables.compact(&ident, &Compact::default()).await;
    assert!(matches!(refused, Err(MaintenanceError::Commit(CommitError::RolledBack { .. }))), "{refused:?}");
    f.tables.accept_progress(&ident, before.clone()).await.expect("resume");
    assert_eq!(head(&f, &ident).await.progress().expect("progress"), before);
    f.append(&ident, 20, 40).await;
    assert_eq!(f.ids(&ident).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_table_without_progress_gets_none() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    for i in 0..3 {
        let staged = f.stage(&table, &rows(i, i + 1)).await;
        f.tables.append(&table.ident, staged, vec![], BTreeMap::new()).await.expect("append");
    }
    assert!(compact(&f, &table.ident).await.snapshot_id.is_some());
    assert!(!head(&f, &table.ident).await.has_carrier().expect("facts"));
    assert_eq!(f.ids(&table.ident).await, [0, 1, 2]);
}

#[tokio::test]
async fn old_files_get_the_present_columns() {
    let f = Fixture::new();
    let narrow = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("n", DataType::Int32, true),
        Field::new("gone", DataType::Utf8, true),
    ]));
    let ident = f.create("t", Arc::clone(&narrow), "").await.ident;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(Int32Array::from(vec![Some(10), None])),
        Arc::new(StringArray::from(vec!["x", "y"])),
    ];
    let batch = RecordBatch::try_new(narrow, columns).expect("batch");
    let staged = f.stage(&head(&f, &ident).await, &batch).await;
    f.tables.append(&ident, staged, vec![], BTreeMap::new()).await.expect("append");
    // `n` is widened and renamed, `gone` is dropped and another column takes its name, `new` is added.
    let table = head(&f, &ident).await;
    let old = table.metadata.current_schema();
    let fields = vec![
        Arc::clone(old.field_by_id(1).expect("id")),
        Arc::new(NestedField::optional(
            2,
            "number",
            iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::Long),
        )),
        Arc::new(NestedField::optional(
            4,
            "gone",
            iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::Long),
        )),
    ];
    let changed = iceberg::spec::Schema::builder().with_fields(fields).build().expect("schema");
    let updates = vec![
        TableUpdate::AddSchema { schema: changed },
        TableUpdate::SetCurrentSchema { schema_id: TableMetadataBuilder::LAST_ADDED },
    ];
    let table = f.tables.commit(&ident, vec![], updates).await.expect("schema");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![3])),
        Arc::new(Int64Array::from(vec![1 << 40])),
        Arc::new(Int64Array::from(vec![7])),
    ];
    let wide = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("number", DataType::Int64, true),
        Field::new("gone", DataType::Int64, true),
    ]));
    let staged = f.stage(&table, &RecordBatch::try_new(wide, columns).expect("batch")).await;
    f.tables.append(&ident, staged, vec![], BTreeMap::new()).await.expect("append");
    let done = compact(&f, &ident).await;
    assert_eq!((done.files_before, done.files_after, done.rows), (2, 1, 3), "{done:?}");
    let table = head(&f, &ident).await;
    let scan = f.tables.scan(&table, None).await.expect("scan");
    let batches = read(f.tables.objects().get(&scan.files[0].location).await.expect("file"));
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one");
    let number = all.column_by_name("number").expect("number").as_primitive::<Int64Type>();
    assert_eq!(number.iter().collect::<Vec<_>>(), [Some(10), None, Some(1 << 40)]);
    let gone = all.column_by_name("gone").expect("gone").as_primitive::<Int64Type>();
    assert_eq!(gone.iter().collect::<Vec<_>>(), [None, None, Some(7)], "another column of the same name");
}

#[tokio::test]
async fn files_keep_their_spec_when_the_table_is_partitioned_anew() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    f.append(&ident, 10, 20).await;
    let unpartitioned = head(&f, &ident).await.metadata.default_partition_spec_id();
    for (text, fields) in
        [("(bucket(4, id), truncate(symbol, 1))", 2), ("(void(id), symbol)", 2), ("(symbol)", 1)]
    {
        let table = f.tables.set_partition_spec(&ident, text).await.expect(text);
        assert_eq!(table.metadata.default_partition_spec().fields().len(), fields, "{text}");
        let again = f.tables.set_partition_spec(&ident, text).await.expect(text);
        assert_eq!(again.metadata_location, table.metadata_location, "{text}");
    }
    f.append(&ident, 20, 30).await;
    f.append(&ident, 30, 40).await;
    let back = f.tables.set_partition_spec(&ident, "()").await.expect("back");
    assert_eq!(back.metadata.default_partition_spec_id(), unpartitioned, "a known spec keeps its id");
    f.append(&ident, 40, 50).await;
    assert!(
        f.tables
            .set_partition_spec(&ident, "(nope)")
            .await
            .expect_err("unknown")
            .to_string()
            .contains("nope")
    );
    assert_eq!(f.ids(&ident).await, (0..50).collect::<Vec<_>>());
    let done = compact(&f, &ident).await;
    // Two unpartitioned files before, one after: together they are one; three symbols with two files each.
    assert_eq!((done.files_before, done.files_after, done.rows), (9, 4, 50), "{done:?}");
    assert_eq!(f.ids(&ident).await, (0..50).collect::<Vec<_>>());
    f.append(&ident, 50, 60).await;
    assert_eq!(f.ids(&ident).await, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_are_sorted_where_the_table_asks_for_it() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    f.append(&ident, 10, 20).await;
    let set = |order: &str| TableUpdate::SetProperties {
        updates: HashMap::from([("frazil.table.sort.order".to_owned(), order.to_owned())]),
    };
    f.tables.commit(&ident, vec![], vec![set("nope")]).await.expect("property");
    let refused = f.tables.compact(&ident, &Compact { all: true, ..Compact::default() }).await;
    assert!(refused.expect_err("order").to_string().contains("no column `nope`"));
    f.tables.commit(&ident, vec![], vec![set("symbol desc, id")]).await.expect("property");
    assert_eq!(compact(&f, &ident).await.files_after, 1);
    let scan = f.tables.scan(&head(&f, &ident).await, None).await.expect("scan");
    let mut found = Vec::new();
    for batch in read(f.tables.objects().get(&scan.files[0].location).await.expect("file")) {
        let (id, symbol) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        found.extend(
            (0..batch.num_rows()).map(|i| (std::cmp::Reverse(symbol.value(i).to_owned()), id.value(i))),
        );
    }
    assert!(found.is_sorted() && found.len() == 20, "{found:?}");
}

#[tokio::test]
async fn what_changed_meanwhile_is_dropped_with_its_files() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "(symbol)").await.ident;
    for i in 0..4 {
        f.append(&ident, i * 10, i * 10 + 10).await;
    }
    let all = Compact { all: true, ..Compact::default() };
    let (first, second) = tokio::join!(f.tables.compact(&ident, &all), f.tables.compact(&ident, &all));
    let (first, second) = (first.expect("first"), second.expect("second"));
    assert!(first.snapshot_id.is_some() != second.snapshot_id.is_some(), "{first:?} {second:?}");
    let loser = if first.snapshot_id.is_some() { &second } else { &first };
    assert!(loser.left_alone[0].contains("changed meanwhile"), "{loser:?}");
    assert_eq!(f.ids(&ident).await, (0..40).collect::<Vec<_>>());
    // 12 files before, 3 after; the loser's are gone, and nothing is leased any more.
    let table = head(&f, &ident).await;
    let data = f.files(&table).await.into_iter().filter(|file| file.ends_with(".parquet")).count();
    assert_eq!(data, 15);
    assert!(f.tables.leases().below("").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_snapshot_has_the_rows_of_its_progress() {
    const APPENDS: i64 = 40;
    // No more attempts than usual: appends without pause must not keep a compaction from its turn.
    let settings = Settings { manifests_to_merge: 4, ..Settings::default() };
    let f = Fixture::with(settings);
    let ident = f.create("t", schema(), "(symbol)").await.ident;
    f.append(&ident, 0, 3).await;
    let tables = f.tables.clone();
    let compactor = {
        let (tables, ident) = (tables.clone(), ident.clone());
        tokio::spawn(async move {
            let mut made = 0;
            for round in 0..1_000 {
                let all = Compact { all: true, ..Compact::default() };
                made +=
                    usize::from(tables.compact(&ident, &all).await.expect("compact").snapshot_id.is_some());
                if round % 5 == 0 {
                    tables.rewrite_manifests(&ident, true).await.expect("manifests");
                }
                let progress = tables.load(&ident).await.expect("load").progress().expect("progress");
                if progress.values().all(|at| at.position.next == APPENDS * 3) {
                    break;
                }
            }
            made
        })
    };
    for i in 1..APPENDS {
        f.append(&ident, i * 3, i * 3 + 3).await;
        tokio::task::yield_now().await;
    }
    assert!(compactor.await.expect("compactor") > 1);
    let table = head(&f, &ident).await;
    for snapshot in table.snapshots() {
        let carried =
            crate::progress::decode(&snapshot.summary[crate::progress::PROGRESS_KEY]).expect("progress");
        let next = carried.values().next().expect("one source").position.next;
        let found = ids(&tables, &table, Some(snapshot.id)).await;
        assert_eq!(found, (0..next).collect::<Vec<_>>(), "{} {}", snapshot.operation, snapshot.id);
        assert_eq!(snapshot.summary["total-records"], next.to_string());
    }
}

#[tokio::test]
async fn manifests_are_clustered() {
    let settings =
        Settings { manifests_to_merge: 1_000, manifest_target_bytes: 6_000, ..Settings::default() };
    let f = Fixture::with(settings);
    let ident = f.create("t", schema(), "(symbol)").await.ident;
    for i in 0..12 {
        f.append(&ident, i * 3, i * 3 + 3).await;
    }
    assert_eq!(f.tables.rewrite_manifests(&ident, false).await.expect("few").snapshot_id, None);
    let done = f.tables.rewrite_manifests(&ident, true).await.expect("rewrite");
    assert_eq!(done.before, 12);
    assert!(done.snapshot_id.is_some() && done.after < 12 && done.after > 1, "{done:?}");
    assert_eq!(f.ids(&ident).await, (0..36).collect::<Vec<_>>());
    let table = head(&f, &ident).await;
    assert_eq!(summary(&table)["total-data-files"], "36");
    assert!(table.progress().is_ok());
    f.append(&ident, 36, 39).await;
    compact(&f, &ident).await;
    assert_eq!(f.ids(&ident).await, (0..39).collect::<Vec<_>>());
}

#[tokio::test]
async fn guests_read_tags_that_compaction_left_behind() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    let tag = |name: &str| NewRef {
        name: name.into(),
        kind: RefKind::Tag,
        snapshot_id: None,
        max_age_ms: None,
        replace: false,
    };
    f.tables.create_ref(&ident, tag("first")).await.expect("tag");
    f.append(&ident, 10, 20).await;
    compact(&f, &ident).await;
    let table = head(&f, &ident).await;
    let first = table.refs().expect("refs").into_iter().find(|r| r.name == "first").expect("tag");
    assert_eq!(ids(&f.tables, &table, Some(first.snapshot_id)).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_with_deletes_of_others_are_left_alone() {
    let f = Fixture::new();
    let ident = f.create("t", schema(), "").await.ident;
    f.append(&ident, 0, 10).await;
    f.append(&ident, 10, 20).await;
    crate::scan::tests::foreign_delete(&f, &head(&f, &ident).await).await;
    let done = compact(&f, &ident).await;
    assert_eq!((done.snapshot_id, done.files_before), (None, 0));
    assert!(done.left_alone[0].contains("2 files"), "{done:?}");
}

#[tokio::test]
async fn a_partition_column_that_was_widened_is_no_obstacle() {
    let f = Fixture::with(Settings { manifests_to_merge: 3, ..Settings::default() });
    let columns = |data_type: DataType| {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("n", data_type, true),
        ]))
    };
    let ident = f.create("t", columns(DataType::Int32), "(n)").await.ident;
    let append = async |id: i64, n: ArrayRef| {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let batch = RecordBatch::try_new(columns(n.data_type().clone()), vec![ids, n]).expect("batch");
        let staged = f.stage(&head(&f, &ident).await, &batch).await;
        f.tables.append(&ident, staged, vec![], BTreeMap::new()).await.expect("append");
    };
    for id in 0..2 {
        append(id, Arc::new(Int32Array::from(vec![7]))).await;
    }
    f.tables.evolve(&ident, &columns(DataType::Int64)).await.expect("widen");
    for id in 2..6 {
        append(id, Arc::new(Int64Array::from(vec![7]))).await;
    }
    assert_eq!(f.ids(&ident).await, (0..6).collect::<Vec<_>>());
    f.tables.rewrite_manifests(&ident, true).await.expect("manifests");
    let done = compact(&f, &ident).await;
    assert_eq!((done.files_before, done.files_after), (6, 1), "one partition before and after");
    assert_eq!(f.ids(&ident).await, (0..6).collect::<Vec<_>>());
    append(6, Arc::new(Int64Array::from(vec![1 << 40]))).await;
    assert_eq!(f.ids(&ident).await, (0..7).collect::<Vec<_>>());
}
