use super::*;
use crate::statement::tests::parse;

fn rewritten(sql: &str) -> String {
    let catalog = mentions_catalog(sql);
    let mut statement = parse(sql).unwrap().unwrap();
    rewrite(&mut statement, catalog);
    statement.to_string()
}

#[test]
fn only_names_make_a_statement_one_over_catalogs() {
    assert!(mentions_catalog("select * from pg_class"));
    assert!(mentions_catalog("select 'a'::regclass"));
    assert!(mentions_catalog("select 1 from information_schema.tables"));
    assert!(!mentions_catalog("select 'pg_class' from t -- pg_class"));
    assert!(!mentions_catalog("select \"regclass\" from t"));
}

#[test]
fn user_statements_keep_their_words() {
    for sql in [
        "SELECT c.id, (SELECT count(*) FROM orders AS o WHERE o.cid = c.id) AS n FROM customers AS c",
        "SELECT (SELECT max(orders.amount) FROM orders)",
        "SELECT x FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a) ORDER BY x COLLATE \"C\"",
        "SELECT * FROM t WHERE a LIKE 'x%' AND b ILIKE '%y'",
    ] {
        assert_eq!(rewritten(sql), sql);
    }
    assert_eq!(rewritten("SELECT 1, 1, a, a"), "SELECT 1, 1 AS frazil_twin_1, a, a AS frazil_twin_3");
}

#[test]
fn parts_without_rows_disappear() {
    assert_eq!(
        rewritten("SELECT i.indkey, f(x[1]) FROM pg_class AS c, pg_index AS i ORDER BY g(c)"),
        "SELECT CAST(NULL AS TEXT) AS \"indkey\", CAST(NULL AS TEXT) AS \"f\" WHERE false"
    );
    let kept = "SELECT c.oid FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indrelid = c.oid";
    assert_eq!(rewritten(kept), kept, "an outer join keeps its rows");
    assert_eq!(
        rewritten("SELECT count(*) FROM pg_index"),
        "SELECT count(*) FROM pg_index",
        "a count has a row"
    );
    assert_eq!(
        rewritten(
            "SELECT 1 FROM pg_class WHERE EXISTS (SELECT 1 FROM pg_policy) OR oid IN (SELECT polrelid FROM pg_policy)"
        ),
        "SELECT 1 FROM pg_class WHERE false OR false"
    );
}

#[test]
fn object_names_and_ids_become_calls() {
    assert_eq!(
        rewritten(
            "SELECT oid::regclass, 'a'::regclass::oid FROM pg_class WHERE oid = 'b'::pg_catalog.regclass"
        ),
        "SELECT frazil_regclass_name(oid), frazil_regclass_oid('a')::BIGINT FROM pg_class WHERE oid = frazil_regclass_oid('b')"
    );
    assert_eq!(
        rewritten("SELECT relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default FROM pg_class"),
        "SELECT relname ~ '^(t)$' FROM pg_class"
    );
    assert_eq!(
        rewritten("SELECT (SELECT typname FROM pg_type t WHERE t.oid = a.atttypid) FROM pg_attribute a"),
        "SELECT (SELECT max(typname) FROM pg_type t WHERE t.oid = a.atttypid) FROM pg_attribute a"
    );
}
