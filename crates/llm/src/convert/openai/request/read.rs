use super::{hint, matters, members, messages, tools, unknown};
use crate::convert::{
    error::Wrong,
    model::{Choice, Request},
    read::{Numbers, Reader},
    text::{Raw, Text},
};
use crate::json::Kind;

/// What is known of a request before its end.
#[derive(Default)]
struct Reading<'a> {
    request: Request<'a>,
    model: bool,
    messages: bool,
    /// The older name of `max_completion_tokens`.
    max_tokens: Option<Raw<'a>>,
    chosen: Option<tools::Chosen<'a>>,
    /// Where `logprobs` stands, if it is `true`.
    logprobs: Option<usize>,
    top_logprobs: Option<Raw<'a>>,
    /// The newer name of `user`.
    safety_identifier: Option<Text<'a>>,
}

pub(in crate::convert) fn read_request<'a>(json: &mut Reader<'a>) -> Request<'a> {
    let at = json.at();
    let mut reading = Reading::default();
    members(json, |json, name| reading.member(json, name));
    reading.finish(json, at)
}

// ===== impl Reading =====

impl<'a> Reading<'a> {
    fn member(&mut self, json: &mut Reader<'a>, name: &str) {
        let at = json.at();
        let request = &mut self.request;
        match name {
            "model" => {
                self.model = true;
                request.model = json.text();
            }
            "messages" => {
                self.messages = true;
                request.messages = messages::read(json, &mut request.own);
                if request.messages.is_empty() {
                    let expected = "an array of at least one message";
                    json.fail(at, Wrong::Value { expected });
                }
            }
            "tools" => request.tools = tools::read(json, &mut request.own),
            "tool_choice" => self.chosen = tools::read_choice(json, &mut request.own),
            // Several at once is what every provider does by itself.
            "parallel_tool_calls" => {
                request.parallel = (!json.bool()).then_some(false);
                request.parallel_at = at;
            }
            "response_format" => request.output = tools::read_format(json, &mut request.own),
            "max_completion_tokens" => request.max_tokens = Some(json.number(Numbers::COUNT)),
            "max_tokens" => self.max_tokens = Some(json.number(Numbers::COUNT)),
            "temperature" => request.temperature = Some(json.number(Numbers::UP_TO_2)),
            "top_p" => request.top_p = Some(json.number(Numbers::UP_TO_1)),
            // Not OpenAI's own, but of most servers that speak its dialect.
            "top_k" => request.top_k = Some(json.number(Numbers::COUNT)),
            "seed" => request.seed = Some(json.number(Numbers::WHOLE)),
            "presence_penalty" => {
                request.presence_penalty = unless_zero(json.number(Numbers::PENALTY))
            }
            "frequency_penalty" => {
                request.frequency_penalty = unless_zero(json.number(Numbers::PENALTY))
            }
            "n" => {
                let n = json.number(Numbers::SOME);
                request.candidates = (n.written() != "1").then_some(n);
            }
            "stop" if json.kind() == Kind::Array => {
                json.array(|json| request.stop.push(json.text()));
            }
            "stop" if json.kind() == Kind::String => request.stop.push(json.text()),
            "stop" => {
                let (expected, kind) = ("a string or an array of strings", json.kind());
                json.fail(at, Wrong::Type { expected, kind });
                json.skip();
            }
            "reasoning_effort" => self.effort(json),
            "stream" => request.stream = json.bool(),
            "stream_options" => self.stream_options(json),
            "user" => request.user = Some(json.text()),
            "safety_identifier" => self.safety_identifier = Some(json.text()),
            "logprobs" => self.logprobs = json.bool().then_some(at),
            "top_logprobs" => self.top_logprobs = Some(json.number(Numbers::COUNT)),
            _ => self.own(json, name),
        }
    }

    /// The members that no other dialect has.
    fn own(&mut self, json: &mut Reader<'a>, name: &str) {
        let own = &mut self.request.own;
        let at = json.at();
        let (says_something, own_weight) = match name {
            "store" => (json.bool(), hint(at)),
            "metadata" => (!is_empty(&json.raw_object()), hint(at)),
            "prompt_cache_options" => (!is_empty(&json.raw_object()), hint(at)),
            "prompt_cache_key" => (!json.text().is_empty(), hint(at)),
            "prompt_cache_retention" => (!json.text().is_empty(), hint(at)),
            "service_tier" => (!is_word(&json.text(), &["auto", "default"]), hint(at)),
            "verbosity" => (!is_word(&json.text(), &["medium"]), matters(at)),
            "modalities" => {
                let mut only_text = true;
                json.array(|json| only_text &= is_word(&json.text(), &["text"]));
                (!only_text, matters(at))
            }
            "logit_bias" => (!is_empty(&json.raw_object()), matters(at)),
            // Their replies have one call at most, and in another place: `function_call`.
            "functions" => {
                let mut any = false;
                json.array(|json| {
                    any = true;
                    json.raw_object();
                });
                (any, matters(at))
            }
            "function_call" if json.kind() == Kind::String => {
                // Of no functions, it chooses none.
                (!is_word(&json.text(), &["auto", "none"]), matters(at))
            }
            "function_call" | "audio" | "prediction" | "web_search_options" | "moderation" => {
                json.raw_object();
                (true, matters(at))
            }
            _ => {
                json.skip();
                (true, matters(at))
            }
        };
        if says_something {
            own.push(own_weight);
        }
    }

    fn effort(&mut self, json: &mut Reader<'a>) {
        let effort = json.text();
        const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
        if !is_word(&effort, EFFORTS) {
            let expected = "`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`";
            json.fail(effort.at(), Wrong::Value { expected });
        }
        self.request.reasoning.effort = Some(effort);
    }

    fn stream_options(&mut self, json: &mut Reader<'a>) {
        let request = &mut self.request;
        members(json, |json, name| match name {
            "include_usage" => request.include_usage = json.bool(),
            "include_obfuscation" => {
                let at = json.at();
                if json.bool() {
                    request.own.push(hint(at));
                }
            }
            _ => unknown(json, &mut request.own),
        });
    }

    fn finish(mut self, json: &mut Reader<'a>, at: usize) -> Request<'a> {
        for (is_there, member) in [(self.model, "model"), (self.messages, "messages")] {
            if !is_there {
                json.fail(at, Wrong::Missing { member });
            }
        }
        self.finish_max_tokens(json);
        self.finish_logprobs(json);
        self.finish_choice(json);
        let request = &mut self.request;
        if let Some(identifier) = self.safety_identifier {
            match &request.user {
                Some(_) => request.own.push(hint(identifier.at())),
                None => request.user = Some(identifier),
            }
        }
        self.request
    }

    fn finish_max_tokens(&mut self, json: &mut Reader<'a>) {
        match (&self.request.max_tokens, self.max_tokens.take()) {
            (Some(newer), Some(older)) if newer.written() != older.written() => {
                let expected = "the same as `max_completion_tokens`, or absent";
                json.fail(older.at(), Wrong::Value { expected });
            }
            (None, older) => self.request.max_tokens = older,
            (Some(_), _) => {}
        }
    }

    fn finish_logprobs(&mut self, json: &mut Reader<'a>) {
        self.request.logprobs = match (self.logprobs, self.top_logprobs.take()) {
            (Some(_), Some(top)) => Some(top),
            (Some(at), None) => Some(Raw::new("0", at)),
            (None, Some(top)) if top.written() != "0" => {
                let expected = "absent without `logprobs: true`";
                json.fail(top.at(), Wrong::Value { expected });
                None
            }
            (None, _) => None,
        };
    }

    fn finish_choice(&mut self, json: &mut Reader<'a>) {
        let request = &mut self.request;
        if let Some(chosen) = self.chosen.take() {
            request.choice = chosen.among(&mut request.tools, json);
        }
        if request.tools.is_empty() {
            // Without tools there is nothing to choose, and nothing to call twice.
            request.parallel = None;
            if let Some(Choice::Auto | Choice::None) = request.choice {
                request.choice = None;
            }
        }
    }
}

/// A penalty of zero is none.
fn unless_zero(number: Raw<'_>) -> Option<Raw<'_>> {
    (number.written().parse() != Ok(0.0)).then_some(number)
}

/// Whether an object is `{}`.
fn is_empty(object: &Raw<'_>) -> bool {
    let written = object.written();
    let inside = written
        .get(1..written.len().saturating_sub(1))
        .unwrap_or("");
    inside.trim_ascii().is_empty()
}

fn is_word(text: &Text<'_>, words: &[&str]) -> bool {
    words.contains(&&*text.decode())
}
