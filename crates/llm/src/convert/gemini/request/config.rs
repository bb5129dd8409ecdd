use super::read::read_texts;
use crate::{
    convert::{
        error::Wrong,
        gemini::schema::translate,
        model::{Budget, Output, Own, Reasoning, Request},
        own::{hint, matters, unknown},
        read::{Numbers, Reader},
        text::{Raw, Text},
    },
    json::Kind,
};

/// What says something of the form of the reply.
#[derive(Debug, Default)]
struct Form<'a> {
    mime: Option<Text<'a>>,
    schema: Option<Raw<'a>>,
    /// Whether probabilities are told, and of how many tokens.
    told: Option<usize>,
    logprobs: Option<Raw<'a>>,
}

/// Reads a `generationConfig`.
pub(super) fn read_config<'a>(
    json: &mut Reader<'a>,
    request: &mut Request<'a>,
    own: &mut Vec<Own>,
) {
    let mut form = Form::default();
    json.object_in_any_case(|json, name| {
        let at = json.at();
        if json.null() {
            return;
        }
        match name {
            "temperature" => request.temperature = Some(json.number(Numbers::UP_TO_2)),
            "topP" => request.top_p = Some(json.number(Numbers::UP_TO_1)),
            "topK" => request.top_k = Some(json.number(Numbers::COUNT)),
            "seed" => request.seed = Some(json.number(Numbers::WHOLE)),
            "presencePenalty" => {
                request.presence_penalty = unless_zero(json.number(Numbers::PENALTY))
            }
            "frequencyPenalty" => {
                request.frequency_penalty = unless_zero(json.number(Numbers::PENALTY))
            }
            "maxOutputTokens" => request.max_tokens = Some(json.number(Numbers::COUNT)),
            "candidateCount" => {
                let count = json.number(Numbers::SOME);
                request.candidates = (count.written() != "1").then_some(count);
            }
            "stopSequences" => request.stop = read_texts(json),
            "thinkingConfig" => request.reasoning = read_thinking(json, own),
            "responseMimeType" => form.mime = Some(json.text()),
            "responseSchema" => form.schema(json, at, |json| translate(&json.raw_object())),
            "responseJsonSchema" => form.schema(json, at, Reader::raw_object),
            "responseLogprobs" => form.told = json.bool().then_some(at),
            "logprobs" => form.logprobs = Some(json.number(Numbers::COUNT)),
            "responseModalities" => {
                let modalities = read_texts(json);
                let is_text = |word: &Text<'_>| word.decode().eq_ignore_ascii_case("TEXT");
                if !modalities.iter().all(is_text) {
                    own.push(matters(at));
                }
            }
            // How closely to look.
            "mediaResolution" => {
                if json.text().decode() != "MEDIA_RESOLUTION_UNSPECIFIED" {
                    own.push(hint(at));
                }
            }
            "audioTimestamp" | "enableEnhancedCivicAnswers" | "enableAffectiveDialog"
                if json.kind() == Kind::Bool =>
            {
                if json.bool() {
                    own.push(matters(at));
                }
            }
            _ => unknown(json, own),
        }
    });
    form.finish(json, request, own);
}

// ===== impl Form =====

impl<'a> Form<'a> {
    fn schema(
        &mut self,
        json: &mut Reader<'a>,
        at: usize,
        read: impl FnOnce(&mut Reader<'a>) -> Raw<'a>,
    ) {
        if self.schema.replace(read(json)).is_some() {
            let expected = "the only schema of the reply";
            json.fail(at, Wrong::Value { expected });
        }
    }

    fn finish(self, json: &mut Reader<'a>, request: &mut Request<'a>, own: &mut Vec<Own>) {
        let at = self.mime.as_ref().map(Text::at).unwrap_or_default();
        let mime = self.mime.as_ref().map(Text::decode);
        match (mime.as_deref(), self.schema) {
            (None | Some("application/json"), Some(schema)) => {
                request.output = Output::Schema {
                    name: None,
                    description: None,
                    schema,
                    strict: None,
                };
            }
            (Some("application/json"), None) => request.output = Output::Json { at },
            (None | Some("" | "text/plain"), None) => {}
            // One of the words of a schema.
            (Some("text/x.enum"), _) => own.push(matters(at)),
            (Some("" | "text/plain"), Some(_)) => {
                let expected = "`application/json` where there is a schema";
                json.fail(at, Wrong::Value { expected });
            }
            (Some(_), _) => {
                let expected = "`text/plain`, `application/json` or `text/x.enum`";
                json.fail(at, Wrong::Value { expected });
            }
        }
        match (self.told, self.logprobs) {
            (Some(at), logprobs) => {
                request.logprobs = Some(logprobs.unwrap_or(Raw::new("0", at)));
            }
            (None, Some(logprobs)) if logprobs.written() != "0" => {
                let expected = "left out where `responseLogprobs` is not true";
                json.fail(logprobs.at(), Wrong::Value { expected });
            }
            (None, _) => {}
        }
    }
}

fn read_thinking<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Reasoning<'a> {
    let (mut budget, mut level, mut told) = (None, None, false);
    json.object_in_any_case(|json, name| match name {
        "thinkingBudget" => budget = json.number_or_null(Numbers::WHOLE),
        "thinkingLevel" => level = json.text_or_null(),
        "includeThoughts" => told = json.bool_or_null().unwrap_or_default(),
        _ => unknown(json, own),
    });
    let effort = level.and_then(|level| read_level(json, &level));
    if let (Some(budget), Some(_)) = (&budget, &effort) {
        let expected = "left out where there is a `thinkingLevel`";
        json.fail(budget.at(), Wrong::Value { expected });
    }
    let budget = match budget {
        None => Budget::Unsaid,
        Some(tokens) => match tokens.written().parse::<i64>() {
            Ok(0) => Budget::Off,
            Ok(-1) => Budget::Adaptive,
            Ok(1..) => Budget::Tokens(tokens),
            _ => {
                let expected = "a whole number of -1 or more";
                json.fail(tokens.at(), Wrong::Number { expected });
                Budget::Unsaid
            }
        },
    };
    Reasoning {
        effort,
        budget,
        told: Some(told),
    }
}

/// A level in the words that all have. `None`: as the model likes.
fn read_level(json: &mut Reader<'_>, level: &Text<'_>) -> Option<Text<'static>> {
    let word = level.decode().to_ascii_lowercase();
    match &*word {
        "thinking_level_unspecified" | "" => None,
        "minimal" | "low" | "medium" | "high" | "xhigh" => Some(Text::of(&word).placed(level.at())),
        _ => {
            let expected = "`MINIMAL`, `LOW`, `MEDIUM`, `HIGH` or `XHIGH`";
            json.fail(level.at(), Wrong::Value { expected });
            None
        }
    }
}

/// A penalty of nothing says nothing.
fn unless_zero(number: Raw<'_>) -> Option<Raw<'_>> {
    (number.written().parse() != Ok(0.0)).then_some(number)
}
