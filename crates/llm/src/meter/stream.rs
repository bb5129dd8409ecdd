use std::fmt;

use buttress_core::{Class, Finish, Outcome, Progress, Usage};
use buttress_http::{
    Meter,
    sse::{Decoder, EventRef},
};
use bytes::Bytes;
use http::Extensions;

use super::{Tail, believed};
use crate::{reader::Reader, shape::Shapes};

/// Reads a stream of server-sent events.
pub(crate) struct StreamMeter<R> {
    decoder: Decoder,
    shapes: Shapes,
    reader: R,
    /// Of another path: what is not read is content, and a clean end is one.
    lenient: bool,
    over_bound: bool,
}

// ===== impl StreamMeter =====

impl<R: Reader> StreamMeter<R> {
    pub(crate) fn new(reader: R, lenient: bool) -> Self {
        Self {
            decoder: Decoder::new(),
            shapes: Shapes::default(),
            reader,
            lenient,
            over_bound: false,
        }
    }
}

impl<R: Reader> Meter for StreamMeter<R> {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        let mut rest = &data[..];
        let mut content = false;
        if self.reader.complete(false) {
            return Progress::Ping;
        }
        while !rest.is_empty() {
            // The decoder need not see an event that is known before it is read. It is between two
            // events then, and none the wiser.
            let between = self.decoder.pending() == 0;
            if between && let Some(found) = self.shapes.find(rest) {
                self.reader.repeat(self.shapes.counts());
                content |= found.content;
                rest = &rest[found.len..];
                continue;
            }
            match self.decoder.scan(&mut rest) {
                Some(Ok(event)) => {
                    // One that came in parts may be known as well, now that it is whole.
                    let frame = event.frame();
                    let found = if between {
                        None
                    } else {
                        self.shapes.find(frame)
                    };
                    content |= match found {
                        Some(found) => {
                            self.reader.repeat(self.shapes.counts());
                            found.content
                        }
                        None => read(&mut self.reader, &mut self.shapes, &event),
                    };
                    content |= self.lenient && self.reader.error().is_none();
                    if self.reader.complete(false) {
                        break;
                    }
                }
                Some(Err(_)) => self.over_bound = true,
                None => break,
            }
        }
        if content {
            Progress::Content
        } else {
            Progress::Ping
        }
    }

    fn verdict(&self, ended: bool) -> Option<Outcome> {
        if let Some(error) = self.reader.error() {
            return Some(error);
        }
        if self.reader.complete(false) {
            return Some(Outcome::SUCCESS);
        }
        if self.over_bound {
            return Some(Outcome::new(Class::Unavailable));
        }
        let cut = Tail::of(self.decoder.unfinished()) == Tail::Cut;
        let whole = self.reader.complete(ended && !cut) || (self.lenient && ended);
        whole.then_some(Outcome::SUCCESS)
    }

    fn usage(&self) -> Option<Usage> {
        self.reader.usage().and_then(believed)
    }

    fn finish(&self) -> Option<Finish> {
        self.reader.finish()
    }

    fn learned(&self, head: &mut Extensions) {
        self.reader.model().show(head);
    }
}

impl<R> fmt::Debug for StreamMeter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMeter")
            .field("decoder", &self.decoder)
            .finish_non_exhaustive()
    }
}

/// Reads an event, and says whether it has content. One that is malformed is the caller's to judge,
/// who sees it as it came.
fn read(reader: &mut impl Reader, shapes: &mut Shapes, event: &EventRef<'_>) -> bool {
    let data = event.data();
    let mut lexemes = shapes.begin(data);
    let Ok(said) = reader.read(data, &mut lexemes) else {
        return false;
    };
    if let Some(said) = said.repeatable {
        shapes.learn(event.frame(), data, lexemes, said.counts, said.besides);
    }
    said.content
}

#[cfg(test)]
mod tests {
    use buttress_core::Usage;
    use buttress_http::{Meter, sse::Decoder};
    use bytes::Bytes;
    use proptest::{prelude::*, sample::Index};

    use super::super::{Tail, believed};
    use super::StreamMeter;
    use crate::{
        anthropic::AnthropicReader, gemini::GeminiReader, openai::OpenAiReader, reader::Reader,
        shape::Lexemes,
    };

    /// Events of all dialects, with `TEXT` and `NUMBER` to be filled in.
    const EVENTS: [&str; 30] = [
        "{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}],\"usage\":null}",
        "{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"TEXT\"}",
        "{\"id\":\"TEXT\",\"created\":NUMBER,\"choices\":[{\"index\":NUMBER,\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":NUMBER,\"function\":{\"arguments\":\"TEXT\"}}]},\"finish_reason\":null}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"a\":{},\"b\":[],\"c\":\"TEXT\",\"d\":NUMBER,\"role\":\"TEXT\"}}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"TEXT\"}]}",
        "{\"choices\":[],\"usage\":{\"prompt_tokens\":NUMBER,\"completion_tokens\":NUMBER,\"total_tokens\":NUMBER}}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"TEXT\"}}],\"usage\":{\"prompt_tokens\":NUMBER,\"completion_tokens\":NUMBER}}",
        "{\"error\":{\"message\":\"TEXT\",\"code\":NUMBER}}",
        "[DONE]",
        "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":NUMBER,\"output_tokens\":1}}}",
        "{\"type\":\"content_block_delta\",\"index\":NUMBER,\"delta\":{\"type\":\"text_delta\",\"text\":\"TEXT\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"TEXT\"}}",
        "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"x\":\"TEXT\",\"y\":NUMBER}}}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"TEXT\"},\"usage\":{\"output_tokens\":NUMBER}}",
        "{\"type\":\"ping\"}",
        "{\"type\":\"message_stop\"}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"TEXT\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":NUMBER,\"candidatesTokenCount\":NUMBER,\"totalTokenCount\":NUMBER,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":NUMBER}]},\"responseId\":\"TEXT\"}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"TEXT\",\"thoughtSignature\":\"TEXT\"}]},\"index\":NUMBER}],\"usageMetadata\":{\"promptTokenCount\":NUMBER}}",
        "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"TEXT\",\"args\":{\"a\":NUMBER}}}]},\"finishReason\":\"STOP\"}]}",
        "{\"promptFeedback\":{\"blockReason\":\"TEXT\"}}",
        // What matters is before what else there is, twice there, or there where nobody expects it.
        "{\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}],\"usage\":null,\"created\":NUMBER}",
        "{\"created\":NUMBER,\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}],\"usage\":null}",
        "{\"choices\":[],\"usage\":null}",
        "{\"choices\":[{\"index\":NUMBER,\"delta\":{\"content\":\"TEXT\"}},{\"index\":NUMBER,\"delta\":{}}]}",
        "{\"choices\":[{\"index\":NUMBER,\"index\":NUMBER,\"delta\":{\"content\":\"TEXT\"}}]}",
        "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"TEXT\"},\"usage\":{\"output_tokens\":1}}",
        "{\"candidates\":[{\"index\":NUMBER,\"content\":{\"parts\":[{\"text\":\"a\"}]}},{\"index\":NUMBER,\"index\":NUMBER}]}",
        "{\"candidates\":[{\"index\":0,\"index\":NUMBER}],\"usageMetadata\":{\"promptTokenCount\":NUMBER,\"promptTokenCount\":NUMBER}}",
    ];

    const TEXTS: [&str; 12] = [
        "",
        "a",
        " word",
        "\\n",
        "\\\"",
        "\\\\",
        "a longer one that is more than two words of the machine",
        "\\u0041",
        "}",
        "\\\",\\\"usage\\\":{",
        "\0",
        "é",
    ];

    const NUMBERS: [&str; 10] = [
        "0",
        "1",
        "42",
        "01",
        "1.5",
        "-1",
        "1e3",
        "12345678901234567890",
        "null",
        "\"1\"",
    ];

    fn event() -> impl Strategy<Value = Vec<u8>> {
        let parts = (
            0..EVENTS.len() * 3,
            proptest::collection::vec(0..TEXTS.len(), 4),
            proptest::collection::vec(0..NUMBERS.len() * 3, 4),
            prop_oneof![9 => Just("\n\n"), 1 => Just("\r\n\r\n"), 1 => Just("\n: c\n\n"), 1 => Just("\n")],
            proptest::option::weighted(0.05, (any::<Index>(), any::<u8>())),
        );
        parts.prop_map(|(which, texts, numbers, end, fault)| {
            // Most of a stream are a few kinds of event, and most numbers are plain.
            let which = if which < EVENTS.len() {
                which
            } else {
                [1, 2, 12, 18, 8, 22, 23, 25][which % 8]
            };
            let mut data = EVENTS[which].to_owned();
            for text in texts {
                data = data.replacen("TEXT", TEXTS[text], 1);
            }
            for number in numbers {
                let number = NUMBERS.get(number).copied().unwrap_or(NUMBERS[number % 3]);
                data = data.replacen("NUMBER", number, 1);
            }
            let mut event = format!("data: {data}{end}").into_bytes();
            if let Some((at, byte)) = fault {
                let at = at.index(event.len());
                event[at] = byte;
            }
            event
        })
    }

    /// What every event says to a reader that is told of each, and whether one is cut off.
    fn reference<R: Reader + Default>(stream: &[u8]) -> (Vec<bool>, R, bool) {
        let (mut reader, mut decoder, mut said) = (R::default(), Decoder::new(), Vec::new());
        let mut rest = stream;
        while let Some(event) = decoder.scan(&mut rest) {
            let event = event.unwrap();
            let content = reader.read(event.data(), &mut Lexemes::ignored());
            said.push(content.is_ok_and(|said| said.content));
        }
        // Not all that is after the last event: a line without data and a blank one are no event.
        let cut = Tail::of(decoder.unfinished()) == Tail::Cut;
        (said, reader, cut)
    }

    /// The frames of a stream, each with whatever is before it.
    fn frames(stream: &[u8]) -> Vec<&[u8]> {
        let (mut decoder, mut rest, mut from) = (Decoder::new(), stream, 0);
        let mut frames = Vec::new();
        while let Some(event) = decoder.scan(&mut rest) {
            let end = event.unwrap().span().end as usize;
            frames.push(&stream[from..end]);
            from = end;
        }
        frames
    }

    fn agree<R: Reader + Default>(stream: &[u8], splits: &[Index]) -> Result<(), TestCaseError> {
        let (said, reader, cut) = reference::<R>(stream);
        let verdicts =
            |meter: &dyn Meter| (meter.verdict(false), meter.verdict(true), meter.usage());
        let mut by_frame = StreamMeter::new(R::default(), false);
        let content: Vec<_> = frames(stream)
            .into_iter()
            .map(|frame| by_frame.chunk(&Bytes::copy_from_slice(frame)).is_content())
            .collect();
        prop_assert_eq!(content, said);
        // What stands after the last of them is content to nobody.
        let tail = &stream[frames(stream).concat().len()..];
        prop_assert!(!by_frame.chunk(&Bytes::copy_from_slice(tail)).is_content());
        let mut by_chunk = StreamMeter::new(R::default(), false);
        let mut splits: Vec<_> = splits.iter().map(|at| at.index(stream.len() + 1)).collect();
        splits.extend([0, stream.len()]);
        splits.sort_unstable();
        for split in splits.windows(2) {
            by_chunk.chunk(&Bytes::copy_from_slice(&stream[split[0]..split[1]]));
        }
        prop_assert_eq!(verdicts(&by_frame), verdicts(&by_chunk));
        prop_assert_eq!(by_frame.usage(), reader.usage().and_then(believed));
        prop_assert_eq!(by_frame.finish(), reader.finish());
        prop_assert_eq!(by_chunk.finish(), reader.finish());
        let class = |outcome: Option<buttress_core::Outcome>| outcome.map(|outcome| outcome.class);
        let expected = reader.error().map(|error| error.class);
        if expected.is_some() {
            prop_assert_eq!(class(by_frame.verdict(true)), expected);
        } else {
            prop_assert_eq!(by_frame.verdict(true).is_some(), reader.complete(!cut));
            prop_assert_eq!(by_frame.verdict(false).is_some(), reader.complete(false));
        }
        Ok(())
    }

    /// All that is told of a stream of these events, each in a chunk of its own.
    fn told<R: Reader + Default>(events: &[&str]) -> (Vec<bool>, Option<Usage>, bool) {
        let stream: String = events.iter().map(|e| format!("data: {e}\n\n")).collect();
        agree::<R>(stream.as_bytes(), &[]).unwrap();
        let mut meter = StreamMeter::new(R::default(), false);
        let content = frames(stream.as_bytes())
            .into_iter()
            .map(|frame| meter.chunk(&Bytes::copy_from_slice(frame)).is_content())
            .collect();
        (content, meter.usage(), meter.verdict(true).is_some())
    }

    #[test]
    fn usage_that_cannot_be_is_unknown() {
        let told_of = |tokens: &str| {
            let event = format!(
                r#"{{"choices":[],"usage":{{"prompt_tokens":{tokens},"completion_tokens":2}}}}"#
            );
            told::<OpenAiReader>(&[&event]).1
        };
        assert_eq!(told_of("1099511627776"), Some(Usage::new(1 << 40, 2)));
        for garbled in ["1099511627777", "1e30", "18446744073709551615"] {
            assert_eq!(told_of(garbled), None, "{garbled}");
        }
        let cached = r#"7,"prompt_tokens_details":{"cached_tokens":1099511627777}"#;
        assert_eq!(told_of(cached), None);
    }

    #[test]
    fn usage_is_read_after_content_that_is_the_same_as_before_and_quotes_one() {
        let quoting = r#"{"choices":[{"index":0,"delta":{"content":"\",\"usage\":{"}}],"usage":"#;
        let odd = format!(r#"{quoting}{{"prompt_tokens":1.5,"completion_tokens":1.5}}}}"#);
        let null = format!("{quoting}null}}");
        let told_of = format!(r#"{quoting}{{"prompt_tokens":7,"completion_tokens":2}}}}"#);
        for before in [&odd, &null] {
            let (content, usage, _) = told::<OpenAiReader>(&[before, before, &told_of]);
            assert_eq!(content, [true; 3]);
            // In a chunk with content it is a running count.
            assert_eq!(usage, Some(Usage::new(7, 2).estimated()));
        }
        let finished =
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
        let (_, usage, whole) = told::<OpenAiReader>(&[&null, finished, &told_of]);
        assert_eq!((usage, whole), (Some(Usage::new(7, 2)), true));
    }

    #[test]
    fn an_event_is_read_whose_first_part_ends_in_a_longer_number_than_that_of_another() {
        let event = |created: &str, rest: &str| {
            format!(
                r#"{{"created":{created},"choices":[{{"index":0,"delta":{{"content":"a"}}{rest}}}]}}"#
            )
        };
        let end = r#","finish_reason":"stop""#;
        let (content, _, whole) =
            told::<OpenAiReader>(&[&event("1", ""), &event("12", ""), &event("123", end)]);
        assert_eq!((content, whole), (vec![true; 3], true));
    }

    #[test]
    fn what_is_told_twice_or_out_of_place_is_read_each_time() {
        let two = |a, b| {
            let choice = |n| format!(r#"{{"index":{n},"delta":{{"content":"a"}}}}"#);
            format!(r#"{{"choices":[{},{}]}}"#, choice(a), choice(b))
        };
        let end =
            |n| format!(r#"{{"choices":[{{"index":{n},"delta":{{}},"finish_reason":"stop"}}]}}"#);
        let (_, _, whole) = told::<OpenAiReader>(&[
            &two("1.5", "2.5"),
            &two("3.5", "4.5"),
            &two("1", "2"),
            &end("2"),
        ]);
        assert!(!whole, "the first of the choices has no end");

        let delta = |n: u8| {
            format!(
                r#"{{"type":"content_block_delta","delta":{{"text":"a"}},"usage":{{"output_tokens":{n}}}}}"#
            )
        };
        let (_, usage, _) = told::<AnthropicReader>(&[&delta(1), &delta(9), &delta(1)]);
        assert_eq!(usage, Some(Usage::new(0, 1).estimated()));

        let chunk = |a: u8, b: u8| {
            format!(r#"{{"usageMetadata":{{"promptTokenCount":{a},"promptTokenCount":{b}}}}}"#)
        };
        let (_, usage, _) = told::<GeminiReader>(&[&chunk(1, 5), &chunk(2, 5), &chunk(3, 5)]);
        assert_eq!(usage, Some(Usage::new(5, 0)));
    }

    #[test]
    fn a_blank_line_after_the_last_event_is_no_cut_though_there_was_no_data() {
        let finished = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n";
        for (after, whole) in [("event: x\n\n", true), ("event: x\n", false)] {
            let stream = [finished, after].concat();
            agree::<GeminiReader>(stream.as_bytes(), &[]).unwrap();
            let mut meter = StreamMeter::new(GeminiReader::default(), false);
            meter.chunk(&Bytes::from(stream));
            assert_eq!(meter.verdict(true).is_some(), whole, "{after:?}");
        }
    }

    #[test]
    fn what_comes_after_the_terminator_is_no_content_in_the_same_chunk_either() {
        let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        let mut meter = StreamMeter::new(OpenAiReader::default(), false);
        assert!(meter.chunk(&Bytes::from(event.repeat(2))).is_content());
        let end = format!("data: [DONE]\n\n{event}");
        assert!(!meter.chunk(&Bytes::from(end)).is_content());
        assert!(meter.verdict(false).is_some());
    }

    #[test]
    fn an_event_like_the_two_before_it_is_compared_and_not_read() {
        fn compared<R: Reader + Default>(event: &str) {
            let mut meter = StreamMeter::new(R::default(), false);
            let frame = |text: &str, number: &str| {
                let data = event.replace("TEXT", text).replace("NUMBER", number);
                Bytes::from(format!("data: {data}\n\n"))
            };
            meter.chunk(&frame("one", "1"));
            meter.chunk(&frame("two", "22"));
            assert!(meter.shapes.find(&frame("three", "3")).is_some(), "{event}");
        }
        for event in &EVENTS[..5] {
            compared::<OpenAiReader>(event);
        }
        for event in &EVENTS[12..15] {
            compared::<AnthropicReader>(event);
        }
        for event in &EVENTS[18..20] {
            compared::<GeminiReader>(event);
        }
    }

    proptest! {
        #[test]
        fn to_compare_events_is_as_good_as_to_read_them(
            events in proptest::collection::vec(event(), 0..24),
            splits in proptest::collection::vec(any::<Index>(), 0..12),
        ) {
            let stream = events.concat();
            agree::<OpenAiReader>(&stream, &splits)?;
            agree::<AnthropicReader>(&stream, &splits)?;
            agree::<GeminiReader>(&stream, &splits)?;
        }

        #[test]
        fn no_bytes_make_it_panic(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10),
        ) {
            let mut meter = StreamMeter::new(OpenAiReader::default(), false);
            for chunk in chunks {
                meter.chunk(&chunk.into());
            }
        }
    }
}
