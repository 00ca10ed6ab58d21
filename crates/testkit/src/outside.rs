//! Programs that nobody here wrote.
//!
//! Owns: where they are (the test command says so) and how they are called.
//! Invariants: a missing one fails with its cure; nothing is skipped.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where the test command says that a program or directory is.
pub fn tool(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run the tests with `cargo xtask test`"))?;
    Ok(path.into())
}

/// Runs a script of `crates/testkit/python` and returns what it printed.
pub fn python(script: &str, args: &[&str], input: &str) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(tool("FRAZIL_PYTHON")?);
    command.arg("-W").arg("ignore").arg(script).args(args);
    run(command, input)
}

/// The same with the Python that has Spark, which only the long run installs.
pub fn spark(script: &str, args: &[&str], input: &str) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(tool("FRAZIL_SPARK_PYTHON")?);
    command.arg("-W").arg("ignore").arg(script).args(args).env("FRAZIL_SPARK_JAR", tool("FRAZIL_SPARK_JAR")?);
    run(command, input)
}

/// A script of `crates/testkit/python` that runs beside the test and is told what to do.
#[derive(Debug)]
pub struct Companion {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Companion {
    /// Starts it; what it complains about goes to the test's own standard error.
    pub fn start(script: &str, args: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let mut command = Command::new(tool("FRAZIL_PYTHON")?);
        command.arg("-W").arg("ignore").arg(script).args(args).env_remove("LD_LIBRARY_PATH");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Self { child, output })
    }

    /// Gives it a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its input is closed")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Waits for a line of its.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("it ended: {}", self.child.wait()?);
        }
        Ok(line.trim_end().to_owned())
    }

    /// Closes its input; the rest of what it prints.
    pub fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("it ended with {status}");
        }
        Ok(rest)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs kcat and returns what it printed.
pub fn kcat(args: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(tool("FRAZIL_KCAT")?);
    command.args(args);
    run(command, input)
}

/// Runs psql without its start-up file and returns what it printed.
pub fn psql(port: u16, args: &[&str]) -> Result<String> {
    let mut command = Command::new(tool("FRAZIL_PSQL")?);
    command
        .args(["-X", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "judge", "-d", "frazil"])
        .args(args);
    run(command, "")
}

fn run(mut command: Command, input: &str) -> Result<String> {
    // cargo names our own build of librdkafka there, and the judges must not be linked with it.
    command.env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = command.spawn().with_context(|| shown.clone())?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let input = input.to_owned();
    // Written from a thread of its own: a program that prints before it has read everything must not block.
    let feeding = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program that ends early closes its input; its exit code tells.
    let _ = feeding.join();
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
