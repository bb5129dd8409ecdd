//! Callers in a closed loop: each asks again when it has its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    BoxError,
    exchange::{Load, PATH},
};

/// Callers of one server, a connection each, kept over all rounds.
#[derive(Debug)]
pub(crate) struct Callers {
    all: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    question: Bytes,
    headers: HeaderMap,
    answer: Bytes,
}

/// What a round found: how long it took, and how long each answer, in seconds.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) elapsed: f64,
    pub(crate) answers: Vec<f64>,
}

/// How much callers ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amount {
    /// Until this time is over.
    For(Duration),
    /// So many times each.
    Times(u32),
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

// ===== impl Callers =====

impl Callers {
    pub(crate) async fn connect(
        address: &str,
        connections: usize,
        load: Load,
        answer: &Bytes,
    ) -> Result<Self, BoxError> {
        let mut all = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // What goes wrong with it is told to whoever waits for the answer.
            tokio::spawn(connection);
            all.push(Caller {
                sender,
                address: address.to_owned(),
                question: load.question(),
                headers: Load::headers(),
                answer: answer.clone(),
            });
        }
        Ok(Self { all })
    }

    /// All ask, again and again. The first wrong answer ends it.
    pub(crate) async fn ask(&mut self, amount: Amount) -> Result<Round, BoxError> {
        let (start, mut running) = (Instant::now(), JoinSet::new());
        for mut caller in self.all.drain(..) {
            running.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let asked = Instant::now();
                    let enough = match amount {
                        Amount::For(time) => asked - start >= time,
                        Amount::Times(times) => answers.len() >= times as usize,
                    };
                    if enough {
                        return Ok((caller, answers));
                    }
                    timeout(PATIENCE, caller.ask()).await??;
                    answers.push(asked.elapsed().as_secs_f64());
                }
            });
        }
        let mut answers = Vec::new();
        while let Some(ended) = running.join_next().await {
            let (caller, times) = ended?.map_err(|error: BoxError| error)?;
            self.all.push(caller);
            answers.extend(times);
        }
        let elapsed = start.elapsed().as_secs_f64();
        Ok(Round { elapsed, answers })
    }
}

// ===== impl Caller =====

impl Caller {
    async fn ask(&mut self) -> Result<(), BoxError> {
        let mut request = Request::new(Full::new(self.question.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = PATH.parse()?;
        *request.headers_mut() = self.headers.clone();
        let host = self.address.parse()?;
        request.headers_mut().insert(header::HOST, host);
        self.sender.ready().await?;
        let mut response = self.sender.send_request(request).await?;
        let (mut left, mut same) = (&self.answer[..], true);
        while let Some(frame) = response.body_mut().frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            match left.split_at_checked(data.len()) {
                Some((expected, rest)) if expected == data => left = rest,
                _ => same = false,
            }
        }
        if response.status() != StatusCode::OK || !same || !left.is_empty() {
            let (status, missing) = (response.status(), left.len());
            return Err(format!(
                "{}: found {status}, as expected up to the last {missing} bytes; expected 200 and all {} bytes",
                self.address,
                self.answer.len()
            )
            .into());
        }
        Ok(())
    }
}

/// The text that this address gives at this path.
pub(crate) async fn get(address: &str, path: &str) -> Result<String, BoxError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, address)
        .body(Full::<Bytes>::default())?;
    let response = timeout(PATIENCE, sender.send_request(request)).await??;
    let text = timeout(PATIENCE, response.into_body().collect()).await??;
    Ok(String::from_utf8(text.to_bytes().into())?)
}
