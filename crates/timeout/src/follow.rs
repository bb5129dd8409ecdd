use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Outcome, Progress, Refused, Report};
use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    future::poll_timer,
    layer::Observer,
    plan::Plan,
    watch::{Wake, Watch},
};

/// The interest in a response, to the end of its body: a [`Watch`] with a timer.
pub(crate) struct Follow {
    watch: Watch,
    // Made when the body is waited for, and the same one to its end.
    timer: Option<Pin<Box<Sleep>>>,
    observer: Option<Arc<Observer>>,
    // When it was asked last, nothing was left of what its task may do at a time.
    spent: bool,
}

// ===== impl Follow =====

impl Follow {
    #[inline]
    pub(crate) const fn new(plan: Plan, observer: Option<Arc<Observer>>) -> Self {
        Self {
            watch: Watch::new(plan),
            timer: None,
            observer,
            spent: false,
        }
    }

    fn arm(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at),
            None => self.timer = Some(Box::pin(sleep_until(at))),
        }
    }
}

impl Report for Follow {
    // The timer goes with it.
    fn report(&mut self, _: &Outcome) {}

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        self.watch.hear(progress);
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Refused> {
        // A body that was polled after all that its task may do had no turn; one that is found so
        // again took it all.
        let spent = !has_budget_remaining();
        let had_turn = mem::replace(&mut self.spent, spent) || !spent;
        loop {
            if !self.watch.is_new() {
                match &mut self.timer {
                    Some(timer) => ready!(poll_timer(timer.as_mut(), had_turn, cx)),
                    None => return Poll::Pending,
                }
            }
            match self.watch.look(Instant::now()) {
                Wake::At(at) => self.arm(at),
                Wake::Never => self.timer = None,
                Wake::Cut(cut) => {
                    let refused = cut.refused(self.watch.has_begun());
                    if let Some(observer) = &self.observer {
                        observer(&cut.event(&refused));
                    }
                    return Poll::Ready(refused);
                }
            }
        }
    }
}
