// Shared by the browser tests: a server, a bare page, and a proxy that the test can cut. The browsers are in
// browsers.mjs.

import { spawn } from "node:child_process";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { required } from "./browsers.mjs";

export { browse, freePort, modulePath, PLAYS, required } from "./browsers.mjs";

export function check(condition, sentence) {
  if (!condition) throw new Error(sentence);
}

export function same(one, other, what) {
  check(JSON.stringify(one) === JSON.stringify(other), `${what}: ${JSON.stringify(one)}, not ${JSON.stringify(other)}.`);
}

class Late extends Error {}

/** A check that a busy machine can fail: see `punctually`. */
export function inTime(condition, sentence) {
  if (!condition) throw new Late(sentence);
}

/**
 * Runs a measurement again, twice at most, if it is not in time. On a busy machine, one timer or message that comes
 * late spoils a single run. What the module itself does too late, it does in each run, so that the bounds stay as
 * tight as on an idle machine. All other checks fail at once.
 */
export async function punctually(measure) {
  for (let left = 2; ; left -= 1) {
    try {
      return await measure();
    } catch (error) {
      if (!(error instanceof Late)) throw error;
      if (left === 0) throw new Error(error.message);
      console.error(`Once more: ${error.message}`);
    }
  }
}

/** Runs the binary until `stop`. */
export async function serve(binary, ...options) {
  // Its stderr is not inherited: a reader of the test's stderr would wait for a server that outlives a failed test.
  const child = spawn(binary, ["serve", ...options], { stdio: ["ignore", "pipe", "ignore"] });
  process.on("exit", () => child.kill("SIGKILL"));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const line = await new Promise((resolve, reject) => {
    let read = "";
    child.stdout.on("data", (data) => {
      read += data;
      if (read.includes("\n")) resolve(read.trim());
    });
    ended.then((code) => reject(new Error(`The server ended with ${code}.`)));
  });
  const port = Number(line.split(":").at(-1));
  const stop = (signal = "SIGKILL") => {
    child.kill(signal);
    return ended;
  };
  return { port, url: `http://127.0.0.1:${port}`, stop };
}

/** Collects the audio of a connection from what the server sends on it: the head of an answer, then frames. */
function overhear() {
  const { Receiver } = required("ws");
  const receiver = new Receiver({ isServer: false });
  const audio = [];
  receiver.on("message", (data, isBinary) => isBinary && audio.push(data));
  receiver.on("error", () => {});
  let head = Buffer.alloc(0);
  const hear = (data) => {
    if (!head) return void receiver.write(data);
    head = Buffer.concat([head, data]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    receiver.write(head.subarray(end + 4));
    head = undefined;
  };
  return { audio, hear };
}

const TYPES = { html: "text/html", js: "text/javascript", mjs: "text/javascript" };

/**
 * A site: a bare page at `/`, the files of this folder under `/tests/`, and the server under `/speech/`, as
 * behind a reverse proxy.
 */
export class Site {
  constructor() {
    this.target = undefined; // the server's port
    this.tunnels = new Set();
    this.sockets = []; // path and audio of each connection
    this.isDown = false; // refuses new connections
    this.stripsSubprotocol = false;
    this.bytesPerSecond = Infinity; // from the server, on each connection
    this.onLose = async () => {}; // when the page asks for /lose
    this.upgrades = 0;
    this.http = createServer((asked, answer) => this.onRequest(asked, answer));
    this.http.on("upgrade", (asked, socket) => this.onUpgrade(asked, socket));
  }

  async listen() {
    await new Promise((resolve) => this.http.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.http.address().port}`;
    return this;
  }

  async onRequest(asked, answer) {
    const path = asked.url.split("?")[0];
    if (path.startsWith("/speech/")) {
      const { method, headers } = asked;
      const options = { host: "127.0.0.1", port: this.target, path: asked.url.slice("/speech".length), method, headers };
      const onward = request(options, (got) => {
        answer.writeHead(got.statusCode, got.headers);
        got.pipe(answer);
      });
      onward.on("error", () => answer.destroy());
      return void asked.pipe(onward);
    }
    if (path === "/lose") {
      await this.onLose();
      return void answer.end();
    }
    if (path === "/") {
      answer.setHeader("Content-Type", "text/html");
      return void answer.end('<!doctype html><html lang="en"><title>test</title><link rel="icon" href="data:,"><button>ok</button>');
    }
    try {
      check(/^\/tests\/[\w.-]+$/.test(path), "no such file");
      const content = await readFile(join(import.meta.dirname, path.slice("/tests/".length)));
      answer.setHeader("Content-Type", TYPES[path.split(".").at(-1)] ?? "text/plain");
      answer.end(content);
    } catch {
      answer.writeHead(404).end();
    }
  }

  onUpgrade(asked, socket) {
    this.upgrades += 1;
    if (this.isDown) return void socket.destroy();
    const server = connect(this.target, "127.0.0.1");
    const lines = [`GET ${asked.url.slice("/speech".length)} HTTP/1.1`];
    for (let n = 0; n < asked.rawHeaders.length; n += 2) {
      const name = asked.rawHeaders[n];
      if (this.stripsSubprotocol && /^sec-websocket-protocol$/i.test(name)) continue;
      lines.push(`${name}: ${asked.rawHeaders[n + 1]}`);
    }
    server.write(`${lines.join("\r\n")}\r\n\r\n`);
    const tunnel = { isDeaf: false };
    const end = (tunnel.end = () => {
      this.tunnels.delete(tunnel);
      socket.destroy();
      server.destroy();
    });
    this.tunnels.add(tunnel);
    const { audio, hear } = overhear();
    this.sockets.push({ path: asked.url, audio });
    let isFree = 0; // when the line has carried everything so far
    let line = Promise.resolve();
    const carry = (data) => {
      hear(data);
      if (this.bytesPerSecond === Infinity) return void socket.write(data);
      for (let from = 0; from < data.length; from += 200) {
        const packet = data.subarray(from, from + 200);
        isFree = Math.max(isFree, performance.now()) + (packet.length / this.bytesPerSecond) * 1000;
        const at = isFree;
        line = line.then(() => new Promise((over) => setTimeout(over, at - performance.now()))).then(() => socket.write(packet));
      }
    };
    for (const [from, to] of [[socket, (data) => server.write(data)], [server, carry]]) {
      from.on("data", (data) => tunnel.isDeaf || to(data));
      from.on("error", end);
      from.on("close", end);
    }
  }

  /** Cuts every connection without a Close frame. */
  cut() {
    for (const { end } of this.tunnels) end();
  }

  /** Silences the open connections: they carry no more data, and stay open. */
  deafen() {
    for (const tunnel of this.tunnels) tunnel.isDeaf = true;
  }

  close() {
    this.cut();
    this.http.closeAllConnections();
    this.http.close();
  }
}

/** Opens a page, and collects its errors. */
export async function open(context, url) {
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints };
}

/** 16-bit samples of bytes. */
export function samples(bytes) {
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Runs these scenarios by name, or all, and ends the process: with 1 if one failed. */
export async function perform(scenarios, wanted) {
  for (const name of wanted.length > 0 ? wanted : Object.keys(scenarios)) {
    const watchdog = setTimeout(() => {
      console.error(`${name} was not over after 240 s.`);
      process.exit(1);
    }, 240_000);
    try {
      await scenarios[name]();
      console.error(`ok: ${name}`);
    } catch (error) {
      console.error(`${name}: ${error.stack}`);
      process.exitCode = 1;
    }
    clearTimeout(watchdog);
  }
  process.exit();
}
