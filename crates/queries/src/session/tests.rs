//! Sessions over a real log, registry and catalog.

mod clients;
mod hot_cold;

use arrow::datatypes::{DataType, TimeUnit};

use crate::engine::Settings;
use crate::fixture::{Node, TRADES, rows_of};
use crate::session::{Answer, TransactionState, Value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_typed_by_their_place_and_bound_by_number() {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    node.trades("trades", 0, 0, 30).await;
    let mut s = node.session();
    let sql =
        "select qty from trades where symbol = $1 and qty < $2 and ts_event >= $3 order by qty limit $4";
    let described = s.describe(sql).await.unwrap();
    assert_eq!(described.parameters[0], DataType::Utf8);
    assert_eq!(described.parameters[1], DataType::Int64);
    assert!(matches!(described.parameters[2], DataType::Timestamp(TimeUnit::Microsecond, Some(_))));
    assert_eq!(described.parameters[3], DataType::Int64);
    assert_eq!(described.columns.unwrap().field(0).data_type(), &DataType::Int64);
    let text = |t: &str| Value::Text(t.into());
    let moment = text("2026-01-02 03:04:02+00");
    let values = [text("A"), Value::Int(20), moment.clone(), Value::Int(3)];
    assert_eq!(s.rows_with(sql, &values).await, ["3", "6", "9"]);
    // Drivers that send everything as text mean the same.
    let values = [text("A"), text("20"), moment, text("3")];
    assert_eq!(s.rows_with(sql, &values).await, ["3", "6", "9"]);
    assert_eq!(node.session().rows_with(sql, &values).await, ["3", "6", "9"], "without a description too");
    let eleven: Vec<String> = (1..=11).map(|n| format!("${n}::int")).collect();
    let values: Vec<Value> = (1..=11).map(Value::Int).collect();
    assert_eq!(
        s.rows_with(&format!("select {}", eleven.join(",")), &values).await,
        ["1|2|3|4|5|6|7|8|9|10|11"]
    );
    let any = "select count(*) from trades where symbol = any($1) and qty <> all($2::int[]) and qty = $3";
    assert_eq!(s.describe(any).await.unwrap().parameters.len(), 3);
    assert_eq!(s.rows_with(any, &[text("{A,B}"), text("{1,2}"), text("4")]).await, ["1"]);
    let short = s.execute("select $1::int, $2::int", &[Value::Int(1)]).await.unwrap_err();
    assert_eq!(short.sqlstate, "08P01");
    let bad = s.execute("select $1::int", &[text("x")]).await;
    let bad = match bad {
        Err(error) => error,
        Ok(answer) => rows_of(answer).await.unwrap_err(),
    };
    assert_eq!(
        (bad.sqlstate, bad.message.as_str()),
        ("22P02", "invalid input syntax for type integer: \"x\"")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_the_codes_and_words_of_postgres() {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    node.trades("trades", 0, 0, 3).await;
    let plain = topics::NewTopic { name: "plain".into(), partitions: Some(1), ..Default::default() };
    node.topics.create(plain).unwrap();
    let mut s = node.session();
    for (sql, code, message, hint) in [
        ("select * from trade", "42P01", "relation \"trade\" does not exist", "\"trades\""),
        ("select * from plain", "42P01", "relation \"plain\" does not exist", "redpanda.iceberg.mode"),
        ("select * from public.nope", "42P01", "relation \"public.nope\" does not exist", ""),
        ("select * from pg_catalog.pg_nope", "42P01", "does not exist", ""),
        ("select pricee from trades", "42703", "column \"pricee\" does not exist", "price"),
        ("selec 1", "42601", "syntax error", ""),
        ("select 1/0", "22012", "division by zero", ""),
        ("select qty/(qty-qty) from trades", "22012", "division by zero", ""),
        ("select 'x'::int", "22P02", "invalid input syntax for type integer: \"x\"", ""),
        ("select symbol::int from trades", "22P02", "invalid input syntax for type integer: \"A\"", ""),
        ("select nofunction(1)", "42883", "function nofunction does not exist", ""),
        ("insert into trades values (1)", "0A000", "INSERT is not supported", "topic"),
        ("delete from trades", "0A000", "DELETE is not supported", "append"),
        ("create table x (a int)", "0A000", "CREATE is not supported", "topic"),
        ("copy trades to stdout", "0A000", "COPY is not supported", ""),
        ("with x as (insert into trades values (1)) select 1", "42601", "", ""),
        ("select * into y from trades", "0A000", "", ""),
        ("set nonsense = 1", "42704", "unrecognized configuration parameter \"nonsense\"", ""),
        ("select * from other.public.trades", "0A000", "cross-database", "frazil"),
        ("select symbol, count(*) from trades", "42803", "", ""),
    ] {
        let error = s.error(sql).await;
        if code != "42601" || !sql.starts_with("with") {
            assert_eq!(error.sqlstate, code, "{sql}: {error:?}");
        }
        assert!(error.message.contains(message), "{sql}: {error:?}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{sql}: {error:?}");
    }
    assert!(matches!(s.execute(" -- nothing", &[]).await, Ok(Answer::Empty)));
    let long = format!("select '{}'", "x".repeat(2 << 20));
    assert_eq!(s.error(&long).await.sqlstate, "54000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn analytics_have_the_types_and_values_of_decimals() {
    let node = Node::new();
    node.topic("trades", 2, TRADES).await;
    node.trades("trades", 0, 0, 60).await;
    node.commit("trades").await;
    node.trades("trades", 1, 60, 60).await;
    let mut s = node.session();
    let sql = "select symbol, count(*) trade_count, round(avg(price::decimal(10,2)), 2) avg_price,
                min(price::decimal(10,2)), max(price::decimal(10,2)) max_price, sum(qty) total_volume,
                count(*) filter (where side = 'BUY') buy_count, min(ts_event) first_trade_time
                from trades group by symbol order by symbol";
    let columns = s.describe(sql).await.unwrap().columns.unwrap();
    let types: Vec<&DataType> = columns.fields().iter().map(|f| f.data_type()).collect();
    assert!(matches!(types[2], DataType::Decimal128(_, 2 | 6)), "{types:?}");
    assert_eq!((types[1], types[5], types[6]), (&DataType::Int64, &DataType::Int64, &DataType::Int64));
    assert!(matches!(types[7], DataType::Timestamp(TimeUnit::Microsecond, Some(_))));
    assert_eq!(columns.field(3).name(), "min");
    let rows = s.rows(sql).await;
    assert_eq!(rows.len(), 3);
    assert!(rows[0].starts_with("A|40|104.75"), "{rows:?}");
    assert!(rows[0].contains("|100.25|109.25|2340|20|2026-01-02T03:04:00Z"), "{rows:?}");
    assert_eq!(
        s.rows("select sum(qty), count(distinct symbol) from trades where price > 105.5").await,
        ["3000|3"]
    );
    assert_eq!(s.rows("select round(2.345::numeric(10,3), 2), abs(-3), power(2, 3)").await.len(), 1);
    assert_eq!(s.rows("select redpanda.offset from trades where qty = 7").await, ["7"]);
    assert_eq!(
        s.rows("select (redpanda).offset, t.redpanda['partition'] from trades t where qty = 67").await,
        ["7|1"]
    );
    assert_eq!(s.rows("select 1, 1, 'a' x, 'b' x").await, ["1|1|a|b"]);
    assert_eq!(s.rows("select qty::text, qty, QTY, 2^3 from trades where qty = 5").await, ["5|5|5|8.0"]);
    let average = "select round(avg(price::decimal(10,2)), 2) from trades";
    assert_eq!(s.rows(average).await, ["104.75"], "two digits, not six");
    assert_eq!(
        s.rows("select symbol from trades where symbol like 'A/%' escape '/' or symbol ~ '^[B]$' limit 1")
            .await,
        ["B"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_fail_and_recover_as_clients_expect() {
    let node = Node::new();
    let mut s = node.session();
    assert_eq!(s.tag("BEGIN").await, "BEGIN");
    assert_eq!(s.tag("SAVEPOINT \"_pg3_1\"").await, "SAVEPOINT");
    assert_eq!(s.error("select nope").await.sqlstate, "42703");
    assert_eq!(s.transaction(), TransactionState::Failed);
    assert_eq!(s.error("select 1").await.sqlstate, "25P02");
    assert_eq!(s.tag("ROLLBACK TO \"_pg3_1\"").await, "ROLLBACK");
    assert_eq!(s.rows("select 1").await, ["1"]);
    assert_eq!(s.tag("RELEASE \"_pg3_1\"").await, "RELEASE");
    assert_eq!(s.error("release nope").await.sqlstate, "3B001");
    assert_eq!(s.tag("COMMIT").await, "ROLLBACK", "a failed transaction cannot commit");
    assert_eq!(s.transaction(), TransactionState::Idle);
    // An error that only comes with the rows fails the transaction too.
    s.tag("begin isolation level serializable").await;
    assert_eq!(s.error("select 1 / (x - 1) from (values (1)) t(x)").await.sqlstate, "22012");
    assert_eq!(s.transaction(), TransactionState::Failed);
    assert_eq!(s.tag("rollback").await, "ROLLBACK");
    assert_eq!(s.error("savepoint x").await.sqlstate, "25P01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_set_shown_and_reset() {
    let node = Node::new();
    let mut s = node.session();
    for sql in [
        "set timezone = 'UTC'",
        "SET TIME ZONE 'UTC'",
        "set search_path to public, pg_catalog",
        "SET client_encoding TO 'UTF8'",
        "set extra_float_digits = 3",
        "set names 'utf8'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "set frazil.freshness = committed",
        "set statement_timeout = '5s'",
        "SET application_name = 'x'",
        "set default_transaction_isolation = 'read committed'",
    ] {
        assert_eq!(s.tag(sql).await, "SET", "{sql}");
    }
    assert_eq!(s.rows("show frazil.freshness").await, ["committed"]);
    assert_eq!(s.rows("SHOW statement_timeout").await, ["5s"]);
    assert_eq!(s.rows("show transaction isolation level").await.len(), 1);
    assert_eq!(s.rows("show standard_conforming_strings").await, ["on"]);
    assert!(s.rows("show all").await.len() > 50);
    assert_eq!(
        s.rows("select current_setting('application_name'), set_config('application_name', 'y', false)")
            .await,
        ["x|y"]
    );
    assert_eq!(s.rows("show application_name").await, ["y"]);
    assert_eq!(s.tag("RESET application_name").await, "RESET");
    assert_eq!(s.setting("application_name").unwrap(), "test");
    assert_eq!(s.tag("DISCARD ALL").await, "DISCARD ALL");
    assert_eq!(s.tag("deallocate all").await, "DEALLOCATE ALL");
    assert_eq!(s.rows("show frazil.freshness").await, ["latest"]);
    assert_eq!(
        s.rows("select current_schema(), current_database(), current_user, current_schema").await,
        ["public|frazil|me|public"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_stops_at_its_timeout_and_when_dropped() {
    let node = Node::with(Settings { concurrency: 1, ..Settings::default() });
    let endless = "select count(*) from generate_series(1, 2000000000) a where a.value % 7 = 3";
    let mut s = node.session();
    s.tag("set statement_timeout = 150").await;
    let error = s.error(endless).await;
    assert_eq!(
        (error.sqlstate, error.message.as_str()),
        ("57014", "canceling statement due to statement timeout")
    );
    s.tag("reset statement_timeout").await;
    let answer = s.execute(endless, &[]).await.unwrap();
    drop(answer);
    // The only place is free again: this would wait for ever otherwise.
    assert_eq!(s.rows("select 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_chains_within_the_limit_plan_on_a_small_stack() {
    let node = Node::new();
    let mut s = node.session();
    let sql = format!("select 1 where 1 = 2{}", " or 1 = 3".repeat(190));
    assert!(s.rows(&sql).await.is_empty());
    let sum = format!("select 0{}", " + 1".repeat(390));
    assert_eq!(s.rows(&sum).await, ["390"]);
    let unions = format!("select count(*) from (select 1{}) t", " union all select 1".repeat(60));
    assert_eq!(s.rows(&unions).await, ["61"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_gives_its_place_to_others() {
    let node = Node::with(Settings { concurrency: 1, ..Settings::default() });
    let (mut slow, mut other) = (node.session(), node.session());
    let sql = "select a.value from generate_series(1, 200000) a";
    let Ok(Answer::Rows { columns, rows }) = slow.execute(sql, &[]).await else { panic!("rows expected") };
    assert_eq!(other.rows("select 1").await, ["1"], "while the first has not taken its rows");
    let rows = rows_of(Answer::Rows { columns, rows }).await.unwrap();
    assert_eq!(rows.iter().map(|b| b.num_rows()).sum::<usize>(), 200_000, "which all come in the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_not_there_is_refused_by_its_code() {
    let node = Node::with(Settings { memory_bytes: 1 << 20, ..Settings::default() });
    let mut s = node.session();
    let sql = "select a.value, b.value from generate_series(1, 300000) a join generate_series(1, 300000) b on a.value = b.value";
    let error = s.error(sql).await;
    assert_eq!((error.sqlstate, error.message.as_str()), ("53200", "out of memory"));
    assert_eq!(s.rows("select 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_without_end_leave_room_for_others_and_stop() {
    let node = Node::new();
    node.topic("trades", 1, TRADES).await;
    node.trades("trades", 0, 0, 2_000).await;
    let endless = "select count(*) from trades a, trades b, trades c, trades d where a.qty + d.qty <> 5 + b.qty + c.qty";
    let mut running = Vec::new();
    for _ in 0..4 {
        let mut heavy = node.session();
        running.push((heavy.execute(endless, &[]).await.unwrap(), heavy));
    }
    let limit = std::time::Duration::from_secs(60);
    let mut other = node.session();
    for _ in 0..3 {
        let rows = tokio::time::timeout(limit, other.rows("select count(*) from trades")).await;
        assert_eq!(rows.expect("others go on"), ["2000"]);
    }
    other.tag("set statement_timeout = 150").await;
    let stopped = tokio::time::timeout(limit, other.error(endless)).await.expect("the timeout acts");
    assert_eq!(stopped.sqlstate, "57014");
}
