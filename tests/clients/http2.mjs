// Whole sessions as streams of one HTTP/2 connection (RFC 8441), by Node's `http2`, with the frames
// of `ws`.
//
//   node http2.mjs 127.0.0.1:8080
//
// Loads `ws` from ALOUD_TEST_NODE_PATH, or from Node's default path. Prints one line of JSON: the number of
// sessions and their bytes of audio. If a promise is broken, prints it on stderr and exits with 1.
//
// Keep in step with http2.py, which does the same.

import { once } from "node:events";
import http2 from "node:http2";
import { createRequire } from "node:module";

const SESSIONS = 3;
const PROMPT = "The kettle is on. Tea will be ready in five minutes.";
const LIMIT_MS = 60_000;
const KINDS = ["session_start", "text", "sentence_end", "text", "sentence_end", "session_end"];

const require = createRequire(`${process.env.ALOUD_TEST_NODE_PATH ?? import.meta.dirname}/http2.mjs`);
const { Receiver, Sender } = require("ws");

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}

function check(condition, sentence) {
  if (!condition) fail(sentence);
}

async function session(connection) {
  const stream = connection.request(
    {
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":path": "/api/session/ws",
      "sec-websocket-version": 13,
    },
    { endStream: false },
  );
  const ended = once(stream, "end");
  const [headers] = await once(stream, "response");
  check(headers[":status"] === 200, `The answer was ${headers[":status"]}.`);
  const sender = new Sender(stream);
  const receiver = new Receiver({ isServer: false });
  const say = (message) => sender.send(JSON.stringify(message), { fin: true, mask: true, opcode: 1 });
  const kinds = [];
  let bytes = 0;
  let closed;
  receiver.on("message", (data, isBinary) => {
    if (isBinary) {
      bytes += data.length;
      return;
    }
    const { type } = JSON.parse(data);
    kinds.push(type);
    if (type === "session_start") say({ type: "start_session", prompt: PROMPT });
    if (type === "session_end") sender.close(1000, "", true);
  });
  receiver.on("ping", (data) => sender.pong(data, true));
  receiver.on("conclude", (code) => (closed = code));
  receiver.on("error", (error) => fail(`A frame was not good: ${error.message}`));
  stream.on("data", (data) => receiver.write(data));
  await ended;
  stream.end();
  check(String(kinds) === String(KINDS), `The messages were ${kinds}.`);
  check(closed === 1000, `The close code was ${closed}.`);
  return bytes;
}

setTimeout(() => fail(`The sessions were not over after ${LIMIT_MS / 1000} s.`), LIMIT_MS).unref();
const connection = http2.connect(`http://${process.argv[2]}`);
connection.on("error", (error) => fail(`The connection failed: ${error.message}`));
connection.on("goaway", (code) => check(code === 0, `The server broke it off: ${code}`));
const [settings] = await once(connection, "remoteSettings");
check(settings.enableConnectProtocol, "The server does not know the extended CONNECT.");
const all = await Promise.all(Array.from({ length: SESSIONS }, () => session(connection)));
connection.close();
console.log(JSON.stringify({ sessions: all.length, bytes: all.reduce((sum, bytes) => sum + bytes) }));
