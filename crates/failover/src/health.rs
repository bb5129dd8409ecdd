//! Asks endpoints that are cooling down whether they work again.

use std::{
    future::poll_fn,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use buttress_core::{Class, Classify, Outcome};
use tokio::{
    runtime,
    time::{sleep, timeout},
};
use tower_service::Service;

use crate::{
    FailoverEvent, Info,
    cool::Standing,
    set::{Member, Shared, now},
    settings::Settings,
};

/// A [`Probe`] whose service and request have no names any more.
pub(crate) trait Check: Send + Sync {
    /// An endpoint begins to cool down.
    fn begin(&self, member: &Arc<Member>, settings: &Arc<Settings>);
}

/// How endpoints are asked.
pub(crate) struct Probe<P, S, T> {
    asks: Arc<Asks<P, T>>,
    shared: Weak<Shared<S>>,
}

struct Asks<P, T> {
    protocol: P,
    every: Duration,
    request: T,
}

/// One endpoint that is asked. Dropped, it is no longer.
struct Checked(Option<Arc<Member>>);

// ===== impl Probe =====

impl<P, S, T> Probe<P, S, T> {
    pub(crate) fn new(protocol: P, every: Duration, request: T, shared: &Arc<Shared<S>>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            asks: Arc::new(Asks {
                protocol,
                every: every.min(DAY),
                request,
            }),
            shared: Arc::downgrade(shared),
        }
    }

    /// Of an endpoint that is among them still.
    fn service(&self, member: &Arc<Member>) -> Option<S>
    where
        S: Clone,
    {
        let set = self.shared.upgrade()?.set();
        let at = set.members.iter().position(|m| Arc::ptr_eq(m, member))?;
        Some(set.services[at].clone())
    }
}

impl<P, S, T, Req> Check for Probe<P, S, T>
where
    T: Fn(&Info) -> Req + Send + Sync + 'static,
    P: Classify<S::Response, S::Error> + Send + Sync + 'static,
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Future: Send,
    Req: Send + 'static,
{
    fn begin(&self, member: &Arc<Member>, settings: &Arc<Settings>) {
        if member.checked.swap(true, Ordering::AcqRel) {
            return;
        }
        let checked = Checked(Some(Arc::clone(member)));
        // Without a runtime, the cool-down is as long as it is.
        let (Ok(runtime), Some(service)) = (runtime::Handle::try_current(), self.service(member))
        else {
            return;
        };
        let (asks, shared) = (Arc::clone(&self.asks), Weak::clone(&self.shared));
        let settings = Arc::clone(settings);
        let member = Arc::clone(member);
        runtime.spawn(async move {
            let mut checked = checked;
            while asks.check(&member, &service, &shared, &settings).await
                && checked.goes_on(&settings)
            {}
        });
    }
}

// ===== impl Asks =====

impl<P, T> Asks<P, T> {
    /// Until it no longer cools down; or, and then `false`, is no longer to be asked.
    async fn check<S, Req>(
        &self,
        member: &Arc<Member>,
        service: &S,
        shared: &Weak<Shared<S>>,
        settings: &Arc<Settings>,
    ) -> bool
    where
        T: Fn(&Info) -> Req,
        P: Classify<S::Response, S::Error>,
        S: Service<Req> + Clone,
    {
        loop {
            let Some(drawn) = shared.upgrade().map(|shared| shared.draws.chance()) else {
                return false;
            };
            let wait = match member.cool.standing(now(), settings.cool.ramp) {
                Standing::Cooling { until, asked: true } => until.duration_since(now()),
                Standing::Cooling { .. } => {
                    let half = drawn as f64 / 2_f64.powi(64);
                    (self.every / 2).saturating_add(self.every.mul_f64(half))
                }
                _ => return true,
            };
            sleep(wait).await;
            match member.cool.standing(now(), settings.cool.ramp) {
                Standing::Cooling { asked: true, .. } => continue,
                Standing::Cooling { .. } => {}
                _ => return true,
            }
            if shared.strong_count() == 0 || member.weight() == 0 {
                return false;
            }
            let episode = member.cool.episode();
            let patience = self.every.max(Duration::from_secs(1));
            let outcome = timeout(patience, self.ask(service.clone(), &member.info))
                .await
                .unwrap_or(Outcome::new(Class::Unavailable));
            settings.tell(&FailoverEvent::Checked {
                endpoint: &member.info.name,
                class: outcome.class,
            });
            match outcome.class {
                Class::Success => member.cool.succeed(now(), episode),
                _ => settings.cool_down(member, &outcome, episode),
            }
        }
    }

    async fn ask<S, Req>(&self, mut service: S, info: &Info) -> Outcome
    where
        T: Fn(&Info) -> Req,
        P: Classify<S::Response, S::Error>,
        S: Service<Req>,
    {
        if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
            return self.protocol.classify(Err(&error));
        }
        let result = service.call((self.request)(info)).await;
        self.protocol.classify(result.as_ref())
    }
}

// ===== impl Checked =====

impl Checked {
    /// It is no longer asked; unless it began to cool down again before that could be seen, and so
    /// nobody else does.
    fn goes_on(&mut self, settings: &Settings) -> bool {
        let Some(member) = self.0.take() else {
            return false;
        };
        member.checked.store(false, Ordering::Release);
        let standing = member.cool.standing(now(), settings.cool.ramp);
        let cools = matches!(standing, Standing::Cooling { .. });
        let goes_on = cools && !member.checked.swap(true, Ordering::AcqRel);
        self.0 = goes_on.then_some(member);
        goes_on
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        if let Some(member) = &self.0 {
            member.checked.store(false, Ordering::Release);
        }
    }
}
