//! `$1`, `$2` … in statements.
//!
//! Owns: how many there are, what the text says about their types, and putting values in their place.
//! Does not own: values' wire forms.
//! Invariants: a value becomes a literal of the syntax tree, never text that is parsed again; parameters are counted
//! by their number, so `$10` follows `$9`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    DataType, ExactNumberInfo, Expr, LimitClause, Query, Statement, TimezoneInfo, UnaryOperator,
    Value as Literal, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::error::SqlError;
use crate::pg_catalog::rewrite::{cast, null};
use crate::session::Value;

/// Most parameters of a statement (the wire protocol's limit).
const PARAMETERS_MAX: usize = 65_535;

/// Parameters that a statement mentions.
#[derive(Debug, Default, Clone)]
pub(crate) struct Mentioned {
    /// Highest number.
    pub count: usize,
    /// Types that casts (`$1::int`) and clauses (`LIMIT $1`) give, by number from 1.
    pub hints: BTreeMap<usize, ArrowType>,
}

fn number_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Literal::Placeholder(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => number_of(inner),
        _ => None,
    }
}

fn parse_number(text: &str) -> Result<usize, SqlError> {
    let number = text.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
    match number {
        Some(n) if (1..=PARAMETERS_MAX).contains(&n) => Ok(n),
        _ => Err(SqlError::new("42P02", format!("there is no parameter {text}"))),
    }
}

/// Finds the parameters of a statement.
pub(crate) fn mentioned(statement: &Statement) -> Result<Mentioned, SqlError> {
    let mut finder = Finder { found: Mentioned::default() };
    match statement.visit(&mut finder) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(finder.found),
    }
}

struct Finder {
    found: Mentioned,
}

impl Finder {
    fn hint(&mut self, expr: &Expr, data_type: ArrowType) -> ControlFlow<SqlError> {
        if let Some(text) = number_of(expr) {
            match parse_number(text) {
                Ok(number) => {
                    self.found.hints.entry(number).or_insert(data_type);
                }
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Finder {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            if let Some(limit) = limit {
                self.hint(limit, ArrowType::Int64)?;
            }
            if let Some(offset) = offset {
                self.hint(&offset.value, ArrowType::Int64)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && let Some(arrow) = arrow_type(data_type)
        {
            self.hint(inner, arrow)?;
        }
        if let Expr::Value(value) = expr
            && let Literal::Placeholder(text) = &value.value
        {
            match parse_number(text) {
                Ok(number) => self.found.count = self.found.count.max(number),
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Puts literals in the place of parameters; `literal` makes the one of a number.
fn replace(
    statement: &mut Statement,
    literal: impl Fn(usize) -> Result<Expr, SqlError>,
) -> Result<(), SqlError> {
    struct Replacer<F>(F);
    impl<F: Fn(usize) -> Result<Expr, SqlError>> VisitorMut for Replacer<F> {
        type Break = SqlError;
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
            if let Expr::Value(value) = expr
                && let Literal::Placeholder(text) = &value.value
            {
                match parse_number(text).and_then(&self.0) {
                    Ok(literal) => *expr = literal,
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            ControlFlow::Continue(())
        }
    }
    match VisitMut::visit(statement, &mut Replacer(literal)) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Puts values in the place of parameters; `types` are those of the description, where it has any.
pub(crate) fn bind(
    statement: &mut Statement,
    values: &[Value],
    types: &BTreeMap<usize, ArrowType>,
) -> Result<(), SqlError> {
    replace(statement, |number| {
        let Some(value) = values.get(number - 1) else {
            return Err(SqlError::new("08P01", format!("there is no value for parameter ${number}")));
        };
        Ok(literal(value, types.get(&number)))
    })
}

/// Puts typed nulls in the place of parameters, to find out a result's columns without values.
pub(crate) fn bind_nulls(
    statement: &mut Statement,
    types: &BTreeMap<usize, ArrowType>,
) -> Result<(), SqlError> {
    replace(statement, |number| {
        Ok(match types.get(&number) {
            // A limit of null is none at all, and a cast would be no literal.
            Some(ArrowType::Int64) => cast(null(), DataType::BigInt(None)),
            Some(other) => cast(null(), sql_type(other).unwrap_or(DataType::Text)),
            None => cast(null(), DataType::Text),
        })
    })
}

fn literal(value: &Value, wanted: Option<&ArrowType>) -> Expr {
    let plain = |l: Literal| Expr::Value(l.into());
    let text = |t: &str| plain(Literal::SingleQuotedString(t.into()));
    let expr = match value {
        Value::Null => null(),
        Value::Bool(b) => plain(Literal::Boolean(*b)),
        Value::Int(i) => integer(*i),
        Value::Float(f) => cast(text(&f.to_string()), DataType::DoublePrecision),
        Value::Text(t) => text(t),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            plain(Literal::HexStringLiteral(hex))
        }
        Value::Timestamp(micros) => {
            cast(text(&shown_moment(*micros)), DataType::Timestamp(Some(6), TimezoneInfo::None))
        }
        Value::TimestampTz(micros) => {
            let shown = shown_moment(*micros) + "Z";
            cast(text(&shown), DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone))
        }
        Value::Date(days) => {
            let shown = chrono::NaiveDate::from_num_days_from_ce_opt(days.saturating_add(719_163));
            match shown {
                Some(date) => cast(text(&date.to_string()), DataType::Date),
                None => cast(null(), DataType::Date),
            }
        }
    };
    // Text takes the type of its place, as PostgreSQL's unknown does; values that have a type keep it, and a
    // null needs one.
    match (value, wanted.and_then(sql_type)) {
        (Value::Text(_) | Value::Null, Some(data_type)) => cast(expr, data_type),
        _ => expr,
    }
}

fn shown_moment(micros: i64) -> String {
    let moment = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn integer(value: i64) -> Expr {
    let number = Expr::Value(Literal::Number(value.unsigned_abs().to_string(), false).into());
    if value == i64::MIN {
        // Its absolute value is no bigint.
        return cast(
            Expr::Value(Literal::SingleQuotedString(value.to_string()).into()),
            DataType::BigInt(None),
        );
    }
    if value < 0 {
        return Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) }));
    }
    number
}

/// Arrow type of a type name, for the types that parameters have.
fn arrow_type(data_type: &DataType) -> Option<ArrowType> {
    Some(match data_type {
        DataType::SmallInt(_) | DataType::Int2(_) => ArrowType::Int16,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => ArrowType::Int32,
        DataType::BigInt(_) | DataType::Int8(_) => ArrowType::Int64,
        DataType::Real | DataType::Float4 => ArrowType::Float32,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(_) | DataType::Float(_) => {
            ArrowType::Float64
        }
        DataType::Boolean | DataType::Bool => ArrowType::Boolean,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            ArrowType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        DataType::Timestamp(..) => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Numeric(info) | DataType::Decimal(info) => match info {
            ExactNumberInfo::PrecisionAndScale(p, s) => ArrowType::Decimal128(*p as u8, *s as i8),
            ExactNumberInfo::Precision(p) => ArrowType::Decimal128(*p as u8, 0),
            ExactNumberInfo::None => ArrowType::Decimal128(38, 10),
        },
        DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::Char(_) => {
            ArrowType::Utf8
        }
        DataType::Bytea => ArrowType::Binary,
        _ => return None,
    })
}

fn sql_type(data_type: &ArrowType) -> Option<DataType> {
    Some(match data_type {
        ArrowType::Int8 | ArrowType::Int16 => DataType::SmallInt(None),
        ArrowType::Int32 => DataType::Integer(None),
        ArrowType::Int64 | ArrowType::UInt32 => DataType::BigInt(None),
        ArrowType::Float32 => DataType::Real,
        ArrowType::Float64 => DataType::DoublePrecision,
        ArrowType::Boolean => DataType::Boolean,
        ArrowType::Date32 => DataType::Date,
        ArrowType::Timestamp(_, Some(_)) => DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone),
        ArrowType::Timestamp(_, None) => DataType::Timestamp(Some(6), TimezoneInfo::None),
        ArrowType::Decimal128(p, s) => {
            DataType::Numeric(ExactNumberInfo::PrecisionAndScale(u64::from(*p), i64::from(*s)))
        }
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => DataType::Text,
        ArrowType::Binary | ArrowType::LargeBinary => DataType::Bytea,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::parse;

    #[test]
    fn ten_parameters_bind_in_numeric_order() {
        let holes: Vec<String> = (1..=12).map(|n| format!("${n}")).collect();
        let mut statement = parse(&format!("select {}", holes.join(", "))).unwrap().unwrap();
        assert_eq!(mentioned(&statement).unwrap().count, 12);
        let values: Vec<Value> = (1..=12).map(Value::Int).collect();
        bind(&mut statement, &values, &BTreeMap::new()).unwrap();
        assert_eq!(statement.to_string(), "SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12");
    }

    #[test]
    fn values_are_literals_not_text() {
        let mut statement = parse("select $1, $2, $3").unwrap().unwrap();
        let values = [Value::Text("'; drop table t; --".into()), Value::Int(-5), Value::Int(i64::MIN)];
        bind(&mut statement, &values, &BTreeMap::new()).unwrap();
        let text = statement.to_string();
        assert_eq!(text, format!("SELECT '''; drop table t; --', (-5), CAST('{}' AS BIGINT)", i64::MIN));
    }

    #[test]
    fn casts_and_limits_say_what_parameters_are() {
        let statement = parse("select * from t where a = $2::integer limit $1 offset $3").unwrap().unwrap();
        let found = mentioned(&statement).unwrap();
        assert_eq!(found.count, 3);
        assert_eq!(found.hints[&1], ArrowType::Int64);
        assert_eq!(found.hints[&2], ArrowType::Int32);
        for bad in ["select $0", "select $99999999", "select $70000"] {
            assert_eq!(parse(bad).unwrap_err().sqlstate, "42P02", "{bad}");
        }
    }
}
