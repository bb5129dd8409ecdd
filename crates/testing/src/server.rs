//! The provider on a socket: accepting connections, and their life.

use std::{io, sync::Arc};

use http::StatusCode;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    Carrier, Log,
    engine::Engine,
    h1::{Connection, Incoming, Transport},
    h2,
    way::Way,
};

/// The most connections that are open at the same time; more wait in the listener's backlog.
const CONNECTIONS: usize = 4096;

/// A connection on the log's count of the open ones.
struct Counted {
    log: Log,
    number: u64,
}

/// Accepts until it is dropped; then every connection is dropped too.
pub(crate) async fn serve(listener: TcpListener, way: Way, engine: Arc<Engine>) {
    let way = Arc::new(way);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let counted = Counted::new(&engine.log);
                    let (engine, way) = (Arc::clone(&engine), Arc::clone(&way));
                    connections.spawn(arrive(stream, way, engine, counted));
                }
                // Out of descriptors, or a client that was gone before it was accepted: the
                // listener is still good. Let those who can free a descriptor run.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A connection from its first byte on.
async fn arrive(mut stream: TcpStream, way: Arc<Way>, engine: Arc<Engine>, counted: Counted) {
    // A socket that cannot be set up is a socket that is gone: nobody is there to be told.
    let _ = stream.set_nodelay(true);
    match &*way {
        Way::Plain => speak(stream, None, engine, counted.number).await,
        Way::Tls(tls) => {
            // A client that does not trust us ends the handshake: that is for it to tell.
            if let Ok(stream) = tls.acceptor.accept(stream).await {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                speak(stream, Some(http2), engine, counted.number).await;
            }
        }
        Way::HandshakeReset => {
            if stream.read(&mut [0]).await.is_ok() {
                stream.reset_on_drop();
            }
        }
        Way::Plaintext => {
            let mut connection = Connection::new(stream);
            let why = "this port speaks no TLS";
            let plan = engine.refuse(StatusCode::BAD_REQUEST, why);
            let _ = connection.refuse(&plan).await;
        }
    }
}

/// Speaks HTTP/1.1 or HTTP/2; where it is not agreed yet, the client's first bytes tell which.
async fn speak<T: Transport>(io: T, http2: Option<bool>, engine: Arc<Engine>, number: u64) {
    let mut connection = Connection::new(io);
    let http2 = match http2 {
        Some(http2) => http2,
        None => match connection.begins_with(h2::PREFACE).await {
            Ok(http2) => http2,
            Err(_) => return,
        },
    };
    if http2 {
        let (io, read) = connection.into_parts();
        return h2::serve(io, read, engine, number).await;
    }
    while let Ok(true) = exchange(&mut connection, &engine, number).await {}
}

/// One request and its reply; whether the connection can be used again.
async fn exchange<T: Transport>(
    connection: &mut Connection<T>,
    engine: &Engine,
    number: u64,
) -> io::Result<bool> {
    match connection.receive(engine).await? {
        Incoming::End => Ok(false),
        Incoming::Request { request, asked } => {
            let (exchange, plan) = engine.answer(Carrier::Socket, number, request);
            Ok(connection.carry_out(plan, exchange, asked).await)
        }
        Incoming::Unreadable { status, why } => {
            if status != StatusCode::PAYLOAD_TOO_LARGE {
                engine.fail(format!("a request on connection {number}: {why}"));
            }
            let plan = engine.refuse(status, &why);
            connection.refuse(&plan).await?;
            Ok(false)
        }
    }
}

// ===== impl Counted =====

impl Counted {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            number: log.connected(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.log.closed();
    }
}
