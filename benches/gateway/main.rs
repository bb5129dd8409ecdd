//! What the gateway costs, beside a bare forwarder: see the README of this package.

mod exchange;
mod forwarder;
mod instructions;
mod load;
mod process;
mod role;
mod side;
mod upstream;

use std::{env, error::Error, ffi::OsStr, path::PathBuf, process::Command, time::Duration};

use buttress_benches::{
    Seconds, Table, counts_instructions, is_quick, machine, median, option, quantile,
};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    exchange::{Load, Replies},
    process::Process,
    side::{Kind, Side},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The most that the gateway is meant to cost, in forwarders.
const GOAL: f64 = 1.3;
/// The connections at which it is meant.
const GOAL_AT: usize = 64;

/// What is measured, and for how long.
struct Plan {
    connections: Vec<usize>,
    loads: Vec<Load>,
    rounds: usize,
    round: Duration,
    gateway: PathBuf,
    control: bool,
    instructions: bool,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, name, rest @ ..] = &arguments[..]
        && role == "role"
    {
        return role::play(name, rest).await;
    }
    let plan = Plan::read()?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // Whichever it is, the processes that were started end with `bench`.
    tokio::select! {
        ended = bench(&plan) => ended,
        _ = terminated.recv() => Err("terminated".into()),
        _ = interrupted.recv() => Err("interrupted".into()),
    }
}

async fn bench(plan: &Plan) -> Result<(), BoxError> {
    let replies = Replies::new();
    let this = env::current_exe()?;
    let role = ["role", "upstream"].map(OsStr::new);
    let upstream = Process::start([this.as_os_str()].into_iter().chain(role), &[])?;
    println!("{}", machine());
    println!(
        "{} rounds of {} each, of every side in turn; ratios are medians over the rounds, with the lowest and the highest",
        plan.rounds,
        Seconds(plan.round.as_secs_f64())
    );
    let mut table = Table::new(
        [
            "load", "conns", "side", "req/s", "p50", "p99", "CPU/req", "ratio", "range", "peak MiB",
        ],
        3,
    );
    let mut goals = Vec::new();
    for &load in &plan.loads {
        for &connections in &plan.connections {
            let mut sides = vec![Side::start("forwarder", Kind::Forwarder, &upstream)?];
            if plan.control {
                let again = Side::start("forwarder again", Kind::Forwarder, &upstream)?;
                sides.push(again);
            }
            sides.push(Side::start("gateway", plan.gateway(), &upstream)?);
            for side in &mut sides {
                side.connect(load, connections, &replies).await?;
                side.warm_up(plan.round).await?;
            }
            for round in 0..plan.rounds {
                // Nobody is always the one after the same other.
                let count = sides.len();
                for k in 0..count {
                    sides[(round + k) % count].round(plan.round).await?;
                }
            }
            for side in &sides {
                side.check().await?;
                let ratio = side.ratio(&sides[0]);
                table.row(cells(load, connections, side, &ratio)?);
                if side.is_gateway() && connections == GOAL_AT {
                    goals.push((load, median(ratio)));
                }
            }
            eprint!(".");
        }
    }
    eprintln!();
    print!("{table}");
    for (load, ratio) in goals {
        let met = if ratio <= GOAL { "met" } else { "missed" };
        println!(
            "goal, {} at {GOAL_AT} connections: at most {GOAL} × the forwarder's CPU; found {ratio:.2}: {met}",
            load.name()
        );
    }
    if plan.instructions {
        print!("\n{}", counted(plan, &upstream, &replies).await?);
    }
    Ok(())
}

/// The table of instructions.
async fn counted(plan: &Plan, upstream: &Process, replies: &Replies) -> Result<Table, BoxError> {
    let head = [
        "instructions outside of the kernel",
        "forwarder",
        "gateway",
        "ratio",
    ];
    let mut table = Table::new(head, 1);
    for &load in &plan.loads {
        let forwarder = instructions::count(Kind::Forwarder, load, upstream, replies).await?;
        let gateway = instructions::count(plan.gateway(), load, upstream, replies).await?;
        table.row([
            load.name().to_owned(),
            format!("{forwarder:.0}"),
            format!("{gateway:.0}"),
            format!("{:.2}", gateway / forwarder),
        ]);
    }
    Ok(table)
}

fn cells(
    load: Load,
    connections: usize,
    side: &Side<'_>,
    ratio: &[f64],
) -> Result<[String; 10], BoxError> {
    let mut answers = side.answers();
    let (low, high) = (
        quantile(&mut ratio.to_vec(), 0.0),
        quantile(&mut ratio.to_vec(), 1.0),
    );
    let range = if low == high {
        String::new()
    } else {
        format!("{low:.2}-{high:.2}")
    };
    Ok([
        load.name().to_owned(),
        connections.to_string(),
        side.name.to_owned(),
        format!("{:.0}", median(side.rates())),
        Seconds(quantile(&mut answers, 0.5)).to_string(),
        Seconds(quantile(&mut answers, 0.99)).to_string(),
        Seconds(median(side.costs())).to_string(),
        format!("{:.2}", median(ratio.iter().copied())),
        range,
        format!("{:.1}", side.peak()?),
    ])
}

// ===== impl Plan =====

impl Plan {
    fn gateway(&self) -> Kind<'_> {
        Kind::Gateway(&self.gateway)
    }

    fn read() -> Result<Self, BoxError> {
        let quick = is_quick();
        let named = |name| option(name).map(|value| value.parse::<usize>()).transpose();
        let connections = named("connections")?.map_or(vec![1, 8, 64], |only| vec![only]);
        let loads = option("load").map_or(Ok(Load::ALL.to_vec()), |name| Load::named(&name))?;
        let rounds = named("rounds")?.unwrap_or(if quick { 3 } else { 9 });
        let round = Duration::from_millis(if quick { 400 } else { 1500 });
        Ok(Self {
            connections,
            loads,
            rounds,
            round,
            gateway: option("gateway").map_or_else(build, |path| Ok(path.into()))?,
            control: env::args().any(|arg| arg == "--control"),
            instructions: counts_instructions(),
        })
    }
}

/// Builds the gateway that stands in this tree, with the same profile as this.
fn build() -> Result<PathBuf, BoxError> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", "gateway"])
        .status()?;
    if !built.success() {
        return Err("the gateway does not build".into());
    }
    // This is `release/deps/gateway-0123`, and that is `release/gateway`.
    let this = env::current_exe()?;
    let folder = this.parent().and_then(|deps| deps.parent());
    Ok(folder
        .ok_or("this executable has no folder")?
        .join("gateway"))
}
