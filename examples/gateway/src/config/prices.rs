//! What tokens cost: the prices that are shipped, those of a file over them, and whose hold where.

use std::{fs, path::Path};

use buttress_llm::price::Prices;
use http::Uri;

use super::{check::Check, fields::Text, file::PricesSection};

impl Check<'_> {
    /// The prices that are shipped, and over them those of the file that is named.
    pub(super) fn prices(&mut self, section: &PricesSection) -> Prices {
        let mut prices = Prices::shipped().clone();
        if let Some(file) = &section.file {
            let path = self.folder.join(file.get_ref());
            let read = read(&path).and_then(|more| {
                let set = prices.extend(more);
                set.map_err(|error| error.to_string())
            });
            if let Err(error) = read {
                let what = format!(
                    "found {}: {error}, expected a list of prices",
                    path.display()
                );
                self.fault(&file.span(), what);
            }
        }
        prices
    }

    /// Whose prices hold for an endpoint: that is said, or known by the host.
    pub(super) fn provider(&mut self, provider: Option<&Text>, base_url: &str) -> Option<String> {
        if let Some(provider) = provider {
            self.name(provider);
            return Some(provider.get_ref().clone());
        }
        let (host, _) = server(base_url);
        let known = match &*host {
            "api.openai.com" => "openai",
            "api.anthropic.com" => "anthropic",
            "generativelanguage.googleapis.com" => "gemini",
            _ => return None,
        };
        Some(known.to_owned())
    }
}

/// The host and the port of a base URL.
pub(super) fn server(base_url: &str) -> (String, u16) {
    let Ok(url) = base_url.parse::<Uri>() else {
        return (String::new(), 0);
    };
    let by_scheme = match url.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    let host = url.host().unwrap_or_default().to_ascii_lowercase();
    (host, url.port_u16().unwrap_or(by_scheme))
}

/// The rows of `buttress_llm::price`, or, if it is JSON, the list that LiteLLM publishes.
fn read(path: &Path) -> Result<Prices, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    if path.extension().is_some_and(|kind| kind == "json") {
        let loaded = Prices::litellm(&bytes).map_err(|error| error.to_string())?;
        return Ok(loaded.prices);
    }
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Prices::parse(&text).map_err(|error| error.to_string())
}
