//! Sequences of replies, and which of them is next.

use std::{fmt, sync::Arc};

use crate::{ApiError, Fault, Match, Reply};

/// Replies in the order in which calls get them.
///
/// Every reply but the last answers one call; the last answers all that come after.
/// [`times`](Self::times) changes that for the reply that it follows. A script whose last reply is
/// used up takes no more requests: they fall to the next script that matches.
///
/// ```
/// use buttress_testing::{Reply, Script};
///
/// // Two refusals, then an answer as often as is asked.
/// let script: Script = Reply::error(429).times(2).then(Reply::text("fine"));
/// // One answer, and no more.
/// let script: Script = Reply::text("once").once();
/// ```
#[derive(Clone)]
pub struct Script {
    steps: Vec<Step>,
}

#[derive(Clone)]
struct Step {
    reply: Arc<Reply>,
    times: Option<u64>,
}

/// A script at work: what it answers, and how far it is.
pub(crate) struct Progress {
    script: Script,
    step: usize,
    used: u64,
    total: u64,
}

// ===== impl Script =====

impl Script {
    /// Goes on with this reply, or with a script of several.
    #[must_use]
    pub fn then(mut self, next: impl Into<Script>) -> Self {
        self.steps.extend(next.into().steps);
        self
    }

    /// Gives the last reply so far exactly `times` times. Zero leaves it out.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        if let Some(step) = self.steps.last_mut() {
            step.times = Some(times);
        }
        self
    }

    /// Gives the last reply so far once: `times(1)`.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    pub(crate) fn replies(&self) -> impl Iterator<Item = &Reply> {
        self.steps.iter().map(|step| &*step.reply)
    }

    /// How often a step is given; `None` is without end.
    fn limit(&self, step: usize) -> Option<u64> {
        let last = step + 1 == self.steps.len();
        self.steps[step].times.or((!last).then_some(1))
    }
}

impl From<Reply> for Script {
    fn from(reply: Reply) -> Self {
        Self {
            steps: vec![Step {
                reply: Arc::new(reply),
                times: None,
            }],
        }
    }
}

impl From<Fault> for Script {
    fn from(fault: Fault) -> Self {
        Reply::from(fault).into()
    }
}

impl From<ApiError> for Script {
    fn from(error: ApiError) -> Self {
        Reply::from(error).into()
    }
}

impl Reply {
    /// A script that gives this reply once, then goes on. See [`Script`].
    #[must_use]
    pub fn then(self, next: impl Into<Script>) -> Script {
        Script::from(self).then(next)
    }

    /// A script that gives this reply so many times. See [`Script`].
    #[must_use]
    pub fn times(self, times: u64) -> Script {
        Script::from(self).times(times)
    }

    /// A script that gives this reply once. See [`Script`].
    #[must_use]
    pub fn once(self) -> Script {
        Script::from(self).once()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            if at > 0 {
                f.write_str(", then ")?;
            }
            f.write_str(&step.reply.summary())?;
            match self.limit(at) {
                Some(1) => f.write_str(" once")?,
                Some(times) => write!(f, " {times} times")?,
                None => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({self})")
    }
}

// ===== impl Progress =====

impl Progress {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            step: 0,
            used: 0,
            total: 0,
        }
    }

    /// The reply for the next request, if there is one.
    pub(crate) fn take(&mut self) -> Option<Arc<Reply>> {
        while self.step < self.script.steps.len() {
            if self
                .script
                .limit(self.step)
                .is_none_or(|limit| self.used < limit)
            {
                self.used += 1;
                self.total += 1;
                return Some(Arc::clone(&self.script.steps[self.step].reply));
            }
            self.step += 1;
            self.used = 0;
        }
        None
    }

    /// Whether it was used at all, and everything that it gives a number of times was given.
    pub(crate) fn used_up(&self) -> bool {
        let owed = (self.step..self.script.steps.len()).any(|step| {
            let used = if step == self.step { self.used } else { 0 };
            self.script.limit(step).is_some_and(|limit| used < limit)
        });
        let nothing = (0..self.script.steps.len()).all(|step| self.script.limit(step) == Some(0));
        !owed && (self.total > 0 || nothing)
    }

    /// The script, its condition and its progress, in a line of a report.
    pub(crate) fn report(&self, condition: &Match) -> String {
        let times = match self.total {
            0 => "never used".to_owned(),
            1 => "used once".to_owned(),
            n => format!("used {n} times"),
        };
        format!("{condition}: {} ({times})", self.script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(script: impl Into<Script>, calls: usize) -> (Vec<String>, bool) {
        let mut progress = Progress::new(script.into());
        let given = std::iter::from_fn(|| progress.take())
            .take(calls)
            .map(|reply| reply.summary().into_owned())
            .collect();
        (given, progress.used_up())
    }

    #[test]
    fn every_reply_but_the_last_is_given_once_and_the_last_without_end() {
        let script = || {
            Reply::error(429)
                .then(Reply::error(500))
                .then(Reply::text(""))
        };
        let (replies, used_up) = given(script(), 4);
        assert_eq!(
            replies,
            ["error 429", "error 500", "an answer", "an answer"]
        );
        assert!(used_up);
        assert!(!given(script(), 1).1, "the 500 was not given");
        assert!(
            given(script(), 2).1,
            "the last may come any number of times"
        );
    }

    #[test]
    fn times_bounds_the_reply_that_it_follows() {
        let script = || Reply::error(429).times(2).then(Reply::text("").times(1));
        assert_eq!(
            given(script(), 9).0,
            ["error 429", "error 429", "an answer"]
        );
        assert!(given(script(), 3).1 && !given(script(), 2).1);
        assert_eq!(given(Reply::text("").times(0), 1), (vec![], true));
        assert_eq!(
            script().to_string(),
            "error 429 2 times, then an answer once"
        );
    }

    #[test]
    fn a_script_that_was_never_used_is_not_used_up() {
        assert!(!given(Reply::text(""), 0).1);
        assert!(given(Reply::text(""), 1).1);
    }
}
