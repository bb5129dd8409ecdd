use std::{sync::Arc, time::Duration};

use buttress_core::{Class, Ledger, Money, Outcome, Progress, Reason, Report, Usage};
use tokio::time::Instant;
use tracing::Span;

use crate::{
    CallRecord, Labels, Place,
    series::Series,
    span,
    table::{Set, is_name},
};

/// One call under way: what is written down when it is over.
#[derive(Debug)]
pub(crate) struct Call {
    set: Arc<Set>,
    // Where the model that answered has one of its own.
    series: Option<Arc<Series>>,
    began: Instant,
    pace: Pace,
    ledger: Option<Ledger>,
    pub(crate) reason: Option<Reason>,
    // Names that are not the labels, where somebody wants to know.
    named: Option<Box<Named>>,
    // Of calls that somebody wants to know more of.
    extra: Option<Box<Extra>>,
}

/// The models, as they were named.
#[derive(Debug, Default)]
struct Named {
    asked: Option<Box<str>>,
    answered: Option<Box<str>>,
}

#[derive(Debug)]
pub(crate) struct Extra {
    pub(crate) span: Span,
    pub(crate) request_id: Option<String>,
    pub(crate) attempt: u32,
}

/// How a reply comes. Times are nanoseconds since the call began, since a call is moved often.
#[derive(Debug)]
struct Pace {
    streamed: Option<bool>,
    pieces: u32,
    first: u64,
    last: u64,
}

// ===== impl Call =====

impl Call {
    /// A call begins, and is in flight from now on.
    #[inline]
    pub(crate) fn begin(set: Arc<Set>, streamed: Option<bool>) -> Self {
        set.in_flight().increment(1.0);
        Self {
            set,
            series: None,
            began: Instant::now(),
            pace: Pace {
                streamed,
                pieces: 0,
                first: 0,
                last: 0,
            },
            ledger: None,
            reason: None,
            named: None,
            extra: None,
        }
    }

    pub(crate) fn with_ledger(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }

    pub(crate) fn with_extra(&mut self, extra: Extra) {
        self.extra = Some(Box::new(extra));
    }

    /// This model was asked for: its name is kept where its label is another.
    #[inline]
    pub(crate) fn asks(&mut self, model: Option<&str>) {
        if let Some(model) = model.filter(|_| self.set.is_other())
            && is_name(model)
        {
            self.named.get_or_insert_default().asked = Some(model.into());
        }
    }

    #[inline]
    pub(crate) fn span(&self) -> Option<&Span> {
        self.extra.as_ref().map(|extra| &extra.span)
    }

    /// This model answers: its name is kept where its label is another.
    pub(crate) fn answered_by(&mut self, model: &str) {
        let series = self.set.answered_by(model);
        let is_wanted = self.extra.is_some() || self.set.settings.price.is_some();
        if is_wanted && series.response_model.as_deref() != Some(model) && is_name(model) {
            self.named.get_or_insert_default().answered = Some(model.into());
        }
        self.series = Some(series);
    }

    #[inline]
    fn series(&self) -> &Series {
        self.series.as_ref().unwrap_or(self.set.series())
    }

    /// The labels, as they stand on the metrics.
    fn labels(&self) -> Labels<'_> {
        let mut labels = self.set.labels();
        labels.streamed = self.pace.streamed;
        labels.response_model = self.series().response_model.as_deref();
        labels
    }

    /// The labels, with the models as they were named.
    fn named(&self) -> Labels<'_> {
        let mut labels = self.labels();
        if let Some(named) = &self.named {
            labels.request_model = named.asked.as_deref().or(labels.request_model);
            labels.response_model = named.answered.as_deref().or(labels.response_model);
        }
        labels
    }

    /// The cost, by the outcome's word or by the price.
    #[inline]
    fn price(&self, outcome: &Outcome) -> Option<Money> {
        let price = self.set.settings.price.as_ref();
        let cost = outcome.cost.or_else(|| {
            let usage = outcome.usage.as_ref().filter(|usage| usage.billed)?;
            price?(&self.named(), usage)
        });
        match cost {
            Some(cost) => self.series().cost(cost),
            // Whoever never learns of tokens or costs is not told that they are unknown.
            None if (price.is_some() || outcome.usage.is_some() || self.set.has_cost())
                && !outcome.unused()
                && outcome.usage.is_none_or(|usage| usage.billed) =>
            {
                self.series().unpriced();
            }
            None => {}
        }
        cost
    }

    /// How the reply came, which is all that `outcome` is of: none of the attempts before.
    #[cold]
    fn paced(&self, took: Duration, outcome: &Outcome) {
        if !self.pace.is_streamed() {
            return;
        }
        let first = Duration::from_nanos(self.pace.first);
        self.series().first_chunk(first.as_secs_f64());
        if outcome.class == Class::Success
            && let Some(Usage {
                output: output @ 2..,
                ..
            }) = outcome.usage
        {
            let rest = took.saturating_sub(first).as_secs_f64();
            self.series().per_token(rest / (output - 1) as f64);
        }
    }

    /// For those who want to know more.
    #[cold]
    fn tell(&self, extra: &Extra, outcome: &Outcome, took: Duration) {
        let sums_up = self.set.settings.place.has_ledger();
        let attempts = match &self.ledger {
            Some(ledger) if sums_up => ledger.attempts(),
            _ => extra.attempt,
        };
        let trail = self.ledger.as_ref().map(Ledger::trail).unwrap_or_default();
        let is_streamed = self.pace.pieces > 0 && self.pace.is_streamed();
        // Where it was said which models there are, others are words of whoever calls.
        let labels = match self.set.settings.models {
            Some(_) => self.labels(),
            None => self.named(),
        };
        let record = CallRecord {
            place: self.set.settings.place,
            request_id: extra.request_id.as_deref(),
            labels,
            outcome,
            reason: self.reason,
            took,
            first_content: is_streamed.then(|| Duration::from_nanos(self.pace.first)),
            attempts,
            trail: &trail,
        };
        span::ends(&extra.span, &record);
        if let Some(on_call) = &self.set.settings.on_call {
            on_call(&record);
        }
    }
}

impl Report for Call {
    #[inline]
    fn report(&mut self, outcome: &Outcome) {
        self.set.in_flight().decrement(1.0);
        let took = self.began.elapsed();
        let last = outcome;
        let total;
        let outcome = match &self.ledger {
            Some(ledger) => {
                total = ledger.total(last);
                &total
            }
            None => last,
        };
        let series = self.series();
        series.call(outcome.class, self.reason);
        series.took(outcome.class, took.as_secs_f64());
        if let Some(usage) = &outcome.usage {
            series.used(usage);
        }
        if let Some(finish) = outcome.finish {
            series.finished(finish);
        }
        if self.pace.pieces > 0 {
            self.paced(took, last);
        }
        // What follows may ask the user's code.
        let cost = self.price(outcome);
        if let Some(extra) = &self.extra {
            let mut outcome = *outcome;
            outcome.cost = cost;
            self.tell(extra, &outcome, took);
        }
    }

    fn watches(&self) -> bool {
        self.pace.streamed != Some(false)
    }

    #[inline]
    fn progress(&mut self, progress: Progress) {
        if !progress.is_content() {
            return;
        }
        let is_first = self.pace.pieces == 0;
        self.pace.pieces = self.pace.pieces.saturating_add(1);
        if !is_first && !self.set.settings.per_chunk {
            return;
        }
        // More than 500 years are no call.
        let now = self.began.elapsed().as_nanos() as u64;
        if is_first {
            self.pace.first = now;
        } else {
            let since = now.saturating_sub(self.pace.last);
            self.series().chunk(since as f64 / 1e9);
        }
        self.pace.last = now;
    }
}

// ===== impl Pace =====

impl Pace {
    /// A reply that comes in one piece is none that streams, where nobody says otherwise.
    fn is_streamed(&self) -> bool {
        self.streamed.unwrap_or(self.pieces > 1)
    }
}

impl Place {
    /// Whether it sums up what its attempts used.
    pub(crate) const fn has_ledger(self) -> bool {
        matches!(self, Self::Request)
    }
}
