use std::time::Duration;

use crate::Freshness;

/// The terms on which an upstream lets its reply be kept, in the words of `Cache-Control`
/// ([RFC 9111, section 5.2.2]).
///
/// Not heeded unless you [say so](crate::CacheLayer::heed_reply), because the providers' words are
/// not about replies that you paid for, and keep for those alone who asked: Gemini says `private` of
/// each of its replies, OpenAI has said `no-cache, must-revalidate`, and a server that streams events
/// with a common Python library says `no-store` of all streams. Heed them where the upstream means
/// what it says.
///
/// ```
/// use std::time::Duration;
/// use buttress_cache::{Freshness, Terms};
///
/// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
/// let ours = Freshness::new(minutes(10)).stale_if_error(minutes(60));
///
/// assert_eq!(Terms::parse(["private"]).limit(ours), ours);
/// assert_eq!(Terms::parse(["no-store"]).limit(ours), Freshness::NONE);
/// let less = Freshness::new(minutes(1)).stale_if_error(minutes(60));
/// assert_eq!(Terms::parse(["max-age=60"]).limit(ours), less);
/// assert_eq!(Terms::parse(["max-age=60, must-revalidate"]).limit(ours), Freshness::new(minutes(1)));
/// ```
///
/// [RFC 9111, section 5.2.2]: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// `no-store`: not to be kept.
    pub no_store: bool,
    /// `no-cache`: not to be served without asking first, which this cache cannot do: not kept.
    pub no_cache: bool,
    /// `must-revalidate`, or `proxy-revalidate`: not to be served stale.
    pub must_revalidate: bool,
    /// `private`: not to be kept where others get it. It changes nothing: whose a reply is, is in
    /// its [key](crate::CacheKey).
    pub private: bool,
    /// `s-maxage`, or else `max-age`: fresh for no longer, counted from when the reply is here. If
    /// another cache may have had it before, see [`aged`](Terms::aged).
    pub max_age: Option<Duration>,
}

// ===== impl Terms =====

impl Terms {
    /// Reads the values of all `Cache-Control` headers. Words that it does not know, or that make no
    /// sense, are passed over; of two ages the smaller counts. Words that are limited to certain
    /// headers (`private="set-cookie"`) count in full.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut terms, mut shared) = (Self::default(), None);
        for (name, value) in values.into_iter().flat_map(words) {
            let is = |word: &str| name.eq_ignore_ascii_case(word);
            terms.no_store |= is("no-store");
            terms.no_cache |= is("no-cache");
            terms.must_revalidate |= is("must-revalidate") || is("proxy-revalidate");
            terms.private |= is("private");
            if is("max-age") {
                smaller(&mut terms.max_age, value);
            } else if is("s-maxage") {
                smaller(&mut shared, value);
            }
        }
        terms.max_age = shared.or(terms.max_age);
        terms
    }

    /// Of a reply that is so old already: what a cache between here and the upstream says in `Age`, in
    /// seconds, is taken off [`max_age`](Terms::max_age) ([RFC 9111, section 4.2]). What is no number
    /// is passed over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use buttress_cache::Terms;
    ///
    /// let terms = Terms::parse(["max-age=60"]).aged(Some("50"));
    /// assert_eq!(terms.max_age, Some(Duration::from_secs(10)));
    /// ```
    ///
    /// [RFC 9111, section 4.2]: https://www.rfc-editor.org/rfc/rfc9111#section-4.2
    #[must_use]
    pub fn aged(mut self, age: Option<&str>) -> Self {
        let age = age.map(str::trim).and_then(seconds).unwrap_or_default();
        self.max_age = self.max_age.map(|most| most.saturating_sub(age));
        self
    }

    /// As long as you would keep it, and no longer than the upstream says.
    #[must_use]
    pub fn limit(&self, freshness: Freshness) -> Freshness {
        if self.no_store || self.no_cache {
            return Freshness::NONE;
        }
        let fresh = self
            .max_age
            .map_or(freshness.fresh, |most| most.min(freshness.fresh));
        if self.must_revalidate {
            return Freshness::new(fresh);
        }
        Freshness { fresh, ..freshness }
    }
}

/// The words of one value of `Cache-Control`, and what they are set to.
pub(crate) fn words(value: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    value.split(',').map(|word| match word.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (word.trim(), None),
    })
}

/// Takes this age, if it is one, and is smaller.
pub(crate) fn smaller(age: &mut Option<Duration>, value: Option<&str>) {
    if let Some(found) = value.and_then(seconds) {
        *age = Some(age.map_or(found, |other| other.min(found)));
    }
}

/// A number too large to hold is as large as can be: RFC 9111, section 1.2.2.
fn seconds(digits: &str) -> Option<Duration> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Terms;
    use crate::Freshness;

    fn secs(secs: u64) -> Option<Duration> {
        Some(Duration::from_secs(secs))
    }

    #[test]
    fn every_word_is_known_in_any_case_and_place() {
        let all = Terms {
            no_store: true,
            no_cache: true,
            must_revalidate: true,
            private: true,
            max_age: secs(7),
        };
        let one = Terms::parse([
            " NO-STORE ,no-cache",
            "Must-Revalidate,private=\"x\"",
            "max-age = \"7\"",
        ]);
        assert_eq!(one, all);
        assert!(Terms::parse(["proxy-revalidate"]).must_revalidate);
        assert_eq!(Terms::parse([]), Terms::default());
    }

    #[test]
    fn what_shared_caches_are_told_goes_before_what_all_are() {
        assert_eq!(Terms::parse(["max-age=1, s-maxage=9"]).max_age, secs(9));
        assert_eq!(
            Terms::parse(["s-maxage=9", "s-maxage=5, max-age=1"]).max_age,
            secs(5)
        );
        assert_eq!(Terms::parse(["s-maxage=x, max-age=1"]).max_age, secs(1));
    }

    #[test]
    fn what_a_reply_has_been_kept_elsewhere_is_taken_off_its_time() {
        let aged = |age| Terms::parse(["max-age=60"]).aged(age).max_age;
        assert_eq!(aged(None), secs(60));
        assert_eq!(aged(Some(" 59 ")), secs(1));
        for over in ["60", "61", "99999999999999999999999"] {
            assert_eq!(aged(Some(over)), secs(0), "{over}");
        }
        for none in ["", "-1", "1.5", "soon"] {
            assert_eq!(aged(Some(none)), secs(60), "{none}");
        }
        assert_eq!(Terms::default().aged(Some("5")), Terms::default());
    }

    #[test]
    fn no_terms_make_a_reply_last_longer() {
        let ours =
            Freshness::new(Duration::from_secs(5)).stale_while_revalidate(Duration::from_secs(5));
        for words in [
            "",
            "max-age=99999999999999999999999",
            "public, immutable",
            "stale-if-error=9",
        ] {
            assert_eq!(Terms::parse([words]).limit(ours), ours, "{words}");
        }
        assert!(
            !Terms::parse(["max-age=0"])
                .limit(ours)
                .is_fresh(Duration::ZERO)
        );
    }
}
