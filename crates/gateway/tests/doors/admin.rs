use serde_json::json;

use super::fixture::{http, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_status_and_metrics() {
    let node = node().await;
    node.trades(5).await;
    for path in ["/health/livez", "/livez", "/health/readyz", "/readyz", "/v1/status", "/metrics", "/"] {
        assert_eq!(node.get(node.admin, path).await.status, 200, "{path}");
    }
    let status = node.get(node.admin, "/v1/status").await.json();
    let topic = status["topics"].as_array().unwrap().iter().find(|t| t["name"] == "trades").unwrap().clone();
    assert_eq!(topic["partitions"][0]["stable"], 5);
    let metrics = node.get(node.admin, "/metrics").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"));
    assert!(
        metrics.body.contains("kafka_topic_partition_current_offset{topic=\"trades\",partition=\"0\"} 5\n")
    );
    assert!(metrics.body.contains("frazil_table_lag_records{topic=\"trades\""), "{}", metrics.body);
    assert_eq!(node.get(node.admin, "/nowhere").await.json()["error"]["kind"], "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_are_put_shown_and_deleted() {
    let node = node().await;
    node.trades(5).await;
    let path = "/v1/pipelines/volume";
    let spec = json!({
        "sql": "SELECT symbol, sum(qty) AS volume FROM trades GROUP BY symbol ORDER BY symbol",
        "trigger": {"every": "1h"},
        "into": {"topic": "volumes"},
    });
    let put = http(node.admin, "PUT", path, &[], &spec.to_string()).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(node.get(node.admin, path).await.json()["sql"], spec["sql"]);
    let all = node.get(node.admin, "/v1/pipelines").await.json();
    assert_eq!(all["pipelines"][0]["name"], "volume");
    assert_eq!(http(node.admin, "DELETE", path, &[], "").await.status, 204);
    assert_eq!(node.get(node.admin, path).await.status, 404);
    let wrong = http(node.admin, "PUT", path, &[], r#"{"sql":"SELECT 1","trigers":1}"#).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("trigers"), "{}", wrong.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_host_names_are_refused() {
    let node = node().await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("app.localhost", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8080", 403),
        ("", 403),
    ] {
        for door in [node.admin, node.registry, node.catalog] {
            let path = if door == node.catalog { "/v1/config" } else { "/" };
            let answer = http(door, "GET", path, &[("Host", host)], "").await;
            assert_eq!(answer.status, status, "{host}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_fine_cannot_be_resumed_by_a_typo() {
    let node = node().await;
    let answer = node.post(node.admin, "/v1/tables/trades/resume", r#"{"mode":"skipp"}"#).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = node.post(node.admin, "/v1/tables/none/resume", r#"{"mode":"skip"}"#).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(node.post(node.admin, "/v1/tables/none/commit", "").await.status, 404);
}
