//! Which changes of columns a table can take.
//!
//! Owns: adding optional columns and widening types; everything else is refused by the column's name.
//! Invariants: no id is used twice; no row that is there changes its meaning.

use std::sync::Arc;

use arrow::datatypes::Schema as ArrowSchema;
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type,
};

use super::iceberg_schema;
use crate::commit::CommitError;

/// The schema that takes rows of `columns` too, or none when `current` does already.
pub(crate) fn evolved(
    current: &Schema,
    last_column_id: i32,
    columns: &ArrowSchema,
) -> Result<Option<Schema>, CommitError> {
    let wanted = iceberg_schema(columns)?;
    let mut evolution = Evolution { last_id: last_column_id, changed: false };
    let fields = evolution.fields("", current.as_struct().fields(), wanted.as_struct().fields())?;
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
    ) -> Result<Vec<NestedFieldRef>, CommitError> {
        let mut fields = Vec::with_capacity(current.len());
        for field in current {
            let path = join(path, &field.name);
            match wanted.iter().find(|w| w.name == field.name) {
                Some(w) => fields.push(self.field(&path, field, w)?),
                None if field.required => {
                    return refuse(&path, "the table requires it, the rows do not have it");
                }
                None => fields.push(Arc::clone(field)),
            }
        }
        for added in wanted.iter().filter(|w| current.iter().all(|c| c.name != w.name)) {
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
    ) -> Result<NestedFieldRef, CommitError> {
        if current.required && !wanted.required {
            return refuse(path, "the table requires it, the rows may lack it");
        }
        let field_type = self.type_of(path, &current.field_type, &wanted.field_type)?;
        let mut field = current.as_ref().clone();
        field.field_type = Box::new(field_type);
        Ok(Arc::new(field))
    }

    fn type_of(&mut self, path: &str, current: &Type, wanted: &Type) -> Result<Type, CommitError> {
        match (current, wanted) {
            (Type::Primitive(c), Type::Primitive(w)) => {
                let wide = widened(c, w).ok_or_else(|| refusal(path, &format!("{c} cannot become {w}")))?;
                self.changed |= wide != *c;
                Ok(Type::Primitive(wide))
            }
            (Type::Struct(c), Type::Struct(w)) => {
                Ok(Type::Struct(StructType::new(self.fields(path, c.fields(), w.fields())?)))
            }
            (Type::List(c), Type::List(w)) => {
                let element = self.field(&join(path, "element"), &c.element_field, &w.element_field)?;
                Ok(Type::List(ListType::new(element)))
            }
            (Type::Map(c), Type::Map(w)) => {
                // Widening a key would make equal keys of old and new rows look different to engines: kept as it is.
                if c.key_field.field_type != w.key_field.field_type
                    && !same_primitive(&c.key_field.field_type, &w.key_field.field_type)
                {
                    return refuse(path, "the type of a map's keys cannot change");
                }
                let value = self.field(&join(path, "value"), &c.value_field, &w.value_field)?;
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
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    match (current, wanted) {
        (c, w) if c == w => Some(c.clone()),
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
        "column {path}: {why}; columns can be added, int widened to long, float to double, decimals to more digits"
    ))
}

fn refuse<T>(path: &str, why: &str) -> Result<T, CommitError> {
    Err(refusal(path, why))
}
