use std::sync::Arc;

use crate::{set::Member, settings::Settings};

pub(crate) type Check<S> = dyn Fn(Arc<Member>, &S, Arc<Settings>) + Send + Sync;
