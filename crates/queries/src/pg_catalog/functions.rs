//! PostgreSQL's catalog and session functions.
//!
//! Owns: functions whose answer depends on the session or the catalogs, and those that answer for features that do
//! not exist here (no comments, no indexes, no constraints: null).
//! Does not own: general functions (the engine's).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::oids;
use super::snapshot::{CatalogSnapshot, quote};
use crate::error::SqlError;
use crate::session::settings::SharedSettings;

/// What the functions know.
#[derive(Clone)]
pub(crate) struct Facts {
    pub catalog: Arc<CatalogSnapshot>,
    pub settings: SharedSettings,
    pub backend_pid: i32,
}

type Body = Arc<dyn Fn(&[ScalarValue]) -> Result<ScalarValue, SqlError> + Send + Sync>;

/// A function computed row by row: catalogs are small.
struct CatalogFunction {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: Body,
}

impl fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}
impl Eq for CatalogFunction {}
impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.returns.clone())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut values = Vec::with_capacity(args.args.len());
            for argument in &args.args {
                values.push(match argument {
                    ColumnarValue::Scalar(value) => value.clone(),
                    ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row)?,
                });
            }
            results.push((self.body)(&values)?);
        }
        if scalar {
            let value = results.pop().unwrap_or(ScalarValue::try_from(&self.returns)?);
            return Ok(ColumnarValue::Scalar(value));
        }
        if results.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.returns)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(results)?))
    }
}

fn function(
    name: &'static str,
    returns: DataType,
    volatility: Volatility,
    body: impl Fn(&[ScalarValue]) -> Result<ScalarValue, SqlError> + Send + Sync + 'static,
) -> ScalarUDF {
    let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], volatility);
    ScalarUDF::new_from_impl(CatalogFunction { name, signature, returns, body: Arc::new(body) })
}

fn stable(
    name: &'static str,
    returns: DataType,
    body: impl Fn(&[ScalarValue]) -> ScalarValue + Send + Sync + 'static,
) -> ScalarUDF {
    function(name, returns, Volatility::Stable, move |args| Ok(body(args)))
}

fn text(value: Option<String>) -> ScalarValue {
    ScalarValue::Utf8(value)
}
fn int8(value: Option<i64>) -> ScalarValue {
    ScalarValue::Int64(value)
}

/// An argument as text; none when it is null or missing.
fn text_at(args: &[ScalarValue], index: usize) -> Option<String> {
    match args.get(index)?.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(value)) => value,
        _ => None,
    }
}
fn int_at(args: &[ScalarValue], index: usize) -> Option<i64> {
    match args.get(index)?.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(value)) => value,
        _ => None,
    }
}

/// Functions that answer null here: what they describe does not exist.
const NULL_TEXT: &[&str] = &[
    "col_description",
    "obj_description",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_partition_constraintdef",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_get_viewdef",
    "pg_tablespace_location",
    "shobj_description",
];
/// Functions that answer true here: everybody who may connect may read everything.
const TRUE: &[&str] = &[
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "pg_collation_is_visible",
    "pg_function_is_visible",
    "pg_has_role",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_type_is_visible",
];
const FALSE: &[&str] = &["has_sequence_privilege", "pg_is_in_recovery", "pg_relation_is_publishable"];

/// All functions of a statement.
pub(crate) fn all(facts: &Facts) -> Vec<ScalarUDF> {
    let mut functions = session_functions(facts);
    functions.extend(catalog_functions(&facts.catalog));
    functions.extend(name_functions(&facts.catalog));
    for name in NULL_TEXT {
        functions.push(stable(name, DataType::Utf8, |_| text(None)));
    }
    for name in TRUE {
        functions.push(stable(name, DataType::Boolean, |_| ScalarValue::Boolean(Some(true))));
    }
    for name in FALSE {
        functions.push(stable(name, DataType::Boolean, |_| ScalarValue::Boolean(Some(false))));
    }
    functions
}

fn session_functions(facts: &Facts) -> Vec<ScalarUDF> {
    let mut functions = Vec::new();
    let version = format!(
        "PostgreSQL {} (Frazil {}) on {}-{}",
        super::SERVER_VERSION,
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    functions.push(stable("version", DataType::Utf8, move |_| text(Some(version.clone()))));
    for name in ["current_user", "session_user", "user", "current_role"] {
        let catalog = Arc::clone(&facts.catalog);
        functions.push(stable(name, DataType::Utf8, move |_| text(Some(catalog.user.clone()))));
    }
    for name in ["current_database", "current_catalog"] {
        let catalog = Arc::clone(&facts.catalog);
        functions.push(stable(name, DataType::Utf8, move |_| text(Some(catalog.database.clone()))));
    }
    let catalog = Arc::clone(&facts.catalog);
    functions
        .push(stable("current_schema", DataType::Utf8, move |_| text(catalog.search_path.first().cloned())));
    let catalog = Arc::clone(&facts.catalog);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    functions.push(stable("current_schemas", list, move |args| {
        let implicit = matches!(args.first(), Some(ScalarValue::Boolean(Some(true))));
        let mut names = if implicit { vec!["pg_catalog".to_string()] } else { Vec::new() };
        names.extend(catalog.search_path.iter().cloned());
        let names: Vec<ScalarValue> = names.into_iter().map(|n| text(Some(n))).collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8))
    }));
    let pid = facts.backend_pid;
    functions.push(stable("pg_backend_pid", DataType::Int32, move |_| ScalarValue::Int32(Some(pid))));
    let settings = facts.settings.clone();
    functions.push(function("current_setting", DataType::Utf8, Volatility::Stable, move |args| {
        let Some(name) = text_at(args, 0) else { return Ok(text(None)) };
        match settings.lock().show(&name) {
            Ok(value) => Ok(text(Some(value))),
            Err(_) if matches!(args.get(1), Some(ScalarValue::Boolean(Some(true)))) => Ok(text(None)),
            Err(error) => Err(error),
        }
    }));
    let settings = facts.settings.clone();
    functions.push(function("set_config", DataType::Utf8, Volatility::Volatile, move |args| {
        let (Some(name), value) = (text_at(args, 0), text_at(args, 1)) else {
            return Err(SqlError::new("22004", "SET requires parameter name"));
        };
        let local = matches!(args.get(2), Some(ScalarValue::Boolean(Some(true))));
        let mut settings = settings.lock();
        settings.set(&name, value.as_deref(), local)?;
        settings.show(&name).map(|v| text(Some(v)))
    }));
    functions
}

fn catalog_functions(catalog: &Arc<CatalogSnapshot>) -> Vec<ScalarUDF> {
    let mut functions = Vec::new();
    let owner = Arc::clone(catalog);
    functions.push(stable("pg_get_userbyid", DataType::Utf8, move |args| {
        text(int_at(args, 0).map(|id| {
            if id == i64::from(super::snapshot::OWNER_OID) {
                owner.user.clone()
            } else {
                format!("unknown (OID={id})")
            }
        }))
    }));
    let snapshot = Arc::clone(catalog);
    functions.push(stable("pg_table_is_visible", DataType::Boolean, move |args| {
        let relation = int_at(args, 0).and_then(|id| snapshot.relation(id));
        ScalarValue::Boolean(relation.map(|r| snapshot.visible(r)))
    }));
    for name in ["pg_relation_size", "pg_table_size", "pg_total_relation_size"] {
        let snapshot = Arc::clone(catalog);
        functions.push(stable(name, DataType::Int64, move |args| {
            let id = class_oid(&snapshot, args.first());
            int8(id.and_then(|id| snapshot.relation(id)).map(|r| r.bytes as i64))
        }));
    }
    let bytes: u64 = catalog.relations.iter().map(|r| r.bytes).sum();
    functions.push(stable("pg_database_size", DataType::Int64, move |_| int8(i64::try_from(bytes).ok())));
    functions.push(stable("pg_indexes_size", DataType::Int64, |_| int8(Some(0))));
    functions.push(stable("pg_my_temp_schema", DataType::Int64, |_| int8(Some(0))));
    functions.push(stable("format_type", DataType::Utf8, |args| {
        let id = int_at(args, 0).and_then(|v| u32::try_from(v).ok());
        let modifier = int_at(args, 1).and_then(|v| i32::try_from(v).ok());
        text(id.map(|id| oids::format_type(id, modifier)))
    }));
    functions.push(stable("pg_typeof", DataType::Utf8, |args| {
        let found = args.first().map(|v| oids::of_arrow(&v.data_type()));
        text(found.map(|t| oids::format_type(t.oid, None)))
    }));
    functions.push(stable("pg_encoding_to_char", DataType::Utf8, |args| {
        text(int_at(args, 0).map(|e| if e == 6 { "UTF8".into() } else { String::new() }))
    }));
    functions.push(stable("quote_ident", DataType::Utf8, |args| text(text_at(args, 0).map(|n| quote(&n)))));
    functions.push(stable("quote_literal", DataType::Utf8, |args| {
        text(text_at(args, 0).map(|v| format!("'{}'", v.replace('\'', "''"))))
    }));
    functions.push(stable("pg_size_pretty", DataType::Utf8, |args| {
        text(int_at(args, 0).map(|v| {
            let units = [("bytes", 0), ("kB", 10), ("MB", 20), ("GB", 30), ("TB", 40)];
            let fits = |shift: i32| (v.unsigned_abs() >> shift) < 10 * 1024;
            let (unit, shift) = units.into_iter().find(|(_, s)| fits(*s)).unwrap_or(("TB", 40));
            format!("{} {unit}", v >> shift)
        }))
    }));
    functions.push(like_pattern());
    functions
}

/// Casts to and from `regclass`, `regtype` and `regnamespace`, which `rewrite` turns into these.
fn name_functions(catalog: &Arc<CatalogSnapshot>) -> Vec<ScalarUDF> {
    let mut functions = Vec::new();
    for (name, strict) in [("frazil_regclass_oid", true), ("to_regclass", false)] {
        let snapshot = Arc::clone(catalog);
        functions.push(function(name, DataType::Int64, Volatility::Stable, move |args| {
            let found = class_oid(&snapshot, args.first());
            match (found, text_at(args, 0)) {
                (None, Some(name)) if strict => {
                    Err(SqlError::new("42P01", format!("relation \"{name}\" does not exist")))
                }
                (found, _) => Ok(int8(found)),
            }
        }));
    }
    let snapshot = Arc::clone(catalog);
    functions.push(stable("frazil_regclass_name", DataType::Utf8, move |args| {
        let id = class_oid(&snapshot, args.first());
        text(match id.and_then(|id| snapshot.class_name(id)) {
            Some(name) => Some(name),
            None => text_at(args, 0).map(|t| if t == "0" { "-".into() } else { t }),
        })
    }));
    for (name, strict) in [("frazil_regtype_oid", true), ("to_regtype", false)] {
        functions.push(function(name, DataType::Int64, Volatility::Stable, move |args| {
            match (type_oid(args.first()), text_at(args, 0)) {
                (None, Some(name)) if strict => {
                    Err(SqlError::new("42704", format!("type \"{name}\" does not exist")))
                }
                (found, _) => Ok(int8(found)),
            }
        }));
    }
    functions.push(stable("frazil_regtype_name", DataType::Utf8, |args| {
        let id = type_oid(args.first()).and_then(|v| u32::try_from(v).ok());
        text(id.map(|id| if id == 0 { "-".into() } else { oids::format_type(id, None) }))
    }));
    for (name, strict) in [("frazil_regnamespace_oid", true), ("to_regnamespace", false)] {
        let snapshot = Arc::clone(catalog);
        functions.push(function(name, DataType::Int64, Volatility::Stable, move |args| {
            let Some(name) = text_at(args, 0) else { return Ok(int8(None)) };
            if let Ok(id) = name.parse::<i64>() {
                return Ok(int8(Some(id)));
            }
            match snapshot.schemas.get(&name) {
                Some(id) => Ok(int8(Some(i64::from(*id)))),
                None if strict => Err(SqlError::new("3F000", format!("schema \"{name}\" does not exist"))),
                None => Ok(int8(None)),
            }
        }));
    }
    let snapshot = Arc::clone(catalog);
    functions.push(stable("frazil_regnamespace_name", DataType::Utf8, move |args| {
        let id = int_at(args, 0);
        text(match id.and_then(|id| snapshot.schema_name(id)) {
            Some(name) => Some(quote(name)),
            None => text_at(args, 0),
        })
    }));
    functions
}

/// An object id as it is, or that of a table name.
fn class_oid(catalog: &CatalogSnapshot, value: Option<&ScalarValue>) -> Option<i64> {
    let value = value?.cast_to(&DataType::Utf8).ok()?;
    let ScalarValue::Utf8(Some(name)) = value else { return None };
    name.parse().ok().or_else(|| catalog.class_oid(&name).map(i64::from))
}

fn type_oid(value: Option<&ScalarValue>) -> Option<i64> {
    let value = value?.cast_to(&DataType::Utf8).ok()?;
    let ScalarValue::Utf8(Some(name)) = value else { return None };
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    let found = match name.trim().strip_suffix("[]") {
        Some(element) => oids::by_name(element).map(|t| t.array),
        None => oids::by_name(&name).map(|t| t.oid),
    };
    found.map(i64::from)
}

/// `LIKE … ESCAPE c` in terms of the backslash, the only escape the engine knows.
fn like_pattern() -> ScalarUDF {
    stable("frazil_like_pattern", DataType::Utf8, |args| {
        let (Some(pattern), Some(escape)) = (text_at(args, 0), text_at(args, 1)) else { return text(None) };
        let escape = escape.chars().next();
        let mut result = String::with_capacity(pattern.len() + 4);
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if Some(c) == escape {
                // The next character stands for itself.
                if let Some(next) = chars.next() {
                    if matches!(next, '%' | '_' | '\\') {
                        result.push('\\');
                    }
                    result.push(next);
                }
            } else if c == '\\' {
                result.push_str("\\\\");
            } else {
                result.push(c);
            }
        }
        text(Some(result))
    })
}
