//! Which known name was probably meant by one that is not known.

/// Characters beyond which nobody looks: a name is shorter.
const NAME_MAX: usize = 40;

/// The known name that was probably meant: at most two changes away, or one for short names.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    known
        .map(|candidate| {
            let target: String = candidate.chars().filter(|c| c.is_alphanumeric()).collect();
            (distance(&plain, &target), candidate)
        })
        .filter(|(distance, candidate)| *distance <= if candidate.len() < 5 { 1 } else { 2 })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The known name that one which is not known can hardly be anything else than: one change away, or two for long names. Short names
/// are near to too many other words (`zip` to `ip`).
pub fn misspelt<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let changes = |known: &str| match known.len() {
        0..6 => 0,
        6..8 => 1,
        8.. => 2,
    };
    let is_near = |known: &&str| (1..=changes(known)).contains(&distance(name, known));
    known.filter(|_| name.len() <= NAME_MAX).find(is_near)
}

/// Changes (insert, remove, replace, swap neighbours) between two short texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_word() {
        let known = ["purpose", "programme", "expiresat", "place", "ip"];
        for (name, expected) in [
            ("purposes", Some("purpose")),
            ("porpose", Some("purpose")),
            ("purposed to", None),
            ("program", Some("programme")),
            ("expireat", Some("expiresat")),
            ("purpose", None),
            ("plate", None),
            ("zip", None),
            ("status", None),
        ] {
            assert_eq!(misspelt(name, known.into_iter()), expected, "{name}");
        }
    }

    #[test]
    fn the_name_that_was_meant_is_found() {
        let known = ["message", "to", "from", "send_at", "callback_url"];
        for (name, expected) in [
            ("mesage", Some("message")),
            ("Message", Some("message")),
            ("sendAt", Some("send_at")),
            ("callbackUrl", Some("callback_url")),
            ("form", Some("from")),
            ("too", Some("to")),
            ("carrier", None),
            ("é", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
    }
}
