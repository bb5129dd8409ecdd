//! An LLM gateway, composed of the Buttress crates. The README says how to use it, and in which
//! order to read this.

mod adapt;
mod app;
mod args;
mod body;
mod cached;
mod call;
mod callers;
mod config;
mod connection;
mod endpoint;
mod face;
mod fault;
mod form;
mod front;
mod gateway;
mod headers;
mod journal;
mod log;
mod models;
mod pages;
mod pattern;
mod quota;
mod route;
mod seldom;
mod server;
mod simulate;
mod socket;
mod stack;
mod stats;
mod story;
mod target;
mod telemetry;
mod upload;
mod wall;
mod web;
mod written;

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use tokio::{net::TcpListener, runtime::Runtime};

use self::{
    app::Apps,
    args::{Args, Command},
    callers::Key,
    config::{Config, NOBODY_ASKED},
    gateway::Gateway,
    log::Writer,
    server::Signals,
};

fn main() -> ExitCode {
    let ended = match Command::parse(env::args_os().skip(1)) {
        Ok(Command::Serve(args)) => start(&args),
        Ok(Command::Key(name)) => make_key(&name),
        Ok(Command::Digest) => digest(),
        Err(wrong) => Err(wrong.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(run(args));
    // A name that is still being looked up, or a pipe that nobody reads, is not waited for.
    runtime.shutdown_background();
    ended
}

/// Shows a new key, and what the configuration says of its caller.
fn make_key(name: &str) -> Result<(), Box<dyn Error>> {
    let key = Key::random().map_err(|_| "the system gives no random bytes")?;
    let (digest, key) = (key.digest(), key.expose());
    let mut out = io::stdout().lock();
    write!(
        out,
        "{key}

That is the key: give it to the caller, it is not shown again. This belongs in the configuration:

[[callers]]
name = \"{name}\"
key_sha256 = \"{digest}\"
"
    )?;
    Ok(out.flush()?)
}

/// Says what the configuration says of a key that there is already.
fn digest() -> Result<(), Box<dyn Error>> {
    let key = Key::read(io::stdin().lock())?;
    Ok(writeln!(io::stdout(), "key_sha256 = \"{}\"", key.digest())?)
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.help {
        return Ok(write!(io::stdout(), "{}", args::HELP)?);
    }
    let mut signals = Signals::listen()?;
    let (config, _simulated) = match &args.config {
        Some(file) => (
            Config::read(file, args.listen).map_err(|faults| faults.to_string())?,
            None,
        ),
        None => {
            let (config, providers) = simulate::start(args.listen).await?;
            (config, Some(providers))
        }
    };
    let open = config.callers.is_empty();
    let address = config.listen;
    if open && !address.ip().to_canonical().is_loopback() {
        return Err(format!("--listen: found {address} and no callers, {NOBODY_ASKED}").into());
    }
    for note in &config.notes {
        eprintln!("note: {note}");
    }
    if args.check {
        return Ok(writeln!(
            io::stdout(),
            "ok: {} endpoints, {} routes",
            config.endpoints.len(),
            config.routes.len()
        )?);
    }

    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    announce(listener.local_addr()?, open, args.config.is_none())?;

    let limits = config.limits;
    let writer = if args.quiet {
        Writer::quiet()
    } else {
        Writer::start()
    };
    let public_pages = config.public_pages;
    let log = writer.log();
    let gateway = Gateway::new(config, log.clone(), args.config.is_none());
    tokio::spawn(gateway.telemetry.clone().upkeep());
    let apps = Apps::new(&Arc::new(gateway), public_pages);
    let connections = server::serve(listener, &limits, &apps, signals.next()).await;

    let drain = limits.drain.as_secs_f64();
    log.say(format_args!(
        "stopping: what is under way may take another {drain} s"
    ));
    // Told a second time, it waits no longer.
    let finished = connections.drain(limits.drain, signals.next()).await;
    if !finished {
        log.say(format_args!("stopped: some requests were cut off"));
    }
    writer.close().await;
    Ok(())
}

fn announce(address: SocketAddr, open: bool, simulated: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{address}")?;
    if open {
        writeln!(
            out,
            "No callers are listed: it asks nobody for a key, and listens on loopback only."
        )?;
    }
    if simulated {
        write!(
            out,
            "
There is no configuration, and so these are simulated endpoints:

  sim-gpt      speaks OpenAI's dialect, as does any gpt-*
  sim-claude   speaks Anthropic's, as does any claude-*
  sim-flaky    speaks OpenAI's, and misbehaves

Open http://{address}/ in a browser, or try this:

  curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{\"model\":\"sim-gpt\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'

"
        )?;
    }
    out.flush()
}
