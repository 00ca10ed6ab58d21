use serde_json::json;

use super::fixture::{Answer, http, node};

fn error_code(answer: &Answer) -> (u16, i64) {
    (answer.status, answer.json()["error_code"].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_from_registration_to_its_end() {
    let node = node().await;
    let door = node.registry;
    let schema = r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#;
    let body = json!({"schemaType": "JSON", "schema": schema}).to_string();
    let versions = "/subjects/odd%2Fname%20%C3%A9-value/versions";
    let registered = node.post(door, versions, &body).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    assert!(registered.head.contains("content-type: application/vnd.schemaregistry.v1+json"));
    let id = registered.json()["id"].as_i64().unwrap();
    assert_eq!(node.post(door, versions, &body).await.json()["id"], id, "registering again changes nothing");
    assert_eq!(node.get(door, versions).await.json(), json!([1]));
    assert_eq!(node.get(door, "/subjects").await.json(), json!(["odd/name é-value"]));
    assert_eq!(node.get(door, "/subjects?subjectPrefix=x").await.json(), json!([]));

    let guid = registered.json()["guid"].as_str().unwrap().to_owned();
    let full = json!({
        "subject": "odd/name é-value", "version": 1, "id": id, "guid": guid, "schemaType": "JSON", "schema": schema,
    });
    for version in ["1", "latest", "-1"] {
        assert_eq!(node.get(door, &format!("{versions}/{version}")).await.json(), full);
    }
    assert_eq!(node.post(door, "/subjects/odd%2Fname%20%C3%A9-value", &body).await.json(), full);
    assert_eq!(node.get(door, &format!("{versions}/1/schema")).await.body, schema);
    let by_id = node.get(door, &format!("/schemas/ids/{id}")).await.json();
    assert_eq!(by_id, json!({"guid": guid, "schemaType": "JSON", "schema": schema}));
    assert_eq!(node.get(door, &format!("/schemas/guids/{guid}")).await.json(), by_id);
    let ids = node.get(door, &format!("/schemas/guids/{guid}/ids")).await.json();
    assert_eq!(ids, json!([{"context": ".", "id": id}]));
    assert_eq!(node.get(door, &format!("/schemas/ids/{id}/schema")).await.body, schema);
    assert_eq!(
        node.get(door, &format!("/schemas/ids/{id}/subjects")).await.json(),
        json!(["odd/name é-value"])
    );
    let usages = node.get(door, &format!("/schemas/ids/{id}/versions")).await.json();
    assert_eq!(usages, json!([{"subject": "odd/name é-value", "version": 1}]));

    let subject = "/subjects/odd%2Fname%20%C3%A9-value";
    assert_eq!(
        error_code(&http(door, "DELETE", &format!("{subject}?permanent=true"), &[], "").await),
        (404, 40405)
    );
    assert_eq!(http(door, "DELETE", subject, &[], "").await.json(), json!([1]));
    assert_eq!(error_code(&http(door, "DELETE", subject, &[], "").await), (404, 40404));
    assert_eq!(node.get(door, "/subjects").await.json(), json!([]));
    assert_eq!(node.get(door, "/subjects?deleted=true").await.json(), json!(["odd/name é-value"]));
    assert_eq!(node.get(door, "/subjects?deletedOnly=true").await.json(), json!(["odd/name é-value"]));
    assert_eq!(http(door, "DELETE", &format!("{subject}?permanent=true"), &[], "").await.json(), json!([1]));
    assert_eq!(node.get(door, "/subjects?deleted=true").await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_confluents_codes() {
    let node = node().await;
    let door = node.registry;
    for (path, status, code) in [
        ("/subjects/none/versions", 404, 40401),
        ("/subjects/none/versions/1", 404, 40401),
        ("/subjects/none/versions/zero", 422, 42202),
        ("/subjects/none/versions/0", 422, 42202),
        ("/schemas/ids/77", 404, 40403),
        ("/schemas/ids/x", 404, 404),
        ("/schemas/guids/x", 404, 40403),
        ("/schemas/guids/00000000-0000-8000-8000-000000000000", 404, 40403),
        ("/config/none", 404, 40408),
        ("/mode/none", 404, 40409),
        ("/nowhere", 404, 404),
    ] {
        assert_eq!(error_code(&node.get(door, path).await), (status, code), "{path}");
    }
    for (body, status, code) in [
        ("no json", 400, 400),
        ("{}", 422, 42201),
        (r#"{"schema":"{\"type\":\"record\"}"}"#, 422, 42201),
        (r#"{"schemaType":"JSON","schema":"{"}"#, 422, 42201),
        (r#"{"schemaType":"XML","schema":"<a/>"}"#, 422, 42201),
    ] {
        let answer = node.post(door, "/subjects/s/versions", body).await;
        assert_eq!(error_code(&answer), (status, code), "{body}: {answer:?}");
    }
    assert_eq!(node.get(door, "/config").await.json(), json!({"compatibilityLevel": "NONE"}));
    assert_eq!(
        node.get(door, "/config/s?defaultToGlobal=true").await.json(),
        json!({"compatibilityLevel": "NONE"})
    );
    assert_eq!(node.get(door, "/mode").await.json(), json!({"mode": "READWRITE"}));
    assert_eq!(node.get(door, "/schemas/types").await.json(), json!(["JSON", "PROTOBUF", "AVRO"]));
    assert_eq!(node.get(door, "/").await.json(), json!({}));
    let strict = http(door, "PUT", "/config", &[], r#"{"compatibility":"BACKWARD"}"#).await;
    assert_eq!(error_code(&strict), (422, 42203));
    assert_eq!(http(door, "PATCH", "/subjects", &[], "").await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn avro_is_the_type_when_none_is_named() {
    let node = node().await;
    let door = node.registry;
    let money = r#"{"type":"record","name":"shop.Money","fields":[{"name":"cents","type":"long"}]}"#;
    let registered = node.post(door, "/subjects/money/versions", &json!({"schema": money}).to_string()).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    let order = r#"{"type":"record","name":"Order","fields":[{"name":"price","type":"shop.Money"}]}"#;
    let references = json!([{"name": "shop.Money", "subject": "money", "version": 1}]);
    let body = json!({"schema": order, "references": references}).to_string();
    let id = node.post(door, "/subjects/order/versions", &body).await.json()["id"].as_i64().unwrap();
    let found = node.get(door, &format!("/schemas/ids/{id}")).await.json();
    assert_eq!((&found["schema"], &found["references"]), (&json!(order), &references));
    assert_eq!(found.get("schemaType"), None, "Avro goes without saying");
    let alone = node.post(door, "/subjects/order/versions", &json!({"schema": order}).to_string()).await;
    assert_eq!(error_code(&alone), (422, 42201));
    assert!(alone.body.contains("shop.Money"), "{alone:?}");
}
