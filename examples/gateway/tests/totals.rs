//! What the gateway tells in the end is what the providers saw: ten thousand calls of all kinds, with
//! faults, and callers who leave in the middle.

mod support;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use buttress_testing::{Billed, Fault, Provider, Reply, Request, Running};
use support::{Answer, Caller, Gateway, metric};
use tokio::sync::oneshot;

const CALLS: u64 = 10_000;
const CALLERS: usize = 24;
/// Pico-units a token, as in the prices below.
const INPUT: u64 = 2_000_001;
const OUTPUT: u64 = 8_000_003;
const SECRET: &str = "canary-of-a-prompt";

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Fine,
    /// Asked by several, at once or one after the other: kept.
    Kept,
    /// Refused once, and then answered.
    Throttled,
    Broken,
    Invalid,
    /// Hung up on, at every attempt.
    Silent,
    /// Breaks off after two events of content.
    Cut,
    /// Stalls after two events of content, and its caller leaves.
    LeftInside,
    /// Is never answered, and its caller leaves.
    LeftBefore,
}

#[derive(Clone, Debug)]
struct Plan {
    number: u64,
    fate: Fate,
    path: &'static str,
    model: &'static str,
    stream: bool,
}

/// Who waits for a call to have reached a provider, by its number; and how often each did.
#[derive(Default)]
struct Arrivals {
    waiting: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    counts: Mutex<HashMap<u64, u64>>,
}

// What the callers saw.
#[derive(Default)]
struct Seen {
    fine: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
    cut: AtomicU64,
}

// ===== impl Fate =====

const FATES: [Fate; 9] = [
    Fate::Fine,
    Fate::Kept,
    Fate::Throttled,
    Fate::Broken,
    Fate::Invalid,
    Fate::Silent,
    Fate::Cut,
    Fate::LeftInside,
    Fate::LeftBefore,
];

impl Fate {
    fn drawn(random: u64) -> Self {
        match random % 100 {
            0..50 => Self::Fine,
            50..70 => Self::Kept,
            70..76 => Self::Throttled,
            76..80 => Self::Broken,
            80..84 => Self::Invalid,
            84..88 => Self::Silent,
            88..92 => Self::Cut,
            92..96 => Self::LeftInside,
            _ => Self::LeftBefore,
        }
    }

    /// Whether the provider sends a part of the reply, and no more.
    const fn is_partial(self) -> bool {
        matches!(self, Self::Cut | Self::LeftInside)
    }
}

// ===== impl Plan =====

/// SplitMix64.
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Plan {
    fn of(call: u64) -> Self {
        let drawn = random(call + 1);
        let fate = Fate::drawn(drawn >> 8);
        Self {
            number: match fate {
                // So that they come close to each other.
                Fate::Kept => 1_000_000 + call / 40,
                _ => call,
            },
            fate,
            path: ["/v1/chat/completions", "/v1/messages"][(drawn >> 20) as usize % 2],
            model: ["m-open", "m-anthropic", "m-both"][(drawn >> 24) as usize % 3],
            // Of what comes in one piece there is no middle.
            stream: fate.is_partial() || (drawn >> 28).is_multiple_of(2),
        }
    }

    fn body(&self) -> String {
        let Self {
            number,
            fate,
            model,
            stream,
            ..
        } = self;
        let place = FATES.iter().position(|known| known == fate).unwrap();
        let temperature = u8::from(*fate != Fate::Kept);
        format!(
            "{{\"model\":\"{model}\",\"temperature\":{temperature},\"max_tokens\":99,\"stream\":{stream},\
             \"messages\":[{{\"role\":\"user\",\"content\":\"{SECRET} {place} {number}\"}}]}}"
        )
    }

    /// What is asked for in a prompt.
    fn read(prompt: &str) -> (Fate, u64) {
        let mut words = prompt.rsplit(' ');
        let number = words.next().unwrap().parse().unwrap();
        let place: usize = words.next().unwrap().parse().unwrap();
        (FATES[place], number)
    }

    fn reply(&self) -> String {
        reply(self.number)
    }
}

fn reply(number: u64) -> String {
    let words = (0..number % 7).map(|word| format!(" wörd-{word}\u{1f426}"));
    format!("Reply to {number}:{}", words.collect::<String>())
}

/// The words in a stream or a whole reply of either dialect.
fn words(text: &str) -> String {
    let mut words = String::new();
    for line in text.lines() {
        let data = line.strip_prefix("data: ").unwrap_or(line);
        let Ok(value) = serde_json::from_str::<serde_json::Value>(data) else {
            continue;
        };
        let places = [
            "/choices/0/delta/content",
            "/choices/0/message/content",
            "/content/0/text",
            "/delta/text",
        ];
        for place in places {
            let text = value.pointer(place).and_then(|text| text.as_str());
            words += text.unwrap_or_default();
        }
    }
    words
}

// ===== impl Arrivals =====

impl Arrivals {
    fn expect(&self, number: u64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(number, sender);
        receiver
    }

    fn reply(&self, request: &Request) -> Reply {
        let (fate, number) = Plan::read(&request.last_text());
        let earlier = {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(number).or_default();
            *count += 1;
            *count - 1
        };
        if let Some(waiting) = self.waiting.lock().unwrap().remove(&number) {
            // Whoever waits may be gone.
            let _ = waiting.send(());
        }
        let fine = Reply::text(reply(number));
        match fate {
            // Those that share a call share what it takes.
            Fate::Throttled if earlier == 0 => Reply::error(429).retry_after("0"),
            Fate::Kept if earlier == 0 && number.is_multiple_of(2) => Reply::error(503),
            Fate::Fine | Fate::Kept | Fate::Throttled => fine,
            Fate::Broken => Reply::error(500),
            Fate::Invalid => Reply::error(400),
            Fate::Silent => fine.fault(Fault::NoReply),
            Fate::Cut => fine.fault(Fault::Reset { after: 2 }),
            Fate::LeftInside => fine.fault(Fault::Stall { after: 2 }),
            Fate::LeftBefore => fine.fault(Fault::NoHeaders),
        }
    }

    async fn provider(self: &Arc<Self>, provider: Provider) -> Running {
        let this = self.clone();
        provider
            .reply(Reply::with(move |request| this.reply(request)))
            .remember(2 * CALLS as usize, 64 << 20)
            .start()
            .await
            .unwrap()
    }
}

// ===== what callers do =====

impl Seen {
    /// Makes the call, and checks what comes of it. The connection, if it can be used again.
    async fn call(&self, mut caller: Caller, plan: &Plan, arrivals: &Arrivals) -> Option<Caller> {
        let body = plan.body();
        let arrived = (plan.fate == Fate::LeftBefore).then(|| arrivals.expect(plan.number));
        caller
            .start(
                plan.path,
                "authorization: Bearer canary-of-a-key\r\n",
                &body,
            )
            .await;
        match plan.fate {
            Fate::LeftBefore => {
                arrived.unwrap().await.unwrap();
                self.left.fetch_add(1, Relaxed);
                None
            }
            Fate::LeftInside => {
                let head = caller.head().await;
                assert!(head.contains(" 200 "), "{plan:?}: {head}");
                let mut came = String::new();
                while words(&came).is_empty() {
                    came += std::str::from_utf8(&caller.chunk().await.unwrap()).unwrap();
                }
                self.left.fetch_add(1, Relaxed);
                None
            }
            Fate::Cut => {
                let head = caller.head().await;
                assert!(head.contains(" 200 "), "{plan:?}: {head}");
                caller.gone().await;
                self.cut.fetch_add(1, Relaxed);
                None
            }
            Fate::Fine | Fate::Kept | Fate::Throttled => {
                let answer = caller.answer().await;
                assert_eq!(answer.status(), 200, "{plan:?}: {answer:?}");
                let said = words(answer.text());
                assert_eq!(said, plan.reply(), "{plan:?}: {answer:?}");
                self.fine.fetch_add(1, Relaxed);
                Some(caller)
            }
            Fate::Broken | Fate::Invalid | Fate::Silent => {
                let answer = caller.answer().await;
                assert!(answer.status() >= 400, "{plan:?}: {answer:?}");
                self.failed.fetch_add(1, Relaxed);
                Some(caller)
            }
        }
    }
}

async fn callers(address: SocketAddr, arrivals: &Arc<Arrivals>) -> Arc<Seen> {
    let next = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(Seen::default());
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (next, seen, arrivals) = (next.clone(), seen.clone(), arrivals.clone());
            tokio::spawn(async move {
                let mut kept = None;
                loop {
                    let call = next.fetch_add(1, Relaxed);
                    if call >= CALLS {
                        return;
                    }
                    let caller = match kept {
                        Some(caller) => caller,
                        None => Caller::connect(address).await,
                    };
                    let (seen, plan, arrivals) = (seen.clone(), Plan::of(call), arrivals.clone());
                    let what = format!("{plan:?}");
                    let made = async move { seen.call(caller, &plan, &arrivals).await };
                    let made = tokio::spawn(made).await;
                    kept = made.unwrap_or_else(|error| panic!("{what}: {error}"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    seen
}

/// `/metrics` and `/status`, once nothing is under way any more.
async fn told(address: SocketAddr) -> (Answer, serde_json::Value) {
    let mut monitor = Caller::connect(address).await;
    loop {
        let page = monitor.get("/metrics", "").await;
        let gauges = ["buttress_requests_in_flight", "buttress_attempts_in_flight"];
        let busy = gauges.map(|gauge| metric(page.text(), gauge, &[]));
        if busy == [0.0; 2] {
            let status = monitor.get("/status", "").await.json();
            return (page, status);
        }
        tokio::task::yield_now().await;
    }
}

fn config(open: &Running, anthropic: &Running) -> String {
    let prices = concat!(env!("CARGO_TARGET_TMPDIR"), "/totals-prices.txt");
    // Of a million tokens.
    let row = |model| format!("tested {model} - 2.000001 - - - 8.000003 -\n");
    let rows = ["m-open", "m-anthropic", "m-both"].map(row).concat();
    std::fs::write(prices, format!("currency USD\n{rows}")).unwrap();
    let endpoint = |name: &str, dialect: &str, url: &str| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\ndialect = \"{dialect}\"\nbase_url = \"{url}\"\nprovider = \"tested\"\n"
        )
    };
    let route = |model: &str, endpoints: &str| {
        format!("[[route]]\nmodel = \"{model}\"\nendpoints = [{endpoints}]\n")
    };
    [
        "listen = \"127.0.0.1:0\"\n".to_owned(),
        "[prices]\nfile = \"totals-prices.txt\"\n".to_owned(),
        "[cache]\n".to_owned(),
        "[breaker]\nenabled = false\n".to_owned(),
        "[failover]\ncool_down = \"10 ms\"\n".to_owned(),
        "[retry]\nattempts = 2\nbase = \"1 ms\"\nbudget = 1.0\nreserve = 10000\n".to_owned(),
        endpoint("open", "openai", &open.base_url()),
        endpoint("anthropic", "anthropic", &anthropic.base_url()),
        route("m-open", "\"open\""),
        route("m-anthropic", "\"anthropic\""),
        route("m-both", "\"open\", \"anthropic\""),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_m3_m4_ten_thousand_calls_are_told_as_the_providers_saw_them() {
    let arrivals = Arc::new(Arrivals::default());
    let open = arrivals.provider(Provider::openai()).await;
    let anthropic = arrivals.provider(Provider::anthropic()).await;
    let gateway = Gateway::start(&config(&open, &anthropic));
    let seen = callers(gateway.address, &arrivals).await;
    let (page, status) = told(gateway.address).await;
    let page = page.text();
    for provider in [&open, &anthropic] {
        provider.log().wait_until_idle().await;
    }

    // Requests, as their callers saw them end.
    let count = |name: &str, labels: &[(&str, &str)]| metric(page, name, labels) as u64;
    let class = |class: &str| count("buttress_requests_total", &[("class", class)]);
    let Seen {
        fine,
        failed,
        left,
        cut,
    } = &*seen;
    assert_eq!(count("buttress_requests_total", &[]), CALLS);
    assert_eq!(class("success"), fine.load(Relaxed));
    assert_eq!(class("cancelled"), left.load(Relaxed));
    assert_eq!(class("interrupted"), cut.load(Relaxed));
    let others = ["success", "cancelled", "interrupted"].map(class);
    assert_eq!(CALLS - others.iter().sum::<u64>(), failed.load(Relaxed));
    // Whoever was answered knows by which model, and who was not has none.
    let answered = |class: &str| -> u64 {
        let by = ["m-open", "m-anthropic", "m-both"].map(|model| {
            let labels = [("class", class), ("gen_ai_response_model", model)];
            count("buttress_requests_total", &labels)
        });
        by.iter().sum()
    };
    assert_eq!(answered("success"), class("success"));
    assert_eq!(answered("interrupted"), class("interrupted"));
    assert_eq!(answered("invalid"), 0);

    // Attempts, as the providers saw them come.
    let mut whole = Billed::default();
    let mut parts = [0; 2];
    let [of_open, of_anthropic] = &mut parts;
    for (provider, name, parts) in [
        (&open, "open", of_open),
        (&anthropic, "anthropic", of_anthropic),
    ] {
        let log = provider.log();
        let attempts = count("buttress_attempts_total", &[("endpoint", name)]);
        assert_eq!(attempts, log.received(), "{name}");
        for request in log.requests() {
            let (fate, _) = Plan::read(&request.last_text());
            match fate.is_partial() {
                true => *parts += 1,
                false => whole += request.billed(),
            }
        }
    }

    // Tokens, exact where they were told, and marked where not.
    let tokens = |kind: &str, more: &[(&str, &str)]| {
        let labels = [&[("gen_ai_token_type", kind)], more].concat();
        count("gen_ai_client_token_usage_sum", &labels)
    };
    let about = [("estimated", "true")];
    let [input, output] = ["input", "output"].map(|kind| tokens(kind, &[]) - tokens(kind, &about));
    assert_eq!((input, output), (whole.input, whole.output));
    // Anthropic tells the tokens of the prompt at the beginning. Of OpenAI nothing is known of a part,
    // and it is not said to cost nothing.
    for (endpoint, estimates) in [("open", 0), ("anthropic", parts[1])] {
        let of_parts = [
            ("gen_ai_token_type", "input"),
            about[0],
            ("endpoint", endpoint),
        ];
        let counted = count("gen_ai_client_token_usage_count", &of_parts);
        assert_eq!(counted, estimates, "{endpoint}");
    }
    assert!(tokens("input", &about) > 0);
    let unpriced = count("buttress_attempts_unpriced_total", &[("endpoint", "open")]);
    assert!(unpriced >= parts[0], "{unpriced} {parts:?}");

    // What requests used is what their attempts did: not more for those that share one.
    for kind in ["input", "output"] {
        let name = "buttress_request_tokens_sum";
        let all = count(name, &[("gen_ai_token_type", kind)]);
        let free = count(name, &[("gen_ai_token_type", kind), ("unbilled", "true")]);
        assert_eq!(all - free, tokens(kind, &[]), "{kind}");
        assert!(free > 0);
    }

    // Money, to the last pico-unit.
    let cost = tokens("input", &[]) * INPUT + tokens("output", &[]) * OUTPUT;
    assert_eq!(exactly(page, "buttress_attempt_cost_pico_total"), cost);
    assert_eq!(exactly(page, "buttress_request_cost_pico_total"), cost);

    // And the page says the same.
    let mut shown = (0, 0);
    for endpoint in status["endpoints"].as_array().unwrap() {
        assert_eq!(endpoint["in_flight"], 0, "{endpoint}");
        shown.0 += endpoint["tokens"]["input"].as_u64().unwrap();
        shown.1 += endpoint["tokens"]["output"].as_u64().unwrap();
    }
    assert_eq!(shown, (tokens("input", &[]), tokens("output", &[])));
    let cache = &status["cache"];
    let of_cache =
        ["hits", "coalesced", "misses", "bypassed"].map(|kind| cache[kind].as_u64().unwrap());
    assert!(of_cache[0] > 0 && of_cache[1] > 0, "{cache}");
    let retried: u64 = (status["endpoints"].as_array().unwrap().iter())
        .filter_map(|endpoint| endpoint["retried"].as_object())
        .flat_map(|retried| retried.values())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(retried, count("buttress_retries_total", &[]));

    // Nobody's words or keys are in it.
    let log = gateway.log();
    for text in [page, &status.to_string(), &log] {
        assert!(!text.contains("canary"));
    }
}

/// A counter that is too large for a double.
fn exactly(page: &str, name: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}
