//! Partition specs as people write them.
//!
//! Owns: the grammar of `partition_by` (`()`, `(symbol)`, `(hour(redpanda.timestamp), bucket(16, id))`) and the names
//! of partition fields.
//! Does not own: computing partition values (`writer/split`).
//! Invariants: a partition field's name is a valid Avro name, for it becomes one in manifests.

use iceberg::spec::{NestedFieldRef, PrimitiveType, Schema, Transform, Type, UnboundPartitionSpec};

use crate::catalog::CatalogError;

/// Most fields of one spec.
const FIELDS_MAX: usize = 32;

/// Parses `text` against the columns of `schema`.
pub fn parse(text: &str, schema: &Schema) -> Result<UnboundPartitionSpec, CatalogError> {
    let refuse = |why: String| CatalogError::Invalid(format!("partition spec `{text}`: {why}"));
    let items = split(text).map_err(refuse)?;
    if items.len() > FIELDS_MAX {
        return Err(refuse(format!("more than {FIELDS_MAX} fields")));
    }
    let mut builder = UnboundPartitionSpec::builder();
    for item in items {
        let (transform, column) = field(item).map_err(refuse)?;
        let source = schema.field_by_name(&column).ok_or_else(|| {
            refuse(format!("the table has no column `{column}`; it has {}", column_names(schema)))
        })?;
        check(transform, &column, source, schema).map_err(refuse)?;
        let name = free_name(transform, &column, source.id, schema);
        builder = builder
            .add_partition_field(source.id, name, transform)
            .map_err(|e| refuse(e.message().to_owned()))?;
    }
    Ok(builder.build())
}

/// Whether a table with these columns could be partitioned by `text`; the error says why not.
pub fn accepts(text: &str, columns: &arrow::datatypes::SchemaRef) -> Result<(), CatalogError> {
    parse(text, &crate::columns::iceberg_schema(columns)?).map(drop)
}

/// The items between the outer parentheses, which may be left out.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let inner = text.trim();
    // `(a), (b)` begins and ends with parentheses that do not belong together; `depth` finds that out below.
    let inner = match inner.strip_prefix('(') {
        Some(rest) => rest.strip_suffix(')').ok_or("a closing parenthesis is missing")?,
        None => inner,
    };
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    let (mut items, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a parenthesis closes that was not opened")?,
            ',' if depth == 0 => {
                items.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return Err("a closing parenthesis is missing".into());
    }
    items.push(inner[start..].trim());
    Ok(items)
}

/// One item: a column, or a transform of one.
fn field(item: &str) -> Result<(Transform, String), String> {
    let Some((name, rest)) = item.split_once('(') else {
        return Ok((Transform::Identity, column(item)?));
    };
    let arguments =
        rest.trim_end().strip_suffix(')').ok_or(format!("`{item}` lacks a closing parenthesis"))?;
    let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
    let name = name.trim().to_ascii_lowercase();
    let plain = |transform| match arguments[..] {
        [only] => Ok((transform, column(only)?)),
        _ => Err(format!("`{item}`: {name} takes one column")),
    };
    match name.as_str() {
        "identity" => plain(Transform::Identity),
        "year" | "years" => plain(Transform::Year),
        "month" | "months" => plain(Transform::Month),
        "day" | "days" | "date" => plain(Transform::Day),
        "hour" | "hours" | "date_hour" => plain(Transform::Hour),
        "void" => plain(Transform::Void),
        "bucket" | "truncate" => {
            // Spark and Redpanda write the number first, Trino last.
            let (number, source) = match arguments[..] {
                [a, b] if a.parse::<u32>().is_ok() => (a, b),
                [a, b] if b.parse::<u32>().is_ok() => (b, a),
                _ => return Err(format!("`{item}`: {name} takes a number and a column")),
            };
            let number: u32 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
            if number == 0 || i32::try_from(number).is_err() {
                return Err(format!("`{item}`: {number} is out of range"));
            }
            let transform =
                if name == "bucket" { Transform::Bucket(number) } else { Transform::Truncate(number) };
            Ok((transform, column(source)?))
        }
        _ => Err(format!(
            "`{name}` is no transform; there are identity, year, month, day, hour, bucket(n, column), truncate(n, column), void"
        )),
    }
}

fn column(text: &str) -> Result<String, String> {
    let text = text.trim();
    let bare = |quote: char| text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
    let name = bare('"').or_else(|| bare('`')).unwrap_or(text);
    if name.is_empty() || name.contains(['(', ')', '"', '`']) {
        return Err(format!("`{text}` is no column"));
    }
    Ok(name.to_owned())
}

fn check(transform: Transform, column: &str, source: &NestedFieldRef, schema: &Schema) -> Result<(), String> {
    let Type::Primitive(primitive) = source.field_type.as_ref() else {
        return Err(format!("`{column}` is {}: only plain columns can be partitioned by", source.field_type));
    };
    if reaches_through_list(schema, column) {
        return Err(format!("`{column}` lies in a list or map: it has no single value per row"));
    }
    if matches!(primitive, PrimitiveType::Float | PrimitiveType::Double) && transform == Transform::Identity {
        return Err(format!(
            "`{column}` is {primitive}: partitioning by floating point numbers is not useful"
        ));
    }
    transform.result_type(&source.field_type).map(|_| ()).map_err(|e| e.message().to_owned())
}

fn reaches_through_list(schema: &Schema, column: &str) -> bool {
    column.char_indices().filter(|(_, c)| *c == '.').any(|(at, _)| {
        schema
            .field_by_name(&column[..at])
            .is_some_and(|f| matches!(f.field_type.as_ref(), Type::List(_) | Type::Map(_)))
    })
}

/// Iceberg's usual name of a partition field, as a valid Avro name that no column has.
fn free_name(transform: Transform, column: &str, source_id: i32, schema: &Schema) -> String {
    let mut name: String = column.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    match transform {
        Transform::Identity | Transform::Unknown => {}
        Transform::Year => name.push_str("_year"),
        Transform::Month => name.push_str("_month"),
        Transform::Day => name.push_str("_day"),
        Transform::Hour => name.push_str("_hour"),
        Transform::Bucket(_) => name.push_str("_bucket"),
        Transform::Truncate(_) => name.push_str("_trunc"),
        Transform::Void => name.push_str("_null"),
    }
    let taken = |name: &str| {
        schema.field_by_name(name).is_some_and(|f| transform != Transform::Identity || f.id != source_id)
    };
    while taken(&name) {
        name.push_str("_part");
    }
    name
}

fn column_names(schema: &Schema) -> String {
    let names: Vec<&str> = schema.as_struct().fields().iter().map(|f| f.name.as_str()).take(20).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema, TimeUnit};

    use super::*;

    fn schema() -> Schema {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let nested = Fields::from(vec![Field::new("timestamp", timestamp, true)]);
        let item = Field::new("item", DataType::Struct(nested.clone()), true);
        crate::columns::iceberg_schema(&ArrowSchema::new(vec![
            Field::new("symbol", DataType::Utf8, true),
            Field::new("id", DataType::Int64, true),
            Field::new("id_bucket", DataType::Int64, true),
            Field::new("price", DataType::Float64, true),
            Field::new("order-no", DataType::Int32, true),
            Field::new("redpanda", DataType::Struct(nested), true),
            Field::new("events", DataType::List(std::sync::Arc::new(item)), true),
        ]))
        .expect("schema")
    }

    fn names(text: &str) -> Vec<(String, Transform)> {
        let spec = parse(text, &schema()).expect(text);
        spec.fields().iter().map(|f| (f.name.clone(), f.transform)).collect()
    }

    #[test]
    fn every_transform_is_read() {
        assert!(names("()").is_empty() && names("").is_empty() && names(" ( ) ").is_empty());
        assert_eq!(names("(symbol)"), [("symbol".into(), Transform::Identity)]);
        assert_eq!(
            names("(hour(redpanda.timestamp), bucket(16, id), truncate(symbol, 3))"),
            [
                ("redpanda_timestamp_hour".into(), Transform::Hour),
                ("id_bucket_part".into(), Transform::Bucket(16)),
                ("symbol_trunc".into(), Transform::Truncate(3)),
            ]
        );
        assert_eq!(names("year(redpanda.timestamp)")[0].1, Transform::Year);
        assert_eq!(names("MONTH(\"redpanda.timestamp\")")[0].1, Transform::Month);
        assert_eq!(names("(day(redpanda.timestamp))")[0].1, Transform::Day);
        assert_eq!(names("void(symbol), `order-no`")[1], ("order_no".into(), Transform::Identity));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, word) in [
            ("(symbol", "closing"),
            ("symbol)", "not opened"),
            ("(nope)", "no column `nope`"),
            ("weekly(symbol)", "no transform"),
            ("bucket(symbol)", "a number and a column"),
            ("bucket(0, id)", "out of range"),
            ("hour(symbol)", "hour"),
            ("(redpanda)", "only plain columns"),
            ("(price)", "floating"),
            ("(day(redpanda.timestamp), hour(redpanda.timestamp))", "redundant"),
            ("(symbol,)", "no column"),
            ("day(events.element.timestamp)", "list"),
            ("a(b(c))", "no transform"),
        ] {
            let error = parse(text, &schema()).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
