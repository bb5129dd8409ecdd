//! Requests that say what becomes of them, and what a Prometheus server sees.

// Each test takes what it wants.
#![allow(dead_code)]

use buttress_core::{
    Carry, Class, Classify, Fault, Outcome, Plain, ProtocolExt, Refuse, Refused, Replay, Track,
};
use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// A recorder of its own for each test, and what a server would scrape from it.
pub(crate) struct Prometheus {
    pub(crate) handle: PrometheusHandle,
    // Before the recorder that it points to.
    _guard: LocalRecorderGuard<'static>,
}

/// A request that says whose it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) does: Does,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Does {
    #[default]
    Succeed,
    Fail(Outcome),
    Refuse(Refused),
    Hang,
    Panic,
}

/// An error that says what it means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failed {
    Outcome(Outcome),
    Refused(Refused),
}

/// What a call used, if it says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) outcome: Option<Outcome>,
}

pub(crate) fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    let histograms = buttress_metrics::METRICS
        .iter()
        .filter(|metric| !metric.buckets.is_empty());
    histograms
        .fold(builder, |builder, metric| {
            let name = Matcher::Full(metric.name.to_owned());
            builder
                .set_buckets_for_metric(name, metric.buckets)
                .expect("there are some")
        })
        .build_recorder()
}

/// Reads an outcome from replies and errors of these tests.
pub(crate) fn protocol() -> impl Classify<Reply, Failed>
+ Track<Reply>
+ Carry<Ask>
+ Replay<Ask>
+ Refuse<Reply, Failed>
+ Clone
+ Send
+ Sync
+ 'static {
    Plain.classify_with(|result: Result<&Reply, &Failed>| match result {
        Ok(reply) => reply.outcome,
        Err(Failed::Outcome(outcome)) => Some(*outcome),
        Err(Failed::Refused(_)) => None,
    })
}

pub(crate) async fn serve(ask: Ask) -> Result<Reply, Failed> {
    match ask.does {
        Does::Succeed => Ok(Reply::default()),
        Does::Fail(outcome) if outcome.class == Class::Success => Ok(Reply {
            outcome: Some(outcome),
        }),
        Does::Fail(outcome) => Err(Failed::Outcome(outcome)),
        Does::Refuse(refused) => Err(Failed::Refused(refused)),
        Does::Hang => std::future::pending().await,
        Does::Panic => panic!("on purpose"),
    }
}

pub(crate) fn ask(model: &str, does: Does) -> Ask {
    Ask {
        model: model.into(),
        does,
    }
}

// ===== impl Prometheus =====

impl Prometheus {
    pub(crate) fn install() -> Self {
        let recorder = Box::leak(Box::new(recorder()));
        Self {
            handle: recorder.handle(),
            _guard: metrics::set_default_local_recorder(recorder),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.handle.render()
    }

    /// The sum of the series of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.each(name, labels).iter().sum()
    }

    pub(crate) fn each(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let text = self.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (of, own) = series.split_once('{').unwrap_or((series, ""));
                let has =
                    |(label, value): &(&str, &str)| own.contains(&format!("{label}=\"{value}\""));
                (of == name && labels.iter().all(has)).then(|| value.parse().expect("a number"))
            })
            .collect()
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> usize {
        let text = self.text();
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .count()
    }
}

// ===== impl Failed =====

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Outcome(_) => None,
            Self::Refused(refused) => Some(refused),
        }
    }
}
