use std::{error::Error, fmt};

use http::Uri;

/// What a URI of Gemini's asks for: its path names the model and the method.
///
/// # Examples
///
/// ```
/// use buttress_llm::gemini::Target;
///
/// let uri = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse".parse().unwrap();
/// let target = Target::of(&uri).unwrap();
/// assert_eq!(target.model(), "gemini-2.5-pro");
/// assert_eq!(target.method(), "streamGenerateContent");
/// assert!(target.stream());
///
/// let other = target.renamed("gemini-2.5-flash").unwrap();
/// assert_eq!(other, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    uri: &'a Uri,
    model: &'a str,
    method: &'a str,
}

/// A name that no model can have in a path.
///
/// A name has 1 to 256 ASCII letters, digits, `-`, `_`, `.` and `@`, and is neither `.` nor `..`.
/// The name is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidModel;

// ===== impl Target =====

impl<'a> Target<'a> {
    /// Reads the path of a URI: anything that ends with `/models/` or `/tunedModels/`, a model, a
    /// colon, and a method. `None`: it is another path, or the name is none of a model.
    #[must_use]
    pub fn of(uri: &'a Uri) -> Option<Self> {
        let (before, last) = uri.path().rsplit_once('/')?;
        let (_, collection) = before.rsplit_once('/')?;
        let (model, method) = last.split_once(':')?;
        let known = matches!(collection, "models" | "tunedModels")
            && check(model).is_ok()
            && !method.is_empty()
            && method.bytes().all(|byte| byte.is_ascii_alphanumeric());
        known.then_some(Self { uri, model, method })
    }

    /// The name of the model, without `models/`.
    #[must_use]
    pub const fn model(&self) -> &'a str {
        self.model
    }

    /// The method, such as `generateContent`, `streamGenerateContent` or `countTokens`.
    #[must_use]
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// Whether the reply is to be streamed. With `alt=sse` in the query it is so as events, else as
    /// one JSON array.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.method.starts_with("stream")
    }

    /// The same URI with another model. Every other byte stays.
    ///
    /// # Errors
    ///
    /// [`InvalidModel`], where the name could mean another path.
    pub fn renamed(&self, model: &str) -> Result<Uri, InvalidModel> {
        check(model)?;
        let path = self.uri.path();
        let before = path.len() - self.model.len() - 1 - self.method.len();
        let mut target = format!("{}{model}:{}", &path[..before], self.method);
        if let Some(query) = self.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        let mut parts = self.uri.clone().into_parts();
        // A path with one valid name in place of another is a path.
        parts.path_and_query = Some(target.parse().map_err(|_| InvalidModel)?);
        Uri::from_parts(parts).map_err(|_| InvalidModel)
    }
}

// ===== impl InvalidModel =====

impl fmt::Display for InvalidModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model has no name that a path can have: 1 to 256 of a-z, A-Z, 0-9, `-`, `_`, `.` and `@`, and neither `.` nor `..`")
    }
}

impl Error for InvalidModel {}

fn check(model: &str) -> Result<(), InvalidModel> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    let valid = (1..=256).contains(&model.len())
        && model.bytes().all(allowed)
        && !matches!(model, "." | "..");
    valid.then_some(()).ok_or(InvalidModel)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::Target;

    #[test]
    fn paths_of_models_are_told_from_others() {
        for (uri, expected) in [
            (
                "/v1beta/models/gemini-2.5-pro:generateContent",
                Some(("gemini-2.5-pro", "generateContent")),
            ),
            ("/models/g:countTokens?key=1", Some(("g", "countTokens"))),
            (
                "https://h/v1/projects/p/locations/l/publishers/google/models/g@001:streamGenerateContent",
                Some(("g@001", "streamGenerateContent")),
            ),
            (
                "/v1beta/tunedModels/mine_1:generateContent",
                Some(("mine_1", "generateContent")),
            ),
            ("/v1beta/models/g", None),
            ("/v1beta/models", None),
            ("/v1beta/files/g:generateContent", None),
            ("/v1beta/models/:generateContent", None),
            ("/v1beta/models/g:", None),
            ("/v1beta/models/..:generateContent", None),
            ("/v1beta/models/a%2Fb:generateContent", None),
            ("/v1beta/models/g:a:b", None),
            ("/g:generateContent", None),
            ("*", None),
        ] {
            let uri: Uri = uri.parse().unwrap();
            let target = Target::of(&uri).map(|target| (target.model(), target.method()));
            assert_eq!(target, expected, "{uri}");
        }
    }

    #[test]
    fn s6_a_model_cannot_leave_its_place_in_the_path() {
        let uri: Uri = "https://h:1/v1beta/models/g:generateContent?alt=sse&x"
            .parse()
            .unwrap();
        let target = Target::of(&uri).unwrap();
        assert_eq!(
            target.renamed("other-1.5").unwrap(),
            "https://h:1/v1beta/models/other-1.5:generateContent?alt=sse&x"
        );
        let long = "x".repeat(257);
        for model in [
            "", ".", "..", "../x", "a/b", "a:b", "a?b", "a#b", "%2e%2e", "a b", "a\r\nb", "a\0",
            "é", &long,
        ] {
            assert!(target.renamed(model).is_err(), "{model}");
        }
    }
}
