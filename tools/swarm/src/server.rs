//! Starts the real `switchyard` binary and learns where it listens from what it prints.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::SwarmError;
use crate::limits::{LOOK_PAUSE, SERVER_LINES_KEPT_MAX, SERVER_START_MAX, SERVER_STOP_MAX};

/// A free port of this machine's.
const FREE_PORT: &str = "127.0.0.1:0";

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Its data folder, on a disk (not tmpfs).
    pub data: PathBuf,
    /// Gateway threads and router threads; the server's own choice when missing.
    pub cores: Option<(u16, u16)>,
    /// Whether clients are held to the rates of a deployment, which a development server does not do by itself.
    pub rate_limits: bool,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub websocket: SocketAddr,
    /// Where they connect over TLS, if it was told to listen there.
    pub secure: Option<SocketAddr>,
    /// Where they connect over QUIC, if it was told to listen there.
    pub quic: Option<SocketAddr>,
    /// From the start of the process until it was ready.
    pub start_took: Duration,
}

impl Server {
    /// Starts a development server on a free port of 127.0.0.1 and waits until it is ready.
    ///
    /// # Errors
    /// With what it printed, when it does not become ready.
    pub fn start(options: &ServerOptions) -> Result<Self, SwarmError> {
        Self::start_at(options, FREE_PORT)
    }

    /// The same, and it speaks QUIC too.
    ///
    /// # Errors
    /// With what it printed, when it does not become ready.
    pub fn start_with_quic(options: &ServerOptions) -> Result<Self, SwarmError> {
        Self::start_with(options, &["--listen-ws", FREE_PORT, "--listen-quic", FREE_PORT])
    }

    /// The same on an address of one's own choice: a run that is spread over many needs a server on all of them.
    ///
    /// # Errors
    /// With what it printed, when it does not become ready.
    pub fn start_at(options: &ServerOptions, listen: &str) -> Result<Self, SwarmError> {
        Self::start_with(options, &["--listen-ws", listen])
    }

    /// The same with any options of `switchyard serve`; one of them says where it listens for WebSockets.
    ///
    /// # Errors
    /// With what it printed, when it does not become ready.
    pub fn start_with(options: &ServerOptions, arguments: &[&str]) -> Result<Self, SwarmError> {
        let begun = Instant::now();
        let mut command = Command::new(&options.binary);
        command.args(["serve", "--dev", "--listen-admin", "127.0.0.1:0", "--data"]).arg(&options.data).args(arguments);
        if let Some((gateway, router)) = options.cores {
            command.args(["--gateway-cores", &gateway.to_string(), "--router-cores", &router.to_string()]);
        }
        if options.rate_limits {
            command.arg("--config").arg(default_configuration(&options.binary, &options.data)?);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(SwarmError::io(format!("starting {}", options.binary.display())))?;
        let (lines, received) = mpsc::channel();
        forward_lines(child.stdout.take(), lines.clone());
        forward_lines(child.stderr.take(), lines);
        match wait_until_ready(&received, begun) {
            Ok(Listeners { websocket, secure, quic }) => {
                // Whatever else it prints is drained, so that it never blocks on a full pipe.
                thread::spawn(move || received.into_iter().for_each(drop));
                Ok(Self { child, websocket, secure, quic, start_took: begun.elapsed() })
            }
            Err(log) => {
                let _ = child.kill();
                let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(SwarmError::Server(format!("the server did not become ready ({status}):\n{log}")))
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once (SIGKILL), as `kill -9` does.
    pub fn kill(mut self) {
        self.end();
    }

    /// Ends it as an operator would (SIGTERM).
    ///
    /// # Errors
    /// When it does not end in time, or not with exit code 0.
    pub fn stop(mut self) -> Result<(), SwarmError> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|errno| SwarmError::io("SIGTERM")(errno.into()))?;
        }
        let deadline = Instant::now() + SERVER_STOP_MAX;
        while Instant::now() < deadline {
            match self.child.try_wait().map_err(SwarmError::io("waiting for the server"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(SwarmError::Server(format!("the server ended with {status}"))),
                None => thread::sleep(LOOK_PAUSE),
            }
        }
        Err(SwarmError::Server(format!("the server did not end within {SERVER_STOP_MAX:?} of SIGTERM")))
    }

    fn end(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A file with every key of the configuration as it is by default: it names every rate limit, so that they hold.
fn default_configuration(binary: &Path, data: &Path) -> Result<PathBuf, SwarmError> {
    let printed = Command::new(binary).args(["config", "print"]).output();
    let printed = printed.map_err(SwarmError::io(format!("starting {}", binary.display())))?;
    if !printed.status.success() {
        let (status, said) = (printed.status, String::from_utf8_lossy(&printed.stderr));
        return Err(SwarmError::Server(format!("`{} config print` ended with {status}:\n{said}", binary.display())));
    }
    let path = data.with_extension("toml");
    std::fs::write(&path, printed.stdout).map_err(SwarmError::io(format!("writing {}", path.display())))?;
    Ok(path)
}

fn forward_lines(stream: Option<impl std::io::Read + Send + 'static>, lines: mpsc::Sender<String>) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// Where clients connect.
struct Listeners {
    websocket: SocketAddr,
    secure: Option<SocketAddr>,
    quic: Option<SocketAddr>,
}

/// Where clients connect, once the server is ready; else what it printed.
fn wait_until_ready(lines: &mpsc::Receiver<String>, begun: Instant) -> Result<Listeners, String> {
    let (mut log, mut websocket, mut secure, mut quic) = (Vec::new(), None, None, None);
    while let Ok(line) = lines.recv_timeout(SERVER_START_MAX.saturating_sub(begun.elapsed())) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("listening"), Some("ws"), Some(text)) => websocket = text.parse().ok(),
            (Some("listening"), Some("wss"), Some(text)) => secure = text.parse().ok(),
            (Some("listening"), Some("quic"), Some(text)) => quic = text.parse().ok(),
            (Some("ready"), ..) => {
                let listeners = websocket.map(|websocket| Listeners { websocket, secure, quic });
                return listeners.ok_or_else(|| log.join("\n"));
            }
            _ => {}
        }
        if log.len() < SERVER_LINES_KEPT_MAX {
            log.push(line);
        }
    }
    Err(log.join("\n"))
}

/// Removes a data folder and makes it anew.
///
/// # Errors
/// When the file system refuses.
pub fn fresh_folder(path: &Path) -> Result<(), SwarmError> {
    if path.exists() {
        std::fs::remove_dir_all(path).map_err(SwarmError::io(format!("removing {}", path.display())))?;
    }
    std::fs::create_dir_all(path).map_err(SwarmError::io(format!("making {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_binary_that_prints_no_configuration_when_asked_for_one_then_the_error_says_what_it_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let error = default_configuration(Path::new("ls"), &data).expect_err("`ls config print` fails").to_string();
        assert!(error.contains("`ls config print` ended with") && error.lines().count() > 1, "{error}");
        assert!(!data.with_extension("toml").exists());
    }
}
