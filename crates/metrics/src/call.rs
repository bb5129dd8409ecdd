use std::{sync::Arc, time::Duration};

use buttress_core::{Class, Ledger, Outcome, Progress, Reason, Report, Usage};
use tokio::time::Instant;
use tracing::Span;

use crate::{CallRecord, Labels, Place, series::Series, span, table::Set};

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
    // The model that was named, where its label is another and somebody wants to know.
    pub(crate) asked: Option<Box<str>>,
    answered: Option<Box<str>>,
    // Of calls that somebody wants to know more of.
    extra: Option<Box<Extra>>,
}

#[derive(Debug)]
pub(crate) struct Extra {
    pub(crate) span: Span,
    pub(crate) request_id: Option<String>,
    pub(crate) attempt: u32,
}

/// How a reply comes.
#[derive(Debug)]
struct Pace {
    streamed: Option<bool>,
    pieces: u32,
    first: Option<Instant>,
    last: Option<Instant>,
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
                first: None,
                last: None,
            },
            ledger: None,
            reason: None,
            asked: None,
            answered: None,
            extra: None,
        }
    }

    pub(crate) fn with_ledger(&mut self, ledger: Ledger) {
        self.ledger = Some(ledger);
    }

    pub(crate) fn with_extra(&mut self, extra: Extra) {
        self.extra = Some(Box::new(extra));
    }

    #[inline]
    pub(crate) fn span(&self) -> Option<&Span> {
        self.extra.as_ref().map(|extra| &extra.span)
    }

    /// This model answers.
    pub(crate) fn answered_by(&mut self, model: &str) {
        self.series = Some(self.set.answered_by(model));
        if self.extra.is_some() || self.set.settings.price.is_some() {
            self.answered = Some(model.into());
        }
    }

    #[inline]
    fn series(&self) -> &Series {
        self.series.as_ref().unwrap_or(self.set.series())
    }

    /// The labels, with the models as they were named.
    fn labels(&self) -> Labels<'_> {
        let mut labels = self.set.labels();
        labels.streamed = self.pace.streamed;
        labels.request_model = self.asked.as_deref().or(labels.request_model);
        labels.response_model = self.answered.as_deref();
        labels
    }

    /// The cost, by the outcome's word or by the price.
    #[inline]
    fn price(&self, outcome: &mut Outcome) {
        let price = self.set.settings.price.as_ref();
        if outcome.cost.is_none()
            && let (Some(price), Some(usage)) = (price, &outcome.usage)
            && usage.billed
        {
            outcome.cost = price(&self.labels(), usage);
        }
        match outcome.cost {
            Some(cost) => self.series().cost(cost.pico()),
            None if (price.is_some() || outcome.usage.is_some())
                && !outcome.unused()
                && outcome.usage.is_none_or(|usage| usage.billed) =>
            {
                self.series().unpriced();
            }
            None => {}
        }
    }

    /// How the reply came.
    #[cold]
    fn paced(&self, first: Instant, took: Duration, outcome: &Outcome) {
        if !self.pace.is_streamed() {
            return;
        }
        let until_first = first.saturating_duration_since(self.began);
        self.series().first_chunk(until_first.as_secs_f64());
        if outcome.class == Class::Success
            && let Some(Usage { output: 2.., .. }) = outcome.usage
        {
            let further = outcome.usage.map_or(1, |usage| usage.output - 1);
            let rest = took.saturating_sub(until_first).as_secs_f64();
            self.series().per_token(rest / further as f64);
        }
    }

    /// For those who want to know more.
    #[cold]
    fn tell(&self, extra: &Extra, outcome: &Outcome, took: Duration) {
        let attempts = match &self.ledger {
            Some(ledger) => ledger.attempts(),
            None => extra.attempt,
        };
        let trail = self.ledger.as_ref().map(Ledger::trail).unwrap_or_default();
        let first = self.pace.first.filter(|_| self.pace.is_streamed());
        let record = CallRecord {
            place: self.set.settings.place,
            request_id: extra.request_id.as_deref(),
            labels: self.labels(),
            outcome,
            reason: self.reason,
            took,
            first_content: first.map(|first| first.saturating_duration_since(self.began)),
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
        let mut outcome = match &self.ledger {
            Some(ledger) => ledger.total(outcome),
            None => *outcome,
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
        if let Some(first) = self.pace.first {
            self.paced(first, took, &outcome);
        }
        // What follows may ask the user's code.
        self.price(&mut outcome);
        if let Some(extra) = &self.extra {
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
        self.pace.pieces = self.pace.pieces.saturating_add(1);
        if self.pace.first.is_some() && !self.set.settings.per_chunk {
            return;
        }
        let now = Instant::now();
        if self.pace.first.is_none() {
            self.pace.first = Some(now);
        } else if let Some(last) = self.pace.last {
            let since = now.saturating_duration_since(last);
            self.series().chunk(since.as_secs_f64());
        }
        self.pace.last = Some(now);
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
