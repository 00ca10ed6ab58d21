//! What psql, psycopg 3 and SQLAlchemy ask of the catalogs.

use arrow::datatypes::Schema;

use crate::fixture::{Node, TRADES, rows_of};
use crate::session::{Answer, Session, Value};

async fn node() -> (Node, Session) {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    node.trades("trades", 0, 0, 3).await;
    node.commit("trades").await;
    node.topic("fresh", 1, TRADES).await;
    let session = node.session();
    (node, session)
}

fn text(values: &[&str]) -> Vec<Value> {
    values.iter().map(|v| Value::Text((*v).into())).collect()
}

const KIND: &str = "CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'i' THEN 'index' WHEN 'p' THEN 'partitioned table' END";
const USER_SCHEMAS: &str = "n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_lists_tables_schemas_and_databases() {
    let (_node, mut s) = node().await;
    let list = format!(
        r#"SELECT n.nspname as "Schema", c.relname as "Name", {KIND} as "Type",
        pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
        WHERE c.relkind IN ('r','p','') AND {USER_SCHEMAS} ORDER BY 1,2;"#
    );
    assert_eq!(s.rows(&list).await, ["public|fresh|table|me", "public|trades|table|me"]);
    let schemas = r#"SELECT n.nspname AS "Name", pg_catalog.pg_get_userbyid(n.nspowner) AS "Owner"
        FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1;"#;
    assert_eq!(s.rows(schemas).await, ["public|me"]);
    let databases = r#"SELECT d.datname as "Name", pg_catalog.pg_get_userbyid(d.datdba) as "Owner",
        pg_catalog.pg_encoding_to_char(d.encoding) as "Encoding", d.datcollate as "Collate", d.daticulocale as "ICU Locale",
        CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS "Locale Provider",
        pg_catalog.array_to_string(d.datacl, E'\n') AS "Access privileges"
        FROM pg_catalog.pg_database d ORDER BY 1;"#;
    assert_eq!(s.rows(databases).await, ["frazil|me|UTF8|C.UTF-8|NULL|libc|NULL"]);
    let indexes = format!(
        r#"SELECT n.nspname as "Schema", c.relname as "Name", {KIND} as "Type", c2.relname as "Table"
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_catalog.pg_class c2 ON i.indrelid = c2.oid
        WHERE c.relkind IN ('i','I','') AND {USER_SCHEMAS} ORDER BY 1,2;"#
    );
    assert!(s.rows(&indexes).await.is_empty());
    let roles = r#"SELECT r.rolname, r.rolsuper, r.rolconnlimit, r.rolvaliduntil,
        ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
        WHERE m.member = r.oid) as memberof, r.rolreplication
        FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1;"#;
    assert_eq!(s.rows(roles).await, ["me|false|-1|NULL|NULL|false"]);
    let types = r#"SELECT n.nspname as "Schema", pg_catalog.format_type(t.oid, NULL) AS "Name",
        pg_catalog.obj_description(t.oid, 'pg_type') as "Description"
        FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))
        AND NOT EXISTS(SELECT 1 FROM pg_catalog.pg_type el WHERE el.oid = t.typelem AND el.typarray = t.oid)
        AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' AND pg_catalog.pg_type_is_visible(t.oid)
        ORDER BY 1, 2;"#;
    assert!(s.rows(types).await.is_empty());
    let functions = r#"SELECT n.nspname as "Schema", p.proname as "Name", pg_catalog.pg_get_function_result(p.oid) as "Result data type",
        CASE p.prokind WHEN 'a' THEN 'agg' ELSE 'func' END as "Type"
        FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE pg_catalog.pg_function_is_visible(p.oid) AND n.nspname <> 'pg_catalog' ORDER BY 1, 2, 4;"#;
    assert!(s.rows(functions).await.is_empty());
    let extensions = r#"SELECT e.extname AS "Name", c.description AS "Description"
        FROM pg_catalog.pg_extension e LEFT JOIN pg_catalog.pg_description c ON c.objoid = e.oid
        AND c.classoid = 'pg_catalog.pg_extension'::pg_catalog.regclass ORDER BY 1;"#;
    assert!(s.rows(extensions).await.is_empty());
}

/// `\d trades` and `\d+ trades`: each statement with the object id that the first one gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psql_describes_a_table() {
    let (_node, mut s) = node().await;
    let find = r"SELECT c.oid, n.nspname, c.relname
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname OPERATOR(pg_catalog.~) '^(trades)$' COLLATE pg_catalog.default
        AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;";
    let found = s.rows(find).await;
    assert_eq!(found.len(), 1);
    let oid = found[0].split('|').next().unwrap().to_string();
    let class = format!(
        r"SELECT c.relchecks, c.relkind, c.relhasindex, c.relrowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace,
        CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END,
        c.relpersistence, c.relreplident, am.amname
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)
        LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid) WHERE c.oid = '{oid}';"
    );
    assert_eq!(s.rows(&class).await, ["0|r|false|false|false|false||0||p|d|heap"]);
    let plus = class.replace(
        "''",
        "pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')",
    );
    assert_eq!(s.rows(&plus.replace("THEN pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')", "THEN ''")).await.len(), 1);
    let columns = format!(
        r"SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
        (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
        WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
        a.attnotnull,
        (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
        WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
        a.attidentity, a.attgenerated, a.attstorage, a.attcompression AS attcompression,
        CASE WHEN a.attstattarget=-1 THEN NULL ELSE a.attstattarget END AS attstattarget,
        pg_catalog.col_description(a.attrelid, a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum;"
    );
    let shown = s.rows(&columns).await;
    assert!(shown[0].starts_with("redpanda|json|NULL|"), "{shown:?}");
    assert!(shown.iter().any(|r| r.starts_with("price|double precision|NULL|false|NULL|||")), "{shown:?}");
    assert!(shown.iter().any(|r| r.starts_with("ts_event|timestamp with time zone|")), "{shown:?}");
    assert_eq!(shown.len(), 6);
    for nothing in [
        format!(
            r"SELECT c2.relname, i.indisprimary, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
            pg_catalog.pg_get_constraintdef(con.oid, true), contype, c2.reltablespace
            FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
            LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
            WHERE c.oid = '{oid}' AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname;"
        ),
        format!(
            r"SELECT pol.polname, pol.polpermissive,
            CASE WHEN pol.polroles = '{{0}}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,
            pg_catalog.pg_get_expr(pol.polqual, pol.polrelid),
            CASE pol.polcmd WHEN 'r' THEN 'SELECT' END AS cmd
            FROM pg_catalog.pg_policy pol WHERE pol.polrelid = '{oid}' ORDER BY 1;"
        ),
        format!(
            r"SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname,
            pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns, 'd' = any(stxkind) AS ndist_enabled, stxstattarget
            FROM pg_catalog.pg_statistic_ext WHERE stxrelid = '{oid}' ORDER BY nsp, stxname;"
        ),
        format!(
            r"SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication p
            JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
            JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid
            WHERE pc.oid ='{oid}' and pg_catalog.pg_relation_is_publishable('{oid}')
            UNION SELECT pubname, pg_get_expr(pr.prqual, c.oid),
            (CASE WHEN pr.prattrs IS NOT NULL THEN (SELECT string_agg(attname, ', ')
            FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s, pg_catalog.pg_attribute
            WHERE attrelid = pr.prrelid AND attnum = prattrs[s]) ELSE NULL END)
            FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid
            JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid WHERE pr.prrelid = '{oid}'
            UNION SELECT pubname, NULL, NULL FROM pg_catalog.pg_publication p
            WHERE p.puballtables AND pg_catalog.pg_relation_is_publishable('{oid}') ORDER BY 1;"
        ),
        format!(
            r"SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
            WHERE c.oid = i.inhparent AND i.inhrelid = '{oid}' AND c.relkind != 'p' AND c.relkind != 'I' ORDER BY inhseqno;"
        ),
        format!(
            r"SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
            FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid AND i.inhparent = '{oid}'
            ORDER BY pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text;"
        ),
    ] {
        assert!(s.rows(&nothing).await.is_empty(), "{nothing}");
    }
    let privileges = r#"SELECT c.relname, pg_catalog.array_to_string(c.relacl, E'\n') AS "Access privileges",
        pg_catalog.array_to_string(ARRAY(SELECT attname || E':\n  ' || pg_catalog.array_to_string(attacl, E'\n  ')
        FROM pg_catalog.pg_attribute a WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL), E'\n') AS "Column privileges",
        pg_catalog.array_to_string(ARRAY(SELECT polname || CASE WHEN NOT polpermissive THEN E' (RESTRICTIVE)' ELSE '' END
        FROM pg_catalog.pg_policy pol WHERE polrelid = c.oid), E'\n') AS "Policies"
        FROM pg_catalog.pg_class c WHERE c.relkind = 'r' ORDER BY 1;"#;
    assert_eq!(s.rows(privileges).await.len(), 2);
    let name = s
        .rows(&format!("select {oid}::regclass, 'trades'::regclass::oid = {oid}, to_regclass('nope')"))
        .await;
    assert_eq!(name, ["trades|true|NULL"]);
    assert_eq!(s.error("select 'nope'::regclass::oid").await.sqlstate, "42P01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psycopg_and_sqlalchemy_connect() {
    let (_node, mut s) = node().await;
    s.tag("BEGIN").await;
    let version = s.rows("select pg_catalog.version()").await;
    assert!(version[0].starts_with("PostgreSQL 15.0 (Frazil "), "{version:?}");
    assert_eq!(s.rows("select current_schema()").await, ["public"]);
    assert_eq!(s.rows("show transaction isolation level").await, ["repeatable read"]);
    s.tag("SAVEPOINT \"_pg3_1\"").await;
    let type_info = "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter
        FROM pg_type t WHERE t.oid = to_regtype($1) ORDER BY t.oid";
    assert!(s.rows_with(type_info, &text(&["hstore"])).await.is_empty());
    assert_eq!(s.rows_with(type_info, &text(&["text"])).await, ["text|25|1009|text|,"]);
    s.tag("RELEASE \"_pg3_1\"").await;
    s.tag("ROLLBACK").await;
    let schemas = "SELECT pg_catalog.pg_namespace.nspname FROM pg_catalog.pg_namespace
        WHERE (pg_catalog.pg_namespace.nspname NOT LIKE $1::VARCHAR || '%' ESCAPE '/') ORDER BY pg_catalog.pg_namespace.nspname";
    assert_eq!(s.rows_with(schemas, &text(&["pg/_"])).await, ["information_schema", "public"]);
    let tables = "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace
        WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$1::VARCHAR, $2::VARCHAR]) AND pg_catalog.pg_class.relpersistence != $3::VARCHAR
        AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $4::VARCHAR";
    let mut names = s.rows_with(tables, &text(&["r", "p", "t", "pg_catalog"])).await;
    names.sort();
    assert_eq!(names, ["fresh", "trades"]);
}

/// Reflection of one table, statement by statement, each described first as the driver does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlalchemy_reflects_a_table() {
    let (_node, mut s) = node().await;
    let columns = "SELECT pg_catalog.pg_attribute.attname AS name,
        pg_catalog.format_type(pg_catalog.pg_attribute.atttypid, pg_catalog.pg_attribute.atttypmod) AS format_type,
        CASE WHEN pg_catalog.pg_attribute.atthasdef THEN (SELECT pg_catalog.pg_get_expr(pg_catalog.pg_attrdef.adbin, pg_catalog.pg_attrdef.adrelid) AS pg_get_expr_1
        FROM pg_catalog.pg_attrdef WHERE pg_catalog.pg_attribute.atthasdef AND pg_catalog.pg_attrdef.adrelid = pg_catalog.pg_attribute.attrelid
        AND pg_catalog.pg_attrdef.adnum = pg_catalog.pg_attribute.attnum) ELSE NULL END AS \"default\",
        pg_catalog.pg_attribute.attnotnull AS not_null, pg_catalog.pg_class.relname AS table_name, pg_catalog.pg_description.description AS comment,
        pg_catalog.pg_attribute.attgenerated AS generated,
        CASE WHEN (pg_catalog.pg_attribute.attidentity != $1::VARCHAR) THEN (SELECT json_build_object($2::VARCHAR, pg_catalog.pg_attribute.attidentity = $3::VARCHAR,
        $4::VARCHAR, pg_catalog.pg_sequence.seqstart) AS json_build_object_1 FROM pg_catalog.pg_sequence
        WHERE pg_catalog.pg_attribute.attidentity != $5::VARCHAR AND pg_catalog.pg_sequence.seqrelid =
        CAST(CAST(pg_catalog.pg_get_serial_sequence(CAST(CAST(pg_catalog.pg_attribute.attrelid AS REGCLASS) AS TEXT), pg_catalog.pg_attribute.attname) AS REGCLASS) AS OID))
        ELSE NULL END AS identity_options,
        CASE WHEN (pg_catalog.pg_attribute.attcollation != $6::INTEGER AND (SELECT pg_catalog.pg_type.typcollation FROM pg_catalog.pg_type
        WHERE pg_catalog.pg_type.oid = pg_catalog.pg_attribute.atttypid) != pg_catalog.pg_attribute.attcollation) THEN
        (SELECT json_build_object($7::VARCHAR, pg_catalog.pg_collation.collname, $8::VARCHAR,
        CASE WHEN pg_catalog.pg_collation_is_visible(pg_catalog.pg_collation.oid) THEN NULL ELSE pg_catalog.pg_namespace.nspname END) AS json_build_object_9
        FROM pg_catalog.pg_collation JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_collation.collnamespace
        WHERE pg_catalog.pg_collation.oid = pg_catalog.pg_attribute.attcollation) ELSE NULL END AS collation
        FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_class.oid = pg_catalog.pg_attribute.attrelid
        AND pg_catalog.pg_attribute.attnum > $9::SMALLINT AND NOT pg_catalog.pg_attribute.attisdropped
        LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_attribute.attrelid
        AND pg_catalog.pg_description.objsubid = pg_catalog.pg_attribute.attnum
        JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace
        WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$10::VARCHAR, $11::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid)
        AND pg_catalog.pg_namespace.nspname != $12::VARCHAR AND pg_catalog.pg_class.relname IN ($13::VARCHAR)
        ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_attribute.attnum";
    let mut values =
        text(&["", "always", "a", "start", "", "0", "name", "schema", "0", "r", "p", "pg_catalog", "trades"]);
    values[5] = Value::Int(0);
    values[8] = Value::Int(0);
    let described = s.describe(columns).await.unwrap();
    assert_eq!(described.parameters.len(), 13);
    let shown = s.rows_with(columns, &values).await;
    assert_eq!(shown.len(), 6, "{shown:?}");
    assert!(shown[1].ends_with("|NULL|false|trades|NULL||NULL|NULL"), "{shown:?}");
    let oids = "SELECT pg_catalog.pg_class.oid, pg_catalog.pg_class.relname FROM pg_catalog.pg_class
        JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace
        WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$1::VARCHAR, $2::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid)
        AND pg_catalog.pg_namespace.nspname != $3::VARCHAR AND pg_catalog.pg_class.relname IN ($4::VARCHAR)";
    let found = s.rows_with(oids, &text(&["r", "p", "pg_catalog", "trades"])).await;
    let oid: i64 = found[0].split('|').next().unwrap().parse().unwrap();
    let keys = "SELECT attr.conrelid, array_agg(CAST(attr.attname AS TEXT) ORDER BY attr.ord) AS cols, attr.conname, min(attr.description) AS description,
        bool_and(attr.indnullsnotdistinct) AS indnullsnotdistinct
        FROM (SELECT con.conrelid AS conrelid, con.conname AS conname, con.description AS description, con.ord AS ord,
        con.indnullsnotdistinct AS indnullsnotdistinct, pg_catalog.pg_attribute.attname AS attname
        FROM pg_catalog.pg_attribute JOIN (SELECT pg_catalog.pg_constraint.conrelid AS conrelid, pg_catalog.pg_constraint.conname AS conname,
        unnest(pg_catalog.pg_index.indkey) AS attnum, generate_subscripts(pg_catalog.pg_index.indkey, $1::INTEGER) AS ord,
        pg_catalog.pg_index.indnullsnotdistinct AS indnullsnotdistinct, pg_catalog.pg_description.description AS description
        FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_index ON pg_catalog.pg_constraint.conindid = pg_catalog.pg_index.indexrelid
        LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid
        AND pg_catalog.pg_description.classoid = CAST($2 AS REGCLASS)
        WHERE pg_catalog.pg_constraint.contype = $3::VARCHAR AND pg_catalog.pg_constraint.conrelid IN ($4)) AS con
        ON pg_catalog.pg_attribute.attnum = con.attnum AND pg_catalog.pg_attribute.attrelid = con.conrelid
        WHERE con.conrelid IN ($4)) AS attr GROUP BY attr.conrelid, attr.conname ORDER BY attr.conrelid, attr.conname";
    s.describe(keys).await.unwrap();
    let class = || Value::Text("pg_catalog.pg_constraint".into());
    let p = || Value::Text("p".into());
    assert!(s.rows_with(keys, &[Value::Int(1), class(), p(), Value::Int(oid)]).await.is_empty());
    let foreign = "SELECT pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conname,
        CASE WHEN (pg_catalog.pg_constraint.oid IS NOT NULL) THEN pg_catalog.pg_get_constraintdef(pg_catalog.pg_constraint.oid, $1) END AS anon_1,
        nsp_ref.nspname, pg_catalog.pg_description.description
        FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_constraint ON pg_catalog.pg_class.oid = pg_catalog.pg_constraint.conrelid
        AND pg_catalog.pg_constraint.contype = $2::VARCHAR
        LEFT OUTER JOIN pg_catalog.pg_class AS cls_ref ON cls_ref.oid = pg_catalog.pg_constraint.confrelid
        LEFT OUTER JOIN pg_catalog.pg_namespace AS nsp_ref ON cls_ref.relnamespace = nsp_ref.oid
        LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid
        AND pg_catalog.pg_description.classoid = CAST($3 AS REGCLASS)
        JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace
        WHERE pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_class.relname IN ($4::VARCHAR)
        ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conname";
    s.describe(foreign).await.unwrap();
    let shown = s.rows_with(foreign, &[Value::Bool(true), p(), class(), Value::Text("trades".into())]).await;
    assert_eq!(shown, ["trades|NULL|NULL|NULL|NULL"]);
    let indexes = "SELECT pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conrelid IS NOT NULL AS has_constraint,
        CASE WHEN (pg_catalog.pg_index.indpred IS NOT NULL) THEN pg_catalog.pg_get_expr(pg_catalog.pg_index.indpred, pg_catalog.pg_index.indrelid) END AS filter_definition,
        idx_cols.elements
        FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_catalog.pg_index.indexrelid = pg_catalog.pg_class.oid
        LEFT OUTER JOIN (SELECT idx_attr.indexrelid AS indexrelid, array_agg(idx_attr.element ORDER BY idx_attr.ord) AS elements
        FROM (SELECT idx.indexrelid AS indexrelid, idx.ord AS ord, pg_catalog.pg_attribute.attname AS element
        FROM (SELECT pg_catalog.pg_index.indexrelid AS indexrelid, pg_catalog.pg_index.indrelid AS indrelid, unnest(pg_catalog.pg_index.indkey) AS attnum,
        generate_subscripts(pg_catalog.pg_index.indkey, $1::INTEGER) AS ord FROM pg_catalog.pg_index
        WHERE NOT pg_catalog.pg_index.indisprimary AND pg_catalog.pg_index.indrelid IN ($2)) AS idx
        LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_attribute.attnum = idx.attnum) AS idx_attr GROUP BY idx_attr.indexrelid) AS idx_cols
        ON pg_catalog.pg_index.indexrelid = idx_cols.indexrelid
        LEFT OUTER JOIN pg_catalog.pg_constraint ON pg_catalog.pg_index.indrelid = pg_catalog.pg_constraint.conrelid
        AND pg_catalog.pg_constraint.contype = ANY (ARRAY[$3::VARCHAR]) WHERE pg_catalog.pg_index.indrelid IN ($2)
        ORDER BY pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname";
    s.describe(indexes).await.unwrap();
    assert!(s.rows_with(indexes, &[Value::Int(1), Value::Int(oid), p()]).await.is_empty());
    let comment = "SELECT pg_catalog.pg_class.relname, pg_catalog.pg_description.description FROM pg_catalog.pg_class
        LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_class.oid = pg_catalog.pg_description.objoid
        AND pg_catalog.pg_description.objsubid = $1::INTEGER AND pg_catalog.pg_description.classoid = CAST($2 AS REGCLASS)
        WHERE pg_catalog.pg_class.relname IN ($3::VARCHAR)";
    let values = [Value::Int(0), Value::Text("pg_catalog.pg_class".into()), Value::Text("trades".into())];
    assert_eq!(s.rows_with(comment, &values).await, ["trades|NULL"]);
    let options = "SELECT pg_catalog.pg_class.oid, pg_catalog.pg_class.reloptions, NULL AS relhasoids,
        CASE WHEN (pg_catalog.pg_am.amname IS NOT NULL AND pg_catalog.pg_am.amname != current_setting($1::VARCHAR)) THEN pg_catalog.pg_am.amname ELSE NULL END AS access_method_name,
        pg_catalog.pg_tablespace.spcname AS tablespace_name, inherits.parent_table_names
        FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_am ON pg_catalog.pg_class.relam = pg_catalog.pg_am.oid
        LEFT OUTER JOIN (SELECT pg_catalog.pg_inherits.inhrelid AS inhrelid, array_agg(pg_catalog.pg_class.relname ORDER BY pg_catalog.pg_inherits.inhseqno) AS parent_table_names
        FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class ON pg_catalog.pg_inherits.inhparent = pg_catalog.pg_class.oid
        GROUP BY pg_catalog.pg_inherits.inhrelid) AS inherits ON pg_catalog.pg_class.oid = inherits.inhrelid
        LEFT OUTER JOIN pg_catalog.pg_tablespace ON pg_catalog.pg_tablespace.oid = pg_catalog.pg_class.reltablespace
        WHERE pg_catalog.pg_class.relname IN ($2::VARCHAR)";
    let values = text(&["default_table_access_method", "trades"]);
    assert_eq!(s.rows_with(options, &values).await, [format!("{oid}|NULL|NULL|NULL|NULL|NULL")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_is_what_comes() {
    let (_node, mut s) = node().await;
    for sql in [
        "select * from trades",
        "select count(*), count(qty), max(symbol), 1 as \"One\" from trades",
        "select c.*, n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace",
        "select table_schema, table_name, column_name, data_type from information_schema.columns order by ordinal_position",
        "select symbol, row_number() over (order by qty) from trades",
        "select null, array[1,2], now(), 'x' || symbol, price * 2 from trades",
    ] {
        let described = s.describe(sql).await.unwrap().columns.unwrap();
        let Ok(Answer::Rows { columns, rows }) = s.execute(sql, &[]).await else { panic!("{sql}") };
        let plain = |schema: &Schema| -> Vec<(String, arrow::datatypes::DataType)> {
            schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
        };
        assert_eq!(plain(&described), plain(&columns), "{sql}");
        let answer = Answer::Rows { columns: columns.clone(), rows };
        for batch in rows_of(answer).await.unwrap() {
            assert_eq!(batch.schema(), columns, "{sql}");
        }
    }
    let columns = s.rows("select column_name, data_type from information_schema.columns where table_name = 'trades' order by ordinal_position").await;
    assert!(columns.contains(&"qty|bigint".to_string()), "{columns:?}");
    assert_eq!(
        s.rows("select table_name from information_schema.tables order by 1").await,
        ["fresh", "trades"]
    );
    assert_eq!(
        s.rows("select tablename from pg_tables where schemaname = 'public' order by 1").await,
        ["fresh", "trades"]
    );
}
