// Two devices on npm `ws`, written from docs/protocol.md alone: hello, send, deliver, ack, receipt.
//
// node talk.cjs URL USER TOKEN PEER PEER_TOKEN
// Prints one line of JSON with what each of them saw; ends with a code other than 0 when something is missing.

const { randomUUID } = require("node:crypto");
const WebSocket = require("ws");

const DEADLINE_MS = 20_000;

/** One device: its frames in order, and a way to wait for one of a type. */
class Device {
  constructor(url, token) {
    this.inbox = [];
    this.waiting = [];
    this.socket = new WebSocket(url, "switchyard.v1.json");
    this.socket.on("open", () => this.put({ type: "hello", token, device: "1" }));
    this.socket.on("message", (data, isBinary) => {
      if (isBinary) fail("a JSON session got a binary message");
      this.inbox.push(JSON.parse(data));
      this.waiting.splice(0).forEach((look) => look());
    });
    this.socket.on("error", (error) => fail(error.message));
    this.closed = new Promise((resolve) => this.socket.on("close", (code) => resolve(code)));
  }

  put(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** The first frame of a type; others stay in order. */
  async expect(type) {
    for (;;) {
      const index = this.inbox.findIndex((frame) => frame.type === type);
      if (index >= 0) return this.inbox.splice(index, 1)[0];
      await new Promise((look) => this.waiting.push(look));
    }
  }
}

function fail(why) {
  console.error(why);
  process.exit(1);
}

async function main([url, user, token, peer, peerToken]) {
  setTimeout(() => fail("not done in time"), DEADLINE_MS).unref();
  const [alice, bob] = [new Device(url, token), new Device(url, peerToken)];
  await Promise.all([alice.expect("welcome"), bob.expect("welcome")]);
  const id = randomUUID();
  alice.put({ type: "send", client_message_id: id, conversation: { direct: peer }, body: { text: "grüße 👋" } });
  const accepted = await alice.expect("accepted");
  const deliver = await bob.expect("deliver");
  bob.put({ type: "ack", conversation: { direct: user }, delivered: deliver.sequence, read: deliver.sequence });
  const receipt = await alice.expect("receipt");
  alice.put({ type: "bye" });
  bob.socket.close(1000);
  const codes = await Promise.all([alice.closed, bob.closed]);
  console.log(JSON.stringify({ id, accepted, deliver, receipt, codes }));
}

main(process.argv.slice(2));
