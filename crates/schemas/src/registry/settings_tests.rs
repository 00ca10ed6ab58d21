use super::tests::{Place, avro, field, json};
use super::*;
use crate::Compatibility as C;
use RegistryError as E;

fn record(fields: &str) -> NewSchema {
    avro(&format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#))
}

fn client(schema: NewSchema) -> Registration {
    Registration::of_client(schema)
}

fn level(level: C) -> ConfigChange {
    ConfigChange { compatibility: Some(level), ..ConfigChange::default() }
}

const A: &str = r#"{"name":"a","type":"int"}"#;
const B: &str = r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#;
const B_DEFAULT: &str = r#"{"name":"a","type":"int"},{"name":"b","type":"int","default":1}"#;

#[test]
fn clients_are_bound_by_the_default_level_and_the_node_by_levels_that_were_set() {
    let place = Place::new();
    let registry = place.open();
    registry.register("s", client(record(A))).expect("first");
    let refused = registry.register("s", client(record(B))).expect_err("backward");
    let text = refused.to_string();
    assert!(
        text.starts_with("Schema being registered is incompatible with an earlier schema for subject \"s\"")
    );
    assert!(
        text.contains("READER_FIELD_MISSING_DEFAULT_VALUE") && text.contains("{oldSchemaVersion: 1}"),
        "{text}"
    );
    assert!(text.contains("{compatibility: 'BACKWARD'}"), "{text}");
    registry.register("s", client(record(B_DEFAULT))).expect("with a default");
    registry.register("s", record("")).expect("made by the node");
    registry.set_config("", level(C::Full)).expect("set");
    let refused = registry.register("s", record(B));
    assert!(
        matches!(refused, Err(E::Incompatible { .. })),
        "a level that somebody set binds the node: {refused:?}"
    );
    registry.set_config("s", level(C::None)).expect("set");
    registry.register("s", client(json("true"))).expect("anything");
}

#[test]
fn transitive_levels_look_at_all_versions() {
    let place = Place::new();
    let registry = place.open();
    let string = r#"{"name":"b","type":"string","default":""}"#;
    let number = r#"{"name":"b","type":"int","default":0}"#;
    registry.register("s", client(record(number))).expect("first");
    registry.register("s", client(record(""))).expect("without");
    assert_eq!(registry.incompatibilities("s", client(record(string)), None).expect("check"), [""; 0]);
    registry.set_config("s", level(C::BackwardTransitive)).expect("set");
    let found = registry.incompatibilities("s", client(record(string)), None).expect("check");
    assert!(found[0].contains("TYPE_MISMATCH") && found[1].contains("oldSchemaVersion: 1"), "{found:?}");
    let latest = registry.incompatibilities("s", client(record(string)), Some(Version::Latest));
    assert_eq!(latest.expect("check"), [""; 0], "against one version only");
    let first = registry.incompatibilities("s", client(record(string)), Some(Version::Number(1)));
    assert!(!first.expect("check").is_empty());
    let none = registry.incompatibilities("s", client(record(string)), Some(Version::Number(7)));
    assert!(matches!(none, Err(E::VersionNotFound { .. })));
    assert_eq!(registry.incompatibilities("new", client(record(string)), None).expect("check"), [""; 0]);
    registry.set_config("s", level(C::Forward)).expect("set");
    registry.register("s", client(record(B))).expect("forward: the old one ignores new fields");
}

#[test]
fn groups_are_compared_within_themselves() {
    let place = Place::new();
    let registry = place.open();
    let major = |version: &str, schema: NewSchema| {
        let properties = [("major".to_owned(), version.to_owned())].into();
        let metadata = Metadata { properties: Some(properties), ..Metadata::default() };
        let annotations = Annotations { metadata: Some(metadata), ..Annotations::default() };
        Registration { annotations, ..client(schema) }
    };
    let group = ConfigChange { compatibility_group: Some("major".into()), ..ConfigChange::default() };
    registry.set_config("s", group).expect("set");
    let one = registry.register("s", major("1", record(A))).expect("one");
    registry.register("s", major("2", record(B))).expect("another group");
    let more = record(&format!(r#"{B},{{"name":"c","type":"int"}}"#));
    assert!(matches!(registry.register("s", major("2", more)), Err(E::Incompatible { .. })));
    assert!(matches!(registry.register("s", major("1", record(B))), Err(E::Incompatible { .. })));
    let plain = registry.register("t", client(record(A))).expect("without metadata").schema;
    assert_ne!(plain.id, one.schema.id, "metadata makes another schema");
    assert_ne!(one.guid(), plain.guid());
    drop(registry);
    let registry = place.open();
    let kept = registry.version("s", Version::Number(1)).expect("kept");
    assert_eq!((kept.annotations.clone(), kept.guid()), (one.annotations.clone(), one.guid()));
    assert_eq!(registry.by_guid(one.guid()).expect("by GUID").id, one.schema.id);
}

#[test]
fn settings_fall_back_and_survive() {
    let place = Place::new();
    let registry = place.open();
    assert_eq!(registry.effective_config("s").compatibility, Some(C::Backward));
    assert_eq!(registry.config("s"), None);
    registry.set_config("", level(C::Forward)).expect("set");
    let context = registry.in_context("dev").expect("context");
    assert_eq!(context.effective_config("s").compatibility, Some(C::Forward), "from the default context");
    context.set_config("", level(C::None)).expect("set");
    registry.set_config("s", ConfigChange { normalize: Some(true), ..ConfigChange::default() }).expect("set");
    registry.set_mode("s", Mode::ReadOnly, false).expect("set");
    registry
        .set_config("a/lias", ConfigChange { alias: Some("s".into()), ..ConfigChange::default() })
        .expect("set");
    drop((registry, context));
    let registry = place.open();
    let context = registry.in_context(".dev").expect("context");
    assert_eq!(context.effective_config("s").compatibility, Some(C::None));
    assert_eq!(registry.effective_config("s").compatibility, Some(C::Forward));
    assert_eq!(registry.effective_config("s").normalize, Some(true));
    assert_eq!(registry.effective_mode("s"), Mode::ReadOnly);
    assert_eq!(registry.aliased("a/lias"), "s");
    assert_eq!(registry.aliased("s"), "s");
    assert_eq!(registry.delete_config("").expect("delete").compatibility, Some(C::Forward));
    assert_eq!(registry.effective_config("s").compatibility, Some(C::Backward));
    assert!(matches!(registry.delete_config("none"), Err(E::SubjectNotFound(_))));
    assert_eq!(registry.delete_mode("s").expect("delete"), Mode::ReadOnly);
    assert!(matches!(registry.set_config("a\nb", level(C::None)), Err(E::InvalidSubject { .. })));
}

#[test]
fn modes_guard_what_they_say() {
    let place = Place::new();
    let registry = place.open();
    let first = registry.register("s", field("x")).expect("register");
    registry.set_mode("s", Mode::ReadOnly, false).expect("set");
    assert!(matches!(registry.register("s", field("y")), Err(E::NotPermitted { .. })));
    assert!(matches!(registry.delete_subject("s", false), Err(E::NotPermitted { .. })));
    assert_eq!(registry.register("s", field("x")).expect("what is there is found").version, 1);
    registry.register("t", field("y")).expect("other subjects are free");
    registry.set_mode("", Mode::ReadOnlyOverride, false).expect("set");
    assert!(matches!(registry.register("t", field("z")), Err(E::NotPermitted { .. })));
    registry.delete_mode("").expect("delete");
    let with = |id, version, schema| Registration { id: Some(id), version, ..client(schema) };
    assert!(matches!(registry.register("u", with(9, None, field("z"))), Err(E::NotPermitted { .. })));
    assert!(matches!(registry.set_mode("t", Mode::Import, false), Err(E::NotPermitted { .. })));
    registry.set_mode("u", Mode::Import, false).expect("nothing there yet");
    let imported = registry.register("u", with(900, Some(7), field("z"))).expect("import");
    assert_eq!((imported.schema.id, imported.version), (900, 7));
    assert!(
        matches!(registry.register("u", field("w")), Err(E::NotPermitted { .. })),
        "an import names its id"
    );
    let clash = registry.register("u", with(first.schema.id, None, field("w")));
    assert!(matches!(clash, Err(E::NotPermitted { .. })), "an id never changes its schema: {clash:?}");
    assert!(matches!(registry.register("u", with(901, Some(7), field("w"))), Err(E::NotPermitted { .. })));
    assert!(matches!(registry.register("u", with(901, None, field("z"))), Err(E::IdDoesNotMatch { .. })));
    assert!(matches!(registry.register("u", with(0, None, field("w"))), Err(E::InvalidSchema { .. })));
    let again = registry.register("u", with(902, None, field("x"))).expect("a second id for a schema");
    assert_eq!((again.schema.id, again.version), (902, 8));
    assert_eq!(registry.register("v", field("q")).expect("the next id").schema.id, 903);
    registry.register("u", with(i32::MAX, None, field("last"))).expect("the last id");
    assert!(matches!(registry.register("v", field("none left")), Err(E::NotPermitted { .. })));
    drop(registry);
    let registry = place.open();
    assert_eq!(registry.versions("u", false).expect("kept"), [7, 8, 9]);
    assert_eq!(registry.effective_mode("u"), Mode::Import);
}

#[test]
fn contexts_have_ids_and_subjects_of_their_own() {
    let place = Place::new();
    let registry = place.open();
    registry.register("s", field("x")).expect("register");
    let (dev, bare) = registry.locate(":.dev:s").expect("locate");
    assert_eq!((dev.context(), bare), (".dev", "s"));
    let other = dev.register(bare, field("y")).expect("register");
    assert_eq!((other.subject.as_str(), other.schema.id, other.version), (":.dev:s", 1, 1));
    assert_eq!(registry.by_id(1).expect("default").schema, field("x").schema);
    assert_eq!(dev.by_id(1).expect("dev").schema, field("y").schema);
    assert_eq!(registry.contexts(), [".", ".dev"]);
    let own = SchemaReference { name: "y.json".into(), subject: ":.dev:s".into(), version: 1 };
    let referring = NewSchema { references: vec![own], ..json(r#"{"$ref":"y.json"}"#) };
    let refused = registry.register("r", referring.clone());
    assert!(matches!(refused, Err(E::InvalidSchema { .. })), "{refused:?}");
    dev.register("r", referring).expect("within the context");
    assert!(matches!(dev.delete_subject("s", false), Err(E::ReferenceExists { .. })));
    assert_eq!(dev.referenced_by("s", Version::Latest).expect("referrers"), [2]);
    assert!(matches!(registry.register(":.dev:s", field("z")), Err(E::InvalidSubject { .. })));
    for bad in [":.a/b:s", ":.:s:", ":.ä:s", &format!(":.{}:s", "x".repeat(200))] {
        let located =
            registry.locate(bad).and_then(|(context, subject)| context.register(subject, field("x")));
        assert_eq!(located.is_ok(), bad == ":.:s:", "{bad}");
    }
    drop((registry, dev));
    let registry = place.open();
    let dev = registry.in_context("dev").expect("context");
    assert_eq!(dev.subjects(false), ["r", "s"]);
    assert!(matches!(dev.delete_context(), Err(E::ContextNotEmpty(_))));
    for subject in ["r", "s"] {
        dev.delete_subject(subject, false).expect("soft");
        dev.delete_subject(subject, true).expect("permanent");
    }
    dev.delete_context().expect("empty");
    assert!(matches!(dev.delete_context(), Err(E::ContextNotFound(_))));
    assert!(matches!(registry.delete_context(), Err(E::NotPermitted { .. })));
    drop((registry, dev));
    assert_eq!(place.open().contexts(), ["."]);
}

#[test]
fn normal_forms_are_found() {
    let place = Place::new();
    let registry = place.open();
    let (ab, ba) = (json(r#"{"type": "object", "title": "t"}"#), json(r#"{"title":"t","type":"object"}"#));
    registry.register("s", client(ab.clone())).expect("register");
    assert!(matches!(registry.lookup("s", &ba), Err(E::SchemaNotRegistered { .. })));
    let normal = Registration { normalize: true, ..client(ba.clone()) };
    assert_eq!(registry.lookup_among("s", &normal, false).expect("normal form").version, 1);
    registry.set_config("t", ConfigChange { normalize: Some(true), ..ConfigChange::default() }).expect("set");
    let kept = registry.register("t", client(ab)).expect("register").schema;
    assert_eq!(kept.schema, ba.schema);
    registry.delete_version("s", Version::Latest, false).expect("delete");
    assert!(registry.lookup_among("s", &normal, false).is_err());
    assert!(registry.lookup_among("s", &normal, true).expect("deleted").deleted);
}

#[test]
fn forms_of_texts() {
    let place = Place::new();
    let registry = place.open();
    let money =
        r#"{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}"#;
    registry.register("money", avro(money)).expect("register");
    let reference = SchemaReference { name: "shop.Money".into(), subject: "money".into(), version: -1 };
    let order = avro(
        r#"{"type":"record","name":"o","fields":[{"name":"a","type":"shop.Money"},{"name":"b","type":["null","shop.Money"]}]}"#,
    );
    let order = NewSchema { references: vec![reference], ..order };
    let id = registry.register("order", order.clone()).expect("register").schema.id;
    let resolved = registry.text_as(id, Form::Resolved).expect("resolved");
    assert_eq!(
        resolved,
        r#"{"type":"record","name":"o","fields":[{"name":"a","type":{"type":"record","name":"shop.Money","fields":[{"name":"cents","type":"long"}]}},{"name":"b","type":["null","shop.Money"]}]}"#
    );
    registry.register("alone", avro(&resolved)).expect("it stands alone");
    assert_eq!(registry.text_as(id, Form::Serialized).expect("no such form of Avro"), order.schema);
    let text = "syntax = \"proto3\"; message M { int32 a = 1; }";
    let proto = NewSchema { schema_type: SchemaType::Protobuf, ..json(text) };
    let id = registry.register("proto", proto.clone()).expect("register").schema.id;
    let serialized = registry.text_as(id, Form::Serialized).expect("serialized");
    let again = NewSchema { schema: serialized, ..proto };
    assert!(registry.candidate(again).is_ok(), "it is a schema as well");
}

#[test]
fn many_at_once_get_one_id() {
    let place = Place::new();
    let registry = place.open();
    let ids: Vec<(i32, i32)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|i| {
                let registry = registry.clone();
                scope.spawn(move || {
                    registry.register(&format!("other{i}"), field(&format!("f{i}"))).expect("register");
                    let found = registry.register("s", client(field("x"))).expect("register");
                    (found.schema.id, found.version)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(ids.iter().all(|found| *found == ids[0] && found.1 == 1), "{ids:?}");
    assert_eq!(registry.last_id(), 17);
}
