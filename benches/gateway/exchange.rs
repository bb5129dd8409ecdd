//! What is asked, and what is answered: the same bytes each time.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use memchr::memmem;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// A whole reply.
    Unary,
    /// A stream whose caller asks for its usage.
    Streamed,
    /// A stream whose caller does not: a gateway that wants to know asks in its stead, and takes
    /// the answer out of the stream again.
    Unasked,
}

/// The replies of the upstream, made once.
#[derive(Debug)]
pub(crate) struct Replies {
    pub(crate) unary: Bytes,
    pub(crate) with_usage: Vec<Bytes>,
    pub(crate) without: Vec<Bytes>,
}

pub(crate) const PATH: &str = "/v1/chat/completions";
pub(crate) const MODEL: &str = "gpt-bench";
/// What every reply says that it used.
pub(crate) const INPUT: u64 = 87;
pub(crate) const OUTPUT: u64 = 60;

/// Those that carry content, without the usage and the terminator.
const CHUNKS: usize = 60;
const WORDS: [&str; 12] = [
    "A",
    " butt",
    "ress",
    " carries",
    " the",
    " thrust",
    " of",
    " a",
    " vault",
    ",\\n",
    " über",
    " \\\"Gothic\\\"",
];

// ===== impl Load =====

impl Load {
    pub(crate) const ALL: [Self; 3] = [Self::Unary, Self::Streamed, Self::Unasked];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Streamed => "stream",
            Self::Unasked => "stream, usage not asked for",
        }
    }

    /// The loads whose name begins like this.
    pub(crate) fn named(name: &str) -> Result<Vec<Self>, String> {
        let found: Vec<_> = Self::ALL
            .into_iter()
            .filter(|load| load.name().starts_with(name))
            .collect();
        if found.is_empty() {
            let names = Self::ALL.map(Self::name).join("`, `");
            return Err(format!("--load: found `{name}`, expected one of `{names}`"));
        }
        Ok(found)
    }

    /// The body of the request.
    pub(crate) fn question(self) -> Bytes {
        let stream = match self {
            Self::Unary => "",
            Self::Streamed => r#","stream":true,"stream_options":{"include_usage":true}"#,
            Self::Unasked => r#","stream":true"#,
        };
        format!(
            r#"{{"model":"{MODEL}","messages":[{{"role":"system","content":"You are a patient teacher of building history. Answer in two or three sentences, name your sources where you have any, and say so where you are not sure."}},{{"role":"user","content":"What does a buttress do, and why did builders of the twelfth century begin to let it fly?\nPlease explain it for somebody who has never seen a cathedral."}}],"temperature":0.2,"max_completion_tokens":400{stream}}}"#
        )
        .into()
    }

    /// The head of the request, as an SDK would send it.
    pub(crate) fn headers() -> HeaderMap {
        let headers = [
            (header::ACCEPT, "application/json"),
            (header::CONTENT_TYPE, "application/json"),
            (header::USER_AGENT, "OpenAI/Python 2.8.0"),
            (header::AUTHORIZATION, "Bearer sk-of-the-caller"),
        ];
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        headers.into_iter().collect()
    }

    /// The reply that its caller is to get, whole. `asks` says that who forwards it asks for the
    /// usage if the caller does not.
    pub(crate) fn answer(self, replies: &Replies, asks: bool) -> Bytes {
        let taken_out = |chunk: &&Bytes| memmem::find(chunk, br#""choices":[]"#).is_none();
        match self {
            Self::Unary => replies.unary.clone(),
            Self::Streamed => replies.with_usage.concat().into(),
            Self::Unasked if asks => {
                let kept = replies.with_usage.iter().filter(taken_out);
                kept.flatten().copied().collect::<Vec<u8>>().into()
            }
            Self::Unasked => replies.without.concat().into(),
        }
    }
}

/// What this body asks for, if it is a question of ours.
pub(crate) fn asked(body: &[u8]) -> Option<Load> {
    let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
    if !has(MODEL) {
        return None;
    }
    Some(
        match (has(r#""stream":true"#), has(r#""include_usage":true"#)) {
            (false, _) => Load::Unary,
            (true, true) => Load::Streamed,
            (true, false) => Load::Unasked,
        },
    )
}

// ===== impl Replies =====

impl Replies {
    pub(crate) fn new() -> Self {
        let mut text = String::new();
        for k in 0..CHUNKS {
            text += WORDS[k * 7 % WORDS.len()];
        }
        let usage = format!(
            r#"{{"prompt_tokens":{INPUT},"completion_tokens":{OUTPUT},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
            INPUT + OUTPUT
        );
        let unary = format!(
            r#"{{"id":"chatcmpl-C8Zw0bUttre55","object":"chat.completion","created":1790000000,"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage},"service_tier":"default","system_fingerprint":"fp_0123456789"}}"#
        );
        Self {
            unary: unary.into(),
            with_usage: chunks(Some(&usage)),
            without: chunks(None),
        }
    }
}

/// The events of a stream: a role, words, the reason of its end, the usage if asked for.
fn chunks(usage: Option<&str>) -> Vec<Bytes> {
    let event = |choices: &str, usage: &str, k: usize| {
        let mut event = format!(
            r#"data: {{"id":"chatcmpl-C8Zw0bUttre55","object":"chat.completion.chunk","created":1790000000,"model":"{MODEL}","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{choices}]"#
        );
        if !usage.is_empty() {
            // Writing to a `String` does not fail.
            let _ = write!(event, r#","usage":{usage}"#);
        }
        // OpenAI makes the lengths of its events tell nothing of their content.
        let padding = &"q8ZkW2xLmT0aVbN4"[..1 + k * 5 % 16];
        let _ = write!(event, ",\"obfuscation\":\"{padding}\"}}\n\n");
        Bytes::from(event)
    };
    let none = if usage.is_some() { "null" } else { "" };
    let choice = |k: usize| {
        match k {
        0 => r#"{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}"#.to_owned(),
        _ if k == CHUNKS - 1 => r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}"#.to_owned(),
        _ => format!(
            r#"{{"index":0,"delta":{{"content":"{}"}},"logprobs":null,"finish_reason":null}}"#,
            WORDS[k * 7 % WORDS.len()]
        ),
    }
    };
    (0..CHUNKS)
        .map(|k| event(&choice(k), none, k))
        .chain(usage.map(|usage| event("", usage, 0)))
        .chain([Bytes::from_static(b"data: [DONE]\n\n")])
        .collect()
}
