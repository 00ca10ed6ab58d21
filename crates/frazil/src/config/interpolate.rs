//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `$$`: in values, after parsing, so that a variable can never change
//! the structure of the file.

use super::problem::Problems;
use super::tree::{Node, Value};

/// Looks up a variable.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces references in all scalars below `node`; keys stay as they are.
pub(crate) fn interpolate(node: &mut Node, variables: Variables<'_>, problems: &mut Problems) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(text) => match replaced(text, variables) {
            Ok(Some(new)) => *text = new,
            Ok(None) => {}
            Err(reason) => problems.add(node.place.clone(), "", reason),
        },
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, variables, problems)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, _, value)| interpolate(value, variables, problems));
        }
    }
}

/// The text with its references replaced; none when there are none.
fn replaced(text: &str, variables: Variables<'_>) -> Result<Option<String>, String> {
    if !text.contains('$') {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}').ok_or_else(|| format!("`${{` without `}}` in `{text}`"))?;
            out.push_str(&lookup(&inner[..end], variables)?);
            rest = &inner[end + 1..];
        } else {
            // `$1` in SQL, or a price: not ours.
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(Some(out))
}

fn lookup(reference: &str, variables: Variables<'_>) -> Result<String, String> {
    let end = reference.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(reference.len());
    let (name, rule) = reference.split_at(end);
    if reference.starts_with("secret:") {
        return Err(format!(
            "`${{{reference}}}`: secrets are not available yet; use an environment variable"
        ));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`${{{reference}}}` names no variable"));
    }
    let value = variables(name);
    // As in the shell: `:-` and `:?` treat an empty variable like a missing one.
    let filled = value.clone().filter(|v| !v.is_empty());
    if rule.is_empty() {
        value.ok_or_else(|| format!("variable {name} is not set; set it, or write `${{{name}:-default}}`"))
    } else if let Some(default) = rule.strip_prefix(":-") {
        Ok(filled.unwrap_or_else(|| default.to_owned()))
    } else if let Some(message) = rule.strip_prefix(":?") {
        filled.ok_or_else(|| format!("variable {name} is not set: {message}"))
    } else {
        Err(format!(
            "`${{{reference}}}`: write `${{{name}}}`, `${{{name}:-default}}` or `${{{name}:?message}}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        let variables = |name: &str| match name {
            "HOST" => Some("example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        replaced(text, &variables).map(|r| r.unwrap_or_else(|| text.to_owned()))
    }

    #[test]
    fn references_follow_the_shell() {
        for (text, want) in [
            ("plain", "plain"),
            ("${HOST}:9092", "example.org:9092"),
            ("a${HOST}b${HOST}c", "aexample.orgbexample.orgc"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${MISSING:-}", ""),
            ("${MISSING:-a: b}", "a: b"),
            ("${HOST:?must be set}", "example.org"),
            ("$$HOME $1 5$", "$HOME $1 5$"),
            ("$${HOST}", "${HOST}"),
        ] {
            assert_eq!(run(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn bad_references_say_what_to_write() {
        for (text, part) in [
            ("${MISSING}", "MISSING is not set"),
            ("${EMPTY:?give me a host}", "give me a host"),
            ("${HOST", "without `}`"),
            ("${}", "names no variable"),
            ("${HOST:+x}", "write `${HOST}`"),
            ("${secret:TOKEN}", "not available yet"),
        ] {
            let error = run(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
