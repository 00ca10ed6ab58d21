//! What guests may do, and what they may not.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{Fixture, schema};
use crate::manifests::encode_list;
use crate::{CommitError, NewTable};
use rest::{CommitTable, CreateTable, CreateView, RegisterTable};

fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("request")
}

fn fields() -> Value {
    json!({"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long"},
        {"id": 2, "name": "name", "required": false, "type": "string"}]})
}

fn asked(name: &str, more: Value) -> CreateTable {
    let mut body = json!({"name": name, "schema": fields()});
    body.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
    parsed(body)
}

async fn guest_table(f: &Fixture, name: &str) -> Table {
    let made =
        f.tables.create_as_asked(&f.tables.ident(name), asked(name, json!({})), &Once::default()).await;
    made.expect("create")
}

fn change(ident: &TableIdent, requirements: Value, updates: Value) -> TableChange {
    let body: CommitTable = parsed(json!({"requirements": requirements, "updates": updates}));
    TableChange { ident: ident.clone(), requirements: body.requirements, updates: body.updates }
}

async fn commit(
    f: &Fixture,
    table: &Table,
    requirements: Value,
    updates: Value,
) -> Result<Table, CommitError> {
    let change = change(&table.ident, requirements, updates);
    f.tables.commit_of_guest(vec![change], &Once::default()).await.map(|mut made| made.remove(0))
}

/// Uploads an empty manifest list and gives the updates that make it main's head.
async fn snapshot(f: &Fixture, table: &Table, id: i64) -> Value {
    let head = f.tables.load(&table.ident).await.expect("load");
    let (parent, sequence) = (head.current_snapshot_id(), head.metadata.last_sequence_number() + 1);
    let list = format!("{}/metadata/snap-{id}.avro", table.metadata.location());
    let bytes = encode_list(Vec::new(), id, parent, sequence).await.expect("list");
    f.tables.objects().put_new(&list, bytes).await.expect("upload");
    let mut snapshot = json!({"snapshot-id": id, "sequence-number": sequence, "timestamp-ms": 1_000,
        "manifest-list": list, "summary": {"operation": "append"}, "schema-id": 0});
    if let Some(parent) = parent {
        snapshot["parent-snapshot-id"] = parent.into();
    }
    json!([{"action": "add-snapshot", "snapshot": snapshot},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}])
}

fn at(id: Option<i64>) -> Value {
    json!([{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": id}])
}

fn is_forbidden(error: &CommitError) -> bool {
    matches!(error, CommitError::Catalog(CatalogError::Forbidden(_)))
}

#[tokio::test]
async fn a_staged_table_is_made_by_its_first_commit() {
    let f = Fixture::new();
    let ident = f.tables.ident("t");
    let more = json!({"partition-spec": {"fields": [{"name": "b", "transform": "bucket[4]", "source-id": 1}]},
        "properties": {"format-version": "2", "k": "v"}, "stage-create": true});
    let staged = f.tables.stage_as_asked(&ident, asked("t", more)).await.expect("stage");
    assert!(staged.metadata_location.is_empty());
    assert!(matches!(f.tables.load(&ident).await, Err(CatalogError::NoSuchTable(_))));
    let written: Value = serde_json::from_str(&staged.metadata_json().expect("json")).expect("json");
    let mut updates = json!([
        {"action": "assign-uuid", "uuid": written["table-uuid"]},
        {"action": "upgrade-format-version", "format-version": 2},
        {"action": "add-schema", "schema": written["schemas"][0], "last-column-id": 2},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": written["partition-specs"][0]},
        {"action": "set-default-spec", "spec-id": -1},
        {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
        {"action": "set-default-sort-order", "sort-order-id": -1},
        {"action": "set-location", "location": written["location"]},
        {"action": "set-properties", "updates": {"k": "v"}}]);
    let snapshot = snapshot_of_new(&f, &staged).await;
    updates.as_array_mut().expect("list").extend(snapshot.as_array().expect("list").clone());
    let create = json!([{"type": "assert-create"}]);
    let made = commit(&f, &staged, create.clone(), updates.clone()).await.expect("made");
    assert_eq!(made.uuid(), staged.uuid());
    assert_eq!(made.metadata.location(), staged.metadata.location());
    assert_eq!(made.metadata.default_partition_spec(), staged.metadata.default_partition_spec());
    assert_eq!(made.current_snapshot_id(), Some(7));
    assert_eq!(made.metadata.properties().get("k").map(String::as_str), Some("v"));
    let again = commit(&f, &staged, create, updates).await.expect_err("twice");
    assert!(matches!(again, CommitError::RequirementFailed(_)), "{again}");
}

/// As [`snapshot`] for a table that is not there yet.
async fn snapshot_of_new(f: &Fixture, table: &Table) -> Value {
    let list = format!("{}/metadata/snap-7.avro", table.metadata.location());
    let bytes = encode_list(Vec::new(), 7, None, 1).await.expect("list");
    f.tables.objects().put_new(&list, bytes).await.expect("upload");
    json!([{"action": "add-snapshot", "snapshot": {"snapshot-id": 7, "sequence-number": 1, "timestamp-ms": 1_000,
            "manifest-list": list, "summary": {"operation": "append"}, "schema-id": 0}},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 7}])
}

#[tokio::test]
async fn a_stale_requirement_changes_nothing() {
    let f = Fixture::new();
    let table = guest_table(&f, "t").await;
    let first = snapshot(&f, &table, 1).await;
    commit(&f, &table, at(None), first).await.expect("first");
    let second = snapshot(&f, &table, 2).await;
    for stale in [
        at(None),
        at(Some(5)),
        json!([{"type": "assert-create"}]),
        json!([{"type": "assert-table-uuid", "uuid": uuid::Uuid::new_v4()}]),
        json!([{"type": "assert-current-schema-id", "current-schema-id": 9}]),
        json!([{"type": "assert-last-assigned-field-id", "last-assigned-field-id": 9}]),
        json!([{"type": "assert-last-assigned-partition-id", "last-assigned-partition-id": 9}]),
        json!([{"type": "assert-default-spec-id", "default-spec-id": 9}]),
        json!([{"type": "assert-default-sort-order-id", "default-sort-order-id": 9}]),
    ] {
        let error = commit(&f, &table, stale.clone(), second.clone()).await.expect_err("stale");
        assert!(matches!(error, CommitError::RequirementFailed(_)), "{stale}: {error}");
    }
    assert_eq!(f.tables.load(&table.ident).await.expect("load").current_snapshot_id(), Some(1));
    commit(&f, &table, at(Some(1)), second).await.expect("second");
}

#[tokio::test]
async fn of_several_tables_all_change_or_none() {
    let f = Fixture::new();
    let (a, b) = (guest_table(&f, "a").await, guest_table(&f, "b").await);
    let set = |value: &str| json!([{"action": "set-properties", "updates": {"k": value}}]);
    let holds = |table: &Table| json!([{"type": "assert-table-uuid", "uuid": table.uuid()}]);
    let both = |wrong: bool| {
        let second = if wrong { holds(&a) } else { holds(&b) };
        vec![change(&a.ident, holds(&a), set("1")), change(&b.ident, second, set("2"))]
    };
    let error = f.tables.commit_of_guest(both(true), &Once::default()).await.expect_err("one is stale");
    assert!(matches!(error, CommitError::RequirementFailed(_)), "{error}");
    let value = async |ident: &TableIdent| {
        let table = f.tables.load(ident).await.expect("load");
        table.metadata.properties().get("k").cloned()
    };
    assert_eq!((value(&a.ident).await, value(&b.ident).await), (None, None));
    let made = f.tables.commit_of_guest(both(false), &Once::default()).await.expect("both");
    assert_eq!(made.iter().map(|t| t.ident.clone()).collect::<Vec<_>>(), [a.ident.clone(), b.ident.clone()]);
    assert_eq!((value(&a.ident).await, value(&b.ident).await), (Some("1".into()), Some("2".into())));
    let twice = vec![change(&a.ident, json!([]), set("3")), change(&a.ident, json!([]), set("4"))];
    assert!(matches!(f.tables.commit_of_guest(twice, &Once::default()).await, Err(CommitError::Invalid(_))));
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once() {
    let mut f = Fixture::new();
    let table = guest_table(&f, "t").await;
    let once = Once::keyed("me", "k1", b"request");
    let first = snapshot(&f, &table, 1).await;
    let made = change(&table.ident, json!([]), first);
    let made = f.tables.commit_of_guest(vec![made], &once).await.expect("commit").remove(0);
    let noted = Noted::Made(vec![(table.ident.clone(), made.metadata_location.to_string())]);
    f.reopen();
    assert_eq!(f.tables.noted(&once).expect("noted"), Some(noted));
    let again = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
    let again = f.tables.commit_of_guest(vec![change(&table.ident, json!([]), again)], &once).await;
    assert!(matches!(again, Err(CommitError::Catalog(CatalogError::Replayed))), "{again:?}");
    let now = f.tables.load(&table.ident).await.expect("load");
    assert_eq!(now.metadata_location, made.metadata_location);
    assert!(f.tables.noted(&Once::keyed("me", "k1", b"another request")).is_err());
    assert_eq!(f.tables.noted(&Once::keyed("you", "k1", b"request")).expect("noted"), None);
    f.clock.advance(once::LIFETIME_MS + 1);
    assert_eq!(f.tables.noted(&once).expect("noted"), None);
}

#[tokio::test]
async fn locations_stay_in_the_tables_place() {
    let f = Fixture::new();
    let root = f.tables.objects().root().to_owned();
    let other = guest_table(&f, "other").await;
    let theirs = other.metadata.location();
    let outside: Vec<String> = vec![
        "file:///etc".into(),
        "s3://bucket/t".into(),
        "/tmp/t".into(),
        "".into(),
        root.clone(),
        format!("{root}/public"),
        format!("{root}/public/t/../other"),
        format!("{root}/public/t/%2e%2e/other"),
        format!("{root}/public/t2"),
        format!("{root}/public/t-zzzzzzzz"),
        format!("{root}/public/t/*"),
        format!("{root}/public/t/\u{1}"),
        format!("{root}-2/public/t"),
        format!("{root}/public/t/{}", "x".repeat(4_000)),
        theirs.to_owned(),
        format!("{theirs}/data"),
    ];
    let ident = f.tables.ident("t");
    for location in &outside {
        for stage in [false, true] {
            let more = json!({"location": location, "stage-create": stage});
            let refused = if stage {
                f.tables.stage_as_asked(&ident, asked("t", more)).await.map(drop)
            } else {
                f.tables.create_as_asked(&ident, asked("t", more), &Once::default()).await.map(drop)
            };
            assert!(is_forbidden(&refused.expect_err(location)), "{location}");
        }
        for key in ["write.data.path", "write.metadata.path", "write.object-storage.path", "any.path"] {
            let more = json!({"properties": {key: location}});
            let refused = f.tables.create_as_asked(&ident, asked("t", more), &Once::default()).await;
            assert!(is_forbidden(&refused.expect_err(location)), "{key} {location}");
        }
        let request =
            RegisterTable { name: "t".into(), metadata_location: location.clone(), overwrite: false };
        let refused = f.tables.register(&ident, &request, &Once::default()).await.expect_err(location);
        assert!(is_forbidden(&refused), "register {location}: {refused}");
        let create = json!([{"action": "add-schema", "schema": fields()},
            {"action": "set-location", "location": location}]);
        let create = vec![change(&ident, json!([{"type": "assert-create"}]), create)];
        let refused = f.tables.commit_of_guest(create, &Once::default()).await.expect_err(location);
        assert!(is_forbidden(&refused), "create by commit {location}: {refused}");
        assert!(matches!(f.tables.load(&ident).await, Err(CatalogError::NoSuchTable(_))), "{location}");
    }
    let table = guest_table(&f, "t").await;
    for location in &outside {
        let list = json!({"snapshot-id": 5, "sequence-number": 1, "timestamp-ms": 1_000, "manifest-list": location,
            "summary": {"operation": "append"}, "schema-id": 0});
        let statistics = json!({"snapshot-id": 5, "statistics-path": location, "file-size-in-bytes": 1,
            "file-footer-size-in-bytes": 1, "blob-metadata": []});
        let of_partitions = json!({"snapshot-id": 5, "statistics-path": location, "file-size-in-bytes": 1});
        for update in [
            json!({"action": "set-location", "location": location}),
            json!({"action": "set-properties", "updates": {"write.data.path": location}}),
            json!({"action": "set-properties", "updates": {"write.metadata.path": location}}),
            json!({"action": "add-snapshot", "snapshot": list}),
            json!({"action": "set-statistics", "snapshot-id": 5, "statistics": statistics}),
            json!({"action": "set-partition-statistics", "partition-statistics": of_partitions}),
        ] {
            let error = commit(&f, &table, json!([]), json!([update.clone()])).await.expect_err(location);
            assert!(is_forbidden(&error) || matches!(error, CommitError::Invalid(_)), "{update}: {error}");
        }
    }
    let same = f.tables.load(&table.ident).await.expect("load");
    assert_eq!(same.metadata_location, table.metadata_location);
    let place = format!("{root}/public/fine/deep");
    let (fine, more) = (f.tables.ident("fine"), json!({"location": place}));
    let made = f.tables.create_as_asked(&fine, asked("fine", more), &Once::default()).await;
    assert_eq!(made.expect("made").metadata.location(), place);
}

#[tokio::test]
async fn odd_names_are_refused() {
    let f = Fixture::new();
    for bad in ["../t", "a/b", "", ".t", "a%2fe", "a*", "a\u{0}", "a\n", "${x}", &"x".repeat(256)] {
        let ident = f.tables.ident(bad);
        let refused = f.tables.create_as_asked(&ident, asked(bad, json!({})), &Once::default()).await;
        assert!(matches!(refused, Err(CommitError::Catalog(CatalogError::Invalid(_)))), "{bad}");
        let table = guest_table(&f, "t").await;
        let refused = f.tables.rename(&table.ident, &ident, &Once::default()).await;
        assert!(matches!(refused, Err(CatalogError::Invalid(_))), "{bad}");
        f.tables.drop_of_guest(&table.ident, true, &Once::default()).await.expect("drop");
        assert!(f.tables.create_namespace(&[bad.to_owned()], BTreeMap::new()).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn tables_of_topics_keep_their_progress() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    f.append(&table.ident, 0, 3).await;
    let fed = f.tables.load(&table.ident).await.expect("load");
    let head = fed.current_snapshot_id().expect("head");
    let mut forged = snapshot(&f, &table, 9).await;
    forged[0]["snapshot"]["summary"]["frazil.progress"] = "{}".into();
    for (what, updates) in [
        ("forge", forged),
        ("remove", json!([{"action": "remove-properties", "removals": ["frazil.progress"]}])),
        ("set", json!([{"action": "set-properties", "updates": {"frazil.progress": "{}"}}])),
        ("expire", json!([{"action": "remove-snapshots", "snapshot-ids": [head]}])),
        ("empty", json!([{"action": "remove-snapshot-ref", "ref-name": "main"}])),
        ("format", json!([{"action": "upgrade-format-version", "format-version": 3}])),
    ] {
        let error = commit(&f, &table, json!([]), updates).await.expect_err(what);
        assert!(is_forbidden(&error), "{what}: {error}");
    }
    let other = f.tables.ident("u");
    let refused = [
        f.tables.drop_of_guest(&table.ident, false, &Once::default()).await,
        f.tables.rename(&table.ident, &other, &Once::default()).await,
        f.tables.drop_namespace(&table.ident.namespace, &Once::default()),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(CatalogError::Forbidden(_))), "{refused:?}");
    }
    let append = snapshot(&f, &table, 10).await;
    commit(&f, &table, at(Some(head)), append).await.expect("a guest's rows");
    let progress = f.tables.load(&table.ident).await.expect("load").progress().expect("progress");
    f.append(&table.ident, 3, 5).await;
    assert_ne!(f.tables.load(&table.ident).await.expect("load").progress().expect("progress"), progress);
    let back =
        json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": head}]);
    let error = commit(&f, &table, json!([]), back).await.expect_err("moved back");
    assert!(is_forbidden(&error), "{error}");
    let mut beside = snapshot(&f, &table, 11).await;
    beside[0]["snapshot"]["parent-snapshot-id"] = head.into();
    let error = commit(&f, &table, json!([]), beside).await.expect_err("a head that forgets the one that is");
    assert!(is_forbidden(&error), "{error}");
    let columns = serde_json::to_value(table.metadata.current_schema()).expect("json");
    let fields = columns["fields"].as_array().expect("fields").clone();
    let with = |fields: Vec<Value>| {
        let mut columns = columns.clone();
        columns["fields"] = fields.into();
        json!([
            {"action": "add-schema", "schema": columns},
            {"action": "set-current-schema", "schema-id": -1}
        ])
    };
    let mut renamed = fields.clone();
    renamed[0]["name"] = "renamed".into();
    for (what, fields) in [("drop a column", fields[1..].to_vec()), ("rename one", renamed)] {
        let error = commit(&f, &table, json!([]), with(fields)).await.expect_err(what);
        assert!(is_forbidden(&error), "{what}: {error}");
    }
    let mut required = fields.clone();
    required.push(json!({"id": 900, "name": "more", "required": true, "type": "long"}));
    let error = commit(&f, &table, json!([]), with(required)).await.expect_err("a required column");
    assert!(is_forbidden(&error), "{error}");
    let mut more = fields.clone();
    more.push(json!({"id": 900, "name": "more", "required": false, "type": "long"}));
    commit(&f, &table, json!([]), with(more)).await.expect("guests may add columns");
    let back = json!([{"action": "set-current-schema", "schema-id": table.metadata.current_schema_id()}]);
    let error = commit(&f, &table, json!([]), back).await.expect_err("an older schema drops columns");
    assert!(is_forbidden(&error), "{error}");
    let wishes = json!({"frazil.table.compaction.enabled": "false", "frazil.table.sort.order": "id"});
    let wishes = json!([{"action": "set-properties", "updates": wishes}]);
    commit(&f, &table, json!([]), wishes).await.expect("switches of maintenance are for everybody");
    let free = json!([{"action": "set-properties", "updates": {"frazil.protected": "false"}}]);
    commit(&f, &table, json!([]), free).await.expect("unprotected");
    f.tables.drop_of_guest(&table.ident, true, &Once::default()).await.expect("drop");
}

#[tokio::test]
async fn what_would_lock_us_out_is_refused() {
    let f = Fixture::new();
    let table = guest_table(&f, "t").await;
    let with = async |key: &str, value: Value| {
        let id = 100 + i64::from(uuid::Uuid::new_v4().as_fields().0);
        let mut updates = snapshot(&f, &table, id).await;
        updates[0]["snapshot"][key] = value;
        commit(&f, &table, json!([]), updates).await
    };
    for (key, value) in [
        ("sequence-number", json!(i64::MAX)),
        ("timestamp-ms", json!(i64::MAX)),
        ("manifest-list", json!(format!("{}/metadata/none.avro", table.metadata.location()))),
    ] {
        let error = with(key, value).await.expect_err(key);
        assert!(matches!(error, CommitError::Invalid(_)), "{key}: {error}");
    }
    let garbage = format!("{}/metadata/garbage.avro", table.metadata.location());
    f.tables.objects().put_new(&garbage, Bytes::from_static(b"Obj\x01garbage")).await.expect("upload");
    let error = with("manifest-list", json!(garbage)).await.expect_err("garbage");
    assert!(matches!(error, CommitError::Invalid(_)), "{error}");
    let mut far = fields();
    far["fields"][1]["id"] = i32::MAX.into();
    let update = json!([{"action": "add-schema", "schema": far}]);
    assert!(matches!(commit(&f, &table, json!([]), update).await, Err(CommitError::Invalid(_))));
}

#[tokio::test]
async fn registered_metadata_comes_back() {
    let f = Fixture::new();
    let table = guest_table(&f, "t").await;
    let updates = snapshot(&f, &table, 1).await;
    let table = commit(&f, &table, json!([]), updates).await.expect("commit");
    let request = |location: &str| RegisterTable {
        name: "t".into(),
        metadata_location: location.to_owned(),
        overwrite: false,
    };
    let there = f.tables.register(&table.ident, &request(&table.metadata_location), &Once::default()).await;
    assert!(matches!(there, Err(CommitError::Catalog(CatalogError::TableExists(_)))), "{there:?}");
    f.tables.drop_of_guest(&table.ident, false, &Once::default()).await.expect("drop");
    let made = f.tables.register(&table.ident, &request(&table.metadata_location), &Once::default()).await;
    assert_eq!(made.expect("register").metadata, table.metadata);
    assert_eq!(f.tables.load(&table.ident).await.expect("load").metadata, table.metadata);
    let missing = format!("{}/metadata/none.metadata.json", table.metadata.location());
    let missing = f.tables.register(&table.ident, &request(&missing), &Once::default()).await;
    assert!(matches!(missing, Err(CommitError::Invalid(_))), "{missing:?}");
}

#[tokio::test]
async fn views_come_change_and_go() {
    let f = Fixture::new();
    let ident = f.tables.ident("v");
    let version = |id: i32, sql: &str| {
        json!({"version-id": id, "timestamp-ms": 1_000, "schema-id": 0, "summary": {"engine-name": "spark"},
            "default-namespace": ["public"], "representations": [{"type": "sql", "sql": sql, "dialect": "spark"}]})
    };
    let request: CreateView =
        parsed(json!({"name": "v", "schema": fields(), "view-version": version(1, "select 1"),
        "properties": {}}));
    let made = f.tables.create_view(&ident, request.clone(), &Once::default()).await.expect("create");
    let again = f.tables.create_view(&ident, request.clone(), &Once::default()).await;
    assert!(matches!(again, Err(CommitError::Catalog(CatalogError::ViewExists(_)))), "{again:?}");
    let table = f.tables.create_as_asked(&ident, asked("v", json!({})), &Once::default()).await;
    assert!(matches!(table, Err(CommitError::Catalog(CatalogError::NameTaken("View", _)))), "{table:?}");
    let body: rest::CommitView = parsed(json!({
        "requirements": [{"type": "assert-view-uuid", "uuid": made.metadata.uuid()}],
        "updates": [{"action": "add-view-version", "view-version": version(2, "select 2")},
            {"action": "set-current-view-version", "view-version-id": -1}]}));
    let change = ViewChange { requirements: body.requirements, updates: body.updates };
    let replaced = f.tables.replace_view(&ident, &change, &Once::default()).await.expect("replace");
    assert_eq!((replaced.metadata.current_version_id(), replaced.metadata.versions().len()), (2, 2));
    let stale: rest::CommitView = parsed(json!({
        "requirements": [{"type": "assert-view-uuid", "uuid": uuid::Uuid::new_v4()}], "updates": []}));
    let stale = ViewChange { requirements: stale.requirements, updates: stale.updates };
    let stale = f.tables.replace_view(&ident, &stale, &Once::default()).await;
    assert!(matches!(stale, Err(CommitError::RequirementFailed(_))), "{stale:?}");
    let other = f.tables.ident("w");
    f.tables.rename_view(&ident, &other, &Once::default()).await.expect("rename");
    assert!(matches!(f.tables.load_view(&ident).await, Err(CatalogError::NoSuchView(_))));
    assert_eq!(f.tables.views(&ident.namespace).expect("list"), [other.clone()]);
    let loaded = f.tables.load_view(&other).await.expect("load");
    assert_eq!(loaded.metadata.current_version_id(), 2);
    guest_table(&f, "v").await;
    let taken = f.tables.rename_view(&other, &ident, &Once::default()).await;
    assert!(matches!(taken, Err(CatalogError::RenameTaken(_, _, "Table"))), "{taken:?}");
    f.tables.drop_view(&other, &Once::default()).await.expect("drop");
    assert!(f.tables.objects().list(loaded.metadata.location()).await.expect("list").is_empty());
}

#[tokio::test]
async fn namespaces_change_and_go_when_empty() {
    let f = Fixture::new();
    let (outer, inner) = (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]);
    for namespace in [&outer, &inner] {
        f.tables.create_namespace(namespace, BTreeMap::from([("k".into(), "v".into())])).expect("create");
    }
    let updates = BTreeMap::from([("n".to_owned(), "1".to_owned())]);
    let removals = ["k".to_owned(), "none".to_owned()];
    let change = f.tables.update_namespace(&outer, &removals, &updates, &Once::default()).expect("update");
    assert_eq!(
        (change.updated, change.removed, change.missing),
        (vec!["n".into()], vec!["k".into()], vec!["none".into()])
    );
    assert_eq!(f.tables.namespace_properties(&outer).expect("properties"), updates);
    let both = f.tables.update_namespace(&outer, &["n".to_owned()], &updates, &Once::default());
    assert!(matches!(both, Err(CatalogError::Unprocessable(_))));
    let full = f.tables.drop_namespace(&outer, &Once::default());
    assert!(matches!(full, Err(CatalogError::NamespaceNotEmpty(_))));
    f.tables.drop_namespace(&inner, &Once::default()).expect("inner");
    f.tables.drop_namespace(&outer, &Once::default()).expect("outer");
    assert!(matches!(
        f.tables.drop_namespace(&outer, &Once::default()),
        Err(CatalogError::NoSuchNamespace(_))
    ));
}

#[tokio::test]
async fn our_next_commit_waits_once_for_a_guest_who_lost() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    for at in 0..3 {
        f.append(&table.ident, at, at + 1).await;
    }
    let stale = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
    commit(&f, &table, at(Some(1)), stale.clone()).await.expect_err("stale");
    let begun = tokio::time::Instant::now();
    let (appended, served) = tokio::join!(
        async {
            f.append(&table.ident, 3, 4).await;
            begun.elapsed()
        },
        async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            commit(&f, &table, json!([]), stale.clone()).await.expect("the guest is let through");
            begun.elapsed()
        }
    );
    assert!(appended >= served, "{appended:?} {served:?}");
    commit(&f, &table, at(Some(1)), stale).await.expect_err("stale");
    f.append(&table.ident, 4, 5).await;
    assert_eq!(f.ids(&table.ident).await, [0, 1, 2, 3, 4], "nobody came, and nothing stands still");
}

#[tokio::test]
async fn tables_are_made_under_one_name_only() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let again = f.tables.create_as_asked(&table.ident, asked("t", json!({})), &Once::default()).await;
    assert!(matches!(again, Err(CommitError::Catalog(CatalogError::TableExists(_)))), "{again:?}");
    let guest = guest_table(&f, "g").await;
    let moved = f.tables.ident("h");
    f.tables.rename(&guest.ident, &moved, &Once::default()).await.expect("rename");
    let new = f
        .tables
        .create(
            &guest.ident,
            NewTable { schema: schema(), partition_by: String::new(), properties: BTreeMap::new() },
        )
        .await;
    let new = new.expect("the name is free");
    assert_ne!(new.metadata.location(), guest.metadata.location(), "its directory is not");
    let more = json!({"location": guest.metadata.location()});
    f.tables.drop(&new.ident, true).await.expect("drop");
    let stolen = f.tables.create_as_asked(&guest.ident, asked("g", more), &Once::default()).await;
    assert!(is_forbidden(&stolen.expect_err("it belongs to h")));
}
