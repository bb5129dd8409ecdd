//! The sockets: who is let in, and how it ends.

use std::{io, pin::pin, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{app::Apps, config::Limits};

/// The order to stop: SIGTERM, or ctrl-c.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// Those who were let in, and have not left.
#[derive(Debug)]
pub(crate) struct Connections {
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
}

/// Serves everybody who connects, until `stop` is ready.
pub(crate) async fn serve(
    listener: TcpListener,
    limits: &Limits,
    apps: &Apps,
    stop: impl Future<Output = ()>,
) -> Connections {
    let mut http = http1::Builder::new();
    // Between two requests of a connection, too: an idle caller is let go.
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.read);
    let graceful = GracefulShutdown::new();
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept(), if tasks.len() < limits.connections => match accepted {
                Ok((stream, peer)) => {
                    // A caller that leaves, or does not speak HTTP, is nobody's business: here,
                    // and below.
                    let _ = stream.set_nodelay(true);
                    let app = apps.of(peer);
                    let service = service_fn(move |request| app.clone().serve(request));
                    let connection = http.serve_connection(TokioIo::new(stream), service);
                    let connection = graceful.watch(connection);
                    tasks.spawn(async move {
                        let _ = connection.await;
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors: those who have one need a moment to give it back.
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
            Some(_) = tasks.join_next() => {}
            () = &mut stop => return Connections { graceful, tasks },
        }
    }
}

// ===== impl Connections =====

impl Connections {
    /// Lets the requests that are under way finish, but not beyond the bound or the order to `cut`.
    /// Says whether they did.
    pub(crate) async fn drain(self, bound: Duration, cut: impl Future<Output = ()>) -> bool {
        let Self {
            graceful,
            mut tasks,
        } = self;
        let finished = tokio::select! {
            finished = timeout(bound, graceful.shutdown()) => finished.is_ok(),
            () = cut => false,
        };
        // Whatever is cut off is over, and has been counted and logged, when this returns.
        tasks.shutdown().await;
        finished
    }
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
