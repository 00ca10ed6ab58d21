//! Rewriting of statements into what the planner can do.
//!
//! Owns: for every statement: PostgreSQL's own type and function names, `LIKE … ESCAPE`, columns with the same name;
//! for statements over catalogs: casts to `regclass` and its kin, collations, `ARRAY(SELECT …)`, correlated scalar
//! subqueries, and the removal of parts that cannot have rows.
//! Does not own: planning.
//! Invariants: a statement that mentions no catalog keeps its meaning exactly.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart,
    Query, Select, SelectFlavor, SelectItem, SetExpr, Statement, TableFactor, TimezoneInfo, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::emptiness::{item_aggregates, last_part, query_is_empty, select_is_empty};
use super::membership::membership;
use super::naming;

/// Whether a statement reads catalogs: only names count, not the contents of strings.
pub(crate) fn mentions_catalog(text: &str) -> bool {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize() else { return false };
    tokens.iter().any(|token| match token {
        Token::Word(word) => {
            let name = word.value.to_lowercase();
            name.starts_with("pg_")
                || name.starts_with("to_reg")
                || name == "information_schema"
                || (word.quote_style.is_none() && reg_kind_of(&name).is_some())
        }
        _ => false,
    })
}

/// Rewrites a statement in place.
pub(crate) fn rewrite(statement: &mut Statement, catalog: bool) {
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut Rewriter { catalog });
}

struct Rewriter {
    catalog: bool,
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.catalog
            && query.with.is_none()
            && let SetExpr::Select(select) = query.body.as_mut()
            && select_is_empty(select)
            && nothing(select)
        {
            query.order_by = None;
        } else if self.catalog && query_is_empty(query) {
            // A union of nothing: what it is ordered by may not exist any more.
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.catalog {
            if select_is_empty(select) {
                nothing(select);
            }
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    shown_reg_cast(expr);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        naming::distinct_names(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                strip_catalog(name);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        postgres_names(expr);
        membership(expr);
        if self.catalog {
            catalog_expr(expr);
        }
        ControlFlow::Continue(())
    }
}

/// What PostgreSQL writes its own way in any statement.
fn postgres_names(expr: &mut Expr) {
    match expr {
        Expr::Function(function) => strip_catalog(&mut function.name),
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => {
            *expr = call("power", vec![take(left), take(right)]);
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                && let Some(known) = parts.last().and_then(|p| known_operator(p))
            {
                *op = known;
            }
        }
        Expr::Cast { data_type, .. } => {
            if reg_kind(data_type).is_none() {
                builtin_type(data_type);
            }
        }
        Expr::TypedString(typed) => builtin_type(&mut typed.data_type),
        Expr::Identifier(ident) if ident.quote_style.is_none() => {
            // Reserved words that read like columns but are functions.
            let name = ident.value.to_lowercase();
            if matches!(name.as_str(), "current_schema" | "current_catalog" | "session_user") {
                *expr = call(&name, Vec::new());
            } else if name == "localtimestamp" {
                let now = call("now", Vec::new());
                *expr = cast(now, DataType::Timestamp(Some(6), TimezoneInfo::None));
            }
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            // `(row).field`: the planner wants the field's name as text. What leads to a column by names it knows.
            let named = matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_));
            let leading = |a: &AccessExpr| named && matches!(a, AccessExpr::Dot(_));
            let skip = access_chain.iter().take_while(|a| leading(a)).count();
            for access in access_chain.iter_mut().skip(skip) {
                if let AccessExpr::Dot(Expr::Identifier(ident)) = access {
                    let name = if ident.quote_style.is_some() {
                        ident.value.clone()
                    } else {
                        ident.value.to_lowercase()
                    };
                    *access = AccessExpr::Dot(Expr::Value(Value::SingleQuotedString(name).into()));
                }
            }
        }
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            if let Some(escape) = escape_char.take()
                && !matches!(&escape.value, Value::SingleQuotedString(s) if s == "\\")
            {
                let escape = Expr::Value(escape);
                let inner = std::mem::replace(pattern.as_mut(), null());
                **pattern = call("frazil_like_pattern", vec![inner, escape]);
            }
        }
        _ => {}
    }
}

fn catalog_expr(expr: &mut Expr) {
    reg_cast(expr);
    match expr {
        Expr::Collate { expr: inner, .. } => *expr = take(inner),
        Expr::Exists { subquery, negated } if query_is_empty(subquery) => *expr = boolean(*negated),
        Expr::InSubquery { subquery, negated, .. } if query_is_empty(subquery) => *expr = boolean(*negated),
        Expr::Subquery(query) => {
            if query_is_empty(query) {
                *expr = null();
            } else {
                at_most_one(query);
            }
        }
        Expr::Function(function) if last_part(&function.name) == "array" => {
            if let FunctionArguments::Subquery(query) = &mut function.args {
                *expr = array_of(query);
            }
        }
        _ => {}
    }
}

/// `SELECT NULL AS name, … WHERE false` in place of a select that cannot have rows. False when a wildcard hides names.
fn nothing(select: &mut Select) -> bool {
    let mut items = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let name = match item {
            SelectItem::UnnamedExpr(expr) => Ident::with_quote('"', naming::output_name(expr)),
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => return false,
        };
        items.push(SelectItem::ExprWithAlias { expr: cast(null(), DataType::Text), alias: name });
    }
    *select = empty_select(items);
    true
}

fn empty_select(projection: Vec<SelectItem>) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: Vec::new(),
        lateral_views: Vec::new(),
        prewhere: None,
        selection: Some(boolean(false)),
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// A scalar subquery has at most one row, or PostgreSQL would refuse it: so its maximum is its value, and that the
/// planner can decorrelate.
fn at_most_one(query: &mut Query) {
    if query.limit_clause.is_some() {
        return;
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let plain = matches!(&select.group_by, GroupByExpr::Expressions(l, _) if l.is_empty());
    if !plain || select.from.is_empty() || select.distinct.is_some() || select.projection.len() != 1 {
        return;
    }
    let Some(item) = select.projection.first_mut() else { return };
    if item_aggregates(item) {
        return;
    }
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        let inner = std::mem::replace(expr, null());
        *expr = call("max", vec![inner]);
        query.order_by = None;
    }
}

/// `ARRAY(SELECT x …)` as an aggregate.
fn array_of(query: &mut Query) -> Expr {
    if query_is_empty(query) {
        return cast(
            null(),
            DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None)),
        );
    }
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
            select.projection.first_mut()
    {
        let inner = std::mem::replace(expr, null());
        *expr = call("array_agg", vec![inner]);
        query.order_by = None;
    }
    Expr::Subquery(Box::new(query.clone()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RegKind {
    Class,
    Type,
    Namespace,
}

fn reg_kind_of(name: &str) -> Option<RegKind> {
    match name {
        "regclass" => Some(RegKind::Class),
        "regtype" => Some(RegKind::Type),
        "regnamespace" => Some(RegKind::Namespace),
        _ => None,
    }
}

fn reg_kind(data_type: &DataType) -> Option<RegKind> {
    match data_type {
        DataType::Regclass => Some(RegKind::Class),
        DataType::Custom(name, _) => reg_kind_of(&last_part(name)),
        _ => None,
    }
}

fn reg_call(kind: RegKind, name: bool, inner: Expr) -> Expr {
    let function = match (kind, name) {
        (RegKind::Class, true) => "frazil_regclass_name",
        (RegKind::Class, false) => "frazil_regclass_oid",
        (RegKind::Type, true) => "frazil_regtype_name",
        (RegKind::Type, false) => "frazil_regtype_oid",
        (RegKind::Namespace, true) => "frazil_regnamespace_name",
        (RegKind::Namespace, false) => "frazil_regnamespace_oid",
    };
    call(function, vec![inner])
}

/// A `reg…` cast is an object id; cast on to text it is the object's name.
fn reg_cast(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    if let Some(kind) = reg_kind(data_type) {
        *expr = reg_call(kind, false, take(inner));
        return;
    }
    let textual = matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
        || matches!(data_type, DataType::Custom(n, _) if matches!(last_part(n).as_str(), "text" | "name"));
    if let Expr::Cast { expr: innermost, data_type: middle, .. } = inner.as_mut()
        && let Some(kind) = reg_kind(middle)
        && textual
    {
        *expr = reg_call(kind, true, take(innermost));
    }
}

/// In a select list a `reg…` cast shows the object's name.
fn shown_reg_cast(expr: &mut Expr) {
    if let Expr::Cast { expr: inner, data_type, .. } = expr
        && let Some(kind) = reg_kind(data_type)
    {
        *expr = reg_call(kind, true, take(inner));
    }
}

/// Types that PostgreSQL names and the parser does not know.
fn builtin_type(data_type: &mut DataType) {
    if let DataType::Timestamp(precision @ None, _) = data_type {
        // PostgreSQL's microseconds; the planner takes nanoseconds, which end in 1677 and 2262.
        *precision = Some(6);
        return;
    }
    if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) = data_type {
        builtin_type(element);
        return;
    }
    let DataType::Custom(name, _) = data_type else { return };
    let in_catalog = match name.0.as_slice() {
        [_] => true,
        [schema, _] => schema.as_ident().is_some_and(|i| i.value.eq_ignore_ascii_case("pg_catalog")),
        _ => false,
    };
    if !in_catalog {
        return;
    }
    *data_type = match last_part(name).as_str() {
        "text" | "name" | "char" | "bpchar" | "varchar" | "unknown" | "cstring" | "json" | "jsonb" => {
            DataType::Text
        }
        "oid" | "xid" | "cid" | "int8" => DataType::BigInt(None),
        "int4" => DataType::Integer(None),
        "int2" => DataType::SmallInt(None),
        "bool" => DataType::Boolean,
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        _ => return,
    };
}

fn known_operator(name: &str) -> Option<BinaryOperator> {
    Some(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        ">" => BinaryOperator::Gt,
        "<=" => BinaryOperator::LtEq,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        _ => return None,
    })
}

fn strip_catalog(name: &mut ObjectName) {
    if name.0.len() == 2
        && let Some(ObjectNamePart::Identifier(schema)) = name.0.first()
        && schema.value.eq_ignore_ascii_case("pg_catalog")
    {
        name.0.remove(0);
    }
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(expr.as_mut(), null())
}
pub(crate) fn null() -> Expr {
    Expr::Value(Value::Null.into())
}
fn boolean(value: bool) -> Expr {
    Expr::Value(Value::Boolean(value).into())
}
pub(crate) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}
fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
