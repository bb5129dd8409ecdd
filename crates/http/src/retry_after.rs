//! TODO
use http::HeaderMap;
use std::time::{Duration, SystemTime};
pub struct Hints {
    pub retry_after: Option<Duration>,
    pub should_retry: Option<bool>,
}
impl Hints {
    pub fn from_headers(_h: &HeaderMap, _now: impl FnOnce() -> SystemTime) -> Self {
        Self {
            retry_after: None,
            should_retry: None,
        }
    }
}
