//! What the server says when it is ready: for the person who started it, and for tests that look for `listening` lines.

use std::net::SocketAddr;
use std::path::Path;

use switchyard_gateway_core::rate::RateLimits;
use switchyard_schema::limits;

use super::observed::Server;
use crate::config::Config;
use crate::threads::GatewayThreads;
use crate::tls::CA_FILE;

/// Prints what listens where, the promises in force and what to try next.
pub(super) fn print(config: &Config, threads: GatewayThreads, server: &Server, admin: SocketAddr) {
    let Some(address) = server.address() else { return };
    println!("switchyard {}", env!("CARGO_PKG_VERSION"));
    println!("listening ws {address}");
    if let Some(address) = server.tls_address() {
        println!("listening wss {address}");
    }
    if let Some(address) = server.quic_address() {
        println!("listening quic {address}");
    }
    println!("listening admin {admin}");
    println!("data {} (one copy on one disk)", config.data_dir.display());
    if let Some(report) = server.report() {
        println!("recovered {} records in {} ms", report.recovered.statistics.records, report.took.as_millis());
    }
    println!("durability log: accepted means written and synced to the journal");
    println!("threads {} gateway, {} router", threads.count, config.router_cores);
    if threads.by_descriptors {
        println!(
            "descriptors {} in a table (ulimit -n): {} connections need the tables of {} gateway threads",
            threads.descriptors, config.max_connections, threads.count
        );
    }
    println!(
        "limits {} connections, frames {} KiB, text {} characters, {} devices a user, window {} messages, heartbeat {} ms",
        config.max_connections,
        limits::CLIENT_FRAME_BYTES_MAX / 1024,
        limits::TEXT_CHARS_MAX,
        limits::DEVICES_PER_USER_MAX,
        limits::DELIVERY_WINDOW_MESSAGES,
        config.heartbeat_ms,
    );
    println!("rate limits {}", rate_limits(config));
    if config.dev {
        let data = config.data_dir.display();
        println!("development: tokens are signed with {}/dev.pem; /echo is open", config.keys_dir.display());
        println!("try: switchyard token --user 42 --data {data}");
        println!("try: chat --url ws://{address} --user 42 --to 43 --data {data}");
        if let Some(folder) = config.tls.as_ref().and_then(|tls| tls.made_in.as_ref()) {
            print_trust(&folder.join(CA_FILE), server.tls_address());
        }
    } else {
        println!("try: curl http://{admin}/readyz");
    }
    println!("ready");
}

/// How to trust the certificate that was made for development.
fn print_trust(authority: &Path, address: Option<SocketAddr>) {
    let authority = authority.display();
    println!("development: the certificate is signed by {authority}, which no client trusts by itself");
    let Some(address) = address else { return };
    let port = address.port();
    println!("trust it: chat --url wss://localhost:{port} --ca {authority}; curl --cacert {authority}");
    println!("trust it in a browser: import {authority} as an authority; it vouches for private networks only");
}

/// Which rate limits hold, in words: the figures are in `config print`.
fn rate_limits(config: &Config) -> &'static str {
    match (config.dev, config.rates == RateLimits::default()) {
        (true, true) => "none (development); name one in [limits] to have it",
        (false, true) => "none",
        (_, false) => "on (docs/protocol.md); see [limits] of `switchyard config print`",
    }
}
