//! Through proxies.

use std::{env, io, process::Command};

use buttress_core::{Class, Sent};
use buttress_http::client::{Client, Kind, Proxies};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    support::{CANARY, Server, deaf, fails, get, gone, read_head, reply, request, reset},
    tls::{Authority, answer},
};

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
/// `user:` and the canary, in base64.
const CREDENTIALS: &str = "Basic dXNlcjpzay1jYW5hcnktMDEyMzQ1Njc4OWFiY2RlZg==";

fn through(client: Client, proxy: &str) -> Client {
    let proxies = Proxies::from_vars(|name| (name == "ALL_PROXY").then(|| proxy.to_owned()));
    client.proxies(&proxies).unwrap()
}

fn with_credentials(scheme: &str, proxy: &Server) -> String {
    format!("{scheme}://user:{CANARY}@{}", proxy.addr)
}

/// A proxy that tunnels, and hands out the heads that it reads.
async fn tunnelling() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (read, heads) = mpsc::unbounded_channel();
    let server = Server::new(move |_, mut near| {
        let read = read.clone();
        async move {
            let head = read_head(&mut near).await?;
            let to = head.split(' ').nth(1).unwrap().to_owned();
            read.send(head).unwrap();
            let mut far = TcpStream::connect(to).await?;
            near.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
            copy_bidirectional(&mut near, &mut far).await.map(drop)
        }
    })
    .await;
    (server, heads)
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_and_the_proxys_credentials_no_further() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", &[]);
    let (inside, mut heads) = mpsc::unbounded_channel();
    let server = Server::new(move |_, stream| {
        let (acceptor, inside) = (acceptor.clone(), inside.clone());
        async move {
            let mut stream = acceptor.accept(stream).await?;
            inside.send(read_head(&mut stream).await?).unwrap();
            stream.write_all(HELLO).await?;
            stream.shutdown().await
        }
    })
    .await;
    let (proxy, mut connects) = tunnelling().await;
    let client = crate::tls::https(server.addr)
        .extra_root_pem(authority.pem())
        .unwrap();
    let client = through(client, &with_credentials("http", &proxy));
    assert_eq!(reply(&client, get("/x")).await, "hello");

    let to = server.addr;
    assert_eq!(
        connects.recv().await.unwrap(),
        format!(
            "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: {CREDENTIALS}\r\n\r\n"
        )
    );
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("GET /v1/x HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("proxy-authorization"), "{head}");
}

#[tokio::test]
async fn plain_http_is_read_by_the_proxy() {
    let (read, mut heads) = mpsc::unbounded_channel();
    let proxy = Server::new(move |_, mut stream| {
        let read = read.clone();
        async move {
            loop {
                read.send(read_head(&mut stream).await?).unwrap();
                stream.write_all(HELLO).await?;
            }
        }
    })
    .await;
    let client = Client::direct("http://api.example.com/v1").unwrap();
    let client = through(client, &with_credentials("http", &proxy));
    for _ in 0..2 {
        let mut request = get("/x?y=1");
        request
            .headers_mut()
            .insert("proxy-authorization", "Basic theirs".parse().unwrap());
        assert_eq!(reply(&client, request).await, "hello");
        let head = heads.recv().await.unwrap();
        let start = "GET http://api.example.com/v1/x?y=1 HTTP/1.1\r\n";
        assert!(head.starts_with(start), "{head}");
        assert!(head.contains("\r\nhost: api.example.com\r\n"), "{head}");
        let credentials = format!("\r\nproxy-authorization: {CREDENTIALS}\r\n");
        assert!(head.contains(&credentials), "{head}");
        assert!(!head.contains("theirs"), "{head}");
    }
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn http_2_without_tls_goes_through_a_tunnel() {
    let server = Server::new(|_, stream| crate::http2::answer_all(stream)).await;
    let (proxy, mut connects) = tunnelling().await;
    let client = server.client().http2_only();
    let client = through(client, &with_credentials("http", &proxy));
    assert_eq!(reply(&client, get("/x")).await, "hello");
    let connect = connects.recv().await.unwrap();
    assert!(connect.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.addr)));
}

#[tokio::test]
async fn a_proxy_may_be_behind_tls_itself() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", &["h2", "http/1.1"]);
    let proxy = Server::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move { answer(acceptor.accept(stream).await?).await }
    })
    .await;
    let client = Client::direct("http://api.example.com").unwrap();
    let client = client.extra_root_pem(authority.pem()).unwrap();
    let client = through(client, &format!("https://{}", proxy.addr));
    assert_eq!(reply(&client, get("/x")).await, "hello");

    let other = Authority::new();
    let client = Client::direct("http://api.example.com").unwrap();
    let client = client.extra_root_pem(other.pem()).unwrap();
    let client = through(client, &format!("https://{}", proxy.addr));
    fails(&client, Kind::Certificate, Class::Unfit, Sent::No).await;
}

/// A client of a host behind TLS, through a proxy that reads one head and plays `script`.
async fn refused_with(answer: &'static str, kind: Kind, class: Class) {
    let proxy = Server::answering(answer).await;
    let client = Client::direct("https://api.example.com").unwrap();
    let client = through(client, &with_credentials("http", &proxy));
    fails(&client, kind, class, Sent::No).await;
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_was_not_sent_to() {
    refused_with(
        "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        Kind::Proxy,
        Class::Unfit,
    )
    .await;
    for answer in [
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
        "HTTP/1.1 200",
        "Basic dXNlcjpzay1jYW5hcnktMDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
        "",
    ] {
        refused_with(answer, Kind::Connect, Class::Unavailable).await;
    }
    let resets = Server::after_head(|stream| async move { reset(&stream) }).await;
    let client = Client::direct("https://api.example.com").unwrap();
    let client = through(client, &with_credentials("http", &resets));
    fails(&client, Kind::Connect, Class::Unavailable, Sent::No).await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_refuses_like_a_host() {
    let (_deaf, addr) = deaf();
    for base in ["http://api.example.com", "https://api.example.com"] {
        let client = through(Client::direct(base).unwrap(), &format!("http://{addr}"));
        fails(&client, Kind::ConnectRefused, Class::Unavailable, Sent::No).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_covers_the_proxy() {
    let proxy = Server::new(|_, mut stream| async move {
        gone(&mut stream).await;
        Ok(())
    })
    .await;
    for scheme in ["http", "socks5h"] {
        let client = Client::direct("https://api.example.com").unwrap();
        let client = through(client, &with_credentials(scheme, &proxy));
        fails(&client, Kind::ConnectTimeout, Class::Unavailable, Sent::No).await;
    }
}

/// The server's side of SOCKS5 (RFC 1928, RFC 1929). It hands out what it was asked for: a user
/// and password, and a host and port.
async fn socks5(
    mut near: TcpStream,
    to: std::net::SocketAddr,
    welcome: bool,
) -> io::Result<(String, String)> {
    async fn text(stream: &mut TcpStream) -> io::Result<String> {
        let mut text = vec![0; stream.read_u8().await?.into()];
        stream.read_exact(&mut text).await?;
        Ok(String::from_utf8(text).unwrap())
    }
    assert_eq!(near.read_u8().await?, 5);
    let mut methods = vec![0; near.read_u8().await?.into()];
    near.read_exact(&mut methods).await?;
    let mut user = String::new();
    if methods.contains(&2) {
        near.write_all(&[5, 2]).await?;
        assert_eq!(near.read_u8().await?, 1);
        user = text(&mut near).await? + ":" + &text(&mut near).await?;
        near.write_all(&[1, u8::from(!welcome)]).await?;
        if !welcome {
            return Ok((user, String::new()));
        }
    } else {
        near.write_all(&[5, 0]).await?;
    }
    let mut command = [0; 4];
    near.read_exact(&mut command).await?;
    assert_eq!(command[..3], [5, 1, 0]);
    let host = match command[3] {
        1 => std::net::Ipv4Addr::from(near.read_u32().await?).to_string(),
        3 => text(&mut near).await?,
        4 => std::net::Ipv6Addr::from(near.read_u128().await?).to_string(),
        other => panic!("address type {other}"),
    };
    let host = format!("{host}:{}", near.read_u16().await?);
    near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let mut far = TcpStream::connect(to).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok((user, host))
}

#[tokio::test]
async fn socks_proxies_tunnel_by_name_or_by_address() {
    let server = Server::answering(HELLO).await;
    let to = server.addr;
    let rows = [
        (
            "socks5h://user:pass%40word@",
            "api.example.com:80",
            "user:pass@word",
        ),
        ("socks5h://", "api.example.com:80", ""),
        ("socks5://", "localhost:4321", ""),
    ];
    for (scheme, host, user) in rows {
        let (tell, mut told) = mpsc::unbounded_channel();
        let proxy = Server::new(move |_, stream| {
            let tell = tell.clone();
            async move {
                tell.send(socks5(stream, to, true).await?).unwrap();
                Ok(())
            }
        })
        .await;
        let client = Client::direct(&format!("http://{host}")).unwrap();
        let client = through(client, &format!("{scheme}{}", proxy.addr));
        assert_eq!(reply(&client, get("/x")).await, "hello");
        drop(client);
        let (asked_user, asked_host) = told.recv().await.unwrap();
        assert_eq!(asked_user, user);
        if scheme == "socks5://" {
            let loopback = ["127.0.0.1:4321", "::1:4321"];
            assert!(loopback.contains(&asked_host.as_str()), "{asked_host}");
        } else {
            assert_eq!(asked_host, host);
        }
    }
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_our_password_says_so() {
    let proxy = Server::new(|_, stream| async move {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        socks5(stream, nowhere, false).await.map(drop)
    })
    .await;
    let client = Client::direct("https://api.example.com").unwrap();
    let client = through(client, &with_credentials("socks5h", &proxy));
    fails(&client, Kind::Proxy, Class::Unfit, Sent::No).await;
}

#[tokio::test]
async fn what_no_proxy_names_is_reached_directly() {
    let server = Server::answering(HELLO).await;
    let proxies = Proxies::from_vars(|name| match name {
        "ALL_PROXY" => Some("http://127.0.0.1:1".into()),
        "NO_PROXY" => Some("127.0.0.0/8".into()),
        _ => None,
    });
    let client = server.client().proxies(&proxies).unwrap();
    assert_eq!(reply(&client, request()).await, "hello");
    let client = client.proxies(&Proxies::default()).unwrap();
    assert_eq!(reply(&client, request()).await, "hello");
}

/// A process cannot change its own environment safely, so this one starts itself again.
#[test]
fn the_environment_is_read_when_the_client_is_made() {
    const CHILD: &str = "BUTTRESS_TEST_CHILD";
    if env::var_os(CHILD).is_some() {
        let proxied = format!("{:?}", Client::new("https://api.example.com").unwrap());
        assert!(proxied.contains("http://proxy.example:3128/"), "{proxied}");
        let direct = format!("{:?}", Client::new("https://api.internal").unwrap());
        assert!(direct.contains("proxy: None"), "{direct}");
        let direct = format!("{:?}", Client::direct("https://api.example.com").unwrap());
        assert!(direct.contains("proxy: None"), "{direct}");
        let error = Client::new("http://api.example.com").unwrap_err();
        assert_eq!(error.kind(), Kind::Setup);
        assert!(error.to_string().contains("HTTP_PROXY: found"), "{error}");
        return;
    }
    let name = "proxies::the_environment_is_read_when_the_client_is_made";
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, "1")
        .env_remove("REQUEST_METHOD")
        .env("HTTPS_PROXY", "proxy.example:3128")
        .env("HTTP_PROXY", "gopher://proxy.example")
        .env("NO_PROXY", "internal")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
}
