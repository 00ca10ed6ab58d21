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
    assert_eq!(node.get(door, "/config").await.json(), json!({"compatibilityLevel": "BACKWARD"}));
    assert_eq!(
        node.get(door, "/config/s?defaultToGlobal=true").await.json(),
        json!({"compatibilityLevel": "BACKWARD"})
    );
    assert_eq!(node.get(door, "/mode").await.json(), json!({"mode": "READWRITE"}));
    assert_eq!(node.get(door, "/schemas/types").await.json(), json!(["JSON", "PROTOBUF", "AVRO"]));
    assert_eq!(node.get(door, "/").await.json(), json!({}));
    for (path, body, status, code) in [
        ("/config", r#"{"compatibility":"SOMEHOW"}"#, 422, 42203),
        ("/config", r#"{"validateFields":true}"#, 422, 42203),
        ("/config/s", "no json", 400, 400),
        ("/mode", r#"{"mode":"FORWARD"}"#, 422, 42204),
        ("/mode/s", r#"{"mode":"READONLY_OVERRIDE"}"#, 422, 42205),
        ("/mode/s?force=maybe", r#"{"mode":"IMPORT"}"#, 400, 400),
        ("/config/:.b%20d:s", r#"{"compatibility":"NONE"}"#, 422, 42208),
    ] {
        let answer = http(door, "PUT", path, &[], body).await;
        assert_eq!(error_code(&answer), (status, code), "{path} {body}: {answer:?}");
    }
    for path in ["/config/none", "/mode/none"] {
        assert_eq!(error_code(&http(door, "DELETE", path, &[], "").await), (404, 40401), "{path}");
    }
    assert_eq!(http(door, "PATCH", "/subjects", &[], "").await.status, 405);
}

fn avro(fields: &str) -> String {
    let schema = format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    json!({ "schema": schema }).to_string()
}

const A: &str = r#"{"name":"a","type":"int"}"#;
const AB: &str = r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incompatible_schemas_are_refused_with_the_reason() {
    let node = node().await;
    let door = node.registry;
    assert_eq!(node.post(door, "/subjects/s/versions", &avro(A)).await.status, 200);
    let refused = node.post(door, "/subjects/s/versions", &avro(AB)).await;
    assert_eq!(error_code(&refused), (409, 409));
    assert!(refused.body.contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{refused:?}");
    let check = "/compatibility/subjects/s/versions";
    let plain = node.post(door, check, &avro(AB)).await.json();
    assert_eq!(plain, json!({"is_compatible": false}));
    for path in [check.to_owned(), format!("{check}/latest"), format!("{check}/1")] {
        let verbose = node.post(door, &format!("{path}?verbose=true"), &avro(AB)).await.json();
        let messages = verbose["messages"].as_array().unwrap();
        assert!(messages[0].as_str().unwrap().contains("'b' at path '/fields/1'"), "{verbose}");
        assert_eq!(messages.last().unwrap(), "{compatibility: 'BACKWARD'}");
        let fine = node.post(door, &format!("{path}?verbose=true"), &avro("")).await.json();
        assert_eq!(fine, json!({"is_compatible": true, "messages": []}));
    }
    assert_eq!(error_code(&node.post(door, &format!("{check}/7"), &avro(A)).await), (404, 40402));
    assert_eq!(error_code(&node.post(door, check, r#"{"schema":"{"}"#).await), (422, 42201));
    let unknown = node.post(door, "/compatibility/subjects/none/versions/latest", &avro(A)).await;
    assert_eq!(unknown.json(), json!({"is_compatible": true}));

    let set = http(door, "PUT", "/config/s", &[], r#"{"compatibility":"FORWARD"}"#).await;
    assert_eq!(set.json(), json!({"compatibility": "FORWARD"}));
    assert_eq!(node.get(door, "/config/s").await.json(), json!({"compatibilityLevel": "FORWARD"}));
    assert_eq!(node.post(door, "/subjects/s/versions", &avro(AB)).await.json()["version"], 2);
    let gone = http(door, "DELETE", "/config/s", &[], "").await;
    assert_eq!(gone.json(), json!({"compatibilityLevel": "FORWARD"}));
    assert_eq!(error_code(&node.get(door, "/config/s").await), (404, 40408));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contexts_modes_and_aliases() {
    let node = node().await;
    let door = node.registry;
    assert_eq!(node.post(door, "/subjects/s/versions", &avro(A)).await.json()["id"], 1);
    assert_eq!(node.post(door, "/contexts/.dev/subjects/s/versions", &avro(AB)).await.json()["id"], 1);
    assert_eq!(node.get(door, "/contexts").await.json(), json!([".", ".dev"]));
    let same = node.get(door, "/subjects/:.dev:s/versions/1").await.json();
    assert_eq!((&same["subject"], &same["id"]), (&json!(":.dev:s"), &json!(1)));
    assert_eq!(node.get(door, "/contexts/.dev/subjects/s/versions/1").await.json(), same);
    let by_id = node.get(door, "/schemas/ids/1?subject=:.dev:").await.json();
    assert_eq!(by_id["schema"], same["schema"]);
    assert_eq!(node.get(door, "/contexts/dev/schemas/ids/1").await.json(), by_id);
    assert_ne!(node.get(door, "/schemas/ids/1?fetchMaxId=true").await.json()["schema"], by_id["schema"]);
    assert_eq!(node.get(door, "/schemas/ids/1?fetchMaxId=true").await.json()["maxId"], 1);
    for (path, expected) in [
        ("/subjects", json!(["s", ":.dev:s"])),
        ("/subjects?subjectPrefix=", json!(["s"])),
        ("/subjects?subjectPrefix=:.dev:", json!([":.dev:s"])),
        ("/contexts/.dev/subjects", json!([":.dev:s"])),
        ("/subjects?limit=1&offset=1", json!([":.dev:s"])),
        ("/subjects?limit=0", json!([])),
    ] {
        assert_eq!(node.get(door, path).await.json(), expected, "{path}");
    }
    assert_eq!(node.get(door, "/schemas?latestOnly=true").await.json().as_array().unwrap().len(), 2);
    assert_eq!(node.get(door, "/schemas?subjectPrefix=:.dev:&limit=5").await.json(), json!([same]));

    assert_eq!(http(door, "PUT", "/config/other", &[], r#"{"alias":"s"}"#).await.status, 200);
    assert_eq!(node.get(door, "/subjects/other/versions").await.json(), json!([1]));

    let import = r#"{"mode":"IMPORT"}"#;
    assert_eq!(error_code(&http(door, "PUT", "/mode/s", &[], import).await), (422, 42205));
    assert_eq!(http(door, "PUT", "/mode/s?force=true", &[], import).await.json(), json!({"mode": "IMPORT"}));
    let schema = json!({"schema": "\"string\"", "id": 77, "version": 5}).to_string();
    let imported = node.post(door, "/subjects/s/versions", &schema).await.json();
    assert_eq!((&imported["id"], &imported["version"]), (&json!(77), &json!(5)));
    assert_eq!(http(door, "DELETE", "/mode/s", &[], "").await.json(), json!({"mode": "IMPORT"}));
    assert_eq!(http(door, "PUT", "/mode", &[], r#"{"mode":"READONLY"}"#).await.status, 200);
    assert_eq!(error_code(&node.post(door, "/subjects/s/versions", &avro("")).await), (422, 42205));

    assert_eq!(error_code(&http(door, "DELETE", "/contexts/.dev", &[], "").await), (422, 42211));
    assert_eq!(error_code(&http(door, "DELETE", "/contexts/.none", &[], "").await), (404, 404));
    assert_eq!(node.get(door, "/v1/metadata/id").await.json()["scope"]["path"], json!([]));
    assert_eq!(node.get(door, "/openapi.json").await.json()["openapi"], "3.0.3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_types_are_negotiated() {
    let node = node().await;
    let door = node.registry;
    for (accept, status, content_type) in [
        ("application/json", 200, "application/json"),
        ("application/vnd.schemaregistry+json", 200, "application/vnd.schemaregistry+json"),
        ("text/html, */*", 200, "application/vnd.schemaregistry.v1+json"),
        ("text/html", 406, "application/vnd.schemaregistry.v1+json"),
    ] {
        let answer = http(door, "GET", "/subjects", &[("accept", accept)], "").await;
        assert_eq!(answer.status, status, "{accept}");
        assert!(answer.head.contains(&format!("content-type: {content_type}\r\n")), "{answer:?}");
    }
    for (sent, status) in [
        ("application/octet-stream", 200),
        ("application/vnd.schemaregistry+json; charset=utf-8", 200),
        ("text/plain", 415),
    ] {
        let headers = [("content-type", sent)];
        let answer = http(door, "POST", "/subjects/s/versions", &headers, &avro(A)).await;
        assert_eq!(answer.status, status, "{sent}: {answer:?}");
    }
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
