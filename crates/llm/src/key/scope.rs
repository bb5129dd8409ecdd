//! Who asks, and whom.

use std::{borrow::Cow, fmt};

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
    pub(super) fn digest(&self, seed: &Seed, head: Head<'_>) -> Result<u128, Bypass> {
        let mut hash = seed.begin("tenant");
        match self {
            Self::Everybodys => {}
            Self::Of(tenant) => return Ok(named(seed, tenant)),
            Self::OfCredential => {
                if !credentials(head, &mut hash) {
                    return Err(Bypass::NoTenant);
                }
            }
            Self::Nobodys => return Err(Bypass::NoTenant),
        }
        Ok(hash.finish())
    }

    /// The credential, unless it is in the digest or does not matter.
    pub(super) fn credential(&self, head: Head<'_>, to: &mut Hash) {
        if let Self::Of(_) = self {
            credentials(head, to);
        }
    }
}

/// The digest of a tenant with a name.
pub(super) fn named(seed: &Seed, tenant: &[u8]) -> u128 {
    let mut hash = seed.begin("tenant");
    hash.item(Item::Tenant, tenant);
    hash.finish()
}

/// Hashes every credential. Whether there was one.
fn credentials(head: Head<'_>, to: &mut Hash) -> bool {
    let mut any = false;
    each(&CREDENTIALS, head.headers, |index, value| {
        any = true;
        to.head(Item::Header, index);
        to.item(Item::Credential, value);
    });
    let parameters = head.uri.query().unwrap_or_default().split('&');
    for pair in parameters.filter(|pair| !pair.is_empty() && is_credential(pair)) {
        any = true;
        to.item(Item::Credential, pair.as_bytes());
    }
    if let Some((user, _)) = user_info(head.uri) {
        any = true;
        to.item(Item::Credential, user.as_bytes());
    }
    any
}

/// Hashes where the request goes, and the headers that change what that means.
pub(super) fn endpoint(
    dialect: Dialect,
    head: Head<'_>,
    more: &[HeaderName],
    to: &mut Hash,
) -> Result<(), Bypass> {
    to.item(Item::Endpoint, dialect.as_str().as_bytes());
    to.item(Item::Endpoint, head.method.as_str().as_bytes());
    let uri = head.uri;
    to.item(
        Item::Endpoint,
        uri.scheme_str().unwrap_or_default().as_bytes(),
    );
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = user_info(uri).map_or(authority, |(_, host)| host);
    to.item(Item::Endpoint, host.as_bytes());
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
        let transport = |pair: &str| dialect == Dialect::Gemini && pair.starts_with("alt=");
        let pairs = query.split('&');
        for pair in pairs.filter(|pair| !is_credential(pair) && !transport(pair)) {
            to.item(Item::Endpoint, pair.as_bytes());
        }
    }
    each(&MATTERS, head.headers, |index, value| {
        to.head(Item::Header, index);
        to.item(Item::String, value);
    });
    for name in more {
        for value in head.headers.get_all(name) {
            to.item(Item::Endpoint, name.as_str().as_bytes());
            to.item(Item::String, value.as_bytes());
        }
    }
    Ok(())
}

/// Every value of the known names that are there, in their order. One look at what is there is
/// cheaper than one for each that may be.
fn each(known: &[HeaderName], headers: &HeaderMap, mut tell: impl FnMut(usize, &[u8])) {
    let position = |name| known.iter().position(|known| known == name);
    let there = headers.keys().filter_map(position);
    let mut bits = there.fold(0_u32, |bits, at| bits | 1 << at);
    while bits != 0 {
        let index = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        for value in headers.get_all(&known[index]) {
            tell(index, value.as_bytes());
        }
    }
}

/// User and password, and what is after them.
fn user_info(uri: &Uri) -> Option<(&str, &str)> {
    uri.authority()?.as_str().rsplit_once('@')
}
