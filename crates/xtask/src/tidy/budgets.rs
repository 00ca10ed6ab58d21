//! Budgets: files of at most 500 lines, functions of at most 70, words and calls that are not used here.
//!
//! Owns: the limits, and the ratchet for what is over them. Does not own: layers.
//! Invariants: the ratchet only shrinks: an entry that is not needed any more, or could be lower, is a violation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Source, sources};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const RATCHET: &str = "crates/xtask/ratchet.txt";
const NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "misc", "imp", "v2", "mod"];

/// Text, where it may stand, and what to use instead.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("todo!(", &[], "finish it, or leave it out"),
    ("unimplemented!(", &[], "finish it, or leave it out"),
    ("#[ignore", &[], "assert what is true today; slow tests run under FRAZIL_LONG"),
    ("unbounded_channel", &[], "a channel with a limit"),
    ("tokio::spawn(", &["crates/base/src/tasks.rs"], "base::Supervisor::spawn"),
    ("SystemTime::now(", &["crates/base/src/clock.rs"], "base::Clock"),
];

pub(super) fn check(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    let ratchet = ratchet(root)?;
    let mut over = BTreeMap::new();
    for source in sources(root)? {
        let stem =
            Path::new(&source.path).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if NAMES.contains(&stem.as_str()) {
            problems.push(format!("{}: `{stem}` says nothing; name the thing", source.path));
        }
        if source.is_test()
            || source.path.starts_with("crates/testkit")
            || source.path.starts_with("crates/xtask/src/tidy")
        {
            continue;
        }
        let production = production(&source.text);
        check_words(&source, production, problems);
        if source.path.contains("/src/") && !source.text.starts_with("//!") {
            problems
                .push(format!("{}: begins without a module doc (purpose, owns, does not own)", source.path));
        }
        let lines = production.lines().count();
        if lines > FILE_LINES_MAX {
            over.insert(source.path.clone(), lines);
        }
        for (name, lines) in functions(production) {
            if lines > FUNCTION_LINES_MAX {
                over.insert(format!("{}::{name}", source.path), lines);
            }
        }
    }
    compare(&over, &ratchet, problems);
    Ok(())
}

fn check_words(source: &Source, production: &str, problems: &mut Vec<String>) {
    for (text, allowed, instead) in BANNED {
        if allowed.contains(&source.path.as_str()) {
            continue;
        }
        if let Some(line) =
            production.lines().position(|l| l.contains(text) && !l.trim_start().starts_with("//"))
        {
            problems.push(format!("{}:{}: `{text}` is not used here: {instead}", source.path, line + 1));
        }
    }
}

/// What stands before the file's own test module.
fn production(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |end| &text[..end])
}

/// Name and number of lines of every function with a body, by the indentation that rustfmt gives.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let Some(at) = trimmed.find("fn ") else { continue };
        let head = &trimmed[..at];
        let is_head = head.split_whitespace().all(|w| {
            w.starts_with("pub")
                || matches!(w, "async" | "const" | "unsafe" | "extern" | "in" | "crate)" | "super)")
        });
        if !is_head {
            continue;
        }
        let name: String =
            trimmed[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let close = format!("{}}}", " ".repeat(indent));
        let end =
            lines[start..].iter().position(|l| *l == close || (l.len() == indent + 1 && l.ends_with('}')));
        let ends_at_once = lines[start].ends_with('}') || lines[start].ends_with(';');
        if let (Some(length), false) = (end, ends_at_once) {
            found.push((name, length + 1));
        }
    }
    found
}

fn ratchet(root: &Path) -> Result<BTreeMap<String, usize>> {
    let text = fs::read_to_string(root.join(RATCHET)).unwrap_or_default();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (lines, name) = line.split_once(' ').with_context(|| format!("{RATCHET}: `{line}`"))?;
            Ok((name.trim().to_owned(), lines.parse().with_context(|| format!("{RATCHET}: `{line}`"))?))
        })
        .collect()
}

fn compare(over: &BTreeMap<String, usize>, ratchet: &BTreeMap<String, usize>, problems: &mut Vec<String>) {
    for (name, lines) in over {
        match ratchet.get(name) {
            None => problems.push(format!(
                "{name}: {lines} lines; a file has at most {FILE_LINES_MAX}, a function {FUNCTION_LINES_MAX}"
            )),
            Some(limit) if lines > limit => {
                problems.push(format!("{name}: grew from {limit} to {lines} lines; make it smaller"))
            }
            Some(_) => {}
        }
    }
    for (name, limit) in ratchet {
        if over.get(name).is_none_or(|lines| lines < limit) {
            problems.push(format!("{RATCHET}: {name} is better than {limit} now: lower or remove its line"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured() {
        let text = "fn a() {\n    x;\n}\n\nimpl A {\n    pub(crate) async fn b(\n        c: u8,\n    ) {\n        y;\n    }\n    fn d() {}\n}\n";
        assert_eq!(functions(text), [("a".to_owned(), 3), ("b".to_owned(), 5)]);
    }

    #[test]
    fn the_ratchet_only_shrinks() {
        let over = BTreeMap::from([("a".to_owned(), 80), ("b".to_owned(), 90)]);
        let ratchet = BTreeMap::from([("a".to_owned(), 85), ("b".to_owned(), 88), ("c".to_owned(), 100)]);
        let mut problems = Vec::new();
        compare(&over, &ratchet, &mut problems);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
