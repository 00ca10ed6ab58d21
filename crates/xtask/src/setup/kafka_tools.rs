//! Kafka's own command-line tools, from Maven.
//!
//! Owns: which version; the layout `bin/*.sh`, `libs/*.jar` that programs expect below `KAFKA_PATH`.
//! Does not own: what the tools are asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, build_step, debian, fresh, suites_dir};

const VERSION: &str = "4.1.1";

/// Script in `bin`, and the class that it runs.
const TOOLS: &[(&str, &str)] = &[
    ("kafka-acls", "org.apache.kafka.tools.AclCommand"),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-dump-log", "kafka.tools.DumpLogSegments"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
];

/// Runs a class with everything in `libs`. Short-lived tools are not worth the optimising compiler.
const RUN_CLASS: &str = "\
#!/bin/sh
here=$(cd \"$(dirname \"$0\")/..\" && pwd)
exec java ${KAFKA_HEAP_OPTS:--Xmx256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto \\
  -cp \"$CLASSPATH:$here/libs/*\" \"$@\"
";

/// The directory for `KAFKA_PATH`.
pub(crate) fn kafka_path() -> Result<PathBuf> {
    let dir = suites_dir()?.join("kafka-tools");
    let stamp = Stamp::of(&dir, format!("{VERSION} {TOOLS:?} {RUN_CLASS}"));
    // A compiler, too: some of librdkafka's tests bring Java sources.
    debian("javac", "default-jdk-headless")?;
    if stamp.is_current() {
        return Ok(dir);
    }
    let maven = debian("mvn", "maven")?;
    eprintln!("fetching Kafka's tools into {}", dir.display());
    fresh(&dir)?;
    fs::write(dir.join("pom.xml"), project())?;
    build_step(
        Command::new(maven)
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", dir.join("libs").display()))
            .current_dir(&dir),
    )
    .context("maven cannot fetch Kafka's tools")?;
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    script(&bin.join("kafka-run-class.sh"), RUN_CLASS)?;
    for (name, class) in TOOLS {
        let text = format!("#!/bin/sh\nexec \"$(dirname \"$0\")/kafka-run-class.sh\" {class} \"$@\"\n");
        script(&bin.join(format!("{name}.sh")), &text)?;
    }
    stamp.set()?;
    Ok(dir)
}

/// A project that is nothing but its dependencies.
fn project() -> String {
    let dependency = |artifact: &str| {
        format!(
            "<dependency><groupId>org.apache.kafka</groupId><artifactId>{artifact}</artifactId>\
             <version>{VERSION}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>conformance</groupId>\
         <artifactId>kafka-tools</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{}{}</dependencies></project>\n",
        dependency("kafka_2.13"),
        dependency("kafka-tools"),
    )
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
