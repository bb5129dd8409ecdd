//! The promises, and what the probe says when one is broken.

use std::fmt;

/// A promise that every layer of a stack makes to the layers around it and to its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// `call` uses the instance that was readied, and readiness that was given is kept.
    T1,
    /// The inner readiness error comes back unchanged, and is final.
    T2,
    /// What `poll_ready` reserved is released when that clone is dropped without `call`.
    T3,
    /// Dropping the response future cancels the inner future and gives everything back at once.
    T4,
    /// Slots follow the body of a reply: to its end, its error or its drop.
    T5,
    /// Every `Pending` registers the waker that was given last.
    T6,
    /// Clones and repeated `layer()` calls share state; no lock is held while the inner service runs.
    T7,
    /// A refusal neither calls the inner service nor waits for it.
    T8,
    /// A panic poisons nothing.
    T9,
    /// The same seed and the same paused clock give the same result.
    T10,
    /// Each outcome is counted once.
    T11,
}

/// One broken promise: which, what was seen, where to look, and what the services did until then.
///
/// [`Display`](fmt::Display) writes all of it over several lines, and so does [`Debug`], because a
/// failed test shows the latter.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    promise: Promise,
    seen: String,
    trace: Vec<String>,
}

/// What the probe found: the promises that were broken, and those that it could not test.
///
/// A promise is skipped if the layer never came to where it matters: nothing can be said of the
/// slots of a layer that admits everybody.
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use = "a verdict that nobody reads fails no test"]
pub struct Verdict {
    violations: Vec<Violation>,
    skipped: Vec<(Promise, &'static str)>,
}

// ===== impl Promise =====

impl Promise {
    /// What the promise says, in a sentence or two.
    #[must_use]
    pub const fn law(self) -> &'static str {
        match self {
            Self::T1 => {
                "`call` uses the instance that was readied. Readiness is given once, kept until \
                 `call`, spent by it, and not copied by a clone."
            }
            Self::T2 => {
                "An error of the inner `poll_ready` comes back as the very same value, and is \
                 final: that instance is neither polled nor called again."
            }
            Self::T3 => {
                "What `poll_ready` reserved is held by that instance alone, once, and released \
                 when it is dropped without `call`. Nothing waits with the inner service reserved."
            }
            Self::T4 => {
                "Dropping the response future drops the inner future and gives back permits and \
                 reservations at once. Nothing goes on without its caller."
            }
            Self::T5 => {
                "A slot follows the body of the reply: it is free at the body's end, error or drop, \
                 and not before. Whoever wraps a body forwards all of it."
            }
            Self::T6 => {
                "Every `Pending` registers the waker that was given last, and it is woken when \
                 there is something to do, not before."
            }
            Self::T7 => {
                "Clones and repeated `layer()` calls share state, and no lock is held while the \
                 inner service runs."
            }
            Self::T8 => {
                "A refusal neither calls the inner service nor waits for it, and is never \
                 `Ready(Err)` from `poll_ready`, which says that the service is dead. What was \
                 already reserved stays with its instance."
            }
            Self::T9 => "A panic poisons nothing: the next request works, and the slot is back.",
            Self::T10 => "The same seed and the same paused clock give the same result.",
            Self::T11 => "Each outcome is counted once per layer.",
        }
    }
}

impl Promise {
    /// Where the mistake usually is.
    #[must_use]
    pub const fn look(self) -> &'static str {
        match self {
            Self::T1 => {
                "`call`: the readied instance goes into the future, the clone stays \
                 (`mem::replace`); and every later attempt is readied before it is called"
            }
            Self::T2 => "`?` and `map_err` on `poll_ready`, and what a retry takes for an attempt",
            Self::T3 => {
                "`poll_ready` and `Clone`: a permit is taken once, lives in the instance, is not \
                 cloned, and comes before the inner service"
            }
            Self::T4 => "`tokio::spawn`, counters that are changed by hand, and `mem::forget`",
            Self::T5 => {
                "where the permit goes when the response arrives, and `is_end_stream` after each \
                 frame"
            }
            Self::T6 => "each `Poll::Pending` of your own: which waker was stored just before it",
            Self::T7 => {
                "what `layer()` makes instead of cloning, and guards in the scrutinee of a `match`"
            }
            Self::T8 => {
                "the order in `poll_ready`: decide first, and ready the inner service only for a \
                 call that is admitted"
            }
            Self::T9 => "`lock().unwrap()`, and what is taken before its guard exists",
            Self::T10 => "random numbers, the hash order of maps, and std's clock",
            Self::T11 => "what reports an outcome in `poll` and again in `drop`",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// ===== impl Violation =====

impl Violation {
    pub(super) fn new(promise: Promise, seen: String, trace: Vec<String>) -> Self {
        Self {
            promise,
            seen,
            trace,
        }
    }

    /// The promise that was broken.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// What was seen, in a sentence.
    #[must_use]
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// What the services did up to then, oldest first, each line with its time; the last few only.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        &self.trace
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} is broken: {}", self.promise, self.seen)?;
        writeln!(f, "    law    {}", self.promise.law())?;
        writeln!(f, "    look   {}", self.promise.look())?;
        for (n, line) in self.trace.iter().enumerate() {
            let margin = if n == 0 { "    trace" } else { "         " };
            writeln!(f, "{margin}  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// ===== impl Verdict =====

impl Verdict {
    /// The promises that were broken, in the order in which that was seen.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The promises of which this layer gave nothing to test, each with the reason.
    #[must_use]
    pub fn skipped(&self) -> &[(Promise, &'static str)] {
        &self.skipped
    }

    /// Whether no promise was broken.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.violations.is_empty()
    }

    /// Panics with every violation, if there is any.
    ///
    /// # Panics
    ///
    /// If a promise was broken.
    pub fn assert_kept(self) {
        assert!(self.is_kept(), "the contract is broken\n\n{self}");
    }

    /// As [`assert_kept`](Self::assert_kept), and also if `promise` could not be tested at all.
    pub(super) fn assert_tested(self, promise: Promise) {
        let untested = self.skipped.iter().find(|(skipped, _)| *skipped == promise);
        if let (true, Some((_, why))) = (self.is_kept(), untested) {
            panic!("{promise} could not be tested: {why}");
        }
        self.assert_kept();
    }

    /// Adds what was found, but not what is known already: one mistake shows in many places.
    pub(super) fn add(&mut self, found: Vec<Violation>) {
        for violation in found {
            let known = |known: &Violation| {
                known.promise == violation.promise && unnumbered(known).eq(unnumbered(&violation))
            };
            if !self.violations.iter().any(known) {
                self.violations.push(violation);
            }
        }
    }

    pub(super) fn skip(&mut self, promise: Promise, why: &'static str) {
        if !self.skipped.contains(&(promise, why)) {
            self.skipped.push((promise, why));
        }
    }
}

/// What was seen, whichever instance or call it was seen on.
fn unnumbered(violation: &Violation) -> impl Iterator<Item = char> + '_ {
    violation.seen.chars().filter(|char| !char.is_ascii_digit())
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        for (promise, why) in &self.skipped {
            writeln!(f, "{promise} was not tested: {why}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
