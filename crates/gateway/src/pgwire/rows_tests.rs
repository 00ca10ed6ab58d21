//! Batches of many types against the bytes that PostgreSQL sends.

use arrow::array::{
    DictionaryArray, Int32Builder, ListBuilder, NullArray, StructArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Int8Type, Schema};

use super::*;

fn rows(array: ArrayRef, format: Format) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    let field = Field::new("c", array.data_type().clone(), true);
    let column = Column::of(&field);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let rows = Rows::new(&batch, &[column], &[format])?;
    let mut found = Vec::new();
    for row in 0..rows.count() {
        let mut out = BytesMut::new();
        rows.write(row, &mut out)?;
        assert_eq!(out[0], b'D');
        assert_eq!(i32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
        assert_eq!(out[5..7], [0, 1]);
        let length = i32::from_be_bytes(out[7..11].try_into().unwrap());
        found.push((length >= 0).then(|| out[11..].to_vec()));
        assert_eq!(out.len() - 11, length.max(0) as usize);
    }
    Ok(found)
}

fn texts(array: ArrayRef) -> Vec<Option<String>> {
    let rows = rows(array, Format::Text).unwrap();
    rows.into_iter().map(|cell| cell.map(|bytes| String::from_utf8(bytes).unwrap())).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn scalars_and_nulls() {
    assert_eq!(texts(Arc::new(BooleanArray::from(vec![Some(true), None]))), [some("t"), None]);
    assert_eq!(texts(Arc::new(StringViewArray::from(vec![Some("a"), None]))), [some("a"), None]);
    assert_eq!(texts(Arc::new(NullArray::new(2))), [None, None]);
    let decimals = Decimal128Array::from(vec![Some(-12345), None]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(texts(Arc::new(decimals)), [some("-123.45"), None]);
    let nanos = TimestampNanosecondArray::from(vec![1_500]).with_timezone("UTC");
    assert_eq!(texts(Arc::new(nanos)), [some("1970-01-01 00:00:00.000001+00")]);
    let zoned = TimestampMicrosecondArray::from(vec![0]).with_timezone("+05:30");
    assert_eq!(texts(Arc::new(zoned)), [some("1970-01-01 05:30:00+05:30")]);
    let words: DictionaryArray<Int8Type> = vec!["x", "y", "x"].into_iter().collect();
    assert_eq!(texts(Arc::new(words)), [some("x"), some("y"), some("x")]);
    assert_eq!(texts(Arc::new(UInt64Array::from(vec![7]))), [some("7")]);
}

#[test]
fn a_value_that_does_not_fit_is_refused() {
    let refused = rows(Arc::new(UInt64Array::from(vec![u64::MAX])), Format::Text).unwrap_err();
    assert_eq!(refused.sqlstate, "22003");
}

#[test]
fn binaries() {
    let int = rows(Arc::new(Int32Array::from(vec![Some(258), None])), Format::Binary).unwrap();
    assert_eq!(int, [Some(vec![0, 0, 1, 2]), None]);
    let stamp = TimestampMicrosecondArray::from(vec![946_684_800_000_001]);
    assert_eq!(rows(Arc::new(stamp), Format::Binary).unwrap(), [Some(vec![0, 0, 0, 0, 0, 0, 0, 1])]);
}

#[test]
fn arrays() {
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_value([]);
    lists.append_null();
    let lists: ArrayRef = Arc::new(lists.finish());
    assert_eq!(texts(Arc::clone(&lists)), [some("{1,NULL}"), some("{}"), None]);
    let mut wanted = Vec::new();
    for word in [1i32, 1, 23, 2, 1, 4, 1, -1] {
        wanted.extend(word.to_be_bytes());
    }
    let binary = rows(lists, Format::Binary).unwrap();
    assert_eq!(binary[0].as_deref(), Some(wanted.as_slice()));
    assert_eq!(binary[1].as_deref(), Some([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 23].as_slice()));
    assert_eq!(binary[2], None);
    let mut words = ListBuilder::new(StringBuilder::new());
    words.append_value([Some("a b"), Some("null"), Some("x")]);
    assert_eq!(texts(Arc::new(words.finish())), [some("{\"a b\",\"null\",x}")]);
}

#[test]
fn nested_values_are_json() {
    let part: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let offset: ArrayRef = Arc::new(StringArray::from(vec!["p", "q\""]));
    let fields = vec![
        Arc::new(Field::new("partition", DataType::Int32, true)),
        Arc::new(Field::new("name", DataType::Utf8, true)),
    ];
    let structs = StructArray::new(fields.into(), vec![part, offset], None);
    let wanted = [some(r#"{"partition":1,"name":"p"}"#), some(r#"{"partition":null,"name":"q\""}"#)];
    assert_eq!(texts(Arc::new(structs)), wanted);
}

#[test]
fn format_codes() {
    assert_eq!(Format::of_codes(&[], 2).unwrap(), [Format::Text; 2]);
    assert_eq!(Format::of_codes(&[1], 2).unwrap(), [Format::Binary; 2]);
    assert_eq!(Format::of_codes(&[0, 1], 2).unwrap(), [Format::Text, Format::Binary]);
    assert!(Format::of_codes(&[0, 1, 0], 2).is_err());
    assert!(Format::of_codes(&[7], 1).is_err());
}
