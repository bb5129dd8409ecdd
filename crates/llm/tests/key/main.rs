//! The key of a chat: what makes it another, and what does not.

mod asked;
mod kept;
mod naive;

use std::borrow::Cow;

use buttress_llm::{
    Dialect,
    key::{Bypass, Chat, ChatKey, ChatKeys, Head, Shared},
};
use http::{HeaderName, Request};
use proptest::prelude::*;

use self::naive::{Choices, Fault, Tree};

const SECRET: [u8; 16] = *b"a secret of ours";

fn shared(dialect: Dialect) -> ChatKeys<Shared> {
    ChatKeys::shared(dialect).secret(&SECRET)
}

fn request(dialect: Dialect, body: &str) -> Request<&str> {
    let uri = match dialect {
        Dialect::OpenAi => "https://api.test/v1/chat/completions",
        Dialect::Anthropic => "https://api.test/v1/messages",
        _ => "https://api.test/v1beta/models/gemini-2.5-pro:generateContent",
    };
    Request::post(uri).body(body).unwrap()
}

/// The key of a body in a dialect, for everybody.
fn of(dialect: Dialect, body: &str) -> Result<ChatKey, Bypass> {
    let request = request(dialect, body);
    let chat = shared(dialect).read(&request);
    chat.map(|chat| chat.key())
}

fn openai(body: &str) -> ChatKey {
    of(Dialect::OpenAi, body).unwrap()
}

fn with<'a>(body: &'a str, headers: &[(&str, &str)]) -> Request<&'a str> {
    let mut request = request(Dialect::OpenAi, body);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

const CHAT: &str =
    r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi"}]}"#;

#[test]
fn c6_key_order_and_whitespace_are_a_hit_at_every_depth() {
    let same = "\r\n{ \"messages\" : [ {\"content\":\"Hi\",\t\"role\":\"user\"} ],\"temperature\":0, \"model\":\"gpt-4.1-nano\" } ";
    assert_eq!(openai(CHAT), openai(same));
    for [one, same] in [
        [r#"{"x":"1"}"#, r#"{"x": "1"}"#],
        [r#"{"x":"1"}"#, r#"{"x" :"1"}"#],
        [r#"{"x":1}"#, "{\"x\":\t1}"],
        [r#"{"x":true}"#, r#"{"x" : true}"#],
        [r#"{"x":"1"}"#, r#"{"\u0078":"1"}"#],
    ] {
        assert_eq!(openai(one), openai(same), "{same}");
    }
}

#[test]
fn c6_another_body_field_known_or_unknown_is_a_miss() {
    let mut seen = vec![openai(CHAT)];
    for other in [
        r#"{"model":"gpt-4.1-mini","temperature":0,"messages":[{"role":"user","content":"Hi"}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":1,"messages":[{"role":"user","content":"Hi"}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi "}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"system","content":"Hi"}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":["Hi"]}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi"}],"seed":1}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi"}],"x_unknown":null}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi","x":[]}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi","x":{}}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi"},{}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[]}"#,
        // Left out at the top, and not within.
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi","user":"u"}]}"#,
        r#"{"model":"gpt-4.1-nano","temperature":0,"messages":[{"role":"user","content":"Hi","stream":true}]}"#,
    ] {
        let key = openai(other);
        assert!(!seen.contains(&key), "{other}");
        seen.push(key);
    }
}

#[test]
fn c6_numbers_that_are_written_otherwise_never_alias() {
    let numbers = [
        "1", "1.0", "1e0", "1E0", "1e+0", "10e-1", "-1", "\"1\"", "true", "[1]",
    ];
    let keys: Vec<_> = numbers
        .iter()
        .map(|number| openai(&format!(r#"{{"seed":{number}}}"#)))
        .collect();
    for (k, key) in keys.iter().enumerate() {
        assert!(!keys[..k].contains(key), "{}", numbers[k]);
    }
}

#[test]
fn c6_duplicate_keys_have_no_key_at_any_depth_and_however_they_are_written() {
    for body in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"\/":1,"/":2}"#,
        r#"{"messages":[{"role":"user","role":"system"}]}"#,
        r#"{"x":{"y":{"z":1,"z":1}}}"#,
        // Also of what is left out.
        r#"{"user":"a","user":"b"}"#,
    ] {
        assert_eq!(of(Dialect::OpenAi, body), Err(Bypass::Duplicate), "{body}");
    }
    // The same name in two objects is none.
    openai(r#"{"a":{"a":1},"b":{"a":1}}"#);
}

#[test]
fn c6_the_edge_of_a_value_cannot_be_moved() {
    let pairs = [
        (r#"{"a":"b","c":"d"}"#, r#"{"a":"b\",\"c\":\"d"}"#),
        (r#"{"x":["a","b"]}"#, r#"{"x":["ab"]}"#),
        (r#"{"x":["a",["b"]]}"#, r#"{"x":[["a"],"b"]}"#),
        (r#"{"x":[[],[]]}"#, r#"{"x":[[[]]]}"#),
        (r#"{"x":[{},{}]}"#, r#"{"x":[{"":{}}]}"#),
        (r#"{"x":{"a":1,"b":2}}"#, r#"{"x":{"a":1},"b":2}"#),
        (r#"{"ab":""}"#, r#"{"a":"b"}"#),
        (r#"{"x":"\\u0061"}"#, r#"{"x":"\u0061"}"#),
        (r#"{"x":"\ud83d"}"#, r#"{"x":"\\ud83d"}"#),
        (r#"{"x":"\ud83d\\ude00"}"#, r#"{"x":"\ud83d\ude00"}"#),
        (r#"{"x":[12]}"#, r#"{"x":[1,2]}"#),
        (r#"{"x":"1"}"#, r#"{"x":1}"#),
        (r#"{"a\":\"b":"c"}"#, r#"{"a":"b\":\"c"}"#),
        (r#"{"a\":1":2}"#, r#"{"a":"1\":2"}"#),
    ];
    for (one, other) in pairs {
        assert_ne!(openai(one), openai(other), "{one} and {other}");
    }
}

#[test]
fn c6_what_says_only_how_the_reply_comes_is_left_out_per_dialect() {
    let same = |dialect, one: &str, other: &str| {
        assert_eq!(of(dialect, one), of(dialect, other), "{other}");
    };
    for member in [
        r#""stream":true"#,
        r#""stream":null"#,
        r#""stream":true,"stream_options":{"include_usage":true}"#,
        r#""user":"u-1""#,
        r#""safety_identifier":"s""#,
        r#""prompt_cache_key":"k""#,
        r#""metadata":{"trace":"1"}"#,
    ] {
        same(
            Dialect::OpenAi,
            r#"{"model":"m"}"#,
            &format!(r#"{{{member},"model":"m"}}"#),
        );
    }
    for member in [r#""stream":true"#, r#""metadata":{"user_id":"u"}"#] {
        same(
            Dialect::Anthropic,
            r#"{"model":"m"}"#,
            &format!(r#"{{{member},"model":"m"}}"#),
        );
    }
    same(
        Dialect::Gemini,
        r#"{"contents":[]}"#,
        r#"{"contents":[],"labels":{"team":"a"}}"#,
    );
    // What is transport in one dialect is content in another.
    assert_ne!(
        of(Dialect::Anthropic, r#"{"model":"m"}"#),
        of(Dialect::Anthropic, r#"{"model":"m","user":"u"}"#)
    );
    assert_ne!(
        of(Dialect::Gemini, "{}"),
        of(Dialect::Gemini, r#"{"stream":true}"#)
    );
}

#[test]
fn c6_another_dialect_endpoint_or_route_is_a_miss() {
    let keys = shared(Dialect::OpenAi);
    let mut seen = Vec::new();
    for uri in [
        "https://api.test/v1/chat/completions",
        "http://api.test/v1/chat/completions",
        "https://api.test:8443/v1/chat/completions",
        "https://other.test/v1/chat/completions",
        "https://api.test/v2/chat/completions",
        "https://api.test/v1/chat/completions?api-version=1",
        "https://api.test/v1/chat/completions?api-version=2",
        "/v1/chat/completions",
    ] {
        let request = Request::post(uri).body(CHAT).unwrap();
        let key = keys.read(&request).unwrap().key();
        assert!(!seen.contains(&key), "{uri}");
        seen.push(key);
    }
    let dialects = [Dialect::OpenAi, Dialect::Anthropic];
    let [one, other] = dialects.map(|dialect| {
        let request = Request::post("/chat").body("{}").unwrap();
        shared(dialect).read(&request).unwrap().key()
    });
    assert_ne!(one, other);
}

#[test]
fn c6_headers_that_change_what_a_call_means_are_in_the_key_and_others_are_not() {
    let keys = shared(Dialect::OpenAi).header(HeaderName::from_static("x-route"));
    let key = |headers: &[(&str, &str)]| keys.read(&with(CHAT, headers)).unwrap().key();
    let plain = key(&[]);
    assert_eq!(
        plain,
        key(&[("accept", "text/event-stream"), ("traceparent", "00-1")])
    );
    // Nobody's credential matters where all is shared.
    assert_eq!(plain, key(&[("authorization", "Bearer sk-1")]));
    let mut seen = vec![plain];
    for header in [
        ("host", "a.test"),
        ("host", "b.test"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "2023-06-01"),
        ("openai-organization", "org"),
        ("openai-project", "org"),
        ("openai-beta", "org"),
        ("x-goog-user-project", "org"),
        ("x-route", "org"),
        ("x-route", ""),
    ] {
        let key = key(&[header]);
        assert!(!seen.contains(&key), "{header:?}");
        seen.push(key);
    }
}

#[test]
fn c6_another_credential_is_a_miss_wherever_it_stands() {
    let keys = ChatKeys::per_credential(Dialect::OpenAi).secret(&SECRET);
    assert_eq!(keys.read(&with(CHAT, &[])).unwrap_err(), Bypass::NoTenant);
    let mut seen = Vec::new();
    for header in [
        ("authorization", "Bearer a"),
        ("authorization", "Bearer b"),
        ("x-api-key", "a"),
        ("api-key", "a"),
        ("x-goog-api-key", "a"),
        ("cookie", "a"),
    ] {
        let request = with(CHAT, &[header]);
        let key = keys.read(&request).unwrap().key();
        assert_eq!(key, keys.read(&request).unwrap().key());
        assert!(!seen.contains(&key), "{header:?}");
        seen.push(key);
    }
    for uri in [
        "/v1/chat/completions?key=a",
        "/v1/chat/completions?key=b",
        "http://a:b@api.test/",
    ] {
        let request = Request::post(uri).body(CHAT).unwrap();
        let key = keys.read(&request).unwrap().key();
        assert!(!seen.contains(&key), "{uri}");
        seen.push(key);
    }
    // The order of headers does not matter; what stands in which does.
    let one = with(CHAT, &[("x-api-key", "a"), ("authorization", "b")]);
    let same = with(CHAT, &[("authorization", "b"), ("x-api-key", "a")]);
    let other = with(CHAT, &[("authorization", "a"), ("x-api-key", "b")]);
    let [one, same, other] = [one, same, other].map(|request| keys.read(&request).unwrap().key());
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[test]
fn s2_c6_another_tenant_is_a_miss_and_so_is_another_credential_of_the_same_tenant() {
    fn tenant<'a>(head: Head<'a>) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Borrowed(head.headers.get("x-team")?.as_bytes()))
    }
    let keys = ChatKeys::per_tenant(Dialect::OpenAi, tenant).secret(&SECRET);
    assert_eq!(keys.read(&with(CHAT, &[])).unwrap_err(), Bypass::NoTenant);
    let read = |headers: &[(&str, &str)]| {
        let request = with(CHAT, headers);
        let chat = keys.read(&request).unwrap();
        (chat.key(), chat.tags())
    };
    let (a, [a_tag, model]) = read(&[("x-team", "a")]);
    let (b, [b_tag, _]) = read(&[("x-team", "b")]);
    let (a_with, [a_with_tag, _]) = read(&[("x-team", "a"), ("authorization", "Bearer b")]);
    assert!(a != b && a != a_with && b != a_with);
    assert_eq!(a_tag, a_with_tag);
    assert_ne!(a_tag, b_tag);
    assert_eq!(a_tag, keys.tenant_tag_of(b"a"));
    assert_eq!(model, keys.model_tag("gpt-4.1-nano"));
    // A tenant and a credential of the same text are not each other.
    let (b_with, _) = read(&[("x-team", "b"), ("authorization", "Bearer a")]);
    assert_ne!(a_with, b_with);
}

#[test]
fn c6_gemini_s_key_is_that_of_the_model_and_not_of_how_the_reply_comes() {
    let keys = shared(Dialect::Gemini);
    let read = |uri: &str| {
        let request = Request::post(uri).body("{}").unwrap();
        let chat = keys.read(&request)?;
        let model = chat.model().map(str::to_owned);
        Ok::<_, Bypass>((chat.key(), chat.stream(), model))
    };
    let (whole, stream, model) = read("/v1beta/models/gemini-2.5-pro:generateContent").unwrap();
    assert_eq!((stream, model.as_deref()), (false, Some("gemini-2.5-pro")));
    let (streamed, stream, _) =
        read("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse").unwrap();
    assert!(stream);
    assert_eq!(whole, streamed);
    let (other, ..) = read("/v1beta/models/gemini-2.5-flash:generateContent").unwrap();
    assert_ne!(whole, other);
    assert_eq!(read("/v1beta/models/m:countTokens"), Err(Bypass::Method));
}

#[test]
fn what_is_no_request_has_no_key() {
    for body in ["", "[]", "\"a\"", "{", "{\"a\":1}}", "{\"a\":01}"] {
        let error = of(Dialect::OpenAi, body).unwrap_err();
        assert!(matches!(error, Bypass::Json(_)), "{body}: {error:?}");
    }
    for body in [r#"{"stream":"yes"}"#, r#"{"stream":1}"#] {
        assert_eq!(of(Dialect::OpenAi, body), Err(Bypass::Mistyped("stream")));
    }
    let body = r#"{"stream_options":{"include_usage":1}}"#;
    let error = of(Dialect::OpenAi, body).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`stream_options.include_usage` must be a boolean or null"
    );
}

#[test]
fn s4_s7_depth_and_the_number_of_values_are_bounded_exactly() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(of(Dialect::OpenAi, &nested(127)).is_ok());
    assert!(matches!(
        of(Dialect::OpenAi, &nested(128)),
        Err(Bypass::Json(_))
    ));
    assert!(matches!(
        of(Dialect::OpenAi, &nested(100_000)),
        Err(Bypass::Json(_))
    ));
    // An object and an array, and the rest are elements.
    let many = |elements: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(elements - 1));
    assert!(of(Dialect::OpenAi, &many(65_536 - 2)).is_ok());
    assert_eq!(
        of(Dialect::OpenAi, &many(65_536 - 1)),
        Err(Bypass::TooLarge)
    );
}

#[test]
fn what_else_there_is_to_know_is_read_in_the_same_pass() {
    let body =
        r#"{"model":"gpt\u002d4o \"x\"","stream":true,"stream_options":{"include_usage":true}}"#;
    let request = request(Dialect::OpenAi, body);
    let keys = shared(Dialect::OpenAi);
    let chat: Chat<'_> = keys.read(&request).unwrap();
    assert_eq!(chat.model(), Some("gpt-4o \"x\""));
    assert!(chat.stream() && chat.include_usage());
    assert_eq!(chat.tags()[1], keys.model_tag("gpt-4o \"x\""));
    let request = self::request(Dialect::OpenAi, r#"{"stream":true,"stream_options":null}"#);
    let chat = keys.read(&request).unwrap();
    assert!(chat.stream() && !chat.include_usage());
    assert_eq!(chat.model(), None);
}

#[test]
fn a_secret_that_is_given_makes_the_same_keys_in_every_process() {
    // Also in one of another version: a change of this number empties every shared store.
    let key = openai(CHAT).to_bytes();
    assert_eq!(
        u128::from_le_bytes(key),
        80_646_208_631_322_165_269_589_086_515_857_089_207
    );
    assert_eq!(ChatKey::from_bytes(key), openai(CHAT));
    let request = request(Dialect::OpenAi, CHAT);
    let other = ChatKeys::shared(Dialect::OpenAi);
    let [one, same] = [&other, &other.clone()].map(|keys| keys.read(&request).unwrap().key());
    assert_eq!(one, same);
    assert_ne!(one, openai(CHAT));
}

#[test]
fn s1_no_credential_or_text_is_printed() {
    let keys = ChatKeys::per_credential(Dialect::OpenAi);
    let request = with(
        r#"{"model":"m","messages":"canary-text"}"#,
        &[("authorization", "canary-key")],
    );
    let printed = format!("{:?} {:?}", keys, keys.read(&request).unwrap());
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn c6_a_string_that_is_none_of_json_s_is_only_itself() {
    let texts = [
        r#"{"x":"\u00e9"}"#,
        r#"{"x":"\u00zz"}"#,
        r#"{"x":"\u00"}"#,
        r#"{"x":"\u0000zz"}"#,
        r#"{"x":"\q"}"#,
        r#"{"x":"q"}"#,
        r#"{"x":"\\q"}"#,
        "{\"x\":\"\n\"}",
        r#"{"x":"\n"}"#,
        r#"{"x":"\ud83d\u00zz"}"#,
        r#"{"x":"\ud83d\\u00zz"}"#,
        r#"{"x":"\u00\u0031f"}"#,
        r#"{"x":"\u001f"}"#,
        r#"{"x":"\u\u0031"}"#,
        r#"{"x":"\u1"}"#,
        r#"{"x":"\q\u0061"}"#,
        r#"{"x":"\qa"}"#,
    ];
    let keys = texts.map(openai);
    for (k, key) in keys.iter().enumerate() {
        assert!(!keys[..k].contains(key), "{}", texts[k]);
    }
}

#[test]
fn c6_objects_of_many_members_are_sorted_as_those_of_few() {
    let counts = [1, 2, 7, 8, 9, 17, 40, 300];
    for (name, count) in counts
        .map(|n| ("m", n))
        .into_iter()
        .chain(counts.map(|n| ("long_name", n)))
    {
        let members: Vec<_> = (0..count).map(|k| format!("\"{name}{k}\":{k}")).collect();
        let body = |members: &[String]| format!("{{\"x\":{{{}}}}}", members.join(","));
        let mut turned = members.clone();
        turned.reverse();
        assert_eq!(openai(&body(&members)), openai(&body(&turned)), "{count}");
        turned.push(format!("\"{name}0\":0"));
        let twice = of(Dialect::OpenAi, &body(&turned));
        assert_eq!(twice, Err(Bypass::Duplicate), "{count}");
        turned.pop();
        turned[0] = format!("\"{name}\":0");
        assert_ne!(openai(&body(&members)), openai(&body(&turned)), "{count}");
    }
}

fn key_of(text: &str) -> Result<ChatKey, Bypass> {
    of(Dialect::Gemini, text)
}

proptest! {
    #[test]
    fn c6_every_way_to_write_a_body_is_the_same_key(tree in naive::tree(), seeds: [u64; 2]) {
        let [one, other] = seeds.map(|seed| {
            let mut text = String::new();
            tree.write(&mut Choices(seed), &mut text);
            text
        });
        let read = Tree::of(&one);
        prop_assert_eq!(read.as_ref(), Ok(&tree));
        prop_assert_eq!(key_of(&one).unwrap(), key_of(&other).unwrap(), "{} {}", one, other);
    }

    #[test]
    fn c6_two_bodies_have_the_same_key_only_if_they_are_the_same(
        one in naive::tree(), other in naive::tree(), seeds: [u64; 2],
    ) {
        let texts = [(&one, seeds[0]), (&other, seeds[1])].map(|(tree, seed)| {
            let mut text = String::new();
            tree.write(&mut Choices(seed), &mut text);
            text
        });
        let [key, other_key] = [&texts[0], &texts[1]].map(|text| key_of(text).unwrap());
        prop_assert_eq!(key == other_key, one == other, "{:?}", texts);
    }

    #[test]
    fn c6_a_byte_of_difference_is_judged_as_a_tree_judges_it(
        tree in naive::tree(),
        seed: u64,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, r#"[ab"\\/,:{}\[\]0-9eu. ]"#), 1..4),
    ) {
        let mut text = String::new();
        tree.write(&mut Choices(seed), &mut text);
        let mut other: Vec<char> = text.chars().collect();
        for (index, how, char) in edits {
            let at = index.index(other.len());
            let char = char.chars().next().unwrap();
            match how {
                0 => other[at] = char,
                1 => other.insert(at, char),
                _ if other.len() > 1 => { other.remove(at); }
                _ => {}
            }
        }
        let other: String = other.into_iter().collect();
        match (Tree::of(&other), key_of(&other)) {
            (Ok(found @ Tree::Object(_)), key) => {
                prop_assert_eq!(key_of(&text).unwrap() == key.unwrap(), found == tree, "{} {}", text, other);
            }
            (Ok(_), key) => prop_assert!(matches!(key, Err(Bypass::Json(_)))),
            (Err(Fault::Duplicate), key) => prop_assert_eq!(key, Err(Bypass::Duplicate)),
            // What stands between quotes is not judged, and is itself and nothing else.
            (Err(Fault::Syntax), Ok(key)) => prop_assert_ne!(key, key_of(&text).unwrap(), "{}", other),
            (Err(Fault::Syntax), key) => prop_assert!(!matches!(key, Err(Bypass::TooLarge))),
            // Half of a surrogate pair has a key, which is that of no other text.
            (Err(Fault::Text), Ok(key)) => prop_assert_ne!(key, key_of(&text).unwrap()),
            (Err(Fault::Text), Err(_)) => {}
        }
    }
}
