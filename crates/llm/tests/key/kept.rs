//! Which replies may be given again.

use buttress_llm::{
    Dialect,
    key::{ChatKeys, Shared, Uncacheable},
};

use super::{request, shared};

fn cacheable(dialect: Dialect, body: &str) -> Result<(), Uncacheable> {
    let request = request(dialect, body);
    shared(dialect).read(&request).unwrap().cacheable()
}

#[test]
fn c7_only_a_temperature_of_zero_is_kept_by_default() {
    for (temperature, kept) in [
        ("0", true),
        ("0.0", true),
        ("-0", true),
        ("0e5", true),
        ("0.00", true),
        ("0.1", false),
        ("1", false),
        ("1e-9", false),
        ("-1", false),
        ("null", false),
        ("\"0\"", false),
        ("[]", false),
    ] {
        let expected = if kept {
            Ok(())
        } else {
            Err(Uncacheable::Sampled)
        };
        let body = format!(r#"{{"temperature":{temperature}}}"#);
        assert_eq!(cacheable(Dialect::OpenAi, &body), expected, "{body}");
        assert_eq!(cacheable(Dialect::Anthropic, &body), expected, "{body}");
        let body = format!(r#"{{"generationConfig":{body}}}"#);
        assert_eq!(cacheable(Dialect::Gemini, &body), expected, "{body}");
    }
    for dialect in Dialect::ALL {
        assert_eq!(cacheable(dialect, "{}"), Err(Uncacheable::Sampled));
    }
    // Gemini's is nowhere else.
    assert_eq!(
        cacheable(Dialect::Gemini, r#"{"temperature":0}"#),
        Err(Uncacheable::Sampled)
    );
}

#[test]
fn c7_tools_several_replies_and_effects_are_not_kept() {
    let cases = [
        (Dialect::OpenAi, r#""n":1"#, Ok(())),
        (Dialect::OpenAi, r#""n":null"#, Ok(())),
        (Dialect::OpenAi, r#""n":2"#, Err(Uncacheable::Several)),
        (Dialect::OpenAi, r#""tools":[]"#, Ok(())),
        (Dialect::OpenAi, r#""tools":null"#, Ok(())),
        (Dialect::OpenAi, r#""tools":[{}]"#, Err(Uncacheable::Tools)),
        (
            Dialect::OpenAi,
            r#""functions":[{}]"#,
            Err(Uncacheable::Tools),
        ),
        (
            Dialect::OpenAi,
            r#""functions":[{}],"tools":[]"#,
            Err(Uncacheable::Tools),
        ),
        (Dialect::OpenAi, r#""store":false"#, Ok(())),
        (
            Dialect::OpenAi,
            r#""store":true"#,
            Err(Uncacheable::Effect("store")),
        ),
        (
            Dialect::OpenAi,
            r#""web_search_options":{}"#,
            Err(Uncacheable::Effect("web_search_options")),
        ),
        (
            Dialect::Anthropic,
            r#""tools":[{}]"#,
            Err(Uncacheable::Tools),
        ),
        (Dialect::Anthropic, r#""mcp_servers":[]"#, Ok(())),
        (
            Dialect::Anthropic,
            r#""mcp_servers":[{}]"#,
            Err(Uncacheable::Effect("mcp_servers")),
        ),
        (
            Dialect::Anthropic,
            r#""container":"c""#,
            Err(Uncacheable::Effect("container")),
        ),
    ];
    for (dialect, member, expected) in cases {
        let body = format!(r#"{{"temperature":0,{member}}}"#);
        assert_eq!(cacheable(dialect, &body), expected, "{body}");
    }
    let gemini = |rest: &str| {
        let body = format!(r#"{{"generationConfig":{{"temperature":0{rest}"#);
        cacheable(Dialect::Gemini, &body)
    };
    assert_eq!(gemini(r#","candidateCount":1}}"#), Ok(()));
    assert_eq!(
        gemini(r#","candidateCount":2}}"#),
        Err(Uncacheable::Several)
    );
    assert_eq!(
        gemini(r#"},"tools":[{"googleSearch":{}}]}"#),
        Err(Uncacheable::Tools)
    );
}

#[test]
fn c7_what_is_asked_for_is_kept_and_effects_never_are() {
    let read = |keys: &ChatKeys<Shared>, body| {
        let request = request(Dialect::OpenAi, body);
        keys.read(&request).unwrap().cacheable()
    };
    let sampled = shared(Dialect::OpenAi).sampled(true);
    assert_eq!(read(&sampled, "{}"), Ok(()));
    assert_eq!(read(&sampled, r#"{"temperature":1,"n":3}"#), Ok(()));
    assert_eq!(read(&sampled, r#"{"tools":[{}]}"#), Err(Uncacheable::Tools));
    let tools = shared(Dialect::OpenAi).tools(true);
    assert_eq!(read(&tools, r#"{"tools":[{}]}"#), Err(Uncacheable::Sampled));
    assert_eq!(read(&tools, r#"{"tools":[{}],"temperature":0}"#), Ok(()));
    let both = sampled.tools(true);
    assert_eq!(
        read(&both, r#"{"store":true}"#),
        Err(Uncacheable::Effect("store"))
    );
}
