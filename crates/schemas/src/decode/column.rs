//! Columns while they grow.
//!
//! Owns: appending to a column and cutting it back, down to its nested columns; turning it into an Arrow array.
//! Does not own: parsing.
//! Invariants: `truncate(n)` leaves exactly what was there when the column had `n` values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Date32Array, Float64Array, Int64Array, ListArray, MapArray,
    NullBufferBuilder, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

use super::plan::{Kind, Node, Object, UTC};
use super::restrictions::{Numbers, Texts};

/// A growing column of one type.
pub(super) enum Column<'p> {
    Boolean { values: BooleanBufferBuilder, nulls: NullBufferBuilder },
    Integer { values: Vec<i64>, nulls: NullBufferBuilder, allowed: &'p Numbers<i64> },
    Number { values: Vec<f64>, nulls: NullBufferBuilder, allowed: &'p Numbers<f64> },
    Text { texts: TextColumn, nulls: NullBufferBuilder, allowed: &'p Texts },
    Timestamp { values: Vec<i64>, nulls: NullBufferBuilder },
    Date { values: Vec<i32>, nulls: NullBufferBuilder },
    Time { values: Vec<i64>, nulls: NullBufferBuilder },
    Struct(StructColumn<'p>),
    List(Box<ListColumn<'p>>),
    Map(Box<MapColumn<'p>>),
}

/// Strings in one buffer.
pub(super) struct TextColumn {
    pub(super) bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// Objects with known members.
pub(super) struct StructColumn<'p> {
    pub(super) plan: &'p Object,
    pub(super) children: Vec<Column<'p>>,
    /// The members of the object before, in their order.
    pub(super) habit: Vec<Habit>,
    pub(super) nulls: NullBufferBuilder,
}

/// A member as it was written in the object before.
pub(super) struct Habit {
    /// Name with quotes.
    pub(super) literal: Box<[u8]>,
    /// Which member of the plan; none for one that is passed over.
    pub(super) member: Option<usize>,
}

/// Arrays.
pub(super) struct ListColumn<'p> {
    pub(super) takes_null: bool,
    pub(super) items: Column<'p>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
    node: &'p Node,
}

/// Objects with any members.
pub(super) struct MapColumn<'p> {
    pub(super) takes_null: bool,
    pub(super) keys: TextColumn,
    pub(super) values: Column<'p>,
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
    node: &'p Node,
}

impl TextColumn {
    fn new(capacity: usize) -> Self {
        let mut ends = Vec::with_capacity(capacity + 1);
        ends.push(0);
        Self { bytes: Vec::with_capacity(capacity * 8), ends }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Where the value begins that is not finished yet.
    pub(super) fn open_start(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    /// Finishes the value whose bytes were pushed; false when the buffer has grown beyond what offsets can address.
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

    pub(super) fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.bytes.truncate(self.open_start());
    }

    fn finish(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        StringArray::try_new(offsets(self.ends), self.bytes.into(), nulls)
    }
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}

impl<'p> StructColumn<'p> {
    pub(super) fn new(plan: &'p Object, capacity: usize) -> Self {
        let children = plan.fields.iter().map(|f| Column::new(&f.node, capacity)).collect();
        Self { plan, children, habit: Vec::new(), nulls: NullBufferBuilder::new(capacity) }
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

    /// The children as arrays.
    pub(super) fn finish_children(self) -> Result<(Vec<ArrayRef>, Option<NullBuffer>), ArrowError> {
        let children = self.children.into_iter().map(Column::finish).collect::<Result<_, _>>()?;
        let mut nulls = self.nulls;
        Ok((children, nulls.finish()))
    }
}

impl<'p> ListColumn<'p> {
    /// Finishes the list whose items were pushed; false when there are more than offsets can address.
    pub(super) fn finish_value(&mut self) -> bool {
        let Ok(end) = i32::try_from(self.items.len()) else { return false };
        self.ends.push(end);
        self.nulls.append_non_null();
        true
    }
}

impl<'p> MapColumn<'p> {
    /// First entry of the map that is not finished yet.
    pub(super) fn open_start(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize)
    }

    /// Finishes the map whose entries were pushed; false when there are more than offsets can address.
    pub(super) fn finish_value(&mut self) -> bool {
        let Ok(end) = i32::try_from(self.keys.len()) else { return false };
        self.ends.push(end);
        self.nulls.append_non_null();
        true
    }

    /// Drops the entries of the map that is not finished yet.
    pub(super) fn drop_open(&mut self) {
        let start = self.open_start();
        self.keys.truncate(start);
        self.values.truncate(start);
    }
}

impl<'p> Column<'p> {
    pub(super) fn new(node: &'p Node, capacity: usize) -> Self {
        let nulls = NullBufferBuilder::new(capacity);
        let ends = || {
            let mut ends = Vec::with_capacity(capacity + 1);
            ends.push(0);
            ends
        };
        match &node.kind {
            Kind::Boolean => Self::Boolean { values: BooleanBufferBuilder::new(capacity), nulls },
            Kind::Integer(allowed) => Self::Integer { values: Vec::with_capacity(capacity), nulls, allowed },
            Kind::Number(allowed) => Self::Number { values: Vec::with_capacity(capacity), nulls, allowed },
            Kind::Text(allowed) => Self::Text { texts: TextColumn::new(capacity), nulls, allowed },
            Kind::Timestamp => Self::Timestamp { values: Vec::with_capacity(capacity), nulls },
            Kind::Date => Self::Date { values: Vec::with_capacity(capacity), nulls },
            Kind::Time => Self::Time { values: Vec::with_capacity(capacity), nulls },
            Kind::Struct(object) => Self::Struct(StructColumn::new(object, capacity)),
            Kind::List(items) => Self::List(Box::new(ListColumn {
                takes_null: items.nullable,
                items: Column::new(items, capacity),
                ends: ends(),
                nulls,
                node,
            })),
            Kind::Map(values) => Self::Map(Box::new(MapColumn {
                takes_null: values.nullable,
                keys: TextColumn::new(capacity),
                values: Column::new(values, capacity),
                ends: ends(),
                nulls,
                node,
            })),
        }
    }

    fn nulls(&mut self) -> &mut NullBufferBuilder {
        match self {
            Self::Boolean { nulls, .. }
            | Self::Integer { nulls, .. }
            | Self::Number { nulls, .. }
            | Self::Text { nulls, .. }
            | Self::Timestamp { nulls, .. }
            | Self::Date { nulls, .. }
            | Self::Time { nulls, .. } => nulls,
            Self::Struct(column) => &mut column.nulls,
            Self::List(column) => &mut column.nulls,
            Self::Map(column) => &mut column.nulls,
        }
    }

    /// Number of values, nulls included.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Boolean { nulls, .. }
            | Self::Integer { nulls, .. }
            | Self::Number { nulls, .. }
            | Self::Text { nulls, .. }
            | Self::Timestamp { nulls, .. }
            | Self::Date { nulls, .. }
            | Self::Time { nulls, .. } => nulls.len(),
            Self::Struct(column) => column.nulls.len(),
            Self::List(column) => column.nulls.len(),
            Self::Map(column) => column.nulls.len(),
        }
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Boolean { values, .. } => values.append(false),
            Self::Integer { values, .. } | Self::Timestamp { values, .. } | Self::Time { values, .. } => {
                values.push(0);
            }
            Self::Number { values, .. } => values.push(0.0),
            Self::Date { values, .. } => values.push(0),
            Self::Text { texts, .. } => texts.ends.push(texts.open_start() as i32),
            Self::Struct(column) => column.children.iter_mut().for_each(Column::push_null),
            Self::List(column) => column.ends.push(column.ends.last().copied().unwrap_or(0)),
            Self::Map(column) => column.ends.push(column.ends.last().copied().unwrap_or(0)),
        }
        self.nulls().append_null();
    }

    /// Cuts the column back to `len` values, unfinished ones included.
    pub(super) fn truncate(&mut self, len: usize) {
        match self {
            Self::Boolean { values, .. } => values.truncate(len),
            Self::Integer { values, .. } | Self::Timestamp { values, .. } | Self::Time { values, .. } => {
                values.truncate(len);
            }
            Self::Number { values, .. } => values.truncate(len),
            Self::Date { values, .. } => values.truncate(len),
            Self::Text { texts, .. } => texts.truncate(len),
            Self::Struct(column) => return column.truncate(len),
            Self::List(column) => {
                column.ends.truncate(len + 1);
                column.items.truncate(column.ends.last().map_or(0, |end| *end as usize));
            }
            Self::Map(column) => {
                column.ends.truncate(len + 1);
                column.drop_open();
            }
        }
        self.nulls().truncate(len);
    }

    /// The column as an array.
    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean { mut values, mut nulls } => {
                Arc::new(BooleanArray::new(values.finish(), nulls.finish()))
            }
            Self::Integer { values, mut nulls, .. } => {
                Arc::new(Int64Array::try_new(values.into(), nulls.finish())?)
            }
            Self::Number { values, mut nulls, .. } => {
                Arc::new(Float64Array::try_new(values.into(), nulls.finish())?)
            }
            Self::Timestamp { values, mut nulls } => Arc::new(
                TimestampMicrosecondArray::try_new(values.into(), nulls.finish())?.with_timezone(UTC),
            ),
            Self::Date { values, mut nulls } => {
                Arc::new(Date32Array::try_new(values.into(), nulls.finish())?)
            }
            Self::Time { values, mut nulls } => {
                Arc::new(Time64MicrosecondArray::try_new(values.into(), nulls.finish())?)
            }
            Self::Text { texts, mut nulls, .. } => Arc::new(texts.finish(nulls.finish())?),
            Self::Struct(column) => {
                let types = column.plan.fields.iter().map(|f| Field::new(&f.name, f.node.data_type(), true));
                let fields: Fields = types.collect();
                let (children, nulls) = column.finish_children()?;
                Arc::new(StructArray::try_new(fields, children, nulls)?)
            }
            Self::List(column) => finish_list(*column)?,
            Self::Map(column) => finish_map(*column)?,
        })
    }
}

fn finish_list(column: ListColumn<'_>) -> Result<ArrayRef, ArrowError> {
    let ListColumn { items, ends, mut nulls, node, .. } = column;
    let DataType::List(field) = node.data_type() else {
        return Err(ArrowError::SchemaError("a list column of another type".into()));
    };
    Ok(Arc::new(ListArray::try_new(field, offsets(ends), items.finish()?, nulls.finish())?))
}

fn finish_map(column: MapColumn<'_>) -> Result<ArrayRef, ArrowError> {
    let MapColumn { keys, values, ends, mut nulls, node, .. } = column;
    let DataType::Map(field, _) = node.data_type() else {
        return Err(ArrowError::SchemaError("a map column of another type".into()));
    };
    let DataType::Struct(entry) = field.data_type() else {
        return Err(ArrowError::SchemaError("map entries of another type".into()));
    };
    let entries =
        StructArray::try_new(entry.clone(), vec![Arc::new(keys.finish(None)?), values.finish()?], None)?;
    Ok(Arc::new(MapArray::try_new(field, offsets(ends), entries, nulls.finish(), false)?))
}
