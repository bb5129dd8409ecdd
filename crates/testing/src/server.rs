//! The provider on a socket: accepting connections, and their life.

use std::{io, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    Log,
    engine::Engine,
    h1::{Connection, Incoming},
};

/// The most connections that are open at the same time; more wait in the listener's backlog.
const CONNECTIONS: usize = 4096;

/// A connection on the log's count of the open ones.
struct Counted {
    log: Log,
    number: u64,
}

/// Accepts until it is dropped; then every connection is dropped too.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let counted = Counted::new(&engine.log);
                    connections.spawn(connection(stream, Arc::clone(&engine), counted));
                }
                // Out of descriptors, or a client that was gone before it was accepted: the
                // listener is still good. Let those who can free a descriptor run.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers requests until one side closes.
async fn connection(stream: TcpStream, engine: Arc<Engine>, counted: Counted) {
    // A socket that cannot be set up is a socket that is gone: nobody is there to be told.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(stream);
    while let Ok(true) = exchange(&mut connection, &engine, counted.number).await {}
}

/// One request and its reply; whether the connection can be used again.
async fn exchange(
    connection: &mut Connection<TcpStream>,
    engine: &Engine,
    number: u64,
) -> io::Result<bool> {
    match connection.receive(engine).await? {
        Incoming::End => Ok(false),
        Incoming::Request { request, asked } => {
            let (exchange, plan) = engine.answer(number, request);
            Ok(connection.carry_out(plan, exchange, asked).await)
        }
        Incoming::Unreadable { status, why } => {
            if status != http::StatusCode::PAYLOAD_TOO_LARGE {
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
