//! Where below its base URL an endpoint is asked.

use buttress_llm::{Dialect, convert::ConvertError, gemini::Target, strip_query_credentials};
use http::{Uri, uri::PathAndQuery};

/// Makes the path of an endpoint of a caller's path.
///
/// Base URLs are those that the dialect's own SDK takes: OpenAI's has a version at its end, such as
/// `/v1`, in whose place the caller's `/v1` stands; Anthropic's has none, and may have one here;
/// Gemini's has none, or such as `/v1beta`.
#[derive(Debug)]
pub(crate) struct Targets {
    dialect: Dialect,
    versioned: bool,
    // Where nearly all calls come from, and go to.
    main: (&'static str, PathAndQuery),
}

// ===== impl Targets =====

impl Targets {
    pub(crate) fn new(dialect: Dialect, base_url: &str) -> Self {
        let path = match dialect {
            Dialect::OpenAi => "/v1/chat/completions",
            _ => "/v1/messages",
        };
        let versioned = match dialect {
            Dialect::OpenAi => true,
            Dialect::Gemini => ["/v1", "/v1beta", "/v1alpha"]
                .iter()
                .any(|version| base_url.trim_end_matches('/').ends_with(version)),
            _ => base_url.trim_end_matches('/').ends_with("/v1"),
        };
        Self {
            dialect,
            versioned,
            main: (path, below(versioned, PathAndQuery::from_static(path))),
        }
    }

    /// Path and query for a reply of this model.
    pub(crate) fn chat(&self, model: &str, stream: bool) -> Result<Uri, ConvertError> {
        if self.dialect != Dialect::Gemini {
            return Ok(self.main.1.clone().into());
        }
        let (version, method) = match (self.versioned, stream) {
            (true, false) => ("", "generateContent"),
            (true, true) => ("", "streamGenerateContent?alt=sse"),
            (false, false) => ("/v1beta", "generateContent"),
            (false, true) => ("/v1beta", "streamGenerateContent?alt=sse"),
        };
        let wrong = || ConvertError::Invalid {
            field: "model".to_owned(),
            what: "cannot stand in a path, where Gemini has it".to_owned(),
        };
        let any = format!("{version}/models/any:{method}").parse();
        let any: Uri = any.map_err(|_| wrong())?;
        // Some have the name as the API lists it.
        let name = model.strip_prefix("models/").unwrap_or(model);
        Target::of(&any)
            .and_then(|target| target.renamed(name).ok())
            .ok_or_else(wrong)
    }

    /// Path and query below the base URL, without a credential of the caller's.
    pub(crate) fn of(&self, uri: Uri) -> Uri {
        let (main, target) = &self.main;
        if uri.path() == *main && uri.query().is_none() {
            return target.clone().into();
        }
        let parts = strip_query_credentials(uri).into_parts();
        match parts.path_and_query {
            Some(path) => below(self.versioned, path).into(),
            None => Uri::default(),
        }
    }
}

fn below(versioned: bool, path: PathAndQuery) -> PathAndQuery {
    match path.as_str().strip_prefix("/v1/") {
        // It was a path with these three bytes, and so it is one without them.
        Some(_) if versioned => path.as_str()[3..].parse().unwrap_or(path),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use buttress_llm::Dialect::{self, Anthropic, OpenAi};

    use super::Targets;

    #[test]
    fn the_version_is_in_the_base_url_or_in_the_path_but_not_in_both() {
        for (dialect, base, path, target) in [
            (
                OpenAi,
                "https://h/v1",
                "/v1/chat/completions",
                "/chat/completions",
            ),
            (
                OpenAi,
                "https://h/openai/deployments/x",
                "/v1/chat/completions",
                "/chat/completions",
            ),
            (
                OpenAi,
                "https://h/v1",
                "/v1/chat/completions?a=1&key=canary",
                "/chat/completions?a=1",
            ),
            (OpenAi, "https://h/v1", "/v1/embeddings", "/embeddings"),
            (
                OpenAi,
                "https://h/v1",
                "http://elsewhere/v1/embeddings?a",
                "/embeddings?a",
            ),
            (Anthropic, "https://h", "/v1/messages", "/v1/messages"),
            (Anthropic, "https://h/v1/", "/v1/messages", "/messages"),
            (
                Anthropic,
                "https://h",
                "/v1/messages?beta=true",
                "/v1/messages?beta=true",
            ),
            (
                Anthropic,
                "https://h",
                "http://elsewhere/v1/messages",
                "/v1/messages",
            ),
            (
                Anthropic,
                "https://h",
                "http://elsewhere/v1/complete",
                "/v1/complete",
            ),
        ] {
            let found = Targets::new(dialect, base).of(path.parse().unwrap());
            assert_eq!(found, target, "{dialect} {base} {path}");
        }
    }

    #[test]
    fn every_dialect_has_a_main_path() {
        for dialect in Dialect::ALL {
            let targets = Targets::new(dialect, "https://h");
            assert_eq!(
                targets.of(targets.main.0.parse().unwrap()),
                targets.main.1.as_str()
            );
        }
    }
}
