//! Redis as the peer: Debian's `redis-server`, driven by the same event loop as Switchyard is.
//!
//! What it does is the nearest it has to our work, not the same: PUBLISH to one subscriber is a message passed on with
//! neither durability, order after an absence, nor receipts; XADD with `appendfsync always` is a message made durable.

mod resp;
mod work;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use work::{RedisLoad, RedisOptions, run};

/// How long Redis may take until it answers.
const START_MAX: Duration = Duration::from_secs(10);

/// A running Redis that syncs its append-only file on every write; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl RedisServer {
    /// Starts one with an empty folder of its own.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn start(folder: &Path) -> Result<Self, String> {
        let fail = |error: std::io::Error| format!("redis-server: {error} (apt-get install redis-server)");
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(fail)?;
        }
        fs::create_dir_all(folder).map_err(fail)?;
        // A port that was free a moment ago; Redis cannot choose one itself.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(fail)?;
        let child = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--maxclients", "10000", "--dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(fail)?;
        let server = Self { child, address };
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("redis-server does not listen on {address} after {START_MAX:?}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
