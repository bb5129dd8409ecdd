use std::{fmt, time::Duration};

use buttress_core::{Outcome, Reason, Tried};

use crate::{Labels, Place};

/// A call that is over, as [`MetricsLayer::on_call`](crate::MetricsLayer::on_call) shows it.
///
/// Displayed, it is one line:
///
/// ```text
/// request id=7f3a provider=openai model=gpt-4.1 class=success took=2.1s first=310ms input=1200 output=340 cost=0.00512 attempts=2 path=[east: throttled after 80ms: 429 Too Many Requests, west: success after 1.9s]
/// ```
///
/// There is no text of a prompt or a reply in it.
///
/// # Examples
///
/// ```
/// use buttress_core::Plain;
/// use buttress_metrics::MetricsLayer;
///
/// let layer = MetricsLayer::request(Plain).on_call(|call| println!("{call}"));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallRecord<'a> {
    /// Where it was seen.
    pub place: Place,
    /// By what name the logs know it: [at most](crate::Describe::request_id) 128 visible ASCII
    /// characters.
    pub request_id: Option<&'a str>,
    /// Whose it was, with the models as they were named; but where it was said which
    /// [`models`](crate::MetricsLayer::models) there are, others are `other` here too.
    pub labels: Labels<'a>,
    /// How it ended: of a request, with the usage and the cost of all its attempts.
    pub outcome: &'a Outcome,
    /// Why a layer inside refused it, if one did.
    pub reason: Option<Reason>,
    /// How long it took, to the end of its response.
    pub took: Duration,
    /// How long until the first content, if the reply was streamed.
    pub first_content: Option<Duration>,
    /// Of a request: how many attempts it took. Of an attempt: the how many-th it was.
    pub attempts: u32,
    /// Which endpoints were tried, where a failover says so. Empty where the first one served.
    pub trail: &'a [Tried],
}

/// Writes a call to the log: one line, at level `INFO`, with the target `buttress::call`.
///
/// For those who want no metrics, or want to find a call again.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_metrics::{MetricsLayer, log};
///
/// let layer = MetricsLayer::request(Plain).on_call(log);
/// ```
pub fn log(call: &CallRecord<'_>) {
    tracing::info!(target: "buttress::call", "{call}");
}

/// A name that somebody else gave: on one line, whatever is in it, and not for ever.
struct Name<'a>(&'a str);

/// How many characters of a name are shown.
const MOST: usize = 128;

/// A name for the logs that whoever calls may have chosen, within its bound.
pub(crate) fn bounded_id(id: String) -> String {
    if id.len() <= MOST && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id;
    }
    let visible = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    id.chars().take(MOST).map(visible).collect()
}

// ===== impl CallRecord =====

impl fmt::Display for CallRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            labels, outcome, ..
        } = self;
        f.write_str(self.place.as_str())?;
        let names = [
            ("id", self.request_id),
            ("provider", labels.provider),
            ("endpoint", labels.endpoint),
            ("model", labels.request_model),
            ("answered_by", labels.response_model),
        ];
        for (name, value) in names {
            if let Some(value) = value {
                write!(f, " {name}={}", Name(value))?;
            }
        }
        write!(f, " class={}", outcome.class)?;
        if let Some(reason) = self.reason {
            write!(f, " reason={:?}", reason.as_str())?;
        }
        if let Some(finish) = outcome.finish {
            write!(f, " finish={finish}")?;
        }
        write!(f, " took={:?}", self.took)?;
        if let Some(first) = self.first_content {
            write!(f, " first={first:?}")?;
        }
        if let Some(usage) = outcome.usage {
            let about = if usage.exact { "" } else { "~" };
            write!(
                f,
                " input={about}{} output={about}{}",
                usage.input, usage.output
            )?;
        }
        if let Some(cost) = outcome.cost {
            write!(f, " cost={cost}")?;
        }
        match self.place {
            Place::Request => write!(f, " attempts={}", self.attempts)?,
            Place::Attempt => write!(f, " attempt={}", self.attempts)?,
        }
        for (i, tried) in self.trail.iter().enumerate() {
            let before = if i == 0 { " path=[" } else { ", " };
            write!(f, "{before}{tried}")?;
        }
        if !self.trail.is_empty() {
            f.write_str("]")?;
        }
        Ok(())
    }
}

// ===== impl Name =====

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars().take(MOST) {
            match c.is_control() || c.is_whitespace() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::bounded_id;

    #[test]
    fn an_id_is_as_it_was_given_or_cut_and_made_visible() {
        for (given, kept) in [
            ("req_7f3a", "req_7f3a".to_owned()),
            ("", String::new()),
            ("a b\r\nc\u{1b}[31m", "a?b??c?[31m".to_owned()),
            ("é\u{1f426}x", "??x".to_owned()),
            (&"x".repeat(128), "x".repeat(128)),
            (&"x".repeat(129), "x".repeat(128)),
            (&"é".repeat(1 << 20), "?".repeat(128)),
        ] {
            assert_eq!(bounded_id(given.to_owned()), kept);
        }
    }
}
