//! Manifests and manifest lists: bytes in, bytes out.
//!
//! Owns: encoding and parsing through `iceberg`'s types, in memory; inheritance of ids and sequence numbers.
//! Does not own: where the bytes lie (`storage::Objects`), which manifests a snapshot has (`commit/snapshot`).
//! Invariants: what [`entries`] returns has its sequence numbers and snapshot id; the library never touches a disk.

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, DataFileBuilder, FormatVersion, Literal, Manifest, ManifestEntry, ManifestFile, ManifestList,
    ManifestListWriter, ManifestStatus, ManifestWriter, ManifestWriterBuilder, PartitionSpec,
    PrimitiveLiteral, PrimitiveType, SchemaRef, Snapshot, Struct, StructType, Type,
};

use crate::catalog::CatalogError;

/// At the end of the names of data files, manifests and lists that this program writes.
pub(crate) const OWN_MARK: &str = "-frazil";

/// Where the library believes to write; every encoding has a memory of its own.
const BUFFER: &str = "memory:/buffer";

/// A manifest that is written but not stored: its bytes belong at `file.manifest_path`.
#[derive(Debug)]
pub(crate) struct EncodedManifest {
    pub(crate) file: ManifestFile,
    pub(crate) bytes: Bytes,
}

/// One live file of a manifest, with what it inherits filled in.
#[derive(Debug, Clone)]
pub(crate) struct LiveEntry {
    pub(crate) snapshot_id: i64,
    pub(crate) sequence: i64,
    pub(crate) file_sequence: i64,
    pub(crate) file: DataFile,
}

pub(crate) fn format(what: &str, error: &iceberg::Error) -> CatalogError {
    CatalogError::Format(format!("{what}: {error}"))
}

/// A manifest of files that the snapshot `snapshot_id` adds; they inherit its sequence number.
pub(crate) async fn encode_added(
    files: &[DataFile],
    location: &str,
    snapshot_id: i64,
    schema: &SchemaRef,
    spec: &PartitionSpec,
) -> Result<EncodedManifest, CatalogError> {
    let fail = |e: iceberg::Error| format(location, &e);
    let partition = spec.partition_type(schema).map_err(fail)?;
    encode(location, snapshot_id, schema, spec, |writer| {
        files
            .iter()
            .try_for_each(|f| writer.add_file(promoted(f, &partition).map_err(fail)?, -1).map_err(fail))
    })
    .await
}

/// A manifest of files that earlier snapshots added.
pub(crate) async fn encode_existing(
    entries: &[LiveEntry],
    location: &str,
    snapshot_id: i64,
    schema: &SchemaRef,
    spec: &PartitionSpec,
) -> Result<EncodedManifest, CatalogError> {
    let fail = |e: iceberg::Error| format(location, &e);
    let partition = spec.partition_type(schema).map_err(fail)?;
    encode(location, snapshot_id, schema, spec, |writer| {
        entries.iter().try_for_each(|e| {
            let file = promoted(&e.file, &partition).map_err(fail)?;
            writer.add_existing_file(file, e.snapshot_id, e.sequence, Some(e.file_sequence)).map_err(fail)
        })
    })
    .await
}

/// A manifest of files that stay, and of files that the snapshot `snapshot_id` removes.
pub(crate) async fn encode_rewritten(
    stay: &[&LiveEntry],
    gone: &[&LiveEntry],
    location: &str,
    snapshot_id: i64,
    schema: &SchemaRef,
    spec: &PartitionSpec,
) -> Result<EncodedManifest, CatalogError> {
    let fail = |e: iceberg::Error| format(location, &e);
    let partition = spec.partition_type(schema).map_err(fail)?;
    encode(location, snapshot_id, schema, spec, |writer| {
        for e in stay {
            let file = promoted(&e.file, &partition).map_err(fail)?;
            writer.add_existing_file(file, e.snapshot_id, e.sequence, Some(e.file_sequence)).map_err(fail)?;
        }
        gone.iter().try_for_each(|e| {
            let file = promoted(&e.file, &partition).map_err(fail)?;
            writer.add_delete_file(file, e.sequence, Some(e.file_sequence)).map_err(fail)
        })
    })
    .await
}

/// Partition values in the types that the partition's columns have now, where a column was widened since (Iceberg
/// spec, "Schema evolution"): none when they have them already.
pub(crate) fn promoted_partition(partition: &Struct, wanted: &StructType) -> Option<Struct> {
    use PrimitiveLiteral::{Float, Int};
    let mut changed = false;
    let values: Vec<Option<Literal>> = partition
        .iter()
        .zip(wanted.fields())
        .map(|(value, field)| {
            let Type::Primitive(wanted) = field.field_type.as_ref() else { return value.cloned() };
            let wide = match (value.and_then(Literal::as_primitive_literal), wanted) {
                (Some(Int(v)), PrimitiveType::Long) => Some(Literal::long(i64::from(v))),
                (Some(Float(v)), PrimitiveType::Double) => Some(Literal::double(f64::from(v.0))),
                _ => None,
            };
            changed |= wide.is_some();
            wide.or_else(|| value.cloned())
        })
        .collect();
    changed.then(|| Struct::from_iter(values))
}

/// The file with its partition values in the present types.
fn promoted(file: &DataFile, partition: &StructType) -> iceberg::Result<DataFile> {
    let Some(partition) = promoted_partition(file.partition(), partition) else { return Ok(file.clone()) };
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(partition)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(file.first_row_id())
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder.build().map_err(|e| iceberg::Error::new(iceberg::ErrorKind::DataInvalid, e.to_string()))
}

async fn encode(
    location: &str,
    snapshot_id: i64,
    schema: &SchemaRef,
    spec: &PartitionSpec,
    fill: impl FnOnce(&mut ManifestWriter) -> Result<(), CatalogError>,
) -> Result<EncodedManifest, CatalogError> {
    let fail = |e: iceberg::Error| format(location, &e);
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(BUFFER).map_err(fail)?;
    let mut writer =
        ManifestWriterBuilder::new(output, Some(snapshot_id), schema.clone(), spec.clone()).build_v2_data();
    fill(&mut writer)?;
    let mut file = writer.write_manifest_file().await.map_err(fail)?;
    location.clone_into(&mut file.manifest_path);
    let bytes = read_buffer(&memory).await.map_err(fail)?;
    Ok(EncodedManifest { file, bytes })
}

/// The manifest list of a snapshot of format 2.
pub(crate) async fn encode_list(
    manifests: Vec<ManifestFile>,
    snapshot_id: i64,
    parent: Option<i64>,
    sequence: i64,
) -> Result<Bytes, CatalogError> {
    let fail = |e: iceberg::Error| format("manifest list", &e);
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(BUFFER).map_err(fail)?.writer().await.map_err(fail)?;
    let mut writer = ManifestListWriter::v2(output, snapshot_id, parent, sequence);
    writer.add_manifests(manifests.into_iter()).map_err(fail)?;
    writer.close().await.map_err(fail)?;
    read_buffer(&memory).await.map_err(fail)
}

async fn read_buffer(memory: &FileIO) -> iceberg::Result<Bytes> {
    memory.new_input(BUFFER)?.read().await
}

/// The manifests of a snapshot.
pub(crate) async fn list(
    objects: &storage::Objects,
    snapshot: &Snapshot,
    version: FormatVersion,
) -> Result<Vec<ManifestFile>, CatalogError> {
    let location = snapshot.manifest_list();
    let bytes = objects.get(location).await?;
    let list = ManifestList::parse_with_version(&bytes, version).map_err(|e| format(location, &e))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// The live files of a manifest.
pub(crate) async fn entries(
    objects: &storage::Objects,
    manifest: &ManifestFile,
) -> Result<Vec<LiveEntry>, CatalogError> {
    let location = &manifest.manifest_path;
    let bytes = objects.get(location).await?;
    let parsed = Manifest::parse_avro(&bytes).map_err(|e| format(location, &e))?;
    let live = parsed.entries().iter().filter(|e| e.is_alive());
    live.map(|e| inherit(e, manifest)).collect()
}

/// Fills in what an entry leaves to its manifest (Iceberg spec, "Sequence number inheritance").
fn inherit(entry: &ManifestEntry, manifest: &ManifestFile) -> Result<LiveEntry, CatalogError> {
    // Only added files inherit sequence numbers; manifests of format 1 have number 0 for all.
    let inherits = entry.status() == ManifestStatus::Added || manifest.sequence_number == 0;
    let number = |own: Option<i64>| own.or(inherits.then_some(manifest.sequence_number));
    let missing = || {
        let (list, file) = (&manifest.manifest_path, entry.file_path());
        CatalogError::Format(format!("{list}: the entry of {file} lacks its sequence number"))
    };
    Ok(LiveEntry {
        snapshot_id: entry.snapshot_id().unwrap_or(manifest.added_snapshot_id),
        sequence: number(entry.sequence_number()).ok_or_else(missing)?,
        file_sequence: number(entry.file_sequence_number).ok_or_else(missing)?,
        file: entry.data_file().clone(),
    })
}
