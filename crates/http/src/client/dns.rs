//! What the system's resolver means.

use std::io;

use super::Kind;

/// How `std` begins its report of a failed lookup.
const LOOKUP: &str = "failed to lookup address information";

/// What `getaddrinfo` says where a name does not exist, or has no address. `std` keeps its text
/// and throws its code away; Rust programs run in the C locale unless they ask for another.
const NO_SUCH_NAME: [&str; 8] = [
    // glibc: EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY
    "Name or service not known",
    "No address associated with hostname",
    "Address family for hostname not supported",
    // musl: EAI_NONAME, EAI_NODATA
    "Name does not resolve",
    "Name has no usable address",
    // macOS and the BSDs: EAI_NONAME, EAI_NODATA
    "nodename nor servname provided, or not known",
    "hostname nor servname provided, or not known",
    "No address associated with nodename",
];

/// `WSAHOST_NOT_FOUND` and `WSANO_DATA`: on Windows the code is kept.
const NO_SUCH_NAME_WINDOWS: [i32; 2] = [11_001, 11_004];

/// Whether this is a failed lookup, and of what kind.
pub(super) fn kind_of(error: &io::Error) -> Option<Kind> {
    if let Some(code) = error.raw_os_error() {
        let unknown = cfg!(windows) && NO_SUCH_NAME_WINDOWS.contains(&code);
        return unknown.then_some(Kind::NoSuchName);
    }
    let text = error.to_string();
    let reason = text.strip_prefix(LOOKUP)?;
    Some(if NO_SUCH_NAME.iter().any(|known| reason.contains(known)) {
        Kind::NoSuchName
    } else {
        Kind::NameLookup
    })
}

#[cfg(test)]
mod tests {
    use std::{io, net::ToSocketAddrs};

    use super::{Kind, LOOKUP, kind_of};

    fn lookup(reason: &str) -> Option<Kind> {
        kind_of(&io::Error::other(format!("{LOOKUP}: {reason}")))
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_one_that_cannot_be_asked_for_now() {
        for reason in super::NO_SUCH_NAME {
            assert_eq!(lookup(reason), Some(Kind::NoSuchName), "{reason}");
        }
        for reason in [
            "Temporary failure in name resolution",
            "Try again",
            "Non-recoverable failure in name resolution",
            "?",
        ] {
            assert_eq!(lookup(reason), Some(Kind::NameLookup), "{reason}");
        }
        assert_eq!(kind_of(&io::ErrorKind::ConnectionReset.into()), None);
        assert_eq!(kind_of(&io::Error::from_raw_os_error(104)), None);
    }

    /// No resolver asks a server for a label of more than 63 bytes, so this needs no network.
    #[test]
    fn a_lookup_of_std_is_recognised() {
        let name = format!("{}.invalid", "a".repeat(64));
        let error = (name.as_str(), 0).to_socket_addrs().unwrap_err();
        let kind = kind_of(&error);
        assert!(
            matches!(kind, Some(Kind::NoSuchName | Kind::NameLookup)),
            "{error:?}"
        );
    }
}
