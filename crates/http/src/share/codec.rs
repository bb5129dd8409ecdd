//! A shared reply as bytes.
//!
//! Numbers are LEB128, what has a length is preceded by it, in bytes:
//!
//! ```text
//! reply    = version status flags [usage] [cost] [finish] headers frames [trailers]
//! version  = %x01
//! flags    = OCTET                                  ; of `Flags`
//! usage    = input output cached-input cache-write reasoning
//! cost     = NUMBER                                 ; in pico-units
//! finish   = LENGTH *OCTET                          ; by its name
//! headers  = COUNT *( LENGTH name LENGTH value sensitive )
//! frames   = COUNT *( mark LENGTH *OCTET )
//! trailers = mark headers
//! mark     = OCTET                                  ; of `Mark`
//! ```

use buttress_core::{Finish, Money, Outcome, Progress, Usage};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Mark;
use crate::tape::{Content, most_frames};

/// What is kept of a reply.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) outcome: Outcome,
    pub(super) frames: Vec<(Content, Mark)>,
    /// The body's length was known beforehand.
    pub(super) sized: bool,
}

struct Writer(Vec<u8>);

struct Reader(Bytes);

/// What is there, and two facts of the usage.
struct Flags;

const VERSION: u8 = 1;

// Those that a cache has to leave out, RFC 9111, section 3.1, and RFC 9110, section 7.6.1; and
// cookies, which are one client's.
const NOT_KEPT: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "set-cookie",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// As many header lines as a head or a trailer section may have.
const MAX_LINES: usize = 4096;
/// As many bytes of them.
const MAX_LINE_BYTES: usize = 256 << 10;

/// The largest of what is read, by the bounds of what is written: a mark and a length for each
/// frame, two lengths and a flag for each line, and what comes before.
const fn most_bytes(cap: usize) -> usize {
    let lines = MAX_LINE_BYTES + MAX_LINES * 9;
    cap + most_frames::<Mark>(cap) * 6 + 2 * lines + 256
}

// ===== impl Reply =====

impl Reply {
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let (last, data) = match self.frames.split_last() {
            Some(((Content::Trailers(trailers), mark), data)) => (Some((trailers, mark)), data),
            _ => (None, &self.frames[..]),
        };
        let bytes: usize = data.iter().map(|(content, _)| content.bytes()).sum();
        let mut out = Writer(Vec::with_capacity(bytes + data.len() * 4 + 1024));
        out.0.push(VERSION);
        out.number(self.status.as_u16());
        let outcome = &self.outcome;
        let usage = outcome.usage.unwrap_or_default();
        out.0.push(Flags::of([
            (Flags::SIZED, self.sized),
            (Flags::TRAILERS, last.is_some()),
            (Flags::USAGE, outcome.usage.is_some()),
            (Flags::EXACT, usage.exact),
            (Flags::BILLED, usage.billed),
            (Flags::COST, outcome.cost.is_some()),
            (Flags::FINISH, outcome.finish.is_some()),
        ]));
        if outcome.usage.is_some() {
            for tokens in [
                usage.input,
                usage.output,
                usage.cached_input,
                usage.cache_write,
                usage.reasoning,
            ] {
                out.number(tokens);
            }
        }
        if let Some(cost) = outcome.cost {
            out.number(cost.pico());
        }
        if let Some(finish) = outcome.finish {
            out.bytes(finish.name().as_bytes());
        }
        out.headers(&self.headers)?;
        out.length(data.len());
        for (content, mark) in data {
            // Trailers are the end of a body.
            let Content::Data(data) = content else {
                return None;
            };
            out.0.push(mark.byte());
            out.bytes(data);
        }
        if let Some((trailers, mark)) = last {
            out.0.push(mark.byte());
            out.headers(trailers)?;
        }
        Some(out.0)
    }

    /// What is said of `bytes` by [`encode`](Reply::encode), for replies of up to `cap` bytes.
    pub(super) fn decode(bytes: &[u8], cap: usize) -> Option<Self> {
        if bytes.len() > most_bytes(cap) {
            return None;
        }
        let mut from = Reader(Bytes::copy_from_slice(bytes));
        if from.byte()? != VERSION {
            return None;
        }
        let status = StatusCode::from_u16(from.number()?).ok()?;
        let flags = from.byte()?;
        let has = |flag: u8| flags & flag != 0;
        let mut outcome = Outcome::SUCCESS;
        if has(Flags::USAGE) {
            let mut usage = Usage::new(from.number()?, from.number()?);
            usage.cached_input = from.number()?;
            usage.cache_write = from.number()?;
            usage.reasoning = from.number()?;
            (usage.exact, usage.billed) = (has(Flags::EXACT), has(Flags::BILLED));
            outcome = outcome.with_usage(usage);
        }
        if has(Flags::COST) {
            outcome = outcome.with_cost(Money::from_pico(from.number()?));
        }
        if has(Flags::FINISH) {
            let name = from.bytes()?;
            let finish = Finish::ALL
                .into_iter()
                .find(|one| one.name().as_bytes() == name)?;
            outcome = outcome.with_finish(finish);
        }
        let headers = from.headers()?;
        let count: usize = from.number()?;
        if count > most_frames::<Mark>(cap) {
            return None;
        }
        // No more than there are bytes for: each has a mark and a length.
        let room = count.min(from.0.len() / 2);
        let mut frames = Vec::with_capacity(room + usize::from(has(Flags::TRAILERS)));
        for _ in 0..count {
            let mark = Mark::of(from.byte()?)?;
            frames.push((Content::Data(from.bytes()?), mark));
        }
        if has(Flags::TRAILERS) {
            let mark = Mark::of(from.byte()?)?;
            frames.push((Content::Trailers(Box::new(from.headers()?)), mark));
        }
        from.0.is_empty().then_some(Self {
            status,
            headers,
            outcome,
            frames,
            sized: has(Flags::SIZED),
        })
    }
}

// ===== impl Flags =====

impl Flags {
    const SIZED: u8 = 1;
    const TRAILERS: u8 = 1 << 1;
    const USAGE: u8 = 1 << 2;
    const EXACT: u8 = 1 << 3;
    const BILLED: u8 = 1 << 4;
    const COST: u8 = 1 << 5;
    const FINISH: u8 = 1 << 6;

    fn of<const N: usize>(flags: [(u8, bool); N]) -> u8 {
        let set = flags.into_iter().filter(|(_, is)| *is);
        set.map(|(flag, _)| flag).sum()
    }
}

// ===== impl Mark =====

impl Mark {
    const TOLD: u8 = 1 << 2;

    const fn byte(self) -> u8 {
        let progress = match self.progress {
            None => 0,
            Some(progress) if progress.is_content() => 2,
            Some(_) => 1,
        };
        if self.told {
            progress | Self::TOLD
        } else {
            progress
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        let progress = match byte & !Self::TOLD {
            0 => None,
            1 => Some(Progress::Ping),
            2 => Some(Progress::Content),
            _ => return None,
        };
        Some(Self {
            progress,
            told: byte & Self::TOLD != 0,
        })
    }
}

// ===== impl Writer =====

impl Writer {
    fn number(&mut self, number: impl Into<u128>) {
        let mut left: u128 = number.into();
        while left > 0x7f {
            self.0.push(left as u8 | 0x80);
            left >>= 7;
        }
        self.0.push(left as u8);
    }

    fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn headers(&mut self, all: &HeaderMap) -> Option<()> {
        let named = named_by_connection(all);
        let kept = |name: &HeaderName| !NOT_KEPT.contains(&name.as_str()) && !named.contains(name);
        let kept: Vec<_> = all.iter().filter(|(name, _)| kept(name)).collect();
        let bytes: usize = kept
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if kept.len() > MAX_LINES || bytes > MAX_LINE_BYTES {
            return None;
        }
        self.length(kept.len());
        for (name, value) in kept {
            self.bytes(name.as_str().as_bytes());
            self.bytes(value.as_bytes());
            self.0.push(value.is_sensitive().into());
        }
        Some(())
    }
}

/// What is meant for one connection alone, by the word of the one who sent it.
fn named_by_connection(all: &HeaderMap) -> Vec<HeaderName> {
    let values = all.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

// ===== impl Reader =====

impl Reader {
    fn byte(&mut self) -> Option<u8> {
        self.0.has_remaining().then(|| self.0.get_u8())
    }

    fn number<T: TryFrom<u128>>(&mut self) -> Option<T> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            number |= part.checked_mul(1_u128 << shift)?;
            if byte & 0x80 == 0 {
                return T::try_from(number).ok();
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.number()?;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn headers(&mut self) -> Option<HeaderMap> {
        let count: usize = self.number()?;
        if count > MAX_LINES {
            return None;
        }
        let mut all = HeaderMap::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.bytes()?).ok()?;
            // Copied: whoever keeps a head would keep the whole reply.
            let mut value = HeaderValue::from_bytes(&self.bytes()?).ok()?;
            value.set_sensitive(match self.byte()? {
                0 => false,
                1 => true,
                _ => return None,
            });
            all.try_append(name, value).ok()?;
        }
        Some(all)
    }
}
