//! Logs, to standard error.
//!
//! Owns: the filter and form of log lines.
//! Does not own: metrics (the admin door) and what is logged.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging with a filter such as `info` or `warn,gateway=debug`. A second call changes nothing.
pub fn init(filter: &str) -> anyhow::Result<()> {
    check_level(filter).map_err(|e| anyhow::anyhow!("--log-level: {e}"))?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Tests start several nodes in one process; the first one's choice stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .try_init();
    Ok(())
}

/// Whether `filter` is one.
pub fn check_level(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(|_| ()).map_err(|_| {
        format!(
            "`{filter}` is no log filter: write error, warn, info, debug or trace, or `info,gateway=debug`"
        )
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn filters() {
        assert!(super::check_level("info").is_ok());
        assert!(super::check_level("warn,gateway=debug").is_ok());
        assert!(super::check_level("gateway=loud").is_err());
    }
}
