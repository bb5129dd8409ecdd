//! Which certificates are trusted, and what a TLS failure means.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    AlertDescription, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{Error, Kind, error::BoxError};

/// The TLS side of one client. What a handshake needs is made for the first one, so that plain
/// HTTP works on a machine without certificates.
#[derive(Default)]
pub(super) struct Tls {
    extra: Vec<CertificateDer<'static>>,
    alpn: Vec<Vec<u8>>,
    host: OnceLock<Arc<ClientConfig>>,
    proxy: OnceLock<Arc<ClientConfig>>,
}

/// The platform's certificates, read once for all clients: it can take tens of milliseconds.
static PLATFORM: OnceLock<RootCertStore> = OnceLock::new();

/// There is nothing to check a certificate against.
#[derive(Debug)]
pub(super) struct NoRoots;

// ===== impl Tls =====

impl Tls {
    /// A TLS side that trusts the platform's roots and these, and offers these protocols to the
    /// host.
    pub(super) fn new(extra: Vec<CertificateDer<'static>>, alpn: &[&str]) -> Self {
        Self {
            extra,
            alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..Self::default()
        }
    }

    /// For the handshake with the host.
    pub(super) async fn to_host(&self) -> Result<Arc<ClientConfig>, BoxError> {
        self.config(&self.host, &self.alpn).await
    }

    /// For the handshake with a proxy in front of it, which is spoken to in HTTP/1.1.
    pub(super) async fn to_proxy(&self) -> Result<Arc<ClientConfig>, BoxError> {
        self.config(&self.proxy, &[]).await
    }

    async fn config(
        &self,
        made: &OnceLock<Arc<ClientConfig>>,
        alpn: &[Vec<u8>],
    ) -> Result<Arc<ClientConfig>, BoxError> {
        if let Some(config) = made.get() {
            return Ok(config.clone());
        }
        let platform = match PLATFORM.get() {
            Some(roots) => roots,
            None => tokio::task::spawn_blocking(|| PLATFORM.get_or_init(platform)).await?,
        };
        let config = configure(platform, &self.extra, alpn)?;
        Ok(made.get_or_init(|| Arc::new(config)).clone())
    }
}

/// The certificates in this PEM text.
///
/// Nothing of it is repeated in an error: it may be a key that was put here by mistake.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    const EXPECTED: &str = "PEM with at least one `BEGIN CERTIFICATE` section";
    let refuse = |found| Error::setup("root certificate", found, EXPECTED);
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| refuse("malformed PEM"))?;
    if found.is_empty() {
        return Err(refuse("no certificate"));
    }
    let mut store = RootCertStore::empty();
    for certificate in &found {
        let added = store.add(certificate.clone());
        added.map_err(|_| refuse("a section that is not an X.509 certificate"))?;
    }
    Ok(found)
}

fn platform() -> RootCertStore {
    let mut store = RootCertStore::empty();
    // Platforms keep some that no verifier can use; that they are left out is usual.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

fn configure(
    platform: &RootCertStore,
    extra: &[CertificateDer<'static>],
    alpn: &[Vec<u8>],
) -> Result<ClientConfig, BoxError> {
    let mut roots = platform.clone();
    for certificate in extra {
        roots.add(certificate.clone())?;
    }
    if roots.is_empty() {
        return Err(NoRoots.into());
    }
    // The provider is named, because the process-wide default may be somebody else's.
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.to_vec();
    Ok(config)
}

/// What a TLS failure means, in the handshake or after it.
pub(super) fn kind_of(error: &rustls::Error, handshake: bool) -> Kind {
    use rustls::Error as Tls;
    match error {
        Tls::AlertReceived(alert) if refuses(*alert) => Kind::Tls,
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented | Tls::UnsupportedNameType => {
            Kind::Certificate
        }
        Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol => Kind::Tls,
        // What a peer that does not speak TLS sends looks like this.
        Tls::InvalidMessage(_) | Tls::PeerSentOversizedRecord if handshake => Kind::Tls,
        _ if handshake => Kind::Connect,
        Tls::AlertReceived(_) => Kind::Reset,
        _ => Kind::Malformed,
    }
}

/// Whether the peer says that our side is not acceptable, and not that it is in trouble itself.
/// With TLS 1.3 a server says so of a client's certificate after the handshake, but before it
/// reads any request.
fn refuses(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::UnrecognisedName
            | AlertDescription::CertificateRequired
            | AlertDescription::NoApplicationProtocol
    )
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("extra_roots", &self.extra.len())
            .finish_non_exhaustive()
    }
}

// ===== impl NoRoots =====

impl NoRoots {
    pub(super) const FOUND: &str = "no root certificate";
    pub(super) const EXPECTED: &str = "some in the platform's store, in `SSL_CERT_FILE` or \
                                       `SSL_CERT_DIR`, or extra ones";
}

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::FOUND)
    }
}

impl StdError for NoRoots {}

#[cfg(test)]
mod tests {
    use rustls::{
        AlertDescription, CertificateError, Error as Tls, InvalidMessage, PeerIncompatible,
        PeerMisbehaved, RootCertStore,
    };

    use super::{Kind, NoRoots, certificates, configure, kind_of};

    #[test]
    fn a_handshake_that_cannot_succeed_is_told_from_one_that_failed() {
        let rows = [
            (CertificateError::UnknownIssuer.into(), Kind::Certificate),
            (CertificateError::Expired.into(), Kind::Certificate),
            (CertificateError::NotValidForName.into(), Kind::Certificate),
            (Tls::NoCertificatesPresented, Kind::Certificate),
            (InvalidMessage::InvalidContentType.into(), Kind::Tls),
            (
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into(),
                Kind::Tls,
            ),
            (
                Tls::AlertReceived(AlertDescription::ProtocolVersion),
                Kind::Tls,
            ),
            (
                Tls::AlertReceived(AlertDescription::NoApplicationProtocol),
                Kind::Tls,
            ),
            (
                Tls::AlertReceived(AlertDescription::InternalError),
                Kind::Connect,
            ),
            (Tls::DecryptError, Kind::Connect),
        ];
        for (error, kind) in rows {
            assert_eq!(kind_of(&error, true), kind, "{error:?}");
        }
    }

    #[test]
    fn after_the_handshake_only_a_refused_certificate_is_certainly_not_sent() {
        let rows = [
            (AlertDescription::CertificateRequired, Kind::Tls),
            (AlertDescription::InternalError, Kind::Reset),
        ];
        for (alert, kind) in rows {
            assert_eq!(kind_of(&Tls::AlertReceived(alert), false), kind);
        }
        let misbehaved = PeerMisbehaved::TooManyEmptyFragments.into();
        let invalid = InvalidMessage::InvalidContentType.into();
        for error in [Tls::DecryptError, misbehaved, invalid] {
            assert_eq!(kind_of(&error, false), Kind::Malformed, "{error:?}");
        }
    }

    #[test]
    fn a_machine_without_roots_says_so() {
        let error = configure(&RootCertStore::empty(), &[], &[]).unwrap_err();
        assert!(error.is::<NoRoots>(), "{error:?}");
    }

    #[test]
    fn one_extra_root_is_enough_on_a_machine_without_roots() {
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let extra = certificates(root.pem().as_bytes()).unwrap();
        assert!(configure(&RootCertStore::empty(), &extra, &[]).is_ok());
    }

    #[test]
    fn s1_pem_that_cannot_be_used_is_not_repeated() {
        let rows = [
            ("", "no certificate"),
            ("canary", "no certificate"),
            (
                "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n",
                "no certificate",
            ),
            ("-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n", "malformed PEM"),
            (
                "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n",
                "a section that is not an X.509 certificate",
            ),
        ];
        for (pem, found) in rows {
            let error = certificates(pem.as_bytes()).unwrap_err();
            let text = format!("{error} {error:#?}");
            assert!(
                text.contains(&format!("found {found}, expected PEM")),
                "{text}"
            );
            assert!(
                !text.contains("canary") && !text.contains("Y2FuYXJ5"),
                "{text}"
            );
        }
    }
}
