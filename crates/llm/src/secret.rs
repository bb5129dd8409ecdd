use std::{
    env,
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::HeaderValue;

/// A credential: an API key or a token.
///
/// It has no `Display` and cannot be serialized; `Debug` shows nothing of it, and the header values
/// made of it are marked sensitive. A clone shares the memory. It is not wiped from memory when it
/// is dropped, since the client that sends it keeps copies.
///
/// It may have 1 to 16 384 visible ASCII characters.
///
/// # Examples
///
/// ```
/// use buttress_llm::Secret;
///
/// # fn main() -> Result<(), buttress_llm::SecretError> {
/// let key = Secret::new("sk-test-1")?;
/// assert_eq!(format!("{key:?}"), "Secret(..)");
/// assert!(Secret::new("sk-test-1\r\nx-evil: 1").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Secret {
    /// `Bearer ` and the credential.
    bearer: HeaderValue,
    /// The credential in the same memory.
    plain: HeaderValue,
}

/// Why a [`Secret`] was not made. It shows nothing of what was given.
#[derive(Debug)]
#[non_exhaustive]
pub enum SecretError {
    /// There was nothing.
    Empty,
    /// It was longer than a credential is.
    TooLong {
        /// How long it was, in bytes.
        found: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// It had a byte that is no visible ASCII character, such as a space or the end of a line.
    Invisible {
        /// The offset of that byte, from 0.
        at: usize,
    },
    /// The environment variable is not set, or not text.
    Variable {
        /// Its name. Empty where what was given looks more like a key than like a name.
        name: String,
    },
    /// The file could not be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

const BEARER: &[u8] = b"Bearer ";
const LIMIT: usize = 16 << 10;

// ===== impl Secret =====

impl Secret {
    /// The credential in `text`, as it is.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if it is empty, too long, or has a byte that is no visible ASCII character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, SecretError> {
        Self::of(text.as_ref().as_bytes())
    }

    /// The credential in an environment variable, as it is.
    ///
    /// # Errors
    ///
    /// [`SecretError::Variable`] if it is not set, and what [`new`](Secret::new) says of its value.
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        // `var_os` may panic at such names.
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(SecretError::variable(name));
        }
        match env::var(name) {
            Ok(text) => Self::new(text),
            Err(_) => Err(SecretError::variable(name)),
        }
    }

    /// The credential in a file, without the end of its last line.
    ///
    /// # Errors
    ///
    /// [`SecretError::File`] if the file cannot be read, and what [`new`](Secret::new) says of its
    /// content.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SecretError> {
        let path = path.as_ref();
        let content = fs::File::open(path)
            .and_then(|file| {
                let mut content = Vec::new();
                // One byte and a line's end more than is allowed, so that a device is not read for ever.
                io::Read::read_to_end(&mut io::Read::take(file, LIMIT as u64 + 3), &mut content)?;
                Ok(content)
            })
            .map_err(|error| SecretError::File {
                path: path.to_owned(),
                error,
            })?;
        let content = content.strip_suffix(b"\n").unwrap_or(&content);
        Self::of(content.strip_suffix(b"\r").unwrap_or(content))
    }

    fn of(text: &[u8]) -> Result<Self, SecretError> {
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        if text.len() > LIMIT {
            return Err(SecretError::TooLong {
                found: text.len(),
                limit: LIMIT,
            });
        }
        let invisible = |at| SecretError::Invisible { at };
        if let Some(at) = text.iter().position(|byte| !byte.is_ascii_graphic()) {
            return Err(invisible(at));
        }
        let bytes = Bytes::from([BEARER, text].concat());
        let plain = bytes.slice(BEARER.len()..);
        // Visible ASCII always is a header value.
        let mut bearer = HeaderValue::from_maybe_shared(bytes).map_err(|_| invisible(0))?;
        let mut plain = HeaderValue::from_maybe_shared(plain).map_err(|_| invisible(0))?;
        bearer.set_sensitive(true);
        plain.set_sensitive(true);
        Ok(Self { bearer, plain })
    }

    /// The credential itself. Whoever calls this keeps it out of logs and errors.
    #[must_use]
    pub fn expose(&self) -> &str {
        // It is visible ASCII.
        self.plain.to_str().unwrap_or_default()
    }

    /// `Bearer` and the credential, marked sensitive.
    pub(crate) fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }

    /// The credential alone, marked sensitive.
    pub(crate) fn plain(&self) -> HeaderValue {
        self.plain.clone()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

// ===== impl SecretError =====

impl SecretError {
    /// Somebody who confuses the name of a variable with its value must not find it in a log: names
    /// of variables are of one case, keys are not.
    fn variable(name: &str) -> Self {
        let one_case = !(name.contains(|c: char| c.is_ascii_lowercase())
            && name.contains(|c: char| c.is_ascii_uppercase()));
        let named = name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        Self::Variable {
            name: if one_case && named && name.len() <= 64 {
                name.to_owned()
            } else {
                String::new()
            },
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the credential is empty"),
            Self::TooLong { found, limit } => write!(
                f,
                "the credential has {found} bytes or more, where at most {limit} are allowed"
            ),
            Self::Invisible { at } => write!(
                f,
                "the credential has a byte at {at} that is no visible ASCII character"
            ),
            Self::Variable { name } if name.is_empty() => f.write_str(
                "what should be the name of an environment variable is none (it is not shown, since it may be the key itself)",
            ),
            Self::Variable { name } => {
                write!(f, "the environment variable {name} is not set, or not text")
            }
            Self::File { path, .. } => {
                write!(f, "the credential cannot be read from {}", path.display())
            }
        }
    }
}

impl Error for SecretError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Secret, SecretError};

    #[test]
    fn s5_what_could_split_a_header_is_refused_and_not_shown() {
        for (bad, byte) in [
            ("canary\r", 6),
            ("canary\nx: y", 6),
            ("can\0ary", 3),
            ("can ary", 3),
            ("canary\u{7f}", 6),
            ("caf\u{e9}canary", 3),
        ] {
            let error = Secret::new(bad).unwrap_err();
            assert!(matches!(error, SecretError::Invisible { at } if at == byte));
            assert!(!format!("{error} {error:#?}").contains("can"));
        }
        assert!(matches!(Secret::new(""), Err(SecretError::Empty)));
        assert!(matches!(
            Secret::new("x".repeat(LIMIT + 1)),
            Err(SecretError::TooLong { .. })
        ));
        assert!(Secret::new("x".repeat(LIMIT)).is_ok());
    }

    #[test]
    fn s1_a_key_given_as_the_name_of_a_variable_is_not_shown() {
        for name in ["sk-canary-1", "AIzaCanary", "", "a=b", "nul\0"] {
            let error = Secret::from_env(name).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(name.is_empty() || !shown.contains(name), "{shown}");
        }
        let error = Secret::from_env("BUTTRESS_NO_SUCH_VARIABLE").unwrap_err();
        assert!(error.to_string().contains("BUTTRESS_NO_SUCH_VARIABLE"));
    }

    #[test]
    fn a_file_gives_its_line_without_the_end() {
        let dir = env!("CARGO_MANIFEST_DIR");
        let missing = Secret::from_file(format!("{dir}/no/such/file")).unwrap_err();
        assert!(matches!(missing, SecretError::File { .. }));
        let path = std::env::temp_dir().join(format!("buttress-secret-{}", std::process::id()));
        for (content, expected) in [
            ("sk-1", Some("sk-1")),
            ("sk-1\n", Some("sk-1")),
            ("sk-1\r\n", Some("sk-1")),
            ("sk-1\n\n", None),
            ("\n", None),
            ("", None),
        ] {
            std::fs::write(&path, content).unwrap();
            let secret = Secret::from_file(&path).ok();
            assert_eq!(secret.as_ref().map(Secret::expose), expected, "{content:?}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
