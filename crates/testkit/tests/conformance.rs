//! The quick ones of librdkafka's own tests; `cargo xtask conformance` runs all of them and more suites.

use testkit::conformance::{self, Bench, librdkafka};

/// Numbers that take a few seconds: producing and consuming with all codecs, sizes, headers, timestamps, topics that
/// come into being, partial fetches, delivery reports.
const QUICK: &[&str] =
    &["0001", "0002", "0003", "0005", "0008", "0012", "0013", "0017", "0036", "0057", "0063", "0070", "0073"];

#[test]
fn librdkafkas_quick_tests_come_out_as_listed() -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("frazil-conformance-{}", uuid::Uuid::new_v4()));
    let bench = Bench { program: env!("CARGO_BIN_EXE_testnode").into(), dir: dir.clone() };
    let ids: Vec<String> = QUICK.iter().map(|id| (*id).to_owned()).collect();
    let outcomes = librdkafka::run(&bench, &ids)?;
    assert_eq!(outcomes.len(), QUICK.len());
    assert_eq!(conformance::judge("librdkafka", &librdkafka::list()?, &outcomes, false), 0, "{outcomes:#?}");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
