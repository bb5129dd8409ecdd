//! Whose calls they are, within bounds.

use std::num::NonZeroUsize;

use buttress_metrics::{Describe, Labels, MetricsLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::{Ask, Does, Prometheus, Reply, ask, protocol, serve};

const ATTEMPTS: &str = "buttress_attempts_total";

#[tokio::test(start_paused = true)]
async fn a_call_has_the_labels_of_its_request_and_of_its_layer() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .provider("openai")
        .server("api.openai.com", 443)
        .endpoint("east")
        .describe(|ask: &Ask| Labels::new().model(&ask.model));
    let service = layer.layer(service_fn(serve));
    assert!(service.oneshot(ask("gpt-4.1", Does::Succeed)).await.is_ok());
    let expected = "buttress_attempts_total{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",\
        gen_ai_request_model=\"gpt-4.1\",server_address=\"api.openai.com\",server_port=\"443\",\
        endpoint=\"east\",class=\"success\"} 1";
    let text = prometheus.text();
    assert!(text.lines().any(|line| line == expected), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_request_says_goes_before_what_the_layer_knows() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .provider("openai")
        .server("api.openai.com", 443)
        .describe(|_: &Ask| {
            let mut labels = Labels::new().provider("anthropic").operation("embeddings");
            labels.server_address = Some("localhost");
            labels
        });
    let service = layer.layer(service_fn(serve));
    assert!(service.oneshot(ask("m", Does::Succeed)).await.is_ok());
    let labels = [
        ("gen_ai_provider_name", "anthropic"),
        ("gen_ai_operation_name", "embeddings"),
        ("server_address", "localhost"),
    ];
    assert_eq!(prometheus.sum(ATTEMPTS, &labels), 1.0);
    assert!(!prometheus.text().contains("443"), "a port of another host");
}

#[tokio::test(start_paused = true)]
async fn m2_a_hundred_thousand_random_models_make_a_bounded_number_of_series() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol()).describe_with(Answers);
    let service = layer.layer(service_fn(serve));
    for n in 0..100_000_u32 {
        let model = format!("model-{:08x}", n.wrapping_mul(0x9e37_79b9));
        assert!(
            service
                .clone()
                .oneshot(ask(&model, Does::Succeed))
                .await
                .is_ok()
        );
    }
    assert_eq!(prometheus.sum(ATTEMPTS, &[]), 100_000.0);
    assert_eq!(prometheus.each(ATTEMPTS, &[]).len(), 101);
    let other = [("gen_ai_request_model", "other")];
    assert_eq!(prometheus.sum(ATTEMPTS, &other), 99_900.0);
    // Two for each model, and the buckets of one histogram.
    assert!(prometheus.series() < 101 * 25, "{}", prometheus.series());
}

#[tokio::test(start_paused = true)]
async fn m2_no_label_that_a_request_says_is_without_a_bound() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol()).describe(|ask: &Ask| {
        let name = &*ask.model;
        Labels::new()
            .model(name)
            .operation(name)
            .provider(name)
            .server(name, 1)
            .endpoint(name)
    });
    let service = layer.layer(service_fn(serve));
    for n in 0..10_000 {
        assert!(
            service
                .clone()
                .oneshot(ask(&n.to_string(), Does::Succeed))
                .await
                .is_ok()
        );
    }
    assert_eq!(prometheus.sum(ATTEMPTS, &[]), 10_000.0);
    assert!(prometheus.each(ATTEMPTS, &[]).len() <= 102);
    let labels = [
        "gen_ai_operation_name",
        "gen_ai_provider_name",
        "server_address",
        "endpoint",
    ];
    for label in labels {
        assert!(
            prometheus.sum(ATTEMPTS, &[(label, "other")]) >= 9_900.0,
            "{label}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn m2_no_combination_of_labels_is_without_a_bound() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol()).describe(|ask: &Ask| {
        let (model, provider) = ask.model.split_once('/').unwrap();
        let port = provider.parse().unwrap();
        Labels::new()
            .model(model)
            .provider(provider)
            .server(model, port)
    });
    let service = layer.layer(service_fn(serve));
    for n in 0..10_000 {
        let name = format!("{}/{}", n % 60, n / 60);
        assert!(
            service
                .clone()
                .oneshot(ask(&name, Does::Succeed))
                .await
                .is_ok()
        );
    }
    assert_eq!(prometheus.sum(ATTEMPTS, &[]), 10_000.0);
    assert_eq!(prometheus.each(ATTEMPTS, &[]).len(), 1025);
}

#[tokio::test(start_paused = true)]
async fn m2_models_that_answer_are_bounded_too() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .max_models(NonZeroUsize::new(3).unwrap())
        .describe_with(AnswersRandomly(std::sync::Arc::default()));
    let service = layer.layer(service_fn(serve));
    for _ in 0..1000 {
        assert!(
            service
                .clone()
                .oneshot(ask("one", Does::Succeed))
                .await
                .is_ok()
        );
    }
    let answers = prometheus.each(ATTEMPTS, &[("gen_ai_request_model", "one")]);
    assert_eq!((answers.len(), answers.iter().sum::<f64>()), (4, 1000.0));
    assert_eq!(
        prometheus.sum(ATTEMPTS, &[("gen_ai_response_model", "other")]),
        997.0
    );
}

#[tokio::test(start_paused = true)]
async fn m2_all_that_ask_times_all_that_answer_are_bounded() {
    let prometheus = Prometheus::install();
    let answers = AnswersRandomly(std::sync::Arc::default());
    let layer = MetricsLayer::attempt(protocol()).describe_with(answers);
    let service = layer.layer(service_fn(serve));
    for n in 0..5000 {
        let model = format!("model-{}", n % 50);
        let call = service.clone().oneshot(ask(&model, Does::Succeed));
        assert!(call.await.is_ok());
    }
    assert_eq!(prometheus.sum(ATTEMPTS, &[]), 5000.0);
    let sets = prometheus.each(ATTEMPTS, &[]).len();
    assert!((1000..=1024 + 50).contains(&sets), "{sets}");
}

#[tokio::test(start_paused = true)]
async fn only_listed_models_have_labels_of_their_own() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .models(["a", "b"])
        .describe_with(Answers);
    let service = layer.layer(service_fn(serve));
    for model in ["x", "y", "a", "b", "a", "", "b\n", &"a".repeat(1000)] {
        assert!(
            service
                .clone()
                .oneshot(ask(model, Does::Succeed))
                .await
                .is_ok()
        );
    }
    let of = |model| prometheus.sum(ATTEMPTS, &[("gen_ai_request_model", model)]);
    assert_eq!((of("a"), of("b"), of("other")), (2.0, 1.0, 5.0));
    assert_eq!(
        prometheus.sum(ATTEMPTS, &[("gen_ai_response_model", "a")]),
        8.0
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_name_is_other() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .endpoint("e\u{1b}[31m")
        .describe(|ask: &Ask| Labels::new().model(&ask.model));
    let service = layer.layer(service_fn(serve));
    for model in ["", "a\r\nb", "\0", &"m".repeat(129)] {
        assert!(
            service
                .clone()
                .oneshot(ask(model, Does::Succeed))
                .await
                .is_ok()
        );
    }
    let labels = [("gen_ai_request_model", "other"), ("endpoint", "other")];
    assert_eq!(prometheus.each(ATTEMPTS, &labels), [4.0]);
}

#[tokio::test(start_paused = true)]
async fn handles_are_right_whenever_the_recorder_is_installed() {
    let layer =
        MetricsLayer::attempt(protocol()).describe(|ask: &Ask| Labels::new().model(&ask.model));
    let service = layer.layer(service_fn(serve));
    // Before there is any: it is lost, and nothing else is.
    assert!(
        service
            .clone()
            .oneshot(ask("m", Does::Succeed))
            .await
            .is_ok()
    );
    for _ in 0..2 {
        let prometheus = Prometheus::install();
        for calls in 1..=2 {
            assert!(
                service
                    .clone()
                    .oneshot(ask("m", Does::Succeed))
                    .await
                    .is_ok()
            );
            assert_eq!(prometheus.sum(ATTEMPTS, &[]), f64::from(calls));
            assert_eq!(prometheus.each("buttress_attempts_in_flight", &[]), [0.0]);
        }
        assert!(
            prometheus
                .text()
                .contains("# HELP buttress_attempts_total Calls of a provider that are over.")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn m3_requests_and_attempts_are_counted_apart() {
    let prometheus = Prometheus::install();
    let once = std::sync::atomic::AtomicBool::new(true);
    let down = buttress_core::Outcome::new(buttress_core::Class::Unavailable);
    let attempts = MetricsLayer::attempt(protocol()).layer(service_fn(serve));
    // Two attempts for one request.
    let retrying = service_fn(move |ask: Ask| {
        let (attempts, fails) = (
            attempts.clone(),
            once.swap(false, std::sync::atomic::Ordering::Relaxed),
        );
        async move {
            if fails {
                let _ = attempts
                    .clone()
                    .oneshot(crate::ask("m", Does::Fail(down)))
                    .await;
            }
            attempts.oneshot(ask).await
        }
    });
    let service = MetricsLayer::request(protocol()).layer(retrying);
    assert!(service.oneshot(ask("m", Does::Succeed)).await.is_ok());
    assert_eq!(prometheus.sum("buttress_requests_total", &[]), 1.0);
    assert_eq!(
        prometheus.sum("buttress_request_duration_seconds_count", &[]),
        1.0
    );
    assert_eq!(prometheus.sum(ATTEMPTS, &[]), 2.0);
    assert_eq!(prometheus.sum(ATTEMPTS, &[("class", "unavailable")]), 1.0);
    assert_eq!(
        prometheus.sum("gen_ai_client_operation_duration_seconds_count", &[]),
        2.0
    );
}

/// The model that is asked for, and says that it is another.
#[derive(Clone)]
struct Answers;

#[derive(Clone)]
struct AnswersRandomly(std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>);

impl Describe<Ask, Reply> for Answers {
    fn labels<'a>(&'a self, ask: &'a Ask) -> Labels<'a> {
        Labels::new().model(&ask.model)
    }

    fn response_model<'a>(&'a self, _: &'a Reply) -> Option<&'a str> {
        Some("a")
    }
}

impl Describe<Ask, Reply> for AnswersRandomly {
    fn labels<'a>(&'a self, ask: &'a Ask) -> Labels<'a> {
        Labels::new().model(&ask.model)
    }

    fn response_model<'a>(&'a self, _: &'a Reply) -> Option<&'a str> {
        let mut names = self.0.lock().unwrap();
        let name: &'static str = Box::leak(names.len().to_string().into_boxed_str());
        names.push(name);
        Some(name)
    }
}
