//! What a verification found.

use base::{Offset, PartitionId};
use serde::Serialize;
use tables::Fates;

/// Findings beyond this many are only counted.
const FINDINGS_MAX: usize = 100;

/// The account of a table, and whether its files and its log bear it out.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    pub table: String,
    /// None: nothing was committed yet.
    pub snapshot_id: Option<i64>,
    /// Whether nothing was found.
    pub ok: bool,
    /// Live data files, all of them there with the length that the manifests say.
    pub files: usize,
    /// Rows that were read.
    pub rows: u64,
    /// Rows without a partition and offset: another engine wrote them.
    pub foreign_rows: u64,
    pub dead_letter_rows: u64,
    pub partitions: Vec<PartitionAccount>,
    pub findings: Vec<String>,
    /// Findings that are not listed.
    pub more_findings: usize,
    /// What could not be checked, and why.
    pub notes: Vec<String>,
}

/// The account of one partition of one life of the topic: every offset in `[first, next)` has one fate.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionAccount {
    pub topic_id: String,
    pub partition: PartitionId,
    pub first: Offset,
    pub next: Offset,
    #[serde(flatten)]
    pub fates: AllFates,
    /// Offsets that were compared with the log one by one, `[from, to)`; none when the log does not have them any more.
    pub compared: Option<(Offset, Offset)>,
}

/// [`Fates`], all of them written out.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AllFates {
    pub rows: u64,
    pub dead_letters: u64,
    pub dropped: u64,
    pub control: u64,
    pub aborted: u64,
    pub compacted: u64,
    pub skipped: u64,
    pub forked: u64,
}

impl From<Fates> for AllFates {
    fn from(fates: Fates) -> Self {
        let Fates { rows, dead_letters, dropped, control, aborted, compacted, skipped, forked } = fates;
        Self { rows, dead_letters, dropped, control, aborted, compacted, skipped, forked }
    }
}

impl VerifyReport {
    pub(super) fn new(table: String, snapshot_id: Option<i64>) -> Self {
        Self {
            table,
            snapshot_id,
            ok: true,
            files: 0,
            rows: 0,
            foreign_rows: 0,
            dead_letter_rows: 0,
            partitions: Vec::new(),
            findings: Vec::new(),
            more_findings: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, finding: String) {
        self.ok = false;
        match self.findings.len() < FINDINGS_MAX {
            true => self.findings.push(finding),
            false => self.more_findings += 1,
        }
    }
}

/// Some of `ranges`, as people read them.
pub(super) fn some(ranges: &[(Offset, Offset)]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = ranges
        .iter()
        .take(SHOWN)
        .map(|(from, to)| if to - from == 1 { from.to_string() } else { format!("[{from}, {to})") })
        .collect();
    if ranges.len() > SHOWN {
        text.push(format!("{} more ranges", ranges.len() - SHOWN));
    }
    text.join(", ")
}
