//! The Postgres door through tokio-postgres, which binds and reads everything in binary.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::fixture::{Node, node};

async fn connect_with(door: SocketAddr, extra: &str) -> Result<Client, tokio_postgres::Error> {
    let config = format!("host=127.0.0.1 port={} user=me dbname=frazil {extra}", door.port());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect(node: &Node) -> Client {
    connect_with(node.postgres, "application_name=test").await.unwrap()
}

fn code(error: &tokio_postgres::Error) -> &str {
    error.code().map_or("none", |code| code.code())
}

fn simple_rows(messages: &[SimpleQueryMessage]) -> Vec<Vec<Option<String>>> {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_queries_of_several_statements() {
    let node = node().await;
    node.trades(10).await;
    let client = connect(&node).await;
    let messages = client
        .simple_query("SELECT symbol, count(*), sum(qty) FROM trades GROUP BY symbol ORDER BY symbol; SELECT 1 AS one; SHOW server_version")
        .await
        .unwrap();
    let rows = simple_rows(&messages);
    let texts = |row: &[Option<String>]| row.iter().map(|cell| cell.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(texts(&rows[0]), ["S0", "4", "18"]);
    assert_eq!(texts(&rows[2]), ["S2", "3", "15"]);
    assert_eq!(texts(&rows[3]), ["1"]);
    assert!(rows[4][0].as_deref().unwrap().starts_with("15."), "{rows:?}");
    for empty in ["", " ; "] {
        assert!(simple_rows(&client.simple_query(empty).await.unwrap()).is_empty());
    }
    assert!(client.simple_query("SELECT * FROM trades WHERE false").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_every_type_in_binary() {
    let node = node().await;
    let client = connect(&node).await;
    let row = client
        .query_one(
            "SELECT true, CAST(1 AS smallint), CAST(-2 AS int), CAST(3 AS bigint), CAST(1.5 AS real), \
             CAST(2.5 AS double precision), 'text', NULL, ARRAY[1, 2], CAST('2026-01-02' AS date)",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(row.get::<_, i16>(1), 1);
    assert_eq!(row.get::<_, i32>(2), -2);
    assert_eq!(row.get::<_, i64>(3), 3);
    assert_eq!(row.get::<_, f32>(4), 1.5);
    assert_eq!(row.get::<_, f64>(5), 2.5);
    assert_eq!(row.get::<_, String>(6), "text");
    assert_eq!(row.get::<_, Option<String>>(7), None);
    assert_eq!(row.get::<_, Vec<i64>>(8), [1, 2]);
    assert_eq!(row.columns()[9].type_(), &Type::DATE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_in_binary_and_null() {
    let node = node().await;
    node.trades(100).await;
    let client = connect(&node).await;
    let statement = client
        .prepare("SELECT qty, price, ts_event FROM trades WHERE qty >= $1 AND symbol = $2 ORDER BY qty")
        .await
        .unwrap();
    assert_eq!(statement.params(), [Type::INT8, Type::TEXT]);
    let types: Vec<&Type> = statement.columns().iter().map(|c| c.type_()).collect();
    assert_eq!(types, [&Type::INT8, &Type::FLOAT8, &Type::TIMESTAMPTZ]);
    let rows = client.query(&statement, &[&90i64, &"S0"]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [90, 93, 96, 99]);
    assert_eq!(rows[0].get::<_, f64>(1), 22.5);
    let none = client.query(&statement, &[&None::<i64>, &"S0"]).await.unwrap();
    assert!(none.is_empty());
    // More than nine parameters keep their order.
    let many = client.prepare_typed("SELECT $1 + $2 * 10, $10 - $9, $11", &[const { Type::INT8 }; 11]).await;
    if let Ok(many) = many {
        let values: Vec<i64> = (1..=11).collect();
        let values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = values.iter().map(|v| v as _).collect();
        let row = client.query_one(&many, &values).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (21, 1, 11));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_gives_its_rows_in_pages() {
    let node = node().await;
    node.trades(25).await;
    let mut client = connect(&node).await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT qty FROM trades ORDER BY qty", &[]).await.unwrap();
    let mut seen = Vec::new();
    for wanted in [10, 10, 5, 0] {
        let page = transaction.query_portal(&portal, 10).await.unwrap();
        assert_eq!(page.len(), wanted);
        seen.extend(page.iter().map(|row| row.get::<_, i64>(0)));
        if wanted < 10 {
            break;
        }
    }
    assert_eq!(seen, (0..25).collect::<Vec<i64>>());
    // Another statement may run while a portal is suspended.
    let second = transaction.bind("SELECT qty FROM trades ORDER BY qty DESC", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&second, 1).await.unwrap()[0].get::<_, i64>(0), 24);
    assert_eq!(transaction.query_one("SELECT count(*) FROM trades", &[]).await.unwrap().get::<_, i64>(0), 25);
    assert_eq!(transaction.query_portal(&second, 1).await.unwrap()[0].get::<_, i64>(0), 23);
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_codes_and_the_connection_goes_on() {
    let node = node().await;
    node.trades(3).await;
    let client = connect(&node).await;
    for (statement, wanted) in [
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM trades", "42703"),
        ("SELEC 1", "42601"),
        ("SELECT 1/0", "22012"),
        ("COPY trades TO STDOUT", "0A000"),
    ] {
        let extended = client.query(statement, &[]).await.unwrap_err();
        assert_eq!(code(&extended), wanted, "{statement}: {extended:?}");
        let simple = client.simple_query(statement).await.unwrap_err();
        assert_eq!(code(&simple), wanted, "{statement}: {simple:?}");
        assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().len(), 1);
    }
    let several = client.query("SELECT 1; SELECT 2", &[]).await.unwrap_err();
    assert_eq!(code(&several), "42601");
    // The statements after a failed one are not run.
    assert!(client.simple_query("SELECT * FROM nowhere; SELECT 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_transaction_refuses_until_its_end() {
    let node = node().await;
    let client = connect(&node).await;
    client.simple_query("BEGIN").await.unwrap();
    assert!(client.query("SELECT * FROM nowhere", &[]).await.is_err());
    assert_eq!(code(&client.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
    client.simple_query("ROLLBACK").await.unwrap();
    client.query_one("SELECT 1", &[]).await.unwrap();
}

const ENDLESS: &str = "SELECT a.qty, b.qty, c.qty FROM trades a, trades b, trades c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_streams_is_cancelled() {
    let node = node().await;
    node.trades(2000).await;
    let client = connect(&node).await;
    let cancel = client.cancel_token();
    let rows = client.query_raw(ENDLESS, Vec::<i64>::new()).await.unwrap();
    tokio::pin!(rows);
    assert!(rows.try_next().await.unwrap().is_some());
    cancel.cancel_query(NoTls).await.unwrap();
    let started = Instant::now();
    let error = loop {
        match rows.try_next().await {
            Ok(Some(_)) => assert!(started.elapsed() < Duration::from_secs(20), "must be cancelled"),
            Ok(None) => panic!("eight billion rows cannot have ended"),
            Err(error) => break error,
        }
    };
    assert_eq!(code(&error), "57014");
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_computes_is_cancelled() {
    let node = node().await;
    node.trades(2000).await;
    let client = connect(&node).await;
    let cancel = client.cancel_token();
    let running = tokio::spawn(async move {
        let statement =
            "SELECT count(*) FROM trades a, trades b, trades c WHERE a.qty + b.qty = c.qty * 7 + 1";
        let outcome = client.query(statement, &[]).await;
        (client, outcome)
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    cancel.cancel_query(NoTls).await.unwrap();
    let (client, outcome) = tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    if let Err(error) = outcome {
        assert_eq!(code(&error), "57014");
    }
    client.query_one("SELECT 1", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn startup_options_set_the_session() {
    let node = node().await;
    let client = connect_with(node.postgres, "options='-c frazil.freshness=committed'").await.unwrap();
    let row = client.simple_query("SHOW frazil.freshness").await.unwrap();
    assert_eq!(simple_rows(&row)[0][0].as_deref(), Some("committed"));
    let refused = connect_with(node.postgres, "options='-c frazil.freshnes=x'").await.err().unwrap();
    assert_eq!(code(&refused), "42704");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_result_arrives_whole() {
    let node = node().await;
    node.trades(2000).await;
    let client = connect(&node).await;
    let rows = client
        .query_raw("SELECT a.qty FROM trades a, trades b WHERE b.qty < 100", Vec::<i64>::new())
        .await
        .unwrap();
    tokio::pin!(rows);
    let (mut count, mut sum) = (0u64, 0i64);
    while let Some(row) = rows.try_next().await.unwrap() {
        count += 1;
        sum += row.get::<_, i64>(0);
    }
    assert_eq!((count, sum), (200_000, 100 * (1999 * 2000 / 2)));
}
