// A whole base session, run by an independent WebSocket client: `ws` for Node.
//
//   node session.mjs ws://127.0.0.1:8080/api/session/ws
//
// Loads `ws` from ALOUD_TEST_NODE_PATH, or from Node's default path. Prints one line of JSON: the contents
// of the streams that ran to their end, and `pausedMidStream`. If a promise is broken, prints it on stderr
// and exits with 1.
//
// Keep in step with session.py, which does the same.

import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";

const PROMPT = "The kettle is on. Tea will be ready in five minutes.";
const SENTENCES = ["The kettle is on.", "Tea will be ready in five minutes."];
const LIMIT_MS = 60_000;
const QUIET_MS = 200;

function fail(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}

function check(condition, sentence) {
  if (!condition) fail(sentence);
}

/** Everything that arrives, in order: {audio}, {message} or {close}. */
class Arrivals {
  constructor(socket) {
    this.waiting = [];
    this.wanted = [];
    socket.on("message", (data, isBinary) => {
      if (isBinary) return this.add({ audio: data });
      try {
        this.add({ message: JSON.parse(data.toString()) });
      } catch {
        fail(`The server sent text that is not JSON: ${data}`);
      }
    });
    socket.on("close", (code, reason) => this.add({ close: { code, reason: reason.toString() } }));
    socket.on("error", (error) => fail(`The connection failed: ${error.message}`));
    socket.on("unexpected-response", (_, response) => fail(`The handshake was answered ${response.statusCode}.`));
  }

  add(arrival) {
    const taker = this.wanted.shift();
    if (taker) taker(arrival);
    else this.waiting.push(arrival);
  }

  next() {
    if (this.waiting.length > 0) return Promise.resolve(this.waiting.shift());
    return new Promise((taken) => this.wanted.push(taken));
  }
}

function expectMessage(arrival, type, ...fields) {
  const found = arrival.message;
  check(found?.type === type, `Expected ${type}, got ${describe(arrival)}.`);
  const keys = Object.keys(found).sort();
  check(
    isDeepStrictEqual(keys, ["type", ...fields].sort()),
    `The fields of ${type} should be type, ${fields}, and are ${keys}.`,
  );
  return found;
}

function describe(arrival) {
  return arrival.audio ? `${arrival.audio.length} bytes of audio` : JSON.stringify(arrival);
}

/** The order within one stream: text, its frames, sentence_end, and the next. */
class Stream {
  constructor() {
    this.texts = [];
    this.speaking = false;
    this.bytes = 0;
    this.frames = 0;
    this.sentenceBytes = 0;
    this.ended = false;
  }

  take(arrival) {
    check(!this.ended, `After session_end came ${describe(arrival)}.`);
    if (arrival.audio) {
      check(this.speaking, "A binary frame came outside of a sentence.");
      check(arrival.audio.length > 0, "A binary frame was empty.");
      this.frames += 1;
      this.bytes += arrival.audio.length;
      this.sentenceBytes += arrival.audio.length;
      return;
    }
    switch (arrival.message?.type) {
      case "text": {
        const { data, index } = expectMessage(arrival, "text", "data", "index");
        check(!this.speaking, "A text came before the sentence_end of the one before.");
        check(index === this.texts.length, `Expected text ${this.texts.length}, got ${index}.`);
        this.texts.push(data.trim());
        this.speaking = true;
        this.sentenceBytes = 0;
        return;
      }
      case "sentence_end": {
        const { index } = expectMessage(arrival, "sentence_end", "index");
        check(this.speaking, "A sentence_end came outside of a sentence.");
        check(index === this.texts.length - 1, `Expected sentence_end ${this.texts.length - 1}, got ${index}.`);
        check(this.sentenceBytes > 0, `Sentence ${index} had no audio.`);
        this.speaking = false;
        return;
      }
      case "session_end":
        expectMessage(arrival, "session_end");
        check(!this.speaking, "session_end came inside a sentence.");
        this.ended = true;
        return;
      default:
        fail(`A stream should not hold ${describe(arrival)}.`);
    }
  }
}

const url = process.argv[2];
check(url, "usage: node session.mjs URL");
const require = createRequire(`${process.env.ALOUD_TEST_NODE_PATH ?? import.meta.dirname}/session.mjs`);
const { WebSocket } = require("ws");

const watchdog = setTimeout(() => fail(`The session was not over after ${LIMIT_MS / 1000} s.`), LIMIT_MS);
const socket = new WebSocket(url);
const arrivals = new Arrivals(socket);
const send = (message) => socket.send(JSON.stringify(message));

/** Sends something that must be answered by one error; what comes before it goes to `other`. */
async function roundTrip(message, other) {
  send(message);
  for (;;) {
    const arrival = await arrivals.next();
    if (arrival.message?.type === "error") return expectMessage(arrival, "error", "message").message;
    other(arrival);
  }
}

// The server speaks first.
const { sessionId } = expectMessage(await arrivals.next(), "session_start", "sessionId");
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
check(uuid.test(sessionId), `The session id is no UUID of version 4: ${sessionId}`);

// The first stream, paused after its first frame.
const first = new Stream();
send({ type: "start_session", prompt: PROMPT });
while (first.frames === 0) first.take(await arrivals.next());
send({ type: "pause" });
// The answer follows all frames that were in transit when the pause arrived.
await roundTrip({ type: "no_such_message" }, (arrival) => first.take(arrival));
const pausedMidStream = !first.ended;
if (pausedMidStream) {
  let late = 0;
  const whilePaused = (arrival) => {
    check(arrival.audio, `While paused came ${describe(arrival)}.`);
    late += 1;
    first.take(arrival);
  };
  for (let i = 0; i < 3; i += 1) {
    const answer = await roundTrip({ type: "start_session", prompt: "Me too." }, whilePaused);
    check(answer === "Session already streaming", `A second start_session was answered: ${answer}`);
  }
  await new Promise((over) => setTimeout(over, QUIET_MS));
  await roundTrip({ type: "no_such_message" }, whilePaused);
  check(late <= 1, `While paused came ${late} frames.`);
}
send({ type: "resume" });
while (!first.ended) first.take(await arrivals.next());
check(isDeepStrictEqual(first.texts, SENTENCES), `The sentences came as ${JSON.stringify(first.texts)}.`);

// A second stream on the same connection, held at its start.
const second = new Stream();
send({ type: "pause" });
send({ type: "start_session", prompt: SENTENCES[0], unknownField: true });
await roundTrip({ type: "no_such_message" }, (arrival) => fail(`Held at its start, yet came ${describe(arrival)}.`));
send({ type: "resume" });
while (!second.ended) second.take(await arrivals.next());
check(isDeepStrictEqual(second.texts, SENTENCES.slice(0, 1)), "The second stream spoke something else.");

// A third, ended in the middle.
send({ type: "start_session", prompt: PROMPT });
while (!(await arrivals.next()).audio);
send({ type: "end" });
let last;
let arrival = await arrivals.next();
for (; !arrival.close; arrival = await arrivals.next()) last = arrival;
check(last?.message, "The close did not follow session_end.");
expectMessage(last, "session_end");
const { code, reason } = arrival.close;
check(code === 1000, `The close code should be 1000 and is ${code}.`);
check(reason === "Session ended by client", `The close reason is: ${reason}`);

clearTimeout(watchdog);
const figures = {
  sentences: first.texts.length + second.texts.length,
  bytes: first.bytes + second.bytes,
  frames: first.frames + second.frames,
  pausedMidStream,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
