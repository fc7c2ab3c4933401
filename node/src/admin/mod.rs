//! The admin listener: health, stats and metrics over HTTP, read-only, loopback only, on the side thread.

mod catalogue;
mod family;
mod prometheus;
mod sample;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::oneshot;

pub(crate) use sample::Sample;

/// What the listener reports on.
pub(crate) trait Observed: Send + Sync + 'static {
    /// What is broken now; empty when all is well.
    fn faults(&self) -> Vec<String>;
    /// Why clients should not be sent here now, beyond faults; empty when they may.
    fn reasons_not_ready(&self) -> Vec<String>;
    /// Every figure that exists.
    fn samples(&self) -> Vec<Sample>;
}

/// The running listener.
#[derive(Debug)]
pub(crate) struct AdminListener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl AdminListener {
    /// Listens at `address` and serves from a thread of its own.
    ///
    /// # Errors
    /// When the address is taken or the thread cannot start.
    pub(crate) fn start(address: SocketAddr, observed: Arc<dyn Observed>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let served = async {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    axum::serve(listener, router(observed)).with_graceful_shutdown(async { drop(stopped.await) }).await
                };
                if let Err(error) = served.await {
                    tracing::error!(%error, "the admin listener ended");
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn router(observed: Arc<dyn Observed>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/stats", get(stats))
        .route("/metrics", get(scrape))
        .with_state(observed)
}

async fn healthz(State(observed): State<Arc<dyn Observed>>) -> impl IntoResponse {
    verdict(observed.faults())
}

async fn readyz(State(observed): State<Arc<dyn Observed>>) -> impl IntoResponse {
    let mut reasons = observed.faults();
    reasons.extend(observed.reasons_not_ready());
    verdict(reasons)
}

async fn stats(State(observed): State<Arc<dyn Observed>>) -> impl IntoResponse {
    Json(sample::to_json(&observed.samples()))
}

async fn scrape(State(observed): State<Arc<dyn Observed>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], prometheus::render(&observed.samples()))
}

fn verdict(reasons: Vec<String>) -> (StatusCode, String) {
    if reasons.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n")))
    }
}
