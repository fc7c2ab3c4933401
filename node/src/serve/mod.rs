//! `switchyard serve`: wires gateway and router, serves until a signal, leaves in order.

mod banner;
mod observed;
mod shutdown;
mod wiring;

use std::error::Error;
use std::sync::Arc;

use crate::admin::AdminListener;
use crate::config::Config;
use crate::keys;

use observed::Server;
use shutdown::Signals;

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start; the text says what to do.
pub(crate) fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let signals = Signals::install()?;
    let folder = switchyard_router_server::DataFolder::open(&config.data_dir, config.shard_count)?;
    if config.dev {
        keys::ensure_development_key(&config.keys_dir)?;
    }
    let keys = Arc::new(keys::load(&config.keys_dir, &config.audience)?);
    let (gateway, router) = wiring::start(config, folder, keys)?;
    let server = Arc::new(Server::new(gateway, router));
    let admin = AdminListener::start(config.listen_admin, server.clone()).map_err(|source| {
        format!(
            "cannot listen at {} for the admin listener: {source}; choose another address with --listen-admin",
            config.listen_admin
        )
    });
    let admin = match admin {
        Ok(admin) => admin,
        Err(error) => {
            server.leave(0);
            return Err(error.into());
        }
    };
    banner::print(config, &server, admin.address());
    signals.serve(|| match keys::load(&config.keys_dir, &config.audience) {
        Ok(keys) => {
            tracing::info!(kids = ?keys.kids().collect::<Vec<_>>(), "keys reloaded");
            server.reload_keys(Arc::new(keys));
        }
        Err(error) => tracing::error!(%error, "keys not reloaded; the previous ones stay in force"),
    });
    tracing::info!(
        drain_ms = config.drain_ms,
        "leaving: clients are told when to reconnect; a second signal stops at once"
    );
    server.leave(config.drain_ms);
    drop(admin);
    tracing::info!("everything is flushed");
    Ok(())
}
