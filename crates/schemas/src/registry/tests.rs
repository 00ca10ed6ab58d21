use std::path::{Path, PathBuf};

use super::*;

/// A registry in a directory of its own, which is removed at the end.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("frazil-registry-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&dir).expect("temporary directory");
        Self(dir)
    }

    pub(super) fn open(&self) -> Registry {
        Registry::open(control(&self.0)).expect("open")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn control(dir: &Path) -> storage::Control {
    let disk: storage::SharedDisk = Arc::new(storage::RealDisk);
    storage::Control::open(&disk, &dir.join("control.redb")).expect("control store")
}

pub(super) fn json(schema: &str) -> NewSchema {
    NewSchema { schema_type: SchemaType::Json, schema: schema.into(), references: Vec::new() }
}

pub(super) fn avro(schema: &str) -> NewSchema {
    NewSchema { schema_type: SchemaType::Avro, ..json(schema) }
}

pub(super) fn field(name: &str) -> NewSchema {
    json(&format!(r#"{{"type":"object","properties":{{"{name}":{{"type":"integer"}}}}}}"#))
}

#[test]
fn ids_are_global_and_registering_is_idempotent() {
    let place = Place::new();
    let registry = place.open();
    let a = registry.register("a-value", field("x")).expect("register");
    assert_eq!((a.version, a.schema.id), (1, 1));
    let spaced = json("{ \"type\": \"object\", \"properties\": {\"x\": {\"type\":\n\"integer\"}}}");
    let again = registry.register("a-value", spaced.clone()).expect("again");
    assert_eq!((again.version, again.schema.id), (1, 1));
    assert_eq!(again.schema.schema, a.schema.schema, "the first text is kept");
    let b = registry.register("b-value", spaced.clone()).expect("other subject");
    assert_eq!((b.version, b.schema.id), (1, 1));
    let next = registry.register("a-value", field("y")).expect("second");
    assert_eq!((next.version, next.schema.id), (2, 2));
    assert_eq!(registry.lookup("a-value", &spaced).expect("lookup").version, 1);
    assert_eq!(registry.usages(1, false).expect("usages"), [("a-value".into(), 1), ("b-value".into(), 1)]);
    assert_eq!(registry.version("a-value", Version::Latest).expect("latest").version, 2);
    assert!(matches!(registry.lookup("c", &spaced), Err(RegistryError::SubjectNotFound(_))));
    let unknown = registry.lookup("b-value", &field("y"));
    assert!(matches!(unknown, Err(RegistryError::SchemaNotRegistered { .. })));
    assert!(matches!(registry.by_id(3), Err(RegistryError::SchemaNotFound(3))));
    assert!(matches!(
        registry.version("a-value", Version::Number(3)),
        Err(RegistryError::VersionNotFound { .. })
    ));
}

#[test]
fn everything_survives_reopening() {
    let place = Place::new();
    {
        let registry = place.open();
        registry.register("s/with/slash", field("x")).expect("register");
        registry.register("s/with/slash", field("y")).expect("register");
        registry.delete_version("s/with/slash", Version::Number(2), false).expect("delete");
    }
    let registry = place.open();
    assert_eq!(registry.subjects(false), ["s/with/slash"]);
    assert_eq!(registry.versions("s/with/slash", false).expect("versions"), [1]);
    assert_eq!(registry.versions("s/with/slash", true).expect("versions"), [1, 2]);
    let third = registry.register("s/with/slash", field("z")).expect("register");
    assert_eq!((third.version, third.schema.id), (3, 3));
    let back = registry.register("s/with/slash", field("y")).expect("register again");
    assert_eq!((back.version, back.schema.id), (4, 2), "same id, but a version is never used again");
}

#[test]
fn deletion_is_soft_before_it_is_permanent() {
    let place = Place::new();
    let registry = place.open();
    registry.register("s", field("x")).expect("register");
    registry.register("s", field("y")).expect("register");
    use RegistryError as E;
    assert!(matches!(registry.delete_subject("s", true), Err(E::NotSoftDeleted { .. })));
    assert!(matches!(
        registry.delete_version("s", Version::Number(1), true),
        Err(E::VersionNotSoftDeleted { .. })
    ));
    assert_eq!(registry.delete_version("s", Version::Latest, false).expect("soft"), 2);
    assert!(matches!(
        registry.delete_version("s", Version::Number(2), false),
        Err(E::VersionSoftDeleted { .. })
    ));
    assert_eq!(registry.version("s", Version::Latest).expect("latest").version, 1);
    assert!(matches!(registry.version("s", Version::Number(2)), Err(E::VersionNotFound { .. })));
    assert_eq!(registry.delete_subject("s", false).expect("soft"), [1]);
    assert!(matches!(registry.delete_subject("s", false), Err(E::SoftDeleted { .. })));
    assert!(matches!(registry.versions("s", false), Err(E::SubjectNotFound(_))));
    assert!(registry.subjects(false).is_empty());
    assert_eq!(registry.subjects(true), ["s"]);
    assert_eq!(registry.delete_version("s", Version::Number(2), true).expect("permanent"), 2);
    assert_eq!(registry.delete_subject("s", true).expect("permanent"), [1]);
    assert!(registry.subjects(true).is_empty());
    assert!(matches!(registry.delete_subject("s", false), Err(E::SubjectNotFound(_))));
    assert_eq!(registry.by_id(2).expect("kept for old records").id, 2);
    assert_eq!(registry.register("s", field("w")).expect("register").schema.id, 3);
    drop(registry);
    assert_eq!(place.open().versions("s", true).expect("versions"), [1]);
}

#[test]
fn bad_schemas_are_refused_with_a_reason() {
    let place = Place::new();
    let registry = place.open();
    let deep = format!("{}{}{}", r#"{"not":"#.repeat(70), "{}", "}".repeat(70));
    for (schema, word) in [
        ("{", "no JSON"),
        ("1", "object or a boolean"),
        (r#"{"type":"strin"}"#, "/type"),
        (r#"{"properties":[]}"#, "/properties"),
        (r#"{"$schema":"http://example.com/x"}"#, "unknown dialect"),
        (r#"{"$ref":"http://example.com/x"}"#, "references"),
        (r##"{"$ref":"#/definitions/none"}"##, "none"),
        (r#"{"type":"string","pattern":"("}"#, "regex"),
        (&deep, "deeper"),
        (&format!(r#"{{"title":"{}"}}"#, "x".repeat(SCHEMA_BYTES_MAX)), "longer"),
    ] {
        let error = registry.register("s", json(schema)).expect_err(word).to_string();
        assert!(error.starts_with("Invalid schema: "), "{error}");
        assert!(error.contains(word), "{word}: {error}");
    }
    for (schema, word) in [
        ("{", "no JSON"),
        (r#"{"type":"record","name":"r"}"#, "fields"),
        (r#"{"type":"record","name":"r","fields":[{"name":"a","type":"Unknown"}]}"#, "Unknown"),
        (r#"{"type":"record","name":"r","fields":[{"name":"1","type":"int"}]}"#, "1"),
        (r#"{"type":"enum","name":"e","symbols":["A","A"]}"#, "symbol"),
        (r#"["int","int"]"#, "nion"),
        (&deep, "deeper"),
    ] {
        let error = registry.register("s", avro(schema)).expect_err(word).to_string();
        assert!(error.starts_with("Invalid schema: ") && error.contains(word), "{word}: {error}");
    }
    let protobuf = NewSchema { schema_type: SchemaType::Protobuf, ..json("syntax = \"proto3\"; message {}") };
    let error = registry.register("s", protobuf).expect_err("no name").to_string();
    assert!(error.starts_with("Invalid schema: ") && error.contains("schema.proto:1:"), "{error}");
    for subject in ["", "a\nb", &"x".repeat(2000)] {
        let refused = registry.register(subject, field("x"));
        assert!(matches!(refused, Err(RegistryError::InvalidSubject { .. })));
    }
    assert!(registry.subjects(true).is_empty());
}

#[test]
fn endless_references_end() {
    let place = Place::new();
    let registry = place.open();
    let schemas = [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#"}]}"##,
        r##"{"definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}},"$ref":"#/definitions/a"}"##,
    ];
    let twice = |next: usize| {
        format!(r##"{{"allOf":[{{"$ref":"#/definitions/d{next}"}},{{"$ref":"#/definitions/d{next}"}}]}}"##)
    };
    let many: Vec<String> = (0..40).map(|level| format!("\"d{level}\":{}", twice(level + 1))).collect();
    let doubling = format!(
        r##"{{"definitions":{{{},"d40":{{"type":"string"}}}},"$ref":"#/definitions/d0"}}"##,
        many.join(",")
    );
    for schema in schemas.into_iter().chain([doubling.as_str()]) {
        // Valid or not: the answer must come.
        let _ = registry.register("s", json(schema));
    }
}

#[test]
fn references_are_checked_and_hold_what_they_refer_to() {
    let place = Place::new();
    let registry = place.open();
    registry.register("money", json(r#"{"type":"number"}"#)).expect("register");
    let reference = SchemaReference { name: "money.json".into(), subject: "money".into(), version: 1 };
    let text = r#"{"type":"object","properties":{"price":{"$ref":"money.json"}}}"#;
    let with = |references| NewSchema { references, ..json(text) };
    let order = registry.register("order", with(vec![reference.clone()])).expect("register");
    assert_eq!(order.schema.references, [reference.clone()]);
    assert!(matches!(registry.register("order", with(vec![])), Err(RegistryError::InvalidSchema { .. })));
    let wrong = SchemaReference { version: 2, ..reference };
    let error = registry.register("order", with(vec![wrong])).expect_err("no such version").to_string();
    assert!(error.contains("version 2 of subject money"), "{error}");
    for refused in [
        registry.delete_subject("money", false).map(|_| ()),
        registry.delete_version("money", Version::Latest, false).map(|_| ()),
    ] {
        assert!(matches!(refused, Err(RegistryError::ReferenceExists { .. })), "{refused:?}");
    }
    registry.delete_subject("order", false).expect("order first");
    registry.delete_subject("money", false).expect("then money");
}

#[test]
fn watchers_hear_of_changes_only() {
    let place = Place::new();
    let registry = place.open();
    let mut watch = registry.watch();
    assert!(!watch.has_changed().expect("open"));
    registry.register("s", field("x")).expect("register");
    assert!(watch.has_changed().expect("open"));
    watch.mark_unchanged();
    registry.register("s", field("x")).expect("again");
    assert!(!watch.has_changed().expect("open"));
    registry.delete_subject("s", false).expect("delete");
    assert!(watch.has_changed().expect("open"));
}

#[test]
fn resolving_finds_references_of_references() {
    let place = Place::new();
    let registry = place.open();
    let refer = |name: &str, subject: &str, version| SchemaReference {
        name: name.into(),
        subject: subject.into(),
        version,
    };
    let number = registry.register("number", json(r#"{"type":"number"}"#)).expect("register").schema;
    let money = NewSchema {
        references: vec![refer("number.json", "number", 1)],
        ..json(r#"{"type":"object","properties":{"amount":{"$ref":"number.json"}}}"#)
    };
    let money = registry.register("money", money).expect("register").schema;
    let order = NewSchema {
        references: vec![refer("number.json", "number", 1), refer("money.json", "money", 1)],
        ..json(r#"{"properties":{"price":{"$ref":"money.json"},"qty":{"$ref":"number.json"}}}"#)
    };
    assert_eq!(registry.candidate(order.clone()).expect("candidate").schema.id, 0);
    let order = registry.register("order", order).expect("register").schema;
    let order_only =
        NewSchema { references: vec![refer("money.json", "money", 1)], ..json(r#"{"$ref":"money.json"}"#) };
    let resolved = registry.register("other", order_only).expect("register").schema;
    let names = |registry: &Registry, id| {
        let resolved = registry.resolve(id).expect("resolve");
        resolved.references.into_iter().map(|r| (r.name, r.schema.id)).collect::<Vec<_>>()
    };
    let expected = vec![("number.json".to_owned(), number.id), ("money.json".to_owned(), money.id)];
    assert_eq!(names(&registry, order.id), expected);
    assert_eq!(names(&registry, resolved.id), expected, "what references refer to comes before them");
    for subject in ["order", "other", "money", "number"] {
        registry.delete_subject(subject, false).expect("soft");
        registry.delete_subject(subject, true).expect("permanent");
    }
    // Another schema under the same subject and version leaves what was registered before as it was.
    registry.register("number", json(r#"{"type":"string"}"#)).expect("register");
    assert_eq!(names(&registry, order.id), expected);
    drop(registry);
    assert_eq!(names(&place.open(), order.id), expected);
}

#[test]
fn a_name_stands_for_one_schema() {
    let place = Place::new();
    let registry = place.open();
    let refer =
        |subject: &str, version| SchemaReference { name: "x.json".into(), subject: subject.into(), version };
    registry.register("x", json(r#"{"type":"number"}"#)).expect("register");
    registry.register("x", json(r#"{"type":"string"}"#)).expect("register");
    let references = vec![refer("x", 1), refer("x", 2)];
    let error = registry.register("y", NewSchema { references, ..json(r#"{"$ref":"x.json"}"#) });
    let error = error.expect_err("two schemas of one name").to_string();
    assert!(error.contains("x.json stands for two schemas"), "{error}");
}

#[test]
fn schemas_are_found_by_guid() {
    let place = Place::new();
    let registry = place.open();
    let x = registry.register("a", field("x")).expect("register").schema;
    let y = registry.register("a", field("y")).expect("register").schema;
    assert_ne!(x.guid(), y.guid());
    assert_eq!(
        x.guid().to_string(),
        "d20b7f83-fbac-8723-a16d-08bb29f4afd5",
        "GUIDs are in records: they must never change"
    );
    assert_eq!(registry.by_guid(y.guid()).expect("known").id, y.id);
    drop(registry);
    let registry = place.open();
    assert_eq!(registry.by_guid(x.guid()).expect("known").id, x.id);
    let unknown = Uuid::from_u128(1);
    assert!(matches!(registry.by_guid(unknown), Err(RegistryError::GuidNotFound(guid)) if guid == unknown));
}

#[test]
fn avro_schemas_refer_to_types_by_name() {
    let place = Place::new();
    let registry = place.open();
    let money =
        r#"{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}"#;
    let first = registry.register("money", avro(money)).expect("register").schema;
    let spaced = r#"{ "name":"Money", "type":"record","namespace":"shop",
        "fields":[{"type":{"type":"long"},"name":"cents"}]}"#;
    assert_eq!(registry.register("other", avro(spaced)).expect("the same").schema.id, first.id);
    let order = r#"{"type":"record","name":"Order","fields":[{"name":"price","type":"shop.Money"}]}"#;
    let error = registry.register("order", avro(order)).expect_err("no reference").to_string();
    assert!(error.contains("shop.Money"), "{error}");
    let reference = SchemaReference { name: "shop.Money".into(), subject: "money".into(), version: 1 };
    let order = NewSchema { references: vec![reference.clone()], ..avro(order) };
    let order = registry.register("order", order).expect("register").schema;
    assert_eq!(registry.resolve(order.id).expect("resolve").references[0].schema.id, first.id);
    registry.register("json", field("x")).expect("register");
    let other = SchemaReference { subject: "json".into(), ..reference };
    let mixed = NewSchema { references: vec![other], ..avro("\"long\"") };
    let error = registry.register("mixed", mixed).expect_err("a JSON schema in Avro").to_string();
    assert!(error.contains("no schema of the same type"), "{error}");
}

#[test]
fn protobuf_schemas_import_by_name() {
    let place = Place::new();
    let registry = place.open();
    let protobuf = |text: &str| NewSchema {
        schema_type: SchemaType::Protobuf,
        schema: format!("syntax = \"proto3\"; {text}"),
        references: Vec::new(),
    };
    let money = registry.register("money", protobuf("message Money { int64 cents = 1; }")).expect("register");
    let spaced = protobuf("// money\nmessage Money {\n  int64 cents = 1;\n}");
    assert_eq!(registry.register("other", spaced).expect("the same").schema.id, money.schema.id);
    let order = protobuf("import \"shop/money.proto\"; message Order { Money price = 1; }");
    let error = registry.register("order", order.clone()).expect_err("no reference").to_string();
    assert!(error.contains("shop/money.proto"), "{error}");
    let reference = SchemaReference { name: "shop/money.proto".into(), subject: "money".into(), version: 1 };
    let order =
        registry.register("order", NewSchema { references: vec![reference], ..order }).expect("register");
    let resolved = registry.resolve(order.schema.id).expect("resolve");
    assert_eq!(crate::protobuf_message(&resolved, &[0]).expect("found"), "Order");
    drop(registry);
    let registry = place.open();
    assert_eq!(registry.by_id(money.schema.id).expect("kept").schema_type, SchemaType::Protobuf);
}
