//! Names of result columns.
//!
//! Owns: the name that PostgreSQL gives to a select item, and names that keep the planner from confusing two items.
//! Does not own: the renaming of results (`session/result`).

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Ident, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};

use super::emptiness::last_part;
use super::rewrite::null;

/// Items of one select must differ in name for the planner; PostgreSQL does not care. Later twins get a name of
/// their own; the result is renamed for the client in the end.
pub(crate) fn distinct_names(select: &mut Select) {
    let mut seen = HashSet::new();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let key = match &*item {
            SelectItem::UnnamedExpr(expr) => without_casts(expr),
            SelectItem::ExprWithAlias { alias, .. } => alias.to_string(),
            _ => continue,
        };
        // Unquoted names differ in nothing but their spelling.
        let key = if key.contains(['"', '\'']) { key } else { key.to_lowercase() };
        if seen.insert(key) {
            continue;
        }
        let taken = std::mem::replace(item, SelectItem::UnnamedExpr(null()));
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = taken {
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(format!("frazil_twin_{index}")) };
        }
    }
}

/// An expression's text without its casts: the planner's names leave them out too.
fn without_casts(expr: &Expr) -> String {
    struct Uncast;
    impl VisitorMut for Uncast {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = expr {
                *expr = std::mem::replace(inner.as_mut(), null());
            }
            ControlFlow::Continue(())
        }
    }
    let mut bare = expr.clone();
    let _ = VisitMut::visit(&mut bare, &mut Uncast);
    bare.to_string()
}

/// The name PostgreSQL gives to an item without alias.
pub(crate) fn output_name(expr: &Expr) -> String {
    let fold = |i: &Ident| if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() };
    match expr {
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold).unwrap_or_default(),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(ident))) => fold(ident),
            _ => output_name(root),
        },
        Expr::Function(function) => last_part(&function.name),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => output_name(inner),
        Expr::Cast { expr: inner, data_type, .. } => match output_name(inner).as_str() {
            "?column?" => type_name(data_type),
            name => name.into(),
        },
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".into(),
        Expr::Case { else_result: Some(inner), .. } => match output_name(inner).as_str() {
            "?column?" => "case".into(),
            name => name.into(),
        },
        Expr::Case { .. } => "case".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::Array(_) => "array".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(inner)) => output_name(inner),
                Some(SelectItem::ExprWithAlias { alias, .. }) => fold(alias),
                _ => "?column?".into(),
            },
            _ => "?column?".into(),
        },
        _ => "?column?".into(),
    }
}

fn type_name(data_type: &DataType) -> String {
    let name = data_type.to_string().to_lowercase();
    let base = name.split('(').next().unwrap_or(&name).trim().trim_start_matches("pg_catalog.");
    crate::pg_catalog::oids::by_name(match base {
        "int" => "integer",
        "decimal" | "dec" => "numeric",
        "float" | "double" => "double precision",
        "timestamp" => "timestamp without time zone",
        other => other,
    })
    .map_or_else(|| base.to_string(), |t| t.name.to_string())
}
