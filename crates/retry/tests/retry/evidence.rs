//! What is learned from outside.

use buttress_core::{Class, Event, Fact, Ledger, Money, Outcome, Reason, Refused, Usage};
use buttress_retry::{Constant, RetryEvent, Stop};
use buttress_testing::probe;
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt};

use crate::{Ask, DOWN, Failed, OK, Told, Upstream, ask, log, ms, protocol, retry};

#[tokio::test(start_paused = true)]
async fn r15_the_final_error_is_the_last_real_one_unchanged() {
    let throttled = Outcome::new(Class::Throttled);
    let service = retry(protocol()).layer(Upstream::new([DOWN, DOWN, throttled]));
    let last = Failed {
        outcome: throttled,
        call: 3,
    };
    assert_eq!(service.oneshot(ask()).await, Err(last));
}

#[tokio::test(start_paused = true)]
async fn r15_a_refusal_of_a_layer_inside_is_the_answer_and_the_event_tells_what_came_before() {
    // The first failure opens a circuit inside.
    let open = Refused::new(Reason::CircuitOpen).with_retry_after(ms(30_000));
    let (told, observer) = log();
    let service = retry(protocol())
        .on_event(observer)
        .layer(Upstream::new([DOWN, open.outcome()]));
    let refused = Failed {
        outcome: open.outcome(),
        call: 2,
    };
    assert_eq!(service.oneshot(ask()).await, Err(refused));
    let told = told.lock().unwrap();
    let [
        Told::Again(1, failed, wait),
        Told::Done(2, last, _, Stop::Settled),
    ] = **told
    else {
        panic!("found {told:?}, expected two attempts")
    };
    assert_eq!((failed, last), (Class::Unavailable, Class::Refused));
    assert_eq!(wait, ms(1000));
}

#[tokio::test(start_paused = true)]
async fn r15_the_number_of_attempts_is_in_the_event_and_in_the_callers_handle() {
    for (script, attempts) in [(vec![OK], 1), (vec![DOWN, OK], 2), (vec![DOWN], 3)] {
        let (told, observer) = log();
        let service = retry(protocol())
            .on_event(observer)
            .layer(Upstream::new(script));
        let handle = Ledger::new();
        let mut ask = ask();
        ask.info.ledger = Some(handle.clone());
        let _ = service.oneshot(ask).await;
        assert_eq!(handle.attempts(), attempts);
        let Some(Told::Done(found, ..)) = told.lock().unwrap().last().cloned() else {
            panic!("the call was told")
        };
        assert_eq!(found, attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn r15_a_handle_tells_the_attempts_of_a_call_that_was_dropped() {
    let service = retry(protocol()).layer(Upstream::new([DOWN]));
    let handle = Ledger::new();
    let mut ask = ask();
    ask.info.ledger = Some(handle.clone());
    let mut call = spawn(service.oneshot(ask));
    assert!(call.poll().is_pending());
    tokio::time::advance(ms(1000)).await;
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(handle.attempts(), 2, "the third was not made");
}

#[tokio::test(start_paused = true)]
async fn what_attempts_used_that_were_given_up_is_in_the_ledger() {
    let used = |class, tokens: u64| {
        let usage = Usage::new(tokens, 0);
        Outcome::new(class)
            .with_usage(usage)
            .with_cost(Money::from_pico(tokens.into()))
    };
    let down = |tokens| used(Class::Unavailable, tokens);
    let service = retry(protocol()).layer(Upstream::new([down(1), down(10), down(100)]));
    let ledger = Ledger::new();
    let mut ask = ask();
    ask.info.ledger = Some(ledger.clone());
    let last = service.oneshot(ask).await.unwrap_err().outcome;
    assert_eq!(ledger.total(&last), down(111));
}

#[tokio::test(start_paused = true)]
async fn t2_an_error_of_readiness_before_another_attempt_is_told_and_its_payment_returned() {
    let budget = buttress_retry::Budget::default().reserve(5);
    let (told, observer) = log();
    let (inner, mut upstream) = probe::pair::<Ask, u32, Failed>();
    let layer = retry(protocol())
        .backoff(Constant::NONE)
        .budget(budget.clone());
    let mut service = layer.on_event(observer).layer(inner);
    let mut call = spawn(service.ready().await.unwrap().call(ask()));
    assert!(call.poll().is_pending());
    upstream.set_ready(false);
    let failed = |call| Failed {
        outcome: DOWN,
        call,
    };
    assert!(upstream.next_call().await.fail(failed(1)));
    assert!(call.poll().is_pending());
    assert_eq!(budget.balance(), 4);
    upstream.fail_ready(failed(2));
    assert_eq!(call.poll(), std::task::Poll::Ready(Err(failed(2))));
    let end = Told::Done(1, Class::Unavailable, ms(0), Stop::NotReady);
    assert_eq!(told.lock().unwrap().last(), Some(&end));
    assert_eq!(budget.balance(), 5);
}

#[test]
fn an_event_says_the_same_in_names_and_facts() {
    fn line(event: &RetryEvent<'_>) -> String {
        let mut line = event.name().to_owned();
        event.facts(&mut |name, fact: Fact<'_>| line += &format!(" {name}={fact}"));
        line
    }
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let write = lines.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let layer =
            retry(protocol()).on_event(move |event| write.lock().unwrap().push(line(event)));
        assert!(
            layer
                .layer(Upstream::new([DOWN, OK]))
                .oneshot(ask())
                .await
                .is_ok()
        );
    });
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "retry.again attempt=1 class=unavailable delay=1s",
            "retry.done attempts=2 class=success waited=1s stop=settled",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn debug_output_names_what_is_configured_and_shows_no_request() {
    let mut ask = ask();
    ask.number = 424_242;
    let layer = retry(protocol());
    assert!(format!("{layer:?}").contains("max_attempts: 3"));
    let (inner, _upstream) = probe::pair::<Ask, u32, Failed>();
    let mut service = layer.layer(inner);
    let call = service.ready().await.unwrap().call(ask);
    assert_eq!(format!("{call:?}"), "ResponseFuture { attempts: 1, .. }");
}
