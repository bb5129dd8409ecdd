//! What the gateway serves when it is given no file: providers of its own, on loopback sockets.

use std::{
    error::Error,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use buttress_llm::price::Prices;
use buttress_testing::{Fault, Match, Provider, Reply, Request, Running};

use crate::config::Config;

/// The simulated providers. They are there until this is dropped.
#[derive(Debug)]
pub(crate) struct Simulated {
    _providers: [Running; 3],
}

/// How fast they talk: 40 tokens a second.
const PACE: Duration = Duration::from_millis(25);

/// Starts them, and says how they are reached.
pub(crate) async fn start(
    listen: Option<SocketAddr>,
) -> Result<(Config, Simulated), Box<dyn Error>> {
    let openai = Provider::openai()
        .on(Match::model("sim-flaky"), flaky())
        .on(Match::model("sim-any"), flaky());
    let openai = talkative(openai).start().await?;
    let anthropic = talkative(Provider::anthropic()).start().await?;
    let gemini = talkative(Provider::gemini()).start().await?;
    let text = include_str!("simulate/gateway.toml")
        .replace("OPENAI", &openai.base_url())
        .replace("ANTHROPIC", &anthropic.base_url())
        .replace("GEMINI", &gemini.base_url());
    let config = Config::parse(Path::new("simulate/gateway.toml"), &text, listen, &|_| None);
    let mut config = config.map_err(|faults| faults.to_string())?;
    config
        .prices
        .extend(Prices::parse(include_str!("simulate/prices.txt"))?)?;
    let providers = [openai, anthropic, gemini];
    Ok((
        config,
        Simulated {
            _providers: providers,
        },
    ))
}

/// A provider that answers every call, and keeps no record of it.
fn talkative(provider: Provider) -> Provider {
    provider
        .reply(Reply::with(|request| {
            Reply::text(speech(request)).pace(PACE)
        }))
        .on(Match::any(), Reply::error(404))
        .remember(0, 0)
}

fn speech(request: &Request) -> String {
    let heard: String = request.last_text().chars().take(200).collect();
    format!(
        "You said: “{}” Nobody thought about it: this is a simulated endpoint, and no network was \
         asked. But the way here was the real one. Your request came over a socket, its model was \
         read and found in a route, and this reply is streamed back piece by piece, while the \
         gateway counts its tokens as they pass.",
        heard.trim(),
    )
}

/// One attempt after the other goes wrong in another way. A call that makes three of them is answered
/// at its third, the next at its second, then one stalls in the middle, one is cut there, and one
/// gives up.
fn flaky() -> Reply {
    let attempts = AtomicUsize::new(0);
    let well = |request: &Request| Reply::text(speech(request)).pace(PACE);
    Reply::with(
        move |request| match attempts.fetch_add(1, Ordering::Relaxed) % 10 {
            0 => Reply::error(429).retry_after("1"),
            1 => Reply::error(503),
            3 => well(request).fault(Fault::Stall { after: 0 }),
            5 => well(request).fault(Fault::Stall { after: 8 }),
            6 => well(request).fault(Fault::Reset { after: 8 }),
            7..=9 => Reply::error(500),
            _ => well(request),
        },
    )
}
