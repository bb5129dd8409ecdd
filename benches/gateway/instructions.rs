//! How many instructions an answer takes outside of the kernel, by valgrind's count. Other than times,
//! these hardly depend on what else runs on the machine.

use std::{fs, path::Path, process};

use crate::{
    BoxError,
    exchange::{Load, Replies},
    load::{Amount, Callers},
    process::Process,
    side::Kind,
};

const CONNECTIONS: usize = 8;

/// The instructions of a long run less those of a short one, for each answer.
pub(crate) async fn count(
    kind: Kind<'_>,
    load: Load,
    upstream: &Process,
    replies: &Replies,
) -> Result<f64, BoxError> {
    let (short, long) = (25, 100);
    let mut counts = [0.0; 2];
    for (count, times) in counts.iter_mut().zip([short, long]) {
        let name = format!("valgrind-{}.log", process::id());
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let to = format!("--log-file={}", log.display());
        let nowhere = "--cachegrind-out-file=/dev/null";
        let by = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            nowhere,
            &to,
        ];
        // Threads take turns under valgrind: with more than one, how often they wake each other
        // would be chance.
        let process = kind.start(upstream, &by, &[("TOKIO_WORKER_THREADS", "1")])?;
        let answer = load.answer(replies, kind.is_gateway());
        let mut callers = Callers::connect(&process.address, CONNECTIONS, load, &answer).await?;
        callers.ask(Amount::Times(times)).await?;
        drop(callers);
        process.terminate()?;
        let said = fs::read_to_string(&log)?;
        fs::remove_file(&log)?;
        let found = said.lines().find_map(|line| line.split_once("refs:"));
        let found = found.and_then(|(_, found)| found.trim().replace(',', "").parse().ok());
        *count = found.ok_or_else(|| format!("valgrind said {said}"))?;
    }
    Ok((counts[1] - counts[0]) / f64::from(long - short) / CONNECTIONS as f64)
}
