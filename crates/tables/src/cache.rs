//! Parsed files that never change: manifests and manifest lists.
//!
//! Owns: keeping them in memory, up to a number of entries.
//! Does not own: reading them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

/// Kept by path; the oldest leave when there are more than `entries_max` entries in all.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    entries_max: usize,
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    by_path: HashMap<String, Arc<Vec<T>>>,
    order: VecDeque<String>,
    entries: usize,
}

impl<T> Cache<T> {
    pub(crate) fn new(entries_max: usize) -> Self {
        let kept = Kept { by_path: HashMap::new(), order: VecDeque::new(), entries: 0 };
        Self { entries_max, kept: Mutex::new(kept) }
    }

    pub(crate) fn get(&self, path: &str) -> Option<Arc<Vec<T>>> {
        self.kept.lock().by_path.get(path).cloned()
    }

    pub(crate) fn put(&self, path: String, entries: Arc<Vec<T>>) {
        let cost = |entries: &Vec<T>| entries.len() + 1;
        let mut kept = self.kept.lock();
        if cost(&entries) > self.entries_max || kept.by_path.contains_key(&path) {
            return;
        }
        kept.entries += cost(&entries);
        kept.order.push_back(path.clone());
        kept.by_path.insert(path, entries);
        while kept.entries > self.entries_max {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(gone) = kept.by_path.remove(&oldest) {
                kept.entries -= cost(&gone);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded() {
        let cache = Cache::<u8>::new(10);
        for i in 0..50 {
            cache.put(format!("m{i}"), Arc::new(Vec::new()));
        }
        assert_eq!(cache.kept.lock().by_path.len(), 10);
        assert!(cache.get("m49").is_some() && cache.get("m0").is_none());
        cache.put("m49".into(), Arc::new(Vec::new()));
        assert_eq!(cache.kept.lock().entries, 10);
    }
}
