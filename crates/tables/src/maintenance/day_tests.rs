//! A day of a commit every ten seconds: nothing grows with the number of commits.

use std::collections::BTreeMap;

use super::{HOUR, MINUTE};
use crate::fixture::{Fixture, advance, rows, schema};
use crate::maintenance::{Compact, Expire, Orphans};
use crate::{Settings, TableIdent};

const SECOND: i64 = 1_000;

/// How large a table is for those who plan and open it.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    metadata_bytes: usize,
    snapshots: usize,
    live_files: usize,
    manifests: usize,
    files_on_disk: usize,
}

async fn size(f: &Fixture, ident: &TableIdent) -> Size {
    let table = f.tables.load(ident).await.expect("load");
    Size {
        metadata_bytes: table.metadata_json().expect("json").len(),
        snapshots: table.snapshots().len(),
        live_files: f.tables.scan(&table, None).await.expect("scan").files.len(),
        manifests: f.tables.data_manifests(&table).await.expect("manifests"),
        files_on_disk: f.files(&table).await.len(),
    }
}

/// The node's duty in small: compaction after commits, the rest every few minutes.
async fn upkeep(f: &Fixture, ident: &TableIdent, at: i64) {
    f.tables.compact(ident, &Compact::default()).await.expect("compact");
    if at % (5 * MINUTE) == 0 {
        f.tables.rewrite_manifests(ident, false).await.expect("manifests");
        f.tables.expire_snapshots(ident, &Expire::default()).await.expect("expire");
        f.tables.delete_doomed(ident).await.expect("delete");
    }
    if at % (6 * HOUR) == 0 {
        f.tables.remove_orphans(ident, &Orphans::default()).await.expect("orphans");
    }
}

/// Commits of one row every `step` for `hours`; the sizes at the end of each hour.
async fn run(hours: i64, step: i64) -> Vec<Size> {
    let f = Fixture::with(Settings { metadata_previous_max: 10, ..Settings::default() });
    let table = f.create("t", schema(), "").await;
    let ident = table.ident.clone();
    let mut sizes = Vec::new();
    for i in 0..hours * HOUR / step {
        f.clock.advance(step);
        let staged = f.stage(&table, &rows(i, i + 1)).await;
        f.tables.append(&ident, staged, vec![advance(0, i, i + 1)], BTreeMap::new()).await.expect("append");
        let at = (i + 1) * step;
        if at % MINUTE == 0 {
            upkeep(&f, &ident, at).await;
        }
        if at % HOUR == 0 {
            sizes.push(size(&f, &ident).await);
        }
    }
    let count = hours * HOUR / step;
    assert_eq!(f.ids(&ident).await, (0..count).collect::<Vec<_>>());
    sizes
}

/// From the third hour on, an hour adds what the thinning keeps of it: six snapshots with a few files each.
fn check_flat(sizes: &[Size], commits_per_hour: usize) {
    for (hour, size) in sizes.iter().enumerate() {
        assert!(size.live_files < 60, "hour {hour}: {size:?}");
        assert!(size.manifests < 100, "hour {hour}: {size:?}");
        assert!(size.snapshots < 2 * commits_per_hour + 7 * (hour + 1) + 30, "hour {hour}: {size:?}");
    }
    let (early, late) = (sizes[2], sizes[sizes.len() - 1]);
    let hours = sizes.len() - 3;
    assert!(late.snapshots <= early.snapshots + 7 * hours + 20, "{early:?} {late:?}");
    assert!(late.metadata_bytes <= early.metadata_bytes + (7 * hours + 20) * 2_000, "{early:?} {late:?}");
    assert!(late.files_on_disk <= early.files_on_disk + hours * 130 + 200, "{early:?} {late:?}");
}

/// Four hours of a commit every two minutes; with `FRAZIL_LONG` a day of one every ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_commits_leaves_a_table_small() {
    let long = std::env::var_os("FRAZIL_LONG").is_some();
    let (hours, step) = if long { (24, 10 * SECOND) } else { (4, 2 * MINUTE) };
    let sizes = run(hours, step).await;
    for (hour, size) in sizes.iter().enumerate() {
        println!("after hour {}: {size:?}", hour + 1);
    }
    check_flat(&sizes, (HOUR / step) as usize);
}
