//! When two chats are the same: the key of a request for a cache, and whether its reply may be kept.
//!
//! [`ChatKeys`] makes of a request that is in memory a [`Chat`]: a [`ChatKey`] of 128 bits under a
//! secret, the tags by which entries are thrown away, whether the caller wants a stream, and whether
//! the reply is one that may be given again.
//!
//! ```
//! use buttress_llm::{Dialect, key::ChatKeys};
//! use http::Request;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = ChatKeys::per_credential(Dialect::OpenAi);
//! let ask = |key: &str, body: &'static str| {
//!     Request::post("https://api.openai.com/v1/chat/completions")
//!         .header("authorization", format!("Bearer {key}"))
//!         .body(body)
//! };
//! let one = ask("sk-1", r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[]}"#)?;
//! let same = ask("sk-1", r#"{"messages": [], "temperature": 0, "model": "gpt-4.1-nano", "stream": true}"#)?;
//! let other = ask("sk-2", r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[]}"#)?;
//!
//! let chat = keys.read(&one)?;
//! assert_eq!(chat.key(), keys.read(&same)?.key());
//! assert_ne!(chat.key(), keys.read(&other)?.key());
//! assert!(chat.cacheable().is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! Tenants with names, who may have several credentials each:
//!
//! ```
//! use std::borrow::Cow;
//!
//! use buttress_llm::{Dialect, key::{Bypass, ChatKeys, Head}};
//! use http::Request;
//!
//! let keys = ChatKeys::per_tenant(Dialect::Anthropic, |head: Head<'_>| {
//!     Some(Cow::Borrowed(head.headers.get("x-team")?.as_bytes()))
//! });
//! let request = Request::post("/v1/messages").body(r#"{"model":"m","messages":[]}"#).unwrap();
//! assert_eq!(keys.read(&request).unwrap_err(), Bypass::NoTenant);
//! ```
//!
//! # When to use it
//!
//! For a cache, or to coalesce calls, in front of the model. A cache that gives everybody what is recorded as it
//! is takes [`key_as_asked`](Chat::key_as_asked), or who wants a whole reply might get a stream. Inside of what puts the endpoint's
//! credential in place of the caller's, all callers have the same one: tell them apart by
//! [`per_tenant`](ChatKeys::per_tenant), or make the key outside. Where no credential is there yet, since a layer
//! further in puts it there, [`per_credential`](ChatKeys::per_credential) has no key for anybody.
//!
//! # When not
//!
//! For requests that are no chats: what is left out, and what may be kept, is said of chats.
//! Replies that are compressed are told apart by no key: ask the endpoint with `accept-encoding:
//! identity`. What a caller says of caching (`cache-control: no-store`) is the cache's to honour.
//!
//! # What is in the key
//!
//! - The tenant, and every credential of the request, in a header, in the query or before the host;
//!   unless the keys are [`shared`](ChatKeys::shared).
//! - The dialect, the method, the URI and `host`. Of Gemini's URI neither `alt` nor whether the
//!   method streams.
//! - `anthropic-version`, `anthropic-beta`, `openai-organization`, `openai-project`, `openai-beta`
//!   and `x-goog-user-project`, and each [`header`](ChatKeys::header) that you name.
//! - The whole body, with the members that nothing here knows, but without these, which do not
//!   change what the reply says. They are left out as outermost members only, and written so:
//!
//! | dialect | left out |
//! |---|---|
//! | OpenAI | `stream`, `stream_options`: how the reply comes; `user`, `safety_identifier`, `prompt_cache_key`, `metadata`: on whose behalf, and under which label |
//! | Anthropic | `stream`; `metadata`, which holds a `user_id` |
//! | Gemini | `labels` |
//!
//! The order of members, the space between values and the way in which a character is escaped do not
//! matter. Numbers are what is written: `1`, `1.0` and `1e0` are three. The order of elements
//! matters. An object with a name that comes twice, at any depth, gets no key, since nobody knows
//! which of the two counts; neither does what is no JSON, but for what stands between two quotes,
//! which is left to the provider to judge.
//!
//! # What may be kept
//!
//! [`Chat::cacheable`] is *no* unless asked, for a reply that would be another each time, or that
//! does something beside being said:
//!
//! | | by default | asked for |
//! |---|---|---|
//! | `temperature` (Gemini: in `generationConfig`) absent, `null` or not 0 | no | [`sampled`](ChatKeys::sampled) |
//! | `n`, `candidateCount` other than 1 | no | `sampled` |
//! | `tools`, `functions` that are not empty | no: who calls them may act twice | [`tools`](ChatKeys::tools) |
//! | OpenAI's `store: true` and `web_search_options`, Anthropic's `mcp_servers` and `container` | no | never |
//!
//! # How, and how sure
//!
//! The body is read once, by the scanner of this crate, into a list of its values of 24 bytes each;
//! names are sorted within their object, and the values are hashed in that order in one sequence, in
//! which every item says what it is and how long. So the sequence can be read back, and two bodies
//! have the same sequence only if they are the same up to what is said above.
//!
//! The hash is SipHash-1-3 with 128 bits, a pseudorandom function under a secret of 128 bits:
//! the one with which rustc names the results of its queries, and with 64 bits that of std's maps.
//! Whoever crafts bodies to get another's reply must hit one of the keys that are in the cache
//! without knowing the secret, and without ever seeing a key: at 2⁻¹²⁸ a try and entry, 2⁶⁴ tries
//! against 2²⁰ entries succeed once in 2⁴⁴. Bodies of honest callers meet by chance at 2⁻¹²⁸ a pair. A
//! plain sum of the hashes of an object's members would need no sorting, but whoever may choose many
//! members can make sums meet, and an exclusive or is blind for pairs: neither is used. BLAKE3 is the
//! more conservative hash and takes four times as long for a short chat, SipHash-2-4 twice.
//!
//! The secret is a random one of this process, unless it is given
//! ([`secret`](ChatKeys::secret)), for a store that several processes share. Keep it like a
//! credential: who knows it can make bodies whose keys are equal.
//!
//! # Bounds
//!
//! | what | bound | past it |
//! |---|---|---|
//! | the body | 2 GiB; 65 536 values, which are kept at 24 bytes each | no key |
//! | JSON | 128 levels | no key |

mod bypass;
mod escapes;
mod hash;
mod rules;
mod scope;
mod sequence;
mod tape;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use http::{HeaderName, Request};
use http_body::Body;

pub use self::{
    bypass::{Bypass, Uncacheable},
    scope::{Head, PerCredential, PerTenant, Shared, Tenancy},
};
use self::{
    hash::Seed,
    rules::{Asked, Facts},
    scope::Seen,
    tape::Tape,
};
use crate::{Dialect, gemini, memory::in_memory};

/// Makes the keys of chats in one dialect. A clone makes the same.
///
/// There is none that does not say whose replies are whose: begin with
/// [`per_credential`](ChatKeys::per_credential), [`per_tenant`](ChatKeys::per_tenant) or
/// [`shared`](ChatKeys::shared).
///
/// | | default |
/// |---|---|
/// | [`secret`](ChatKeys::secret) | a random one of this process |
/// | [`header`](ChatKeys::header) | none but those [above](self#what-is-in-the-key) |
/// | [`sampled`](ChatKeys::sampled), [`tools`](ChatKeys::tools) | no |
#[derive(Clone)]
pub struct ChatKeys<T> {
    dialect: Dialect,
    tenancy: T,
    seed: Seed,
    headers: Vec<HeaderName>,
    asked: Asked,
}

/// What there is to know of a request for a chat.
#[derive(Clone, Debug)]
pub struct Chat<'a> {
    key: ChatKey,
    tenant: Tag,
    model: Option<Cow<'a, str>>,
    /// For the tag of the model, which not everybody asks for.
    seed: Seed,
    stream: bool,
    include_usage: bool,
    /// Of Gemini: what `alt` asks for beside JSON, or nothing.
    alt: u128,
    cacheable: Result<(), Uncacheable>,
}

/// Two chats are the same if their keys are. It says nothing of what it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChatKey(u128);

/// What entries have in common that are thrown away together: a tenant or a model. It says nothing
/// of what it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u128);

// ===== impl ChatKeys =====

impl ChatKeys<PerCredential> {
    /// Whoever sends the same credential is the same caller. A request without one has no key.
    #[must_use]
    pub fn per_credential(dialect: Dialect) -> Self {
        Self::new(dialect, PerCredential::new())
    }
}

impl ChatKeys<Shared> {
    /// All callers are one: any of them may get a reply that was made for another. Their credentials
    /// are not looked at, so that also one whose credential is no good gets it.
    #[must_use]
    pub fn shared(dialect: Dialect) -> Self {
        Self::new(dialect, Shared::new())
    }
}

impl<F> ChatKeys<PerTenant<F>>
where
    F: for<'a> Fn(Head<'a>) -> Option<Cow<'a, [u8]>>,
{
    /// Callers are told apart by what `tenant` says, and by the credential they send, if they do.
    /// `tenant` is called once for each key, while it is made. `None` is a request without a
    /// tenant: it has no key.
    #[must_use]
    pub fn per_tenant(dialect: Dialect, tenant: F) -> Self {
        Self::new(dialect, PerTenant::new(tenant))
    }
}

impl<T> ChatKeys<T> {
    fn new(dialect: Dialect, tenancy: T) -> Self {
        Self {
            dialect,
            tenancy,
            seed: Seed::of_process(),
            headers: Vec::new(),
            asked: Asked::default(),
        }
    }

    /// Makes keys that every process with this secret makes. Default: a random one of this process.
    #[must_use]
    pub fn secret(mut self, secret: &[u8; 16]) -> Self {
        self.seed = Seed::new(secret);
        self
    }

    /// Puts the values of this header into the key as well.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }

    /// Whether replies may be kept that were sampled, or of which several were asked for: then who
    /// asks again gets the same. Default: no.
    #[must_use]
    pub const fn sampled(mut self, sampled: bool) -> Self {
        self.asked.sampled = sampled;
        self
    }

    /// Whether replies may be kept to requests that have tools: say so if calling any of them twice
    /// does no harm. Default: no.
    #[must_use]
    pub const fn tools(mut self, tools: bool) -> Self {
        self.asked.tools = tools;
        self
    }

    /// The tag of a model's entries, by the name that requests say.
    #[must_use]
    pub fn model_tag(&self, model: &str) -> Tag {
        Tag(scope::model(&self.seed, model))
    }
}

impl<T: Tenancy> ChatKeys<T> {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`Bypass`]: it has no key.
    pub fn read<'a, B: AsRef<[u8]>>(&self, request: &'a Request<B>) -> Result<Chat<'a>, Bypass> {
        self.read_parts(Head::of(request), request.body().as_ref())
    }

    /// Reads a request whose body is in memory, as `Full<Bytes>` is: it is cloned for that.
    ///
    /// # Errors
    ///
    /// [`Bypass`]: it has no key.
    pub fn of<B>(&self, request: &Request<B>) -> Result<Chat<'static>, Bypass>
    where
        B: Body<Data = Bytes> + Clone,
    {
        let body = in_memory(request.body()).ok_or(Bypass::NotInMemory)?;
        let chat = self.read_parts(Head::of(request), &body)?;
        Ok(chat.into_owned())
    }

    /// Reads a request whose body is not with it, or of another type.
    ///
    /// # Errors
    ///
    /// [`Bypass`]: it has no key.
    pub fn read_parts<'a>(&self, head: Head<'a>, body: &'a [u8]) -> Result<Chat<'a>, Bypass> {
        let seen = Seen::new(head);
        let whose = self.tenancy.whose(head);
        let tenant = whose.digest(&self.seed, &seen)?;
        let mut hash = self.seed.begin("chat");
        hash.item(hash::Item::Tenant, &tenant.to_le_bytes());
        whose.credential(&seen, &mut hash);
        seen.endpoint(self.dialect, &self.headers, &mut hash)?;
        let tape = Tape::new(body)?;
        let facts = Facts::read(self.dialect, &tape)?;
        let is_left_out = |name: &[u8]| rules::is_left_out(self.dialect, name);
        let sequence = tape.hash(is_left_out, &mut hash);
        sequence.map_err(|sequence::Twice| Bypass::Duplicate)?;

        let target = match self.dialect {
            Dialect::Gemini => gemini::Target::of(head.uri),
            _ => None,
        };
        let model = match target {
            Some(target) => Some(Cow::Borrowed(target.model())),
            None => facts.model.and_then(|model| tape.text_of(model)),
        };
        Ok(Chat {
            key: ChatKey(hash.finish()),
            tenant: Tag(tenant),
            model,
            seed: self.seed,
            stream: target.map_or(facts.stream, |target| target.stream()),
            include_usage: facts.include_usage,
            alt: target.map_or(0, |_| scope::alt(&self.seed, head.uri)),
            cacheable: facts.cacheable(self.asked),
        })
    }

    /// The tag of what the caller of this request may get.
    ///
    /// # Errors
    ///
    /// [`Bypass::NoTenant`].
    pub fn tenant_tag(&self, head: Head<'_>) -> Result<Tag, Bypass> {
        let whose = self.tenancy.whose(head);
        whose.digest(&self.seed, &Seen::new(head)).map(Tag)
    }
}

impl<F> ChatKeys<PerTenant<F>> {
    /// The tag of this tenant's entries.
    #[must_use]
    pub fn tenant_tag_of(&self, tenant: &[u8]) -> Tag {
        Tag(scope::named(&self.seed, tenant))
    }
}

impl<T: fmt::Debug> fmt::Debug for ChatKeys<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatKeys")
            .field("dialect", &self.dialect)
            .field("tenancy", &self.tenancy)
            .field("headers", &self.headers)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

// ===== impl Chat =====

impl<'a> Chat<'a> {
    /// Equal for chats that are the same.
    #[must_use]
    pub const fn key(&self) -> ChatKey {
        self.key
    }

    /// Equal for chats that are the same and want their reply in the same form: whole, as a stream, as
    /// one that tells its usage, or of Gemini in what `alt` says. For a cache that gives everybody what is recorded as it is.
    #[must_use]
    pub const fn key_as_asked(&self) -> ChatKey {
        let form = match (self.stream, self.include_usage) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        // Keys are as if drawn at random: that the next number is another's is as likely as that the
        // same is.
        ChatKey(self.key.0.wrapping_add(form).wrapping_add(self.alt))
    }

    fn into_owned(self) -> Chat<'static> {
        Chat {
            model: self.model.map(|model| Cow::Owned(model.into_owned())),
            ..self
        }
    }

    /// The tags of the tenant and of the model. That of the model is made when it is asked for.
    #[must_use]
    pub fn tags(&self) -> [Tag; 2] {
        let model = self.model().unwrap_or_default();
        [self.tenant, Tag(scope::model(&self.seed, model))]
    }

    /// The name of the model. `None`: the request names none.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Whether the reply is to be streamed. It is not in the key.
    #[must_use]
    pub const fn stream(&self) -> bool {
        self.stream
    }

    /// Whether a stream is to tell its usage (OpenAI's `stream_options.include_usage`). It is not
    /// in the key.
    #[must_use]
    pub const fn include_usage(&self) -> bool {
        self.include_usage
    }

    /// Whether its reply may be kept and given again: see [above](self#what-may-be-kept).
    ///
    /// # Errors
    ///
    /// [`Uncacheable`]: why not.
    pub const fn cacheable(&self) -> Result<(), Uncacheable> {
        self.cacheable
    }
}

// ===== impl ChatKey =====

impl ChatKey {
    /// As a number, such as `buttress_cache::Keyed::new` takes.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// For a store outside of this process.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From such a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

// ===== impl Tag =====

impl Tag {
    /// For a store outside of this process.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// From such a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}
