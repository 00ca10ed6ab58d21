//! What a statement reads, without planning it.
//!
//! Owns: the tables a query names; whether its result depends on when it is asked.
//! Does not own: whether they exist.

use base::ErrorKind;
use datafusion::common::TableReference;
use datafusion::sql::parser::DFParser;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::SqlError;

/// A table as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// None: the default schema.
    pub schema: Option<String>,
    pub name: String,
}

impl Relation {
    /// Reads `name`, `schema.name` or, when that does not parse, takes the text as a name.
    pub fn parse(text: &str) -> Self {
        Self::from(TableReference::from(text))
    }
}

impl From<TableReference> for Relation {
    fn from(reference: TableReference) -> Self {
        Self { schema: reference.schema().map(str::to_owned), name: reference.table().to_owned() }
    }
}

/// What can be said of a query before it is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFacts {
    /// Sorted, without names defined by `WITH`.
    pub relations: Vec<Relation>,
    /// It names a function such as `now()`: the same tables can give another result later.
    pub time_dependent: bool,
}

/// Words that make a result depend on more than its tables.
const VOLATILE: [&str; 12] = [
    "NOW",
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "CLOCK_TIMESTAMP",
    "STATEMENT_TIMESTAMP",
    "TRANSACTION_TIMESTAMP",
    "RANDOM",
    "UUID",
    "GEN_RANDOM_UUID",
];

/// Facts of one query; the error names what does not parse.
pub fn statement_facts(sql: &str) -> Result<StatementFacts, SqlError> {
    let wrong =
        |message: String| SqlError { kind: ErrorKind::Invalid, sqlstate: "42601", message, hint: None };
    let mut statements =
        DFParser::parse_sql_with_dialect(sql, &PostgreSqlDialect {}).map_err(|e| wrong(e.to_string()))?;
    let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) else {
        return Err(wrong("one query is expected".into()));
    };
    let (relations, _) = resolve_table_references(&statement, true).map_err(|e| wrong(e.to_string()))?;
    let mut relations: Vec<Relation> = relations.into_iter().map(Relation::from).collect();
    relations.sort();
    relations.dedup();
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().map_err(|e| wrong(e.to_string()))?;
    let volatile = |token: &Token| match token {
        Token::Word(word) => VOLATILE.iter().any(|name| word.value.eq_ignore_ascii_case(name)),
        _ => false,
    };
    Ok(StatementFacts { relations, time_dependent: tokens.iter().any(volatile) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_read() {
        let facts = statement_facts(
            "with c as (select * from \"Trades\") select * from c join s.b on true where x in (select y from d)",
        )
        .expect("facts");
        let names: Vec<_> = facts.relations.iter().map(|r| (r.schema.as_deref(), r.name.as_str())).collect();
        assert_eq!(names, [(None, "Trades"), (None, "d"), (Some("s"), "b")]);
        assert!(!facts.time_dependent);
        assert!(statement_facts("select now()").expect("facts").time_dependent);
        assert!(statement_facts("selec 1").is_err());
        assert!(statement_facts("select 1; select 2").is_err());
        assert_eq!(Relation::parse("public.t"), Relation { schema: Some("public".into()), name: "t".into() });
    }
}
