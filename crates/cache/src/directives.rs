use std::time::Duration;

use crate::terms::{smaller, words};

/// What a caller asks of caches, in the words of `Cache-Control` ([RFC 9111, section 5.2.1]).
///
/// Heeded only if you [say so](crate::CacheLayer::heed), since it lets callers make you pay.
///
/// ```
/// use std::time::Duration;
/// use buttress_cache::Directives;
///
/// let asked = Directives::parse(["no-cache", "Max-Age=60, what-is-this"]);
/// assert!(asked.no_cache && !asked.no_store);
/// assert_eq!(asked.max_age, Some(Duration::from_secs(60)));
/// ```
///
/// [RFC 9111, section 5.2.1]: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directives {
    /// `no-store`: the request passes the cache by. Neither is it answered from there, nor shared,
    /// nor is the reply kept.
    pub no_store: bool,
    /// `no-cache`: what is kept does not serve, not even if the upstream fails; the reply is kept. A
    /// call that is under way does serve, and with it what that finds in a second level.
    pub no_cache: bool,
    /// `only-if-cached`: if nothing is kept in memory, the answer is a refusal for
    /// [`NotCached`](buttress_core::Reason::NotCached).
    pub only_if_cached: bool,
    /// `max-age`: what is kept serves if it is no older, when it is asked for. `None`: of any age.
    pub max_age: Option<Duration>,
}

// ===== impl Directives =====

impl Directives {
    /// Reads the values of all `Cache-Control` headers. Words that it does not know, or that make no
    /// sense, are passed over; of two ages the smaller counts.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut asked = Self::default();
        for (name, value) in values.into_iter().flat_map(words) {
            let is = |word: &str| name.eq_ignore_ascii_case(word);
            asked.no_store |= is("no-store");
            asked.no_cache |= is("no-cache");
            asked.only_if_cached |= is("only-if-cached");
            if is("max-age") {
                smaller(&mut asked.max_age, value);
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Directives;

    #[test]
    fn every_word_is_known_in_any_case_and_place() {
        let all = Directives {
            no_store: true,
            no_cache: true,
            only_if_cached: true,
            max_age: Some(Duration::from_secs(7)),
        };
        let one = Directives::parse([" NO-STORE ,no-cache", "only-if-cached", "max-age = \"7\""]);
        assert_eq!(one, all);
        assert_eq!(Directives::parse([]), Directives::default());
    }

    #[test]
    fn what_makes_no_sense_is_passed_over() {
        let odd = [
            "max-age=",
            "max-age=-1",
            "max-age=1e3",
            "max-age",
            "no-cach",
            ",,=,",
            "\u{e9}",
        ];
        assert_eq!(Directives::parse(odd), Directives::default());
    }

    #[test]
    fn s8_an_age_beyond_all_bounds_is_capped_and_of_two_the_smaller_counts() {
        let huge = Directives::parse(["max-age=99999999999999999999999"]).max_age;
        assert_eq!(huge, Some(Duration::from_secs(u64::MAX)));
        let two = Directives::parse(["max-age=9", "max-age=3, max-age=5"]).max_age;
        assert_eq!(two, Some(Duration::from_secs(3)));
    }
}
