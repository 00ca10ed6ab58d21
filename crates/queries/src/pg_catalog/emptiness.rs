//! Which parts of a catalog statement can have no rows.
//!
//! Owns: the proof, from the syntax alone, that a query over relations that never have rows here (indexes,
//! constraints, policies …) has none either.
//! Does not own: what is done with it (`rewrite`).
//! Invariants: errs on the side of "may have rows".

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Join, JoinOperator, ObjectName,
    Query, Select, SelectItem, SetExpr, SetOperator, TableFactor, TableWithJoins,
};

use super::relations;

/// Aggregates: a select of one of them has a row even over nothing.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];

/// The last part of a name, folded.
pub(crate) fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase()).unwrap_or_default()
}

pub(crate) fn query_is_empty(query: &Query) -> bool {
    query.with.is_none() && body_is_empty(&query.body)
}

fn body_is_empty(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select_is_empty(select),
        SetExpr::Query(query) => query_is_empty(query),
        SetExpr::SetOperation { op, left, right, .. } => match op {
            SetOperator::Union => body_is_empty(left) && body_is_empty(right),
            SetOperator::Intersect => body_is_empty(left) || body_is_empty(right),
            SetOperator::Except | SetOperator::Minus => body_is_empty(left),
        },
        _ => false,
    }
}

pub(crate) fn select_is_empty(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(list, _) => !list.is_empty(),
        GroupByExpr::All(_) => true,
    };
    select.from.iter().any(joined_is_empty) && (grouped || !select.projection.iter().any(item_aggregates))
}

fn joined_is_empty(joined: &TableWithJoins) -> bool {
    let mut empty = factor_is_empty(&joined.relation);
    for Join { relation, join_operator, .. } in &joined.joins {
        let right = factor_is_empty(relation);
        empty = match join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => empty || right,
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
            JoinOperator::FullOuter(_) => empty && right,
            _ => false,
        };
    }
    empty
}

fn factor_is_empty(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<String> =
                name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.to_lowercase()).collect();
            let found = match parts.as_slice() {
                [table] if table.starts_with("pg_") => relations::find("pg_catalog", table),
                [.., schema, table] => relations::find(schema, table),
                _ => None,
            };
            found.is_some_and(|r| r.always_empty)
        }
        // Arrays in catalog columns are all null here, and nothing unnests from null.
        TableFactor::Table { name, args: Some(args), .. } => {
            last_part(name) == "unnest" && args.args.iter().all(is_column)
        }
        TableFactor::Function { name, args, .. } => last_part(name) == "unnest" && args.iter().all(is_column),
        TableFactor::UNNEST { array_exprs, .. } => {
            array_exprs.iter().all(|e| matches!(e, Expr::CompoundIdentifier(_)))
        }
        TableFactor::Derived { subquery, .. } => query_is_empty(subquery),
        TableFactor::NestedJoin { table_with_joins, .. } => joined_is_empty(table_with_joins),
        _ => false,
    }
}

fn is_column(argument: &FunctionArg) -> bool {
    matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(_))))
}

/// Whether a projected item aggregates (outside of its own subqueries).
pub(crate) fn item_aggregates(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => aggregates(expr),
        _ => false,
    }
}

fn aggregates(expr: &Expr) -> bool {
    match expr {
        Expr::Function(function) => {
            let own = function.over.is_none() && AGGREGATES.contains(&last_part(&function.name).as_str());
            own || match &function.args {
                FunctionArguments::List(list) => list.args.iter().any(|a| match a {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => aggregates(e),
                    _ => false,
                }),
                _ => false,
            }
        }
        Expr::Cast { expr, .. }
        | Expr::Nested(expr)
        | Expr::UnaryOp { expr, .. }
        | Expr::Collate { expr, .. } => aggregates(expr),
        Expr::IsNull(expr) | Expr::IsNotNull(expr) => aggregates(expr),
        Expr::BinaryOp { left, right, .. } => aggregates(left) || aggregates(right),
        Expr::Case { operand, conditions, else_result, .. } => {
            operand.as_deref().is_some_and(aggregates)
                || else_result.as_deref().is_some_and(aggregates)
                || conditions.iter().any(|c| aggregates(&c.condition) || aggregates(&c.result))
        }
        _ => false,
    }
}
