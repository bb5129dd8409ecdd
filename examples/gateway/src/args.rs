//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Serve(Args),
    /// Makes a key for a caller of this name.
    Key(String),
    /// Makes the digest of a key.
    Digest,
}

/// How to serve.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Args {
    /// The configuration. `None`: simulated endpoints.
    pub(crate) config: Option<PathBuf>,
    /// Read the configuration, say what is wrong with it, and end.
    pub(crate) check: bool,
    /// Listen here, whatever the configuration says.
    pub(crate) listen: Option<SocketAddr>,
    /// Write no line for each request.
    pub(crate) quiet: bool,
    pub(crate) help: bool,
}

pub(crate) const HELP: &str = "\
An LLM gateway: OpenAI's and Anthropic's APIs in front, any number of endpoints behind.

Usage: gateway [OPTIONS] [FILE]
       gateway key NAME
       gateway digest

FILE is the configuration, in TOML. Without one, the gateway starts simulated endpoints of its own.

      --config FILE    the same as FILE
      --check          only check the configuration: status 0 if a gateway would start with it
      --listen ADDR    listen here, as 127.0.0.1:8080, whatever the configuration says
  -q, --quiet          write no line for each request
  -h, --help           show this

`key` makes a key for a caller of this name, shows it once, and writes what the configuration says of
it. `digest` reads a key of yours from its input, and writes the same. Neither keeps anything.
";

// ===== impl Command =====

impl Command {
    /// Reads the arguments after the program's name. An `Err` says which of them is wrong, and why.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter().peekable();
        let first = args.peek().and_then(|arg| arg.to_str());
        let command = match first {
            Some("key") => {
                let name = args.nth(1).map(|name| name.to_string_lossy().into_owned());
                let name = name.ok_or("key: expected the caller's NAME after it")?;
                if !is_name(&name) {
                    return Err(format!("key: found `{name}`, expected {NAME}"));
                }
                Self::Key(name)
            }
            Some("digest") => {
                args.next();
                Self::Digest
            }
            _ => return Args::parse(args).map(Self::Serve),
        };
        match args.next() {
            None => Ok(command),
            Some(more) => Err(format!(
                "found `{}`, expected nothing more",
                more.to_string_lossy()
            )),
        }
    }
}

/// Whether an endpoint or a caller may have this name: it is fit for a log and for a label.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

/// Which those are.
pub(crate) const NAME: &str = "1 to 64 letters, digits, `-`, `_` or `.`";

// ===== impl Args =====

impl Args {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let text = arg.to_string_lossy();
            let (flag, attached) = match text.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.into())),
                _ => (&*text, None),
            };
            let mut value = || {
                let value = attached.clone().or_else(|| args.next());
                value.ok_or_else(|| format!("{flag}: expected a value after it"))
            };
            match flag {
                "--config" => parsed.configured_by(value()?)?,
                "--listen" => {
                    let address = value()?.to_string_lossy().into_owned();
                    parsed.listen = Some(address.parse().map_err(|_| {
                        format!("--listen: found `{address}`, expected an address and port such as 127.0.0.1:8080")
                    })?);
                }
                "--check" if attached.is_none() => parsed.check = true,
                "-q" | "--quiet" if attached.is_none() => parsed.quiet = true,
                "-h" | "--help" if attached.is_none() => parsed.help = true,
                _ if flag.starts_with('-') => {
                    return Err(format!(
                        "found `{text}`, expected one of the options of --help"
                    ));
                }
                _ => parsed.configured_by(arg)?,
            }
        }
        if parsed.check && parsed.config.is_none() && !parsed.help {
            return Err("--check: found no FILE, expected the configuration to check".to_owned());
        }
        Ok(parsed)
    }

    fn configured_by(&mut self, file: OsString) -> Result<(), String> {
        match self.config.replace(file.into()) {
            None => Ok(()),
            Some(_) => Err("found two configurations, expected one".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, Command};

    fn parse(line: &str) -> Result<Args, String> {
        match command(line)? {
            Command::Serve(args) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    fn command(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn keys_and_digests_are_made_by_commands_of_their_own() {
        assert_eq!(command("key alice"), Ok(Command::Key("alice".to_owned())));
        assert_eq!(command("digest"), Ok(Command::Digest));
        for (line, said) in [
            ("key", "key: expected the caller's NAME"),
            ("key a/b", "key: found `a/b`, expected 1 to 64 letters"),
            ("key a b", "found `b`, expected nothing more"),
            ("digest sk-1", "found `sk-1`, expected nothing more"),
        ] {
            let error = command(line).unwrap_err();
            assert!(error.starts_with(said), "{line}: {error}");
        }
    }

    #[test]
    fn the_file_is_named_by_itself_or_by_its_flag() {
        let expected = Args {
            config: Some("a.toml".into()),
            check: true,
            ..Args::default()
        };
        for line in [
            "a.toml --check",
            "--check --config a.toml",
            "--config=a.toml --check",
        ] {
            assert_eq!(parse(line).as_ref(), Ok(&expected), "{line}");
        }
    }

    #[test]
    fn the_address_may_have_any_port() {
        let args = parse("--listen [::1]:0 -q").unwrap();
        assert_eq!(args.listen, Some("[::1]:0".parse().unwrap()));
        assert!(args.quiet && args.config.is_none());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, said) in [
            (
                "--listen localhost:80",
                "--listen: found `localhost:80`, expected an address and port",
            ),
            ("--listen", "--listen: expected a value after it"),
            ("--quick", "found `--quick`, expected one of the options"),
            (
                "--check=yes a.toml",
                "found `--check=yes`, expected one of the options",
            ),
            ("a.toml b.toml", "found two configurations, expected one"),
            ("--check", "--check: found no FILE"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(said), "{line}: {error}");
        }
    }
}
