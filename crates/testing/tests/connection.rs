//! The way to a provider: faults of the connection, TLS, and HTTP/2.

mod support;

use std::{io::ErrorKind, sync::Arc, time::Duration};

use buttress_testing::{
    Carrier, Dialect, Ending, Fault, Match, Provider, Reply, Running, StartError,
};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use support::post;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

async fn start(provider: Provider) -> Running {
    provider.start().await.unwrap()
}

/// A TLS handshake by a client that trusts what the provider says is to be trusted.
async fn handshake(
    provider: &Running,
    trusted: Option<&str>,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted {
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(provider.address()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn tls_error(error: &std::io::Error) -> &rustls::Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_refused_for_as_long_as_the_provider_lives() {
    let provider = start(Provider::openai().reply(Fault::ConnectRefused)).await;
    for _ in 0..3 {
        let error = TcpStream::connect(provider.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    provider.finish();
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_connection_that_times_out_never_comes_about() {
    let provider = start(Provider::openai().reply(Fault::ConnectTimeout)).await;
    let connecting = TcpStream::connect(provider.address());
    timeout(Duration::from_millis(50), connecting)
        .await
        .unwrap_err();
    provider.finish();
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_in_the_url() {
    let provider = start(Provider::openai().reply(Fault::NoSuchName)).await;
    assert!(provider.base_url().starts_with("http://provider.invalid:"));
    assert!(provider.base_url().ends_with("/v1"));
}

#[tokio::test]
async fn a_handshake_is_reset() {
    let provider = start(Provider::openai().reply(Fault::HandshakeReset)).await;
    assert!(provider.origin().starts_with("https://127.0.0.1:"));
    let error = handshake(&provider, None, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn plaintext_answers_a_handshake() {
    let provider = start(Provider::openai().reply(Fault::Plaintext)).await;
    assert!(provider.origin().starts_with("https://"));
    let error = handshake(&provider, None, &[]).await.unwrap_err();
    assert!(
        matches!(tls_error(&error), rustls::Error::InvalidMessage(_)),
        "{error:?}"
    );
    provider.finish();
}

#[tokio::test]
async fn bad_certificates_are_bad_each_in_its_way() {
    for fault in [Fault::UnknownIssuer, Fault::WrongHost, Fault::Expired] {
        let provider = start(Provider::openai().reply(fault)).await;
        let error = handshake(&provider, provider.ca_pem(), &[])
            .await
            .unwrap_err();
        let rustls::Error::InvalidCertificate(error) = tls_error(&error) else {
            panic!("{error:?}");
        };
        let right = match fault {
            Fault::UnknownIssuer => matches!(
                error,
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ),
            Fault::WrongHost => matches!(error, CertificateError::NotValidForNameContext { .. }),
            _ => matches!(error, CertificateError::ExpiredContext { .. }),
        };
        assert!(right, "{fault}: {error:?}");
        provider.finish();
    }
}

#[tokio::test]
async fn with_a_good_certificate_tls_carries_replies_and_faults() {
    let script = Reply::text("Hello there").then(Fault::Reset { after: 1 });
    let provider = start(Provider::openai().tls().reply(script)).await;
    let stream = handshake(&provider, provider.ca_pem(), &[b"http/1.1"])
        .await
        .unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let asked = serde_json::json!({ "stream": true });
    let ask = post("/v1/chat/completions", &asked);
    write.write_all(ask.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"0\r\n\r\n") {
        assert!(read.read_buf(&mut text).await.unwrap() > 0);
    }
    assert!(String::from_utf8(text).unwrap().contains(" there"));
    write.write_all(ask.as_bytes()).await.unwrap();
    let error = read.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    provider.finish();
}

#[tokio::test]
async fn over_tls_a_closed_connection_is_closed_and_not_cut() {
    let provider = start(Provider::openai().tls().reply(Reply::text("Hi"))).await;
    let mut stream = handshake(&provider, provider.ca_pem(), &[]).await.unwrap();
    let ask = "POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("connection: close\r\n") && text.contains("Hi"));
}

#[tokio::test]
async fn a_client_that_trusts_nobody_tells_the_provider_so() {
    let provider = start(Provider::openai().tls()).await;
    let error = handshake(&provider, None, &[]).await.unwrap_err();
    assert!(!matches!(
        tls_error(&error),
        rustls::Error::AlertReceived(AlertDescription::InternalError)
    ));
    provider.log().wait_until_closed().await;
    provider.finish();
}

#[tokio::test]
async fn a_fault_of_the_connection_stands_alone() {
    let mixed = Reply::text("first").then(Fault::ConnectRefused);
    let error = Provider::openai().reply(mixed).start().await.unwrap_err();
    assert!(matches!(error, StartError::Script(_)));
    assert!(error.to_string().contains("ConnectRefused"), "{error}");
    let error = Provider::openai()
        .reply(Fault::NoRoute)
        .start()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("in-process service alone"),
        "{error}"
    );
}

fn http2() -> Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .timer(TokioTimer::new())
        .build_http()
}

#[tokio::test]
async fn http2_is_spoken_to_those_who_begin_with_it() {
    for dialect in Dialect::ALL {
        let reply = Reply::text("Hello there").headers_after(Duration::from_millis(1));
        let provider = start(Provider::new(dialect).reply(reply)).await;
        let client = http2();
        for streamed in [false, true] {
            let ask = provider.ask("test", "Say hello");
            let ask = if streamed { ask.streamed() } else { ask };
            let response = client.request(ask.request()).await.unwrap();
            assert_eq!(
                (response.version(), response.status().as_u16()),
                (Version::HTTP_2, 200)
            );
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8(body.to_vec()).unwrap().contains(" there"));
        }
        let log = provider.log();
        assert_eq!(
            (log.connections(), log.received(), log.billed().output),
            (1, 2, 4)
        );
        provider.finish();
    }
}

#[tokio::test]
async fn http2_is_negotiated_over_tls() {
    let provider = start(Provider::openai().tls().reply(Reply::text("Hi"))).await;
    let stream = handshake(&provider, provider.ca_pem(), &[b"h2"])
        .await
        .unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let ask = provider.ask("test", "Say hi").request();
    let (parts, body) = ask.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (response, mut send) = client
        .send_request(Request::from_parts(parts, ()), false)
        .unwrap();
    send.send_data(body, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    driver.abort();
}

/// One call over HTTP/2, and how it fails.
async fn fail(provider: &Running) -> h2::Error {
    let stream = TcpStream::connect(provider.address()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post(provider.call_url("m", false))
        .body(())
        .unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let error = match response.await {
        Err(error) => error,
        Ok(response) => {
            let mut body = response.into_body();
            loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("the call went well"),
                }
            }
        }
    };
    driver.abort();
    error
}

#[tokio::test]
async fn a_stream_is_refused_or_left_behind_by_a_goaway() {
    let provider = start(Provider::openai().on(Match::any(), Fault::RefusedStream)).await;
    let error = fail(&provider).await;
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));

    let provider = start(Provider::openai().on(Match::any(), Fault::GoAway)).await;
    let error = fail(&provider).await;
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
    assert_eq!(
        provider.log().last().unwrap().ending(),
        Some(Ending::BrokenOff)
    );
}

#[tokio::test]
async fn a_stream_of_http2_is_reset_after_what_came_before() {
    let script = Reply::text("one two three").fault(Fault::Reset { after: 2 });
    let provider = start(Provider::openai().reply(script)).await;
    let client = http2();
    for _ in 0..20 {
        let ask = provider.ask("test", "Count").streamed().request();
        let mut body = client.request(ask).await.unwrap().into_body();
        let mut text = Vec::new();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap()),
                Err(error) => break error,
            }
        };
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(" two") && !text.contains(" three"), "{text}");
        let error = std::error::Error::source(&error).unwrap();
        let error = error.downcast_ref::<h2::Error>().unwrap();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    }
    assert_eq!(provider.log().billed().output, 40);
    assert_eq!(provider.log().connections(), 1);
}

#[tokio::test]
async fn a_stream_of_http2_that_is_left_is_seen() {
    let provider =
        start(Provider::openai().reply(Reply::text("x").fault(Fault::Stall { after: 0 }))).await;
    let client = http2();
    let ask = provider.ask("test", "Say hi").streamed().request();
    let response = client.request(ask).await.unwrap();
    assert_eq!(provider.log().in_flight(), 1);
    drop(response);
    provider.log().wait_for_disconnects(1).await;
}

#[tokio::test]
async fn a_pooled_client_uses_its_connection_again() {
    let provider = start(Provider::openai().reply(Reply::text("Hi"))).await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for _ in 0..5 {
        let response = client
            .request(provider.ask("test", "Say hi").request())
            .await
            .unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(
        (provider.log().received(), provider.log().connections()),
        (5, 1)
    );
    provider.finish();
}

#[tokio::test]
async fn what_a_carrier_cannot_carry_is_known_beforehand() {
    let rows = Fault::all();
    let carried = |carrier| {
        rows.iter()
            .filter(|fault| fault.carried_by(carrier))
            .count()
    };
    assert!(rows.iter().all(|fault| {
        [Carrier::Socket, Carrier::Http2, Carrier::InProcess]
            .into_iter()
            .any(|carrier| fault.carried_by(carrier))
    }));
    assert!(carried(Carrier::Http2) < carried(Carrier::Socket));
}
