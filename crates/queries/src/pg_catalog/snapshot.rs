//! What the catalogs show at one moment.
//!
//! Owns: schemas and tables with their object ids.
//! Does not own: rows and columns of catalog relations (`rows`, `relations`).
//! Invariants: the object id of a table follows from its UUID, so it is the same in every statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

/// First object id of objects that users make, as in PostgreSQL.
const FIRST_USER_OID: u32 = 16_384;
/// `pg_namespace.oid` of `pg_catalog`.
pub(crate) const PG_CATALOG_OID: u32 = 11;
/// Of `public`.
const PUBLIC_OID: u32 = 2_200;
/// Of `information_schema`.
pub(crate) const INFORMATION_SCHEMA_OID: u32 = 13_000;
/// The one role, and the owner of everything.
pub(crate) const OWNER_OID: u32 = 10;
/// The one database.
pub(crate) const DATABASE_OID: u32 = 5;

/// Catalog relations that casts to `regclass` name.
const SYSTEM_CLASSES: &[(&str, u32)] = &[
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", 1259),
    ("pg_database", 1262),
    ("pg_am", 2601),
    ("pg_attrdef", 2604),
    ("pg_constraint", 2606),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_trigger", 2620),
    ("pg_extension", 3079),
];

/// A table as the catalogs show it.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub oid: u32,
    pub schema: Arc<str>,
    pub name: Arc<str>,
    pub columns: SchemaRef,
    /// Rows where known, for `reltuples`.
    pub rows: Option<u64>,
    /// Bytes of data files.
    pub bytes: u64,
}

/// A table to be shown.
#[derive(Debug, Clone)]
pub(crate) struct NewRelation {
    pub id: u128,
    pub schema: String,
    pub name: String,
    pub columns: SchemaRef,
    pub rows: Option<u64>,
    pub bytes: u64,
}

/// All schemas and tables.
#[derive(Debug, Default)]
pub(crate) struct CatalogSnapshot {
    pub database: String,
    pub user: String,
    /// Schemas in which names are looked up without a schema.
    pub search_path: Vec<String>,
    /// Name to object id.
    pub schemas: BTreeMap<String, u32>,
    pub relations: Vec<Relation>,
}

impl CatalogSnapshot {
    pub(crate) fn new(
        database: &str,
        user: &str,
        search_path: Vec<String>,
        schemas: impl IntoIterator<Item = String>,
        mut tables: Vec<NewRelation>,
    ) -> Self {
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        for schema in schemas {
            let oid = schema_oid(&schema, &names);
            names.insert(schema, oid);
        }
        names.insert("pg_catalog".into(), PG_CATALOG_OID);
        names.insert("information_schema".into(), INFORMATION_SCHEMA_OID);
        // In the order of their ids, so that a clash is resolved the same way every time.
        tables.sort_by_key(|t| t.id);
        let mut taken = std::collections::BTreeSet::new();
        let mut relations: Vec<Relation> = tables
            .into_iter()
            .map(|t| {
                let mut oid = fold(t.id);
                while !taken.insert(oid) {
                    oid += 1;
                }
                Relation {
                    oid,
                    schema: t.schema.into(),
                    name: t.name.into(),
                    columns: t.columns,
                    rows: t.rows,
                    bytes: t.bytes,
                }
            })
            .collect();
        relations.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        Self { database: database.into(), user: user.into(), search_path, schemas: names, relations }
    }

    pub(crate) fn relation(&self, oid: i64) -> Option<&Relation> {
        self.relations.iter().find(|r| i64::from(r.oid) == oid)
    }

    pub(crate) fn schema_name(&self, oid: i64) -> Option<&str> {
        self.schemas.iter().find(|(_, o)| i64::from(**o) == oid).map(|(n, _)| n.as_str())
    }

    /// Whether a table is found without its schema.
    pub(crate) fn visible(&self, relation: &Relation) -> bool {
        let first = self
            .search_path
            .iter()
            .find(|schema| self.relations.iter().any(|r| *r.schema == ***schema && r.name == relation.name));
        first.is_some_and(|schema| **schema == *relation.schema)
    }

    /// Object id of a (perhaps quoted, perhaps qualified) table name.
    pub(crate) fn class_oid(&self, name: &str) -> Option<u32> {
        let parts = split_name(name);
        let (schema, table) = match parts.as_slice() {
            [table] => (None, table.as_str()),
            [.., schema, table] => (Some(schema.as_str()), table.as_str()),
            [] => return None,
        };
        if schema.is_none_or(|s| s == "pg_catalog")
            && let Some((_, oid)) = SYSTEM_CLASSES.iter().find(|(n, _)| *n == table)
        {
            return Some(*oid);
        }
        let wanted = |s: &str| self.relations.iter().find(|r| *r.schema == *s && *r.name == *table);
        match schema {
            Some(schema) => wanted(schema).map(|r| r.oid),
            None => self.search_path.iter().find_map(|s| wanted(s)).map(|r| r.oid),
        }
    }

    /// The name that `regclass` prints.
    pub(crate) fn class_name(&self, oid: i64) -> Option<String> {
        if let Some((name, _)) = SYSTEM_CLASSES.iter().find(|(_, o)| i64::from(*o) == oid) {
            return Some((*name).into());
        }
        let relation = self.relation(oid)?;
        let name = quote(&relation.name);
        Some(if self.visible(relation) { name } else { format!("{}.{name}", quote(&relation.schema)) })
    }
}

/// A name as SQL needs it: in quotes unless it is plain.
pub(crate) fn quote(name: &str) -> String {
    let plain = name
        .chars()
        .enumerate()
        .all(|(i, c)| c.is_ascii_lowercase() || c == '_' || (i > 0 && (c.is_ascii_digit() || c == '$')));
    if plain && !name.is_empty() { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// `a."b.c"` to its parts, unquoted ones folded to lower case.
pub(crate) fn split_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = name.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                parts[last].push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if quoted => parts[last].push(c),
            c => parts[last].extend(c.to_lowercase()),
        }
    }
    parts
}

fn schema_oid(name: &str, taken: &BTreeMap<String, u32>) -> u32 {
    if name == "public" {
        return PUBLIC_OID;
    }
    let id =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut oid = fold(u128::from(id));
    while taken.values().any(|t| *t == oid) {
        oid += 1;
    }
    oid
}

/// An object id that fits a signed 32-bit integer, above those of the system.
fn fold(id: u128) -> u32 {
    let mixed = (id >> 96) ^ (id >> 64) ^ (id >> 32) ^ id;
    let span = (i32::MAX as u32) - FIRST_USER_OID - 100_000;
    FIRST_USER_OID + (mixed as u32) % span
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;

    fn table(id: u128, schema: &str, name: &str) -> NewRelation {
        NewRelation {
            id,
            schema: schema.into(),
            name: name.into(),
            columns: Arc::new(Schema::empty()),
            rows: None,
            bytes: 0,
        }
    }

    #[test]
    fn names_and_ids_go_both_ways() {
        let tables =
            vec![table(7, "public", "trades"), table(7 << 32, "public", "a.b"), table(9, "raw", "trades")];
        let schemas = ["public".to_string(), "raw".to_string()];
        let snapshot = CatalogSnapshot::new("frazil", "me", vec!["public".into()], schemas, tables.clone());
        for r in &snapshot.relations {
            let name = snapshot.class_name(i64::from(r.oid)).unwrap();
            assert_eq!(snapshot.class_oid(&name), Some(r.oid), "{name}");
        }
        assert_eq!(
            snapshot.class_name(i64::from(snapshot.class_oid("raw.Trades").unwrap())).unwrap(),
            "raw.trades"
        );
        assert!(snapshot.class_oid("public.\"Trades\"").is_none());
        let fewer = CatalogSnapshot::new(
            "frazil",
            "me",
            vec!["public".into()],
            ["public".into()],
            tables[..1].to_vec(),
        );
        assert_eq!(
            fewer.class_oid("trades"),
            snapshot.class_oid("trades"),
            "ids do not depend on neighbours"
        );
    }
}
