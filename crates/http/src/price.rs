use buttress_core::{Finish, Money, Outcome, Progress, Usage};
use bytes::Bytes;
use http::{Extensions, HeaderMap, Request};

use crate::Meter;

/// What the tokens of one call cost. `None`: nobody knows; that is not free.
pub type Tariff = Box<dyn Fn(&Usage) -> Option<Money> + Send>;

/// What calls cost: given to [`TrackLayer::price`](crate::TrackLayer::price).
///
/// A closure `|request: &Request<_>| -> Option<Tariff>` is one. It is asked for each call, before it is
/// made, because the request knows the model; the [`Tariff`] is asked whenever somebody wants to know
/// what the call has cost so far.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a request with a body of `{A}` costs",
    label = "no price for these requests",
    note = "a closure `|request: &Request<{A}>| -> Option<Tariff>` is one"
)]
pub trait Price<A> {
    /// What this request's tokens will cost. `None`: nobody knows.
    fn tariff(&self, request: &Request<A>) -> Option<Tariff>;
}

/// Nobody knows what calls cost: the default of [`TrackLayer`](crate::TrackLayer).
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpriced;

/// A meter whose tokens have a price.
pub(crate) struct PricedMeter {
    meter: Box<dyn Meter>,
    tariff: Tariff,
}

impl<A> Price<A> for Unpriced {
    #[inline]
    fn tariff(&self, _: &Request<A>) -> Option<Tariff> {
        None
    }
}

impl<A, F: Fn(&Request<A>) -> Option<Tariff>> Price<A> for F {
    fn tariff(&self, request: &Request<A>) -> Option<Tariff> {
        self(request)
    }
}

// ===== impl PricedMeter =====

impl PricedMeter {
    pub(crate) fn over(meter: Box<dyn Meter>, tariff: Option<Tariff>) -> Box<dyn Meter> {
        match tariff {
            Some(tariff) => Box::new(Self { meter, tariff }),
            None => meter,
        }
    }
}

impl Meter for PricedMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        self.meter.chunk(data)
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.meter.trailers(trailers);
    }

    fn verdict(&self, ended: bool) -> Option<Outcome> {
        self.meter.verdict(ended)
    }

    fn usage(&self) -> Option<Usage> {
        self.meter.usage()
    }

    fn cost(&self) -> Option<Money> {
        let priced = || {
            let usage = self.meter.usage().filter(|usage| usage.billed)?;
            (self.tariff)(&usage)
        };
        self.meter.cost().or_else(priced)
    }

    fn finish(&self) -> Option<Finish> {
        self.meter.finish()
    }

    fn learned(&self, head: &mut Extensions) {
        self.meter.learned(head);
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::{Money, Outcome, Progress, Usage};
    use bytes::Bytes;

    use super::{PricedMeter, Tariff};
    use crate::Meter;

    struct Told(Usage, Option<Money>);

    impl Meter for Told {
        fn chunk(&mut self, _: &Bytes) -> Progress {
            Progress::Content
        }

        fn verdict(&self, _: bool) -> Option<Outcome> {
            None
        }

        fn usage(&self) -> Option<Usage> {
            Some(self.0)
        }

        fn cost(&self) -> Option<Money> {
            self.1
        }
    }

    #[test]
    fn a_price_holds_for_tokens_that_are_billed_and_where_the_meter_does_not_know_better() {
        let told = |usage, cost| {
            let tariff: Tariff = Box::new(|usage| Some(Money::from_pico(2).times(usage.total())));
            PricedMeter::over(Box::new(Told(usage, cost)), Some(tariff)).cost()
        };
        let billed = Usage::new(3, 4);
        let unbilled = Usage {
            billed: false,
            ..billed
        };
        assert_eq!(told(billed, None), Some(Money::from_pico(14)));
        assert_eq!(told(unbilled, None), None);
        let known = Some(Money::from_pico(5));
        assert_eq!(told(billed, known), known);
    }
}
