//! The provider: set up, then running.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::AbortHandle};

use crate::{Ask, Dialect, Log, Match, ProviderService, Reply, Script, engine::Engine, server};

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
    task: Option<AbortHandle>,
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
    /// forgotten first, the last is always kept unless `requests` is zero. Default: 1000 requests
    /// and 16 MiB.
    pub fn remember(mut self, requests: usize, body_bytes: usize) -> Self {
        self.remember = (requests, body_bytes);
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
        let engine = self.engine()?;
        let listener = TcpListener::bind(address).await.map_err(StartError::Io)?;
        let address = listener.local_addr().map_err(StartError::Io)?;
        let task = tokio::spawn(server::serve(listener, Arc::clone(&engine)));
        Ok(Running {
            engine,
            address,
            task: Some(task.abort_handle()),
        })
    }

    /// Starts it without a socket, to be called through [`Running::service`].
    ///
    /// # Errors
    ///
    /// [`StartError::Script`] if a script cannot be carried out.
    pub fn in_process(self) -> Result<Running, StartError> {
        Ok(Running {
            engine: self.engine()?,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            task: None,
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
        let engine = Engine::new(self.dialect, self.models, self.scripts, self.max_body, log);
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
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
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
        Ask::new(self.dialect(), self.origin(), model, prompt)
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
        if let Some(verdict) = self.engine.verdict(true) {
            panic!("{verdict}");
        }
    }

    fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
        if std::thread::panicking() {
            return;
        }
        if let Some(verdict) = self.engine.verdict(false) {
            panic!("{verdict}");
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
