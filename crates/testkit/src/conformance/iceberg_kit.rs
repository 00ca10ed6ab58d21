//! Apache Iceberg's REST Compatibility Kit: its tests of catalogs and views, with Java's own client.
//!
//! Owns: the node's settings for it, how JUnit is called, reading its report.
//! Invariants: the kit comes in with client id and secret, as guests do where tokens are needed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::expected::{Expectations, Verdict};
use super::{Bench, Outcome};
use crate::outside::tool;
use crate::process::{Ports, ProcessNode};

const SECRET: &str = "of-the-kit";
/// The kit asks for tables at `file:/tmp/<namespace>/<table>` and says so to no catalog: only one whose warehouse is there
/// can give it what it asks for. Views it wants in directories of its own, which are passed over.
const SETTINGS: &str = "\
version: 1
server:
  catalog: { authentication: oauth2, root.secret: of-the-kit }
  tables: { warehouse: /tmp, requested_location: override }
";
/// What the kit wants to know of a catalog.
const ABOUT: &[&str] = &[
    "-Drck.local=false",
    "-Drck.requires-namespace-create=true",
    "-Drck.supports-serverside-retry=true",
    "-Drck.overrides-requested-location=true",
    "-Drck.supports-names-with-dot=true",
    "-Drck.purge-test-namespaces=true",
];

/// The kept list: what is not named should pass.
pub fn list() -> Result<Expectations> {
    super::kept("iceberg-kit.txt")
}

/// Runs the tests whose names hold one of `ids`, all when none is given.
pub fn run(bench: &Bench, ids: &[String]) -> Result<Vec<Outcome>> {
    let jars = tool("FRAZIL_ICEBERG_KIT")?;
    let root = bench.fresh("iceberg-kit-node")?;
    let file = root.join("frazil.yaml");
    std::fs::write(&file, SETTINGS)?;
    let file = file.display().to_string();
    let node = ProcessNode::start(&bench.program, &root.join("data"), Ports::free()?, &["-f", &file])?;
    let dir = bench.fresh("iceberg-kit")?;
    let log = std::fs::File::create(dir.join("junit.log"))?;
    let status = command(&jars, &dir, node.ports.catalog(), ids)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .context("java")?;
    let text = std::fs::read_to_string(dir.join("TEST-junit-jupiter.xml")).with_context(|| {
        let printed = std::fs::read_to_string(dir.join("junit.log")).unwrap_or_default();
        format!("JUnit ended with {status} and reported nothing: {}", super::tail(&printed, 5))
    })?;
    node.stop()?;
    Ok(read_report(&text))
}

fn command(jars: &Path, dir: &Path, port: u16, ids: &[String]) -> Command {
    let mut command = Command::new("java");
    command.args(["-XX:TieredStopAtLevel=1", "-Xmx768m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]);
    command.args(ABOUT).arg("-cp").arg(format!("{}/*", jars.display()));
    command.args(["org.junit.platform.console.ConsoleLauncher", "execute", "--disable-banner"]);
    for class in ["RESTCompatibilityKitCatalogTests", "RESTCompatibilityKitViewCatalogTests"] {
        command.arg(format!("--select-class=org.apache.iceberg.rest.{class}"));
    }
    if !ids.is_empty() {
        command.arg(format!("--include-methodname=.*({}).*", ids.join("|")));
    }
    command.args(["--details=none", "--disable-ansi-colors"]).arg("--reports-dir").arg(dir);
    command.env("CATALOG_URI", format!("http://127.0.0.1:{port}/"));
    command.env("CATALOG_WAREHOUSE", "frazil").env("CATALOG_CREDENTIAL", format!("root:{SECRET}"));
    command
}

/// The test cases of JUnit's report.
fn read_report(text: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for case in text.split("<testcase ").skip(1) {
        let (head, body) = case.split_once('>').unwrap_or((case, ""));
        let body = if head.ends_with('/') { "" } else { body.split("</testcase>").next().unwrap_or(body) };
        let class = attribute(head, "classname").rsplit('.').next().unwrap_or_default().to_owned();
        let class = class.replace("RESTCompatibilityKit", "");
        let id = format!("{class}::{}", attribute(head, "name").replace([' ', '(', ')'], ""));
        let verdict = match body {
            failed if failed.contains("<failure") || failed.contains("<error") => Verdict::Fail,
            skipped if skipped.contains("<skipped") => Verdict::Skip,
            _ => Verdict::Pass,
        };
        let message = body.split_once("message=\"").and_then(|(_, rest)| rest.split_once('"'));
        let detail: String = message.map_or("", |(message, _)| message).chars().take(200).collect();
        let took = Duration::from_secs_f64(attribute(head, "time").parse().unwrap_or_default());
        outcomes.push(Outcome { id, verdict, detail: detail.replace("&#10;", " "), took });
    }
    outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    outcomes
}

fn attribute<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    found.map_or("", |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let text = r#"<testsuite><testcase name="testA()" classname="org.x.RESTCompatibilityKitCatalogTests" time="0.5">
</testcase><testcase name="testB(boolean)[1]" classname="org.x.RESTCompatibilityKitCatalogTests" time="1">
<failure message="why&#10;so" type="x"><![CDATA[...]]></failure></testcase>
<testcase name="v()" classname="org.x.RESTCompatibilityKitViewCatalogTests" time="0"><skipped><![CDATA[no]]></skipped></testcase>
<testcase name="w()" classname="org.x.RESTCompatibilityKitViewCatalogTests" time="0"/></testsuite>"#;
        let found: Vec<_> = read_report(text).into_iter().map(|o| (o.id, o.verdict, o.detail)).collect();
        assert_eq!(
            found,
            [
                ("CatalogTests::testA".into(), Verdict::Pass, String::new()),
                ("CatalogTests::testBboolean[1]".into(), Verdict::Fail, "why so".to_owned()),
                ("ViewCatalogTests::v".into(), Verdict::Skip, String::new()),
                ("ViewCatalogTests::w".into(), Verdict::Pass, String::new()),
            ]
        );
    }
}
