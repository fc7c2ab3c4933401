//! One connection of a load: its client, and what has come of something that is not whole.

use switchyard_swarm::event_loop::{SocketId, Sockets};

use crate::client::{Client, Said, Taken};

#[derive(Debug)]
pub(super) struct Line<C> {
    pub(super) client: C,
    rest: Vec<u8>,
}

impl<C: Client> Line<C> {
    pub(super) const fn new(client: C) -> Self {
        Self { client, rest: Vec::new() }
    }

    /// The connection is there: opens the conversation.
    pub(super) fn start(&mut self, sockets: &mut Sockets, id: SocketId) {
        if let Some(out) = sockets.out(id) {
            self.client.start(out);
        }
    }

    /// Bytes came. Tells `on` of everything they completed, and answers what has to be answered at once.
    pub(super) fn on_bytes(
        &mut self,
        sockets: &mut Sockets,
        id: SocketId,
        bytes: &mut [u8],
        on: impl FnMut(Said) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(out) = sockets.out(id) else { return Ok(()) };
        if self.rest.is_empty() {
            let used = take_all(&mut self.client, bytes, out, on)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let used = take_all(&mut self.client, &mut self.rest, out, on)?;
            self.rest.drain(..used);
        }
        Ok(())
    }
}

/// How many bytes are done with.
fn take_all(
    client: &mut impl Client,
    input: &mut [u8],
    out: &mut Vec<u8>,
    mut on: impl FnMut(Said) -> Result<(), String>,
) -> Result<usize, String> {
    let mut used = 0;
    while used < input.len() {
        let Taken { consumed, said } = client.take(&mut input[used..], out)?;
        used += consumed;
        match said {
            Some(said) => on(said)?,
            None if consumed == 0 => break,
            None => {}
        }
    }
    Ok(used)
}
