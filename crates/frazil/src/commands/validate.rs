//! `frazil validate`: a configuration without a node.

use crate::cli::ValidateArgs;
use crate::config::Config;

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<()> {
    match Config::load(&args.file) {
        Ok(config) => {
            println!(
                "{} is valid: {} topics, {} pipelines",
                args.file.display(),
                config.topics.len(),
                config.pipelines.len()
            );
            Ok(())
        }
        Err(problems) => {
            println!("{problems}");
            let count = problems.list().len();
            anyhow::bail!("{count} {}", if count == 1 { "problem" } else { "problems" })
        }
    }
}
