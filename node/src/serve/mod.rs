//! `switchyard serve`: wires gateway and router, serves until a signal, leaves in order.

mod banner;
mod figures;
mod locked_memory;
mod observed;
mod process;
mod shutdown;
mod watchdog;
mod wiring;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_router_server::{DataFolder, OpenError};

use crate::admin::AdminListener;
use crate::config::Config;
use crate::keys;
use crate::threads::{self, GatewayThreads};
use crate::tls::{self, Shown};

use figures::Figures;
use observed::Server;
use process::Began;
use shutdown::{Event, Leaving, Signals};
use watchdog::Watchdog;

#[cfg(test)]
pub(crate) use figures::tests::of_nothing as figures_of_nothing;

/// How long a start waits for the lock of the data folder: longer than a killed process takes to be gone, shorter than
/// anybody waits for an error.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often it tries meanwhile.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start; the text says what to do.
pub(crate) fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let began = Began::now();
    let signals = Signals::install()?;
    switchyard_gateway_server::check_io_uring()?;
    let threads = GatewayThreads::plan(config, config.max_connections, threads::raise_descriptor_limit())?;
    let folder = open_folder(config)?;
    if config.dev {
        keys::ensure_development_key(&config.keys_dir)?;
    }
    let keys = Arc::new(keys::load(&config.keys_dir, &config.audience)?);
    if let Some(path) = &config.unshown_certificate {
        let path = path.display();
        tracing::warn!(%path, "no listener shows the certificate; name gateway.listen_wss or gateway.listen_quic");
    }
    let set_up = config.tls.as_ref().map(|tls| tls::set_up(tls, &config.data_dir));
    let (listeners, mut shown) = set_up.transpose()?.unzip();
    let (gateway, router) = wiring::start(config, threads, folder, keys, listeners.unwrap_or_default())?;
    let certificate = shown.as_ref().map(Shown::figures);
    let figures = Figures::new(&gateway, &router, config.data_dir.clone(), certificate, began);
    let server = Arc::new(Server::new(gateway, router, figures));
    let admin = AdminListener::start(config.listen_admin, server.clone()).map_err(|source| {
        format!(
            "cannot listen at {} for the admin listener: {source}; choose another address with --listen-admin",
            config.listen_admin
        )
    });
    let admin = match admin {
        Ok(admin) => admin,
        Err(error) => {
            // Why it cannot start is the news; a thread that failed as well is in the log.
            let _ = server.leave(0);
            return Err(error.into());
        }
    };
    banner::print(config, threads, &server, admin.address());
    let reload_keys = || match keys::load(&config.keys_dir, &config.audience) {
        Ok(keys) => {
            tracing::info!(kids = ?keys.kids().collect::<Vec<_>>(), "keys reloaded");
            server.reload_keys(Arc::new(keys));
        }
        Err(error) => tracing::error!(%error, "keys not reloaded; the previous ones stay in force"),
    };
    let mut watchdog = Watchdog::default();
    let leaving = signals.serve(|event| match event {
        Event::Reload => {
            reload_keys();
            shown.iter_mut().for_each(Shown::reload);
            None
        }
        Event::Look => {
            shown.iter_mut().for_each(|shown| shown.look(Instant::now()));
            watchdog.begun(server.stalls()).iter().for_each(|stall| tracing::error!("{stall}"));
            server.lost_thread()
        }
    });
    if let Leaving::Lost(what) = leaving {
        tracing::error!(what, "a part of the server is gone; the rest leaves in order, to be started again");
    }
    tracing::info!(
        drain_ms = config.drain_ms,
        "leaving: clients are told when to reconnect; a second signal stops at once"
    );
    let left = server.leave(config.drain_ms);
    drop(admin);
    tracing::info!("everything is flushed");
    match leaving {
        Leaving::Lost(what) => {
            Err(format!("{what}; the log says why, and a restart recovers everything accepted").into())
        }
        Leaving::Told => Ok(left?),
    }
}

/// Opens the data folder. A predecessor that was just killed may hold its lock for a moment longer: until its last
/// writes have ended.
fn open_folder(config: &Config) -> Result<DataFolder, OpenError> {
    let deadline = Instant::now() + LOCK_WAIT;
    let mut told = false;
    loop {
        match DataFolder::open(&config.data_dir, config.shard_count) {
            Err(OpenError::Locked { path }) if Instant::now() < deadline => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(folder = %path.display(), "the data folder is locked; waiting for it a moment");
                }
                std::thread::sleep(LOCK_RETRY);
            }
            opened => return opened,
        }
    }
}
