//! Apache Iceberg's REST Compatibility Kit, from Maven.
//!
//! Owns: which version; the jars in one directory.
//! Does not own: how the kit is run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, build_step, debian, fresh, suites_dir};

const VERSION: &str = "1.10.1";

/// Group, artifact, version and classifier of what the kit needs beside what those need themselves.
const ARTIFACTS: &[(&str, &str, &str, &str)] = &[
    ("org.apache.iceberg", "iceberg-open-api", VERSION, "tests"),
    ("org.apache.iceberg", "iceberg-open-api", VERSION, "test-fixtures"),
    ("org.apache.iceberg", "iceberg-core", VERSION, ""),
    ("org.apache.iceberg", "iceberg-core", VERSION, "tests"),
    ("org.apache.iceberg", "iceberg-api", VERSION, "tests"),
    ("org.junit.platform", "junit-platform-console-standalone", "1.13.4", ""),
    ("org.junit.platform", "junit-platform-suite", "1.13.4", ""),
    ("org.assertj", "assertj-core", "3.27.3", ""),
    ("org.awaitility", "awaitility", "4.3.0", ""),
    ("org.mockito", "mockito-core", "4.11.0", ""),
    ("org.slf4j", "slf4j-simple", "2.0.17", ""),
    ("org.apache.hadoop", "hadoop-client-api", "3.4.1", ""),
    ("org.apache.hadoop", "hadoop-client-runtime", "3.4.1", ""),
];

/// The directory of the jars.
pub(crate) fn jars() -> Result<PathBuf> {
    let dir = suites_dir()?.join("iceberg-kit");
    let stamp = Stamp::of(&dir, format!("{ARTIFACTS:?}"));
    debian("java", "default-jdk-headless")?;
    let jars = dir.join("jars");
    if stamp.is_current() {
        return Ok(jars);
    }
    let maven = debian("mvn", "maven")?;
    eprintln!("fetching Iceberg's REST Compatibility Kit into {}", dir.display());
    fresh(&dir)?;
    fs::write(dir.join("pom.xml"), project())?;
    build_step(
        Command::new(maven)
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", jars.display()))
            .current_dir(&dir),
    )
    .context("maven cannot fetch the REST Compatibility Kit")?;
    stamp.set()?;
    Ok(jars)
}

/// A project that is nothing but its dependencies.
fn project() -> String {
    let dependency = |(group, artifact, version, classifier): &(&str, &str, &str, &str)| {
        let classifier = match *classifier {
            "" => String::new(),
            named => format!("<classifier>{named}</classifier>"),
        };
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version>{classifier}</dependency>"
        )
    };
    let dependencies: String = ARTIFACTS.iter().map(dependency).collect();
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>conformance</groupId>\
         <artifactId>iceberg-kit</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{dependencies}</dependencies></project>\n"
    )
}
