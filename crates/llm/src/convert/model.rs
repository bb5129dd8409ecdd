//! What a chat is, whichever dialect says it.
//!
//! Small on purpose: what two dialects can say is here, and what only one can say is kept as it
//! stands, to be carried over where the other side takes it, and named where it does not.

use super::{
    parts::Parts,
    text::{Raw, Text},
};
use crate::Dialect;

/// A member that nothing here knows, with its name.
pub(super) type Rest<'a> = Vec<(Text<'a>, Raw<'a>)>;

// ===== Requests =====

/// A request for a reply.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    pub(super) model: Text<'a>,
    /// In order; what the system says has its own role, wherever it stands.
    pub(super) messages: Vec<Message<'a>>,
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Option<Choice<'a>>,
    /// Whether several tools may be called at once. `None`: as the provider likes.
    pub(super) parallel: Option<bool>,
    /// Where that was said.
    pub(super) parallel_at: usize,
    pub(super) output: Output<'a>,
    pub(super) max_tokens: Option<Raw<'a>>,
    pub(super) temperature: Option<Raw<'a>>,
    pub(super) top_p: Option<Raw<'a>>,
    pub(super) top_k: Option<Raw<'a>>,
    pub(super) seed: Option<Raw<'a>>,
    pub(super) presence_penalty: Option<Raw<'a>>,
    pub(super) frequency_penalty: Option<Raw<'a>>,
    /// How many replies. `None`: one.
    pub(super) candidates: Option<Raw<'a>>,
    pub(super) stop: Vec<Text<'a>>,
    pub(super) reasoning: Reasoning<'a>,
    pub(super) stream: bool,
    /// Whether the caller wants the usage at the end of a stream (OpenAI). Always, elsewhere.
    pub(super) include_usage: bool,
    /// Who the provider's caller acts for: OpenAI's `user`, Anthropic's `metadata.user_id`.
    pub(super) user: Option<Text<'a>>,
    /// How many of the likeliest tokens to tell. OpenAI's `logprobs: true` alone is 0.
    pub(super) logprobs: Option<Raw<'a>>,
    /// What only the dialect that it was read from knows.
    pub(super) own: Vec<Own>,
}

/// Something that only the dialect that it was read from knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) at: usize,
    pub(super) weight: Weight,
}

/// What it would mean to leave something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// It changes what the reply says, or nobody knows whether it does: not to be left out.
    Matters,
    /// It is about cost, storage, tracing or form: it is left out, and named.
    Hint,
}

/// One turn.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) role: Role,
    pub(super) parts: Parts<'a>,
    /// OpenAI's `name`: who of several speaks.
    pub(super) name: Option<Text<'a>>,
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    System,
    /// The results of tools are the user's.
    User,
    Assistant,
}

/// A part of a turn, or of a reply. Most are text: what is larger stands apart, so that a list of
/// them is no larger than it need be.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) kind: PartKind<'a>,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum PartKind<'a> {
    Text {
        text: Text<'a>,
        /// Gemini's `thoughtSignature` of a part of text.
        signature: Option<Signature<'a>>,
    },
    Image(Box<Media<'a>>),
    Audio(Box<Media<'a>>),
    /// A document such as a PDF.
    File {
        media: Box<Media<'a>>,
        name: Option<Text<'a>>,
    },
    Reasoning(Box<Reasoned<'a>>),
    Refusal(Text<'a>),
    Call(Box<Call<'a>>),
    Result(Box<Outcome<'a>>),
    /// What only the dialect that it was read from knows: it cannot be left out.
    Own,
}

#[derive(Debug)]
pub(super) struct Media<'a> {
    pub(super) source: Source<'a>,
    /// OpenAI's `detail` of an image: a [hint](Weight::Hint).
    pub(super) detail: Option<Text<'a>>,
}

#[derive(Debug)]
pub(super) enum Source<'a> {
    /// Such as `image/png`, and base64 of the standard alphabet.
    Data { mime: Text<'a>, data: Text<'a> },
    Url {
        mime: Option<Text<'a>>,
        url: Text<'a>,
    },
    /// The id of what was uploaded to that provider before.
    Uploaded(Text<'a>),
}

/// What a model said to itself.
#[derive(Debug, Default)]
pub(super) struct Reasoned<'a> {
    pub(super) text: Text<'a>,
    /// What proves it to the provider, who wants it back unchanged.
    pub(super) signature: Option<Signature<'a>>,
    /// Anthropic's `redacted_thinking`: the text cannot be read; this is its `data`.
    pub(super) redacted: Option<Text<'a>>,
}

/// Something that a provider wants back on the next turn, and no other provider understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature<'a> {
    pub(super) of: Dialect,
    pub(super) value: Text<'a>,
}

#[derive(Debug)]
pub(super) struct Call<'a> {
    /// `None`: the dialect has none (Gemini). Whoever writes it for one that needs it makes it.
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Text<'a>,
    pub(super) arguments: Arguments<'a>,
    pub(super) signature: Option<Signature<'a>>,
}

#[derive(Debug)]
pub(super) enum Arguments<'a> {
    /// An object.
    Object(Raw<'a>),
    /// A string that says what the object is; `""` is the empty object.
    Written(Text<'a>),
}

#[derive(Debug)]
pub(super) struct Outcome<'a> {
    /// Of the call. `None`: the dialect tells calls by their names and order (Gemini).
    pub(super) id: Option<Text<'a>>,
    /// Of the tool. `None`: the dialect tells calls by their ids; look for the call.
    pub(super) name: Option<Text<'a>>,
    pub(super) content: Content<'a>,
    pub(super) failed: bool,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Parts(Vec<Part<'a>>),
    /// Gemini's `response`: an object.
    Object(Raw<'a>),
}

#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: Text<'a>,
    pub(super) description: Option<Text<'a>>,
    /// A JSON schema.
    pub(super) parameters: Option<Raw<'a>>,
    pub(super) strict: Option<bool>,
}

#[derive(Debug)]
pub(super) enum Choice<'a> {
    Auto,
    None,
    Any,
    /// One of these: most dialects have room for one.
    Named(Vec<Text<'a>>),
}

/// The form of what is said.
#[derive(Debug, Default)]
pub(super) enum Output<'a> {
    #[default]
    Text,
    /// Any JSON object.
    Json { at: usize },
    Schema {
        name: Option<Text<'a>>,
        description: Option<Text<'a>>,
        schema: Raw<'a>,
        strict: Option<bool>,
    },
}

/// How much to think before the reply.
#[derive(Debug, Default)]
pub(super) struct Reasoning<'a> {
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`, as OpenAI and Anthropic say it.
    pub(super) effort: Option<Text<'a>>,
    pub(super) budget: Budget<'a>,
    /// Whether the reply is to tell it (Gemini's `includeThoughts`).
    pub(super) told: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) enum Budget<'a> {
    /// As the provider likes.
    #[default]
    Unsaid,
    Off,
    /// As much as it takes (Anthropic's `adaptive`, Gemini's -1).
    Adaptive,
    /// At most so many tokens.
    Tokens(Raw<'a>),
}

// ===== Replies =====

/// A whole reply.
#[derive(Debug, Default)]
pub(super) struct Reply<'a> {
    pub(super) id: Option<Text<'a>>,
    pub(super) model: Option<Text<'a>>,
    /// Seconds since 1970 (OpenAI). `None`: ask the clock.
    pub(super) created: Option<Raw<'a>>,
    pub(super) candidates: Vec<Candidate<'a>>,
    pub(super) usage: Option<Counts<'a>>,
    /// Members of the outermost object that only its dialect knows.
    pub(super) rest: Rest<'a>,
}

#[derive(Debug, Default)]
pub(super) struct Candidate<'a> {
    pub(super) index: u64,
    pub(super) parts: Vec<Part<'a>>,
    pub(super) finish: Option<Finish<'a>>,
    /// OpenAI's `logprobs`, which no other dialect writes in the same way.
    pub(super) logprobs: Option<Raw<'a>>,
    /// Members beside the message that only its dialect knows.
    pub(super) rest: Rest<'a>,
}

/// Why a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish<'a> {
    /// It was said.
    Stop,
    /// One of the stop sequences came; Anthropic says which.
    Sequence(Option<Text<'a>>),
    /// `max_tokens` or the context is used up.
    Length,
    Calls,
    /// A filter, or the model itself, refused.
    Filtered,
    /// Anthropic's `pause_turn`: to be gone on with.
    Paused,
    /// Another word, as its dialect has it.
    Other(Text<'a>),
}

/// What it took, in whatever way the provider counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts<'a> {
    /// All input, with what came from a cache and what was written to one.
    pub(super) input: u64,
    pub(super) cached: Option<u64>,
    pub(super) cache_write: Option<u64>,
    /// All output, with the reasoning.
    pub(super) output: u64,
    pub(super) reasoning: Option<u64>,
    /// Members of the usage that only its dialect knows.
    pub(super) rest: Rest<'a>,
}

// ===== Streams =====

/// What a stream says next.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The first: who replies.
    Start {
        id: Option<Text<'a>>,
        model: Option<Text<'a>>,
        created: Option<Raw<'a>>,
    },
    /// A piece of what is said.
    Text {
        candidate: u64,
        text: Text<'a>,
    },
    Refusal {
        candidate: u64,
        text: Text<'a>,
    },
    Reasoning {
        candidate: u64,
        text: Text<'a>,
    },
    /// What proves the reasoning, or the text, before it.
    Signature {
        candidate: u64,
        signature: Signature<'a>,
    },
    /// A block of reasoning that cannot be read: Anthropic's `data`.
    Redacted {
        candidate: u64,
        data: Text<'a>,
    },
    /// A call begins. Calls are numbered from 0 in each candidate, in the order in which they begin.
    Call {
        candidate: u64,
        call: u64,
        id: Option<Text<'a>>,
        name: Text<'a>,
        signature: Option<Signature<'a>>,
    },
    /// A piece of the string that says what the arguments are.
    Arguments {
        candidate: u64,
        call: u64,
        piece: Text<'a>,
    },
    /// The arguments, whole.
    Object {
        candidate: u64,
        call: u64,
        arguments: Raw<'a>,
    },
    Finish {
        candidate: u64,
        finish: Finish<'a>,
    },
    /// What it took so far; what is told later replaces what was told before.
    Usage(Counts<'a>),
    /// Nothing, to show that it lives.
    Ping,
    /// Members of a chunk that only its dialect knows.
    Rest(Rest<'a>),
    /// It broke off, for the reason in this envelope of that dialect.
    Error {
        of: Dialect,
        envelope: &'a str,
    },
    /// It is complete.
    End,
}

// ===== impl Finish =====

impl Finish<'_> {
    /// The same, for later.
    pub(super) fn into_owned(self) -> Finish<'static> {
        match self {
            Self::Stop => Finish::Stop,
            Self::Sequence(which) => Finish::Sequence(which.map(Text::into_owned)),
            Self::Length => Finish::Length,
            Self::Calls => Finish::Calls,
            Self::Filtered => Finish::Filtered,
            Self::Paused => Finish::Paused,
            Self::Other(word) => Finish::Other(word.into_owned()),
        }
    }
}

// ===== impl Counts =====

impl Counts<'_> {
    /// The same, for later.
    pub(super) fn into_owned(self) -> Counts<'static> {
        let rest = self.rest.into_iter();
        Counts {
            input: self.input,
            cached: self.cached,
            cache_write: self.cache_write,
            output: self.output,
            reasoning: self.reasoning,
            rest: rest
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        }
    }
}
