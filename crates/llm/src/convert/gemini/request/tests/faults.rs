use super::{HELLO, parts, read};
use crate::convert::{
    ConvertError,
    error::path,
    model::{PartKind, Weight},
};

/// The fields that only Gemini knows, with what they weigh.
fn own(text: &str) -> Vec<(String, Weight)> {
    let request = read(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let own = request.own.iter();
    own.map(|own| (path(text, own.at), own.weight)).collect()
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    for (text, field, what) in [
        ("[]", "", "must be an object, but is an array"),
        ("{}", "", "must have `contents`"),
        (r#"{"contents":null}"#, "", "must have `contents`"),
        (
            r#"{"contents":[]}"#,
            "contents",
            "must be an array of at least one content",
        ),
        (
            r#"{"contents":{}}"#,
            "contents",
            "must be an array, but is an object",
        ),
        (
            r#"{"contents":["x"]}"#,
            "contents[0]",
            "must be an object, but is a string",
        ),
        (r#"{"contents":[{}]}"#, "contents[0]", "must have `parts`"),
        (
            r#"{"contents":[{"parts":[]}]}"#,
            "contents[0].parts",
            "must be an array of at least one part",
        ),
        (
            r#"{"contents":[{"parts":[{}]}]}"#,
            "contents[0].parts[0]",
            "must have `text`",
        ),
        (
            r#"{"contents":[{"parts":[{"text":1}]}]}"#,
            "contents[0].parts[0].text",
            "must be a string, but is a number",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"a","functionCall":{"name":"f"}}]}]}"#,
            "contents[0].parts[0].functionCall",
            "must be the only data of its part",
        ),
        (
            r#"{"contents":[{"parts":[{"text":"a","thought":1}]}]}"#,
            "contents[0].parts[0].thought",
            "must be a boolean, but is a number",
        ),
        (
            r#"{"contents":[{"role":"assistant","parts":[{"text":"a"}]}]}"#,
            "contents[0].role",
            "must be `user` or `model`",
        ),
        (
            r#"{"contents":[{"parts":[{"inlineData":{"data":""}}]}]}"#,
            "contents[0].parts[0].inlineData",
            "must have `mimeType`",
        ),
        (
            r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"a/b"}}]}]}"#,
            "contents[0].parts[0].inlineData",
            "must have `data`",
        ),
        (
            r#"{"contents":[{"parts":[{"fileData":{}}]}]}"#,
            "contents[0].parts[0].fileData",
            "must have `fileUri`",
        ),
        (
            r#"{"contents":[{"parts":[{"functionCall":{}}]}]}"#,
            "contents[0].parts[0].functionCall",
            "must have `name`",
        ),
        (
            r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":"{}"}}]}]}"#,
            "contents[0].parts[0].functionCall.args",
            "must be an object, but is a string",
        ),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"response":{}}}]}]}"#,
            "contents[0].parts[0].functionResponse",
            "must have `name`",
        ),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f"}}]}]}"#,
            "contents[0].parts[0].functionResponse",
            "must have `response`",
        ),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":{}}}]}]}"#,
            "contents[0].parts[0]",
            "must be the result of a call that was made before",
        ),
        (
            r#"{"contents":[{"parts":[{"functionResponse":{"name":"f","response":"x"}}]}]}"#,
            "contents[0].parts[0].functionResponse.response",
            "must be an object, but is a string",
        ),
    ] {
        let error = read(text).unwrap_err();
        let expected = ConvertError::Invalid {
            field: field.to_owned(),
            what: what.to_owned(),
        };
        assert_eq!(error, expected, "{text}");
    }
    for (member, field, what) in [
        (
            r#""tools":{}"#,
            "tools",
            "must be an array, but is an object",
        ),
        (
            r#""tools":[{"functionDeclarations":[{}]}]"#,
            "tools[0].functionDeclarations[0]",
            "must have `name`",
        ),
        (
            r#""tools":[{"functionDeclarations":[{"name":"f","parameters":{},"parametersJsonSchema":{}}]}]"#,
            "tools[0].functionDeclarations[0].parametersJsonSchema",
            "must be the only schema of the parameters",
        ),
        (
            r#""toolConfig":{"functionCallingConfig":{"mode":"SOME"}}"#,
            "toolConfig.functionCallingConfig.mode",
            "must be `AUTO`, `ANY`, `NONE` or `VALIDATED`",
        ),
        (
            r#""generationConfig":{"topP":"1"}"#,
            "generationConfig.topP",
            "must be a number from 0 to 1, but is a string",
        ),
        (
            r#""generationConfig":{"maxOutputTokens":1.5}"#,
            "generationConfig.maxOutputTokens",
            "must be a whole number of 0 or more, but is 1.5",
        ),
        (
            r#""generationConfig":{"stopSequences":"x"}"#,
            "generationConfig.stopSequences",
            "must be an array, but is a string",
        ),
        (
            r#""generationConfig":{"logprobs":3}"#,
            "generationConfig.logprobs",
            "must be left out where `responseLogprobs` is not true",
        ),
        (
            r#""generationConfig":{"responseMimeType":"a/b"}"#,
            "generationConfig.responseMimeType",
            "must be `text/plain`, `application/json` or `text/x.enum`",
        ),
        (
            r#""generationConfig":{"responseMimeType":"text/plain","responseSchema":{}}"#,
            "generationConfig.responseMimeType",
            "must be `application/json` where there is a schema",
        ),
        (
            r#""generationConfig":{"responseSchema":{},"responseJsonSchema":{}}"#,
            "generationConfig.responseJsonSchema",
            "must be the only schema of the reply",
        ),
        (
            r#""generationConfig":{"thinkingConfig":{"thinkingBudget":-2}}"#,
            "generationConfig.thinkingConfig.thinkingBudget",
            "must be a whole number of -1 or more, but is -2",
        ),
        (
            r#""generationConfig":{"thinkingConfig":{"thinkingLevel":"MUCH"}}"#,
            "generationConfig.thinkingConfig.thinkingLevel",
            "must be `MINIMAL`, `LOW`, `MEDIUM`, `HIGH` or `XHIGH`",
        ),
        (
            r#""generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW","thinkingBudget":1}}"#,
            "generationConfig.thinkingConfig.thinkingBudget",
            "must be left out where there is a `thinkingLevel`",
        ),
        (
            r#""generationConfig":{"top_p":1,"topP":1}"#,
            "generationConfig.topP",
            "comes a second time",
        ),
    ] {
        let text = format!("{{{HELLO},{member}}}");
        let error = read(&text).unwrap_err();
        let expected = ConvertError::Invalid {
            field: field.to_owned(),
            what: what.to_owned(),
        };
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn what_only_gemini_knows_is_named_with_its_weight() {
    use Weight::{Hint, Matters};
    for (member, expected) in [
        (
            r#""safetySettings":[{"category":"X","threshold":"Y"}]"#,
            Some(("safetySettings", Matters)),
        ),
        (r#""safetySettings":[]"#, None),
        (
            r#""cachedContent":"cachedContents/1""#,
            Some(("cachedContent", Matters)),
        ),
        (r#""cachedContent":null"#, None),
        (r#""labels":{"a":"b"}"#, Some(("labels", Hint))),
        (r#""serviceTier":"flex""#, Some(("serviceTier", Hint))),
        (r#""store":true"#, Some(("store", Hint))),
        (r#""model":"models/x""#, None),
        (r#""new":1"#, Some(("new", Matters))),
        (
            r#""tools":[{"googleSearch":{}}]"#,
            Some(("tools[0].googleSearch", Matters)),
        ),
        (r#""tools":[{"functionDeclarations":null}]"#, None),
        (
            r#""tools":[{"functionDeclarations":[{"name":"f","behavior":"BLOCKING"}]}]"#,
            None,
        ),
        (
            r#""tools":[{"functionDeclarations":[{"name":"f","behavior":"NON_BLOCKING"}]}]"#,
            Some(("tools[0].functionDeclarations[0].behavior", Matters)),
        ),
        (
            r#""tools":[{"functionDeclarations":[{"name":"f","responseJsonSchema":{}}]}]"#,
            Some((
                "tools[0].functionDeclarations[0].responseJsonSchema",
                Matters,
            )),
        ),
        (
            r#""toolConfig":{"retrievalConfig":{}}"#,
            Some(("toolConfig.retrievalConfig", Matters)),
        ),
        (
            r#""toolConfig":{"includeServerSideToolInvocations":false}"#,
            None,
        ),
        (
            r#""toolConfig":{"includeServerSideToolInvocations":true}"#,
            Some(("toolConfig.includeServerSideToolInvocations", Matters)),
        ),
        (
            r#""toolConfig":{"functionCallingConfig":{"mode":"AUTO","allowedFunctionNames":["f"]}}"#,
            Some((
                "toolConfig.functionCallingConfig.allowedFunctionNames",
                Matters,
            )),
        ),
        (
            r#""toolConfig":{"functionCallingConfig":{"streamFunctionCallArguments":true}}"#,
            Some((
                "toolConfig.functionCallingConfig.streamFunctionCallArguments",
                Hint,
            )),
        ),
        (
            r#""generationConfig":{"responseModalities":["TEXT"]}"#,
            None,
        ),
        (
            r#""generationConfig":{"responseModalities":["TEXT","IMAGE"]}"#,
            Some(("generationConfig.responseModalities", Matters)),
        ),
        (
            r#""generationConfig":{"mediaResolution":"MEDIA_RESOLUTION_LOW"}"#,
            Some(("generationConfig.mediaResolution", Hint)),
        ),
        (
            r#""generationConfig":{"speechConfig":{}}"#,
            Some(("generationConfig.speechConfig", Matters)),
        ),
        (r#""generationConfig":{"audioTimestamp":false}"#, None),
        (
            r#""generationConfig":{"enableEnhancedCivicAnswers":true}"#,
            Some(("generationConfig.enableEnhancedCivicAnswers", Matters)),
        ),
        (
            r#""generationConfig":{"responseMimeType":"text/x.enum","responseSchema":{"enum":["a"]}}"#,
            Some(("generationConfig.responseMimeType", Matters)),
        ),
        (
            r#""generationConfig":{"presencePenalty":0,"candidateCount":1,"responseMimeType":"text/plain","responseLogprobs":false}"#,
            None,
        ),
        (
            r#""generationConfig":{"thinkingConfig":{"new":1}}"#,
            Some(("generationConfig.thinkingConfig.new", Matters)),
        ),
    ] {
        let text = format!("{{{HELLO},{member}}}");
        let expected: Vec<_> = expected
            .map(|(field, weight)| (field.to_owned(), weight))
            .into_iter()
            .collect();
        assert_eq!(own(&text), expected, "{text}");
    }
    for (part, expected) in [
        (
            r#"{"text":"a","videoMetadata":{"fps":1}}"#,
            ("videoMetadata", Matters),
        ),
        (r#"{"text":"a","partMetadata":{}}"#, ("partMetadata", Hint)),
        (
            r#"{"text":"a","mediaResolution":{}}"#,
            ("mediaResolution", Hint),
        ),
        (r#"{"new":{}}"#, ("new", Matters)),
        (
            r#"{"inlineData":{"mimeType":"image/png","data":"","new":1}}"#,
            ("inlineData.new", Matters),
        ),
        (
            r#"{"inlineData":{"mimeType":"image/png","data":""},"thoughtSignature":"AAAA"}"#,
            ("thoughtSignature", Hint),
        ),
        (
            r#"{"functionCall":{"name":"f","willContinue":true}}"#,
            ("functionCall.willContinue", Matters),
        ),
    ] {
        let text = format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#);
        let (field, weight) = expected;
        let field = format!("contents[0].parts[0].{field}");
        assert_eq!(own(&text), [(field, weight)], "{text}");
    }
}

#[test]
fn parts_that_nobody_else_has_are_named_as_such() {
    for part in [
        r#"{"executableCode":{"language":"PYTHON","code":"1"}}"#,
        r#"{"codeExecutionResult":{"outcome":"OUTCOME_OK"}}"#,
        r#"{"toolCall":{}}"#,
        r#"{"toolResponse":{}}"#,
        r#"{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}"#,
        r#"{"fileData":{"fileUri":"https://www.youtube.com/watch?v=1"}}"#,
        r#"{"new":{}}"#,
    ] {
        let text = format!(r#"{{"contents":[{{"parts":[{part}]}}]}}"#);
        let request = read(&text).unwrap();
        assert!(matches!(parts(&request)[0].kind, PartKind::Own), "{part}");
    }
}
