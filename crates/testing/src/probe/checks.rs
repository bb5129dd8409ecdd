//! What the probe does to a layer, promise by promise.

mod bodies;
mod cancelling;
mod panicking;
mod readiness;
mod refusing;
mod repeating;
mod sharing;
mod waking;

pub(super) use self::{
    bodies::t5,
    cancelling::t4,
    panicking::t9,
    readiness::{t1, t2, t3},
    refusing::t8,
    repeating::{t10, t11},
    sharing::t7,
    waking::t6,
};
