// A small program that uses the types as an app does. tsc checks it; it is not run.
import { Aloud, type ClientMessage, type Result, type ServerMessage, type State } from "./aloud.js";

function describe(message: ServerMessage): string {
  switch (message.type) {
    case "text":
      return `${message.index}: ${message.data}`;
    case "timestamps":
      return message.words.map((word, n) => `${word} ${message.start[n]}`).join(", ");
    case "recovered":
      return message.recovered ? `${message.offset} ${message.stream ?? 1} ${message.textOffset ?? 0} ${message.exact ?? true}` : message.code;
    case "session_end":
      return `${message.reason ?? ""} ${message.usage?.audioMs ?? 0}`;
    case "error":
      return message.code ?? message.message;
    case "session_start":
      return String(message.limits?.aheadMs);
    case "cancelled":
      return message.spokenText;
    case "stream_start":
      return message.audio.encoding;
    case "sentence_end":
    case "flushed":
      return String(message.index);
    case "paused":
    case "resumed":
      return String(message.offset);
    case "go_away":
      return message.reason;
    case "warning":
      return message.code;
    case "pong":
      return message.id ?? "";
    default: {
      const nothing: never = message;
      return nothing;
    }
  }
}

const asked: ClientMessage[] = [
  { type: "start_session", prompt: "Hello.", delivery: { mode: "paced", aheadMs: 500 } },
  { type: "cancel", playedMs: 10 },
  { type: "start_session", prompt: "One. Two.", from: { index: 1, offset: 6_400 } },
  { type: "recover", sessionId: "s", token: "t", offset: 6_400, stream: 1, rev: 0, crc32: "9a1f03bc", inexact: true },
  // @ts-expect-error: a stream begins at a sentence and a byte.
  { type: "start_session", from: { index: 1 } },
  // @ts-expect-error: an ack says how much.
  { type: "ack" },
  // @ts-expect-error: there is no such message.
  { type: "shout" },
];

export async function speak(text: string): Promise<Result> {
  const aloud = new Aloud("https://speech.example.com", { token: async () => "secret", start: { voice: "joe" } });
  const off = aloud.on("word", ({ text, startMs }) => console.log(text, startMs.toFixed()));
  aloud.on("message", (event) => {
    if (event.direction === "in") console.log(describe(event.message));
    else if (event.message.type === "ack") console.log(event.message.playedMs);
  });
  aloud.on("state", ({ state }) => {
    const known: State = state;
    console.log(known);
  });
  // @ts-expect-error: there is no such event.
  aloud.on("shout", () => {});
  // @ts-expect-error: a voice is a name.
  void aloud.start({ voice: 5 });
  const node: AudioNode | undefined = await aloud.unlock();
  console.log(node, asked.length);
  const result = await aloud.start(text);
  const cancelled = await aloud.cancel();
  console.log(cancelled?.spokenText);
  off();
  aloud.close();
  return result;
}
