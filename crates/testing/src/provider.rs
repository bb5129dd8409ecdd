//! The provider: set up, then running.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::SystemTime};

use tokio::task::AbortHandle;

use crate::{
    Ask, Dialect, Fault, Limit, Log, Match, ProviderService, Reply, Script,
    clock::Clock,
    engine::Engine,
    server,
    way::{self, Port, Way},
};

/// A provider that is being set up: what it speaks, and what it answers to whom.
///
/// Scripts are tried in the order in which they were added; the first whose condition is met and
/// that has a reply left takes the request. A request that none takes is answered with 501, in the
/// dialect's envelope, and fails the test: see [`Running`].
#[derive(Debug, Clone)]
#[must_use = "a provider does nothing until it is started"]
pub struct Provider {
    dialect: Dialect,
    models: Vec<String>,
    scripts: Vec<(Match, Script)>,
    max_body: usize,
    remember: (usize, usize),
    limit: Option<Limit>,
    lenient: bool,
    tls: bool,
    date: Option<SystemTime>,
}

/// A provider at work. Dropping it closes its socket, ends its tasks, and cuts every reply.
///
/// # Panics
///
/// Dropping it panics, unless the thread is panicking already, if a request came that no script
/// took, that could not be read, or whose script cannot be carried out; the message lists them and
/// the scripts. [`finish`](Self::finish) also panics if a script was left unused.
pub struct Running {
    engine: Arc<Engine>,
    address: SocketAddr,
    origin: String,
    ca_pem: Option<String>,
    lenient: bool,
    task: Option<AbortHandle>,
    /// A port on which nobody is accepted is held by nobody else.
    port: Option<Port>,
}

/// Why a provider did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// No socket could be opened.
    Io(io::Error),
    /// A script cannot be carried out; the text names it and says why.
    Script(String),
}

// ===== impl Provider =====

impl Provider {
    /// A provider that speaks the given dialect, with no scripts.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            models: Vec::new(),
            scripts: Vec::new(),
            max_body: 16 << 20,
            remember: (1000, 16 << 20),
            limit: None,
            lenient: false,
            tls: false,
            date: None,
        }
    }

    /// A provider that speaks OpenAI chat completions.
    pub fn openai() -> Self {
        Self::new(Dialect::OpenAi)
    }

    /// A provider that speaks Anthropic messages.
    pub fn anthropic() -> Self {
        Self::new(Dialect::Anthropic)
    }

    /// A provider that speaks Gemini generateContent.
    pub fn gemini() -> Self {
        Self::new(Dialect::Gemini)
    }

    /// Answers the requests that meet the condition with this script, after the scripts added
    /// before. A script is a [`Reply`] or a sequence of them.
    pub fn on(mut self, condition: Match, script: impl Into<Script>) -> Self {
        self.scripts.push((condition, script.into()));
        self
    }

    /// Answers every call in the provider's dialect with this script: `on(Match::call(), script)`.
    pub fn reply(self, script: impl Into<Script>) -> Self {
        self.on(Match::call(), script)
    }

    /// Answers `GET …/models` with these models, before any script. Default: there is no such
    /// answer.
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.models = models.into_iter().map(Into::into).collect();
        self
    }

    /// The longest request body that is read, in bytes; a longer one is answered with 413. Default:
    /// 16 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// How many requests the log keeps, and how many bytes of their bodies; the oldest are
    /// forgotten first, the last is always kept unless `requests` is zero. A body that was read as
    /// JSON takes several times its length. Default: 1000 requests and 16 MiB.
    pub fn remember(mut self, requests: usize, body_bytes: usize) -> Self {
        self.remember = (requests, body_bytes);
        self
    }

    /// Enforces a limit on calls: each is charged one request and what its reply uses, when it
    /// arrives; one too many gets a 429 with the dialect's hint in place of the script's reply,
    /// which counts as given. Every call's reply tells what remains, in the dialect's headers.
    /// [`Log::limited`] counts the refusals. Default: no limit.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Fails no test: a request that no script takes still gets its 501, but neither dropping nor
    /// [finishing](Running::finish) panics. For demonstrations. Default: off.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Speaks TLS, with a certificate for `localhost` and `127.0.0.1` by an issuer that is made for
    /// this provider: see [`Running::ca_pem`]. HTTP/2 or HTTP/1.1, as the client likes. Default: no
    /// TLS.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The date when it starts; from then on it advances with tokio's clock. Default: the machine's
    /// date.
    pub fn wall_clock(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Starts it on a loopback port that the system chooses.
    ///
    /// # Errors
    ///
    /// [`StartError::Script`] if a script cannot be carried out, [`StartError::Io`] if no socket
    /// can be opened.
    pub async fn start(self) -> Result<Running, StartError> {
        self.start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts it at this address; port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_at(self, address: SocketAddr) -> Result<Running, StartError> {
        let fault = way::fault(&self.scripts).map_err(StartError::Script)?;
        let way = Way::new(fault, self.tls).map_err(StartError::Io)?;
        let port = Port::open(address, fault).await.map_err(StartError::Io)?;
        let address = port.address().map_err(StartError::Io)?;
        let origin = match fault {
            Some(Fault::NoSuchName) => format!("http://provider.invalid:{}", address.port()),
            _ => format!("{}://{address}", way.scheme()),
        };
        let ca_pem = match &way {
            Way::Tls(tls) => Some(tls.ca_pem.clone()),
            _ => None,
        };
        let mut set_up = self;
        if fault.is_some() {
            // No call comes as far as a script.
            set_up.scripts.clear();
        }
        let lenient = set_up.lenient;
        let engine = set_up.engine()?;
        let (task, port) = match port {
            Port::Open(listener) => {
                let task = tokio::spawn(server::serve(listener, way, Arc::clone(&engine)));
                (Some(task.abort_handle()), None)
            }
            held => (None, Some(held)),
        };
        Ok(Running {
            engine,
            address,
            origin,
            ca_pem,
            lenient,
            task,
            port,
        })
    }

    /// Starts it without a socket, to be called through [`Running::service`].
    ///
    /// # Errors
    ///
    /// [`StartError::Script`] if a script cannot be carried out.
    pub fn in_process(self) -> Result<Running, StartError> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let lenient = self.lenient;
        Ok(Running {
            engine: self.engine()?,
            address,
            origin: format!("http://{address}"),
            ca_pem: None,
            lenient,
            task: None,
            port: None,
        })
    }

    fn engine(self) -> Result<Arc<Engine>, StartError> {
        for (condition, script) in &self.scripts {
            if let Some(defect) = script.replies().find_map(Reply::defect) {
                return Err(StartError::Script(format!("{condition}: {defect}")));
            }
        }
        let (requests, bytes) = self.remember;
        let log = Log::new(requests, bytes);
        let engine = Engine::new(
            self.dialect,
            self.models,
            self.scripts,
            self.max_body,
            log,
            Clock::start(self.date),
            self.limit,
        );
        Ok(Arc::new(engine))
    }
}

// ===== impl Running =====

impl Running {
    /// The dialect that it speaks.
    pub fn dialect(&self) -> Dialect {
        self.engine.dialect
    }

    /// Scheme, host and port: `http://127.0.0.1:4321`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The certificate of the issuer that a client must trust, as PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The base URL that the dialect's official client wants: for OpenAI, the origin and `/v1`;
    /// for the others, the origin.
    pub fn base_url(&self) -> String {
        format!("{}{}", self.origin(), self.dialect().base_path())
    }

    /// The URL of a call for this model's text. Only Gemini's says the model and whether it is
    /// streamed.
    pub fn call_url(&self, model: &str, streamed: bool) -> String {
        format!(
            "{}{}",
            self.origin(),
            self.dialect().call_path(model, streamed)
        )
    }

    /// The same provider as a service without sockets: the same scripts, the same log.
    pub fn service(&self) -> ProviderService {
        ProviderService::new(Arc::clone(&self.engine))
    }

    /// A request in the provider's dialect, addressed to it.
    pub fn ask(&self, model: &str, prompt: &str) -> Ask {
        Ask::new(self.dialect(), self.origin().to_owned(), model, prompt)
    }

    /// The address that it listens on. In process it listens nowhere: the port is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it received, and what it billed.
    pub fn log(&self) -> Log {
        self.engine.log.clone()
    }

    /// Ends the test of this provider: closes it as dropping does, and checks what dropping checks
    /// and that no script was left unused.
    ///
    /// A script is left unused if it took no request, or if a reply that it gives a number of times
    /// was given fewer.
    ///
    /// # Panics
    ///
    /// If the test failed, with everything that failed it.
    #[track_caller]
    pub fn finish(mut self) {
        self.close();
        // A panic here drops `self` while panicking, so that nothing is said twice.
        self.judge(true);
    }

    #[track_caller]
    fn judge(&self, all: bool) {
        if self.lenient {
            return;
        }
        if let Some(verdict) = self.engine.verdict(all) {
            panic!("{verdict}");
        }
    }

    fn close(&mut self) {
        self.port = None;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
        if !std::thread::panicking() {
            self.judge(false);
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("dialect", &self.dialect())
            .field("address", &self.address)
            .field("log", &self.log())
            .finish()
    }
}

// ===== impl StartError =====

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Io(_) => f.write_str("the provider's socket could not be opened"),
            StartError::Script(why) => write!(f, "a script cannot be carried out: {why}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Io(error) => Some(error),
            StartError::Script(_) => None,
        }
    }
}
