// For scenarios without a browser: a server whose messages the test writes, and a loudspeaker whose clock it turns.

import { once } from "node:events";
import { check, required } from "./support.mjs";

export const RATE = 16_000;

/** Audio of a stream between two bytes. Each take sounds different. */
export function sound(from, to, take = 0) {
  return Buffer.from(Int16Array.from({ length: (to - from) / 2 }, (_, n) => 1 + ((from / 2 + n) % 9_000) + take * 10_000).buffer);
}

/** One connection to the mock server. */
class Peer {
  constructor(socket, number) {
    this.socket = socket;
    this.all = []; // every message of the client
    this.unread = [];
    this.wake = () => {};
    this.closed = once(socket, "close");
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      this.all.push(message);
      if (message.type === "ping") return this.say({ type: "pong" });
      if (message.type !== "ack") this.unread.push(message);
      this.wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => this.wake());
    this.say({
      type: "session_start",
      sessionId: `session-${number}`,
      protocol: "aloud.v1",
      token: `token-${number}`,
      audio: { encoding: "pcm_s16le", sampleRate: RATE, channels: 1 },
      limits: { resumeTtlMs: 60_000 },
    });
  }

  say(...messages) {
    for (const message of messages) this.socket.send(JSON.stringify(message));
  }

  /** Waits for the next message; an `ack` or a `ping` is none. */
  async next() {
    while (this.unread.length === 0) {
      check(this.socket.readyState === 1, "The client closed the connection before its next message.");
      await new Promise((resolve) => (this.wake = resolve));
    }
    return this.unread.shift();
  }

  async expect(type) {
    const message = await this.next();
    check(message.type === type, `${JSON.stringify(message)} is no ${type}.`);
    return message;
  }

  start({ source = "verbatim", ...more } = {}) {
    this.say({ type: "stream_start", audio: { encoding: "pcm_s16le", sampleRate: RATE, channels: 1 }, voice: "mock", source, ...more });
  }

  text(index, offset, data = `Sentence ${index}.`) {
    this.say({ type: "text", data, index, offset, startMs: offset / 32 });
  }

  audio(from, to, take) {
    for (let at = from; at < to; at += 1_280) this.socket.send(sound(at, Math.min(to, at + 1_280), take));
  }

  /** Every message of a sentence. */
  sentence(index, from, to, take) {
    this.text(index, from);
    this.audio(from, to, take);
    this.say({ type: "sentence_end", index, offset: to, bytes: to - from });
  }

  end(reason = "completed", wastedMs = 0) {
    this.say({ type: "session_end", reason, usage: { chars: 1, sentences: 1, audioMs: 0, synthesisedMs: 0, wastedMs, firstAudioMs: 0 } });
  }

  close(code, reason) {
    this.socket.close(code, reason);
    return this.closed;
  }

  /** Ends the connection without a Close frame. */
  cut() {
    this.socket.terminate();
    return this.closed;
  }

  /** Refuses `recover`. */
  refuse(code, close) {
    this.say({ type: "recovered", recovered: false, code }, { type: "error", message: code, code, retryable: false, fatal: true });
    return this.close(close, code);
  }
}

/** Runs `use` with a function that waits for the next connection, and the URL. */
export async function withMock(use) {
  const { WebSocketServer } = required("ws");
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "aloud.v1" });
  await once(server, "listening");
  const peers = [];
  let wake = () => {};
  let number = 0;
  server.on("connection", (socket) => {
    peers.push(new Peer(socket, (number += 1)));
    wake();
  });
  const connection = async () => {
    while (peers.length === 0) await new Promise((resolve) => (wake = resolve));
    return peers.shift();
  };
  try {
    await use({ connection, url: `ws://127.0.0.1:${server.address().port}` });
  } finally {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
}

/** A loudspeaker without a clock of its own: `play` turns it. */
export function loudspeaker() {
  const node = { connect() {}, disconnect() {} };
  const context = {
    sampleRate: RATE,
    state: "running",
    destination: {},
    addEventListener() {},
    resume: async () => {},
    suspend: async () => {},
    createScriptProcessor: () => node,
  };
  const heard = [];
  const play = (ms) => {
    for (let left = (ms * RATE) / 1000; left > 0; left -= 128) {
      const out = new Float32Array(128);
      node.onaudioprocess({ outputBuffer: { getChannelData: () => out } });
      for (const sample of out) heard.push(Math.round(sample * 32768));
    }
  };
  return { context, play, heard };
}

/** Records an Aloud's events, and waits for them. */
export function record(aloud) {
  const events = [];
  const waiting = new Set();
  for (const type of ["state", "stream", "text", "sentence", "word", "audio", "warning", "error", "end", "message"]) {
    aloud.on(type, (event) => {
      events.push({ type, event });
      for (const wake of waiting) wake();
    });
  }
  return {
    of: (type) => events.filter((entry) => entry.type === type).map(({ event }) => event),
    /** Waits until the events so far satisfy a condition. */
    async until(condition) {
      while (!condition()) await new Promise((resolve) => waiting.add(resolve));
    },
    /** Received audio: each byte at its offset, later takes over earlier ones. */
    audio() {
      const bytes = [];
      for (const { type, event } of events) {
        if (type !== "audio") continue;
        check(event.offset <= bytes.length, `A hole before byte ${event.offset}: only ${bytes.length} had arrived.`);
        bytes.length = event.offset;
        bytes.push(...event.data);
      }
      return Buffer.from(bytes);
    },
    /** Bytes that arrived, the repeated ones too. */
    arrived: () => events.reduce((sum, { type, event }) => sum + (type === "audio" ? event.data.length : 0), 0),
  };
}
