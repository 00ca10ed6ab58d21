//! `frazil validate`: a configuration without a node.

use crate::cli::ValidateArgs;
use crate::config::Config;

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<()> {
    match Config::load(&args.file) {
        Ok(config) => {
            println!(
                "{} is valid: {}, {}",
                args.file.display(),
                counted(config.topics.len(), "topic"),
                counted(config.pipelines.len(), "pipeline")
            );
            Ok(())
        }
        Err(problems) => {
            println!("{problems}");
            anyhow::bail!("{}", counted(problems.list().len(), "problem"))
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
