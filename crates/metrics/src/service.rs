use std::{
    any::type_name,
    fmt, ptr,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{CallInfo, Carry, Classify, Completion, Ledger, Track};
use tower_service::Service;
use tracing::Span;

use crate::{
    Describe, ResponseFuture,
    call::{Call, Extra},
    record::bounded_id,
    settings::Settings,
    span,
    table::Table,
};

/// The service that [`MetricsLayer`](crate::MetricsLayer) makes. It is ready when the inner service
/// is.
pub struct MetricsService<P, D, S> {
    inner: S,
    protocol: P,
    describe: D,
    settings: Arc<Settings>,
    table: Arc<Table>,
}

// ===== impl MetricsService =====

impl<P, D, S> MetricsService<P, D, S> {
    pub(crate) const fn new(
        inner: S,
        protocol: P,
        describe: D,
        settings: Arc<Settings>,
        table: Arc<Table>,
    ) -> Self {
        Self {
            inner,
            protocol,
            describe,
            settings,
            table,
        }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service, which is not measured.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<P, D, S, Req> Service<Req> for MetricsService<P, D, S>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Carry<Req> + Clone,
    D: Describe<Req, S::Response> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P, D, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let (protocol, describe) = (self.protocol.clone(), self.describe.clone());
        let labels = self.describe.labels(&request);
        let set = self.table.set(&self.settings, &labels);
        let span = match span::is_off() {
            true => Span::none(),
            false => span::begins(&self.settings, &set.labels(), &labels),
        };
        let is_told = !span.is_disabled() || self.settings.on_call.is_some();
        // From here on the call is in flight, whatever panics.
        let mut completion = Completion::new(Call::begin(set, labels.streamed));
        let call = completion.get_mut();
        if is_told || self.settings.price.is_some() {
            call.asks(labels.request_model);
        }
        if is_told {
            call.with_extra(self.extra(&mut request, span));
        }
        // What an attempt had used that ends before there is a response is told there alone.
        if (self.settings.place.has_ledger() || self.protocol.info(&request).ledger.is_some())
            && let Some(ledger) = self.ledger(&mut request)
        {
            call.with_ledger(ledger);
        }
        let entered = call.span().map(Span::enter);
        let response = self.inner.call(request);
        drop(entered);
        ResponseFuture::new(response, completion, protocol, describe)
    }
}

impl<P, D, S> MetricsService<P, D, S> {
    #[cold]
    fn extra<Req>(&self, request: &mut Req, span: Span) -> Extra
    where
        S: Service<Req>,
        P: Carry<Req>,
        D: Describe<Req, S::Response>,
    {
        let request_id = self.describe.request_id(request).map(bounded_id);
        let attempt = self.protocol.info(request).attempt;
        if !span.is_disabled() {
            span::tells(&span, request_id.as_deref());
            if let Some(prompt) = self.describe.prompt(request) {
                span.record("gen_ai.input.messages", &*prompt);
            }
            self.describe.propagate(request, &span);
        }
        Extra {
            span,
            request_id,
            attempt,
        }
    }

    /// Where attempts that are given up are added, if the request has a place for it.
    #[inline]
    fn ledger<Req>(&self, request: &mut Req) -> Option<Ledger>
    where
        P: Carry<Req>,
    {
        let carries = self.settings.carries.get_or_init(|| {
            let info = self.protocol.info(request).clone();
            self.protocol.set_info(request, info);
            !ptr::eq(self.protocol.info(request), CallInfo::absent())
        });
        carries.then(|| {
            let mut info = self.protocol.info(request).clone();
            let ledger = Ledger::under(info.ledger.as_ref());
            info.ledger = Some(ledger.clone());
            self.protocol.set_info(request, info);
            ledger
        })
    }
}

impl<P: Clone, D: Clone, S: Clone> Clone for MetricsService<P, D, S> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.protocol.clone(),
            self.describe.clone(),
            Arc::clone(&self.settings),
            Arc::clone(&self.table),
        )
    }
}

impl<P, D, S: fmt::Debug> fmt::Debug for MetricsService<P, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsService")
            .field("inner", &self.inner)
            .field("describe", &format_args!("{}", type_name::<D>()))
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
