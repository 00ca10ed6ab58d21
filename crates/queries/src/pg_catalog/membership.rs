//! `x = ANY ('{a,b}')`: arrays that drivers send as text.
//!
//! Owns: PostgreSQL's array literals of one dimension, and turning a comparison with one into `IN`.
//! Does not own: arrays that are expressions (the planner knows these).

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, BinaryOperator, DataType, Expr, Value};

use super::rewrite::{cast, null};

/// Rewrites `x = ANY (literal)` and `x <> ALL (literal)`; leaves everything else.
pub(crate) fn membership(expr: &mut Expr) {
    let (negated, left, right) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (false, left, right),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (true, left, right),
        _ => return,
    };
    let Some(list) = list_of(right, None) else { return };
    let left = std::mem::replace(left.as_mut(), null());
    *expr = match list {
        // Nothing is known of a null array.
        None => cast(null(), DataType::Boolean),
        Some(list) if list.is_empty() => Expr::Value(Value::Boolean(negated).into()),
        Some(list) => Expr::InList { expr: Box::new(left), list, negated },
    };
}

/// Elements of an array literal (none of a null); `None` when the expression is no literal.
fn list_of(expr: &Expr, element: Option<&DataType>) -> Option<Option<Vec<Expr>>> {
    match expr {
        Expr::Nested(inner) => list_of(inner, element),
        Expr::Cast { expr: inner, data_type, .. } => match data_type {
            DataType::Array(ArrayElemTypeDef::SquareBracket(t, _)) => list_of(inner, element.or(Some(t))),
            // A parameter whose type is not known is text.
            DataType::Text => list_of(inner, element),
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Null => Some(None),
            Value::SingleQuotedString(text) => {
                let value = |item: Option<String>| match item {
                    Some(text) => Expr::Value(Value::SingleQuotedString(text).into()),
                    None => null(),
                };
                let typed = |e| match element {
                    Some(t) => cast(e, t.clone()),
                    None => e,
                };
                Some(Some(elements(text)?.into_iter().map(value).map(typed).collect()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// `{a,"b c",NULL}` to its elements; none when it is no array of one dimension.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars().peekable();
    loop {
        let (mut item, mut quoted) = (String::new(), false);
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => item.push(chars.next()?),
                    c => item.push(c),
                }
            }
        }
        while let Some(c) = chars.next_if(|c| *c != ',') {
            match c {
                '{' | '}' | '"' => return None,
                '\\' => item.push(chars.next()?),
                c if quoted && !c.is_whitespace() => return None,
                _ if quoted => {}
                c => item.push(c),
            }
        }
        let null = !quoted && item.trim_end().eq_ignore_ascii_case("null");
        items.push(if null {
            None
        } else if quoted {
            Some(item)
        } else {
            Some(item.trim_end().to_string())
        });
        if chars.next().is_none() {
            return Some(items);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::parse;

    #[test]
    fn array_literals_have_the_syntax_of_postgres() {
        let some = |s: &str| Some(s.to_string());
        assert_eq!(
            elements(r#"{a, "b,\"c\\", NULL,"NULL", d\,e}"#),
            Some(vec![some("a"), some("b,\"c\\"), None, some("NULL"), some("d,e"),])
        );
        assert_eq!(elements("{}"), Some(Vec::new()));
        for bad in ["a", "{a", "{{a},{b}}", r#"{"a}"#, r#"{"a"b}"#, "{a\\"] {
            assert_eq!(elements(bad), None, "{bad}");
        }
    }

    #[test]
    fn membership_becomes_in() {
        for (sql, wanted) in [
            ("SELECT a = ANY ('{x,y}')", "SELECT a IN ('x', 'y')"),
            ("SELECT a <> ALL ('{1}'::int[])", "SELECT a NOT IN (CAST('1' AS INT))"),
            ("SELECT a = ANY ('{}')", "SELECT false"),
            ("SELECT a = ANY (NULL)", "SELECT CAST(NULL AS BOOLEAN)"),
            ("SELECT a = ANY(ARRAY['x'])", "SELECT a = ANY(ARRAY['x'])"),
            ("SELECT a < ANY('{1}')", "SELECT a < ANY('{1}')"),
        ] {
            let mut statement = parse(sql).unwrap().unwrap();
            crate::pg_catalog::rewrite::rewrite(&mut statement, false);
            assert_eq!(statement.to_string(), wanted);
        }
    }
}
