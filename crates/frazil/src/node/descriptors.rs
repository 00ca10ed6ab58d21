//! How many files the process may have open.
//!
//! Owns: raising the limit to what the system allows, fitting the settings into what there is.
//! Does not own: who opens files.

use super::NodeSettings;

/// Fewer are not enough for the doors, the log and one table.
const LEAST: u64 = 128;
/// Sixteenths of the limit that may be had at most by connections of the Kafka door, by those of each of the four other
/// doors, and by segment files. What is left is for tables, control store and clients of the node's own.
const KAFKA_SHARE: u64 = 9;
const OTHER_SHARE: u64 = 1;
const SEGMENTS_SHARE: u64 = 2;

/// Raises the limit and makes the settings fit; the error says what to type.
pub(super) fn fit(settings: &mut NodeSettings) -> anyhow::Result<()> {
    // Where it cannot be told it is not a limit that we know how to raise.
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX);
    fit_into(limit, settings)
}

fn fit_into(limit: u64, settings: &mut NodeSettings) -> anyhow::Result<()> {
    anyhow::ensure!(
        limit >= LEAST,
        "only {limit} files may be open at once, at least {LEAST} are needed: raise the limit with `ulimit -n 65536` \
         (for a service: LimitNOFILE=65536) and start again"
    );
    let share = |sixteenths: u64| usize::try_from(limit / 16 * sixteenths).unwrap_or(usize::MAX);
    let connections = settings.limits.connections_max;
    settings.log.open_files_max = settings.log.open_files_max.min(share(SEGMENTS_SHARE));
    settings.limits.connections_max = connections.min(share(KAFKA_SHARE));
    settings.other_connections_max = settings.other_connections_max.min(share(OTHER_SHARE));
    if settings.limits.connections_max < connections {
        tracing::warn!(
            files = limit,
            connections = settings.limits.connections_max,
            "few files may be open at once, so doors take fewer connections; `ulimit -n 65536` gives more"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fit_into_the_limit_or_the_error_says_what_to_type() {
        let mut settings = NodeSettings::new("/nowhere");
        let (files, connections) = (settings.log.open_files_max, settings.limits.connections_max);
        fit_into(1 << 20, &mut settings).expect("plenty");
        assert_eq!((settings.log.open_files_max, settings.limits.connections_max), (files, connections));
        fit_into(256, &mut settings).expect("enough");
        assert_eq!((settings.log.open_files_max, settings.limits.connections_max), (32, 144));
        assert_eq!(settings.other_connections_max, 16);
        let most = settings.log.open_files_max + 144 + 4 * 16;
        assert!(most < 256, "{most}: all doors together leave files to the tables");
        let error = fit_into(64, &mut settings).expect_err("too few").to_string();
        assert!(error.contains("ulimit -n"), "{error}");
    }
}
