//! The catalog door where tokens are needed: who comes in, and what they may do there.

use serde_json::{Value, json};

use super::fixture::{Answer, Node, http, node, node_with_tokens};

const NAMESPACES: &str = "/v1/namespaces";
const TABLES: &str = "/v1/namespaces/public/tables";
const MANAGEMENT: &str = "/api/management/v1";

fn exception(body: &Value) -> &str {
    body["error"]["type"].as_str().unwrap_or_default()
}

async fn ask(node: &Node, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    http(node.catalog, method, path, &[("authorization", &bearer)], body).await
}

async fn token_of(node: &Node, id: &str, secret: &str, scope: &str) -> Answer {
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope={scope}");
    http(node.catalog, "POST", "/v1/oauth/tokens", &[], &form).await
}

async fn token(node: &Node, id: &str, secret: &str, scope: &str) -> String {
    let answer = token_of(node, id, secret, scope).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn root(node: &Node) -> String {
    node.deps.access.bootstrap_root(Some("s3cr3t"), node.deps.clock.now_ms()).unwrap();
    token(node, "root", "s3cr3t", "PRINCIPAL_ROLE:ALL").await
}

fn new_table(name: &str) -> String {
    json!({"name": name, "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long"}]}})
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_without_a_token() {
    let node = node_with_tokens().await;
    let good = root(&node).await;
    for base in ["", "/catalog", "/api/catalog"] {
        let answer = ask(&node, &good, "GET", &format!("{base}/v1/config"), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let parts: Vec<&str> = good.split('.').collect();
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for bad in [
        "",
        "None",
        "x",
        "a.b.c",
        &format!("{none}.{}.", parts[1]),
        &format!("{none}.{}.{}", parts[1], parts[2]),
        &format!("{}.{}.{}", parts[0], parts[1], parts[0]),
        &"x".repeat(20_000),
    ] {
        for (method, path) in [
            ("GET", "/v1/config"),
            ("GET", NAMESPACES),
            ("POST", "/v1/transactions/commit"),
            ("DELETE", "/v1/namespaces/public"),
            ("GET", "/api/management/v1/principals"),
        ] {
            let answer = ask(&node, bad, method, path, "{}").await;
            assert_eq!(
                (answer.status, exception(&answer.json())),
                (401, "NotAuthorizedException"),
                "{method} {path} {bad}"
            );
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    let basic = [("authorization", "Basic cm9vdDpzM2NyM3Q=")];
    assert_eq!(http(node.catalog, "GET", NAMESPACES, &basic, "").await.status, 401);
    let form = "grant_type=client_credentials&scope=PRINCIPAL_ROLE%3AALL";
    let by_header = http(node.catalog, "POST", "/api/catalog/v1/oauth/tokens", &basic, form).await;
    assert_eq!(by_header.status, 200, "{by_header:?}");
    assert!(by_header.head.contains("cache-control: no-store"), "{}", by_header.head);
    for (id, secret, scope, status, error) in [
        ("root", "wrong", "", 401, "invalid_client"),
        ("nobody", "s3cr3t", "", 401, "invalid_client"),
        ("root", "s3cr3t", "PRINCIPAL_ROLE:none", 400, "invalid_scope"),
        ("root", "s3cr3t", "everything", 400, "invalid_scope"),
    ] {
        let answer = token_of(&node, id, secret, scope).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{answer:?}");
    }
    for form in ["", "grant_type=password", "grant_type=client_credentials&client_id=%zz"] {
        let answer = http(node.catalog, "POST", "/v1/oauth/tokens", &[], form).await;
        assert_eq!(answer.status, 400, "{form}: {answer:?}");
    }
    let exchange = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={good}&subject_token_type=urn:ietf:params:oauth:token-type:access_token"
    );
    let exchanged = http(node.catalog, "POST", "/v1/oauth/tokens", &[], &exchange).await;
    assert_eq!(exchanged.status, 200, "{exchanged:?}");
    let fresh = exchanged.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(ask(&node, &fresh, "GET", NAMESPACES, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_decide() {
    let node = node_with_tokens().await;
    let root = root(&node).await;
    let manage = async |method: &str, path: &str, body: Value, status: u16| {
        let answer = ask(&node, &root, method, &format!("{MANAGEMENT}{path}"), &body.to_string()).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        answer
    };
    let made = manage("POST", "/principals", json!({"principal": {"name": "bob"}}), 201).await.json();
    let (id, secret) = (
        made["credentials"]["clientId"].as_str().unwrap(),
        made["credentials"]["clientSecret"].as_str().unwrap(),
    );
    let bob = token(&node, id, secret, "PRINCIPAL_ROLE:ALL").await;
    let as_bob =
        async |method: &str, path: &str, body: &str| ask(&node, &bob, method, path, body).await.status;
    for (method, path) in [
        ("GET", NAMESPACES),
        ("POST", NAMESPACES),
        ("GET", "/v1/namespaces/public"),
        ("HEAD", "/v1/namespaces/public"),
        ("DELETE", "/v1/namespaces/public"),
        ("POST", "/v1/namespaces/public/properties"),
        ("GET", TABLES),
        ("POST", TABLES),
        ("GET", "/v1/namespaces/public/tables/none"),
        ("HEAD", "/v1/namespaces/public/tables/none"),
        ("DELETE", "/v1/namespaces/public/tables/none"),
        ("POST", "/v1/namespaces/public/register"),
        ("GET", "/v1/namespaces/public/views"),
        ("POST", "/v1/namespaces/public/views"),
        ("GET", "/v1/namespaces/public/views/none"),
        ("DELETE", "/v1/namespaces/public/views/none"),
        ("GET", "/api/management/v1/principals"),
        ("POST", "/api/management/v1/principals"),
        ("GET", "/api/management/v1/principal-roles"),
        ("GET", "/api/management/v1/catalogs"),
        ("PUT", "/api/management/v1/catalogs/frazil/catalog-roles/catalog_admin/grants"),
        ("PUT", "/api/management/v1/principals/bob/principal-roles"),
    ] {
        let status = as_bob(method, path, r#"{"namespace":["x"]}"#).await;
        assert_eq!(status, 403, "{method} {path}");
    }
    let change = |identifier: &str| json!({"identifier": {"namespace": ["public"], "name": identifier}, "requirements": [], "updates": []});
    let commit = change("none").to_string();
    assert_eq!(as_bob("POST", "/v1/namespaces/public/tables/none", &commit).await, 403);
    let transaction = json!({"table-changes": [change("none")]}).to_string();
    assert_eq!(as_bob("POST", "/v1/transactions/commit", &transaction).await, 403);
    let rename = json!({"source": {"namespace": ["public"], "name": "a"}, "destination": {"namespace": ["public"], "name": "b"}});
    assert_eq!(as_bob("POST", "/v1/tables/rename", &rename.to_string()).await, 403);

    manage("POST", "/principal-roles", json!({"principalRole": {"name": "writers"}}), 201).await;
    manage("POST", "/catalogs/frazil/catalog-roles", json!({"catalogRole": {"name": "lake"}}), 201).await;
    manage("PUT", "/principals/bob/principal-roles", json!({"principalRole": {"name": "writers"}}), 201)
        .await;
    manage(
        "PUT",
        "/principal-roles/writers/catalog-roles/frazil",
        json!({"catalogRole": {"name": "lake"}}),
        201,
    )
    .await;
    for privilege in ["TABLE_CREATE", "TABLE_WRITE_PROPERTIES"] {
        let grant = json!({"grant": {"type": "namespace", "namespace": ["public"], "privilege": privilege}});
        manage("PUT", "/catalogs/frazil/catalog-roles/lake/grants", grant, 201).await;
    }
    assert_eq!(as_bob("POST", TABLES, &new_table("mine")).await, 200);
    let set = json!({"updates": [{"action": "set-properties", "updates": {"k": "v"}}]}).to_string();
    assert_eq!(as_bob("POST", &format!("{TABLES}/mine"), &set).await, 200);
    let data = json!({"updates": [{"action": "remove-snapshots", "snapshot-ids": [1]}]}).to_string();
    assert_eq!(as_bob("POST", &format!("{TABLES}/mine"), &data).await, 403);
    assert_eq!(as_bob("DELETE", &format!("{TABLES}/mine"), "").await, 403);
    let grants = manage("GET", "/catalogs/frazil/catalog-roles/lake/grants", json!({}), 200).await.json();
    assert_eq!(grants["grants"].as_array().unwrap().len(), 2);
    let revoke = json!({"grant": {"type": "namespace", "namespace": ["public"], "privilege": "TABLE_WRITE_PROPERTIES"}});
    manage("POST", "/catalogs/frazil/catalog-roles/lake/grants", revoke, 201).await;
    assert_eq!(as_bob("POST", &format!("{TABLES}/mine"), &set).await, 403);
    let roles = manage("GET", "/principals/bob/principal-roles", json!({}), 200).await.json();
    assert_eq!(roles["roles"][0]["name"], "writers");
    manage("GET", "/catalogs/other/catalog-roles", json!({}), 404).await;
    manage("POST", "/principals", json!({"principal": {"name": "bob"}}), 409).await;
    manage("POST", "/principals", json!({"principal": {"name": "a/b"}}), 400).await;
    manage("DELETE", "/principals/root", json!({}), 403).await;
    manage("GET", "/elsewhere", json!({}), 404).await;
    manage("DELETE", "/principals/bob", json!({}), 204).await;
    assert_eq!(as_bob("GET", TABLES, "").await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_authentication_everybody_may() {
    let node = node().await;
    assert_eq!(ask(&node, "None", "GET", NAMESPACES, "").await.status, 200);
    assert_eq!(node.get(node.catalog, &format!("{MANAGEMENT}/principals")).await.status, 200);
}
