use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array, LargeBinaryArray,
    StringArray, StringViewArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, TimeUnit};
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, Transform};
use parquet::basic::Encoding as ParquetEncoding;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;
use crate::Settings;
use crate::fixture::{Fixture, read, rows, schema};

/// A small generator with a seed: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn text(&mut self) -> String {
        const CHARS: [char; 10] =
            ['a', 'b', 'z', 'ä', '€', '\u{d7ff}', '\u{e000}', '\u{10ffff}', '\u{10fffe}', ' '];
        let long = [0, 3, 15, 16, 17, 40, 90, 200][self.below(8) as usize];
        // Often the same letters in front, so that bounds differ only beyond what is kept.
        let front = if self.below(3) == 0 { '\u{10ffff}' } else { 'a' };
        (0..long).map(|i| if i < 20 && long > 20 { front } else { CHARS[self.below(10) as usize] }).collect()
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.below(5) > 0).then_some(value)
    }
}

fn column(fields: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let schema = Schema::new(
        fields.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect::<Vec<_>>(),
    );
    RecordBatch::try_new(Arc::new(schema), fields.into_iter().map(|(_, c)| c).collect()).expect("batch")
}

fn random_batch(chance: &mut Chance, rows: usize) -> RecordBatch {
    let texts: Vec<_> = (0..rows).map(|_| (chance.text(), chance.below(5) > 0)).collect();
    let texts: Vec<Option<String>> = texts.into_iter().map(|(t, keep)| keep.then_some(t)).collect();
    let bytes: Vec<Option<Vec<u8>>> = (0..rows)
        .map(|_| {
            let byte = if chance.below(2) == 0 { 0xff } else { chance.below(256) as u8 };
            let length = chance.below(40) as usize;
            chance.maybe(vec![byte; length])
        })
        .collect();
    let longs: Vec<Option<i64>> = (0..rows)
        .map(|_| {
            let value = chance.next() as i64;
            chance.maybe(value)
        })
        .collect();
    let doubles: Vec<Option<f64>> = (0..rows)
        .map(|_| {
            let value = chance.next() as i64 as f64 / 1e3;
            chance.maybe(if value.abs() < 1e13 { -0.0 } else { value })
        })
        .collect();
    let small: Vec<Option<i128>> = longs.iter().map(|v| v.map(|v| i128::from(v % 1_000_000))).collect();
    let wide: Vec<Option<i128>> = longs.iter().map(|v| v.map(|v| i128::from(v) * 1_000_000_000)).collect();
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("offset", DataType::Int64, true)),
        Arc::new(Int64Array::from(longs.clone())) as ArrayRef,
    )]);
    let bytes: Vec<Option<&[u8]>> = bytes.iter().map(|b| b.as_deref()).collect();
    let decimal = |values: Vec<Option<i128>>, precision| {
        let array = Decimal128Array::from(values).with_precision_and_scale(precision, 2).expect("decimal");
        Arc::new(array) as ArrayRef
    };
    column(vec![
        ("text", Arc::new(StringArray::from(texts))),
        ("bytes", Arc::new(LargeBinaryArray::from(bytes))),
        ("long", Arc::new(Int64Array::from(longs))),
        ("double", Arc::new(Float64Array::from(doubles))),
        ("small", decimal(small, 7)),
        ("wide", decimal(wide, 38)),
        ("nested", Arc::new(nested)),
    ])
}

/// Compares as Iceberg does: strings and bytes unsigned, -0.0 below 0.0.
fn check_bounds<T: PartialOrd + std::fmt::Debug>(
    name: &str,
    values: impl Iterator<Item = T>,
    lower: Option<T>,
    upper: Option<T>,
    needed: bool,
) {
    let mut any = false;
    for value in values {
        any = true;
        assert!(lower.as_ref().is_none_or(|l| *l <= value), "{name}: {lower:?} > {value:?}");
        assert!(upper.as_ref().is_none_or(|u| *u >= value), "{name}: {upper:?} < {value:?}");
    }
    assert!(!needed || !any || (lower.is_some() && upper.is_some()), "{name}: bounds are missing");
    assert!(any || (lower.is_none() && upper.is_none()), "{name}: bounds of nothing");
}

fn number(datum: Option<&Datum>) -> Option<i128> {
    datum.map(|d| match d.literal() {
        PrimitiveLiteral::Long(v) => i128::from(*v),
        PrimitiveLiteral::Int128(v) => *v,
        other => panic!("{other:?}"),
    })
}

fn text(datum: Option<&Datum>) -> Option<Vec<u8>> {
    datum.map(|d| match d.literal() {
        PrimitiveLiteral::String(s) => s.clone().into_bytes(),
        PrimitiveLiteral::Binary(b) => b.clone(),
        other => panic!("{other:?}"),
    })
}

/// Row groups leave for the disk before the file is complete; it is one whole file all the same.
#[tokio::test]
async fn a_large_file_is_written_while_it_grows() {
    let f = Fixture::with(Settings { row_group_rows: 40_000, ..Settings::default() });
    let rows = 250_000;
    let mut chance = Chance(7);
    let ids: Vec<i64> = (0..rows).map(|_| chance.below(u64::MAX) as i64).collect();
    let column: ArrayRef = Arc::new(Int64Array::from(ids));
    let batch = RecordBatch::try_from_iter([("id", column)]).expect("batch");
    let table = f.create("t", batch.schema(), "").await;
    let staged = f.stage(&table, &batch).await;
    let [file] = &staged.files[..] else { panic!("one file") };
    let bytes = f.tables.objects().get(file.file_path()).await.expect("file");
    assert!(bytes.len() > 1 << 20, "large enough to have left in parts");
    assert_eq!(file.file_size_in_bytes(), bytes.len() as u64);
    assert_eq!(is_intact(file.file_path(), &bytes), Some(true));
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, rows).expect("Parquet");
    let back: Vec<RecordBatch> = reader.map(|batch| batch.expect("rows")).collect();
    let back = concat_batches(&back[0].schema(), &back).expect("one batch");
    assert_eq!(back.column(0).as_primitive::<Int64Type>(), batch.column(0).as_primitive::<Int64Type>());
    let swept = f.tables.objects().sweep(table.metadata.location(), i64::MAX).await.expect("sweep");
    assert_eq!(swept, 0, "nothing is left half written");
}

/// Bounds hold for every value, over many row groups, with strings that Parquet itself truncates.
#[tokio::test]
async fn bounds_hold_for_every_value() {
    let settings = Settings { row_group_rows: 7, ..Settings::default() };
    let f = Fixture::with(settings);
    let schema = random_batch(&mut Chance(0), 1).schema();
    let table = f.create("t", schema, "").await;
    let id = |name: &str| table.metadata.current_schema().field_id_by_name(name).expect("id");
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let rows = 1 + chance.below(40) as usize;
        let batch = random_batch(&mut chance, rows);
        let staged = f.stage(&table, &batch).await;
        let [file] = &staged.files[..] else { panic!("one file") };
        let lower = |name| file.lower_bounds().get(&id(name));
        let upper = |name| file.upper_bounds().get(&id(name));
        let col = |name: &str| batch.column_by_name(name).expect("column");
        let strings = col("text").as_string::<i32>().iter().flatten().map(|s| s.as_bytes().to_vec());
        check_bounds("text", strings, text(lower("text")), text(upper("text")), false);
        for name in ["text", "bytes"] {
            let short = |datum: Option<&Datum>| {
                datum.is_none_or(|d| match d.literal() {
                    PrimitiveLiteral::String(s) => s.chars().count() <= 16,
                    PrimitiveLiteral::Binary(b) => b.len() <= 16,
                    _ => false,
                })
            };
            assert!(short(lower(name)) && short(upper(name)));
        }
        let bytes = col("bytes").as_binary::<i64>().iter().flatten().map(<[u8]>::to_vec);
        check_bounds("bytes", bytes, text(lower("bytes")), text(upper("bytes")), false);
        let longs = || col("long").as_primitive::<Int64Type>().iter().flatten().map(i128::from);
        check_bounds("long", longs(), number(lower("long")), number(upper("long")), true);
        let (low, high) = (number(lower("nested.offset")), number(upper("nested.offset")));
        check_bounds("nested", longs(), low, high, true);
        for name in ["small", "wide"] {
            let values = col(name).as_primitive::<arrow::datatypes::Decimal128Type>().iter().flatten();
            check_bounds(name, values, number(lower(name)), number(upper(name)), true);
        }
        let double = |d: Option<&Datum>| {
            d.map(|d| match d.literal() {
                PrimitiveLiteral::Double(v) => v.0,
                other => panic!("{other:?}"),
            })
        };
        let doubles = col("double").as_primitive::<arrow::datatypes::Float64Type>().iter().flatten();
        check_bounds("double", doubles, double(lower("double")), double(upper("double")), true);
        for name in ["text", "bytes", "long", "double", "small", "wide"] {
            assert_eq!(file.null_value_counts()[&id(name)], col(name).null_count() as u64, "{name}");
            assert_eq!(file.value_counts()[&id(name)], rows as u64, "{name}");
            assert!(file.column_sizes()[&id(name)] > 0);
        }
        assert_eq!(file.record_count(), rows as u64);
        assert_eq!(file.split_offsets().expect("splits").len(), rows.div_ceil(7));
        assert_eq!(file.split_offsets().expect("splits")[0], 4);
        let stored = f.tables.objects().get(file.file_path()).await.expect("file");
        assert_eq!(stored.len() as u64, file.file_size_in_bytes());
        let back = read(stored);
        let back = concat_batches(&back[0].schema(), &back).expect("concat");
        assert_eq!(back.columns()[0].as_ref(), batch.columns()[0].as_ref());
        assert_eq!(back.num_rows(), rows);
    }
}

/// The measured bug of others: truncated statistics of one row group are skipped, and its rows vanish.
#[tokio::test]
async fn truncated_statistics_are_bounds_too() {
    let f = Fixture::with(Settings { row_group_rows: 2, ..Settings::default() });
    let long = format!("z{}", "y".repeat(100));
    let batch = column(vec![("s", Arc::new(StringArray::from(vec!["a", "b", &long, &long])))]);
    let table = f.create("t", batch.schema(), "").await;
    let staged = f.stage(&table, &batch).await;
    let upper = text(staged.files[0].upper_bounds().get(&1)).expect("upper");
    assert!(upper > long.as_bytes().to_vec(), "{upper:?}");
    let same = column(vec![("s", Arc::new(StringArray::from(vec!["\u{10ffff}".repeat(100)])))]);
    let staged = f.stage(&table, &same).await;
    assert!(staged.files[0].upper_bounds().is_empty(), "no short string lies above");
    assert_eq!(text(staged.files[0].lower_bounds().get(&1)), Some("\u{10ffff}".repeat(16).into_bytes()));
}

#[tokio::test]
async fn a_column_with_nan_has_no_bounds() {
    let f = Fixture::with(Settings { row_group_rows: 2, ..Settings::default() });
    let values = Float64Array::from(vec![1.0, 2.0, f64::NAN, f64::NAN]);
    let batch = column(vec![("x", Arc::new(values)), ("y", Arc::new(Float64Array::from(vec![1.0; 4])))]);
    let table = f.create("t", batch.schema(), "").await;
    let staged = f.stage(&table, &batch).await;
    let file = &staged.files[0];
    assert_eq!((file.nan_value_counts()[&1], file.nan_value_counts()[&2]), (2, 0));
    assert!(!file.lower_bounds().contains_key(&1) && file.lower_bounds().contains_key(&2));
}

#[tokio::test]
async fn columns_are_matched_by_name() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let symbols: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), None]));
    let mut writer = f.tables.writer(&table).expect("writer");
    writer
        .write(&column(vec![("symbol", symbols), ("id", Arc::clone(&ids))]))
        .await
        .expect("swapped, widened");
    writer.write(&column(vec![("id", Arc::clone(&ids))])).await.expect("missing optional column");
    assert_eq!(writer.rows(), 4);
    for (bad, word) in [
        (column(vec![("symbol", Arc::new(StringArray::from(vec!["x"])))]), "id"),
        (column(vec![("id", Arc::new(StringArray::from(vec!["x"])))]), "id"),
        (column(vec![("id", Arc::new(Int64Array::from(vec![None])))]), "id"),
        (column(vec![("id", ids), ("new", Arc::new(Int64Array::from(vec![1, 2])))]), "new"),
    ] {
        let error = writer.write(&bad).await.expect_err(word);
        assert!(matches!(&error, WriteError::SchemaMismatch { column, .. } if column == word), "{error}");
    }
    let staged = writer.finish().await.expect("finish");
    assert_eq!((staged.len(), staged.rows()), (1, 4));
    let back = read(f.tables.objects().get(staged.files[0].file_path()).await.expect("get"));
    let symbols = back[0].column_by_name("symbol").expect("symbol").as_string::<i32>();
    assert_eq!(symbols.iter().collect::<Vec<_>>(), [Some("x"), None, None, None]);
    assert_eq!(back[0].schema().field(1).metadata()["PARQUET:field_id"], "2");
}

#[tokio::test]
async fn required_fields_of_absent_structs_are_no_nulls() {
    let f = Fixture::new();
    let strict = Fields::from(vec![Field::new("a", DataType::Int64, false)]);
    let wanted = Schema::new(vec![Field::new("s", DataType::Struct(strict), true)]);
    let table = f.create("t", Arc::new(wanted), "").await;
    let loose = Fields::from(vec![Field::new("a", DataType::Int64, true)]);
    let batch = |values: Vec<Option<i64>>, valid: Vec<bool>| {
        let values: ArrayRef = Arc::new(Int64Array::from(values));
        let s = StructArray::new(loose.clone(), vec![values], Some(NullBuffer::from(valid)));
        column(vec![("s", Arc::new(s) as ArrayRef)])
    };
    let mut writer = f.tables.writer(&table).expect("writer");
    writer.write(&batch(vec![Some(1), None], vec![true, false])).await.expect("absent struct");
    let error = writer.write(&batch(vec![Some(1), None], vec![true, true])).await.expect_err("null");
    assert!(matches!(&error, WriteError::SchemaMismatch { column, .. } if column == "s.a"), "{error}");
}

#[tokio::test]
async fn dictionaries_are_used_where_they_pay() {
    let f = Fixture::new();
    let unique = StringArray::from_iter_values((0..5000).map(|_| Uuid::new_v4().to_string()));
    let few = StringArray::from_iter_values((0..5000).map(|i| format!("s{}", i % 8)));
    let climbing = Int64Array::from_iter_values(0..5000);
    let batch = column(vec![
        ("id", Arc::new(unique) as ArrayRef),
        ("symbol", Arc::new(few)),
        ("offset", Arc::new(climbing)),
    ]);
    let table = f.create("t", batch.schema(), "").await;
    let staged = f.stage(&table, &batch).await;
    let bytes = f.tables.objects().get(staged.files[0].file_path()).await.expect("get");
    let reader = SerializedFileReader::new(bytes.clone()).expect("reader");
    let group = reader.metadata().row_group(0);
    let dictionary: Vec<bool> =
        group.columns().iter().map(|c| c.dictionary_page_offset().is_some()).collect();
    assert_eq!(dictionary, [false, true, false]);
    assert!(group.column(2).encodings().any(|e| e == ParquetEncoding::DELTA_BINARY_PACKED));
    assert!(group.columns().iter().all(|c| matches!(c.compression(), parquet::basic::Compression::ZSTD(_))));
    assert_eq!(read(bytes).iter().map(RecordBatch::num_rows).sum::<usize>(), 5000);
}

#[tokio::test]
async fn files_roll_by_size() {
    let f = Fixture::with(Settings { target_file_bytes: 40_000, ..Settings::default() });
    let batch = column(vec![(
        "id",
        Arc::new(StringArray::from_iter_values((0..1000).map(|_| Uuid::new_v4().to_string()))) as ArrayRef,
    )]);
    let table = f.create("t", batch.schema(), "").await;
    let mut writer = f.tables.writer(&table).expect("writer");
    for _ in 0..6 {
        writer.write(&batch).await.expect("write");
    }
    assert!(writer.buffered_bytes() > 40_000);
    let staged = writer.finish().await.expect("finish");
    assert!(staged.len() > 1, "{} files", staged.len());
    assert_eq!(staged.rows(), 6000);
}

fn partitioned(rows: usize) -> RecordBatch {
    let micros = |i: usize| -90_000_000_000 + i as i64 * 3_700_000_000;
    let timestamps = TimestampMicrosecondArray::from_iter((0..rows).map(|i| (i % 5 != 4).then(|| micros(i))));
    let nested = StructArray::new(
        Fields::from(vec![Field::new(
            "timestamp",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            true,
        )]),
        vec![Arc::new(timestamps.with_timezone("UTC"))],
        Some(NullBuffer::from_iter((0..rows).map(|i| i % 7 != 6))),
    );
    column(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..rows as i64)) as ArrayRef),
        ("symbol", Arc::new(StringArray::from_iter((0..rows).map(|i| Some(format!("sym{}", i % 3)))))),
        ("blob", Arc::new(LargeBinaryArray::from_iter_values((0..rows).map(|i| vec![i as u8 % 2; 3])))),
        ("redpanda", Arc::new(nested)),
    ])
}

/// Every row lies in the file of its partition value, as Iceberg's transforms on single values say.
#[tokio::test]
async fn rows_lie_in_their_partition() {
    let f = Fixture::with(Settings { open_files_max: 3, ..Settings::default() });
    let batch = partitioned(60);
    for (name, spec) in [
        ("identity", "(symbol)"),
        ("year", "year(redpanda.timestamp)"),
        ("month", "month(redpanda.timestamp)"),
        ("day", "day(redpanda.timestamp)"),
        ("hour", "hour(redpanda.timestamp)"),
        ("bucket", "bucket(4, id)"),
        ("bucket_s", "bucket(4, symbol)"),
        ("truncate", "truncate(10, id)"),
        ("truncate_b", "truncate(2, blob)"),
        ("void", "void(symbol)"),
        ("several", "(symbol, hour(redpanda.timestamp), bucket(2, id))"),
    ] {
        let table = f.create(name, batch.schema(), spec).await;
        let staged = f.stage(&table, &batch).await;
        assert_eq!(staged.rows(), 60, "{name}");
        let mut seen = BTreeSet::new();
        for file in &staged.files {
            for batch in read(f.tables.objects().get(file.file_path()).await.expect("get")) {
                check_partition(&table, file, &batch, name);
                let ids = batch.column_by_name("id").expect("id").as_primitive::<Int64Type>();
                assert!(ids.values().iter().all(|id| seen.insert(*id)), "{name}: a row is there twice");
            }
        }
        let outcome = f.tables.append(&table.ident, staged, vec![], BTreeMap::new()).await;
        outcome.expect(name);
        assert_eq!(f.ids(&table.ident).await, (0..60).collect::<Vec<_>>(), "{name}");
    }
}

fn check_partition(table: &Table, file: &DataFile, batch: &RecordBatch, name: &str) {
    let schema = table.metadata.current_schema();
    let values = file.partition().iter();
    for (field, value) in table.metadata.default_partition_spec().fields().iter().zip(values) {
        let function = iceberg::transform::create_transform_function(&field.transform).expect("function");
        let source = schema.field_by_id(field.source_id).expect("source");
        for row in 0..batch.num_rows() {
            let datum = match source.name.as_str() {
                "id" => {
                    let ids = batch.column_by_name("id").expect("id").as_primitive::<Int64Type>();
                    Some(Datum::long(ids.value(row)))
                }
                "symbol" => {
                    let symbols = batch.column_by_name("symbol").expect("symbol").as_string::<i32>();
                    Some(Datum::string(symbols.value(row)))
                }
                "blob" => {
                    let blobs = batch.column_by_name("blob").expect("blob").as_binary::<i64>();
                    Some(Datum::binary(blobs.value(row).iter().copied()))
                }
                "timestamp" => {
                    let parent = batch.column_by_name("redpanda").expect("redpanda").as_struct();
                    let times = parent.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
                    let there = parent.is_valid(row) && times.is_valid(row);
                    there.then(|| Datum::timestamptz_micros(times.value(row)))
                }
                other => panic!("{other}"),
            };
            let expected = match (field.transform, datum) {
                // The library has no such function for single values.
                (Transform::Truncate(2), Some(blob)) => {
                    text(Some(&blob)).map(|b| Datum::binary(b[..2].to_vec()))
                }
                (_, datum) => datum.and_then(|d| function.transform_literal(&d).expect("transform")),
            };
            let expected = expected.map(|d| Literal::Primitive(d.literal().clone()));
            assert_eq!(value, expected.as_ref(), "{name}, row {row}");
        }
    }
}

#[tokio::test]
async fn partition_values_cannot_leave_the_table() {
    let f = Fixture::new();
    let evil = ["/../../../../ESCAPED", "..", ".", "a/b", "%2e%2e%2f", "\0", "x\\..\\y", "C:\\", "é", ""];
    let batch = column(vec![("s", Arc::new(StringArray::from(evil.to_vec())) as ArrayRef)]);
    let table = f.create("t", batch.schema(), "(s)").await;
    let staged = f.stage(&table, &batch).await;
    assert_eq!(staged.len(), evil.len());
    let root = format!("{}/data/", table.metadata.location());
    for file in &staged.files {
        let below = file.file_path().strip_prefix(&root).expect("below the table");
        assert_eq!(below.split('/').count(), 2, "{below}");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=/".contains(c);
        assert!(!below.contains("..") && below.chars().all(plain), "{below}");
        assert!(f.tables.objects().size(file.file_path()).await.expect("size").is_some());
    }
    let values: BTreeSet<String> = staged
        .files
        .iter()
        .map(|file| match file.partition().iter().next().flatten() {
            Some(Literal::Primitive(PrimitiveLiteral::String(s))) => s.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values, evil.map(str::to_owned).into(), "manifests keep the values as they are");
    f.tables.append(&table.ident, staged, vec![], BTreeMap::new()).await.expect("append");
    let loaded = f.tables.load(&table.ident).await.expect("load");
    assert_eq!(f.tables.scan(&loaded, None).await.expect("scan").files.len(), evil.len());
}

/// Parquet's metadata of one staged file.
async fn footer(f: &Fixture, file: &DataFile) -> parquet::file::metadata::ParquetMetaData {
    let bytes = f.tables.objects().get(file.file_path()).await.expect("file");
    SerializedFileReader::new(bytes).expect("parquet").metadata().clone()
}

#[tokio::test]
async fn properties_say_how_files_are_written() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let staged = f.stage(&table, &rows(0, 1000)).await;
    let group = footer(&f, &staged.files[0]).await.row_group(0).clone();
    assert!(group.columns().iter().all(|c| c.bloom_filter_offset().is_none()));
    assert!(format!("{:?}", group.column(0).compression()).starts_with("ZSTD"));
    let set = |pairs: &[(&str, &str)]| iceberg::TableUpdate::SetProperties {
        updates: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    let update = set(&[
        ("write.parquet.bloom-filter-enabled.column.id", "true"),
        ("write.parquet.bloom-filter-max-bytes", "4096"),
        ("write.parquet.compression-codec", "snappy"),
        ("write.target-file-size-bytes", "65536"),
    ]);
    let table = f.tables.commit(&table.ident, vec![], vec![update]).await.expect("properties");
    // Numbers that do not compress.
    let mut chance = Chance(7);
    let ids = Int64Array::from_iter_values((0..200_000).map(|_| chance.next() as i64));
    let symbols = StringArray::from(vec!["s"; 200_000]);
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(symbols)]).expect("batch");
    let staged = f.stage(&table, &batch).await;
    assert!(staged.len() > 2, "{} files", staged.len());
    let group = footer(&f, &staged.files[0]).await.row_group(0).clone();
    let length = group.column(0).bloom_filter_length().expect("a filter");
    // The filter itself and a little header.
    assert!((1..=4096 + 64).contains(&length), "{length}");
    assert!(group.column(1).bloom_filter_offset().is_none());
    assert!(format!("{:?}", group.column(0).compression()).starts_with("SNAPPY"));
}

#[tokio::test]
async fn nothing_written_is_nothing_staged() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let mut writer = f.tables.writer(&table).expect("writer");
    writer.write(&rows(0, 0)).await.expect("empty batch");
    assert!(writer.finish().await.expect("finish").is_empty());
}

#[tokio::test]
async fn times_beyond_the_calendar_are_written() {
    let f = Fixture::new();
    let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let columns = Arc::new(Schema::new(vec![Field::new("at", zone.clone(), true)]));
    let times = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("+00:00"));
    let batch = RecordBatch::try_new(Arc::clone(&columns), vec![column]).expect("batch");
    for (i, spec) in ["(at)", "(year(at))", "(month(at))", "(day(at))", "(hour(at))"].iter().enumerate() {
        let table = f.create(&format!("t{i}"), Arc::clone(&columns), spec).await;
        let staged = f.stage(&table, &batch).await;
        assert_eq!(staged.rows(), 6, "{spec}");
    }
}

#[tokio::test]
async fn uuids_are_uuids_in_files() {
    let f = Fixture::new();
    let columns = Arc::new(crate::columns::tests::uuids());
    let table = f.create("t", Arc::clone(&columns), "bucket(2, id)").await;
    let bytes: Vec<[u8; 16]> = vec![[7; 16], [0xff; 16]];
    let ids: ArrayRef =
        Arc::new(arrow::array::FixedSizeBinaryArray::try_from_iter(bytes.iter()).expect("uuids"));
    let nulls = columns.fields()[2..].iter().map(|field| new_null_array(field.data_type(), 2));
    let all = [Arc::clone(&ids), Arc::clone(&ids)].into_iter().chain(nulls).collect();
    let batch = RecordBatch::try_new(columns, all).expect("batch");
    let staged = f.stage(&table, &batch).await;
    assert_eq!(staged.rows(), 2);
    let footer = footer(&f, &staged.files[0]).await;
    let found: Vec<(String, bool)> = footer
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .map(|c| (c.path().string(), c.logical_type_ref() == Some(&parquet::basic::LogicalType::Uuid)))
        .collect();
    let is = |path: &str| found.iter().find(|(found, _)| found == path).map(|(_, is)| *is);
    for (path, expected) in [
        ("id", true),
        ("bytes", false),
        ("o.id", true),
        ("o.n", false),
        ("l.list.element", true),
        ("m.key_value.key", false),
        ("m.key_value.value", true),
    ] {
        assert_eq!(is(path), Some(expected), "{path} in {found:?}");
    }
    let descr = footer.file_metadata().schema_descr();
    assert!(descr.columns().iter().all(|c| c.self_type().get_basic_info().has_id()), "field ids stay");
    let written: BTreeSet<Vec<u8>> =
        staged.files.iter().map(|file| file.upper_bounds()[&1].to_bytes().expect("bytes").to_vec()).collect();
    assert!(written.contains(&vec![0xff; 16]), "{written:?}");
    for file in &staged.files {
        for batch in read(f.tables.objects().get(file.file_path()).await.expect("get")) {
            assert_eq!(batch.column(0).as_fixed_size_binary().value_length(), 16);
            let metadata = batch.schema().field(0).metadata().clone();
            assert!(!metadata.contains_key("ARROW:extension:name"), "{metadata:?}");
        }
    }
}

#[tokio::test]
async fn times_go_into_columns_without_a_zone_as_utc() {
    let f = Fixture::new();
    let plain = TimestampMicrosecondArray::from(vec![0]);
    let table = f.create("t", column(vec![("t", Arc::new(plain))]).schema(), "").await;
    let zoned = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("+00:00");
    let staged = f.stage(&table, &column(vec![("t", Arc::new(zoned))])).await;
    let back = read(f.tables.objects().get(staged.files[0].file_path()).await.expect("get"));
    assert_eq!(back[0].column(0).as_ref(), &TimestampMicrosecondArray::from(vec![1_500_000]));
}
