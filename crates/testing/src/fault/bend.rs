//! How each fault bends the plan of a reply.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{ApiError, Call, Fault, shape};
use crate::{
    Carrier, Dialect, FailureKind, Reply,
    plan::{After, Data, Framing, Head, Part, Plan},
};

/// A piece of what never ends.
const LONG: usize = 16 << 10;

impl Fault {
    /// Bends the plan. An `Err` says why this call cannot have this fault.
    pub(crate) fn bend(self, plan: &mut Plan, call: &Call<'_>) -> Result<(), String> {
        self.check(plan, call)?;
        if let Some(kind) = self.failure(call) {
            plan.head = Head::Fail(kind);
            plan.parts.clear();
            return Ok(());
        }
        match self {
            Fault::GoAway => head(plan, Head::GoAway, None),
            Fault::NoReply => raw(plan, "", Part::Close),
            Fault::ResetInHeaders => raw(plan, "HTTP/1.1 200 OK\r\ncontent-ty", Part::Reset),
            Fault::EndlessInterim => {
                let interim = "HTTP/1.1 103 Early Hints\r\nlink: </>; rel=preload\r\n\r\n";
                raw(plan, "", endless(interim.into()));
            }
            Fault::EndlessHeader => {
                let head = "HTTP/1.1 200 OK\r\nx-long: ";
                raw(plan, head, endless(vec![b'a'; LONG].into()));
            }
            Fault::NoHeaders => raw(plan, "", Part::Stall),
            Fault::GarbageHeader => spoil(plan, "this is: not\x01 a \x00header\r\nnor this\r\n"),
            Fault::LongHeader { bytes } => {
                spoil(plan, format!("x-long: {}\r\n", "a".repeat(bytes)))
            }
            Fault::TwoLengths => {
                plan.framing = Framing::Length;
                let length = plan.length() + 7;
                spoil(plan, format!("content-length: {length}\r\n"));
            }
            Fault::LengthAndChunks => {
                plan.framing = Framing::Chunked;
                spoil(plan, format!("content-length: {}\r\n", plan.length()));
            }
            Fault::KeepAliveRace => plan.after = After::CloseAtNextByte,
            Fault::IdleClose => plan.after = After::CloseSilently,
            Fault::HalfClose => {
                plan.framing = Framing::Close;
                plan.after = After::HalfClose;
            }
            Fault::Error(error) => *plan = error.reply(call.dialect).plan(call)?,
            Fault::Throttled(hint) => *plan = Reply::hinted(hint).plan(call)?,
            Fault::ShouldRetry { status, again } => {
                let header = if again { "true" } else { "false" };
                let reply = Reply::error(status).header("x-should-retry", header);
                *plan = reply.plan(call)?;
            }
            Fault::Redirect => {
                let path = call.request.path();
                let location = format!("http://redirect.invalid{path}");
                *plan = Reply::bytes(307, "")
                    .header("location", location)
                    .plan(call)?;
            }
            Fault::ErrorInOk(error) => {
                *plan = error.reply(call.dialect).plan(call)?;
                plan.status = StatusCode::OK;
            }
            Fault::BadGzip => {
                plan.framing = Framing::Length;
                plan.parts = vec![Data::aside(
                    &b"\x1f\x8b\x08this is not what gzip looks like"[..],
                )];
                plan.set(&header::CONTENT_ENCODING, &HeaderValue::from_static("gzip"));
            }
            Fault::WrongContentType => {
                let page = "<html><body><h1>Bad gateway</h1></body></html>\n";
                let html = HeaderValue::from_static("text/html");
                *plan = Plan::whole(StatusCode::OK, html, page.into());
            }
            Fault::NoContentType => plan
                .headers
                .retain(|(name, _)| name != header::CONTENT_TYPE),
            Fault::Empty => {
                plan.framing = Framing::Length;
                plan.parts.clear();
            }
            Fault::MalformedJson => shape::halve(plan),
            Fault::EndlessBody => {
                plan.framing = Framing::Chunked;
                shape::halve(plan);
                plan.parts.push(endless(vec![b' '; LONG].into()));
            }
            _ => self.bend_body(plan, call)?,
        }
        Ok(())
    }

    /// The faults of a body that go by its events.
    fn bend_body(self, plan: &mut Plan, call: &Call<'_>) -> Result<(), String> {
        match self {
            Fault::Reset { after } => ends(plan, after, [Part::Reset]),
            Fault::Stall { after } => ends(plan, after, [Part::Stall]),
            Fault::Close { after } => {
                plan.framing = Framing::Chunked;
                ends(plan, after, [Part::Close]);
            }
            Fault::ShortLength { after } => {
                let whole = plan.length();
                ends(plan, after, []);
                plan.framing = Framing::Short((whole - plan.length()).max(1));
            }
            Fault::BadChunk { after } => {
                plan.framing = Framing::Chunked;
                let bad = Part::Raw(Bytes::from_static(b"not a size\r\nxyz\r\n"));
                ends(plan, after, [bad, Part::Close]);
            }
            Fault::PingsOnly { after, every } => {
                let ping = match call.dialect {
                    Dialect::Anthropic => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                    Dialect::OpenAi | Dialect::Gemini => "event: ping\n\n",
                };
                ends(plan, after, [again(ping, every)]);
            }
            Fault::CommentsOnly { after, every } => {
                ends(plan, after, [again(": still here\n\n", every)]);
            }
            Fault::ErrorEvent { after, error } => {
                let event = error_event(error, call)?;
                ends(plan, after, [Data::aside(event)]);
            }
            Fault::NoTerminator => shape::drop_tail(plan),
            Fault::LongEvent { after, bytes } => {
                let pad = Bytes::from(vec![b'a'; LONG]);
                let times = (bytes / LONG) as u64;
                let long = [
                    Data::aside("data: {\"pad\":\""),
                    Part::Repeat {
                        bytes: pad.clone(),
                        times: Some(times),
                        every: Duration::ZERO,
                    },
                    Data::aside(pad.slice(..bytes % LONG)),
                    Data::aside("\"}\n\n"),
                ];
                shape::insert(plan, after, long);
            }
            Fault::EndlessLine { after } => {
                let line = endless(vec![b'a'; LONG].into());
                ends(plan, after, [Data::aside("data: "), line]);
            }
            Fault::Drip { bytes, every } => shape::drip(plan, bytes.max(1), every),
            Fault::DuplicateEvents => shape::double(plan),
            Fault::InvalidUtf8 => shape::spoil_text(plan, b"\xff\xfe"),
            Fault::ByteOrderMark => shape::before_first(plan, b"\xef\xbb\xbf"),
            Fault::SplitCrLf => shape::split_crlf(plan),
            Fault::Nul => shape::before_content(plan, b": \0\nid: \0\n"),
            Fault::NoDone => {
                let done = |part: &Part| matches!(part, Part::Data(data) if data.bytes == "data: [DONE]\n\n");
                plan.parts.retain(|part| !done(part));
            }
            Fault::MalformedEvent { after } => {
                let event = match call.dialect {
                    Dialect::Anthropic => "event: content_block_delta\ndata: {\"type\":\n\n",
                    Dialect::OpenAi | Dialect::Gemini => "data: {\"choices\":[{\n\n",
                };
                shape::insert(plan, after, [Data::aside(event)]);
            }
            other => return Err(format!("{other} has no form here")),
        }
        Ok(())
    }

    /// How the call fails where there is no reply at all.
    fn failure(self, call: &Call<'_>) -> Option<FailureKind> {
        let in_process = call.carrier == Carrier::InProcess;
        Some(match self {
            Fault::ConnectRefused => FailureKind::ConnectRefused,
            Fault::ConnectTimeout => FailureKind::ConnectTimeout,
            Fault::NoRoute => FailureKind::NoRoute,
            Fault::NoSuchName => FailureKind::NoSuchName,
            Fault::HandshakeReset => FailureKind::Handshake,
            Fault::UnknownIssuer | Fault::WrongHost | Fault::Expired | Fault::Plaintext => {
                FailureKind::Untrusted
            }
            Fault::RefusedStream => FailureKind::Unstarted,
            Fault::GoAway | Fault::KeepAliveRace | Fault::IdleClose if in_process => {
                FailureKind::Unstarted
            }
            _ => return None,
        })
    }

    fn check(self, plan: &Plan, call: &Call<'_>) -> Result<(), String> {
        let (carrier, dialect) = (call.carrier, call.dialect);
        if !self.carried_by(carrier) {
            return Err(format!("{self} cannot be carried by {carrier:?}"));
        }
        if !self.fits(dialect) {
            return Err(format!("{self} is none of {dialect:?}"));
        }
        if self.is_of_connection() && carrier != Carrier::InProcess {
            return Err(format!(
                "{self} is of the connection, which is there already"
            ));
        }
        match self.streamed() {
            Some(true) if !plan.streams() => Err(format!("{self} is for streamed calls")),
            Some(false) if call.request.streamed() => Err(format!("{self} is for whole replies")),
            _ => Ok(()),
        }
    }
}

/// An error's envelope as an event of a stream.
fn error_event(error: ApiError, call: &Call<'_>) -> Result<Bytes, String> {
    let plan = error.reply(call.dialect).plan(call)?;
    let mut event = Vec::new();
    let first = plan.parts.iter().find_map(|part| match part {
        Part::Data(data) => Some(&data.bytes[..]),
        _ => None,
    });
    let body = first.unwrap_or_default();
    let (before, after) = match call.dialect {
        Dialect::OpenAi => ("data: ", "\n\n"),
        Dialect::Anthropic => ("event: error\ndata: ", "\n\n"),
        Dialect::Gemini => {
            let sse = call.dialect.streams_events(call.request);
            crate::dialect::gemini::framing(sse, false, true)
        }
    };
    event.extend_from_slice(before.as_bytes());
    event.extend_from_slice(body);
    event.extend_from_slice(after.as_bytes());
    Ok(event.into())
}

/// Ends the body after so many events with content, and then with these parts.
fn ends<const N: usize>(plan: &mut Plan, after: usize, parts: [Part; N]) {
    let whole = plan.length();
    shape::cut(plan, after);
    if plan.framing == Framing::Length {
        // The head has promised the whole.
        plan.framing = Framing::Short(whole - plan.length());
    }
    plan.parts.extend(parts);
}

fn head(plan: &mut Plan, head: Head, part: Option<Part>) {
    plan.head = head;
    plan.parts.clear();
    plan.parts.extend(part);
}

fn raw(plan: &mut Plan, bytes: &'static str, part: Part) {
    head(plan, Head::Raw(bytes.into()), Some(part));
}

fn spoil(plan: &mut Plan, lines: impl Into<Bytes>) {
    plan.head = Head::Spoiled(lines.into());
}

fn endless(bytes: Bytes) -> Part {
    Part::Repeat {
        bytes,
        times: None,
        every: Duration::ZERO,
    }
}

fn again(text: &'static str, every: Duration) -> Part {
    Part::Repeat {
        bytes: text.into(),
        times: None,
        every,
    }
}
