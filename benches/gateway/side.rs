//! One of those that are compared, with what was found of it.

use std::{env, ffi::OsStr, fs, io, iter, path::Path, process, time::Duration};

use crate::{
    BoxError,
    exchange::{INPUT, Load, MODEL, OUTPUT, Replies},
    load::{Amount, Callers, Round, get},
    process::Process,
};

#[derive(Debug)]
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    kind: Kind<'a>,
    process: Process,
    callers: Option<Callers>,
    asked: u64,
    rounds: Vec<(Round, f64)>,
}

/// What is compared with what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    Forwarder,
    /// The gateway as it is deployed, but for the line that it writes for each request.
    Gateway(&'a Path),
}

// ===== impl Kind =====

impl Kind<'_> {
    pub(crate) const fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway(_))
    }

    /// Starts it before this upstream, by way of another program if there is one.
    pub(crate) fn start(
        self,
        upstream: &Process,
        by: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Process, BoxError> {
        match self {
            Self::Forwarder => {
                let this = env::current_exe()?;
                let command = [this.as_os_str(), "role".as_ref(), "forwarder".as_ref()];
                let command = command.into_iter().chain([upstream.address.as_ref()]);
                Process::start(by.iter().map(OsStr::new).chain(command), environment)
            }
            Self::Gateway(program) => {
                let name = format!("gateway-{}.toml", process::id());
                let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
                fs::write(&file, config(&upstream.address))?;
                let options = ["--quiet", "--listen", "127.0.0.1:0"].map(OsStr::new);
                let command = iter::once(program.as_os_str()).chain(options);
                let command = command.chain([file.as_os_str()]);
                let key = ("BENCH_KEY", "sk-of-the-gateway");
                let environment: Vec<_> = environment.iter().copied().chain([key]).collect();
                let process =
                    Process::start(by.iter().map(OsStr::new).chain(command), &environment);
                // It has read it, or said what is wrong with it.
                fs::remove_file(&file)?;
                process
            }
        }
    }
}

/// One endpoint, one route.
fn config(upstream: &str) -> String {
    format!(
        r#"
[[endpoint]]
name = "upstream"
dialect = "openai"
base_url = "http://{upstream}/v1"
key_env = "BENCH_KEY"
models = ["{MODEL}"]

[[route]]
model = "{MODEL}"
endpoints = ["upstream"]
"#
    )
}

// ===== impl Side =====

impl<'a> Side<'a> {
    pub(crate) fn start(
        name: &'static str,
        kind: Kind<'a>,
        upstream: &Process,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            name,
            kind,
            process: kind.start(upstream, &[], &[])?,
            callers: None,
            asked: 0,
            rounds: Vec::new(),
        })
    }

    pub(crate) const fn is_gateway(&self) -> bool {
        self.kind.is_gateway()
    }

    pub(crate) async fn connect(
        &mut self,
        load: Load,
        connections: usize,
        replies: &Replies,
    ) -> Result<(), BoxError> {
        let answer = load.answer(replies, self.kind.is_gateway());
        let callers = Callers::connect(&self.process.address, connections, load, &answer).await?;
        self.callers = Some(callers);
        Ok(())
    }

    /// Asks for a while, and forgets how it went.
    pub(crate) async fn warm_up(&mut self, time: Duration) -> Result<(), BoxError> {
        self.round(time).await?;
        self.rounds.clear();
        Ok(())
    }

    pub(crate) async fn round(&mut self, time: Duration) -> Result<(), BoxError> {
        let callers = self.callers.as_mut().ok_or("nobody is connected")?;
        let before = self.process.cpu()?;
        let round = callers.ask(Amount::For(time)).await?;
        let cpu = self.process.cpu()? - before;
        self.asked += round.answers.len() as u64;
        self.rounds.push((round, cpu));
        Ok(())
    }

    /// Who does not read what every reply used has less to do.
    pub(crate) async fn check(&self) -> Result<(), BoxError> {
        if !self.is_gateway() {
            return Ok(());
        }
        let metrics = get(&self.process.address, "/metrics").await?;
        for (kind, each) in [("input", INPUT), ("output", OUTPUT)] {
            let label = format!(r#"gen_ai_token_type="{kind}""#);
            let samples = metrics.lines().filter_map(|line| {
                let sample = line.strip_prefix("gen_ai_client_token_usage_sum{")?;
                let (labels, value) = sample.rsplit_once("} ")?;
                labels.contains(&label).then_some(value)
            });
            let found: Vec<&str> = samples.collect();
            let expected = (self.asked * each).to_string();
            if found != [&expected] {
                return Err(format!("found {found:?} {kind} tokens, expected {expected}").into());
            }
        }
        Ok(())
    }

    /// Answers per second, round by round.
    pub(crate) fn rates(&self) -> impl Iterator<Item = f64> {
        let rounds = self.rounds.iter();
        rounds.map(|(round, _)| round.answers.len() as f64 / round.elapsed)
    }

    /// Seconds of a processor per answer, round by round.
    pub(crate) fn costs(&self) -> impl Iterator<Item = f64> {
        let rounds = self.rounds.iter();
        rounds.map(|(round, cpu)| cpu / round.answers.len() as f64)
    }

    /// What an answer cost, in those of another side, round by round.
    pub(crate) fn ratio(&self, other: &Self) -> Vec<f64> {
        let both = self.costs().zip(other.costs());
        both.map(|(this, other)| this / other).collect()
    }

    /// How long each answer took, in seconds.
    pub(crate) fn answers(&self) -> Vec<f64> {
        let rounds = self.rounds.iter();
        rounds
            .flat_map(|(round, _)| &round.answers)
            .copied()
            .collect()
    }

    /// The most memory that it held, in MiB.
    pub(crate) fn peak(&self) -> io::Result<f64> {
        self.process.peak()
    }
}
