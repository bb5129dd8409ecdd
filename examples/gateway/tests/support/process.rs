use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A gateway that listens. It is killed when it is dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    child: Child,
    // Open for as long as the gateway may write to it.
    out: BufReader<ChildStdout>,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// What it wrote to stdout after its address, and to stderr.
    pub(crate) out: String,
    pub(crate) log: String,
}

/// The key of the endpoint, in `UP_KEY`.
pub(crate) const KEY: &str = "the-endpoints-canary-key";

fn gateway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .env_clear()
        .env("UP_KEY", KEY)
        .env("SPARE_KEY", "the-spare-canary-key")
        .stdin(Stdio::null());
    command
}

fn file(config: &str) -> PathBuf {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("gateway-{}-{number}.toml", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, config).unwrap();
    path
}

/// Runs it to its end, with a configuration if there is one; `FILE` in the arguments is its file.
pub(crate) fn run(config: Option<&str>, args: &[&str]) -> Output {
    let file = config.map(file);
    let mut command = gateway();
    for arg in args {
        match (&file, *arg) {
            (Some(file), "FILE") => command.arg(file),
            _ => command.arg(arg),
        };
    }
    let output = command.output().unwrap();
    file.map(fs::remove_file).transpose().unwrap();
    output
}

/// Runs it to its end with this input.
pub(crate) fn run_with(args: &[&str], input: &[u8]) -> Output {
    let mut command = gateway();
    let command = command.args(args).stdin(Stdio::piped());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

impl Gateway {
    /// Starts it with this configuration.
    pub(crate) fn start(config: &str) -> Self {
        let file = file(config);
        let gateway = Self::launch(gateway().arg(&file));
        fs::remove_file(file).unwrap();
        gateway
    }

    /// Starts it without one.
    pub(crate) fn simulated() -> Self {
        Self::launch(gateway().args(["--listen", "127.0.0.1:0"]))
    }

    fn launch(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
            let output = child.wait_with_output().unwrap();
            panic!(
                "found {line:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        Self {
            address: address.parse().unwrap(),
            child,
            out,
        }
    }

    /// Tells it to stop.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let mut stderr = self.child.stderr.take().unwrap();
        // At the same time: it does not end before its log is written.
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        Ended {
            success: self.child.wait().unwrap().success(),
            out,
            log: log.join().unwrap(),
        }
    }

    /// Waits for its end, and reads nothing of what it writes. Whether it ended well.
    pub(crate) fn ended_unread(mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Stops it, and gives its log.
    pub(crate) fn log(self) -> String {
        self.terminate();
        let ended = self.ended();
        assert!(ended.success, "{}", ended.log);
        ended.log
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
