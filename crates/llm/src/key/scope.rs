//! Who asks, and whom.

use std::{borrow::Cow, fmt, sync::LazyLock};

use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, header::HOST, request::Parts};

use super::{
    Bypass,
    hash::{Hash, Item, Seed},
};
use crate::{
    Dialect,
    credentials::{CREDENTIALS, is_credential},
    gemini,
};

/// A request without its body.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Where it goes.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What layers outside put beside it.
    pub extensions: &'a Extensions,
}

/// Who the callers are to [`ChatKeys`](super::ChatKeys): whoever has the same credential, or the
/// same tenant and credential.
///
/// A function from a [`Head`] to the tenant's name is one; `None` is a request without a tenant,
/// which gets no key. It is called once a key, while the key is made.
pub trait Tenancy: sealed::Sealed {
    #[doc(hidden)]
    fn whose<'a>(&self, head: Head<'a>) -> Whose<'a>;
}

/// Whoever has the same credential is the same caller. See
/// [`ChatKeys::per_credential`](super::ChatKeys::per_credential).
#[derive(Clone, Copy, Debug)]
pub struct PerCredential(());

/// All callers are one. See [`ChatKeys::shared`](super::ChatKeys::shared).
#[derive(Clone, Copy, Debug)]
pub struct Shared(());

/// Callers are told apart by a function, and by their credentials. See
/// [`ChatKeys::per_tenant`](super::ChatKeys::per_tenant).
#[derive(Clone, Copy)]
pub struct PerTenant<F>(F);

#[doc(hidden)]
#[derive(Debug)]
pub enum Whose<'a> {
    Everybodys,
    OfCredential,
    Of(Cow<'a, [u8]>),
    Nobodys,
}

mod sealed {
    pub trait Sealed {}
}

/// A head that was looked over once.
pub(super) struct Seen<'a> {
    head: Head<'a>,
    /// The known headers that are there: a bit for each of [`CREDENTIALS`], and then of [`MATTERS`].
    known: u32,
    /// User and password, in front of the host.
    user: Option<&'a str>,
    host: &'a str,
}

/// The headers that say on whose behalf, of which version or in which mode a call is.
static MATTERS: [HeaderName; 7] = [
    HOST,
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("x-goog-user-project"),
];

// ===== impl Head =====

impl<'a> Head<'a> {
    /// That of a request.
    #[must_use]
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    /// That of a request which was taken apart.
    #[must_use]
    pub const fn of_parts(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

// ===== impl Tenancy =====

impl PerCredential {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl Shared {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

impl<F> PerTenant<F> {
    pub(super) const fn new(tenant: F) -> Self {
        Self(tenant)
    }
}

impl sealed::Sealed for PerCredential {}
impl sealed::Sealed for Shared {}
impl<F> sealed::Sealed for PerTenant<F> {}

impl Tenancy for PerCredential {
    fn whose<'a>(&self, _: Head<'a>) -> Whose<'a> {
        Whose::OfCredential
    }
}

impl Tenancy for Shared {
    fn whose<'a>(&self, _: Head<'a>) -> Whose<'a> {
        Whose::Everybodys
    }
}

impl<F> Tenancy for PerTenant<F>
where
    F: for<'a> Fn(Head<'a>) -> Option<Cow<'a, [u8]>>,
{
    fn whose<'a>(&self, head: Head<'a>) -> Whose<'a> {
        (self.0)(head).map_or(Whose::Nobodys, Whose::Of)
    }
}

impl<F> fmt::Debug for PerTenant<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerTenant")
            .field(&std::any::type_name::<F>())
            .finish()
    }
}

// ===== impl Whose =====

impl Whose<'_> {
    /// Who asks, as a number that says it and nothing else.
    pub(super) fn digest(&self, seed: &Seed, seen: &Seen<'_>) -> Result<u128, Bypass> {
        let mut hash = seed.begin("tenant");
        match self {
            Self::Everybodys => {}
            Self::Of(tenant) => hash.item(Item::Tenant, tenant),
            Self::OfCredential => {
                if !seen.credentials(&mut hash) {
                    return Err(Bypass::NoTenant);
                }
            }
            Self::Nobodys => return Err(Bypass::NoTenant),
        }
        Ok(hash.finish())
    }

    /// The credential, unless it is in the digest or does not matter.
    pub(super) fn credential(&self, seen: &Seen<'_>, to: &mut Hash) {
        if let Self::Of(_) = self {
            seen.credentials(to);
        }
    }
}

/// The digest of a tenant with a name.
pub(super) fn named(seed: &Seed, tenant: &[u8]) -> u128 {
    let mut hash = seed.begin("tenant");
    hash.item(Item::Tenant, tenant);
    hash.finish()
}

/// The digest of a model.
pub(super) fn model(seed: &Seed, model: &str) -> u128 {
    let mut hash = seed.begin("model");
    hash.item(Item::String, model.as_bytes());
    hash.finish()
}

/// In which form Gemini's reply is asked for: nothing, where that is JSON, as it is unless `alt` says
/// otherwise.
pub(super) fn alt(seed: &Seed, uri: &Uri) -> u128 {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut asked = pairs
        .filter(|pair| is_alt(pair) && *pair != "alt=json")
        .peekable();
    if asked.peek().is_none() {
        return 0;
    }
    let mut hash = seed.begin("alt");
    asked.for_each(|pair| hash.item(Item::Endpoint, pair.as_bytes()));
    hash.finish()
}

fn is_alt(pair: &str) -> bool {
    pair.starts_with("alt=")
}

// ===== impl Seen =====

impl<'a> Seen<'a> {
    pub(super) fn new(head: Head<'a>) -> Self {
        let authority = head.uri.authority();
        let authority = authority.map_or("", |authority| authority.as_str());
        let (user, host) = match memchr::memrchr(b'@', authority.as_bytes()) {
            Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
            None => (None, authority),
        };
        Self {
            head,
            known: known(head.headers),
            user,
            host,
        }
    }

    /// Hashes every credential. Whether there was one.
    fn credentials(&self, to: &mut Hash) -> bool {
        let mut any = false;
        self.each(0, &CREDENTIALS, |index, value| {
            any = true;
            to.head(Item::Header, index);
            to.item(Item::Credential, value);
        });
        let parameters = self.head.uri.query().unwrap_or_default().split('&');
        for pair in parameters.filter(|pair| !pair.is_empty() && is_credential(pair)) {
            any = true;
            to.item(Item::Credential, pair.as_bytes());
        }
        if let Some(user) = self.user {
            any = true;
            to.item(Item::Credential, user.as_bytes());
        }
        any
    }

    /// Hashes where the request goes, and the headers that change what that means.
    pub(super) fn endpoint(
        &self,
        dialect: Dialect,
        more: &[HeaderName],
        to: &mut Hash,
    ) -> Result<(), Bypass> {
        let Head {
            method,
            uri,
            headers,
            ..
        } = self.head;
        to.item(Item::Endpoint, dialect.as_str().as_bytes());
        to.item(Item::Endpoint, method.as_str().as_bytes());
        let scheme = uri.scheme_str().unwrap_or_default();
        to.item(Item::Endpoint, scheme.as_bytes());
        to.item(Item::Endpoint, self.host.as_bytes());
        match dialect {
            Dialect::Gemini => {
                let target = gemini::Target::of(uri).ok_or(Bypass::Method)?;
                if !matches!(target.method(), "generateContent" | "streamGenerateContent") {
                    return Err(Bypass::Method);
                }
                // Streamed or not, it says the same.
                let path = uri.path();
                let path = &path[..path.len() - target.method().len()];
                to.item(Item::Endpoint, path.as_bytes());
            }
            Dialect::OpenAi | Dialect::Anthropic => {
                to.item(Item::Endpoint, uri.path().as_bytes());
            }
        }
        if let Some(query) = uri.query() {
            let transport = |pair: &str| dialect == Dialect::Gemini && is_alt(pair);
            let pairs = query.split('&');
            for pair in pairs.filter(|pair| !is_credential(pair) && !transport(pair)) {
                to.item(Item::Endpoint, pair.as_bytes());
            }
        }
        self.each(CREDENTIALS.len(), &MATTERS, |index, value| {
            to.head(Item::Header, index);
            to.item(Item::String, value);
        });
        for name in more {
            for value in headers.get_all(name) {
                to.item(Item::Endpoint, name.as_str().as_bytes());
                to.item(Item::String, value.as_bytes());
            }
        }
        Ok(())
    }

    /// Every value of these names that are there, in the order of the names. Their bits begin at
    /// `first`.
    fn each(&self, first: usize, names: &[HeaderName], mut tell: impl FnMut(usize, &[u8])) {
        let mut bits = self.known >> first & ((1 << names.len()) - 1);
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            for value in self.head.headers.get_all(&names[index]) {
                tell(index, value.as_bytes());
            }
        }
    }
}

/// Which of the known headers are there. One look at what is there is cheaper than one for each that
/// may be, and most that are there have a length that none of the known ones has.
fn known(headers: &HeaderMap) -> u32 {
    static LENGTHS: LazyLock<u64> = LazyLock::new(|| {
        let names = CREDENTIALS.iter().chain(&MATTERS);
        names.fold(0, |bits, name| bits | bit(name))
    });
    let lengths = *LENGTHS;
    let mut there = 0;
    for name in headers.keys().filter(|name| lengths & bit(name) != 0) {
        let mut names = CREDENTIALS.iter().chain(&MATTERS);
        if let Some(at) = names.position(|known| known == name) {
            there |= 1 << at;
        }
    }
    there
}

/// One for each length, and a common one for those of 63 bytes and more.
fn bit(name: &HeaderName) -> u64 {
    1 << name.as_str().len().min(63)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{CREDENTIALS, MATTERS, known};

    #[test]
    fn every_known_header_is_found_and_no_other() {
        for (at, name) in CREDENTIALS.iter().chain(&MATTERS).enumerate() {
            let mut headers = HeaderMap::new();
            let other = "x".repeat(name.as_str().len());
            for other in ["accept", "x-api-ke", "x-api-key2", &other] {
                let other = HeaderName::from_bytes(other.as_bytes()).unwrap();
                headers.append(other, HeaderValue::from_static("a"));
            }
            assert_eq!(known(&headers), 0);
            headers.append(name, HeaderValue::from_static("a"));
            headers.append(name, HeaderValue::from_static("b"));
            assert_eq!(known(&headers), 1 << at, "{name}");
        }
    }
}
