//! Cutting, doubling and rearranging the parts of a body.

use std::time::Duration;

use bytes::Bytes;

use crate::plan::{Data, Kind, Part, Plan};

/// Keeps so many events with content and what comes before the next; of a whole body nothing, or
/// its first half.
pub(super) fn cut(plan: &mut Plan, after: usize) {
    if !plan.streams() {
        match after {
            0 => plan.parts.clear(),
            _ => halve(plan),
        }
        return;
    }
    let end = place(plan, after);
    plan.parts.truncate(end);
}

/// Puts parts in after so many events with content.
pub(super) fn insert<const N: usize>(plan: &mut Plan, after: usize, parts: [Part; N]) {
    let place = place(plan, after);
    plan.parts.splice(place..place, parts);
}

/// Keeps the first half of all data.
pub(super) fn halve(plan: &mut Plan) {
    let mut left = plan.length() / 2;
    for part in &mut plan.parts {
        if let Part::Data(data) = part {
            data.bytes.truncate(left);
            left -= data.bytes.len();
        }
    }
}

/// Drops everything after the last content.
pub(super) fn drop_tail(plan: &mut Plan) {
    let last = plan.parts.iter().rposition(is_content);
    plan.parts.truncate(last.map_or(0, |last| last + 1));
}

/// Sends every event with content twice. The second costs nothing.
pub(super) fn double(plan: &mut Plan) {
    let parts = std::mem::take(&mut plan.parts);
    for part in parts {
        if is_content(&part) {
            plan.parts.push(part.clone());
        }
        plan.parts.push(part);
    }
}

/// Cuts all data into pieces of so many bytes, with pauses between.
pub(super) fn drip(plan: &mut Plan, bytes: usize, every: Duration) {
    let parts = std::mem::take(&mut plan.parts);
    for part in parts {
        let Part::Data(mut data) = part else {
            plan.parts.push(part);
            continue;
        };
        while data.bytes.len() > bytes {
            let piece = Data {
                bytes: data.bytes.split_to(bytes),
                kind: data.kind,
                billed: None,
            };
            plan.parts.push(Part::Data(piece));
            plan.parts.push(Part::Pause(every));
        }
        plan.parts.push(Part::Data(data));
        plan.parts.push(Part::Pause(every));
    }
}

/// Puts bytes at the beginning of the first content's text.
pub(super) fn spoil_text(plan: &mut Plan, bytes: &[u8]) {
    for part in &mut plan.parts {
        let Part::Data(data) = part else { continue };
        if data.kind != Kind::Content {
            continue;
        }
        let starts: [&[u8]; 2] = [br#""text":""#, br#""content":""#];
        let find = |start: &[u8]| {
            let at = data
                .bytes
                .windows(start.len())
                .position(|part| part == start);
            at.map(|at| at + start.len())
        };
        if let Some(at) = starts.into_iter().filter_map(find).min() {
            data.bytes = [&data.bytes[..at], bytes, &data.bytes[at..]]
                .concat()
                .into();
            return;
        }
    }
}

/// Puts bytes before the first data.
pub(super) fn before_first(plan: &mut Plan, bytes: &[u8]) {
    prepend(plan, bytes, |_| true);
}

/// Puts bytes before the first event with content.
pub(super) fn before_content(plan: &mut Plan, bytes: &[u8]) {
    prepend(plan, bytes, |data| data.kind == Kind::Content);
}

/// Ends lines with CR LF, each CR in another write than its LF.
pub(super) fn split_crlf(plan: &mut Plan) {
    let parts = std::mem::take(&mut plan.parts);
    for part in parts {
        let Part::Data(data) = part else {
            plan.parts.push(part);
            continue;
        };
        // Payloads are JSON in one line: every line feed is the framing's.
        let lines: Vec<_> = data.bytes.split(|byte| *byte == b'\n').collect();
        for (at, line) in lines.iter().enumerate() {
            let first = at == 0;
            let last = at + 1 == lines.len();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut piece = Vec::with_capacity(line.len() + 2);
            if !first {
                piece.push(b'\n');
            }
            piece.extend_from_slice(line);
            if !last {
                piece.push(b'\r');
            }
            let billed = data.billed.filter(|_| last);
            plan.parts.push(Part::Data(Data {
                bytes: Bytes::from(piece),
                kind: data.kind,
                billed,
            }));
            if !last {
                plan.parts.push(Part::Pause(Duration::ZERO));
            }
        }
    }
}

fn prepend(plan: &mut Plan, bytes: &[u8], which: impl Fn(&Data) -> bool) {
    for part in &mut plan.parts {
        if let Part::Data(data) = part
            && which(data)
        {
            data.bytes = [bytes, &data.bytes].concat().into();
            return;
        }
    }
}

/// Where the event with content after so many of them stands; if there are not so many, where the
/// first event after the last of them stands.
fn place(plan: &Plan, after: usize) -> usize {
    let mut contents = plan
        .parts
        .iter()
        .enumerate()
        .filter(|(_, part)| is_content(part));
    if let Some((at, _)) = contents.nth(after) {
        return at;
    }
    match plan.parts.iter().rposition(is_content) {
        Some(last) => last + 1,
        None => plan.parts.len(),
    }
}

fn is_content(part: &Part) -> bool {
    matches!(part, Part::Data(data) if data.kind == Kind::Content)
}
