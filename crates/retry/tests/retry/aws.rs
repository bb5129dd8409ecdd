//! The rows of `tests/data/aws_standard.json`, which come from the retry behaviour of AWS's SDKs and
//! smithy-rs (Apache-2.0): 2.0 and 2.1 are two sets of parameters of one mechanism.

use std::{num::NonZeroU32, time::Duration};

use buttress_core::{Class, Outcome, RetryBudget};
use buttress_retry::{Backoff, Budget, Exponential, Jitter, RetryEvent, RetryLayer};
use serde_json::Value;
use tower::{Layer, ServiceExt};

use crate::{OK, Upstream, ask, protocol};

/// One row: a call for each run of failures and the success, if any, that ends it.
struct Row {
    name: String,
    budget: Budget,
    backoff: Exponential,
    attempts: NonZeroU32,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
struct Step {
    /// `None`: it went well.
    failed: Option<(Class, u64)>,
    /// What is waited then; `None`: the call ends.
    delay: Option<Duration>,
    left: u64,
}

fn rows() -> Vec<Row> {
    let rows: Vec<Value> = serde_json::from_str(include_str!("../data/aws_standard.json")).unwrap();
    // How long a hint is waited for is AWS's own rule, and not ours.
    rows.iter()
        .filter(|row| !row["name"].as_str().unwrap().starts_with("retry-after"))
        .map(|row| {
            let mut steps: Vec<_> = row["steps"].as_array().unwrap().iter().map(step).collect();
            if row["name"]
                .as_str()
                .unwrap()
                .starts_with("quota replenishes")
            {
                // The second wait of this row is a hint of the server.
                assert_eq!(row["steps"][1]["args"][1], 1.0);
                steps[1].delay = Some(Duration::from_secs(2));
            }
            let seconds = |name: &str, default: f64| {
                Duration::from_secs_f64(row[name].as_f64().unwrap_or(default))
            };
            let cap = seconds("max_backoff", 20.0);
            let (budget, backoff) = match row["spec"].as_str().unwrap() {
                "2.0" => (
                    Budget::aws_2_0(),
                    Exponential::new(Duration::from_secs(1), cap),
                ),
                "2.1" => (
                    Budget::aws(),
                    Exponential::new(Duration::from_millis(50), cap),
                ),
                other => panic!("found the specification {other}"),
            };
            let number = |name: &str| row[name].as_u64().map(|n| u32::try_from(n).unwrap());
            Row {
                name: format!("{}, {}", row["spec"], row["name"]),
                budget: match number("cap") {
                    Some(cap) => budget.reserve(cap),
                    None => budget,
                },
                // 50 ms, and 1 s when throttled.
                backoff: backoff
                    .unwrap()
                    .jitter(Jitter::None)
                    .throttled(NonZeroU32::new(20).unwrap()),
                attempts: NonZeroU32::new(number("max_attempts").unwrap_or(3)).unwrap(),
                steps,
            }
        })
        .collect()
}

fn step(step: &Value) -> Step {
    let failed = (step["op"] == "fail").then(|| {
        let class = match step["args"][0].as_str().unwrap() {
            "server" => Class::Unavailable,
            "throttle" => Class::Throttled,
            "transient" => Class::Unstarted,
            other => panic!("found the error {other}"),
        };
        (class, step["attempt"].as_u64().unwrap())
    });
    Step {
        failed,
        delay: step["delay_s"].as_f64().map(Duration::from_secs_f64),
        left: step["tokens_after"].as_u64().unwrap(),
    }
}

/// The steps of calls that each end with a success or without a wait.
fn calls(steps: &[Step]) -> Vec<&[Step]> {
    let ends = |step: &Step| step.delay.is_none();
    steps.split_inclusive(ends).collect()
}

#[test]
fn the_waits_and_costs_of_every_row_are_those_of_the_vectors() {
    let mut steps = 0;
    for row in rows() {
        for call in calls(&row.steps) {
            let mut paid = None;
            for step in call {
                let found = match step.failed {
                    None => {
                        row.budget.succeeded(paid.take());
                        None
                    }
                    Some((_, attempt)) if attempt >= u64::from(row.attempts.get()) => None,
                    Some((class, attempt)) => row.budget.withdraw(class).map(|cost| {
                        paid = Some(cost);
                        let place = usize::try_from(attempt).unwrap() - 1;
                        row.backoff.delays(class, 0).nth(place).unwrap()
                    }),
                };
                let found = Step {
                    failed: step.failed,
                    delay: found,
                    left: row.budget.balance().into(),
                };
                assert_eq!(found, *step, "{}", row.name);
                steps += 1;
            }
        }
    }
    assert_eq!(steps, 45, "a row was left out");
}

#[tokio::test(start_paused = true)]
async fn the_layer_does_what_every_row_says() {
    let mut rows_done = 0;
    for row in rows() {
        let first = row.steps.first().and_then(|step| step.failed);
        // Two rows are not a call's from its beginning, or begin free where AWS pays.
        if first.is_some_and(|(class, attempt)| attempt > 1 || class == Class::Unstarted) {
            continue;
        }
        let outcomes = row.steps.iter().map(|step| match step.failed {
            None => OK,
            Some((class, _)) => Outcome::new(class),
        });
        let found = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (tell, budget) = (found.clone(), row.budget.clone());
        let layer = RetryLayer::new(protocol())
            .max_attempts(row.attempts)
            .backoff(row.backoff)
            .budget(row.budget.clone())
            .on_event(move |event| {
                let delay = match event {
                    RetryEvent::Again { delay, .. } => Some(*delay),
                    _ => None,
                };
                tell.lock()
                    .unwrap()
                    .push((delay, u64::from(budget.balance())));
            });
        let mut script: Vec<_> = outcomes.collect();
        script.push(OK);
        let upstream = Upstream::new(script);
        let service = layer.layer(upstream);
        for call in calls(&row.steps) {
            if call.last().is_some_and(|step| step.delay.is_some()) {
                // The row ends in the middle of a call.
                continue;
            }
            let result = service.clone().oneshot(ask()).await;
            assert_eq!(
                result.is_ok(),
                call.last().unwrap().failed.is_none(),
                "{}",
                row.name
            );
        }
        let expected: Vec<_> = row
            .steps
            .iter()
            .map(|step| (step.delay, step.left))
            .collect();
        assert_eq!(*found.lock().unwrap(), expected, "{}", row.name);
        rows_done += 1;
    }
    assert_eq!(rows_done, 13, "a row was left out");
}
