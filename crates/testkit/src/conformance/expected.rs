//! The kept list of a suite: a line per test, its id, what it comes to, and why when that is no pass.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What a test comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    /// It did not run, or none of its parts did.
    Skip,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        })
    }
}

/// What the tests of a suite should come to.
#[derive(Debug)]
pub struct Expectations {
    file: String,
    entries: BTreeMap<String, Verdict>,
}

impl Expectations {
    /// Reads a list.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(&name, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = || format!("{file}:{}: `{line}`", at + 1);
            let (id, rest) = line.split_once(char::is_whitespace).with_context(place)?;
            let rest = rest.trim_start();
            let (word, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let verdict = match word {
                "pass" => Verdict::Pass,
                "fail" => Verdict::Fail,
                "skip" => Verdict::Skip,
                _ => bail!("{}: neither pass, fail nor skip", place()),
            };
            if verdict != Verdict::Pass && reason.trim().is_empty() {
                bail!("{}: say why", place());
            }
            if entries.insert(id.to_owned(), verdict).is_some() {
                bail!("{}: is listed twice", place());
            }
        }
        Ok(Self { file: file.to_owned(), entries })
    }

    /// What a test should come to; what is not named should pass.
    pub fn of(&self, id: &str) -> Verdict {
        self.entries.get(id).copied().unwrap_or(Verdict::Pass)
    }

    /// The tests that are named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The list's name.
    pub fn file(&self) -> &str {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_reasons_asked_for() {
        let list = Expectations::parse("l", "# words\n0001 pass\n\n0097   skip  needs TLS\n").unwrap();
        assert_eq!(list.named().collect::<Vec<_>>(), ["0001", "0097"]);
        assert_eq!(
            (list.of("0001"), list.of("0097"), list.of("0002")),
            (Verdict::Pass, Verdict::Skip, Verdict::Pass)
        );
        for bad in ["0001", "0001 perhaps", "0001 fail", "0001 pass\n0001 pass"] {
            assert!(Expectations::parse("l", bad).is_err(), "{bad}");
        }
    }
}
