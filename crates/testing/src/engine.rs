//! How a request becomes a plan: scripts, models, and what fails the test.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Method, StatusCode};

use crate::{
    Carrier, Dialect, Hint, Limit, Log, Match, Reply, Request, Script,
    clock::Clock,
    dialect::{Envelope, JSON},
    fault::Call,
    limit::{Limiter, Verdict},
    log::Exchange,
    plan::{Head, Plan},
    script::Progress,
};

/// What every transport of one provider shares.
pub(crate) struct Engine {
    pub(crate) dialect: Dialect,
    pub(crate) max_body: usize,
    pub(crate) log: Log,
    clock: Clock,
    limiter: Option<Limiter>,
    models: Vec<String>,
    conditions: Vec<Match>,
    progress: Mutex<Vec<Progress>>,
    failures: Mutex<Failures>,
}

/// What fails the test; the first few in words, all of them in number.
#[derive(Default)]
struct Failures {
    shown: Vec<String>,
    count: u64,
}

/// How many failures are kept in words.
const SHOWN: usize = 20;

// ===== impl Engine =====

impl Engine {
    pub(crate) fn new(
        dialect: Dialect,
        models: Vec<String>,
        scripts: Vec<(Match, Script)>,
        max_body: usize,
        log: Log,
        clock: Clock,
        limit: Option<Limit>,
    ) -> Self {
        let (conditions, scripts): (Vec<_>, Vec<_>) = scripts.into_iter().unzip();
        Self {
            dialect,
            max_body,
            log,
            clock,
            limiter: limit.map(Limiter::new),
            models,
            conditions,
            progress: Mutex::new(scripts.into_iter().map(Progress::new).collect()),
            failures: Mutex::default(),
        }
    }

    /// Writes the request down and decides what it gets.
    pub(crate) fn answer(
        &self,
        carrier: Carrier,
        connection: u64,
        request: Request,
    ) -> (Exchange, Plan) {
        // The conditions are the user's code, which runs under no lock. Which of the scripts gives
        // the reply is decided in the order of arrival.
        let matching = match self.lists_models(&request) {
            true => Ok(Vec::new()),
            false => catch(|| self.matching(&request)),
        };
        let (exchange, reply) = self.log.receive(connection, request, || match &matching {
            Ok(matching) => {
                let mut progress = lock(&self.progress);
                Ok(matching.iter().find_map(|at| progress[*at].take()))
            }
            Err(panic) => Err(panic.clone()),
        });
        let mut plan = self.plan(carrier, &exchange, reply);
        self.limit(&mut plan, &exchange, carrier);
        if matches!(plan.head, Head::Proper | Head::Spoiled(_)) {
            exchange.status(plan.status.as_u16());
        }
        (exchange, plan)
    }

    /// Notes what fails the test when it ends.
    pub(crate) fn fail(&self, failure: String) {
        let mut failures = lock(&self.failures);
        failures.count += 1;
        if failures.shown.len() < SHOWN {
            failures.shown.push(failure);
        }
    }

    /// What has failed, and, if `all` is asked, what was left unused; `None` if nothing.
    pub(crate) fn verdict(&self, all: bool) -> Option<String> {
        let failures = lock(&self.failures);
        let progress = lock(&self.progress);
        let unused = all && progress.iter().any(|script| !script.used_up());
        if failures.count == 0 && !unused {
            return None;
        }
        let mut verdict = String::from("the scripted provider fails this test");
        for failure in &failures.shown {
            verdict.push_str("\n  - ");
            verdict.push_str(failure);
        }
        if failures.count > SHOWN as u64 {
            let more = failures.count - SHOWN as u64;
            verdict.push_str(&format!("\n  - and {more} more"));
        }
        if unused {
            verdict.push_str("\n  - scripts were left unused");
        }
        verdict.push_str("\n  its scripts, in order:");
        for (script, condition) in progress.iter().zip(&self.conditions) {
            let left = if all && !script.used_up() {
                " <- unused"
            } else {
                ""
            };
            verdict.push_str(&format!("\n    {}{left}", script.report(condition)));
        }
        Some(verdict)
    }

    /// Holds a call against the limits, if there are any: what its reply would use is charged, or
    /// it gets a 429 in place of that reply.
    fn limit(&self, plan: &mut Plan, exchange: &Exchange, carrier: Carrier) {
        let request = exchange.received();
        let Some(limiter) = self.limiter.as_ref().filter(|_| request.is_call()) else {
            return;
        };
        let now = self.clock.now();
        let limits = match limiter.charge(plan.usage.total()) {
            Verdict::Admitted(limits) => limits,
            Verdict::Limited(limits, wait) => {
                self.log.limited_one();
                let call = Call {
                    dialect: self.dialect,
                    request,
                    id: request.number(),
                    carrier,
                    now,
                };
                // Whole seconds, and never too early.
                let hint = match self.dialect {
                    Dialect::Gemini => Hint::RetryInfo(wait.as_nanos().div_ceil(1_000_000) as u64),
                    _ => Hint::Seconds(wait.as_nanos().div_ceil(1_000_000_000) as u64),
                };
                match Reply::hinted(hint).plan(&call) {
                    Ok(limited) => *plan = limited,
                    Err(why) => self.fail(why),
                }
                limits
            }
        };
        for (name, value) in limits.headers(self.dialect, now) {
            plan.set(&name, &value);
        }
    }

    fn matching(&self, request: &Request) -> Vec<usize> {
        let all = self.conditions.iter().enumerate();
        all.filter(|(_, condition)| condition.matches(request))
            .map(|(at, _)| at)
            .collect()
    }

    fn plan(
        &self,
        carrier: Carrier,
        exchange: &Exchange,
        reply: Result<Option<Arc<Reply>>, String>,
    ) -> Plan {
        let request = exchange.received();
        if self.lists_models(request) {
            return Plan::whole(StatusCode::OK, JSON, self.dialect.models(&self.models));
        }
        let call = Call {
            dialect: self.dialect,
            request,
            id: request.number(),
            carrier,
            now: self.clock.now(),
        };
        let found = match reply {
            Ok(Some(reply)) => catch(|| reply.plan(&call)).and_then(|plan| plan),
            Ok(None) => Err("no script expects it".to_owned()),
            Err(panic) => Err(panic),
        };
        found.unwrap_or_else(|why| {
            let failure = format!("{}: {why}", request.summary());
            let message = format!("buttress-testing: {failure}");
            self.fail(failure);
            self.refuse(StatusCode::NOT_IMPLEMENTED, &message)
        })
    }

    /// An error in the dialect's envelope that is the provider's own, not a script's.
    pub(crate) fn refuse(&self, status: StatusCode, message: &str) -> Plan {
        let body = self.dialect.error(&Envelope {
            status: status.as_u16(),
            kind: Some("unexpected_request"),
            message: Some(message),
            ..Envelope::default()
        });
        Plan::whole(status, JSON, body)
    }

    fn lists_models(&self, request: &Request) -> bool {
        let asked = request.method() == Method::GET && request.path().ends_with("/models");
        asked && !self.models.is_empty()
    }
}

/// A panic in the user's code, as a failure of the test and not of the provider.
fn catch<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let words = words(&*panic);
        format!("a closure of the script panicked: {words}")
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with no words")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
