//! Names of namespaces and tables, and where a table's files lie.
//!
//! Owns: which names are allowed; the directory of a new table.
//! Invariants: a name never leaves its directory, whatever reads the location.

use uuid::Uuid;

use super::{CatalogError, TableIdent, Tables};

/// Most bytes of one name.
const NAME_BYTES_MAX: usize = 255;
/// Most characters of a directory made from a name: with a suffix, file systems take 255.
const DIRECTORY_CHARS_MAX: usize = 200;
/// Characters of a suffix that tells directories apart.
const SUFFIX_CHARS: usize = 8;
/// Most levels of a namespace.
const LEVELS_MAX: usize = 8;

pub(crate) fn check_ident(ident: &TableIdent) -> Result<(), CatalogError> {
    check_namespace(&ident.namespace)?;
    check_name("table", &ident.name)
}

pub(crate) fn check_namespace(namespace: &[String]) -> Result<(), CatalogError> {
    if namespace.is_empty() || namespace.len() > LEVELS_MAX {
        let why = format!("a namespace has 1 to {LEVELS_MAX} levels, not {}", namespace.len());
        return Err(CatalogError::Invalid(why));
    }
    namespace.iter().try_for_each(|level| check_name("namespace", level))
}

fn check_name(what: &str, name: &str) -> Result<(), CatalogError> {
    let refuse = |why: &str| Err(CatalogError::Invalid(format!("{what} name {name:?}: {why}")));
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(CatalogError::Invalid(format!(
            "a {what} name has at most {NAME_BYTES_MAX} bytes, this one has {}",
            name.len()
        )));
    }
    if name.starts_with('.') || name.contains("..") {
        return refuse("it may not begin with a dot or contain two in a row");
    }
    if name.contains("${") {
        return refuse("it may not contain `${`");
    }
    if let Some(c) = name.chars().find(|c| c.is_control() || matches!(c, '/' | '\\' | '%' | '*' | '?')) {
        return refuse(&format!("it may not contain {c:?}"));
    }
    Ok(())
}

/// A directory name that means the same to every reader of a location, and whether it differs from `name`.
fn directory(name: &str) -> (String, bool) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '=' | '@');
    let safe = name.chars().map(|c| if plain(c) { c } else { '_' });
    let safe: String = safe.take(DIRECTORY_CHARS_MAX).collect();
    let changed = safe != name;
    (safe, changed)
}

/// The directory that a table gets when nothing is in the way, and whether it needs a suffix in any case.
pub(super) fn base_location(root: &str, ident: &TableIdent) -> (String, bool) {
    let mut location = root.to_owned();
    let mut suffixed = false;
    for name in [&ident.namespace.join("."), &ident.name] {
        let (name, changed) = directory(name);
        location.push('/');
        location.push_str(&name);
        suffixed |= changed;
    }
    (location, suffixed)
}

/// Whether `rest` is a suffix that was given to a table's directory, with what lies below.
pub(super) fn is_suffix(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix('-') else { return false };
    let (suffix, _) = rest.split_once('/').unwrap_or((rest, ""));
    suffix.len() == SUFFIX_CHARS && suffix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Tables {
    /// Where a new table's files go: `<warehouse>/<namespace>/<table>`, with a suffix when files of a dropped table
    /// lie there, or when the name had to be changed. All levels of a namespace are one directory: below a table's
    /// directory there are no other tables, so that a purge takes none along.
    pub(super) async fn free_location(&self, ident: &TableIdent) -> Result<String, CatalogError> {
        let (mut location, suffixed) = base_location(self.objects().root(), ident);
        if suffixed || !self.objects().list(&location).await?.is_empty() {
            let id = Uuid::new_v4().simple().to_string();
            location.push('-');
            location.push_str(&id[..SUFFIX_CHARS]);
        }
        Ok(location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        for good in ["trades", "trades~dlq", "shop.public.orders", "Größe", "a b", &"x".repeat(255)] {
            assert!(check_name("table", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a..b",
            "a/b",
            "a\\b",
            "a%2Fb",
            "a*",
            "a?",
            "a\0",
            "a\n",
            "${HOME}",
            &"x".repeat(256),
        ] {
            assert!(check_name("table", bad).is_err(), "{bad}");
        }
        assert!(check_namespace(&[]).is_err());
        assert_eq!(directory("a b#c"), ("a_b_c".into(), true));
    }
}
