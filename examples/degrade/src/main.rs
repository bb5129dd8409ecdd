//! From the best answer to the honest one, as one thing after another fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_cache::{CacheLayer, Freshness, Keyed};
use buttress_core::Plain;
use buttress_failover::{AnyService, Endpoint, Failover};
use buttress_timeout::TimeoutLayer;
use tokio::sync::mpsc;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Question = &'static str;
type Answer = String;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let up = ["better", "smaller", "other"].map(|name| (name, Arc::new(AtomicBool::new(true))));
    let (to_people, mut people) = mpsc::channel(1);

    let models = up.clone().map(|(name, up)| {
        let model = ServiceBuilder::new()
            .layer(TimeoutLayer::new(Plain).total(Duration::from_secs(30)))
            .service(model(name, up));
        Endpoint::new(name, model)
    });
    // A minute later an answer is old, and for a day better than none.
    let kept = Freshness::new(MINUTE).stale_if_error(24 * 60 * MINUTE);
    let models = CacheLayer::new(Plain, |question: &Question| Keyed::of(question))
        .lifetime(kept)
        .layer(Failover::over(Plain, models)?.cool_down(Duration::ZERO, Duration::ZERO));

    let in_turn = [
        Endpoint::new("models", AnyService::new(models)),
        Endpoint::new("search", AnyService::new(service_fn(search))),
        Endpoint::new("people", AnyService::new(queue(to_people))),
        Endpoint::new("honest", AnyService::new(service_fn(honest))),
    ];
    let service = Failover::over(Plain, in_turn)?.cool_down(Duration::ZERO, Duration::ZERO);

    let ask = async |question| service.clone().oneshot(question).await;
    println!("{}", ask("What is a buttress?").await?);
    for (name, up) in &up {
        tokio::time::sleep(2 * MINUTE).await;
        up.store(false, Ordering::Relaxed);
        println!("\n# {name} goes down");
        println!("{}", ask("What is a buttress?").await?);
    }
    println!("\n# and what was never asked");
    for question in ["What is a vault?", "Is it safe?", "Who built it?"] {
        println!("{}", ask(question).await?);
    }
    println!("\nThe people have: {:?}", people.recv().await);
    Ok(())
}

const MINUTE: Duration = Duration::from_secs(60);

fn model(
    name: &'static str,
    up: Arc<AtomicBool>,
) -> impl Service<Question, Response = Answer, Error = BoxError, Future: Send> + Clone + Send {
    service_fn(move |question: Question| {
        let up = up.load(Ordering::Relaxed);
        async move {
            match up {
                true => Ok(format!("{question} The {name} model knows.")),
                false => Err(format!("the {name} model is down").into()),
            }
        }
    })
}

/// Without a model: what is found, as it stands.
async fn search(question: Question) -> Result<Answer, BoxError> {
    match question.contains("vault") {
        true => Ok(format!(
            "{question} No model answers; found: vaults.txt, line 12."
        )),
        false => Err("nothing was found".into()),
    }
}

/// For people, as long as they have time for it.
fn queue(
    people: mpsc::Sender<Question>,
) -> impl Service<Question, Response = Answer, Error = BoxError, Future: Send> + Clone + Send {
    service_fn(move |question: Question| {
        let taken = people.try_send(question);
        async move {
            taken?;
            Ok(format!("{question} Somebody will answer by mail."))
        }
    })
}

async fn honest(question: Question) -> Result<Answer, BoxError> {
    Ok(format!(
        "{question} I don't know, and nobody is there to ask."
    ))
}
