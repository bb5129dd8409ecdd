//! What all instances of one inner service share: the script, the counts and the transcript.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use tokio::time::Instant;

use super::{
    body::{Bodies, Content},
    instances::{Instances, Phase},
    promise::{Promise, Violation},
    reply::Failure,
};

/// How many lines of the transcript a violation shows.
const TRACE: usize = 24;

/// The shared part of an inner service. Nobody is woken and no call is answered with the lock held.
pub(super) struct Core {
    state: Mutex<State>,
    hook: Mutex<Option<(Point, Hook)>>,
}

/// What an instance says of its readiness.
pub(super) enum Readiness {
    Ready,
    Pending,
    Failed(Failure),
    Panic,
}

/// How the probe answers a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Reply(Content),
    /// A reply that reports a failure of the upstream in band, as a 503 does.
    Fault(Content),
    Fail,
}

/// Where foreign code runs inside the inner service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    Ready,
    Call,
    Future,
    Drop,
    Body,
}

/// Gives a call its answer; the typed half of it is the inner service's.
pub(super) type Sink = Box<dyn FnOnce(Answer, &Arc<Core>) + Send>;

pub(super) type Hook = Box<dyn FnOnce() + Send>;

struct State {
    started: Instant,
    transcript: Vec<String>,
    violations: Vec<Violation>,
    /// Counts what the inner service did: a poll without an event here made no progress.
    events: u64,
    instances: Instances,
    ready: bool,
    fail_ready: usize,
    panic: Option<Point>,
    panicked: bool,
    ready_polls: u64,
    failures: u64,
    calls: u64,
    unanswered: BTreeMap<u64, Sink>,
    in_flight: usize,
    script: VecDeque<Answer>,
    rest: Option<Answer>,
    bodies: Bodies,
}

// ===== impl Core =====

impl Core {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                started: Instant::now(),
                transcript: Vec::new(),
                violations: Vec::new(),
                events: 0,
                instances: Instances::default(),
                ready: true,
                fail_ready: 0,
                panic: None,
                panicked: false,
                ready_polls: 0,
                failures: 0,
                calls: 0,
                unanswered: BTreeMap::new(),
                in_flight: 0,
                script: VecDeque::new(),
                rest: None,
                bodies: Bodies::default(),
            }),
            hook: Mutex::new(None),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ----- instances -----

    pub(super) fn born(&self, parent: Option<u64>) -> u64 {
        let mut state = self.state();
        let id = state.instances.born(parent);
        match parent {
            Some(parent) => state.event(&format!("inner {id} is cloned from inner {parent}")),
            None => state.event(&format!("inner {id} is made")),
        }
        id
    }

    pub(super) fn gone(&self, id: u64) {
        let mut state = self.state();
        let reserved = match state.instances.gone(id) {
            Some(Phase::Reserved) => ", with its reservation",
            _ => "",
        };
        state.event(&format!("inner {id} is dropped{reserved}"));
    }

    pub(super) fn poll_ready(&self, id: u64, waker: &Waker) -> Readiness {
        let mut state = self.state();
        match state.instances.phase(id) {
            Phase::Failed => {
                let seen = format!("inner {id} was polled again after its poll_ready had failed");
                state.violate(Promise::T2, seen);
                return Readiness::Pending;
            }
            Phase::Reserved => {
                state.ready_polls += 1;
                return Readiness::Ready;
            }
            Phase::Unready | Phase::Waiting => state.ready_polls += 1,
        }
        if state.panics(Point::Ready) {
            state.event(&format!("inner {id} poll_ready: panics"));
            return Readiness::Panic;
        }
        if state.fail_ready > 0 {
            state.fail_ready -= 1;
            state.failures += 1;
            let failure = Failure::new(state.failures);
            state.instances.enter(id, Phase::Failed);
            state.event(&format!("inner {id} poll_ready: {failure}"));
            return Readiness::Failed(failure);
        }
        if state.ready {
            state.instances.enter(id, Phase::Reserved);
            state.event(&format!("inner {id} poll_ready: ready, reserved"));
            return Readiness::Ready;
        }
        if state.instances.wait(id, waker) {
            state.event(&format!("inner {id} poll_ready: pending"));
        }
        Readiness::Pending
    }

    /// Takes the reservation of an instance for a call, and gives the call a number; `None` if it
    /// shall panic.
    pub(super) fn call(&self, id: u64) -> Option<u64> {
        let mut state = self.state();
        state.calls += 1;
        let call = state.calls;
        state.event(&format!("inner {id} call: call {call}"));
        if let Err((promise, seen)) = state.instances.spend(id) {
            state.violate(promise, seen);
        }
        if state.panics(Point::Call) {
            state.event(&format!("call {call} panics before it has a future"));
            return None;
        }
        state.in_flight += 1;
        Some(call)
    }

    // ----- calls -----

    /// Registers how `call` is answered, and answers it if the script says how.
    pub(super) fn expect(self: &Arc<Self>, call: u64, sink: Sink) {
        let answer = {
            let mut state = self.state();
            match state.script.pop_front().or(state.rest) {
                Some(answer) => answer,
                None => {
                    state.unanswered.insert(call, sink);
                    return;
                }
            }
        };
        self.event(&format!("call {call} is answered: {answer:?}"));
        sink(answer, self);
    }

    /// Answers a call that waits; `false` if there is none of that number.
    pub(super) fn answer(self: &Arc<Self>, call: u64, answer: Answer) -> bool {
        let Some(sink) = self.state().unanswered.remove(&call) else {
            return false;
        };
        self.event(&format!("call {call} is answered: {answer:?}"));
        sink(answer, self);
        true
    }

    /// Answers every call that waits, oldest first.
    pub(super) fn answer_all(self: &Arc<Self>, answer: Answer) {
        let waiting: Vec<_> = self.state().unanswered.keys().copied().collect();
        for call in waiting {
            self.answer(call, answer);
        }
    }

    pub(super) fn ended(&self, call: u64, finished: bool) {
        let mut state = self.state();
        state.in_flight -= 1;
        let sink = state.unanswered.remove(&call);
        let how = if finished {
            "done"
        } else {
            "dropped unfinished"
        };
        state.event(&format!("call {call} is {how}"));
        drop(state);
        drop(sink);
    }

    pub(super) fn next_failure(&self) -> Failure {
        let mut state = self.state();
        state.failures += 1;
        Failure::new(state.failures)
    }

    // ----- the script -----

    pub(super) fn set_ready(&self, ready: bool) {
        let mut state = self.state();
        if state.ready == ready {
            return;
        }
        state.ready = ready;
        state.event(match ready {
            true => "the inner service becomes ready",
            false => "the inner service becomes busy",
        });
        let wakers: Vec<_> = match ready {
            true => state.instances.take_wakers(),
            false => Vec::new(),
        };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Fails the readiness of the next instance that asks; wakes those that wait.
    pub(super) fn fail_ready(&self) {
        let mut state = self.state();
        state.fail_ready += 1;
        let wakers: Vec<_> = state.instances.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn fails_ready(&self) -> bool {
        self.state().fail_ready > 0
    }

    /// Panics once, the next time that the inner service is at `point`.
    pub(super) fn panic_at(&self, point: Option<Point>) {
        self.state().panic = point;
    }

    pub(super) fn panics(&self, point: Point) -> bool {
        self.state().panics(point)
    }

    /// Whether it ever did.
    pub(super) fn has_panicked(&self) -> bool {
        self.state().panicked
    }

    /// Answers the next calls with `answers`, and those after them with `rest`, or not.
    pub(super) fn script(&self, answers: impl IntoIterator<Item = Answer>, rest: Option<Answer>) {
        let mut state = self.state();
        state.script = answers.into_iter().collect();
        state.rest = rest;
    }

    /// Whether calls are not answered until the probe does.
    pub(super) fn is_silent(&self) -> bool {
        let state = self.state();
        state.script.is_empty() && state.rest.is_none()
    }

    /// Runs `hook` once, the next time that the inner service is at `point`.
    pub(super) fn hook(&self, point: Point, hook: Hook) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some((point, hook));
    }

    pub(super) fn at(&self, point: Point) {
        let hook = {
            let mut hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
            hook.take_if(|(at, _)| *at == point)
        };
        if let Some((_, hook)) = hook {
            hook();
        }
    }

    /// Takes a hook away that was not run.
    pub(super) fn unhook(&self) {
        let hook = self
            .hook
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(hook);
    }

    // ----- counts -----

    pub(super) fn reserved(&self) -> usize {
        self.state().instances.reserved()
    }

    pub(super) fn instances(&self) -> usize {
        self.state().instances.count()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn ready_polls(&self) -> u64 {
        self.state().ready_polls
    }

    pub(super) fn last_failure(&self) -> Failure {
        Failure::new(self.state().failures)
    }

    pub(super) fn events(&self) -> u64 {
        self.state().events
    }

    // ----- bodies -----

    pub(super) fn bodies<R>(&self, act: impl FnOnce(&mut Bodies) -> R) -> R {
        act(&mut self.state().bodies)
    }

    /// Changes a body, logs it, and wakes whoever reads it.
    pub(super) fn change_body(&self, body: u64, what: &str, act: impl FnOnce(&mut Bodies)) {
        let mut state = self.state();
        act(&mut state.bodies);
        state.event(&format!("body {body} {what}"));
        let waker = state.bodies.take_waker(body);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll_body<T>(
        &self,
        act: impl FnOnce(&mut Bodies) -> Poll<(T, Option<String>)>,
    ) -> Poll<T> {
        let mut state = self.state();
        act(&mut state.bodies).map(|(value, event)| {
            if let Some(event) = event {
                state.event(&event);
            }
            value
        })
    }

    // ----- the transcript -----

    /// Notes something that the inner service did.
    pub(super) fn event(&self, event: &str) {
        self.state().event(event);
    }

    /// Notes something that the probe did.
    pub(super) fn note(&self, note: impl fmt::Display) {
        self.state().write(&note);
    }

    pub(super) fn violate(&self, promise: Promise, seen: impl Into<String>) {
        self.state().violate(promise, seen.into());
    }

    pub(super) fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.state().violations)
    }

    pub(super) fn has_violations(&self) -> bool {
        !self.state().violations.is_empty()
    }

    pub(super) fn transcript(&self) -> Vec<String> {
        self.state().transcript.clone()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Core")
            .field("ready", &state.ready)
            .field("calls", &state.calls)
            .field("in_flight", &state.in_flight)
            .finish_non_exhaustive()
    }
}

// ===== impl State =====

impl State {
    fn event(&mut self, event: &str) {
        self.events += 1;
        self.write(&event);
    }

    fn write(&mut self, line: &dyn fmt::Display) {
        let at = self.started.elapsed().as_millis();
        self.transcript.push(format!("{at:>6} ms  {line}"));
    }

    fn panics(&mut self, point: Point) -> bool {
        let panics = self.panic.take_if(|at| *at == point).is_some();
        self.panicked |= panics;
        panics
    }

    fn violate(&mut self, promise: Promise, seen: String) {
        let lines = &self.transcript;
        let trace = match lines.len().saturating_sub(TRACE) {
            0 | 1 => lines.clone(),
            // The first says which scene this is.
            from => [
                &lines[..1],
                &[format!("     …     {} lines", from - 1)],
                &lines[from..],
            ]
            .concat(),
        };
        self.write(&format_args!("^ {promise} is broken"));
        self.violations.push(Violation::new(promise, seen, trace));
    }
}
