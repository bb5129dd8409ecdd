//! What calls cost.

use buttress_core::{Money, Usage};
use buttress_llm::price::{Fault, Loaded, Passed, Price, Prices, Rates};

/// In millionths of a currency, so that a price per million tokens is one per token.
const fn micro(amount: u128) -> Money {
    Money::from_pico(amount * 1_000_000)
}

fn rates(input: u128, output: u128) -> Rates {
    Rates {
        input: micro(input),
        cached_input: None,
        cache_write: None,
        cache_write_hour: None,
        output: micro(output),
        reasoning: None,
    }
}

fn cost(prices: &Prices, model: &str, usage: Usage) -> Option<u128> {
    prices.price("p", model, &usage).map(Money::pico)
}

fn of(rows: &str) -> Prices {
    Prices::parse(rows).unwrap()
}

#[test]
fn every_kind_of_token_has_its_own_rate_and_is_counted_once() {
    let prices = of("p m - 1 10 100 1000 10000 100000");
    let all = Usage {
        cached_input: 3,
        cache_write: 5,
        reasoning: 7,
        ..Usage::new(100, 50)
    };
    let expected = 92 + 3 * 10 + 5 * 100 + 43 * 10_000 + 7 * 100_000;
    assert_eq!(cost(&prices, "m", all), Some(expected * 1_000_000));
    // Estimated tokens cost the same.
    assert_eq!(
        cost(&prices, "m", all.estimated()),
        Some(expected * 1_000_000)
    );
    let price = prices.get("p", "m").unwrap();
    let hour = expected - 2 * 100 + 2 * 1000;
    assert_eq!(price.cost_with_hour(&all, 2), Some(micro(hour)));
    // No more can be written for an hour than was written.
    let most = expected - 5 * 100 + 5 * 1000;
    assert_eq!(price.cost_with_hour(&all, u64::MAX), Some(micro(most)));
}

#[test]
fn what_is_not_told_is_dearer_or_unknown_and_never_free() {
    let prices = of("p m - 2 - - - 8 -");
    let usage = Usage::new(100, 50);
    let plain = Some(600 * 1_000_000);
    assert_eq!(cost(&prices, "m", usage), plain);
    assert_eq!(
        cost(
            &prices,
            "m",
            Usage {
                cached_input: 60,
                ..usage
            }
        ),
        plain
    );
    assert_eq!(
        cost(
            &prices,
            "m",
            Usage {
                reasoning: 20,
                ..usage
            }
        ),
        plain
    );
    assert_eq!(
        cost(
            &prices,
            "m",
            Usage {
                cache_write: 1,
                ..usage
            }
        ),
        None
    );
    let short = of("p m - 2 - 3 - 8 -");
    assert_eq!(
        cost(
            &short,
            "m",
            Usage {
                cache_write: 1,
                ..usage
            }
        ),
        Some(601 * 1_000_000)
    );
    let written = Usage {
        cache_write: 1,
        ..usage
    };
    assert_eq!(
        short.get("p", "m").unwrap().cost_with_hour(&written, 1),
        None
    );
    assert_eq!(cost(&prices, "other", usage), None);
    assert_eq!(prices.price("q", "m", &usage), None);
}

#[test]
fn a_call_is_priced_by_the_tier_of_all_its_input() {
    let prices = of("p m - 1 - - - 10 -\np m 200 2 - - - 20 -\np m 100 3 - - - 30 -");
    for (input, expected) in [(0, 10), (100, 110), (101, 333), (200, 630), (201, 422)] {
        let usage = Usage {
            cached_input: input / 2,
            ..Usage::new(input, 1)
        };
        assert_eq!(
            cost(&prices, "m", usage),
            Some(expected * 1_000_000),
            "{input}"
        );
    }
}

#[test]
fn tokens_that_another_paid_for_cost_nothing_if_their_price_is_known() {
    let prices = of("p m - 1 - - - 10 -");
    let usage = Usage::new(5, 5).unbilled();
    assert_eq!(cost(&prices, "m", usage), Some(0));
    assert_eq!(cost(&prices, "other", usage), None);
}

#[test]
fn counts_that_make_no_sense_neither_wrap_nor_are_free() {
    let prices = of("p m - 1 10 100 - 10 100");
    let odd = Usage {
        cached_input: 8,
        cache_write: u64::MAX,
        reasoning: 9,
        ..Usage::new(5, 5)
    };
    let expected = 8 * 10 + u128::from(u64::MAX) * 100 + 9 * 100;
    assert_eq!(cost(&prices, "m", odd), Some(expected * 1_000_000));
    let most = Price::new(Rates {
        input: Money::from_pico(u128::MAX),
        ..rates(0, 1)
    });
    assert_eq!(
        most.cost(&Usage::new(1, 0)),
        Some(Money::from_pico(u128::MAX))
    );
    assert_eq!(most.cost(&Usage::new(2, 0)), None);
    assert_eq!(most.cost(&Usage::new(1, 1)), None);
}

#[test]
fn a_dated_name_has_the_price_of_its_model_unless_it_has_its_own() {
    let prices = of(
        "p gpt-4o - 1 - - - 1 -\np gpt-4o-2024-05-13 - 2 - - - 2 -\np gpt-4o-mini - 3 - - - 3 -\np ft:gpt-4o - 4 - - - 4 -",
    );
    for (model, expected) in [
        ("gpt-4o", Some(1)),
        ("gpt-4o-2024-08-06", Some(1)),
        ("gpt-4o-2024-05-13", Some(2)),
        ("openai/gpt-4o-2024-05-13", Some(2)),
        ("models/gpt-4o", Some(1)),
        ("gpt-4o-mini", Some(3)),
        ("gpt-4o-mini-2024-07-18", Some(3)),
        ("gpt-4o-audio-preview", None),
        ("gpt-4o-", None),
        ("gpt-4", None),
        ("ft:gpt-4o-2024-08-06:org::id", Some(4)),
        ("ft:gpt-4o-mini-2024-07-18:org::id", None),
        ("", None),
    ] {
        let found = cost(&prices, model, Usage::new(1, 0)).map(|pico| pico / 1_000_000);
        assert_eq!(found, expected, "{model}");
    }
}

#[test]
fn a_file_that_is_wrong_is_told_with_its_line() {
    let row = "p m - 1 - - - 1 -\n";
    for (text, line, fault) in [
        ("p m - 1 - - - 1", 1, Fault::Columns { found: 8 }),
        (
            "\n# x\np m - 1 - - - 1 - -",
            3,
            Fault::Columns { found: 10 },
        ),
        ("p m - - - - - 1 -", 1, Fault::Missing),
        ("p m - 1 - - - - -", 1, Fault::Missing),
        ("p m - 1 x - - 1 -", 1, Fault::Number),
        ("p m - -1 - - - 1 -", 1, Fault::Number),
        ("p m - 0.0000001 - - - 1 -", 1, Fault::NotWhole),
        ("p m - 1000000000001 - - - 1 -", 1, Fault::TooHigh),
        ("p m 5 1 - - - 1 -", 1, Fault::NoBase),
        (&format!("{row}{row}"), 2, Fault::Twice),
        (&format!("{row}p m +5 1 - - - 1 -"), 2, Fault::Number),
        (
            &format!("{row}p m 5 1 - - - 1 -\np m 5 1 - - - 1 -"),
            3,
            Fault::Twice,
        ),
        ("date 2026-11-21\ndate 2026-11-22", 2, Fault::Twice),
    ] {
        let error = Prices::parse(text).unwrap_err();
        assert_eq!(
            (error.line(), error.fault()),
            (Some(line), &fault),
            "{text}"
        );
        assert!(
            error
                .to_string()
                .starts_with(&format!("line {line} of the prices: "))
        );
    }
    let long = format!("p {} - 1 - - - 1 -", "m".repeat(257));
    assert_eq!(Prices::parse(&long).unwrap_err().fault(), &Fault::Name);
}

#[test]
fn prices_of_your_own_replace_those_that_are_there() {
    let mut prices = of("currency USD\ndate a\np m - 1 - - - 1 -\np n - 1 - - - 1 -");
    prices
        .extend(of("date b\np m - 2 - - - 2 -\nq m - 3 - - - 3 -"))
        .unwrap();
    assert_eq!(
        (prices.len(), prices.date(), prices.currency()),
        (3, Some("b"), Some("USD"))
    );
    assert_eq!(prices.iter().count(), 3);
    assert_eq!(cost(&prices, "m", Usage::new(1, 0)), Some(2_000_000));
    let error = prices.extend(of("currency EUR")).unwrap_err();
    assert_eq!(error.fault(), &Fault::Currency);
    for name in ["", "a b", "a\n", "#a"] {
        let error = prices
            .insert("p", name, Price::new(rates(1, 1)))
            .unwrap_err();
        assert_eq!(error.fault(), &Fault::Name, "{name:?}");
    }
    let tiers = (1..=16).try_fold(Price::new(rates(1, 1)), |price, above| {
        price.above(above, rates(1, 1))
    });
    assert_eq!(tiers.unwrap().above(17, rates(1, 1)), Err(Fault::TooMany));
}

#[test]
fn the_shipped_file_is_read_and_says_what_its_sources_say() {
    let prices = Prices::shipped();
    assert_eq!(
        (prices.date(), prices.currency()),
        (Some("2026-11-21"), Some("USD"))
    );
    let text = include_str!("../src/price/prices.txt");
    // Not the empty one, which there would be if it could not be read.
    assert_eq!(prices.len(), Prices::parse(text).unwrap().len());
    assert!(prices.len() >= 48, "{}", prices.len());
    for (provider, model, price) in prices.iter() {
        assert!(
            ["openai", "anthropic", "gemini"].contains(&provider),
            "{provider}"
        );
        let rates = price.rates(0);
        assert!(
            rates.input > Money::ZERO && rates.input < rates.output,
            "{model}"
        );
        assert!(
            rates.cached_input.is_none_or(|cached| cached < rates.input),
            "{model}"
        );
        assert!(
            rates.cache_write.is_none_or(|write| write > rates.input),
            "{model}"
        );
        assert_eq!(
            rates.cache_write_hour.is_some(),
            provider == "anthropic",
            "{model}"
        );
        // A tier costs more.
        assert!(price.rates(u64::MAX).input >= rates.input, "{model}");
    }
    let dollars = |provider, model, usage| {
        prices
            .price(provider, model, &usage)
            .map(|cost| cost.to_string())
    };
    let million = Usage::new(1_000_000, 1_000_000);
    let of = |dollars: &str| Some(dollars.to_owned());
    assert_eq!(
        dollars("openai", "gpt-4o-mini-2024-07-18", million),
        of("0.75")
    );
    assert_eq!(
        dollars("anthropic", "claude-opus-4-5-20251101", million),
        of("30")
    );
    let long = Usage::new(200_001, 0);
    assert_eq!(dollars("gemini", "gemini-2.5-pro", long), of("0.5000025"));
    assert_eq!(
        dollars("gemini", "gemini-2.5-pro", Usage::new(200_000, 0)),
        of("0.25")
    );
    assert_eq!(dollars("gemini", "gemini-4-argon", million), None);
}

const LIST: &str = r#"{
    "sample_spec": {"litellm_provider": "one of https://docs.litellm.ai", "mode": "one of: chat", "input_cost_per_token": 0.0},
    "gpt-x": {"litellm_provider": "openai", "mode": "chat", "max_tokens": 16384, "supports_vision": true,
        "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6E-7, "cache_read_input_token_cost": 0.000000075,
        "input_cost_per_token_batches": 7.5e-08, "search_context_cost_per_query": {"search_context_size_low": 0.03}},
    "gemini/pro": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-07, "output_cost_per_reasoning_token": 1.2e-05,
        "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05},
    "half-tier": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
        "input_cost_per_token_above_128k_tokens": 3e-06},
    "claude-x": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05, "input_cost_per_token_above_200k_tokens": 6e-06,
        "cache_read_input_token_cost": null},
    "embed": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0},
    "dall-e": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1e-08},
    "gratis": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 0, "output_cost_per_token": 0.0},
    "noise": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 9.499999999999999e-07, "output_cost_per_token": 1e-06},
    "text": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": "1e-6", "output_cost_per_token": 1e-06},
    "no-output": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06},
    "ranges": {"litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [{"input_cost_per_token": 5e-08}]},
    "same": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
    "gemini/same": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1.0e-06, "output_cost_per_token": 10e-7},
    "differs": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
    "gemini/differs": {"litellm_provider": "gemini", "mode": "chat", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-06},
    "fallback": [1]
}"#;

#[test]
fn litellm_s_list_is_read_exactly_and_what_is_not_is_named() {
    let Loaded {
        prices, mut passed, ..
    } = Prices::litellm(LIST.as_bytes()).unwrap();
    passed.sort_by(|one, other| one.0.cmp(&other.0));
    let passed: Vec<_> = passed
        .iter()
        .map(|(name, why)| (&**name, why.clone()))
        .collect();
    assert_eq!(
        passed,
        [
            ("dall-e", Passed::Mode),
            ("differs", Passed::Ambiguous),
            ("fallback", Passed::Mode),
            ("gemini/differs", Passed::Ambiguous),
            ("gratis", Passed::Free),
            ("no-output", Passed::Missing),
            ("noise", Passed::Fault(Fault::NotWhole)),
            ("ranges", Passed::Tiers),
            ("sample_spec", Passed::Mode),
            ("text", Passed::Fault(Fault::Number)),
        ]
    );
    assert_eq!(prices.len(), 6);
    let pico = |amount| Some(Money::from_pico(amount));
    let rates = |provider, model, input| *prices.get(provider, model).unwrap().rates(input);
    let plain = rates("openai", "gpt-x", 0);
    assert_eq!(
        (Some(plain.input), plain.cached_input),
        (pico(150_000), pico(75_000))
    );
    assert_eq!((Some(plain.output), plain.reasoning), (pico(600_000), None));
    let low = rates("gemini", "pro", 200_000);
    assert_eq!(
        (Some(low.input), low.reasoning),
        (pico(1_250_000), pico(12_000_000))
    );
    let high = rates("gemini", "pro", 200_001);
    // What the tier does not say is not taken from the cheaper one.
    assert_eq!(
        (Some(high.input), high.cached_input),
        (pico(2_500_000), None)
    );
    assert_eq!(
        (Some(high.output), high.reasoning),
        (pico(15_000_000), None)
    );
    let half = rates("gemini", "half-tier", 128_001);
    assert_eq!(
        (Some(half.input), Some(half.output)),
        (pico(3_000_000), pico(2_000_000))
    );
    let claude = rates("anthropic", "claude-x", 1);
    assert_eq!(
        (claude.cache_write, claude.cache_write_hour),
        (pico(3_750_000), pico(6_000_000))
    );
    assert_eq!(claude.cached_input, None);
    let claude = rates("anthropic", "claude-x", 200_001);
    assert_eq!(
        (claude.cache_write, claude.cache_write_hour),
        (None, pico(12_000_000))
    );
    assert_eq!(rates("openai", "embed", 0).output, Money::ZERO);
    assert!(prices.get("gemini", "same").is_some());
}

#[test]
fn a_list_that_is_none_is_an_error() {
    for text in ["", "[]", "{", "{\"a\":{}", "{\"a\":{}}}", "\"\u{e9}"] {
        let error = Prices::litellm(text.as_bytes()).unwrap_err();
        assert!(matches!(error.fault(), Fault::Json(_)), "{text}");
    }
    assert!(Prices::litellm(b"{\"\xff\":1}").is_err());
    assert!(Prices::litellm(b"{}").unwrap().prices.is_empty());
    let many: String = (0..=100_000).map(|k| format!("\"{k}\":0,")).collect();
    let error = Prices::litellm(format!("{{{many}\"x\":0}}").as_bytes()).unwrap_err();
    assert_eq!(error.fault(), &Fault::TooMany);
}

#[test]
#[ignore = "needs LiteLLM's list, in the file that BUTTRESS_LITELLM names"]
fn the_shipped_prices_are_those_of_litellm_s_list() {
    let path = std::env::var_os("BUTTRESS_LITELLM").expect("BUTTRESS_LITELLM");
    let list = Prices::litellm(&std::fs::read(path).expect("a file")).expect("a list");
    assert!(list.prices.len() > 2000, "{}", list.prices.len());
    for (provider, model, price) in Prices::shipped().iter() {
        assert_eq!(list.prices.get(provider, model), Some(price), "{model}");
    }
}
