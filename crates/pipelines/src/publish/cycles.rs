//! Whether a pipeline would feed itself.
//!
//! Owns: the search for a cycle, pure.
//! Does not own: what a pipeline reads (its SQL says) or stores.

use std::collections::{BTreeMap, BTreeSet};

/// What a pipeline reads and writes, by table name.
#[derive(Debug, Clone)]
pub(crate) struct Edges {
    pub(crate) reads: BTreeSet<String>,
    pub(crate) writes: String,
}

/// The way from a table back to itself through `name`, as `a → p → b → q → a`; none when there is none.
pub(crate) fn cycle_through(name: &str, pipelines: &BTreeMap<String, Edges>) -> Option<String> {
    let own = pipelines.get(name)?;
    let mut path = vec![own.writes.clone()];
    let mut seen = BTreeSet::from([own.writes.clone()]);
    if own.reads.contains(&own.writes) {
        return Some(format!("{} → {name} → {}", own.writes, own.writes));
    }
    search(name, own, pipelines, &mut path, &mut seen).then(|| {
        let first = path[0].clone();
        path.push(name.to_owned());
        path.push(first);
        path.join(" → ")
    })
}

/// Follows writers from the end of `path` until a table that `own` reads is reached.
fn search(
    name: &str,
    own: &Edges,
    pipelines: &BTreeMap<String, Edges>,
    path: &mut Vec<String>,
    seen: &mut BTreeSet<String>,
) -> bool {
    let here = path.last().cloned().unwrap_or_default();
    if own.reads.contains(&here) {
        return true;
    }
    for (other, edges) in pipelines.iter().filter(|(other, _)| *other != name) {
        if edges.reads.contains(&here) && seen.insert(edges.writes.clone()) {
            path.push(other.clone());
            path.push(edges.writes.clone());
            if search(name, own, pipelines, path, seen) {
                return true;
            }
            path.truncate(path.len() - 2);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str], &str)]) -> BTreeMap<String, Edges> {
        edges
            .iter()
            .map(|(name, reads, writes)| {
                let reads = reads.iter().map(|r| (*r).to_owned()).collect();
                ((*name).to_owned(), Edges { reads, writes: (*writes).to_owned() })
            })
            .collect()
    }

    #[test]
    fn finds_cycles_and_shows_the_way() {
        let direct = graph(&[("p", &["a"], "a")]);
        assert_eq!(cycle_through("p", &direct).as_deref(), Some("a → p → a"));
        let far =
            graph(&[("p", &["a", "x"], "b"), ("q", &["b"], "c"), ("r", &["c"], "a"), ("s", &["b"], "z")]);
        assert_eq!(cycle_through("p", &far).as_deref(), Some("b → q → c → r → a → p → b"));
        assert_eq!(cycle_through("s", &far), None, "s only looks on");
        let chain = graph(&[("p", &["a"], "b"), ("q", &["b"], "c"), ("r", &["a", "b"], "c")]);
        for name in ["p", "q", "r"] {
            assert_eq!(cycle_through(name, &chain), None, "{name}");
        }
    }
}
