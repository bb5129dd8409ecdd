//! Which endpoint is next, and when there is none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_core::{Class, Event, Finish, Outcome, ProtocolExt, Sent, Usage};
use buttress_failover::{
    Choice, Endpoint, EndpointsError, Failover, Next, Ordered, Stop, StrategyExt,
};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::{
    DOWN, Failed, OK, Ready, Told, Upstream, accounted, ask, count, failover, log, ms, named,
    protocol, secs, stop,
};

#[tokio::test(start_paused = true)]
async fn the_first_endpoint_serves_and_the_others_wait_for_it() {
    let upstreams = [Upstream::new("a", [OK]), Upstream::new("b", [OK])];
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams).on_event(observer);
    let (ask, ledger) = accounted();
    assert_eq!(service.oneshot(ask).await, Ok("a"));
    assert_eq!((upstreams[0].calls(), upstreams[1].calls()), (1, 0));
    assert_eq!((ledger.attempts(), ledger.trail().len()), (1, 0));
    let done = Told::Done {
        endpoint: Some("a".into()),
        variant: None,
        attempts: 1,
        class: Class::Success,
        failed: 0,
        stop: Stop::Settled,
    };
    assert_eq!(*told.lock().unwrap(), [done]);
}

#[tokio::test(start_paused = true)]
async fn f1_never_the_same_endpoint_twice_while_another_is_untried() {
    let upstreams = ["a", "b", "c", "d"].map(|name| Upstream::new(name, [DOWN]));
    let service = failover(protocol(), &upstreams).max_attempts(count(9));
    for calls in 1..=10 {
        assert!(service.clone().oneshot(ask()).await.is_err());
        assert!(upstreams.iter().all(|upstream| upstream.calls() == calls));
    }
}

#[tokio::test(start_paused = true)]
async fn f1_not_even_when_a_strategy_chooses_the_same_one_again() {
    struct Stubborn;
    impl<Req> buttress_failover::Strategy<Req> for Stubborn {
        fn choose(&self, _: &Req, candidates: buttress_failover::Candidates<'_>) -> Option<Choice> {
            static FIRST: std::sync::Mutex<Option<Choice>> = std::sync::Mutex::new(None);
            let mut first = FIRST.lock().unwrap();
            let choice = first.get_or_insert_with(|| Choice::of(candidates.iter().next().unwrap()));
            Some(choice.clone())
        }
    }
    impl Clone for Stubborn {
        fn clone(&self) -> Self {
            Self
        }
    }
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let service = failover(protocol(), &upstreams).strategy(Stubborn);
    assert_eq!(service.oneshot(ask()).await.unwrap_err().at, "a");
    assert_eq!((upstreams[0].calls(), upstreams[1].calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn f3_the_class_decides_whether_another_endpoint_is_tried() {
    for class in Class::ALL {
        if class == Class::Success {
            continue;
        }
        let upstreams = [
            Upstream::new("a", [Outcome::new(class)]),
            Upstream::new("b", [OK]),
        ];
        let reply = failover(protocol(), &upstreams).oneshot(ask()).await;
        let moves = matches!(
            class,
            Class::Throttled | Class::Unavailable | Class::Unstarted | Class::Refused
        );
        assert_eq!(upstreams[1].calls(), usize::from(moves), "{class}");
        assert_eq!(reply.is_ok(), moves, "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn f3_denied_goes_only_to_another_credential() {
    let denied = Outcome::new(Class::Denied);
    let upstreams = ["a", "b", "c", "d"].map(|name| Upstream::new(name, [denied]));
    upstreams[3].set(OK);
    // The first two share a credential, the third does not say which it has.
    let ids = [Some("x"), Some("x"), None, Some("y")];
    let endpoints = named(&upstreams).into_iter().zip(ids);
    let endpoints = endpoints.map(|(endpoint, id)| match id {
        Some(id) => endpoint.credential(id),
        None => endpoint,
    });
    let service = Failover::over(protocol(), endpoints).unwrap();
    assert_eq!(service.oneshot(ask()).await, Ok("d"));
    assert_eq!(upstreams.each_ref().map(Upstream::calls), [1, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn f3_f5_nor_to_the_same_credential_at_an_endpoint_that_was_added_meanwhile() {
    let denied = Outcome::new(Class::Denied);
    let upstreams = [
        Upstream::new("a", [denied]),
        Upstream::slow("b", [(secs(1), denied)]),
        Upstream::new("c", [OK]),
    ];
    let [a, b, c] = named(&upstreams);
    let endpoints = [a.credential("x"), b.credential("y")];
    let service = Failover::over(protocol(), endpoints).unwrap();
    let call = tokio::spawn(service.clone().oneshot(ask()));
    tokio::task::yield_now().await;
    service.handle().add(c.credential("x")).unwrap();
    assert_eq!(call.await.unwrap().unwrap_err().at, "a");
    assert_eq!(upstreams.each_ref().map(Upstream::calls), [1, 1, 0]);
}

/// While `b` is waited for, so that the request is there still for what is added.
#[tokio::test(start_paused = true)]
async fn f1_f3_f5_what_failed_a_call_is_known_when_the_endpoints_change() {
    for (class, credential, served) in [
        (Class::Denied, "x", None),
        (Class::Denied, "z", Some("c")),
        (Class::Unavailable, "x", Some("c")),
    ] {
        for weight in [0, 1] {
            let upstreams = [
                Upstream::new("a", [Outcome::new(class)]),
                Upstream::new("b", [OK]),
                Upstream::new("c", [OK]),
            ];
            upstreams[1].set_ready(Ready::Never);
            let [a, b, c] = named(&upstreams);
            let endpoints = [a.credential("x"), b.credential("y")];
            let service = Failover::over(protocol(), endpoints)
                .unwrap()
                .cool_down(secs(0), secs(0))
                .ready_within(secs(1));
            let call = tokio::spawn(service.clone().oneshot(ask()));
            tokio::task::yield_now().await;
            let added = c.credential(credential).weight(weight);
            service.handle().add(added).unwrap();
            let served = served.filter(|_| weight > 0);
            assert_eq!(call.await.unwrap().ok(), served, "{class} {credential}");
            let calls = upstreams.each_ref().map(Upstream::calls);
            assert_eq!(calls, [1, 0, served.map_or(0, |_| 1)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f3_denied_goes_nowhere_from_an_endpoint_that_does_not_say_what_it_uses() {
    let denied = Outcome::new(Class::Denied);
    let upstreams = [Upstream::new("a", [denied]), Upstream::new("b", [OK])];
    let [one, other] = named(&upstreams);
    let service = Failover::over(protocol(), [one, other.credential("y")]).unwrap();
    assert_eq!(service.oneshot(ask()).await.unwrap_err().at, "a");
}

#[tokio::test(start_paused = true)]
async fn f3_what_is_unfit_goes_where_it_was_told_to() {
    let unfit = Outcome::new(Class::Unfit);
    for (next, served) in [
        (Next::Nowhere, None),
        (Next::Any, Some("b")),
        (Next::LargerContext, Some("d")),
    ] {
        let upstreams = ["a", "b", "c", "d"].map(|name| Upstream::new(name, [OK]));
        upstreams[0].set(unfit);
        let [a, b, c, d] = named(&upstreams);
        let endpoints = [a.context(8000), b, c.context(8000), d.context(9000)];
        let service = Failover::over(protocol(), endpoints)
            .unwrap()
            .on_unfit(next);
        assert_eq!(service.oneshot(ask()).await.ok(), served, "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f3_what_a_content_filter_refused_is_the_answer_unless_the_user_decides_otherwise() {
    let refused = Outcome::new(Class::Unfit).with_finish(Finish::Filtered);
    let upstreams = [Upstream::new("a", [refused]), Upstream::new("b", [OK])];
    let service = failover(protocol(), &upstreams).on_unfit(Next::Any);
    assert_eq!(service.clone().oneshot(ask()).await.unwrap_err().at, "a");
    assert_eq!(upstreams[1].calls(), 0);
    let service = service.decide_with(|_: &crate::Ask, outcome, _| {
        (outcome.finish == Some(Finish::Filtered)).then_some(Next::Any)
    });
    assert_eq!(service.oneshot(ask()).await.ok(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn f3_the_user_can_decide_otherwise_for_a_request_and_its_endpoint() {
    let upstreams = [
        Upstream::new("a", [Outcome::new(Class::Invalid)]),
        Upstream::new("b", [DOWN]),
        Upstream::new("c", [OK]),
    ];
    let service = failover(protocol(), &upstreams).decide_with(|ask: &crate::Ask, outcome, at| {
        assert_eq!(ask.number, 7);
        match (outcome.class, at.name()) {
            (Class::Invalid, "a") => Some(Next::Any),
            (Class::Unavailable, "b") => Some(Next::Nowhere),
            _ => None,
        }
    });
    let mut ask = ask();
    ask.number = 7;
    // What it decides is the end is the answer, whatever failed before.
    assert_eq!(service.oneshot(ask).await.unwrap_err().at, "b");
    assert_eq!(upstreams[2].calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn f7_when_all_are_down_the_first_real_failure_comes_out_as_it_was() {
    let hint = DOWN.with_retry_after(secs(3));
    let refused = Outcome::new(Class::Refused).with_retry_after(secs(1));
    let upstreams = [
        Upstream::new("a", [refused]),
        Upstream::new("b", [hint]),
        Upstream::new(
            "c",
            [Outcome::new(Class::Throttled).with_retry_after(secs(9))],
        ),
        Upstream::new("d", [refused]),
    ];
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams).on_event(observer);
    let (ask, ledger) = accounted();
    let error = service.oneshot(ask).await.unwrap_err();
    let first = Failed {
        outcome: hint,
        at: "b",
        call: 1,
    };
    assert_eq!(error, first);
    let trail = ledger.trail();
    let classes: Vec<_> = trail
        .iter()
        .map(|tried| (&*tried.endpoint, tried.outcome.class))
        .collect();
    assert_eq!(
        classes,
        [
            ("a", Class::Refused),
            ("b", Class::Unavailable),
            ("c", Class::Throttled),
            ("d", Class::Refused)
        ]
    );
    assert_eq!(ledger.attempts(), 4);
    let told = told.lock().unwrap();
    let Some(Told::Done {
        endpoint,
        failed,
        attempts,
        stop,
        ..
    }) = told.last()
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        (endpoint.as_deref(), *failed, *attempts, *stop),
        (Some("b"), 4, 4, Stop::Spent)
    );
}

#[tokio::test(start_paused = true)]
async fn f7_when_all_refuse_the_first_refusal_is_the_answer() {
    let refused = |secs| Outcome::new(Class::Refused).with_retry_after(Duration::from_secs(secs));
    let upstreams = [
        Upstream::new("a", [refused(5)]),
        Upstream::new("b", [refused(2)]),
    ];
    let error = failover(protocol(), &upstreams)
        .oneshot(ask())
        .await
        .unwrap_err();
    assert_eq!((error.at, error.outcome), ("a", refused(5)));
}

#[tokio::test(start_paused = true)]
async fn f7_when_all_asked_to_be_left_alone_the_refusal_says_until_when() {
    let hint = |secs| Outcome::new(Class::Throttled).with_retry_after(Duration::from_secs(secs));
    let upstreams = [
        Upstream::new("a", [hint(30)]),
        Upstream::new("b", [hint(20)]),
    ];
    let service = failover(protocol(), &upstreams);
    assert_eq!(service.clone().oneshot(ask()).await.unwrap_err().at, "a");
    tokio::time::advance(secs(5)).await;
    let error = service.oneshot(ask()).await.unwrap_err();
    assert_eq!(error.at, "no endpoint left");
    assert_eq!(
        error.outcome,
        Outcome::new(Class::Refused).with_retry_after(secs(15))
    );
    assert_eq!((upstreams[0].calls(), upstreams[1].calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_endpoints_are_tried_than_allowed() {
    for allowed in 1..=4 {
        let upstreams = ["a", "b", "c", "d", "e"].map(|name| Upstream::new(name, [DOWN]));
        let (told, observer) = log();
        let service = failover(protocol(), &upstreams)
            .max_attempts(count(allowed))
            .on_event(observer);
        assert_eq!(service.oneshot(ask()).await.unwrap_err().at, "a");
        let calls: usize = upstreams.iter().map(Upstream::calls).sum();
        assert_eq!((calls, stop(&told)), (allowed as usize, Stop::Attempts));
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_caller_bounds_it_all() {
    let upstreams = ["a", "b", "c"].map(|name| Upstream::slow(name, [(secs(2), DOWN)]));
    let (told, observer) = log();
    let service = failover(protocol(), &upstreams).on_event(observer);
    let mut ask = ask();
    ask.info.deadline = Some((Instant::now() + secs(3)).into_std());
    assert_eq!(service.oneshot(ask).await.unwrap_err().at, "a");
    assert_eq!(upstreams.each_ref().map(Upstream::calls), [1, 1, 0]);
    assert_eq!(stop(&told), Stop::Deadline);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_is_sent_once() {
    let upstreams = [Upstream::new("a", [DOWN]), Upstream::new("b", [OK])];
    let (told, observer) = log();
    let service = failover(protocol().once(), &upstreams).on_event(observer);
    assert_eq!(service.oneshot(ask()).await.unwrap_err().at, "a");
    assert_eq!((upstreams[1].calls(), stop(&told)), (0, Stop::NotCopied));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_number_and_counts_in_the_ledger() {
    let upstreams = [
        Upstream::new("a", [DOWN]),
        Upstream::new("b", [DOWN]),
        Upstream::new("c", [OK]),
    ];
    let (mut ask, ledger) = accounted();
    ask.info.attempt = 3;
    assert_eq!(failover(protocol(), &upstreams).oneshot(ask).await, Ok("c"));
    let numbers = upstreams
        .each_ref()
        .map(|upstream| upstream.last().info.attempt);
    assert_eq!((numbers, ledger.attempts()), ([3, 4, 5], 3));
    let trail: Vec<_> = ledger.trail().iter().map(ToString::to_string).collect();
    assert_eq!(trail, ["a: unavailable", "b: unavailable", "c: success"]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_attempts_used_is_paid_for_once_whichever_is_the_answer() {
    let used = |class| Outcome::new(class).with_usage(Usage::new(10, 0));
    for last in [Class::Success, Class::Invalid, Class::Unavailable] {
        let script = [Class::Unavailable, Class::Throttled, last];
        let mut names = ["a", "b", "c"].into_iter();
        let upstreams = script.map(|class| Upstream::new(names.next().unwrap(), [used(class)]));
        let (ask, ledger) = accounted();
        let reply = failover(protocol(), &upstreams).oneshot(ask).await;
        let outcome = reply.map_or_else(|failed| failed.outcome, |_| used(Class::Success));
        let total = ledger.total(&outcome).usage.unwrap();
        assert_eq!(total, Usage::new(30, 0), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_has_paid_for_what_failed() {
    let used = DOWN.with_usage(Usage::new(10, 0));
    let upstreams = [
        Upstream::new("a", [used]),
        Upstream::slow("b", [(secs(9), OK)]),
    ];
    let (told, observer) = log();
    let (ask, ledger) = accounted();
    let service = failover(protocol(), &upstreams).on_event(observer);
    let mut call = tokio_test::task::spawn(service.oneshot(ask));
    assert!(call.poll().is_pending());
    drop(call);
    let total = ledger.total(&Outcome::new(Class::Cancelled));
    assert_eq!(total.usage.unwrap().total(), 10);
    assert_eq!(stop(&told), Stop::Dropped);
}

#[tokio::test(start_paused = true)]
async fn how_long_an_attempt_took_is_part_of_its_evidence() {
    let upstreams = [
        Upstream::slow("a", [(ms(120), DOWN)]),
        Upstream::slow("b", [(ms(30), OK)]),
    ];
    let (ask, ledger) = accounted();
    assert_eq!(failover(protocol(), &upstreams).oneshot(ask).await, Ok("b"));
    let took: Vec<_> = ledger.trail().iter().map(|tried| tried.took).collect();
    assert_eq!(took, [Some(ms(120)), Some(ms(30))]);
}

#[tokio::test(start_paused = true)]
async fn a_time_that_no_clock_was_read_for_is_not_told() {
    // It answers when it is first polled, however long that takes.
    let told = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&told);
    let service = failover(protocol(), &[Upstream::new("a", [DOWN])]).on_event(move |event| {
        event.facts(&mut |name, _| write.lock().unwrap().push(name));
    });
    let (ask, ledger) = accounted();
    assert!(service.oneshot(ask).await.is_err());
    let [tried] = &*ledger.trail() else {
        panic!("it was tried once")
    };
    assert_eq!(
        (tried.took, tried.to_string()),
        (None, "a: unavailable".into())
    );
    assert!(!told.lock().unwrap().contains(&"took"));
}

#[tokio::test(start_paused = true)]
async fn a_closure_chooses_the_set_by_the_request() {
    let upstreams = ["cheap", "large"].map(|name| Upstream::new(name, [OK]));
    let [cheap, large] = named(&upstreams);
    let endpoints = [cheap.context(8000), large.context(100_000)];
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let strategy = Ordered.among(|ask: &crate::Ask, set| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        set.retain(|endpoint| endpoint.context() >= Some(ask.number));
    });
    let service = Failover::over(protocol(), endpoints)
        .unwrap()
        .strategy(strategy);
    for (tokens, served) in [(100, Some("cheap")), (9000, Some("large")), (1 << 40, None)] {
        let mut ask = ask();
        ask.number = tokens;
        assert_eq!(service.clone().oneshot(ask).await.ok(), served);
    }
    assert_eq!(ASKED.load(Ordering::Relaxed), 3);
}

#[test]
fn endpoints_that_nobody_could_choose_among_are_not_built() {
    let over = |names: &[&str]| {
        let endpoints = names.iter().map(|name| Endpoint::new(*name, ()));
        Failover::over(protocol(), endpoints).map(|_| ())
    };
    assert_eq!(over(&[]), Err(EndpointsError::Empty));
    let twice = EndpointsError::Twice { name: "a".into() };
    assert_eq!(over(&["a", "b", "a"]), Err(twice));
    let many: Vec<_> = (0..129).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|name| &**name).collect();
    assert_eq!(over(&many), Err(EndpointsError::TooMany));
    assert_eq!(over(&many[..128]), Ok(()));
    for name in ["", "a\r\nb", "a\0", &"x".repeat(65)] {
        assert!(
            matches!(over(&[name]), Err(EndpointsError::Name { .. })),
            "{name:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_acted_on_twice_goes_elsewhere_only_if_it_was_not_sent() {
    use buttress_core::{
        CallInfo, Carry, Classify, Completion, Refuse, Refused, Replay, Report, Track,
    };

    /// Nothing is safe to repeat.
    #[derive(Clone)]
    struct Once<P>(P);
    impl<P: Replay<crate::Ask>> Replay<crate::Ask> for Once<P> {
        fn copy(&self, request: &crate::Ask) -> Option<crate::Ask> {
            self.0.copy(request)
        }

        fn safe(&self, _: &crate::Ask) -> bool {
            false
        }
    }
    impl<P: Carry<crate::Ask>> Carry<crate::Ask> for Once<P> {
        fn info<'a>(&self, request: &'a crate::Ask) -> &'a CallInfo {
            self.0.info(request)
        }

        fn set_info(&self, request: &mut crate::Ask, info: CallInfo) {
            self.0.set_info(request, info);
        }
    }
    impl<P: Classify<Res, E>, Res, E> Classify<Res, E> for Once<P> {
        fn classify(&self, result: Result<&Res, &E>) -> Outcome {
            self.0.classify(result)
        }
    }
    impl<P: Track<Res>, Res> Track<Res> for Once<P> {
        fn track<R>(&self, response: &mut Res, seen: &Outcome, completion: Completion<R>)
        where
            R: Report + Send + 'static,
        {
            self.0.track(response, seen, completion);
        }
    }
    impl<P: Refuse<Res, E>, Res, E> Refuse<Res, E> for Once<P> {
        fn refuse(&self, refused: Refused) -> Result<Res, E> {
            self.0.refuse(refused)
        }
    }

    for sent in [Sent::Maybe, Sent::No] {
        let mut outcome = DOWN;
        outcome.sent = sent;
        let upstreams = [Upstream::new("a", [outcome]), Upstream::new("b", [OK])];
        let reply = failover(Once(protocol()), &upstreams).oneshot(ask()).await;
        assert_eq!(reply.is_ok(), sent == Sent::No);
    }
}
