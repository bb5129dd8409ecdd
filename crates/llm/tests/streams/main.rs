//! What the meters say of streams, written by hand as the providers write them, at every split.

mod anthropic;
#[path = "../common/mod.rs"]
mod common;
mod gemini;
mod openai;

use buttress_core::{Class, Usage};
use buttress_llm::{AnyPath, Dialect};
use common::{Said, end_of_event, said_at_every_split, stream_head};

/// A whole and good stream, open until its end or not, whose first content is where the marker is.
#[track_caller]
fn assert_good(said: Said, open: bool, usage: Option<Usage>, stream: &str, marker: &str) {
    assert_eq!(said.class(), Some(Class::Success));
    assert_eq!(said.open.is_none(), open, "{:?}", said.open);
    assert_eq!(said.usage, usage);
    assert_eq!(said.content_at, Some(end_of_event(stream, marker)));
}

#[test]
fn an_event_over_the_bound_breaks_the_stream() {
    for dialect in Dialect::ALL {
        let stream = format!("data: \"{}\n\n", "x".repeat(9 << 20));
        let said = common::said(&dialect, &stream_head(), stream.as_bytes().chunks(1 << 16));
        assert_eq!(said.class(), Some(Class::Unavailable));
        assert_eq!(said.open, said.ended);
    }
}

#[test]
fn another_path_of_a_dialect_ends_with_its_body() {
    let stream = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n";
    for dialect in Dialect::ALL {
        let strict = said_at_every_split(&dialect, &stream_head(), stream.as_bytes());
        assert_eq!(strict.ended, None);
        let lenient = said_at_every_split(&AnyPath(dialect), &stream_head(), stream.as_bytes());
        assert_eq!(lenient.class(), Some(Class::Success));
        assert_eq!(lenient.open, None);
        // What is in such events is not known here: nobody waits for more of them.
        assert_eq!(
            (strict.content_at, lenient.content_at),
            (None, Some(stream.len()))
        );
    }
    let failed = "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\",\"param\":null}\n\n";
    let said = said_at_every_split(&AnyPath(Dialect::OpenAi), &stream_head(), failed.as_bytes());
    assert_eq!(
        (said.class(), said.content_at),
        (Some(Class::Unavailable), None)
    );
}
