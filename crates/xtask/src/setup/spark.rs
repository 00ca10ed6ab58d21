//! Apache Spark with Iceberg's runtime.
//!
//! Owns: which versions, from PyPI and Maven Central. Does not own: what Spark is asked.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, build_step, debian, fresh, quiet, suites_dir, verify_sha256};

const PACKAGES: &[&str] = &["pyspark==4.1.4", "pyarrow==26.0.1"];
/// Of Spark's minor version.
const RUNTIME: &str = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0";
const RUNTIME_FILE: &str = "iceberg-spark-runtime-4.1_2.13-1.12.0.jar";
const SHA256: &str = "3123c3798af642dd537230923548e013ef41cc28b6626e5225808cf5670a0f82";

/// The Python to run Spark with, and the runtime for its class path.
#[derive(Debug)]
pub(crate) struct Spark {
    pub(crate) python: PathBuf,
    pub(crate) jar: PathBuf,
}

/// Installs both; Spark 4 needs Java 17 or later.
pub(crate) fn spark() -> Result<Spark> {
    debian("java", "default-jdk-headless")?;
    let dir = suites_dir()?.join("spark");
    let spark = Spark { python: dir.join("environment/bin/python"), jar: dir.join(RUNTIME_FILE) };
    let stamp = Stamp::of(&dir, format!("{PACKAGES:?} {RUNTIME} {SHA256}"));
    if stamp.is_current() {
        return Ok(spark);
    }
    let (system, maven) = (debian("python3", "python3")?, debian("mvn", "maven")?);
    eprintln!("fetching Spark into {}", dir.display());
    fresh(&dir)?;
    quiet(Command::new(system).args(["-m", "venv", "environment"]).current_dir(&dir))
        .context("python3 -m venv failed; type: sudo apt-get install -y python3-venv")?;
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"];
    quiet(Command::new(&spark.python).args(pip).args(PACKAGES).current_dir(&dir)).context("pip install")?;
    build_step(
        Command::new(maven)
            .args(["-q", "-B", "dependency:copy", "-Dmdep.useBaseVersion=true"])
            .arg(format!("-Dartifact={RUNTIME}"))
            .arg(format!("-DoutputDirectory={}", dir.display()))
            .current_dir(&dir),
    )
    .context("maven cannot fetch Iceberg's runtime for Spark")?;
    verify_sha256(&spark.jar, SHA256)?;
    stamp.set()?;
    Ok(spark)
}
