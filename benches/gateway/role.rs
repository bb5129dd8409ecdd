//! The processes that this executable plays itself: the upstream, and the bare forwarder.

use std::{io, process, thread};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{BoxError, forwarder, upstream};

/// Plays this role until standard input ends, which is when whoever asked for it is gone.
pub(crate) async fn play(name: &str, arguments: &[String]) -> Result<(), BoxError> {
    thread::spawn(|| {
        // However it ends: nobody is there any more.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    match (name, arguments) {
        ("upstream", []) => {
            let upstream = upstream::Upstream::new();
            serve(move |request| upstream.clone().answer(request)).await
        }
        ("forwarder", [upstream]) => {
            let forwarder = forwarder::Forwarder::new(upstream.parse()?);
            serve(move |request| forwarder.clone().forward(request)).await
        }
        _ => Err(format!("there is no role {name} with {arguments:?}").into()),
    }
}

/// Serves HTTP/1.1 on a port of the system's choice, and prints the address.
async fn serve<S, F, B>(service: S) -> Result<(), BoxError>
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(service.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A caller that closes in the middle is noticed where its reply is counted.
            let _ = connection.await;
        });
    }
}
