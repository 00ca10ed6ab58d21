//! The nearest known name, for "did you mean".

/// The known name that `wrong` most likely meant; none when nothing is near.
pub(crate) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = (wrong.chars().count() / 3).max(1) + 1;
    known
        .iter()
        .map(|name| (distance(&wrong.to_ascii_lowercase(), name), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) from `a` to `b`; names are short, so the plain table is fine.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in table.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in table[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_near_and_other_words_are_not() {
        let known = ["partitions", "retention", "schema", "iceberg", "config"];
        assert_eq!(nearest("partitons", &known), Some("partitions"));
        assert_eq!(nearest("retension", &known), Some("retention"));
        assert_eq!(nearest("Iceburg", &known), Some("iceberg"));
        assert_eq!(nearest("scehma", &known), Some("schema"));
        assert_eq!(nearest("replication_factor", &known), None);
        assert_eq!(nearest("x", &known), None);
    }
}
