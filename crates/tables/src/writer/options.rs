//! What a table's properties say about its Parquet files.
//!
//! Owns: Iceberg's `write.*` words that are followed: target size, codec, bloom filters.
//! Invariants: a value that makes no sense is as good as none, and is logged; a filter never takes more bytes than it may.

use std::collections::HashMap;

use iceberg::spec::{NestedFieldRef, TableMetadata, Type};
use parquet::basic::{Compression, ZstdLevel};

use crate::settings::Settings;

const TARGET: &str = "write.target-file-size-bytes";
const CODEC: &str = "write.parquet.compression-codec";
const LEVEL: &str = "write.parquet.compression-level";
const BLOOM: &str = "write.parquet.bloom-filter-enabled.column.";
const BLOOM_FPP: &str = "write.parquet.bloom-filter-fpp.column.";
const BLOOM_BYTES: &str = "write.parquet.bloom-filter-max-bytes";
const FPP_DEFAULT: f64 = 0.01;
/// Iceberg's default of `write.parquet.bloom-filter-max-bytes`; more is not allowed either.
const BLOOM_BYTES_DEFAULT: u64 = 1 << 20;
/// Most columns with a filter: each open file keeps them in memory.
const BLOOMS_MAX: usize = 16;
/// Below this a file is no file.
const TARGET_MIN: u64 = 64 << 10;

/// How files of one table are written.
#[derive(Debug)]
pub(crate) struct FileOptions {
    /// A file is closed at about so many bytes.
    pub(crate) target_bytes: u64,
    pub(super) compression: Compression,
    pub(super) blooms: Vec<Bloom>,
}

/// A bloom filter per row group of one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bloom {
    /// Names from the top-level column down.
    pub(super) path: Vec<String>,
    /// Wanted rate of false hits.
    pub(super) fpp: f64,
    /// Distinct values that it is made for.
    pub(super) values: u64,
}

impl FileOptions {
    pub(crate) fn of(metadata: &TableMetadata, settings: &Settings) -> Self {
        let properties = metadata.properties();
        let target = parse::<u64>(properties, TARGET).unwrap_or(settings.target_file_bytes);
        Self {
            // More than the node's own target would break its budget of memory.
            target_bytes: target.max(TARGET_MIN).min(settings.target_file_bytes),
            compression: compression(properties, settings),
            blooms: blooms(metadata, settings),
        }
    }
}

fn parse<T: std::str::FromStr>(properties: &HashMap<String, String>, key: &str) -> Option<T> {
    let text = properties.get(key)?;
    let value = text.trim().parse().ok();
    if value.is_none() {
        tracing::warn!(property = key, %text, "the value does not parse: the default holds");
    }
    value
}

fn compression(properties: &HashMap<String, String>, settings: &Settings) -> Compression {
    let level = parse::<i32>(properties, LEVEL).unwrap_or(settings.zstd_level);
    let zstd = Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default());
    match properties.get(CODEC).map(|codec| codec.to_ascii_lowercase()).as_deref() {
        None | Some("zstd") => zstd,
        Some("snappy") => Compression::SNAPPY,
        Some("none" | "uncompressed") => Compression::UNCOMPRESSED,
        Some(other) => {
            tracing::warn!(
                property = CODEC,
                codec = other,
                "there are zstd, snappy and uncompressed: zstd is taken"
            );
            zstd
        }
    }
}

/// Columns that the properties name, and the table's identifier columns unless a property says `false`.
fn blooms(metadata: &TableMetadata, settings: &Settings) -> Vec<Bloom> {
    let (schema, properties) = (metadata.current_schema(), metadata.properties());
    let bytes = parse::<u64>(properties, BLOOM_BYTES).unwrap_or(BLOOM_BYTES_DEFAULT).min(BLOOM_BYTES_DEFAULT);
    let identifiers: Vec<i32> = schema.identifier_field_ids().collect();
    let mut leaves = Vec::new();
    collect(schema.as_struct().fields(), &mut Vec::new(), &mut leaves);
    let mut blooms = Vec::new();
    for (path, id) in leaves {
        let name = path.join(".");
        let wanted = parse::<bool>(properties, &format!("{BLOOM}{name}"));
        if !wanted.unwrap_or_else(|| identifiers.contains(&id)) {
            continue;
        }
        let fpp = parse::<f64>(properties, &format!("{BLOOM_FPP}{name}"));
        let fpp = fpp.filter(|fpp| *fpp > 0.0 && *fpp < 1.0).unwrap_or(FPP_DEFAULT);
        let values = (settings.row_group_rows as u64).min(values_in(bytes, fpp)).max(1);
        blooms.push(Bloom { path, fpp, values });
    }
    blooms.truncate(BLOOMS_MAX);
    blooms
}

/// Distinct values that fit into a filter of so many bytes. Parquet's filters have a power of two of bytes and eight
/// bits set per value: bits = -8 n / ln(1 - fpp^(1/8)).
fn values_in(bytes: u64, fpp: f64) -> u64 {
    let power = if bytes.is_power_of_two() { bytes } else { bytes.next_power_of_two() / 2 };
    let bits = (power * 8) as f64;
    (-bits * (1.0 - fpp.powf(1.0 / 8.0)).ln() / 8.0) as u64
}

/// Plain columns outside of lists and maps, with their paths.
fn collect(fields: &[NestedFieldRef], path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, i32)>) {
    for field in fields {
        path.push(field.name.clone());
        match field.field_type.as_ref() {
            Type::Primitive(_) => leaves.push((path.clone(), field.id)),
            Type::Struct(inner) => collect(inner.fields(), path, leaves),
            Type::List(_) | Type::Map(_) => {}
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_fits_its_bytes() {
        // The formula of the Parquet library, the other way round.
        let bytes = |n: u64, fpp: f64| ((-8.0 * n as f64 / (1.0 - fpp.powf(0.125)).ln()) / 8.0) as u64;
        for budget in [1 << 10, 1 << 16, 1 << 20, 1_000_000] {
            for fpp in [0.5, 0.1, 0.01, 0.001] {
                let n = values_in(budget, fpp);
                assert!(
                    n > 0 && bytes(n, fpp).next_power_of_two() <= budget.next_power_of_two(),
                    "{budget} {fpp}"
                );
                assert!(bytes(n, fpp) <= budget, "{budget} {fpp}");
            }
        }
    }

    #[test]
    fn nonsense_is_as_good_as_nothing() {
        let settings = Settings::default();
        let with = |codec: &str| compression(&HashMap::from([(CODEC.into(), codec.into())]), &settings);
        let zstd = compression(&HashMap::new(), &settings);
        assert!(matches!(zstd, Compression::ZSTD(_)));
        assert_eq!(with("ZSTD"), zstd);
        assert_eq!(with("brotli"), zstd);
        assert_eq!(with("snappy"), Compression::SNAPPY);
        assert_eq!(with("uncompressed"), Compression::UNCOMPRESSED);
        assert_eq!(parse::<u64>(&HashMap::from([("a".into(), "x".into())]), "a"), None);
    }
}
