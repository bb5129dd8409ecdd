//! The sockets: who is let in, and how it ends.

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, task::Poll, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    app::Apps,
    config::Limits,
    connection::{Protocols, Requests},
};

/// The order to stop: SIGTERM, or ctrl-c.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// Those who were let in, and have not left.
#[derive(Debug)]
pub(crate) struct Connections {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    requests: Requests,
}

/// Serves everybody who connects, until `stop` is ready.
pub(crate) async fn serve(
    listener: TcpListener,
    limits: &Limits,
    apps: &Apps,
    stop: impl Future<Output = ()>,
) -> Connections {
    let (stopping, stopped) = watch::channel(false);
    let protocols = Protocols::new(*limits, stopped);
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept(), if tasks.len() < limits.connections => match accepted {
                Ok((stream, peer)) => {
                    tasks.spawn(protocols.clone().serve(stream, apps.of(peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors: those who have one need a moment to give it back.
                Err(_) => sleep(Duration::from_millis(20)).await,
            },
            Some(_) = tasks.join_next() => {}
            () = &mut stop => {
                // Whoever is connected by now may have asked already.
                while tasks.len() < limits.connections
                    && let Poll::Ready(Ok((stream, peer))) = waiting(&listener).await
                {
                    tasks.spawn(protocols.clone().serve(stream, apps.of(peer)));
                }
                let requests = protocols.requests();
                return Connections { stop: stopping, tasks, requests };
            }
        }
    }
}

/// The next of those who wait to be accepted, if there is one.
async fn waiting(listener: &TcpListener) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await
}

// ===== impl Connections =====

impl Connections {
    /// Lets the requests that are under way finish, but not beyond the bound or the order to `cut`.
    /// Says whether they did.
    pub(crate) async fn drain(self, bound: Duration, cut: impl Future<Output = ()>) -> bool {
        let Self {
            stop,
            mut tasks,
            requests,
        } = self;
        stop.send_replace(true);
        let gone = async { while tasks.join_next().await.is_some() {} };
        let finished = tokio::select! {
            finished = timeout(bound, gone) => finished.is_ok(),
            () = cut => false,
        };
        // Whatever is cut off is over, and has been counted and logged, when this returns.
        tasks.shutdown().await;
        requests.shutdown().await;
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
