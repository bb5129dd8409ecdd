//! What the file says, as far as its keys and types are right.

use std::{net::SocketAddr, ops::Range};

use buttress_llm::Dialect;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    fault::Faults,
    units::{Size, Time},
};

/// The file, with the places of what may yet turn out to be wrong.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) limits: LimitsSection,
    pub(super) pages: PagesSection,
    pub(super) endpoints: Vec<EndpointEntry>,
    pub(super) routes: Vec<RouteEntry>,
    /// Some of it could not be read: what seems to be missing may be there.
    pub(super) incomplete: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsSection {
    pub(super) body: Option<Size>,
    pub(super) read: Option<Time>,
    pub(super) drain: Option<Time>,
    pub(super) connections: Option<Spanned<usize>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PagesSection {
    pub(super) public: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointEntry {
    pub(super) name: Spanned<String>,
    #[serde(deserialize_with = "dialect")]
    pub(super) dialect: Dialect,
    pub(super) base_url: Spanned<String>,
    pub(super) key_env: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) models: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteEntry {
    pub(super) model: Spanned<String>,
    pub(super) endpoints: Spanned<Vec<Spanned<String>>>,
    pub(super) rename: Option<Spanned<String>>,
}

// ===== impl File =====

impl File {
    /// Reads the whole text. What is wrong in one place does not hide what is wrong in another.
    pub(super) fn parse(text: &str, faults: &mut Faults) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let whole = table.span();
        for error in &errors {
            faults.parser(error, &whole);
        }
        let mut file = Self::default();
        // A file that is no TOML has no keys to speak of.
        if !errors.is_empty() {
            file.incomplete = true;
            return file;
        }
        for (key, value) in table.into_inner() {
            match key.as_ref().as_ref() {
                "listen" => file.listen = listen(value, faults),
                "limits" => file.limits = take(value, faults).unwrap_or_default(),
                "pages" => file.pages = take(value, faults).unwrap_or_default(),
                "endpoint" => file.endpoints = file.entries("endpoint", &value, faults),
                "route" => file.routes = file.entries("route", &value, faults),
                other => faults.add(
                    &key.span(),
                    format!(
                        "found key `{}`, expected one of `listen`, `limits`, `pages`, `endpoint`, `route`",
                        other.escape_debug()
                    ),
                ),
            }
        }
        for (name, none) in [
            ("endpoint", file.endpoints.is_empty()),
            ("route", file.routes.is_empty()),
        ] {
            if none && !file.incomplete {
                faults.add(
                    &(0..0),
                    format!("found no `[[{name}]]`, expected at least one"),
                );
            }
        }
        file
    }

    /// The entries of an array of tables, those that are right.
    fn entries<T: DeserializeOwned>(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Faults,
    ) -> Vec<T> {
        let span = value.span();
        let DeValue::Array(entries) = value.get_ref() else {
            let found = value.get_ref().type_str();
            let what =
                format!("found {found} `{name}`, expected entries that begin with `[[{name}]]`");
            faults.add(&span, what);
            self.incomplete = true;
            return Vec::new();
        };
        let read: Vec<T> = entries
            .iter()
            .filter_map(|entry| take(entry.clone(), faults))
            .collect();
        self.incomplete |= read.len() < entries.len();
        read
    }
}

fn listen(value: Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<SocketAddr> {
    let text: Spanned<String> = take(value, faults)?;
    let address = text.get_ref().parse().ok();
    if address.is_none() {
        faults.add(
            &text.span(),
            format!(
                "found \"{}\", expected an address and port, such as \"127.0.0.1:8080\"",
                text.get_ref().escape_debug()
            ),
        );
    }
    address
}

fn take<T: DeserializeOwned>(value: Spanned<DeValue<'_>>, faults: &mut Faults) -> Option<T> {
    let span: Range<usize> = value.span();
    match T::deserialize(ValueDeserializer::from(value)) {
        Ok(value) => Some(value),
        Err(error) => {
            faults.parser(&error, &span);
            None
        }
    }
}

fn dialect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dialect, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| {
        let known = Dialect::ALL
            .map(|dialect| format!("\"{dialect}\""))
            .join(", ");
        D::Error::custom(format!(
            "found \"{}\", expected one of {known}",
            name.escape_debug()
        ))
    })
}
