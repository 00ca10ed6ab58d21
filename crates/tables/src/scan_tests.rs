use std::collections::BTreeMap;

use iceberg::TableUpdate;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFileBuilder, MAIN_BRANCH, ManifestWriterBuilder, Operation, Snapshot,
    SnapshotReference, SnapshotRetention, Struct, Summary,
};

use super::*;
use crate::fixture::{Fixture, rows, schema};

/// A snapshot with a position delete file, as another engine writes it.
pub(crate) async fn foreign_delete(f: &Fixture, table: &Table) {
    let metadata = &table.metadata;
    let parent = metadata.current_snapshot().expect("head");
    let path = format!("{}/data/deletes.parquet", metadata.location());
    let file = DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_format(DataFileFormat::Parquet)
        .file_path(path)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(100)
        .build()
        .expect("file");
    let memory = FileIO::new_with_memory();
    let output = memory.new_output("memory:/m").expect("output");
    let spec = metadata.default_partition_spec().as_ref().clone();
    let schema = metadata.current_schema().clone();
    let mut writer = ManifestWriterBuilder::new(output, Some(7), schema, spec).build_v2_deletes();
    writer.add_file(file, -1).expect("add");
    let mut manifest = writer.write_manifest_file().await.expect("manifest");
    manifest.manifest_path = format!("{}/metadata/deletes.avro", metadata.location());
    let bytes = memory.new_input("memory:/m").expect("input").read().await.expect("read");
    f.tables.objects().put_new(&manifest.manifest_path, bytes).await.expect("put");
    let mut list =
        manifests::list(f.tables.objects(), parent, metadata.format_version()).await.expect("list");
    list.push(manifest);
    let sequence = metadata.next_sequence_number();
    let bytes = manifests::encode_list(list, 7, Some(parent.snapshot_id()), sequence).await.expect("list");
    let location = format!("{}/metadata/snap-7.avro", metadata.location());
    f.tables.objects().put_new(&location, bytes).await.expect("put");
    let snapshot = Snapshot::builder()
        .with_snapshot_id(7)
        .with_parent_snapshot_id(Some(parent.snapshot_id()))
        .with_sequence_number(sequence)
        .with_timestamp_ms(metadata.last_updated_ms() + 1)
        .with_manifest_list(location)
        .with_schema_id(0)
        .with_summary(Summary { operation: Operation::Delete, additional_properties: HashMap::new() })
        .build();
    let reference = SnapshotReference::new(7, SnapshotRetention::branch(None, None, None));
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference },
    ];
    f.tables.commit(&table.ident, vec![], updates).await.expect("commit");
}

#[tokio::test]
async fn rows_that_another_engine_deleted_are_never_shown() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let staged = f.stage(&table, &rows(0, 5)).await;
    f.tables.append(&table.ident, staged, vec![], BTreeMap::new()).await.expect("append");
    let table = f.tables.load(&table.ident).await.expect("load");
    foreign_delete(&f, &table).await;
    let deleted = f.tables.load(&table.ident).await.expect("load");
    let error = f.tables.scan(&deleted, None).await.expect_err("deletes").to_string();
    assert!(error.contains("public.t has 1 delete files") && error.contains("later version"), "{error}");
    let before = f.tables.scan(&deleted, table.current_snapshot_id()).await.expect("time travel");
    assert_eq!(before.files.iter().map(|file| file.rows).sum::<u64>(), 5);
    assert!(before.files[0].lower_bounds.contains_key(&1) && before.files[0].null_counts[&2] == 0);
    assert!(f.tables.scan(&deleted, Some(99)).await.expect_err("unknown").to_string().contains("99"));
}

#[tokio::test]
async fn an_empty_table_has_no_files() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let scan = f.tables.scan(&table, None).await.expect("scan");
    assert!(scan.files.is_empty() && scan.snapshot_id.is_none());
}
