//! The sockets: who is let in, and how it ends.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{app::Apps, config::Limits};

/// The order to stop: SIGTERM, or ctrl-c.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// Serves everybody who connects, until `stop` is ready.
pub(crate) async fn serve(
    listener: TcpListener,
    limits: &Limits,
    apps: &Apps,
    stop: impl Future<Output = ()>,
) -> GracefulShutdown {
    let mut http = http1::Builder::new();
    // Between two requests of a connection, too: an idle caller is let go.
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.read);
    let places = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => return connections,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(_) => {
                // Out of descriptors: those who have one need a moment to give it back.
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // A caller that leaves, or does not speak HTTP, is nobody's business: here, and below.
        let _ = stream.set_nodelay(true);
        let app = apps.of(peer);
        let service = service_fn(move |request| app.clone().serve(request));
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _ = connection.await;
            drop(place);
        });
    }
}

/// Lets the requests that are under way finish, within the limit. Says whether they did.
pub(crate) async fn drain(connections: GracefulShutdown, limits: &Limits) -> bool {
    timeout(limits.drain, connections.shutdown()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, impl Send + use<>)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

// ===== impl Signals =====

impl Signals {
    /// From here on, the order does not end the process by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let interrupt = async {
            if tokio::signal::ctrl_c().await.is_err() {
                // It cannot be listened for, and so does what it always does.
                std::future::pending().await
            }
        };
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            () = interrupt => {}
        }
        #[cfg(not(unix))]
        interrupt.await;
    }
}
