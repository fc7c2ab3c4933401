//! What the echo servers that Switchyard is compared with have in common, so that only their libraries differ: the allocator,
//! one thread, and a task for each connection.
#![forbid(unsafe_code)]

use std::io;

use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves at the address that is the program's first argument until the process is ended. Small messages are sent at once.
///
/// # Errors
/// When the address cannot be listened at, or no more connections can be accepted.
pub fn serve<C: Future<Output = ()> + Send + 'static>(connection: impl Fn(TcpStream) -> C) -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // A peer that is gone already shows in its connection.
            let _ = stream.set_nodelay(true);
            tokio::spawn(connection(stream));
        }
    })
}
