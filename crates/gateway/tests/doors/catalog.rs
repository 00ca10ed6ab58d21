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
    for endpoint in endpoints {
        let (method, path) = endpoint.as_str().unwrap().split_once(' ').unwrap();
        let path = path.replace("{prefix}", "wh").replace("{namespace}", "none");
        let path = path.replace("{table}", "none").replace("{view}", "none");
        let answer = http(door, method, &path, &[], "{}").await;
        assert!(!answer.body.contains("is not served here"), "{endpoint}: {answer:?}");
        assert!(answer.status < 500, "{endpoint}: {answer:?}");
    }

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
        ("/v1/namespaces/public/views/none", 404, "NoSuchViewException"),
        ("/v1/namespaces/public/functions", 404, "NotFoundException"),
        ("/v1/namespaces?pageToken=x", 400, "BadRequestException"),
        ("/v1/namespaces/public/tables/t?snapshots=some", 400, "BadRequestException"),
        ("/elsewhere", 404, "NotFoundException"),
    ] {
        let answer = node.get(door, path).await;
        assert_eq!((answer.status, exception(&answer.json())), (status, name), "{path}");
        assert_eq!(answer.json()["error"]["code"], status);
    }
    let create = node.post(door, "/v1/namespaces/public/tables", r#"{"name":"t"}"#).await;
    assert_eq!((create.status, exception(&create.json())), (400, "BadRequestException"));
    let head = http(door, "HEAD", "/v1/namespaces/public/tables/none", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (404, ""));
}

fn new_table(name: &str) -> String {
    json!({"name": name, "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long"}]}})
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_write() {
    let node = node().await;
    let door = node.catalog;
    let expect = async |method: &str, path: &str, body: &str, status: u16, name: &str| {
        let answer = http(door, method, path, &[], body).await;
        let found = answer.status;
        assert_eq!(found, status, "{method} {path}: {answer:?}");
        if !name.is_empty() {
            assert_eq!(exception(&answer.json()), name, "{method} {path}");
            assert_eq!(answer.json()["error"]["code"], status);
        }
        answer
    };
    expect("POST", "/v1/namespaces", r#"{"namespace":["a"],"properties":{"k":"v"}}"#, 200, "").await;
    expect("POST", "/v1/namespaces", r#"{"namespace":["a"]}"#, 409, "AlreadyExistsException").await;
    expect("POST", "/v1/namespaces", r#"{"namespace":["a*"]}"#, 400, "BadRequestException").await;
    let both = r#"{"removals":["k"],"updates":{"k":"1"}}"#;
    expect("POST", "/v1/namespaces/a/properties", both, 422, "UnprocessableEntityException").await;
    let change = expect("POST", "/v1/namespaces/a/properties", r#"{"removals":["k"]}"#, 200, "").await;
    assert_eq!(change.json(), json!({"updated": [], "removed": ["k"], "missing": []}));
    for name in ["t1", "t2", "t3"] {
        expect("POST", "/v1/namespaces/a/tables", &new_table(name), 200, "").await;
    }
    expect("POST", "/v1/namespaces/a/tables", &new_table("t1"), 409, "AlreadyExistsException").await;
    expect("POST", "/v1/namespaces/none/tables", &new_table("t"), 404, "NoSuchNamespaceException").await;
    expect("DELETE", "/v1/namespaces/a", "", 409, "NamespaceNotEmptyException").await;
    let path = "/v1/namespaces/a/tables";
    let first = node.get(door, &format!("{path}?pageToken=&pageSize=2")).await.json();
    let token = first["next-page-token"].as_str().unwrap();
    let second = node.get(door, &format!("{path}?pageToken={token}&pageSize=2")).await.json();
    let names = |page: &Value| {
        let all = page["identifiers"].as_array().unwrap().iter();
        all.map(|i| i["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(&first), names(&second)), (vec!["t1".into(), "t2".into()], vec!["t3".to_owned()]));
    assert!(second["next-page-token"].is_null());
    let loaded = node.get(door, &format!("{path}/t1")).await.json();
    let uuid = &loaded["metadata"]["table-uuid"];
    let commit = |uuid: &Value| {
        json!({"requirements": [{"type": "assert-table-uuid", "uuid": uuid}],
            "updates": [{"action": "set-properties", "updates": {"k": "v"}}]})
        .to_string()
    };
    // Java's clients do not take null for a list.
    let empty = node.get(door, &format!("{path}/t1?snapshots=refs")).await.json();
    for body in [&loaded, &empty] {
        assert!(body["metadata"].as_object().unwrap().get("snapshots").is_none_or(Value::is_array), "{body}");
    }
    let made = expect("POST", &format!("{path}/t1"), &commit(uuid), 200, "").await.json();
    assert_eq!(made["metadata"]["properties"]["k"], "v");
    assert_eq!(made["metadata"]["metadata-log"][0]["metadata-file"], loaded["metadata-location"]);
    let stale = commit(&json!(uuid::Uuid::new_v4()));
    expect("POST", &format!("{path}/t1"), &stale, 409, "CommitFailedException").await;
    expect("POST", &format!("{path}/none"), &commit(uuid), 404, "NoSuchTableException").await;
    let outside =
        r#"{"updates":[{"action":"set-properties","updates":{"write.metadata.path":"file:///etc"}}]}"#;
    expect("POST", &format!("{path}/t1"), outside, 403, "ForbiddenException").await;
    let unknown = r#"{"updates":[{"action":"explode"}]}"#;
    expect("POST", &format!("{path}/t1"), unknown, 400, "BadRequestException").await;
    let rename = json!({"source": {"namespace": ["a"], "name": "t1"}, "destination": {"namespace": ["a"], "name": "t2"}});
    expect("POST", "/v1/tables/rename", &rename.to_string(), 409, "AlreadyExistsException").await;
    expect("POST", &format!("{path}/t1/metrics"), r#"{"report-type":"scan-report"}"#, 204, "").await;
    expect("POST", &format!("{path}/t1/metrics"), "[1]", 400, "BadRequestException").await;
    let transaction = json!({"table-changes": [
        {"identifier": {"namespace": ["a"], "name": "t2"}, "updates": [{"action": "set-properties", "updates": {"x": "1"}}]},
        {"identifier": {"namespace": ["a"], "name": "t3"}, "requirements": [{"type": "assert-create"}], "updates": []}]});
    expect("POST", "/v1/transactions/commit", &transaction.to_string(), 409, "CommitFailedException").await;
    let untouched = node.get(door, &format!("{path}/t2")).await.json();
    assert!(untouched["metadata"]["properties"]["x"].is_null());
    for name in ["t1", "t2", "t3"] {
        expect("DELETE", &format!("{path}/{name}?purgeRequested=True"), "", 204, "").await;
    }
    expect("DELETE", &format!("{path}/t1"), "", 404, "NoSuchTableException").await;
    expect("DELETE", "/v1/namespaces/a", "", 204, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_answers_the_same_twice() {
    let node = node().await;
    let key = [("idempotency-key", "019a0000-0000-7000-8000-000000000001")];
    let path = "/v1/namespaces/public/tables";
    let first = http(node.catalog, "POST", path, &key, &new_table("t")).await;
    let again = http(node.catalog, "POST", path, &key, &new_table("t")).await;
    assert_eq!((first.status, again.status), (200, 200), "{again:?}");
    assert_eq!(first.json()["metadata-location"], again.json()["metadata-location"]);
    let other = http(node.catalog, "POST", path, &key, &new_table("u")).await;
    assert_eq!((other.status, exception(&other.json())), (400, "BadRequestException"));
    let odd = http(node.catalog, "POST", path, &[("idempotency-key", "x")], &new_table("u")).await;
    assert_eq!(odd.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_topics_are_protected() {
    let node = node().await;
    node.trades(3).await;
    node.post(node.admin, "/v1/tables/trades/commit", "").await;
    let path = "/v1/namespaces/public/tables/trades";
    let drop = http(node.catalog, "DELETE", path, &[], "").await;
    assert_eq!((drop.status, exception(&drop.json())), (403, "ForbiddenException"));
    let forged = r#"{"updates":[{"action":"remove-properties","removals":["frazil.progress"]}]}"#;
    let forged = node.post(node.catalog, path, forged).await;
    assert_eq!((forged.status, exception(&forged.json())), (403, "ForbiddenException"));
    let change = r#"{"updates":[{"action":"set-properties","updates":{"owner":"me"}}]}"#;
    let change = node.post(node.catalog, path, change).await;
    assert_eq!(change.status, 200, "{change:?}");
    let verified = node.post(node.admin, "/v1/tables/trades/verify", "").await.json();
    assert_eq!(verified["ok"], true, "{verified}");
}
