//! What is due for which table: pure, apart from what it remembers.
//!
//! Owns: the times of the last work per table.
//! Does not own: doing it (`upkeep`).
//! Invariants: nothing is remembered of tables that are gone.

use std::collections::HashMap;
use std::time::Duration;

use tables::TableIdent;

use super::UpkeepSettings;

/// One piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Compact,
    Expire,
    Manifests,
    /// Of files whose snapshots have expired.
    Delete,
    Orphans,
}

impl Work {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Compact => "compaction",
            Self::Expire => "snapshot expiry",
            Self::Manifests => "rewrite of manifests",
            Self::Delete => "deletion of expired files",
            Self::Orphans => "search for orphans",
        }
    }
}

/// Times are milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Due {
    settings: UpkeepSettings,
    started: i64,
    tables: HashMap<TableIdent, Known>,
}

#[derive(Debug, Default)]
struct Known {
    version: String,
    /// When the version was first seen.
    changed: i64,
    compacted: i64,
    /// Files of the version that was compacted last may have been too young to be taken.
    compacted_closed: bool,
    closing: i64,
    more: bool,
    expired: i64,
    orphans: i64,
    /// Unreferenced files were seen that had to wait.
    orphans_waiting: bool,
    not_before: i64,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Due {
    pub(super) fn new(settings: UpkeepSettings, now: i64) -> Self {
        Self { settings, started: now, tables: HashMap::new() }
    }

    pub(super) fn keep_only(&mut self, tables: &[TableIdent]) {
        if self.tables.len() > tables.len() {
            self.tables.retain(|ident, _| tables.contains(ident));
        }
    }

    /// What is due now. A partition counts as closed `closing` after the last commit.
    pub(super) fn look(
        &mut self,
        ident: &TableIdent,
        version: &str,
        now: i64,
        closing: i64,
        doomed: bool,
    ) -> Vec<Work> {
        let started = self.started;
        let known = self.tables.entry(ident.clone()).or_insert_with(|| Known {
            // A node that starts has other things to do first.
            compacted: now,
            expired: now,
            orphans: started,
            ..Known::default()
        });
        known.closing = closing;
        if known.version != version {
            version.clone_into(&mut known.version);
            known.changed = now;
            known.compacted_closed = false;
        }
        if now < known.not_before {
            return Vec::new();
        }
        let mut work = Vec::new();
        let fresh = known.changed >= known.compacted || known.more;
        let closed = !known.compacted_closed && now - known.changed > closing;
        if (fresh || closed) && (known.more || now - known.compacted >= ms(self.settings.compact_every)) {
            work.push(Work::Compact);
        }
        if now - known.expired >= ms(self.settings.expire_every) {
            work.extend([Work::Expire, Work::Manifests]);
        }
        if doomed {
            work.push(Work::Delete);
        }
        let every = ms(self.settings.orphans_every);
        // Files that had to wait are looked at again a little later than they may go.
        let again = if known.orphans_waiting { every.min(2 * 3_600_000) } else { every };
        if now - known.orphans >= again {
            work.push(Work::Orphans);
        }
        work
    }

    pub(super) fn done(&mut self, ident: &TableIdent, work: Work, now: i64, more: bool) {
        let Some(known) = self.tables.get_mut(ident) else { return };
        match work {
            Work::Compact => {
                // Its own commit is a change too, which brings one look that finds nothing.
                known.compacted = now;
                known.more = more;
                known.compacted_closed = now - known.changed > known.closing && !more;
            }
            Work::Expire => known.expired = now,
            Work::Orphans => {
                known.orphans = now;
                known.orphans_waiting = more;
            }
            Work::Manifests | Work::Delete => {}
        }
    }

    pub(super) fn failed(&mut self, ident: &TableIdent, now: i64) {
        if let Some(known) = self.tables.get_mut(ident) {
            known.not_before = now.saturating_add(ms(self.settings.retry_after));
            known.more = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;
    const MINUTE: i64 = 60 * SECOND;

    fn ident() -> TableIdent {
        TableIdent { namespace: vec!["public".into()], name: "t".into() }
    }

    struct Days {
        due: Due,
        version: u32,
        doomed: bool,
        done: Vec<(i64, Work)>,
    }

    impl Days {
        fn new() -> Self {
            Self { due: Due::new(UpkeepSettings::default(), 0), version: 0, doomed: false, done: Vec::new() }
        }

        fn until(&mut self, from: i64, to: i64, commit_every: Option<i64>) {
            for now in (from..to).step_by(10_000) {
                if commit_every.is_some_and(|every| now % every == 0) {
                    self.version += 1;
                }
                let version = self.version.to_string();
                for work in self.due.look(&ident(), &version, now, 10 * MINUTE, self.doomed) {
                    self.due.done(&ident(), work, now, false);
                    self.done.push((now, work));
                }
            }
        }

        fn count(&self, work: Work) -> usize {
            self.done.iter().filter(|(_, w)| *w == work).count()
        }
    }

    #[test]
    fn a_busy_table_is_looked_at_now_and_then() {
        let mut days = Days::new();
        days.until(0, 60 * MINUTE, Some(10 * SECOND));
        assert_eq!(days.count(Work::Compact), 119);
        assert_eq!(days.count(Work::Expire), 11);
        assert_eq!((days.count(Work::Orphans), days.count(Work::Delete)), (0, 0));
        days.until(60 * MINUTE, 49 * 60 * MINUTE, None);
        assert_eq!(days.count(Work::Orphans), 2);
    }

    #[test]
    fn a_table_that_rests_is_compacted_once_more_when_it_is_closed() {
        let mut days = Days::new();
        days.until(0, 2 * MINUTE, Some(10 * SECOND));
        let busy = days.count(Work::Compact);
        days.until(2 * MINUTE, 5 * 60 * MINUTE, None);
        assert!(days.count(Work::Compact) <= busy + 2, "{:?}", days.done);
        let last = days.done.iter().rev().find(|(_, w)| *w == Work::Compact).expect("one").0;
        assert!((12 * MINUTE..14 * MINUTE).contains(&last), "{last}");
    }

    #[test]
    fn what_failed_waits_and_what_is_gone_is_forgotten() {
        let mut due = Due::new(UpkeepSettings::default(), 0);
        due.look(&ident(), "1", 0, MINUTE, true);
        due.failed(&ident(), MINUTE);
        assert!(due.look(&ident(), "2", 5 * MINUTE, MINUTE, true).is_empty());
        assert!(due.look(&ident(), "2", 6 * MINUTE, MINUTE, true).contains(&Work::Compact));
        due.done(&ident(), Work::Compact, 6 * MINUTE, true);
        assert!(
            due.look(&ident(), "2", 6 * MINUTE + 1, MINUTE, false).contains(&Work::Compact),
            "there is more"
        );
        due.keep_only(&[]);
        assert!(due.tables.is_empty());
    }
}
