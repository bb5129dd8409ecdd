use super::{Counts, Lexemes, Match, Role, Shapes};
use crate::json::{Cursor, Kind, Strings};

/// Learns from an event whose first string is content, and whose first number is a count.
fn learn(shapes: &mut Shapes, frame: &str) {
    let data = frame.strip_prefix("data: ").unwrap().trim_end();
    let (mut lexemes, mut counts) = (Lexemes::default(), Counts::default());
    let (mut string, mut number) = (Role::Content, Role::Count(0));
    Cursor::new(data.as_bytes(), Strings::Lax).skip_telling(|span, kind| {
        let role = match kind {
            Kind::String => std::mem::take(&mut string),
            _ => std::mem::take(&mut number),
        };
        if role == Role::Count(0) {
            counts.set(0, data[span.clone()].parse().ok());
        }
        lexemes.add(span, kind, role);
    });
    shapes.learn(frame.as_bytes(), data.as_bytes(), lexemes, counts, false);
}

fn found(shapes: &mut Shapes, frame: &str) -> Option<(usize, bool, Option<u64>)> {
    {
        let Match { len, content } = shapes.find(frame.as_bytes())?;
        Some((len, content, shapes.counts().get(0)))
    }
}

#[test]
fn only_what_is_in_the_holes_may_differ() {
    let mut shapes = Shapes::default();
    assert_eq!(shapes.find(b""), None);
    learn(
        &mut shapes,
        "data: {\"a\":\"x\",\"n\":1,\"b\":[\"\",null]}\n\n",
    );
    for (event, content) in [
        (
            "data: {\"a\":\"x\",\"n\":1,\"b\":[\"\",null]}\n\n",
            Some(true),
        ),
        (
            "data: {\"a\":\"\",\"n\":1,\"b\":[\"\",null]}\n\n",
            Some(false),
        ),
        (
            "data: {\"a\":\"}\\\\\",\"n\":1,\"b\":[\"\",null]}\n\n",
            Some(true),
        ),
        (
            "data: {\"a\":\"\\\"n\\\":1\",\"n\":1,\"b\":[\"\",null]}\n\n",
            Some(true),
        ),
        ("data: {\"a\":\"x\",\"n\":2,\"b\":[\"\",null]}\n\n", None),
        ("data: {\"a\":\"x\",\"n\":1,\"b\":[\"\",null]}\n", None),
        ("data: {\"a\":\"x\",\"n\":1,\"b\":[\"", None),
        ("data: {\"a\":\"x\\", None),
        ("data: {\"a\":\"x\\\"", None),
        ("data: {\"a\":\"x\n\",\"n\":1,\"b\":[\"\",null]}\n\n", None),
        (
            "data: {\"a\":\"x\\\n\",\"n\":1,\"b\":[\"\",null]}\n\n",
            None,
        ),
        ("data: {\"a\":\"\r\",\"n\":1,\"b\":[\"\",null]}\n\n", None),
        (
            "data: {\"a\":\"x\",\"b\":\"n\",\"n\":1,\"b\":[\"\",null]}\n\n",
            None,
        ),
        (
            "event: x\ndata: {\"a\":\"x\",\"n\":1,\"b\":[\"\",null]}\n\n",
            None,
        ),
    ] {
        let expected = content.map(|content| (event.len(), content, Some(1)));
        assert_eq!(found(&mut shapes, event), expected, "{event}");
    }
}

#[test]
fn what_differs_between_two_events_becomes_a_hole() {
    let mut shapes = Shapes::default();
    learn(
        &mut shapes,
        "data: {\"a\":\"x\",\"n\":1,\"b\":\"one\",\"c\":7}\n\n",
    );
    learn(
        &mut shapes,
        "data: {\"a\":\"y\",\"n\":20,\"b\":\"two\",\"c\":7}\n\n",
    );
    for (event, count) in [
        (
            "data: {\"a\":\"\",\"n\":333,\"b\":\"three\",\"c\":7}\n\n",
            Some(333),
        ),
        ("data: {\"a\":\"\",\"n\":0,\"b\":\"\",\"c\":7}\n\n", Some(0)),
        ("data: {\"a\":\"\",\"n\":01,\"b\":\"\",\"c\":7}\n\n", None),
        ("data: {\"a\":\"\",\"n\":1.5,\"b\":\"\",\"c\":7}\n\n", None),
        ("data: {\"a\":\"\",\"n\":-1,\"b\":\"\",\"c\":7}\n\n", None),
        ("data: {\"a\":\"\",\"n\":,\"b\":\"\",\"c\":7}\n\n", None),
        (
            "data: {\"a\":\"\",\"n\":10000000000000000000,\"b\":\"\",\"c\":7}\n\n",
            None,
        ),
        ("data: {\"a\":\"\",\"n\":1,\"b\":\"\",\"c\":8}\n\n", None),
    ] {
        let expected = count.map(|count| (event.len(), false, Some(count)));
        assert_eq!(found(&mut shapes, event), expected, "{event}");
    }
}

#[test]
fn two_kinds_of_event_may_alternate_and_a_third_takes_the_place_of_the_older() {
    let [one, two, three] = ["a", "b", "c"].map(|name| format!("data: {{\"{name}\":\"x\"}}\n\n"));
    let mut shapes = Shapes::default();
    learn(&mut shapes, &one);
    learn(&mut shapes, &two);
    assert!(found(&mut shapes, &one).is_some());
    assert!(found(&mut shapes, &two).is_some());
    learn(&mut shapes, &three);
    assert!(found(&mut shapes, &one).is_none());
    assert!(found(&mut shapes, &two).is_some());
    assert!(found(&mut shapes, &three).is_some());
}

#[test]
fn what_is_too_much_is_not_learned() {
    let strings = ["\"\""; Lexemes::MOST + 1].join(",");
    for event in [
        format!("data: [{strings}]\n\n"),
        format!("data: [\"{}\"]\n\n", "x".repeat(super::LONGEST)),
    ] {
        let mut shapes = Shapes::default();
        learn(&mut shapes, &event);
        assert_eq!(found(&mut shapes, &event), None);
    }
    let mut shapes = Shapes::default();
    learn(&mut shapes, "data: [\"\"]\n\n");
    let long = format!("data: [\"{}\"]\n\n", "x".repeat(super::LONGEST));
    assert_eq!(found(&mut shapes, &long), None);
}
