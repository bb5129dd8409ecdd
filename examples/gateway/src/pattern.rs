//! Patterns of model names.

/// A model's name, or a pattern of names: each `*` stands for any text, the empty one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Box<str>,
}

// ===== impl Pattern =====

impl Pattern {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is one name.
    pub(crate) fn is_exact(&self) -> bool {
        !self.text.contains('*')
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut parts = self.text.split('*');
        // There is a first part, if only an empty one.
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        // The earliest place is the best one: it leaves most for the parts behind it.
        for part in parts {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Whether every name that `other` matches is matched by this one as well.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        // A `*` of the other is matched by nothing but one of ours, since names have none.
        self.matches(&other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, names, others) in [
            ("gpt-4o", &["gpt-4o"][..], &["gpt-4", "gpt-4o-mini", ""][..]),
            ("gpt-*", &["gpt-", "gpt-4o", "gpt-*"], &["gpt", "a-gpt-4"]),
            ("*", &["", "anything at all"], &[]),
            (
                "*-mini",
                &["-mini", "o4-mini", "x-mini-mini"],
                &["mini", "o4-mini-high"],
            ),
            (
                "a*b*c",
                &["abc", "aXbYc", "abbc", "abcbc"],
                &["ab", "acb", "abcd"],
            ),
            ("a**a", &["aa", "aba"], &["a"]),
            ("über*", &["über-1"], &["u", "\u{fc}ber".split_at(2).0]),
        ] {
            let pattern = Pattern::new(pattern);
            for name in names {
                assert!(pattern.matches(name), "{pattern:?} {name}");
            }
            for name in others {
                assert!(!pattern.matches(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn a_pattern_covers_what_is_narrower() {
        for (wide, narrow) in [
            ("*", "gpt-*"),
            ("gpt-*", "gpt-4*"),
            ("a*c", "a*b*c"),
            ("x", "x"),
            ("*b*", "ab*"),
        ] {
            let (wide, narrow) = (Pattern::new(wide), Pattern::new(narrow));
            assert!(wide.covers(&narrow), "{wide:?} {narrow:?}");
            assert!(
                wide == narrow || !narrow.covers(&wide),
                "{narrow:?} {wide:?}"
            );
        }
        assert!(!Pattern::new("*a").covers(&Pattern::new("a*")));
    }
}
