//! Where a chat is asked for, in each dialect.

use http::{Uri, uri::PathAndQuery};

use super::ConvertError;
use crate::{
    Dialect,
    gemini::{self, Target},
};

/// What the URI of a request for a chat says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// Model, and whether the reply is to be streamed, where the path says it, and not the body.
    pub(super) path: Option<(&'a str, bool)>,
}

// ===== impl Asked =====

impl<'a> Asked<'a> {
    /// What a caller of this dialect asks for at `uri`. `None`: no chat.
    ///
    /// A path of `/` says nothing, and may be one's own way to send a chat.
    pub(super) fn of(caller: Dialect, uri: &'a Uri) -> Option<Self> {
        let path = uri.path();
        let chat = match caller {
            Dialect::OpenAi => path.ends_with("/chat/completions"),
            Dialect::Anthropic => path.ends_with("/messages"),
            Dialect::Gemini => {
                let target = Target::of(uri)?;
                let known = ["generateContent", "streamGenerateContent"];
                return known.contains(&target.method()).then_some(Self {
                    path: Some((target.model(), target.stream())),
                });
            }
        };
        (chat || matches!(path, "" | "/")).then_some(Self::default())
    }

    /// Whether it asks for a stream that is one JSON array, as Gemini's is without `alt=sse`.
    pub(super) fn is_array(&self, uri: &Uri) -> bool {
        matches!(self.path, Some((_, true))) && !gemini::has_events(uri)
    }
}

/// The same host, at the path where `endpoint` is asked for a chat of this model.
pub(super) fn uri(
    endpoint: Dialect,
    version: bool,
    (model, stream): (&str, bool),
    uri: Uri,
) -> Result<Uri, ConvertError> {
    let path = match (endpoint, version) {
        (Dialect::OpenAi, true) => PathAndQuery::from_static("/v1/chat/completions"),
        (Dialect::OpenAi, false) => PathAndQuery::from_static("/chat/completions"),
        (Dialect::Anthropic, true) => PathAndQuery::from_static("/v1/messages"),
        (Dialect::Anthropic, false) => PathAndQuery::from_static("/messages"),
        (Dialect::Gemini, version) => {
            let any = Uri::from_static(match (version, stream) {
                (true, false) => "/v1beta/models/any:generateContent",
                (true, true) => "/v1beta/models/any:streamGenerateContent?alt=sse",
                (false, false) => "/models/any:generateContent",
                (false, true) => "/models/any:streamGenerateContent?alt=sse",
            });
            // Some have the name as the API lists it.
            let name = model.strip_prefix("models/").unwrap_or(model);
            renamed(&any, name)?
        }
    };
    at(uri, path)
}

/// The same URI of Gemini's with another model.
pub(super) fn of_model(uri: &Uri, model: &str) -> Result<Uri, ConvertError> {
    let path = renamed(uri, model)?;
    at(uri.clone(), path)
}

fn renamed(uri: &Uri, model: &str) -> Result<PathAndQuery, ConvertError> {
    Target::of(uri)
        .and_then(|target| target.renamed(model).ok())
        .and_then(|uri| uri.into_parts().path_and_query)
        .ok_or_else(|| invalid("cannot stand in a path, where Gemini has it"))
}

fn at(uri: Uri, path: PathAndQuery) -> Result<Uri, ConvertError> {
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(path);
    // Only a host without a scheme, as `CONNECT` has it, takes no path.
    Uri::from_parts(parts).map_err(|_| invalid("has no place in the URI"))
}

fn invalid(what: &str) -> ConvertError {
    ConvertError::Invalid {
        field: "model".to_owned(),
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::{Asked, of_model, uri};
    use crate::Dialect::{self, Anthropic, Gemini, OpenAi};

    #[test]
    fn a_chat_is_told_from_other_calls_by_its_path() {
        for (caller, path, expected) in [
            (OpenAi, "/v1/chat/completions", Some(None)),
            (
                OpenAi,
                "/openai/deployments/x/chat/completions?a",
                Some(None),
            ),
            (OpenAi, "https://h", Some(None)),
            (OpenAi, "/", Some(None)),
            (OpenAi, "/v1/embeddings", None),
            (OpenAi, "/v1/chat/completions/1", None),
            (OpenAi, "/v1/messages", None),
            (Anthropic, "/v1/messages?beta=true", Some(None)),
            (Anthropic, "/v1/messages/count_tokens", None),
            (
                Gemini,
                "/v1beta/models/g:generateContent",
                Some(Some(("g", false))),
            ),
            (
                Gemini,
                "/models/g:streamGenerateContent",
                Some(Some(("g", true))),
            ),
            (Gemini, "/v1beta/models/g:countTokens", None),
            (Gemini, "/", None),
        ] {
            let uri = Uri::from_static(path);
            let asked = Asked::of(caller, &uri).map(|asked| asked.path);
            assert_eq!(asked, expected, "{caller} {path}");
        }
    }

    #[test]
    fn only_a_stream_that_is_no_events_is_an_array() {
        for (path, array) in [
            ("/models/g:streamGenerateContent", true),
            ("/models/g:streamGenerateContent?alt=json", true),
            ("/models/g:streamGenerateContent?key=k&alt=sse", false),
            ("/models/g:generateContent", false),
        ] {
            let uri = Uri::from_static(path);
            let asked = Asked::of(Gemini, &uri).unwrap();
            assert_eq!(asked.is_array(&uri), array, "{path}");
        }
    }

    #[test]
    fn a_chat_goes_to_the_path_of_the_endpoints_dialect_and_stays_at_its_host() {
        let to = |endpoint: Dialect, version, asked, from| {
            uri(endpoint, version, asked, Uri::from_static(from)).map(|uri| uri.to_string())
        };
        let caller = "/v1/chat/completions?a=1";
        for (endpoint, version, stream, expected) in [
            (OpenAi, true, true, "/v1/chat/completions"),
            (OpenAi, false, false, "/chat/completions"),
            (Anthropic, true, false, "/v1/messages"),
            (Anthropic, false, true, "/messages"),
            (Gemini, true, false, "/v1beta/models/m-1.5:generateContent"),
            (
                Gemini,
                true,
                true,
                "/v1beta/models/m-1.5:streamGenerateContent?alt=sse",
            ),
            (
                Gemini,
                false,
                true,
                "/models/m-1.5:streamGenerateContent?alt=sse",
            ),
            (Gemini, false, false, "/models/m-1.5:generateContent"),
        ] {
            let found = to(endpoint, version, ("models/m-1.5", stream), caller);
            assert_eq!(found.as_deref(), Ok(expected));
        }
        assert_eq!(
            to(
                Anthropic,
                true,
                ("m", true),
                "https://h:1/v1/chat/completions"
            )
            .as_deref(),
            Ok("https://h:1/v1/messages")
        );
        // What is no path by itself.
        assert_eq!(
            to(Anthropic, true, ("m", true), "https://h").as_deref(),
            Ok("https://h/v1/messages")
        );
        assert!(to(Anthropic, true, ("m", true), "h:1").is_err());
    }

    #[test]
    fn s6_a_model_cannot_leave_its_place_in_the_path_of_the_endpoint() {
        let any = Uri::from_static("/v1beta/models/g:generateContent?key=k");
        for model in [
            "",
            "..",
            "../x",
            "a/b",
            "a:b",
            "a?b",
            "a b",
            "models/models/x",
        ] {
            let error = uri(Gemini, true, (model, false), Uri::default()).unwrap_err();
            assert_eq!(error.field(), Some("model"), "{model}");
            assert!(of_model(&any, model).is_err(), "{model}");
        }
        assert_eq!(
            of_model(&any, "x").unwrap(),
            "/v1beta/models/x:generateContent?key=k"
        );
    }
}
