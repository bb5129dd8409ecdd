//! The promises of the rate limit, from outside.

mod contract;

use std::num::NonZeroU32;

use buttress_rate_limit::{Quota, Quotas};

/// So many a minute.
fn minute(units: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(units).unwrap())
}

fn requests(units: u32) -> Quotas {
    Quotas::requests(minute(units))
}
