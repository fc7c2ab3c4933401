//! A bot that answers every text with the same text.
//!
//! ```console
//! $ cargo run --release -- serve --dev
//! $ cargo run --package switchyard-client --example echo_bot -- "$(target/release/switchyard token --user 43)"
//! $ cargo run --release --package chat -- --user 42 --to 43
//! ```

use std::error::Error;

use switchyard_client::{Client, Event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let token = arguments.next().ok_or("usage: echo_bot TOKEN [URL]")?;
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:7400".to_owned());

    // With a store on disk the bot neither forgets an answer nor answers twice, unless it dies in the middle of one.
    let (client, mut events) = Client::builder(url).token(token).store("echo-bot.db").connect().await?;
    eprintln!("the bot is user {}", client.connected().await?);

    while let Some(event) = events.next().await {
        match event {
            Event::MessageReceived(message) if message.origin.is_none() => {
                if let Some(text) = message.text() {
                    client.send_text(message.conversation, text).await?;
                }
                client.mark_read(message.conversation, message.sequence).await?;
            }
            Event::StateChanged(state) => eprintln!("{state:?}"),
            _ => {}
        }
    }
    Ok(())
}
