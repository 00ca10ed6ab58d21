//! Columns while they grow.
//!
//! Owns: appending to a column and cutting it back, down to its nested columns; turning it into an Arrow array.
//! Does not own: parsing; which column a value belongs to.
//! Invariants: `truncate(n)` leaves exactly what was there when the column had `n` values.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, ListArray, MapArray, NullBufferBuilder, StringArray,
    StructArray, make_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields};
use arrow::error::ArrowError;

/// Room made in advance for each value of a column of bytes.
const BYTES_PER_VALUE: usize = 8;

/// A growing column.
pub(super) enum Column {
    Boolean {
        values: BooleanBufferBuilder,
        nulls: NullBufferBuilder,
    },
    /// Also dates.
    Int {
        values: Vec<i32>,
        nulls: NullBufferBuilder,
    },
    /// Also times and timestamps.
    Long {
        values: Vec<i64>,
        nulls: NullBufferBuilder,
    },
    Float {
        values: Vec<f32>,
        nulls: NullBufferBuilder,
    },
    Double {
        values: Vec<f64>,
        nulls: NullBufferBuilder,
    },
    Decimal {
        values: Vec<i128>,
        nulls: NullBufferBuilder,
    },
    /// Strings too: whoever appends checks that they are UTF-8.
    Bytes {
        values: BytesColumn,
        nulls: NullBufferBuilder,
    },
    Fixed {
        bytes: Vec<u8>,
        width: usize,
        nulls: NullBufferBuilder,
    },
    Struct(StructColumn),
    List(Box<ListColumn>),
    Map(Box<MapColumn>),
}

/// Byte strings in one buffer.
pub(super) struct BytesColumn {
    pub(super) bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// Records with known fields.
pub(super) struct StructColumn {
    pub(super) children: Vec<Column>,
    /// The members of the JSON object before, in their order.
    pub(super) habit: Vec<Habit>,
    pub(super) nulls: NullBufferBuilder,
}

/// A member as it was written in the JSON object before.
pub(super) struct Habit {
    /// Name with quotes.
    pub(super) literal: Box<[u8]>,
    /// Which member of the plan; none for one that is passed over.
    pub(super) member: Option<usize>,
}

/// Lists.
pub(super) struct ListColumn {
    pub(super) items: Column,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

/// Maps from strings, or whatever `keys` holds.
pub(super) struct MapColumn {
    pub(super) keys: Column,
    pub(super) values: Column,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl BytesColumn {
    fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity * BYTES_PER_VALUE), ends: ends(capacity) }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Where the value begins that is not finished yet.
    fn open_start(&self) -> usize {
        last_end(&self.ends)
    }

    /// Finishes the value whose bytes were pushed; false when the buffer has grown beyond what offsets can address.
    #[inline]
    pub(super) fn finish_value(&mut self) -> bool {
        match i32::try_from(self.bytes.len()) {
            Ok(end) => {
                self.ends.push(end);
                true
            }
            Err(_) => {
                self.bytes.truncate(self.open_start());
                false
            }
        }
    }

    /// A finished value.
    pub(super) fn value(&self, index: usize) -> &[u8] {
        &self.bytes[self.ends[index] as usize..self.ends[index + 1] as usize]
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.bytes.truncate(self.open_start());
    }
}

fn ends(capacity: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(capacity + 1);
    ends.push(0);
    ends
}

fn last_end(ends: &[i32]) -> usize {
    ends.last().map_or(0, |end| *end as usize)
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}

impl StructColumn {
    pub(super) fn new(fields: &Fields, capacity: usize) -> Self {
        let children = fields.iter().map(|f| Column::new(f.data_type(), capacity)).collect();
        Self { children, habit: Vec::new(), nulls: NullBufferBuilder::new(capacity) }
    }

    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.nulls.truncate(len);
        for child in &mut self.children {
            child.truncate(len);
        }
    }

    /// The children as arrays of the types of `fields`.
    pub(super) fn finish_children(
        self,
        fields: &Fields,
    ) -> Result<(Vec<ArrayRef>, Option<NullBuffer>), ArrowError> {
        let children = self.children.into_iter().zip(fields).map(|(c, f)| c.finish(f.data_type()));
        let children = children.collect::<Result<_, _>>()?;
        let mut nulls = self.nulls;
        Ok((children, nulls.finish()))
    }
}

impl ListColumn {
    /// Finishes the list whose items were pushed; false when there are more than offsets can address.
    pub(super) fn finish_value(&mut self) -> bool {
        let Ok(end) = i32::try_from(self.items.len()) else { return false };
        self.ends.push(end);
        self.nulls.append_non_null();
        true
    }
}

impl ListColumn {
    /// Items of the list that is not finished yet.
    pub(super) fn open_len(&self) -> usize {
        self.items.len() - last_end(&self.ends)
    }
}

impl MapColumn {
    /// First entry of the map that is not finished yet.
    pub(super) fn open_start(&self) -> usize {
        last_end(&self.ends)
    }

    /// Finishes the map whose entries were pushed; false when there are more than offsets can address.
    pub(super) fn finish_value(&mut self) -> bool {
        let Ok(end) = i32::try_from(self.keys.len()) else { return false };
        self.ends.push(end);
        self.nulls.append_non_null();
        true
    }

    /// Positions, ascending, of the open map's entries whose key comes again later.
    pub(super) fn doubled_keys(&self) -> Vec<usize> {
        let start = self.open_start();
        let len = self.keys.len();
        match &self.keys {
            Column::Bytes { values, .. } => doubled(start, len, |index| values.value(index)),
            Column::Int { values, .. } => doubled(start, len, |index| values[index]),
            Column::Long { values, .. } => doubled(start, len, |index| values[index]),
            Column::Boolean { values, .. } => doubled(start, len, |index| values.get_bit(index)),
            _ => Vec::new(),
        }
    }

    /// Drops the entries of the map that is not finished yet.
    pub(super) fn drop_open(&mut self) {
        let start = self.open_start();
        self.keys.truncate(start);
        self.values.truncate(start);
    }
}

fn doubled<K: Eq + Hash>(start: usize, len: usize, key: impl Fn(usize) -> K) -> Vec<usize> {
    let count = len - start;
    let key = |position: usize| key(start + position);
    if count <= 8 {
        return (0..count).filter(|a| (a + 1..count).any(|b| key(*a) == key(b))).collect();
    }
    let mut seen = HashSet::with_capacity(count);
    let mut doubled: Vec<usize> = (0..count).rev().filter(|position| !seen.insert(key(*position))).collect();
    doubled.reverse();
    doubled
}

impl Column {
    /// A column of a type that some format maps to.
    pub(super) fn new(data_type: &DataType, capacity: usize) -> Self {
        let nulls = NullBufferBuilder::new(capacity);
        match data_type {
            DataType::Boolean => Self::Boolean { values: BooleanBufferBuilder::new(capacity), nulls },
            DataType::Int32 | DataType::Date32 => Self::Int { values: Vec::with_capacity(capacity), nulls },
            DataType::Float32 => Self::Float { values: Vec::with_capacity(capacity), nulls },
            DataType::Float64 => Self::Double { values: Vec::with_capacity(capacity), nulls },
            DataType::Decimal128(..) => Self::Decimal { values: Vec::with_capacity(capacity), nulls },
            DataType::Utf8 | DataType::Binary => Self::Bytes { values: BytesColumn::new(capacity), nulls },
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).unwrap_or(0);
                Self::Fixed { bytes: Vec::with_capacity(capacity * width.min(64)), width, nulls }
            }
            DataType::Struct(fields) => Self::Struct(StructColumn::new(fields, capacity)),
            DataType::List(item) => Self::List(Box::new(ListColumn {
                items: Self::new(item.data_type(), capacity),
                ends: ends(capacity),
                nulls,
            })),
            DataType::Map(entries, _) => {
                let (keys, values) = match entries.data_type() {
                    DataType::Struct(fields) if fields.len() == 2 => {
                        (fields[0].data_type(), fields[1].data_type())
                    }
                    _ => (&DataType::Utf8, &DataType::Utf8),
                };
                Self::Map(Box::new(MapColumn {
                    keys: Self::new(keys, capacity),
                    values: Self::new(values, capacity),
                    ends: ends(capacity),
                    nulls,
                }))
            }
            // Int64, and times and timestamps in microseconds.
            _ => Self::Long { values: Vec::with_capacity(capacity), nulls },
        }
    }

    pub(super) fn nulls(&mut self) -> &mut NullBufferBuilder {
        match self {
            Self::Boolean { nulls, .. }
            | Self::Int { nulls, .. }
            | Self::Long { nulls, .. }
            | Self::Float { nulls, .. }
            | Self::Double { nulls, .. }
            | Self::Decimal { nulls, .. }
            | Self::Bytes { nulls, .. }
            | Self::Fixed { nulls, .. } => nulls,
            Self::Struct(column) => &mut column.nulls,
            Self::List(column) => &mut column.nulls,
            Self::Map(column) => &mut column.nulls,
        }
    }

    /// Number of values, nulls included.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Boolean { nulls, .. }
            | Self::Int { nulls, .. }
            | Self::Long { nulls, .. }
            | Self::Float { nulls, .. }
            | Self::Double { nulls, .. }
            | Self::Decimal { nulls, .. }
            | Self::Bytes { nulls, .. }
            | Self::Fixed { nulls, .. } => nulls.len(),
            Self::Struct(column) => column.nulls.len(),
            Self::List(column) => column.nulls.len(),
            Self::Map(column) => column.nulls.len(),
        }
    }

    pub(super) fn push_null(&mut self) {
        self.push_blank();
        self.nulls().append_null();
    }

    /// False, zero, or nothing between quotes.
    pub(super) fn push_default(&mut self) {
        self.push_blank();
        self.nulls().append_non_null();
    }

    fn push_blank(&mut self) {
        match self {
            Self::Boolean { values, .. } => values.append(false),
            Self::Int { values, .. } => values.push(0),
            Self::Long { values, .. } => values.push(0),
            Self::Float { values, .. } => values.push(0.0),
            Self::Double { values, .. } => values.push(0.0),
            Self::Decimal { values, .. } => values.push(0),
            Self::Bytes { values, .. } => values.ends.push(last_end(&values.ends) as i32),
            Self::Fixed { bytes, width, .. } => bytes.resize(bytes.len() + *width, 0),
            Self::Struct(column) => column.children.iter_mut().for_each(Self::push_null),
            Self::List(column) => column.ends.push(last_end(&column.ends) as i32),
            Self::Map(column) => column.ends.push(last_end(&column.ends) as i32),
        }
    }

    /// Cuts the column back to `len` values, unfinished ones included.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Boolean { values, .. } => values.truncate(len),
            Self::Int { values, .. } => values.truncate(len),
            Self::Long { values, .. } => values.truncate(len),
            Self::Float { values, .. } => values.truncate(len),
            Self::Double { values, .. } => values.truncate(len),
            Self::Decimal { values, .. } => values.truncate(len),
            Self::Bytes { values, .. } => values.truncate(len),
            Self::Fixed { bytes, width, .. } => bytes.truncate(len * *width),
            Self::Struct(column) => return column.truncate(len),
            Self::List(column) => {
                column.ends.truncate(len + 1);
                column.items.truncate(last_end(&column.ends));
            }
            Self::Map(column) => {
                column.ends.truncate(len + 1);
                column.drop_open();
            }
        }
        self.nulls().truncate(len);
    }

    /// The column as an array of the type that it was made for.
    fn finish(self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match self {
            Self::Boolean { mut values, mut nulls } => {
                Arc::new(BooleanArray::new(values.finish(), nulls.finish()))
            }
            Self::Int { values, mut nulls } => Arc::new(Int32Array::try_new(values.into(), nulls.finish())?),
            Self::Long { values, mut nulls } => Arc::new(Int64Array::try_new(values.into(), nulls.finish())?),
            Self::Float { values, mut nulls } => {
                Arc::new(Float32Array::try_new(values.into(), nulls.finish())?)
            }
            Self::Double { values, mut nulls } => {
                Arc::new(Float64Array::try_new(values.into(), nulls.finish())?)
            }
            Self::Decimal { values, mut nulls } => {
                let array = Decimal128Array::try_new(values.into(), nulls.finish())?;
                return Ok(Arc::new(array.with_data_type(data_type.clone())));
            }
            Self::Bytes { values: BytesColumn { bytes, ends }, mut nulls } => {
                let (ends, bytes) = (offsets(ends), bytes.into());
                if *data_type == DataType::Utf8 {
                    return Ok(Arc::new(StringArray::try_new(ends, bytes, nulls.finish())?));
                }
                return Ok(Arc::new(BinaryArray::try_new(ends, bytes, nulls.finish())?));
            }
            Self::Fixed { bytes, width, mut nulls } => {
                let width = i32::try_from(width).map_err(|e| ArrowError::SchemaError(e.to_string()))?;
                return Ok(Arc::new(FixedSizeBinaryArray::try_new(width, bytes.into(), nulls.finish())?));
            }
            Self::Struct(column) => {
                let DataType::Struct(fields) = data_type else { return Err(other_type(data_type)) };
                let (children, nulls) = column.finish_children(fields)?;
                return Ok(Arc::new(StructArray::try_new(fields.clone(), children, nulls)?));
            }
            Self::List(column) => {
                let DataType::List(item) = data_type else { return Err(other_type(data_type)) };
                let ListColumn { items, ends, mut nulls } = *column;
                let items = items.finish(item.data_type())?;
                return Ok(Arc::new(ListArray::try_new(item.clone(), offsets(ends), items, nulls.finish())?));
            }
            Self::Map(column) => return finish_map(*column, data_type),
        };
        retyped(array, data_type)
    }
}

/// The same values under a type that is stored alike: dates, times, timestamps.
fn retyped(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        return Ok(array);
    }
    Ok(make_array(array.to_data().into_builder().data_type(data_type.clone()).build()?))
}

fn finish_map(column: MapColumn, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let MapColumn { keys, values, ends, mut nulls } = column;
    let DataType::Map(field, _) = data_type else { return Err(other_type(data_type)) };
    let DataType::Struct(entry) = field.data_type() else { return Err(other_type(data_type)) };
    let children = vec![keys.finish(entry[0].data_type())?, values.finish(entry[1].data_type())?];
    let entries = StructArray::try_new(entry.clone(), children, None)?;
    Ok(Arc::new(MapArray::try_new(field.clone(), offsets(ends), entries, nulls.finish(), false)?))
}

fn other_type(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column that was made for another type than {data_type}"))
}
