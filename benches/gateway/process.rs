//! A process of its own, so that what it costs is known.

use std::{
    ffi::OsStr,
    fs, io,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::BoxError;

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Kept open: whoever has more to say than where it listens must not fail by that.
    out: Option<BufReader<ChildStdout>>,
    /// Where it listens, as `127.0.0.1:8080`.
    pub(crate) address: String,
}

/// Linux counts the time of a process in hundredths of a second (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

// ===== impl Process =====

impl Process {
    /// Starts it, and waits for its first line, which says where it listens.
    pub(crate) fn start<'a>(
        command: impl IntoIterator<Item = &'a OsStr>,
        environment: &[(&str, &str)],
    ) -> Result<Self, BoxError> {
        let mut command = command.into_iter();
        let program = command.next().ok_or("found no program to start")?;
        let child = Command::new(program)
            .args(command)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {program:?}: {error}"))?;
        let mut process = Self {
            child,
            out: None,
            address: String::new(),
        };
        let out = process.child.stdout.take().ok_or("it has no output")?;
        let mut line = String::new();
        process
            .out
            .insert(BufReader::new(out))
            .read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on http://");
        process.address = address
            .ok_or_else(|| format!("{program:?} said {line:?} first, expected an address"))?
            .to_owned();
        Ok(process)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> io::Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// The seconds that its threads have run, in the kernel and outside (proc(5), `stat`: utime and
    /// stime).
    pub(crate) fn cpu(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let ticks: f64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().unwrap_or(f64::NAN))
            .sum();
        Ok(ticks / TICKS_PER_SECOND)
    }

    /// The most memory that it ever held, in MiB (proc(5), `status`: VmHWM).
    pub(crate) fn peak(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0)
            .ok_or_else(|| io::Error::other("found no VmHWM in /proc"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has nothing to lose; an error says that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
