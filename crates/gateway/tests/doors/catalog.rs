use serde_json::{Value, json};

use super::fixture::{http, node};

fn exception(body: &Value) -> &str {
    body["error"]["type"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_table_is_loaded_under_every_base_path() {
    let node = node().await;
    node.trades(10).await;
    let door = node.catalog;
    let commit = node.post(node.admin, "/v1/tables/trades/commit", "").await;
    assert_eq!(commit.status, 200, "{commit:?}");
    let snapshot = commit.json()["snapshot_id"].clone();
    assert!(snapshot.is_i64(), "{commit:?}");

    let config = node.get(door, "/v1/config?warehouse=anything").await.json();
    let endpoints = config["endpoints"].as_array().unwrap();
    assert!(endpoints.contains(&json!("GET /v1/{prefix}/namespaces/{namespace}/tables/{table}")));
    assert!(!endpoints.iter().any(|e| e.as_str().unwrap().contains("views")));

    for base in ["", "/catalog", "/api/catalog"] {
        for prefix in ["", "/wh"] {
            let root = format!("{base}/v1{prefix}/namespaces");
            assert!(
                node.get(door, &root).await.json()["namespaces"]
                    .as_array()
                    .unwrap()
                    .contains(&json!(["public"]))
            );
            let loaded = node.get(door, &format!("{root}/public/tables/trades")).await;
            assert_eq!(loaded.status, 200, "{loaded:?}");
            let body = loaded.json();
            assert_eq!(body["metadata"]["current-snapshot-id"], snapshot);
            assert!(body["metadata-location"].as_str().unwrap().ends_with(".metadata.json"));
            assert_eq!(body["metadata"]["format-version"], 2);
        }
    }
    let tables = node.get(door, "/v1/namespaces/public/tables").await.json();
    assert!(
        tables["identifiers"]
            .as_array()
            .unwrap()
            .contains(&json!({"namespace": ["public"], "name": "trades"}))
    );
    let exists = http(door, "HEAD", "/v1/namespaces/public/tables/trades", &[], "").await;
    assert_eq!((exists.status, exists.body.as_str()), (204, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etags_and_referenced_snapshots() {
    let node = node().await;
    node.trades(3).await;
    let commit = || async {
        node.post(node.admin, "/v1/tables/trades/commit", "").await.json()["snapshot_id"].clone()
    };
    let first = commit().await;
    let mut batch = topics::batch::BatchBuilder::new();
    batch.push(1, None, Some(br#"{"symbol":"x","price":1,"qty":1}"#), &[]);
    node.deps.topics.append("trades", 0, batch.build().unwrap()).unwrap().await.unwrap();
    let second = commit().await;
    assert_ne!(first, second);
    let path = "/v1/namespaces/public/tables/trades";
    let all = node.get(node.catalog, path).await;
    assert_eq!(all.json()["metadata"]["snapshots"].as_array().unwrap().len(), 2);
    let referenced = node.get(node.catalog, &format!("{path}?snapshots=refs")).await.json();
    let kept = referenced["metadata"]["snapshots"].as_array().unwrap();
    assert_eq!(kept.iter().map(|s| s["snapshot-id"].clone()).collect::<Vec<_>>(), [second]);
    let tag = all.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    // The head was lowered for comparison; our tags are lower case.
    let unchanged = http(node.catalog, "GET", path, &[("if-none-match", tag)], "").await;
    assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""));
    let other =
        http(node.catalog, "GET", &format!("{path}?snapshots=refs"), &[("if-none-match", tag)], "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_icebergs_names() {
    let node = node().await;
    let door = node.catalog;
    for (path, status, name) in [
        ("/v1/namespaces/none", 404, "NoSuchNamespaceException"),
        ("/v1/namespaces/none/tables", 404, "NoSuchNamespaceException"),
        ("/v1/namespaces?parent=none", 404, "NoSuchNamespaceException"),
        ("/v1/namespaces/public/tables/none", 404, "NoSuchTableException"),
        ("/v1/namespaces/public/views", 404, "NotFoundException"),
        ("/v1/namespaces/public/tables/t?snapshots=some", 400, "BadRequestException"),
        ("/elsewhere", 404, "NotFoundException"),
    ] {
        let answer = node.get(door, path).await;
        assert_eq!((answer.status, exception(&answer.json())), (status, name), "{path}");
        assert_eq!(answer.json()["error"]["code"], status);
    }
    let create = node.post(door, "/v1/namespaces/public/tables", r#"{"name":"t"}"#).await;
    assert_eq!((create.status, exception(&create.json())), (406, "UnsupportedOperationException"));
    let head = http(door, "HEAD", "/v1/namespaces/public/tables/none", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (404, ""));
}
