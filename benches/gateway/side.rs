//! One of those that are compared, with what was found of it.

use std::{env, fs, io, path::Path, process, time::Duration};

use crate::{
    BoxError,
    exchange::{INPUT, Load, MODEL, OUTPUT, Replies},
    load::{Callers, Round, get},
    process::Process,
};

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    is_gateway: bool,
    process: Process,
    callers: Option<Callers>,
    asked: u64,
    rounds: Vec<(Round, f64)>,
}

impl Side {
    pub(crate) fn forwarder(name: &'static str, upstream: &Process) -> Result<Self, BoxError> {
        let this = env::current_exe()?;
        let process = Process::start(this, ["role", "forwarder", &upstream.address], &[])?;
        Ok(Self::new(name, false, process))
    }

    /// The gateway as it is deployed, but for the line that it writes for each request.
    pub(crate) fn gateway(program: &Path, upstream: &Process) -> Result<Self, BoxError> {
        let file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gateway-{}.toml", process::id()));
        let config = format!(
            r#"
[[endpoint]]
name = "upstream"
dialect = "openai"
base_url = "http://{}/v1"
key_env = "BENCH_KEY"
models = ["{MODEL}"]

[[route]]
model = "{MODEL}"
endpoints = ["upstream"]
"#,
            upstream.address
        );
        fs::write(&file, config)?;
        let arguments = [
            "--quiet".as_ref(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            file.as_os_str(),
        ];
        let process = Process::start(program, arguments, &[("BENCH_KEY", "sk-of-the-gateway")]);
        // It has read it, or said what is wrong with it.
        fs::remove_file(&file)?;
        Ok(Self::new("gateway", true, process?))
    }

    fn new(name: &'static str, is_gateway: bool, process: Process) -> Self {
        Self {
            name,
            is_gateway,
            process,
            callers: None,
            asked: 0,
            rounds: Vec::new(),
        }
    }

    pub(crate) const fn is_gateway(&self) -> bool {
        self.is_gateway
    }

    pub(crate) async fn connect(
        &mut self,
        load: Load,
        connections: usize,
        replies: &Replies,
    ) -> Result<(), BoxError> {
        let answer = load.answer(replies, self.is_gateway);
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
        let round = callers.ask(time).await?;
        let cpu = self.process.cpu()? - before;
        self.asked += round.answers.len() as u64;
        self.rounds.push((round, cpu));
        Ok(())
    }

    /// Who does not read what every reply used has less to do.
    pub(crate) async fn check(&self) -> Result<(), BoxError> {
        if !self.is_gateway {
            return Ok(());
        }
        let metrics = get(&self.process.address, "/metrics").await?;
        for (kind, each) in [("input", INPUT), ("output", OUTPUT)] {
            let name = format!(r#"gateway_tokens_total{{endpoint="upstream",kind="{kind}"}} "#);
            let found = metrics.lines().find_map(|line| line.strip_prefix(&name));
            let expected = (self.asked * each).to_string();
            if found != Some(&expected) {
                return Err(format!("found {found:?} for {name}, expected {expected}").into());
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
