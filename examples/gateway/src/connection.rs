//! One caller's connection: HTTP/1.1, or HTTP/2 with prior knowledge.
//!
//! hyper-util has a builder that tells them apart, too. It waits without end for the first bytes,
//! and lets an HTTP/2 connection without a request stay for ever: so both are done here.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Request;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    app::App,
    config::Limits,
    seldom::Seldom,
    socket::{Socket, StillSending, Version},
    upload::Upload,
};

/// How callers are served, whichever HTTP they speak.
#[derive(Clone, Debug)]
pub(crate) struct Protocols {
    http1: Arc<http1::Builder>,
    limits: Limits,
    requests: Requests,
    stop: watch::Receiver<bool>,
}

/// The tasks of the requests of all HTTP/2 connections. HTTP/1 needs none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// The same, of one connection: counts those that are under way.
#[derive(Clone, Debug)]
struct Counted {
    requests: Requests,
    open: watch::Sender<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    requests: usize,
    /// When one of them began or ended.
    since: Instant,
}

/// The longest head of a request, in bytes.
const HEAD: usize = 64 << 10;

/// How often an HTTP/2 caller is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// How long a caller without a request may take to see that the connection closes.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long one who had connected when it was told to stop may take to say the first word.
const LATE: Duration = Duration::from_millis(100);

/// How many requests an HTTP/2 connection may have at the same time.
const STREAMS: u32 = 128;

// ===== impl Protocols =====

impl Protocols {
    pub(crate) fn new(limits: Limits, stop: watch::Receiver<bool>) -> Self {
        let mut http1 = http1::Builder::new();
        // Between two requests of a connection, too: an idle caller is let go.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.read)
            .max_header_size(HEAD);
        Self {
            http1: Arc::new(http1),
            limits,
            requests: Requests::default(),
            stop,
        }
    }

    pub(crate) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Serves one caller, to the end. That one leaves, or speaks no HTTP, is nobody's business.
    pub(crate) async fn serve(mut self, stream: TcpStream, app: App) {
        let _ = stream.set_nodelay(true);
        let mut socket = Socket::new(stream, &self.limits);
        let version = {
            let mut version = pin!(timeout(self.limits.read, socket.version()));
            tokio::select! {
                biased;
                version = &mut version => version,
                () = stopped(&mut self.stop) => match timeout(LATE, version).await {
                    Ok(version) => version,
                    Err(_) => return,
                },
            }
        };
        match version {
            Ok(Ok(Version::Http1)) => self.http1(socket, app).await,
            Ok(Ok(Version::Http2)) => self.http2(socket, app).await,
            _ => {}
        }
    }

    async fn http1(mut self, socket: Socket, app: App) {
        let still_sending = socket.still_sending();
        let shared = Arc::new((app, still_sending));
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move {
                let (app, still_sending): &(App, StillSending) = &shared;
                let answer = app.serve(request).await;
                if App::closes(&answer) {
                    still_sending.set();
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = self.http1.serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        // The connection is polled several times a request.
        tokio::select! {
            biased;
            _ = &mut connection => return,
            () = Seldom::new(stopped(&mut self.stop)) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    async fn http2(mut self, socket: Socket, app: App) {
        let (open, watched) = watch::channel(Open {
            requests: 0,
            since: Instant::now(),
        });
        let counted = Counted {
            requests: self.requests.clone(),
            open,
        };
        // Its settings, windows and pings, if nothing else.
        socket.still_sending().set();
        let (limits, executor) = (self.limits, counted.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let app = app.clone();
            let request = request.map(|body| Upload::new(body, &limits, executor.clone()));
            async move { Ok::<_, Infallible>(app.serve(request).await) }
        });
        let read = limits.read;
        let connection = http2::Builder::new(counted)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD as u32)
            // A caller that is no more there has a reply that nobody reads.
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            () = stopped(&mut self.stop) => {}
            () = idle(watched.clone(), read) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A caller who has no request and does not say goodbye is not waited for.
        tokio::select! {
            _ = connection => {}
            () = idle(watched, FAREWELL) => {}
        }
    }
}

/// Waits for the order to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without anybody who could give it, it is given.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits until there was no request for this long, from now on.
async fn idle(mut open: watch::Receiver<Open>, bound: Duration) {
    let begun = Instant::now();
    loop {
        let Open { requests, since } = *open.borrow_and_update();
        let changed = match requests {
            0 => timeout_at(since.max(begun) + bound, open.changed()).await,
            _ => Ok(open.changed().await),
        };
        if !matches!(changed, Ok(Ok(()))) {
            return;
        }
    }
}

// ===== impl Requests =====

impl Requests {
    /// Cuts off all that are left, and returns when they are gone.
    pub(crate) async fn shutdown(self) {
        let mut left = std::mem::take(&mut *self.tasks());
        left.shutdown().await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Counted =====

impl<F> Executor<F> for Counted
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        // When the process ends, there is nothing more to be done.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let open = Opened::new(self.open.clone());
        let mut tasks = self.requests.tasks();
        // Those that have ended are not kept.
        while tasks.try_join_next().is_some() {}
        let task = async move {
            future.await;
            drop(open);
        };
        tasks.spawn_on(task, &runtime);
    }
}

/// A request that is under way.
struct Opened(watch::Sender<Open>);

impl Opened {
    fn new(open: watch::Sender<Open>) -> Self {
        open.send_modify(|open| {
            open.requests += 1;
            open.since = Instant::now();
        });
        Self(open)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.send_modify(|open| {
            open.requests -= 1;
            open.since = Instant::now();
        });
    }
}
