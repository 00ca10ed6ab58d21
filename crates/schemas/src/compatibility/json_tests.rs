use super::*;
use crate::registry::RegisteredSchema;

fn schema(text: &str) -> ResolvedSchema {
    let schema = RegisteredSchema {
        id: 1,
        schema_type: SchemaType::Json,
        schema: text.into(),
        references: Vec::new(),
    };
    let schema = ResolvedSchema::alone(schema);
    crate::validity::check(&schema).unwrap_or_else(|e| panic!("{text}: {e}"));
    schema
}

/// The kinds of what keeps the first from taking what the second allows.
fn backward(new: &str, old: &str) -> Vec<&'static str> {
    let found = differences(Compatibility::Backward, &schema(new), &schema(old));
    found.into_iter().map(|d| d.kind).collect()
}

fn check(cases: &[(&str, &str, &[&str])]) {
    for (new, old, expected) in cases {
        assert_eq!(backward(new, old), *expected, "new {new} old {old}");
        assert_eq!(backward(new, new), [""; 0], "{new} reads itself");
        assert_eq!(backward(old, old), [""; 0], "{old} reads itself");
    }
}

#[test]
fn types_may_widen() {
    check(&[
        (r#"{"type":"number"}"#, r#"{"type":"integer"}"#, &[]),
        (r#"{"type":"integer"}"#, r#"{"type":"number"}"#, &["TYPE_NARROWED"]),
        (r#"{"type":"string"}"#, r#"{"type":"integer"}"#, &["TYPE_CHANGED"]),
        (r#"{"type":["string","null"]}"#, r#"{"type":"string"}"#, &[]),
        (r#"{"type":"string"}"#, r#"{"type":["string","null"]}"#, &["SUM_TYPE_NARROWED"]),
        ("true", r#"{"type":"string"}"#, &[]),
        (r#"{"type":"string"}"#, "true", &["SUM_TYPE_NARROWED"]),
        (r#"{"type":"string"}"#, "false", &[]),
        (r#"{"title":"x"}"#, r#"{"type":"string"}"#, &[]),
    ]);
}

#[test]
fn open_objects_take_no_new_property() {
    let open = |p: &str| format!(r#"{{"type":"object","properties":{{{p}}}}}"#);
    let closed =
        |p: &str| format!(r#"{{"type":"object","additionalProperties":false,"properties":{{{p}}}}}"#);
    let (a, ab) = (r#""a":{"type":"string"}"#, r#""a":{"type":"string"},"b":{"type":"string"}"#);
    check(&[
        (&open(ab), &open(a), &["PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL"]),
        (&open(a), &open(ab), &[]),
        (&closed(ab), &closed(a), &[]),
        (&closed(a), &closed(ab), &["PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL"]),
        (&open(a), &closed(a), &[]),
        (&closed(a), &open(a), &["ADDITIONAL_PROPERTIES_REMOVED"]),
        (&open(r#""a":{"type":"string"},"b":{}"#), &open(a), &[]),
    ]);
    let partly =
        r#"{"type":"object","additionalProperties":{"type":"string"},"properties":{"a":{"type":"string"}}}"#;
    let covered = partly.replace(r#""a":{"type":"string"}"#, ab);
    let not_covered =
        partly.replace(r#""a":{"type":"string"}"#, r#""a":{"type":"string"},"b":{"type":"integer"}"#);
    check(&[
        (&covered, partly, &[]),
        (partly, &covered, &[]),
        (
            &not_covered,
            partly,
            &["TYPE_CHANGED", "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"],
        ),
        (
            partly,
            &not_covered,
            &["TYPE_CHANGED", "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL"],
        ),
        (partly, &open(a), &["ADDITIONAL_PROPERTIES_NARROWED"]),
    ]);
    let patterned = r#"{"type":"object","additionalProperties":false,"patternProperties":{"^b":{"type":"string"}},
        "properties":{"a":{"type":"string"}}}"#;
    check(&[(patterned, &closed(ab), &[]), (&closed(ab), patterned, &[])]);
}

#[test]
fn what_is_required_needs_a_default() {
    let object = |required: &str, b: &str| {
        format!(
            r#"{{"type":"object","additionalProperties":false,"properties":{{"a":{{"type":"string"}}{b}}},"required":[{required}]}}"#
        )
    };
    check(&[
        (&object("", ""), &object(r#""a""#, ""), &[]),
        (&object(r#""a""#, ""), &object("", ""), &["REQUIRED_ATTRIBUTE_ADDED"]),
        (
            &object(r#""b""#, r#","b":{"type":"string"}"#),
            &object("", ""),
            &["REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL"],
        ),
        (&object(r#""b""#, r#","b":{"type":"string","default":""}"#), &object("", ""), &[]),
    ]);
}

#[test]
fn bounds_may_only_loosen() {
    for (keyword, loose, tight, kind, added) in [
        ("maxLength", "9", "5", "MAX_LENGTH_DECREASED", "MAX_LENGTH_ADDED"),
        ("minLength", "1", "5", "MIN_LENGTH_INCREASED", "MIN_LENGTH_ADDED"),
        ("pattern", r#""a""#, r#""b""#, "PATTERN_CHANGED", "PATTERN_ADDED"),
        ("maximum", "9", "5", "MAXIMUM_DECREASED", "MAXIMUM_ADDED"),
        ("minimum", "1", "5.5", "MINIMUM_INCREASED", "MINIMUM_ADDED"),
        ("exclusiveMaximum", "9", "5", "EXCLUSIVE_MAXIMUM_DECREASED", "EXCLUSIVE_MAXIMUM_ADDED"),
        ("exclusiveMinimum", "1", "5", "EXCLUSIVE_MINIMUM_INCREASED", "EXCLUSIVE_MINIMUM_ADDED"),
        ("multipleOf", "5", "10", "MULTIPLE_OF_EXPANDED", "MULTIPLE_OF_ADDED"),
        ("maxProperties", "9", "5", "MAX_PROPERTIES_DECREASED", "MAX_PROPERTIES_ADDED"),
        ("minProperties", "1", "5", "MIN_PROPERTIES_INCREASED", "MIN_PROPERTIES_ADDED"),
        ("maxItems", "9", "5", "MAX_ITEMS_DECREASED", "MAX_ITEMS_ADDED"),
        ("minItems", "1", "5", "MIN_ITEMS_INCREASED", "MIN_ITEMS_ADDED"),
    ] {
        let with = |value: &str| {
            let kind = match keyword {
                "maxLength" | "minLength" | "pattern" => "string",
                word if word.ends_with("Properties") => "object",
                word if word.ends_with("Items") => "array",
                _ => "number",
            };
            match value {
                "" => format!(r#"{{"type":"{kind}"}}"#),
                value => format!(r#"{{"type":"{kind}","{keyword}":{value}}}"#),
            }
        };
        check(&[
            (&with(tight), &with(loose), &[kind]),
            (&with(tight), &with(""), &[added]),
            (&with(""), &with(tight), &[]),
        ]);
        if keyword != "pattern" {
            check(&[(&with(loose), &with(tight), &[])]);
        }
    }
    check(&[
        (r#"{"type":"number","maximum":5}"#, r#"{"type":"number","exclusiveMaximum":5}"#, &[]),
        (
            r#"{"type":"number","exclusiveMaximum":5}"#,
            r#"{"type":"number","maximum":5}"#,
            &["EXCLUSIVE_MAXIMUM_ADDED"],
        ),
        (r#"{"type":"array","uniqueItems":true}"#, r#"{"type":"array"}"#, &["UNIQUE_ITEMS_ADDED"]),
        (
            r#"{"type":"array","items":{"type":"string"}}"#,
            r#"{"type":"array"}"#,
            &["ADDITIONAL_ITEMS_NARROWED"],
        ),
        (
            r#"{"type":"array","items":{"type":"number"}}"#,
            r#"{"type":"array","items":{"type":"integer"}}"#,
            &[],
        ),
        (
            r#"{"type":"array","items":[{"type":"string"}]}"#,
            r#"{"type":"array"}"#,
            &["ITEM_ADDED_TO_OPEN_CONTENT_MODEL"],
        ),
        (r#"{"type":"array"}"#, r#"{"type":"array","items":[{"type":"string"}]}"#, &[]),
    ]);
}

#[test]
fn enums_sums_and_products() {
    check(&[
        (r#"{"enum":["a","b"]}"#, r#"{"enum":["a"]}"#, &[]),
        (r#"{"enum":["a"]}"#, r#"{"enum":["a","b"]}"#, &["ENUM_ARRAY_NARROWED"]),
        (r#"{"enum":["a","c"]}"#, r#"{"enum":["a","b"]}"#, &["ENUM_ARRAY_CHANGED"]),
        (r#"{"type":"string"}"#, r#"{"type":"string","enum":["a"]}"#, &[]),
        (r#"{"type":"string"}"#, r#"{"const":"a"}"#, &[]),
        (r#"{"type":"string","enum":["a"]}"#, r#"{"type":"string"}"#, &["ENUM_ARRAY_NARROWED"]),
        (r#"{"oneOf":[{"type":"null"},{"type":"string"}]}"#, r#"{"type":"string"}"#, &[]),
        (r#"{"type":"string"}"#, r#"{"oneOf":[{"type":"null"},{"type":"string"}]}"#, &["SUM_TYPE_NARROWED"]),
        (
            r#"{"oneOf":[{"type":"null"},{"type":"string"},{"type":"integer"}]}"#,
            r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#,
            &[],
        ),
        (
            r#"{"anyOf":[{"type":"string"}]}"#,
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            &["SUM_TYPE_NARROWED"],
        ),
        (
            r#"{"anyOf":[{"type":"boolean"},{"type":"null"}]}"#,
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            &["COMBINED_TYPE_SUBSCHEMAS_CHANGED"],
        ),
        (r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, r#"{"type":["null","string"]}"#, &[]),
        (r#"{"type":["null","string"]}"#, r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, &[]),
        (r#"{"allOf":[{"type":"string"}]}"#, r#"{"allOf":[{"type":"string"},{"maxLength":5}]}"#, &[]),
        (
            r#"{"allOf":[{"type":"string"},{"maxLength":5}]}"#,
            r#"{"allOf":[{"type":"string"}]}"#,
            &["PRODUCT_TYPE_EXTENDED", "SUM_TYPE_NARROWED"],
        ),
        (r#"{"type":"string","not":{"enum":["a"]}}"#, r#"{"type":"string"}"#, &["NOT_TYPE_EXTENDED"]),
        (r#"{"type":"string"}"#, r#"{"type":"string","not":{"enum":["a"]}}"#, &[]),
        (r#"{"not":{"enum":["a"]}}"#, r#"{"not":{"enum":["a","b"]}}"#, &[]),
        (r#"{"not":{"enum":["a","b"]}}"#, r#"{"not":{"enum":["a"]}}"#, &["NOT_TYPE_EXTENDED"]),
        (
            r#"{"type":"integer","if":{"minimum":5},"then":{"maximum":9}}"#,
            r#"{"type":"integer"}"#,
            &["TYPE_CHANGED", "TYPE_CHANGED"],
        ),
    ]);
}

#[test]
fn references_are_followed() {
    let with = |inner: &str| {
        format!(
            r##"{{"definitions":{{"d":{inner}}},"type":"object","properties":{{"a":{{"$ref":"#/definitions/d"}}}}}}"##
        )
    };
    let (string, number) = (with(r#"{"type":"string"}"#), with(r#"{"type":"number"}"#));
    check(&[
        (&number, &string, &["TYPE_CHANGED"]),
        (r#"{"type":"object","properties":{"a":{"type":"number"}}}"#, &number, &[]),
        (&number, r#"{"type":"object","properties":{"a":{"type":"number"}}}"#, &[]),
    ]);
    let found = differences(Compatibility::Backward, &schema(&number), &schema(&string));
    assert_eq!(
        found[0].description,
        "A type at path '#/properties/a' is different between the new schema and the old schema"
    );
    let tree = |value: &str| {
        format!(
            r##"{{"$id":"t","type":"object","properties":{{"v":{{"type":"{value}"}},"next":{{"$ref":"#"}}}}}}"##
        )
    };
    check(&[
        (&tree("number"), &tree("integer"), &[]),
        (&tree("integer"), &tree("number"), &["TYPE_NARROWED"]),
    ]);
}
