//! Objects on a real and on a simulated disk.

use std::path::Path as FilePath;

use super::*;
use crate::directory::tests::temporary;
use crate::disk::{Disk, OpenMode, RealDisk};
use crate::simulated::SimulatedDisk;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(work)
}

#[test]
fn puts_gets_lists_and_deletes() {
    let dir = temporary();
    let objects = Objects::local(Arc::new(RealDisk), dir.path().join("warehouse"));
    let a = format!("{}/public/t/data/a.parquet", objects.root());
    block_on(async {
        assert_eq!(objects.size(&a).await.expect("size"), None);
        objects.put_new(&a, Bytes::from_static(b"hello")).await.expect("put");
        assert!(matches!(objects.put_new(&a, Bytes::new()).await, Err(ObjectError::Exists { .. })));
        assert_eq!(objects.get(&a).await.expect("get"), Bytes::from_static(b"hello"));
        let range = objects.store().get_range(&objects.path(&a).expect("path"), 1..3).await.expect("range");
        assert_eq!(range, Bytes::from_static(b"el"));
        assert_eq!(
            objects.list(&format!("{}/public", objects.root())).await.expect("list"),
            [(a.clone(), 5)]
        );
        objects.delete(&a).await.expect("delete");
        objects.delete(&a).await.expect("again");
        assert!(matches!(objects.get(&a).await, Err(ObjectError::NotFound { .. })));
    });
}

#[test]
fn what_a_killed_writer_left_is_swept_when_it_is_old() {
    let dir = temporary();
    let objects = Objects::local(Arc::new(RealDisk), dir.path().join("warehouse"));
    let a = format!("{}/public/t/data/a.parquet", objects.root());
    let table = format!("{}/public/t", objects.root());
    block_on(async {
        objects.put_new(&a, Bytes::from_static(b"hello")).await.expect("put");
        let half = dir.path().join("warehouse/public/t/data/.tmp-half");
        std::fs::write(&half, b"he").expect("a writer that was killed");
        let listed = objects.list_aged(&table).await.expect("list");
        assert!(listed.len() == 1 && listed[0].modified_ms > 1_700_000_000_000, "{listed:?}");
        assert_eq!(objects.sweep(&table, listed[0].modified_ms - 60_000).await.expect("young"), 0);
        assert_eq!(objects.sweep(&table, i64::MAX).await.expect("old"), 1);
        assert!(!half.exists() && objects.size(&a).await.expect("size").is_some());
        assert_eq!(objects.sweep(&format!("{}/nowhere", objects.root()), i64::MAX).await.expect("none"), 0);
    });
}

#[test]
fn locations_outside_the_root_are_refused() {
    let objects = Objects::local(Arc::new(RealDisk), "/data/warehouse".into());
    for bad in [
        "file:///etc/passwd",
        "file:///data/warehouse/../secret",
        "file:///data/warehouse2/x",
        "s3://data/warehouse/x",
        "/data/warehouse/x",
        "file:///data/warehouse/a/./b",
    ] {
        assert!(matches!(objects.path(bad), Err(ObjectError::Outside { .. })), "{bad}");
    }
    assert!(objects.path("file:///data/warehouse/a/b=1/c.parquet").is_ok());
}

async fn grown(objects: &Objects, location: &str, n: u8) -> Result<(), ObjectError> {
    let (directory, _) = location.rsplit_once('/').expect("a directory");
    let mut growing = objects.begin(directory).await?;
    for part in [1000, 0, 1500, 500] {
        growing.append(Bytes::from(vec![n; part])).await?;
    }
    growing.finish(location).await
}

#[test]
fn an_object_in_the_making_is_not_there_yet() {
    let dir = temporary();
    let objects = Objects::local(Arc::new(RealDisk), dir.path().join("warehouse"));
    let directory = format!("{}/public/t", objects.root());
    let a = format!("{directory}/a");
    block_on(async {
        let mut growing = objects.begin(&directory).await.expect("begin");
        growing.append(Bytes::from_static(b"half")).await.expect("append");
        assert_eq!(objects.list(&directory).await.expect("list"), []);
        drop(growing);
        assert_eq!(objects.sweep(&directory, i64::MAX).await.expect("sweep"), 1);
        grown(&objects, &a, 7).await.expect("grown");
        assert_eq!(objects.get(&a).await.expect("get"), Bytes::from(vec![7; 3000]));
        assert!(matches!(grown(&objects, &a, 8).await, Err(ObjectError::Exists { .. })));
        assert_eq!(objects.get(&a).await.expect("get"), Bytes::from(vec![7; 3000]));
        let outside = objects.begin("file:///etc").await;
        assert!(matches!(outside, Err(ObjectError::Outside { .. })));
    });
}

#[test]
fn a_put_that_returned_survives_every_power_cut() {
    for seed in 0..200 {
        let disk = SimulatedDisk::new();
        let root = FilePath::new("/data/warehouse");
        let objects = Objects::local(Arc::new(disk.clone()), root.to_owned());
        disk.cut_power_after(seed % 23);
        let mut kept = Vec::new();
        block_on(async {
            for n in 0..6 {
                let location = format!("{}/t{}/{n}", objects.root(), n % 2);
                let put = match n % 3 {
                    0 => grown(&objects, &location, n).await,
                    _ => objects.put_new(&location, Bytes::from(vec![n; 3000])).await,
                };
                if put.is_ok() {
                    kept.push((location, n));
                }
            }
        });
        let after = Objects::local(Arc::new(disk.after_power_cut(seed)), root.to_owned());
        block_on(async {
            for (location, n) in &kept {
                assert_eq!(
                    after.get(location).await.expect("kept"),
                    Bytes::from(vec![*n; 3000]),
                    "seed {seed}"
                );
            }
        });
    }
}

#[test]
fn what_others_wrote_survives_a_power_cut_once_it_was_made_durable() {
    let file = FilePath::new("/data/warehouse/public/t/data/guest.parquet");
    let written = |disk: &SimulatedDisk| {
        disk.create_dir_all(file.parent().expect("directory")).expect("directory");
        disk.open(file, OpenMode::Create).expect("file").write_at(0, b"rows").expect("write");
    };
    let survives = |disk: &SimulatedDisk| {
        (0..20).all(|seed| {
            let disk = disk.after_power_cut(seed);
            disk.exists(file) && crate::disk::read_file(&disk, file).expect("read") == b"rows"
        })
    };
    let (careless, careful) = (SimulatedDisk::new(), SimulatedDisk::new());
    written(&careless);
    assert!(!survives(&careless), "nobody synced it");
    written(&careful);
    let objects = Objects::local(Arc::new(careful.clone()), "/data/warehouse".into());
    // As Java's programs write it.
    let location = format!("file:{}", file.display());
    block_on(objects.make_durable(std::slice::from_ref(&location))).expect("durable");
    assert!(survives(&careful));
    let missing = [location, format!("{}/public/t/data/none", objects.root())];
    let missing = block_on(objects.make_durable(&missing));
    assert!(matches!(missing, Err(ObjectError::NotFound { location }) if location.ends_with("none")));
}
