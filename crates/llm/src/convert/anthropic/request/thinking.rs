//! How much a model is to think, in the words that it understands.

use crate::convert::{
    error::Wrong,
    model::{Budget, Request},
    notes::Notes,
    text::{Raw, Text},
};

/// What is written of it.
#[derive(Debug)]
pub(super) struct Thinking {
    pub(super) mode: Mode,
    pub(super) effort: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Unsaid,
    Off,
    Adaptive,
    /// At most so many tokens.
    Tokens(u64),
}

/// The smallest budget that the API takes.
const LEAST: u64 = 1024;

/// Parts of the names of the models that take a budget and do not know `adaptive`. The list is
/// closed: models since Claude 4.6 think adaptively, and the later ones refuse budgets.
const BUDGETED: [&str; 13] = [
    "claude-2",
    "claude-3",
    "claude-instant",
    "claude-4-",
    "-4-0",
    "-4-1",
    "-4-5",
    "-4.1",
    "-4.5",
    "-4-2025",
    "-4@2025",
    "claude-opus-4:",
    "claude-sonnet-4:",
];

// ===== impl Thinking =====

impl Thinking {
    pub(super) fn of(request: &Request<'_>, notes: &mut Notes) -> Self {
        let budgeted = takes_budgets(&request.model.decode());
        let reasoning = &request.reasoning;
        let mut off = false;
        let mut effort = None;
        if let Some(word) = &reasoning.effort {
            match &*word.decode() {
                "none" => off = true,
                "minimal" | "low" => effort = Some("low"),
                "medium" => effort = Some("medium"),
                "high" => effort = Some("high"),
                "xhigh" => effort = Some("xhigh"),
                "max" => effort = Some("max"),
                _ => notes.unfit(word.at(), "it has no such effort"),
            }
        }
        let mode = match &reasoning.budget {
            Budget::Off => Mode::Off,
            Budget::Tokens(tokens) => match whole(tokens) {
                Some(0) => Mode::Off,
                Some(tokens) if budgeted => Mode::Tokens(tokens.max(LEAST)),
                Some(tokens) => {
                    effort = effort.or(Some(effort_of(tokens)));
                    Mode::Adaptive
                }
                None => {
                    let expected = "a whole number of tokens";
                    notes.fail(tokens.at(), Wrong::Value { expected });
                    Mode::Unsaid
                }
            },
            Budget::Adaptive if budgeted => Mode::Tokens(tokens_of(effort.unwrap_or("medium"))),
            Budget::Adaptive => Mode::Adaptive,
            Budget::Unsaid if off => Mode::Off,
            Budget::Unsaid => match effort {
                None => Mode::Unsaid,
                Some(effort) if budgeted => Mode::Tokens(tokens_of(effort)),
                Some(_) => Mode::Adaptive,
            },
        };
        Self {
            mode,
            effort: effort.filter(|_| !budgeted),
        }
    }

    /// How many tokens the reply may have, and the thinking with it: the budget must be less.
    pub(super) fn max_tokens<'a>(&self, asked: Option<&Raw<'a>>) -> Raw<'a> {
        let most = asked.map_or(Some(DEFAULT_TOKENS), whole);
        match (self.mode, most) {
            (Mode::Tokens(budget), Some(most)) if budget >= most => {
                Raw::of(most.saturating_add(budget).to_string())
            }
            (_, most) => asked
                .cloned()
                .unwrap_or_else(|| Raw::of(most.unwrap_or(DEFAULT_TOKENS).to_string())),
        }
    }

    /// What the API takes only without thinking.
    pub(super) fn check(&self, request: &Request<'_>, notes: &mut Notes) {
        if !matches!(self.mode, Mode::Adaptive | Mode::Tokens(_)) {
            return;
        }
        if let Some(temperature) = request.temperature.as_ref().filter(|t| number(t) != 1.0) {
            notes.unfit(temperature.at(), "while it thinks, the temperature is 1");
        }
        if let Some(top_k) = &request.top_k {
            notes.unfit(top_k.at(), "while it thinks, it takes none");
        }
        // <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>
        if let Some(top_p) = request.top_p.as_ref().filter(|p| number(p) < 0.95) {
            notes.unfit(top_p.at(), "while it thinks, it is 0.95 or more");
        }
    }
}

/// What is written where the caller names no limit: the API wants one.
const DEFAULT_TOKENS: u64 = 4096;

/// Whether a model wants to know how many tokens to think. Who speaks the dialect and is no Claude
/// learned it from those that do.
fn takes_budgets(model: &str) -> bool {
    !model.contains("claude")
        || model.ends_with("-4")
        || BUDGETED.iter().any(|part| model.contains(part))
}

/// As LiteLLM has it, and on from there.
fn tokens_of(effort: &str) -> u64 {
    match effort {
        "low" => 1024,
        "medium" => 2048,
        "high" => 4096,
        "xhigh" => 8192,
        _ => 16384,
    }
}

fn effort_of(tokens: u64) -> &'static str {
    match tokens {
        0..=1024 => "low",
        1025..=2048 => "medium",
        _ => "high",
    }
}

/// A number as it is written; what is too large is infinite.
pub(super) fn number(raw: &Raw<'_>) -> f64 {
    raw.written().parse().unwrap_or(f64::NAN)
}

fn whole(raw: &Raw<'_>) -> Option<u64> {
    let value = number(raw);
    // A float becomes the nearest number that there is.
    (value >= 0.0 && value.fract() == 0.0).then_some(value as u64)
}

/// Whether the model may be told to show what it thinks.
pub(super) fn display(told: Option<bool>) -> Option<Text<'static>> {
    told.map(|told| Text::plain(if told { "summarized" } else { "omitted" }))
}
