// Asks a server for speech as programs do, with OpenAI's SDK: the default, wav, pcm, events, a refusal, and an
// answer that is aborted.
//
//     speech.mjs BASE_URL      prints a line of JSON, and fails with a reason if something is wrong
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.ALOUD_TEST_OPENAI_NODE_PATH + "/");
const { OpenAI } = require("openai");

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "none", maxRetries: 0, timeout: 30_000 });
const base = { model: "tts-1", voice: "nova", input: "Good evening. The kettle is on." };

async function speak(fields = {}) {
  const response = await client.audio.speech.create({ ...base, ...fields });
  const pieces = [];
  for await (const piece of response.body) pieces.push(Buffer.from(piece));
  return [Buffer.concat(pieces), response.headers.get("content-type")];
}

const [mp3, mp3Type] = await speak();
assert.equal(mp3Type, "audio/mpeg");
assert.equal(mp3[0], 0xff);
const [wav, wavType] = await speak({ response_format: "wav" });
assert.equal(wavType, "audio/wav");
assert.equal(wav.subarray(0, 4).toString(), "RIFF");
const [pcm] = await speak({ response_format: "pcm" });
assert.ok(Math.abs(pcm.length / 48_000 - (wav.length - 44) / 32_000) < 0.1);
const [text] = await speak({ response_format: "pcm", stream_format: "sse" });
const events = text.toString().split("\n\n").filter(Boolean).map((event) => JSON.parse(event.slice(6)));
const deltas = events.filter((event) => event.type === "speech.audio.delta");
assert.ok(Buffer.concat(deltas.map((event) => Buffer.from(event.audio, "base64"))).equals(pcm));
assert.equal(events.at(-1).type, "speech.audio.done");
await assert.rejects(speak({ response_format: "mid" }), (error) => {
  return error instanceof OpenAI.BadRequestError && error.error.message.includes("response_format");
});
const left = await client.audio.speech.create({ ...base, input: base.input.repeat(300) });
await left.body.cancel();
console.log(JSON.stringify({ mp3: mp3.length, wav: wav.length, pcm: pcm.length }));
