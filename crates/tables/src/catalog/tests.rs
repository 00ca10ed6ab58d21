use iceberg::{TableRequirement, TableUpdate};

use super::*;
use crate::CommitError;
use crate::fixture::{Fixture, rows, schema};

fn new_table() -> NewTable {
    NewTable { schema: schema(), partition_by: "()".into(), properties: BTreeMap::new() }
}

fn set(key: &str, value: &str) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: HashMap::from([(key.to_owned(), value.to_owned())]) }]
}

#[tokio::test]
async fn tables_are_there_after_a_restart() {
    let mut f = Fixture::new();
    let nested = vec!["lake".to_owned(), "raw".to_owned()];
    f.tables.create_namespace(&nested, BTreeMap::from([("owner".into(), "me".into())])).expect("namespace");
    let made = f.create("trades", schema(), "(symbol)").await;
    let deep = TableIdent { namespace: nested.clone(), name: "events".into() };
    f.tables.create(&deep, new_table()).await.expect("create");
    f.reopen();
    assert_eq!(f.tables.namespaces().expect("list"), [nested.clone(), vec!["public".to_owned()]]);
    assert_eq!(f.tables.namespace_properties(&nested).expect("properties")["owner"], "me");
    assert_eq!(f.tables.tables(&nested).expect("list"), [deep]);
    assert_eq!(f.tables.tables(&["public".to_owned()]).expect("list"), [made.ident.clone()]);
    let loaded = f.tables.load(&made.ident).await.expect("load");
    assert_eq!(loaded.metadata, made.metadata);
    assert_eq!(loaded.metadata_location, made.metadata_location);
    let location = loaded.metadata.location();
    assert_eq!(location, format!("{}/public/trades", f.tables.objects().root()));
    let json: serde_json::Value = serde_json::from_str(&loaded.metadata_json().expect("json")).expect("json");
    assert_eq!(json["format-version"], 2);
    assert_eq!(json["properties"]["write.metadata.previous-versions-max"], "100");
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let f = Fixture::new();
    let nowhere = TableIdent { namespace: vec!["nope".into()], name: "t".into() };
    assert!(matches!(f.tables.load(&nowhere).await, Err(CatalogError::NoSuchTable(_))));
    assert!(matches!(f.tables.drop(&nowhere, true).await, Err(CatalogError::NoSuchTable(_))));
    assert!(matches!(f.tables.create(&nowhere, new_table()).await, Err(CatalogError::NoSuchNamespace(_))));
    assert!(matches!(f.tables.tables(&nowhere.namespace), Err(CatalogError::NoSuchNamespace(_))));
    let commit = f.tables.commit(&nowhere, vec![], set("a", "b")).await;
    assert!(matches!(commit, Err(CommitError::Catalog(CatalogError::NoSuchTable(_)))));
    f.create("t", schema(), "").await;
    let again = f.tables.create(&f.tables.ident("t"), new_table()).await;
    assert!(matches!(again, Err(CatalogError::TableExists(_))));
    let again = f.tables.create_namespace(&["public".to_owned()], BTreeMap::new());
    assert!(matches!(again, Err(CatalogError::NamespaceExists(_))));
    for bad in ["../t", "a/b", "", ".t", "a%2e"] {
        let refused = f.tables.create(&f.tables.ident(bad), new_table()).await;
        assert!(matches!(refused, Err(CatalogError::Invalid(_))), "{bad}");
    }
}

#[tokio::test]
async fn a_dropped_table_keeps_its_files_to_itself() {
    let f = Fixture::new();
    let first = f.create("trades~dlq", schema(), "").await;
    let staged = f.stage(&first, &rows(0, 5)).await;
    f.tables.append(&first.ident, staged, vec![], BTreeMap::new()).await.expect("append");
    f.tables.drop(&first.ident, false).await.expect("drop");
    assert!(matches!(f.tables.load(&first.ident).await, Err(CatalogError::NoSuchTable(_))));
    let second = f.create("trades~dlq", schema(), "").await;
    assert_ne!(second.metadata.location(), first.metadata.location());
    assert!(second.metadata.location().starts_with(&format!("{}-", first.metadata.location())));
    assert_ne!(second.uuid(), first.uuid());
    assert_eq!(second.total_records(), 0);
    let purged = second.metadata.location().to_owned();
    f.tables.drop(&second.ident, true).await.expect("purge");
    assert!(f.tables.objects().list(&purged).await.expect("list").is_empty());
    assert!(!f.tables.objects().list(first.metadata.location()).await.expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_creators_one_wins() {
    let f = Fixture::new();
    let ident = f.tables.ident("t");
    let racing: Vec<_> = (0..4)
        .map(|_| {
            let (tables, ident) = (f.tables.clone(), ident.clone());
            tokio::spawn(async move { tables.create(&ident, new_table()).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in racing {
        match task.await.expect("task") {
            Ok(table) => made.push(table),
            Err(e) => assert!(matches!(e, CatalogError::TableExists(_)), "{e}"),
        }
    }
    assert_eq!(made.len(), 1);
    assert_eq!(f.tables.load(&ident).await.expect("load").uuid(), made[0].uuid());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_conditional_commits_one_wins() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let requirements = vec![
        TableRequirement::UuidMatch { uuid: table.uuid() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: 2 },
    ];
    let wider = |name: &str| {
        let mut fields = schema().fields().to_vec();
        fields.push(Arc::new(arrow::datatypes::Field::new(name, arrow::datatypes::DataType::Utf8, true)));
        let wider = arrow::datatypes::Schema::new(fields);
        let schema = crate::columns::iceberg_schema(&wider).expect("schema");
        vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }]
    };
    let racing: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let (tables, ident) = (f.tables.clone(), table.ident.clone());
            let (requirements, updates) = (requirements.clone(), wider(name));
            tokio::spawn(async move { tables.commit(&ident, requirements, updates).await })
        })
        .into();
    let mut made = 0;
    for task in racing {
        match task.await.expect("task") {
            Ok(_) => made += 1,
            Err(CommitError::RequirementFailed(_)) => {}
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(f.tables.load(&table.ident).await.expect("load").metadata.last_column_id(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unconditional_commits_all_get_through() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    let racing: Vec<_> = (0..5)
        .map(|i| {
            let (tables, ident) = (f.tables.clone(), table.ident.clone());
            tokio::spawn(async move { tables.commit(&ident, vec![], set(&format!("k{i}"), "v")).await })
        })
        .collect();
    for task in racing {
        task.await.expect("task").expect("commit");
    }
    let loaded = f.tables.load(&table.ident).await.expect("load");
    assert_eq!((0..5).filter(|i| loaded.metadata.properties().contains_key(&format!("k{i}"))).count(), 5);
}

#[tokio::test]
async fn harmful_updates_are_refused() {
    let f = Fixture::new();
    let table = f.create("t", schema(), "").await;
    for (update, word) in [
        (TableUpdate::SetLocation { location: f.tables.objects().root().to_owned() }, "cannot be moved"),
        (TableUpdate::AssignUuid { uuid: uuid::Uuid::new_v4() }, "keeps it"),
        (TableUpdate::SetCurrentSchema { schema_id: 77 }, "77"),
    ] {
        let error = f.tables.commit(&table.ident, vec![], vec![update]).await.expect_err(word);
        assert!(matches!(&error, CommitError::Invalid(why) if why.contains(word)), "{error}");
    }
    let same = f.tables.load(&table.ident).await.expect("load");
    assert_eq!(same.metadata_location, table.metadata_location);
}

#[tokio::test]
async fn old_metadata_files_are_removed() {
    let f = Fixture::with(Settings { metadata_previous_max: 3, ..Settings::default() });
    let table = f.create("t", schema(), "").await;
    let mut watch = f.tables.watch();
    watch.mark_unchanged();
    for i in 0..8 {
        f.tables.commit(&table.ident, vec![], set("k", &i.to_string())).await.expect("commit");
        assert!(watch.has_changed().expect("watch"));
        watch.mark_unchanged();
    }
    let files =
        f.tables.objects().list(&format!("{}/metadata", table.metadata.location())).await.expect("list");
    assert_eq!(files.len(), 4, "{files:?}");
    let loaded = f.tables.load(&table.ident).await.expect("load");
    assert_eq!(loaded.metadata.metadata_log().len(), 3);
    let name = loaded.metadata_location.rsplit('/').next().expect("name");
    assert!(name.starts_with("00008-"), "{name}");
    assert!(f.path().exists());
}

#[tokio::test]
async fn a_purge_leaves_other_tables_alone() {
    let f = Fixture::new();
    let outer = TableIdent { namespace: vec!["a".into()], name: "b".into() };
    let inner = TableIdent { namespace: vec!["a".into(), "b".into()], name: "c".into() };
    for ident in [&outer, &inner] {
        f.tables.create_namespace(&ident.namespace, BTreeMap::new()).expect("namespace");
        let table = NewTable { schema: schema(), partition_by: String::new(), properties: BTreeMap::new() };
        f.tables.create(ident, table).await.expect("create");
    }
    f.tables.drop(&outer, true).await.expect("drop");
    let left = f.tables.load(&inner).await.expect("load");
    assert!(f.tables.objects().size(&left.metadata_location).await.expect("size").is_some());
}

#[tokio::test]
async fn the_longest_names_have_a_place() {
    let f = Fixture::new();
    let name = "x".repeat(255);
    let table = f.create(&name, schema(), "").await;
    f.tables.drop(&table.ident, false).await.expect("drop");
    let again = f.create(&name, schema(), "").await;
    assert_ne!(again.metadata.location(), table.metadata.location());
}
