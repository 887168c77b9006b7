use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::broker::Broker;
use crate::tls::Front;
use crate::work::{Order, Sample};
use crate::{leash, place};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A null broker, until it is dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    pub port: u16,
    /// Where it was asked for.
    pub(crate) front: Option<Front>,
}

impl BrokerProcess {
    /// Starts this executable as a broker, which is to call [`be_broker`] then.
    ///
    /// # Errors
    /// It cannot be started, or does not say where it is.
    pub fn start(cpu: usize, tls: bool) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["broker", &cpu.to_string(), if tls { "tls" } else { "" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the broker has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let (port, front) = line
            .trim_end_matches('\n')
            .split_once(' ')
            .ok_or(line.clone())?;
        Ok(Self {
            child,
            port: port.parse()?,
            front: Front::parse(front),
        })
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What [`BrokerProcess::start`] has started: serves, and tells where, until whoever did so is gone.
///
/// # Errors
/// There is no such processor, or no free port.
pub fn be_broker(cpu: usize, tls: bool) -> Result<()> {
    leash::attach();
    place::on(cpu)?;
    let broker = Broker::bind()?;
    let port = broker.port()?;
    let front = tls.then(|| Front::start(port)).transpose()?;
    let front = front.as_ref().map_or(String::new(), Front::line);
    writeln!(stdout(), "{port} {front}")?;
    Ok(broker.run()?)
}

/// Runs a client process for its measurements.
pub(crate) fn time(order: &Order) -> Result<Sample> {
    client(Command::new(std::env::current_exe()?).arg("client"), order)
}

/// Runs a client process that counts its allocations, and counts its system calls where `perf` is
/// allowed to.
pub(crate) fn count(order: &Order, perf: bool) -> Result<(Sample, Option<u64>)> {
    let counted = sibling("counted")?;
    if !perf {
        return Ok((client(&mut Command::new(counted), order)?, None));
    }
    let file = std::env::temp_dir().join(format!("compare-{}.perf", std::process::id()));
    let mut command = Command::new("perf");
    command.args(["stat", "-x,", "-e", SYSTEM_CALLS, "-o"]);
    command.arg(&file).arg("--").arg(counted);
    let sample = client(&mut command, order);
    let calls = system_calls(&file);
    _ = std::fs::remove_file(&file);
    Ok((sample?, calls))
}

/// Whether `perf` counts system calls here.
pub(crate) fn has_perf() -> bool {
    let status = Command::new("perf")
        .args(["stat", "-x,", "-e", SYSTEM_CALLS, "true"])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn client(command: &mut Command, order: &Order) -> Result<Sample> {
    let mut child = command
        .arg(serde_json::to_string(order)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or("the client has no output")?;
    let (done, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = String::new();
        _ = stdout.read_to_string(&mut output);
        _ = done.send(output);
    });
    let output = answer.recv_timeout(PATIENCE);
    if output.is_err() {
        _ = child.kill();
    }
    // Only now, for waiting closes the input, and the client would end by that.
    child.wait()?;
    let output = output.map_err(|_| "stands still")?;
    serde_json::from_str(&output).map_err(|_| {
        let mut complaint = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            _ = stderr.read_to_string(&mut complaint);
        }
        complaint.lines().next().unwrap_or("fails").into()
    })
}

fn system_calls(file: &Path) -> Option<u64> {
    let counts = std::fs::read_to_string(file).ok()?;
    let line = counts.lines().find(|line| line.contains(SYSTEM_CALLS))?;
    line.split(',').next()?.parse().ok()
}

fn sibling(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

const SYSTEM_CALLS: &str = "raw_syscalls:sys_enter";

/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(8);
