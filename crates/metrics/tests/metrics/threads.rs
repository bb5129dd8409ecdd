//! Many threads at once.

use std::{sync::Arc, thread};

use buttress_core::{Class, Outcome, Usage};
use buttress_metrics::{Labels, MetricsLayer};
use futures_util::FutureExt;
use tower::{Layer, ServiceExt, service_fn};

use crate::{Ask, Does, ask, protocol, recorder, serve};

#[test]
fn m1_totals_are_exact_under_threads_and_in_flight_returns_to_zero() {
    const THREADS: u32 = 4;
    const CALLS: u32 = 2500;
    let recorder = Arc::new(recorder());
    let layer =
        MetricsLayer::attempt(protocol()).describe(|ask: &Ask| Labels::new().model(&ask.model));
    let service = layer.layer(service_fn(serve));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (service, recorder) = (service.clone(), Arc::clone(&recorder));
            scope.spawn(move || {
                metrics::with_local_recorder(&*recorder, || {
                    for n in 0..CALLS {
                        let used = Outcome::SUCCESS.with_usage(Usage::new(3, 2));
                        let does = match n % 4 {
                            0 => Does::Fail(used),
                            1 => Does::Fail(Outcome::new(Class::Throttled)),
                            2 => Does::Hang,
                            _ => Does::Succeed,
                        };
                        let model = format!("model-{}", n % 200);
                        let call = service.clone().oneshot(ask(&model, does));
                        assert_eq!(call.now_or_never().is_none(), n % 4 == 2);
                    }
                });
            });
        }
    });
    let text = recorder.handle().render();
    let sum = |name: &str, label: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum::<f64>()
    };
    let all = f64::from(THREADS * CALLS);
    assert_eq!(sum("buttress_attempts_total{", ""), all);
    assert_eq!(
        sum("buttress_attempts_total{", "class=\"cancelled\""),
        all / 4.0
    );
    assert_eq!(
        sum("buttress_attempts_total{", "class=\"throttled\""),
        all / 4.0
    );
    assert_eq!(
        sum("gen_ai_client_token_usage_sum{", "\"input\""),
        all / 4.0 * 3.0
    );
    assert_eq!(
        sum("gen_ai_client_operation_duration_seconds_count{", ""),
        all
    );
    let gauges = text
        .lines()
        .filter(|line| line.starts_with("buttress_attempts_in_flight{"));
    assert!(gauges.clone().count() > 50);
    assert!(gauges.into_iter().all(|line| line.ends_with(" 0")));
}
