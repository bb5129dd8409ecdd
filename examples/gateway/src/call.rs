//! One call, from its start to the end of its reply: what is counted of it, and its line in the log.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use buttress_core::{Outcome, Report};
use http::{HeaderValue, Method, StatusCode, request::Parts};
use tokio::time::Instant;

use crate::{endpoint::Endpoint, fault::Fault, gateway::Id, log::Log};

/// What the log says of a request, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Line {
    log: Log,
    begun: Instant,
    method: Method,
    path: Box<str>,
    model: Option<Box<str>>,
}

/// Counts a call to an endpoint and writes its line, once it is over.
///
/// It is a [`Report`], and so it goes where the reply goes: attached to the reply's body, it hears
/// how the call went when that body has ended, failed, or been dropped.
#[derive(Debug)]
pub(crate) struct Call {
    endpoint: Arc<Endpoint>,
    line: Line,
    answered: Option<(StatusCode, HeaderValue)>,
}

/// Text that a caller chose: escaped, and not more of it than a line can bear.
struct Quoted<'a>(&'a str);

// ===== impl Line =====

impl Line {
    pub(crate) fn begin(log: &Log, head: &Parts) -> Self {
        let path = if log.is_quiet() { "" } else { head.uri.path() };
        Self {
            log: log.clone(),
            begun: Instant::now(),
            method: head.method.clone(),
            path: path.into(),
            model: None,
        }
    }

    pub(crate) fn model(&mut self, model: &str) {
        if !self.log.is_quiet() {
            self.model = Some(model.into());
        }
    }

    /// Writes it, for a request that reached no endpoint.
    pub(crate) fn turned_away(&self, fault: &Fault, id: Id) {
        let (status, why) = (fault.status().as_u16(), fault.reason());
        let millis = self.begun.elapsed().as_millis();
        self.write(format_args!(
            "status={status} class={why} ms={millis} id=\"{id}\""
        ));
    }

    fn write(&self, facts: fmt::Arguments<'_>) {
        let (method, path) = (&self.method, Quoted(&self.path));
        match &self.model {
            Some(model) => self.log.line(format_args!(
                "method={method} path={path} model={} {facts}",
                Quoted(model)
            )),
            None => self
                .log
                .line(format_args!("method={method} path={path} {facts}")),
        }
    }
}

// ===== impl Call =====

impl Call {
    pub(crate) fn begin(endpoint: &Arc<Endpoint>, line: Line) -> Self {
        endpoint.counters.begin();
        Self {
            endpoint: endpoint.clone(),
            line,
            answered: None,
        }
    }

    /// The caller is about to be told this, under this id.
    pub(crate) fn answered(&mut self, status: StatusCode, id: HeaderValue) {
        self.answered = Some((status, id));
    }
}

impl Report for Call {
    fn report(&mut self, outcome: &Outcome) {
        self.endpoint.counters.end(outcome);
        if self.line.log.is_quiet() {
            return;
        }
        let (status, id) = match &self.answered {
            Some((status, id)) => (status.as_u16(), id.to_str().unwrap_or_default()),
            None => (0, ""),
        };
        let (input, output) = outcome
            .usage
            .map_or((0, 0), |usage| (usage.input, usage.output));
        self.line.write(format_args!(
            "endpoint={} status={status} class={} tokens={input}+{output} ms={} id={}",
            self.endpoint.name,
            outcome.class,
            self.line.begun.elapsed().as_millis(),
            Quoted(id),
        ));
    }
}

// ===== impl Quoted =====

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 120;
        f.write_char('"')?;
        for char in self.0.chars().take(MOST) {
            write!(f, "{}", char.escape_debug())?;
        }
        f.write_char('"')
    }
}
