//! Certificates and handshakes.

use std::{env, io, net::SocketAddr, process::Command, sync::Arc};

use buttress_core::{Class, Sent};
use buttress_http::client::{Client, Kind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower_service::Service;

use crate::support::{Server, fails, get, gone, may_have_been_served, read_head, reply, reset};

/// An authority that clients can be made to trust.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The TLS side of a server with a certificate for this name.
    pub(crate) fn acceptor(&self, name: &str, alpn: &[&str]) -> TlsAcceptor {
        self.acceptor_with(name, alpn, |_| {})
    }

    fn acceptor_with(
        &self,
        name: &str,
        alpn: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> TlsAcceptor {
        let (chain, key) = self.issue(name, change);
        acceptor(chain, key, None, alpn)
    }

    fn issue(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.into())
    }
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    clients: Option<&Authority>,
    alpn: &[&str],
) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A server that answers one request over TLS.
async fn serving(acceptor: TlsAcceptor) -> Server {
    Server::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move { answer(acceptor.accept(stream).await?).await }
    })
    .await
}

pub(crate) async fn answer(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    read_head(&mut stream).await?;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    stream.write_all(head).await?;
    stream.shutdown().await
}

pub(crate) fn https(addr: SocketAddr) -> Client {
    Client::direct(&format!("https://{addr}/v1")).unwrap()
}

fn trusting(addr: SocketAddr, authority: &Authority) -> Client {
    https(addr).extra_root_pem(authority.pem()).unwrap()
}

#[tokio::test]
async fn a_certificate_of_an_extra_root_is_trusted() {
    let authority = Authority::new();
    for alpn in [&[][..], &["http/1.1"]] {
        let server = serving(authority.acceptor("127.0.0.1", alpn)).await;
        let client = trusting(server.addr, &authority);
        assert_eq!(reply(&client, get("/x")).await, "hello");
    }
}

#[tokio::test]
async fn each_of_several_roots_is_trusted() {
    let (one, other) = (Authority::new(), Authority::new());
    for served in [&one, &other] {
        let server = serving(served.acceptor("127.0.0.1", &[])).await;
        let bundle = https(server.addr).extra_root_pem(one.pem() + &other.pem());
        assert_eq!(reply(&bundle.unwrap(), get("/x")).await, "hello");
        let added = trusting(server.addr, &one).extra_root_pem(other.pem());
        assert_eq!(reply(&added.unwrap(), get("/x")).await, "hello");
    }
}

#[tokio::test]
async fn http_2_is_taken_where_the_server_offers_it() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", &["h2", "http/1.1"]);
    let server = Server::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(stream).await?;
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if h2 {
                crate::http2::answer_all(stream).await
            } else {
                answer(stream).await
            }
        }
    })
    .await;
    let client = trusting(server.addr, &authority);
    let version = async |client: &Client| {
        let response = crate::support::call(client, get("/x")).await;
        response.unwrap().version()
    };
    assert_eq!(version(&client).await, http::Version::HTTP_2);
    assert_eq!(
        version(&client.clone().http2_only()).await,
        http::Version::HTTP_2
    );
    assert_eq!(version(&client.http1_only()).await, http::Version::HTTP_11);
}

#[tokio::test]
async fn an_unknown_issuer_is_a_mistake_in_the_configuration() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let server = serving(other.acceptor("127.0.0.1", &[])).await;
    let client = trusting(server.addr, &trusted);
    fails(&client, Kind::Certificate, Class::Unfit, Sent::No).await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_a_mistake_in_the_configuration() {
    let authority = Authority::new();
    for name in ["127.0.0.2", "api.example.com"] {
        let server = serving(authority.acceptor(name, &[])).await;
        let client = trusting(server.addr, &authority);
        fails(&client, Kind::Certificate, Class::Unfit, Sent::No).await;
    }
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_a_mistake_in_the_configuration() {
    let authority = Authority::new();
    let expired = authority.acceptor_with("127.0.0.1", &[], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = authority.acceptor_with("127.0.0.1", &[], |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    for acceptor in [expired, early] {
        let server = serving(acceptor).await;
        let client = trusting(server.addr, &authority);
        fails(&client, Kind::Certificate, Class::Unfit, Sent::No).await;
    }
}

#[tokio::test]
async fn tls_against_plain_http_is_a_mistake_in_the_configuration() {
    let server = Server::new(|_, mut stream| async move {
        stream.read_u8().await?;
        let head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head).await?;
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    let client = trusting(server.addr, &Authority::new());
    fails(&client, Kind::Tls, Class::Unfit, Sent::No).await;
}

#[tokio::test]
async fn plain_http_against_tls_is_malformed() {
    let authority = Authority::new();
    let server = serving(authority.acceptor("127.0.0.1", &[])).await;
    may_have_been_served(&server.client(), Kind::Malformed).await;
}

#[tokio::test]
async fn no_common_protocol_is_a_mistake_in_the_configuration() {
    let authority = Authority::new();
    let server = serving(authority.acceptor("127.0.0.1", &["http/1.1"])).await;
    let client = trusting(server.addr, &authority).http2_only();
    fails(&client, Kind::Tls, Class::Unfit, Sent::No).await;
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_is_a_mistake_in_the_configuration() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("127.0.0.1", |_| {});
    let server = serving(acceptor(certificate, key, Some(&authority), &[])).await;
    let client = trusting(server.addr, &authority);
    fails(&client, Kind::Tls, Class::Unfit, Sent::No).await;
}

#[tokio::test]
async fn a_handshake_that_breaks_off_was_not_sent() {
    let resets = Server::new(|_, mut stream| async move {
        stream.read_u8().await?;
        reset(&stream)
    })
    .await;
    let closes = Server::new(|_, mut stream| async move {
        // All of it, or the close would be a reset.
        let mut hello = vec![0; 4096];
        assert_ne!(stream.read(&mut hello).await?, 0);
        Ok(())
    })
    .await;
    for server in [resets, closes] {
        let client = trusting(server.addr, &Authority::new());
        fails(&client, Kind::Connect, Class::Unavailable, Sent::No).await;
    }
}

#[tokio::test]
async fn a_close_over_tls_without_an_answer_may_have_been_served() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", &[]);
    let server = Server::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            // Without the words that TLS has for it, as a crashed process does.
            read_head(&mut stream).await.map(drop)
        }
    })
    .await;
    let client = trusting(server.addr, &authority);
    may_have_been_served(&client, Kind::Closed).await;
}

/// hyper-util by itself would have the second request wait for the first one's connection, and
/// fail when that one's caller leaves.
#[tokio::test]
async fn a_handshake_that_hangs_does_not_hold_up_other_requests() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", &["h2"]);
    let (accepted, mut arrived) = mpsc::unbounded_channel();
    let server = Server::new(move |number, mut stream| {
        accepted.send(()).unwrap();
        let acceptor = acceptor.clone();
        async move {
            if number == 0 {
                gone(&mut stream).await;
                return Ok(());
            }
            crate::http2::answer_all(acceptor.accept(stream).await?).await
        }
    })
    .await;
    let client = trusting(server.addr, &authority).http2_only();
    let first = tokio::spawn(client.clone().call(get("/x")));
    arrived.recv().await.unwrap();
    assert_eq!(reply(&client, get("/x")).await, "hello");
    first.abort();
    assert_eq!(reply(&client, get("/x")).await, "hello");
    assert_eq!(server.accepted(), 2);
}

/// What the platform trusts is read once in a process, so this one starts itself again.
#[tokio::test]
async fn a_machine_without_roots_speaks_plain_http_and_trusts_extra_roots() {
    const CHILD: &str = "BUTTRESS_TEST_CHILD";
    let name = "tls::a_machine_without_roots_speaks_plain_http_and_trusts_extra_roots";
    if env::var_os(CHILD).is_none() {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, "1")
            .env("SSL_CERT_FILE", "/nothing/here")
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        return;
    }
    let plain = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(reply(&plain.client(), get("/x")).await, "hello");

    let authority = Authority::new();
    let server = serving(authority.acceptor("127.0.0.1", &[])).await;
    let error = fails(&https(server.addr), Kind::Setup, Class::Unfit, Sent::No).await;
    let text = format!(
        "{}: unusable setting: TLS: found no root certificate, expected some in",
        server.addr
    );
    assert!(error.to_string().starts_with(&text), "{error}");

    let client = trusting(server.addr, &authority);
    assert_eq!(reply(&client, get("/x")).await, "hello");
}
