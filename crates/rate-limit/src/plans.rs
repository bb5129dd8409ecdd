//! The quotas that are in use, so that keys of the same share one plan.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Quotas, quotas::Plan};

pub(crate) struct Plans {
    known: Mutex<Known>,
}

struct Known {
    default: Arc<Plan>,
    others: Vec<Arc<Plan>>,
}

/// So many different quotas are shared by keys that have the same; more are kept by each key.
const SHARED: usize = 64;

// ===== impl Plans =====

impl Plans {
    pub(crate) fn new(quotas: Quotas) -> Self {
        Self {
            known: Mutex::new(Known {
                default: Arc::new(Plan::new(quotas)),
                others: Vec::new(),
            }),
        }
    }

    /// The plan of everybody.
    pub(crate) fn default(&self) -> Arc<Plan> {
        Arc::clone(&self.lock().default)
    }

    /// Has everybody another one. Which it was.
    pub(crate) fn replace_default(&self, plan: &Arc<Plan>) -> Arc<Plan> {
        std::mem::replace(&mut self.lock().default, Arc::clone(plan))
    }

    /// The plan of these quotas, the one that other keys have if there is one.
    pub(crate) fn shared(&self, quotas: Quotas) -> Arc<Plan> {
        let mut known = self.lock();
        let plan = known.others.iter().find(|plan| plan.source == quotas);
        if let Some(plan) = plan {
            return Arc::clone(plan);
        }
        let plan = Arc::new(Plan::new(quotas));
        if known.others.len() == SHARED {
            known.others.retain(|plan| Arc::strong_count(plan) > 1);
        }
        if known.others.len() < SHARED {
            known.others.push(Arc::clone(&plan));
        }
        plan
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
