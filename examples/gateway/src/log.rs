//! A line for each request, on stderr, at little cost to the request.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Where requests leave their lines. It never waits for whoever reads them.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    // `None`: quiet.
    shared: Option<Arc<Shared>>,
}

/// Writes the lines out, many at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    log: Log,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    text: String,
    lost: u64,
    closed: bool,
}

/// How much text waits for a reader; beyond it, lines are lost and counted.
const BOUND: usize = 1 << 20;

/// How long the last lines may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the first line waits for others.
const LINGER: Duration = Duration::from_millis(20);

// ===== impl Log =====

impl Log {
    /// Leaves a line, as `write` puts it at the end of a text; with no line break in it, please.
    pub(crate) fn line(&self, write: impl FnOnce(&mut String)) {
        let Some(shared) = &self.shared else { return };
        let mut lines = shared.lines();
        if lines.text.len() >= BOUND {
            lines.lost += 1;
            return;
        }
        let first = lines.text.is_empty();
        write(&mut lines.text);
        lines.text.push('\n');
        drop(lines);
        if first {
            shared.changed.notify_one();
        }
    }

    /// Says something that is of no request, also where those have no lines. Among the lines, since
    /// whoever writes to a stderr that nobody reads waits for ever.
    pub(crate) fn say(&self, text: fmt::Arguments<'_>) {
        match self.is_quiet() {
            true => eprintln!("{text}"),
            false => self.line(|out| {
                // Writing to a `String` does not fail.
                let _ = out.write_fmt(text);
            }),
        }
    }

    pub(crate) const fn is_quiet(&self) -> bool {
        self.shared.is_none()
    }
}

// ===== impl Writer =====

impl Writer {
    /// Nothing is written.
    pub(crate) const fn quiet() -> Self {
        Self {
            log: Log { shared: None },
            task: None,
        }
    }

    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        Self {
            task: Some(tokio::spawn(shared.clone().write())),
            log: Log {
                shared: Some(shared),
            },
        }
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    /// Writes what is left, if somebody reads it.
    pub(crate) async fn close(self) {
        if let (Some(shared), Some(task)) = (self.log.shared, self.task) {
            shared.lines().closed = true;
            shared.changed.notify_one();
            // Not in time, or by a panic: there is no stderr, and so nobody to be told.
            let _ = timeout(PATIENCE, task).await;
        }
    }
}

// ===== impl Shared =====

impl Shared {
    async fn write(self: Arc<Self>) {
        let mut text = String::new();
        loop {
            self.changed.notified().await;
            if !self.lines().closed {
                sleep(LINGER).await;
            }
            let closed = {
                let mut lines = self.lines();
                mem::swap(&mut lines.text, &mut text);
                let lost = mem::take(&mut lines.lost);
                if lost > 0 {
                    let _ = writeln!(
                        text,
                        "{lost} lines lost: they came faster than they were read"
                    );
                }
                lines.closed
            };
            // A pipe that nobody reads blocks, and only this thread.
            let written = tokio::task::spawn_blocking(move || {
                // There is nowhere else to say that stderr is gone.
                let _ = std::io::stderr().write_all(text.as_bytes());
                text.clear();
                text
            });
            match written.await {
                Ok(spent) if !closed => text = spent,
                _ => return,
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{BOUND, Log, Shared};

    #[test]
    fn lines_that_nobody_reads_are_bounded_and_what_is_lost_is_counted() {
        let shared = Arc::new(Shared::default());
        let log = Log {
            shared: Some(shared.clone()),
        };
        let line = "x".repeat(1023);
        for _ in 0..BOUND / 1024 + 5 {
            log.line(|out| out.push_str(&line));
        }
        let lines = shared.lines();
        assert_eq!((lines.text.len(), lines.lost), (BOUND, 5));
        assert!(lines.text.lines().all(|found| found == line));
    }
}
