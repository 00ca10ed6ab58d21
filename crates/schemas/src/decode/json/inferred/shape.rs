//! The columns of JSON without a schema, as they are stored.
//!
//! Owns: what a shape is made of, the names of its columns.
//! Does not own: how it grows (`grow`), reading records with it (`super`), where an era starts.
//! Invariants: a shape only grows; what was added in an era is known by it, so that records of an earlier era are read
//! as they were then. Names of columns differ within an object even when case does not count, and have no dots.

use arrow::datatypes::{DataType, Field, Fields};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most columns, nested ones included, but for those called [`EXTRA`].
pub const INFERRED_COLUMNS_MAX: usize = 1_000;
/// Objects and arrays within each other that become columns; what lies deeper is text.
pub const INFERRED_DEPTH_MAX: usize = 16;
/// Longest name of a member that becomes a column, in bytes.
pub const INFERRED_NAME_BYTES_MAX: usize = 255;
/// The column of members that have no column of their own: a JSON object.
pub(super) const EXTRA: &str = "_extra";
/// Behind the name of the column that holds what does not fit a member's type.
const TEXT_SUFFIX: &str = "_json";
/// The column that every topic's table has: another spelling of it cannot be a column.
const METADATA: &str = "redpanda";

/// A stretch of a topic's life in which its shape did not grow. In era 0 there are no columns.
pub type Era = u32;

/// The columns that records have had so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    pub(super) root: ObjectShape,
    /// Since when it does not grow any more: everything unknown goes to [`EXTRA`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) full: Option<Era>,
}

/// The members of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ObjectShape {
    /// In the order in which they were met.
    pub(super) members: Vec<MemberShape>,
    /// Since when there is [`EXTRA`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) extra: Option<Era>,
}

/// A member that has columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct MemberShape {
    /// As the records call it.
    pub(super) name: String,
    pub(super) column: String,
    /// The type of its first value; none when that was of no type that a column can have: then all values are misfits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<ValueShape>,
    /// Where values of other types go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) misfits: Option<Misfits>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ValueShape {
    pub(super) kind: Kind,
    pub(super) since: Era,
}

/// The type of a member or of an array's items.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Boolean,
    Long,
    Double,
    Text,
    Object(ObjectShape),
    List(Box<Kind>),
}

/// Where values go that are not of a member's type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Misfits {
    /// A column of JSON text beside it.
    Column { name: String, since: Era },
    /// [`EXTRA`], because the name of such a column was taken.
    Extra { since: Era },
}

impl Shape {
    /// Whether nothing has been in any record so far.
    pub fn is_empty(&self) -> bool {
        self.root.members.is_empty() && self.root.extra.is_none()
    }

    /// Whether it has reached [`INFERRED_COLUMNS_MAX`] or was closed: fields that come now lie in [`EXTRA`].
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Lets everything that comes from `era` on and has no column go to [`EXTRA`].
    pub fn close(&mut self, era: Era) {
        self.full.get_or_insert(era);
        self.root.add_extras(era);
    }

    pub(super) fn count(&self) -> usize {
        self.root.count()
    }
}

impl ObjectShape {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.extra.is_none()
    }

    pub(super) fn fields(&self) -> Fields {
        let mut fields = Vec::with_capacity(self.members.len());
        for member in &self.members {
            if let Some(value) = &member.value {
                fields.push(Field::new(&member.column, value.kind.data_type(), true));
            }
            if let Some(Misfits::Column { name, .. }) = &member.misfits {
                fields.push(Field::new(name, DataType::Utf8, true));
            }
        }
        fields.extend(self.extra.map(|_| Field::new(EXTRA, DataType::Utf8, true)));
        fields.into()
    }

    /// What its columns are called, in lower case.
    pub(super) fn taken(&self) -> impl Iterator<Item = String> {
        self.members.iter().flat_map(|member| {
            let misfits = match &member.misfits {
                Some(Misfits::Column { name, .. }) => Some(name.to_lowercase()),
                _ => None,
            };
            std::iter::once(member.column.to_lowercase()).chain(misfits)
        })
    }

    /// The name of a member's column; none when it cannot have one.
    pub(super) fn free_column(&self, name: &str, is_root: bool) -> Option<String> {
        let column = column_name(name, is_root)?;
        let lower = column.to_lowercase();
        (!self.taken().any(|taken| taken == lower)).then_some(column)
    }

    /// The name of the column for a member's misfits; none when it is taken.
    pub(super) fn free_text_column(&self, column: &str, is_root: bool) -> Option<String> {
        self.free_column(&format!("{column}{TEXT_SUFFIX}"), is_root)
    }

    fn count(&self) -> usize {
        let of = |member: &MemberShape| {
            member.value.as_ref().map_or(0, |value| value.kind.count())
                + usize::from(matches!(member.misfits, Some(Misfits::Column { .. })))
        };
        self.members.iter().map(of).sum()
    }

    fn add_extras(&mut self, era: Era) {
        self.extra.get_or_insert(era);
        for value in self.members.iter_mut().filter_map(|member| member.value.as_mut()) {
            value.kind.add_extras(era);
        }
    }
}

impl Kind {
    fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Long => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Object(object) => DataType::Struct(object.fields()),
            Self::List(items) => DataType::List(Arc::new(Field::new("element", items.data_type(), true))),
        }
    }

    /// Columns that it makes, itself included.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Object(object) => 1 + object.count(),
            Self::List(items) => 1 + items.count(),
            _ => 1,
        }
    }

    fn add_extras(&mut self, era: Era) {
        match self {
            Self::Object(object) => object.add_extras(era),
            Self::List(items) => items.add_extras(era),
            _ => {}
        }
    }
}

/// What a member's column would be called: dots would look like paths, and control characters cannot be typed.
pub(super) fn column_name(name: &str, is_root: bool) -> Option<String> {
    if name.is_empty() || name.len() > INFERRED_NAME_BYTES_MAX {
        return None;
    }
    let column = name.replace(|c: char| c == '.' || c.is_control(), "_");
    let lower = column.to_lowercase();
    let reserved = lower == EXTRA || (is_root && lower == METADATA && name != METADATA);
    (!reserved).then_some(column)
}
