//! SQL text to syntax trees.
//!
//! Owns: splitting a text into statements, parsing one, limits on its shape, names of the relations it reads.
//! Does not own: planning; what a statement means.
//! Invariants: no text, however hostile, nests deeper than the planner's recursion can stand.

pub(crate) mod parameters;

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{Select, SelectItem, SetExpr, Statement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use tokio::sync::oneshot;

use crate::error::SqlError;
use crate::pg_catalog::naming::output_name;
use crate::pg_catalog::rewrite::mentions_catalog;
use crate::statement::parameters::Mentioned;

/// Longest chain of operators (`a OR b OR …`) without parentheses or commas between: each is one level of a tree.
const CHAIN_MAX: usize = 400;
/// Most relations of one `FROM`, and most set operations or joins in a statement.
const RELATIONS_MAX: usize = 64;

/// Most parentheses within one another; the parser stops before.
const NESTING_MAX: usize = 200;

/// Splits a text at its semicolons; quotes, dollar quotes and comments are respected. Statements without any words
/// are left out.
pub(crate) fn split(text: &str) -> Result<Vec<String>, SqlError> {
    let mut statements = Vec::new();
    let bytes = text.as_bytes();
    let (mut start, mut at, mut content) = (0, 0, false);
    while at < bytes.len() {
        let next = match bytes[at] {
            b'\'' => {
                let escapes =
                    at > start && matches!(bytes[at - 1], b'e' | b'E') && (at < 2 || !is_word(bytes[at - 2]));
                content = true;
                end_of_quote(bytes, at, b'\'', escapes)
            }
            b'"' => {
                content = true;
                end_of_quote(bytes, at, b'"', false)
            }
            b'$' if at == 0 || !is_word(bytes[at - 1]) => {
                content = true;
                end_of_dollar_quote(text, at)
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n)
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_comment(bytes, at),
            b';' => {
                if content {
                    statements.push(text[start..at].trim().to_string());
                }
                (start, content) = (at + 1, false);
                at + 1
            }
            other => {
                content |= !other.is_ascii_whitespace();
                at + 1
            }
        };
        at = next;
    }
    if content {
        statements.push(text[start..].trim().to_string());
    }
    Ok(statements)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// One past the closing quote; doubled quotes do not close.
fn end_of_quote(bytes: &[u8], open: usize, quote: u8, escapes: bool) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        if escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] == quote && bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else if bytes[at] == quote {
            return at + 1;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// One past the closing tag of `$tag$ … $tag$`; one past the dollar when it is no tag (`$1`).
fn end_of_dollar_quote(text: &str, open: usize) -> usize {
    let rest = &text[open + 1..];
    let Some(close) = rest.find('$') else { return open + 1 };
    let tag = &rest[..close];
    let valid = tag.bytes().all(is_word) && !tag.starts_with(|c: char| c.is_ascii_digit());
    if !valid {
        return open + 1;
    }
    let marker = &text[open..open + close + 2];
    let body = open + marker.len();
    text[body..].find(marker).map_or(text.len(), |n| body + n + marker.len())
}

/// One past a comment; comments nest.
fn end_of_comment(bytes: &[u8], open: usize) -> usize {
    let (mut depth, mut at) = (0usize, open);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A parsed statement and what its tree tells. Working on a tree recurses, with frames of tens of kilobytes in builds
/// without optimisation: so that is done on a stack of its own as soon as the tree may be deep.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub statement: Statement,
    /// The relations that it reads, without its own `WITH` names.
    pub relations: Vec<TableReference>,
    pub mentioned: Mentioned,
    /// It reads catalogs.
    pub catalog: bool,
}

/// Depth up to which a tree is worked on where we are.
const SHALLOW: usize = 12;
/// Length of a text up to which it is parsed where we are, in bytes.
const SHORT: usize = 16 << 10;
/// Stack for deep trees, in bytes; only touched pages cost memory.
pub(crate) const DEEP_STACK_BYTES: usize = 128 << 20;

/// Parses one statement; none when there is nothing but blanks and comments. Never blocks.
pub(crate) async fn prepare(text: &str) -> Result<Option<Prepared>, SqlError> {
    if text.len() <= SHORT {
        let (tokens, depth) = tokens(text)?;
        if depth <= SHALLOW {
            return prepare_here(text, tokens);
        }
    }
    let text = text.to_string();
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let _ = sender.send(tokens(&text).and_then(|(tokens, _)| prepare_here(&text, tokens)));
    };
    std::thread::Builder::new()
        .name("parser".into())
        .stack_size(DEEP_STACK_BYTES)
        .spawn(work)
        .map_err(no_thread)?;
    receiver.await.unwrap_or_else(|_| Err(SqlError::internal("the parser panicked")))
}

pub(crate) fn no_thread(error: std::io::Error) -> SqlError {
    SqlError::new("53000", format!("cannot start a thread to plan with: {error}"))
}

fn tokens(text: &str) -> Result<(Vec<TokenWithSpan>, usize), SqlError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|e| SqlError::syntax(format!("syntax error: {e}")))?;
    let depth = check_shape(tokens.iter().map(|t| &t.token))?;
    Ok((tokens, depth))
}

fn prepare_here(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Option<Prepared>, SqlError> {
    let mut statements =
        Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens).parse_statements()?;
    if statements.len() > 1 {
        return Err(SqlError::syntax("cannot insert multiple commands into a prepared statement"));
    }
    let Some(statement) = statements.pop() else { return Ok(None) };
    let wide: ControlFlow<()> = statement.visit(&mut WideFrom);
    if wide.is_break() {
        return Err(too_complex());
    }
    let relations = if crate::session::reads(&statement) { relations(&statement)? } else { Vec::new() };
    let mentioned = parameters::mentioned(&statement)?;
    Ok(Some(Prepared { statement, relations, mentioned, catalog: mentions_catalog(text) }))
}

fn too_complex() -> SqlError {
    SqlError::new("54001", "statement too complex").with_hint(
        "use IN (…) or = ANY ($1) in place of long chains of OR, and fewer joins or set operations",
    )
}

struct WideFrom;
impl Visitor for WideFrom {
    type Break = ();
    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if select.from.len() > RELATIONS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Chains of operators become trees as deep as they are long: refuse before anything recurses over them.
/// Returns a bound of the tree's depth.
fn check_shape<'a>(tokens: impl Iterator<Item = &'a Token>) -> Result<usize, SqlError> {
    let mut chains = vec![0usize];
    let mut relations = 0usize;
    let mut deepest = 0;
    for token in tokens {
        let mut operator = false;
        match token {
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Period => {}
            Token::LParen if chains.len() > NESTING_MAX => return Err(too_complex()),
            Token::LParen => chains.push(0),
            Token::RParen => {
                if chains.len() > 1 {
                    chains.pop();
                }
            }
            Token::Comma | Token::SemiColon => {
                if let Some(chain) = chains.last_mut() {
                    *chain = 0;
                }
            }
            Token::Word(word) => match word.keyword {
                Keyword::AND | Keyword::OR | Keyword::IS | Keyword::COLLATE => operator = true,
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => relations += 1,
                Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::WHEN | Keyword::THEN => {
                    if let Some(chain) = chains.last_mut() {
                        *chain = 0;
                    }
                }
                _ => {}
            },
            _ => operator = true,
        }
        if operator && let Some(chain) = chains.last_mut() {
            *chain += 1;
            if *chain > CHAIN_MAX {
                return Err(too_complex());
            }
        }
        if relations > RELATIONS_MAX {
            return Err(too_complex());
        }
        if operator {
            deepest = deepest.max(chains.iter().sum::<usize>() + chains.len());
        }
        deepest = deepest.max(chains.len());
    }
    Ok(deepest + relations)
}

/// The relations that a statement reads, without its own `WITH` names, in order of name.
fn relations(statement: &Statement) -> Result<Vec<TableReference>, SqlError> {
    let wrapped = EngineStatement::Statement(Box::new(statement.clone()));
    let (mut relations, _) = resolve_table_references(&wrapped, true)?;
    let mut factors = Factors::default();
    let _: ControlFlow<()> = statement.visit(&mut factors);
    relations.retain(|r| {
        let name = r.to_string();
        factors.plain.contains(&name) || !factors.functions.contains(&name)
    });
    Ok(relations)
}

/// Names in `FROM`: of relations, and of functions, which look the same to the planner's own search.
#[derive(Default)]
struct Factors {
    plain: HashSet<String>,
    functions: HashSet<String>,
}

impl Visitor for Factors {
    type Break = ();
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args, .. } = factor {
            let parts = name.0.iter().filter_map(|p| p.as_ident());
            let folded =
                parts.map(|i| if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() });
            let name = folded.collect::<Vec<_>>().join(".");
            if args.is_some() {
                self.functions.insert(name)
            } else {
                self.plain.insert(name)
            };
        }
        ControlFlow::Continue(())
    }
}

/// Names of the result's columns as PostgreSQL gives them; `None` for those that a wildcard stands for, where the
/// plan's own names are right. None at all when the statement's shape does not tell.
pub(crate) fn output_names(statement: &Statement) -> Option<Vec<Option<String>>> {
    let Statement::Query(query) = statement else { return None };
    let mut body = query.body.as_ref();
    let select = loop {
        match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(inner) => body = inner.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left.as_ref(),
            _ => return None,
        }
    };
    let name = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } if alias.quote_style.is_some() => Some(alias.value.clone()),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.to_lowercase()),
        _ => None,
    };
    Some(select.projection.iter().map(name).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tree of a text.
    pub(crate) fn parse(text: &str) -> Result<Option<Statement>, SqlError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        Ok(runtime.block_on(prepare(text))?.map(|p| p.statement))
    }

    #[test]
    fn splitting_respects_quotes_and_comments() {
        let text = "select ';' , \"a;b\"; -- c;\n select $x$;'$x$ /* ; /* ; */ */, E'\\';' ;; select $1;";
        let parts = split(text).unwrap();
        assert_eq!(parts.len(), 3, "{parts:?}");
        assert_eq!(parts[0], "select ';' , \"a;b\"");
        assert!(parts[1].ends_with("E'\\';'"), "{}", parts[1]);
        assert_eq!(parts[2], "select $1");
        assert!(split(" ; -- nothing\n ;").unwrap().is_empty());
        for torn in ["'", "select '", "$a$", "/*", "\"", "E'\\", "$", "é$é$"] {
            split(torn).unwrap();
        }
    }

    #[test]
    fn endless_chains_are_refused_before_anything_recurses() {
        for unit in
            [" or a = 1", " + 1", " || 'x'", "::int", " union select 1", " join t on true", ", t", "[1]"]
        {
            let text = format!("select a from t where a = 1{}", unit.repeat(60_000));
            let error = parse(&text.replace("where a = 1,", ",")).unwrap_err();
            assert!(matches!(error.sqlstate, "54001" | "42601"), "{unit}: {error}");
        }
        let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(parse(&deep).unwrap_err().sqlstate, "54001");
        assert!(parse("  -- nothing\n").unwrap().is_none());
        assert_eq!(parse("selec 1").unwrap_err().sqlstate, "42601");
        assert_eq!(parse("select 1; select 2").unwrap_err().sqlstate, "42601");
    }

    #[test]
    fn result_columns_are_named_as_in_postgres() {
        let names = |sql: &str| {
            let statement = parse(sql).unwrap().unwrap();
            output_names(&statement).unwrap().into_iter().map(|n| n.unwrap_or("*".into())).collect::<Vec<_>>()
        };
        assert_eq!(
            names("select count(*), 1, a.B, \"X\" y, *, x::int, 'a'::text from t"),
            ["count", "?column?", "b", "y", "*", "x", "text"]
        );
        assert_eq!(
            names("select round(avg(p), 2), case when a then 1 end, max(x) filter (where y)"),
            ["round", "case", "max"]
        );
    }
}
