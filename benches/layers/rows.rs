//! Everything that is measured.

mod body;
mod breaker;
mod cache;
mod failover;
mod http;
mod key;
mod llm;
mod metrics;
mod parts;
mod plain;
mod rate_limit;
mod rival;
mod sse;
mod stack;
mod timeout;
#[path = "../../tests/toys/mod.rs"]
mod toys;

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use crate::row::Group;

/// Those whose group or name contains `only`, and what they are compared with.
pub(crate) fn groups(only: &str) -> Vec<Group> {
    let groups = [
        parts::group(),
        stack::http(),
        stack::plain(),
        stack::threads(),
        plain::group(),
        plain::threads(),
        breaker::group(),
        breaker::threads(),
        cache::hits(),
        cache::chats(),
        cache::misses(),
        cache::http(),
        cache::threads(),
        cache::crowd(),
        rate_limit::group(),
        rate_limit::axum(),
        failover::group(),
        http::group(),
        body::group(),
        timeout::plain(),
        timeout::http(),
        timeout::chunk(),
        timeout::paced(),
        metrics::plain(),
        metrics::http(),
        metrics::chunk(),
        llm::openai(),
        llm::anthropic(),
    ];
    let groups = groups.into_iter().chain(key::groups()).chain(sse::groups());
    let chosen = groups.map(|mut group| {
        let first = group.rows.remove(0);
        if !group.name.contains(only) {
            group.rows.retain(|row| row.name.contains(only));
        }
        group.rows.insert(0, first);
        group
    });
    chosen.filter(|group| group.rows.len() > 1).collect()
}

/// What a future that is ready at once comes to.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("everything here is ready at once"),
    }
}

/// One call, which must go well.
fn call<S, Req>(service: &mut S, request: Req) -> S::Response
where
    S: Service<Req>,
    S::Error: std::fmt::Debug,
{
    now(poll_fn(|cx| service.poll_ready(cx))).expect("it is ready");
    now(service.call(request)).expect("it answers")
}
