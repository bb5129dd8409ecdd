//! Names of models, and what they are without what may be left off.

use super::{Fault, LONGEST_NAME};

/// Whether a provider or model may have this name.
pub(super) fn check(name: &str) -> Result<(), Fault> {
    let odd = |char: char| char.is_whitespace() || char.is_control();
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(odd) || name.starts_with('#') {
        return Err(Fault::Name);
    }
    Ok(())
}

/// The names under which a model may have its row, in the order in which they count.
pub(super) fn candidates(model: &str) -> impl Iterator<Item = &str> {
    let bare = model.rsplit_once('/').map(|(_, bare)| bare);
    let last = bare.unwrap_or(model);
    let tuned = last.strip_prefix("ft:").and_then(|rest| {
        let base = rest.find(':')?;
        Some(&last[.."ft:".len() + base])
    });
    let undated = without_date(last);
    let base = tuned.and_then(without_date);
    [Some(model), bare, undated, tuned, base]
        .into_iter()
        .flatten()
}

/// A name without its date or version, if it has one.
pub(crate) fn without_date(name: &str) -> Option<&str> {
    let at = name.rfind(|char: char| !char.is_ascii_digit())?;
    let digits = &name[at + 1..];
    let number = |digits: &str| digits.parse::<u32>().unwrap_or_default();
    let month = |digits: &str| (1..=12).contains(&number(digits));
    let day = |digits: &str| (1..=31).contains(&number(digits));
    let begins = match (name.as_bytes()[at], digits.len()) {
        // `-20250929`, `@20250929`
        (b'-' | b'@', 8)
            if digits.starts_with("20") && month(&digits[4..6]) && day(&digits[6..]) =>
        {
            at
        }
        // `-0613`
        (b'-', 4) if month(&digits[..2]) && day(&digits[2..]) => at,
        // `-001`
        (b'-', 3) if digits.starts_with("00") => at,
        // `-2025-08-07`
        (b'-', 2) if day(digits) => year(&name[..at])?,
        _ => return None,
    };
    (begins > 0).then(|| &name[..begins])
}

/// Where `-2025-08` begins, with which a name ends.
fn year(name: &str) -> Option<usize> {
    let (rest, month) = name.rsplit_once('-')?;
    let (before, year) = rest.rsplit_once('-')?;
    let digits =
        |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    let month = digits(month, 2) && (1..=12).contains(&month.parse().unwrap_or(0));
    (month && digits(year, 4) && year.starts_with("20")).then_some(before.len())
}

#[cfg(test)]
mod tests {
    use super::{candidates, without_date};

    #[test]
    fn only_a_date_or_version_is_left_off() {
        for (name, without) in [
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
            ("claude-haiku-4-5@20251001", Some("claude-haiku-4-5")),
            ("gpt-4-0613", Some("gpt-4")),
            ("gemini-2.0-flash-001", Some("gemini-2.0-flash")),
            ("gpt-4o", None),
            ("gpt-4o-mini", None),
            ("gpt-4.1", None),
            ("claude-opus-4-5", None),
            ("claude-opus-4-10", None),
            ("x-2024-13-06", None),
            ("x-2024-12-32", None),
            ("x-1924-12-30", None),
            ("x-4-12-30", None),
            ("x-1399", None),
            ("x-101", None),
            ("x-20251301", None),
            ("x20251201", None),
            ("-20251201", None),
            ("20251201", None),
            ("", None),
            ("é-0613", Some("é")),
            ("é2-01-02", None),
        ] {
            assert_eq!(without_date(name), without, "{name}");
        }
    }

    #[test]
    fn the_longest_name_counts_first() {
        let all = |name| candidates(name).collect::<Vec<_>>();
        assert_eq!(all("gpt-4o"), ["gpt-4o"]);
        assert_eq!(all("models/m-001"), ["models/m-001", "m-001", "m"]);
        assert_eq!(
            all("ft:gpt-4o-2024-08-06:org::id"),
            [
                "ft:gpt-4o-2024-08-06:org::id",
                "ft:gpt-4o-2024-08-06",
                "ft:gpt-4o"
            ]
        );
    }
}
