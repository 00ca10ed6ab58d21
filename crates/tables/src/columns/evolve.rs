//! Which changes of columns a table can take.
//!
//! Owns: adding optional columns, widening types, renaming columns that rows know by a newer name; everything else is
//! refused by the column's name. The order of columns stays the table's.
//! Invariants: no id is used twice; no row that is there changes its meaning.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef, Fields, Schema as ArrowSchema};
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type,
};

use super::{FORMER_NAMES, iceberg_schema};
use crate::commit::CommitError;

/// The schema that takes rows of `columns` too, or none when `current` does already.
pub(crate) fn evolved(
    current: &Schema,
    last_column_id: i32,
    columns: &ArrowSchema,
) -> Result<Option<Schema>, CommitError> {
    let wanted = iceberg_schema(columns)?;
    let mut evolution = Evolution { last_id: last_column_id, changed: false };
    let names = Names::of(columns.fields());
    let fields = evolution.fields("", current.as_struct().fields(), wanted.as_struct().fields(), &names)?;
    if !evolution.changed {
        return Ok(None);
    }
    Schema::builder()
        .with_fields(fields)
        .with_identifier_field_ids(current.identifier_field_ids())
        .build()
        .map(Some)
        .map_err(|e| CommitError::Invalid(format!("the columns do not fit together: {}", e.message())))
}

/// What elements of lists and values of maps are called in [`Names`].
const PART: &str = "";

/// The names that wanted columns had before, by their present name, for every level.
#[derive(Default)]
struct Names {
    former: HashMap<String, Vec<String>>,
    within: HashMap<String, Names>,
}

impl Names {
    fn of(fields: &Fields) -> Self {
        let mut names = Self::default();
        for field in fields {
            let text = field.metadata().get(FORMER_NAMES);
            let former: Vec<String> =
                text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            if !former.is_empty() {
                names.former.insert(field.name().clone(), former);
            }
            let within = match field.data_type() {
                DataType::Struct(fields) => Self::of(fields),
                DataType::List(element) => Self::part(element),
                DataType::Map(entries, _) => match entries.data_type() {
                    DataType::Struct(pair) if pair.len() == 2 => Self::part(&pair[1]),
                    _ => continue,
                },
                _ => continue,
            };
            names.within.insert(field.name().clone(), within);
        }
        names
    }

    /// The element of a list, or the value of a map, under a name of its own.
    fn part(field: &FieldRef) -> Self {
        let renamed = Arc::new(field.as_ref().clone().with_name(PART));
        Self::of(&Fields::from(vec![renamed]))
    }

    fn within(&self, name: &str) -> &Self {
        static NONE: LazyLock<Names> = LazyLock::new(Names::default);
        self.within.get(name).unwrap_or(&NONE)
    }

    /// Which of the wanted columns each column of the table is: first those that were renamed, so that a name that was
    /// given anew belongs to the new column.
    fn matches(&self, current: &[NestedFieldRef], wanted: &[NestedFieldRef]) -> Vec<Option<usize>> {
        let mut matched = vec![None; current.len()];
        for (at, want) in wanted.iter().enumerate() {
            if current.iter().any(|c| c.name == want.name) {
                continue;
            }
            let former = self.former.get(&want.name).into_iter().flatten().rev();
            let known = former.filter_map(|name| current.iter().position(|c| c.name == *name));
            if let Some(known) = known.into_iter().find(|at| matched[*at].is_none()) {
                matched[known] = Some(at);
            }
        }
        for (at, column) in current.iter().enumerate() {
            if matched[at].is_none() {
                matched[at] = wanted.iter().position(|w| w.name == column.name);
            }
        }
        matched
    }
}

struct Evolution {
    last_id: i32,
    changed: bool,
}

impl Evolution {
    fn fields(
        &mut self,
        path: &str,
        current: &[NestedFieldRef],
        wanted: &[NestedFieldRef],
        names: &Names,
    ) -> Result<Vec<NestedFieldRef>, CommitError> {
        let mut fields = Vec::with_capacity(current.len());
        let matched = names.matches(current, wanted);
        for (field, at) in current.iter().zip(&matched) {
            let path = join(path, &field.name);
            match at.map(|at| &wanted[at]) {
                Some(w) => fields.push(self.field(&path, field, w, names.within(&w.name))?),
                None if field.required => {
                    return refuse(&path, "the table requires it, the rows do not have it");
                }
                None => fields.push(Arc::clone(field)),
            }
        }
        let added = wanted.iter().enumerate().filter(|(at, _)| !matched.contains(&Some(*at)));
        for (_, added) in added {
            self.changed = true;
            let (id, field_type) = (self.next_id(), added.field_type.as_ref().clone());
            let field_type = self.fresh(&field_type);
            fields.push(Arc::new(NestedField::optional(id, added.name.clone(), field_type)));
        }
        Ok(fields)
    }

    fn field(
        &mut self,
        path: &str,
        current: &NestedFieldRef,
        wanted: &NestedFieldRef,
        names: &Names,
    ) -> Result<NestedFieldRef, CommitError> {
        let mut field = self.part(path, current, wanted, names)?.as_ref().clone();
        if field.name != wanted.name {
            self.changed = true;
            field.name.clone_from(&wanted.name);
        }
        Ok(Arc::new(field))
    }

    /// A field whose name is of no account.
    fn part(
        &mut self,
        path: &str,
        current: &NestedFieldRef,
        wanted: &NestedFieldRef,
        names: &Names,
    ) -> Result<NestedFieldRef, CommitError> {
        if current.required && !wanted.required {
            return refuse(path, "the table requires it, the rows may lack it");
        }
        let field_type = self.type_of(path, &current.field_type, &wanted.field_type, names)?;
        let mut field = current.as_ref().clone();
        field.field_type = Box::new(field_type);
        Ok(Arc::new(field))
    }

    fn type_of(
        &mut self,
        path: &str,
        current: &Type,
        wanted: &Type,
        names: &Names,
    ) -> Result<Type, CommitError> {
        match (current, wanted) {
            (Type::Primitive(c), Type::Primitive(w)) => {
                let wide = widened(c, w).ok_or_else(|| refusal(path, &format!("{c} cannot become {w}")))?;
                self.changed |= wide != *c;
                Ok(Type::Primitive(wide))
            }
            (Type::Struct(c), Type::Struct(w)) => {
                Ok(Type::Struct(StructType::new(self.fields(path, c.fields(), w.fields(), names)?)))
            }
            (Type::List(c), Type::List(w)) => {
                let (path, names) = (join(path, "element"), names.within(PART));
                let element = self.part(&path, &c.element_field, &w.element_field, names)?;
                Ok(Type::List(ListType::new(element)))
            }
            (Type::Map(c), Type::Map(w)) => {
                // Widening a key would make equal keys of old and new rows look different to engines: kept as it is.
                if c.key_field.field_type != w.key_field.field_type
                    && !same_primitive(&c.key_field.field_type, &w.key_field.field_type)
                {
                    return refuse(path, "the type of a map's keys cannot change");
                }
                let (path, names) = (join(path, "value"), names.within(PART));
                let value = self.part(&path, &c.value_field, &w.value_field, names)?;
                Ok(Type::Map(MapType::new(Arc::clone(&c.key_field), value)))
            }
            _ => refuse(path, &format!("{current} cannot become {wanted}")),
        }
    }

    /// The same type with new ids.
    fn fresh(&mut self, field_type: &Type) -> Type {
        match field_type {
            Type::Primitive(p) => Type::Primitive(p.clone()),
            Type::Struct(s) => {
                // A level gets its ids before the levels below it.
                let ids: Vec<i32> = s.fields().iter().map(|_| self.next_id()).collect();
                let fields = s.fields().iter().zip(ids).map(|(f, id)| self.renumbered(f, id));
                Type::Struct(StructType::new(fields.collect()))
            }
            Type::List(l) => {
                let id = self.next_id();
                Type::List(ListType::new(self.renumbered(&l.element_field, id)))
            }
            Type::Map(m) => {
                let (key, value) = (self.next_id(), self.next_id());
                let key = self.renumbered(&m.key_field, key);
                Type::Map(MapType::new(key, self.renumbered(&m.value_field, value)))
            }
        }
    }

    fn renumbered(&mut self, field: &NestedFieldRef, id: i32) -> NestedFieldRef {
        let mut fresh = field.as_ref().clone();
        fresh.id = id;
        fresh.field_type = Box::new(self.fresh(&field.field_type));
        Arc::new(fresh)
    }

    fn next_id(&mut self) -> i32 {
        self.last_id += 1;
        self.last_id
    }
}

/// The type that holds the values of both, when Iceberg allows the first to become it.
fn widened(current: &PrimitiveType, wanted: &PrimitiveType) -> Option<PrimitiveType> {
    use PrimitiveType::{Decimal, Double, Fixed, Float, Int, Long, Timestamp, Timestamptz, Uuid};
    match (current, wanted) {
        (c, w) if c == w => Some(c.clone()),
        // The same bytes: tables that were made before UUIDs had their own type keep what they have.
        (Fixed(16), Uuid) => Some(Fixed(16)),
        // Tables that Redpanda made have times of UTC without a zone; so they stay.
        (Timestamp, Timestamptz) => Some(Timestamp),
        (Int, Long) | (Long, Int) => Some(Long),
        (Float, Double) | (Double, Float) => Some(Double),
        (Decimal { precision: c, scale }, Decimal { precision: w, scale: s }) if scale == s => {
            Some(Decimal { precision: *c.max(w), scale: *scale })
        }
        _ => None,
    }
}

fn same_primitive(a: &Type, b: &Type) -> bool {
    matches!((a, b), (Type::Primitive(a), Type::Primitive(b)) if a == b)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn refusal(path: &str, why: &str) -> CommitError {
    CommitError::Invalid(format!(
        "column {path}: {why}; columns can be added and renamed, int widened to long, float to double, decimals to more digits"
    ))
}

fn refuse<T>(path: &str, why: &str) -> Result<T, CommitError> {
    Err(refusal(path, why))
}
