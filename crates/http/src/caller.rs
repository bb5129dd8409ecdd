//! Whose request it is, as far as addresses say: a key for limits.
//!
//! Anybody can write `X-Forwarded-For`. What stands in it counts only as far as it was written by
//! proxies that are known: [`Proxies`] reads it from the right, where the nearest one wrote, and
//! stops at the first address that is not one of them. That is the caller.
//!
//! ```
//! use buttress_http::caller::Proxies;
//! use http::HeaderMap;
//!
//! let proxies = Proxies::trust(["10.0.0.0/8".parse()?, "2001:db8::/32".parse()?]);
//! let mut headers = HeaderMap::new();
//! headers.insert("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.1.2.3".parse()?);
//!
//! // Through the proxy: who stood before it. What is further left, the caller made up.
//! assert_eq!(proxies.caller("10.9.9.9".parse()?, &headers).to_string(), "198.51.100.7");
//! // Directly: who connected, whatever they say.
//! assert_eq!(proxies.caller("192.0.2.1".parse()?, &headers).to_string(), "192.0.2.1");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that stand before this server, whose word on where a request came from is taken.
///
/// The default is none: the caller is who connected.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    trusted: Vec<Network>,
}

/// A range of addresses, such as `10.0.0.0/8`; or one address.
///
/// ```
/// use buttress_http::caller::Network;
///
/// let network: Network = "192.168.0.0/16".parse()?;
/// assert!(network.contains("192.168.3.4".parse()?));
/// assert!("192.168.0.0/33".parse::<Network>().is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text is no [`Network`].
///
/// ```
/// let error = "10.0.0.0/8/1".parse::<buttress_http::caller::Network>().unwrap_err();
/// assert_eq!(error.to_string(), "expected an address, or a network such as 10.0.0.0/8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkError(());

// ===== impl Proxies =====

impl Proxies {
    /// Trusts those whose addresses are in these networks.
    #[must_use]
    pub fn trust(networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            trusted: networks.into_iter().collect(),
        }
    }

    /// Who sent the request that came from `peer` with these headers.
    ///
    /// Where all hops are trusted, it is the first of them. A hop that is no address ends the walk:
    /// the caller is then the proxy that passed it on. Ports are left out, and IPv4 addresses
    /// written as IPv6 are IPv4 addresses.
    #[must_use]
    pub fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut caller = peer.to_canonical();
        let lines = headers.get_all(X_FORWARDED_FOR);
        let lines: Vec<&[u8]> = lines.iter().map(http::HeaderValue::as_bytes).collect();
        let hops = lines
            .iter()
            .rev()
            .flat_map(|line| line.rsplit(|byte| *byte == b','));
        for hop in hops {
            if !self.trusts(caller) {
                break;
            }
            let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else {
                break;
            };
            caller = address;
        }
        caller
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// What to limit by, of a caller: the address, or of IPv6 its network of 64 bits, since that many
/// addresses belong to one subscriber.
///
/// ```
/// use buttress_http::caller::key;
///
/// assert_eq!(key("192.0.2.1".parse()?), "192.0.2.1".parse::<std::net::IpAddr>()?);
/// assert_eq!(key("2001:db8:1:2:3:4:5:6".parse()?), "2001:db8:1:2::".parse::<std::net::IpAddr>()?);
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn key(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches([' ', '\t']);
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = bare.unwrap_or(hop).parse::<IpAddr>();
    let address = address.or_else(|_| hop.parse::<SocketAddr>().map(|hop| hop.ip()));
    Some(address.ok()?.to_canonical())
}

// ===== impl Network =====

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, bits: u32| {
            let shift = bits - u32::from(self.prefix);
            (one ^ other).checked_shr(shift).unwrap_or(0) == 0
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                same(one.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError(()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NetworkError(()))?,
            None => most,
        };
        if prefix > most {
            return Err(NetworkError(()));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address, or a network such as 10.0.0.0/8")
    }
}

impl Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, lines: &[&'static str]) -> String {
        let proxies = Proxies::trust(["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().unwrap());
        }
        proxies.caller(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_caller_is_the_first_from_the_right_that_is_no_proxy() {
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["6.6.6.6", "198.51.100.7, 10.0.0.2"],
                "198.51.100.7",
            ),
            ("::1", &["198.51.100.7:4711,\t[::1]:80"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            // Made up: the caller is who passed it on.
            ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["\u{e9}"], "10.0.0.1"),
        ] {
            assert_eq!(caller(peer, lines), expected, "{peer}: {lines:?}");
        }
    }

    #[test]
    fn a_network_of_no_bits_holds_all_of_its_kind() {
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()));
        assert!(!all.contains("::2".parse().unwrap()));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains("ffff::".parse().unwrap()));
        for bad in ["", "/8", "10.0.0.0/", "10.0.0.0/-1", "::/129", "host"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
