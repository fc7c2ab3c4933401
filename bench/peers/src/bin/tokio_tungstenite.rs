//! An echo on tokio-tungstenite, after the authors' own example: what arrives together is answered with one write.
#![forbid(unsafe_code)]

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes of each connection's buffers. The default is 128 KiB of each, which pays for large messages only.
const BUFFER_BYTES: usize = 4 * 1024;

fn main() -> std::io::Result<()> {
    switchyard_peers::serve(echo)
}

/// Until the connection ends, whoever ends it.
async fn echo(stream: TcpStream) {
    let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(BUFFER_BYTES);
    let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
    let (sink, messages) = socket.split();
    let _ =
        messages.try_filter(|message| std::future::ready(message.is_text() || message.is_binary())).forward(sink).await;
}
