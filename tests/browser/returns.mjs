// How aloud.js comes back: scenarios in Node, against a server whose messages are written here, or the real one.

import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loudspeaker, RATE, record, sound, withMock } from "./mock.mjs";
import { check, required, same, serve, Site } from "./support.mjs";

const START = { source: "append" };
const MS = RATE / 500; // bytes in one

/** Runs `use` with an Aloud of the module's source, and a record of its events. */
async function withAloud(url, options, use) {
  const home = await mkdtemp(join(tmpdir(), "aloud-module-"));
  try {
    const module = join(home, "aloud.mjs");
    await copyFile(join(import.meta.dirname, "../../src/server/web/aloud.js"), module);
    const { Aloud } = await import(module);
    const aloud = new Aloud(url, { WebSocket: required("ws").WebSocket, ...options });
    await use(aloud, record(aloud));
    aloud.close();
  } finally {
    await rm(home, { recursive: true });
  }
}

/** A mock server and a client without playback. */
function withBoth(use, options = {}) {
  return withMock(({ connection, url }) => withAloud(url, { playback: false, ...options }, (aloud, seen) => use({ aloud, seen, connection })));
}

/** The same with a loudspeaker. */
async function withPlayback(use) {
  const speaker = loudspeaker();
  await withBoth((all) => use({ ...all, ...speaker }), { playback: true, context: speaker.context, bufferMs: 0 });
}

/** The same with a clock, which `pass` moves on while the loudspeaker plays. It returns what was heard. */
async function withClock(use) {
  const { context, play, heard } = loudspeaker();
  const kept = globalThis.performance;
  let now = 0;
  const pass = (ms) => {
    const from = heard.length;
    for (const end = now + ms; now < end; now += 8) play(8); // one quantum
    return heard.slice(from);
  };
  globalThis.performance = { now: () => now };
  try {
    await withBoth((all) => use({ ...all, pass }), { playback: true, context });
  } finally {
    globalThis.performance = kept;
  }
}

/** Runs `use` with a device: whether it is online, and its events. */
async function withDevice(use) {
  const events = new EventTarget();
  const kept = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  const device = { onLine: true, say: (type) => events.dispatchEvent(new Event(type)) };
  Object.defineProperty(globalThis, "navigator", { value: device, configurable: true });
  globalThis.addEventListener = events.addEventListener.bind(events);
  globalThis.removeEventListener = events.removeEventListener.bind(events);
  try {
    await use(device);
  } finally {
    if (kept) Object.defineProperty(globalThis, "navigator", kept);
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
}

/** Fields of a message. */
function pick(message, ...names) {
  return Object.fromEntries(names.map((name) => [name, message[name]]));
}

function sameAudio(found, expected, what) {
  const at = found.findIndex((byte, n) => byte !== expected[n]);
  same([found.length, at], [expected.length, -1], `${what}: length, first wrong byte`);
}

export const returns = {
  async recover_names_the_stream_and_its_last_cancel() {
    await withBoth(async ({ aloud, seen, connection }) => {
      const over = aloud.start("One.");
      let peer = await connection();
      await peer.expect("start_session");
      peer.start({ stream: 1, rev: 0 });
      peer.sentence(0, 0, 3_200);
      peer.end();
      await over;
      const second = aloud.start(START);
      await peer.expect("start_session");
      peer.start({ stream: 2, rev: 0, source: "append" });
      peer.text(0, 0);
      peer.audio(0, 6_400);
      await seen.until(() => seen.arrived() === 9_600);
      aloud.cancel();
      await peer.expect("cancel");
      peer.say({ type: "cancelled", index: 0, offset: 6_400, rev: 1, sentMs: 200, playedMs: 200, spokenText: "", wastedMs: 0 });
      peer.text(1, 6_400);
      peer.audio(6_400, 12_800);
      await seen.until(() => seen.arrived() === 16_000);
      await peer.cut();
      peer = await connection();
      const recover = await peer.expect("recover");
      const wanted = { sessionId: "session-1", token: "token-1", offset: 12_800, stream: 2, rev: 1, inexact: true };
      same(pick(recover, ...Object.keys(wanted)), wanted, "recover");
      // CRC-32 of what came since the last text.
      same(recover.crc32, crc32(sound(6_400, 12_800)), "crc32");
      peer.say({ type: "recovered", recovered: true, offset: 12_800, index: 1, stream: 2, rev: 1, paused: false, textOffset: 0, exact: true });
      peer.audio(12_800, 16_000);
      peer.end("ended");
      same((await second).reason, "ended", "reason");
      // The old id and token stay valid for the next stream of this connection.
      const third = aloud.start("Three.");
      await peer.expect("start_session");
      peer.start({ stream: 3, rev: 0 });
      peer.text(0, 0);
      peer.audio(0, 3_200);
      await seen.until(() => seen.arrived() === 22_400);
      await peer.cut();
      peer = await connection();
      same(pick(await peer.expect("recover"), "sessionId", "stream", "rev", "offset"), { sessionId: "session-1", stream: 3, rev: 0, offset: 3_200 }, "recover");
      peer.say({ type: "recovered", recovered: true, offset: 3_200, index: 0, stream: 3, rev: 0 });
      peer.end();
      same((await third).reason, "completed", "reason");
    });
  },

  async recover_before_the_second_stream_began_names_it() {
    for (const isNumbered of [true, false]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start("One.");
        let peer = await connection();
        await peer.expect("start_session");
        peer.start(isNumbered ? { stream: 1, rev: 0 } : {});
        peer.sentence(0, 0, 3_200);
        peer.end();
        await over;
        const second = aloud.start("Two.");
        await peer.expect("start_session");
        await peer.cut();
        peer = await connection();
        if (isNumbered) {
          same(pick(await peer.expect("recover"), "stream", "offset"), { stream: 2, offset: 0 }, "recover");
          // The first message was lost, and so the server has no second stream.
          await peer.refuse("position_lost", 4411);
          peer = await connection();
        }
        // A server that does not number its streams would answer with the first one.
        same((await peer.expect("start_session")).prompt, "Two.", "prompt");
        peer.start();
        peer.sentence(0, 0, 6_400);
        peer.end();
        same([(await second).reason, seen.arrived()], ["completed", 9_600], "reason, bytes");
      });
    }
  },

  async recover_learns_the_format_of_a_stream_that_it_did_not_see() {
    await withBoth(async ({ aloud, seen, connection }) => {
      const over = aloud.start({ prompt: "One.", audio: { sampleRate: 8_000 } });
      let peer = await connection();
      await peer.expect("start_session");
      await peer.cut();
      peer = await connection();
      same((await peer.expect("recover")).offset, 0, "offset");
      peer.say({ type: "stream_start", stream: 1, rev: 0, audio: { encoding: "pcm_s16le", sampleRate: 8_000, channels: 1 }, voice: "mock", source: "verbatim" });
      peer.say({ type: "recovered", recovered: true, offset: 0, index: 0, stream: 1, rev: 0, paused: false, textOffset: 4, exact: true });
      peer.sentence(0, 0, 16_000);
      peer.end();
      same([(await over).reason, aloud.stats.receivedMs, seen.of("stream").length], ["completed", 1_000, 1], "reason, ms, streams");
    });
  },

  async append_lost_with_its_connection_is_sent_again() {
    // What was sent before the cut, what the server has of it, and what it gets after the cut.
    const emoji = "🙂";
    for (const [prompt, sent, textOffset, again] of [
      [undefined, ["One. ", "Two. "], 0, ["One. ", "Two. "]],
      [undefined, ["One. ", "Two. "], 5, ["Two. "]],
      [undefined, ["One. ", "Two. "], 7, ["o. "]],
      [undefined, ["One. ", "Two. "], 10, []],
      ["Zero. ", ["One. ", "Two. "], 6, ["One. ", "Two. "]],
      ["Zero. ", ["One. ", "Two. "], 16, []],
      [undefined, [`a${emoji}b`], 2, [`${emoji[1]}b`]],
    ]) {
      await withBoth(async ({ aloud, connection }) => {
        const over = aloud.start({ ...START, prompt });
        let peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0, source: "append" });
        for (const text of sent) aloud.append(text);
        for (const text of sent) same((await peer.expect("append")).text, text, "text");
        await peer.cut();
        aloud.append("Later. ");
        aloud.end();
        peer = await connection();
        same((await peer.expect("recover")).offset, 0, "offset");
        peer.say({ type: "recovered", recovered: true, offset: 0, index: 0, stream: 1, rev: 0, paused: false, textOffset, exact: true });
        for (const text of [...again, "Later. "]) same((await peer.expect("append")).text, text, `text after ${textOffset}`);
        await peer.expect("end");
        // A second loss: what has arrived by then is not sent once more.
        await peer.cut();
        peer = await connection();
        await peer.expect("recover");
        const all = [prompt ?? "", ...sent, "Later. "].join("").length;
        peer.say({ type: "recovered", recovered: true, offset: 0, index: 0, stream: 1, rev: 0, paused: false, textOffset: all, exact: true });
        await peer.expect("end");
        peer.end("ended");
        same((await over).reason, "ended", "reason");
        same(peer.unread, [], "more messages");
      });
    }
  },

  async append_and_flush_are_repeated_in_their_order() {
    await withBoth(async ({ aloud, connection }) => {
      const over = aloud.start(START);
      let peer = await connection();
      await peer.expect("start_session");
      peer.start({ stream: 1, rev: 0, source: "append" });
      for (const text of ["one", "two"]) {
        aloud.append(text);
        aloud.flush();
      }
      for (const type of ["append", "flush", "append", "flush"]) await peer.expect(type);
      await peer.cut();
      peer = await connection();
      await peer.expect("recover");
      peer.say({ type: "recovered", recovered: true, offset: 0, index: 0, stream: 1, rev: 0, textOffset: 3 });
      // The server may have lost the first flush: it can be sent again, and the text cannot.
      same([await peer.next(), await peer.next(), await peer.next()], [{ type: "flush" }, { type: "append", text: "two" }, { type: "flush" }], "messages");
      aloud.end();
      await peer.expect("end");
      peer.end("ended");
      await over;
    });
  },

  async append_after_a_cancel_is_not_mixed_with_the_cancelled_text() {
    // Whether the cancel arrived before the connection was lost, with all that followed it.
    for (const hasArrived of [true, false]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start(START);
        let peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0, source: "append" });
        aloud.append("Forget this. ");
        peer.text(0, 0);
        peer.audio(0, 6_400);
        await seen.until(() => seen.arrived() === 6_400);
        const cancelled = aloud.cancel();
        aloud.append("Say this. ");
        for (const type of ["append", "cancel", "append"]) await peer.expect(type);
        await peer.cut();
        peer = await connection();
        same(pick(await peer.expect("recover"), "offset", "rev"), { offset: 6_400, rev: 0 }, "recover");
        const rev = hasArrived ? 1 : 0;
        peer.say({ type: "recovered", recovered: true, offset: 6_400, index: 0, stream: 1, rev, paused: false, textOffset: hasArrived ? 23 : 6, exact: true });
        if (hasArrived) {
          // It was sent before the cancel, and is nothing to hear.
          peer.audio(6_400, 9_600);
        } else {
          await peer.expect("cancel");
          peer.say({ type: "cancelled", index: 0, offset: 9_600, rev: 1, sentMs: 300, playedMs: 200, spokenText: "", wastedMs: 100 });
          same((await peer.expect("append")).text, "Say this. ", "text");
        }
        await cancelled;
        peer.text(1, 9_600);
        peer.audio(9_600, 12_800, 1);
        aloud.end();
        await peer.expect("end");
        same(peer.unread, [], "more messages");
        peer.end("ended");
        await over;
        const [before, after] = seen.of("audio").reduce(([before, after], { data, offset }) =>
          offset < 6_400 ? [before + data.length, after] : [before, Buffer.concat([after, data])], [0, Buffer.alloc(0)]);
        same(before, 6_400, "bytes before the cancel");
        sameAudio(after, sound(9_600, 12_800, 1), "audio after the cancel");
        same(seen.of("audio").at(-1).offset, 9_600 + 2_560, "its last offset");
      });
    }
  },

  async cancel_while_the_connection_is_lost_keeps_an_append_stream() {
    await withBoth(async ({ aloud, seen, connection }) => {
      const over = aloud.start(START);
      let peer = await connection();
      await peer.expect("start_session");
      peer.start({ stream: 1, rev: 0, source: "append" });
      peer.text(0, 0);
      peer.audio(0, 3_200);
      await seen.until(() => seen.arrived() === 3_200);
      peer.cut();
      await seen.until(() => aloud.connection === "lost");
      const cancelled = aloud.cancel();
      aloud.append("Next.");
      peer = await connection();
      await peer.expect("recover");
      peer.say({ type: "recovered", recovered: true, offset: 3_200, index: 0, stream: 1, rev: 0, paused: false, textOffset: 0, exact: true });
      await peer.expect("cancel");
      peer.say({ type: "cancelled", index: 0, offset: 3_200, rev: 1, sentMs: 100, playedMs: 100, spokenText: "", wastedMs: 0 });
      same((await cancelled).offset, 3_200, "offset");
      same((await peer.expect("append")).text, "Next.", "text");
      aloud.end();
      await peer.expect("end");
      peer.end("ended");
      same((await over).reason, "ended", "reason");
    });
  },

  async recover_follows_the_pause_of_the_server() {
    // The client's wish at the loss, the server's state, and what the client has to say.
    for (const [isPaused, field, wanted] of [
      [false, { paused: true }, "resume"],
      [true, { paused: false }, "pause"],
      [true, { paused: true }, "end"],
      [false, { paused: false }, "end"],
      // A server without the field may have lost the last wish.
      [false, {}, "resume"],
      [true, {}, "pause"],
    ]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start(START);
        let peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0, source: "append" });
        await seen.until(() => seen.of("stream").length === 1);
        // The answer to this pause is lost.
        aloud.pause();
        await peer.expect("pause");
        await peer.cut();
        if (!isPaused) aloud.resume();
        peer = await connection();
        await peer.expect("recover");
        peer.say({ type: "recovered", recovered: true, offset: 0, index: 0, stream: 1, rev: 0, ...field });
        aloud.end();
        await peer.expect(wanted);
        if (wanted !== "end") await peer.expect("end");
        peer.end("ended");
        await over;
      });
    }
  },

  async position_lost_is_retried_at_the_sentence() {
    for (const close of [4411, 4410]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start(START);
        let peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0, source: "append" });
        peer.sentence(0, 0, 6_400);
        peer.text(1, 6_400);
        peer.audio(6_400, 12_800);
        await seen.until(() => seen.arrived() === 12_800);
        await peer.cut();
        peer = await connection();
        same((await peer.expect("recover")).offset, 12_800, "offset");
        await peer.refuse("position_lost", close);
        peer = await connection();
        same((await peer.expect("recover")).offset, 6_400, "offset of the sentence");
        peer.say({ type: "recovered", recovered: true, offset: 6_400, index: 1, stream: 1, rev: 0, paused: false, textOffset: 0, exact: true });
        peer.sentence(1, 6_400, 19_200);
        peer.end("ended");
        same((await over).reason, "ended", "reason");
        // The received part was not delivered again.
        same(seen.arrived(), 19_200, "bytes");
        sameAudio(seen.audio(), sound(0, 19_200), "audio");
        same(seen.of("text").map(({ index }) => index), [0, 1], "texts");
      });
    }
  },

  async position_lost_twice_starts_a_text_anew_and_ends_other_streams() {
    for (const source of ["verbatim", "append"]) {
      // The code may come in the message, or in the close alone.
      for (const isSilent of [false, true]) {
        await withBoth(async ({ aloud, seen, connection }) => {
          const over = aloud.start({ source, prompt: "One. Two." });
          let peer = await connection();
          await peer.expect("start_session");
          peer.start({ stream: 1, rev: 0, source });
          peer.sentence(0, 0, 6_400);
          peer.text(1, 6_400);
          peer.audio(6_400, 12_800);
          await seen.until(() => seen.arrived() === 12_800);
          await peer.cut();
          for (const offset of [12_800, 6_400]) {
            peer = await connection();
            same((await peer.expect("recover")).offset, offset, "offset");
            await (isSilent ? peer.close(4411, "The position is lost") : peer.refuse("position_lost", 4411));
          }
          if (source === "verbatim") {
            peer = await connection();
            const { prompt, from } = await peer.expect("start_session");
            same([prompt, from.index, from.offset], ["One. Two.", 1, 12_800], "prompt, from");
            peer.start({ stream: 1, rev: 0 });
            peer.text(1, 6_400);
            peer.audio(12_800, 19_200);
            peer.end();
          }
          const { reason, error } = await over;
          same([reason, error?.code], source === "verbatim" ? ["completed", undefined] : ["error", "session_lost"], "result");
          same(seen.arrived(), source === "verbatim" ? 19_200 : 12_800, "bytes");
        });
      }
    }
  },

  async connect_opens_ahead_of_start() {
    await withBoth(async ({ aloud, seen, connection }) => {
      const opened = [];
      aloud.once("state", ({ connection }) => opened.push(connection));
      aloud.once("state", () => {})();
      aloud.connect();
      aloud.connect();
      const peer = await connection();
      await seen.until(() => aloud.connection === "open");
      same(opened, ["connecting"], "the first state");
      same(aloud.state, "idle", "state");
      const over = aloud.start("One.");
      await peer.expect("start_session");
      peer.start();
      peer.sentence(0, 0, 3_200);
      peer.end();
      same((await over).reason, "completed", "reason");
    });
  },

  async start_waits_while_the_device_is_offline() {
    const { WebSocket } = required("ws");
    const network = { isDown: true, attempts: 0 };
    function Line(url, protocols) {
      network.attempts += 1;
      if (!network.isDown) return new WebSocket(url, protocols);
      const dead = { close() {}, readyState: 3 };
      setTimeout(() => dead.onclose({ code: 1006, reason: "" }));
      return dead;
    }
    await withDevice(async (device) => {
      device.onLine = false;
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start("One.");
        // More attempts than a start has on a device that is online.
        for (let n = 1; n <= 12; n += 1) {
          while (network.attempts < 2 + n) await new Promise((next) => (setImmediate(next), device.say("online")));
        }
        same(seen.of("error"), [], "errors");
        [network.isDown, device.onLine] = [false, true];
        device.say("online");
        const peer = await connection();
        await peer.expect("start_session");
        peer.start();
        peer.sentence(0, 0, 3_200);
        peer.end();
        same((await over).reason, "completed", "reason");
      }, { WebSocket: Line });
    });
  },

  async change_of_the_network_asks_for_a_sign_of_life() {
    await withDevice(async (device) => {
      for (const type of ["offline", "online"]) {
        await withBoth(async ({ aloud, seen, connection }) => {
          const over = aloud.start("One.");
          const peer = await connection();
          await peer.expect("start_session");
          peer.start();
          peer.text(0, 0);
          await seen.until(() => seen.of("text").length === 1);
          device.say(type);
          device.say(type);
          const sent = seen.of("message").filter(({ direction, message }) => direction === "out" && message.type === "ping");
          same(sent.length, 1, `pings at once, ${type}`);
          peer.audio(0, 3_200);
          peer.end();
          same((await over).reason, "completed", "reason");
        });
      }
    });
  },

  async connect_to_no_server_is_silent_until_start() {
    await withAloud("ws://127.0.0.1:9", { playback: false }, async (aloud, seen) => {
      aloud.connect();
      await seen.until(() => aloud.connection === "closed" && seen.of("state").length > 1);
      same(seen.of("error"), [], "errors");
      const { reason, error } = await aloud.start("One.");
      same([reason, error.code, seen.of("error").length], ["error", "connection_failed", 1], "result");
      check(error.message.includes("ws://127.0.0.1:9/") && error.message.includes("Does it run?"), error.message);
    });
  },

  async update_is_sent_and_sent_again() {
    await withBoth(async ({ aloud, connection }) => {
      aloud.update({ speed: 2 });
      const over = aloud.start("One. Two.");
      // Before the stream has begun it is a wish of the stream.
      aloud.update({ speed: 1.5 });
      let peer = await connection();
      same((await peer.expect("start_session")).speed, 1.5, "speed");
      peer.start({ stream: 1, rev: 0 });
      peer.sentence(0, 0, 3_200);
      aloud.update({ voice: "other" });
      same(await peer.expect("update"), { type: "update", voice: "other" }, "update");
      await peer.cut();
      aloud.update({ language: "de" });
      peer = await connection();
      await peer.expect("recover");
      peer.say({ type: "recovered", recovered: true, offset: 3_200, index: 1, stream: 1, rev: 0, textOffset: 9 });
      // An update that was lost is made up for; twice the same is one.
      same(await peer.expect("update"), { type: "update", voice: "other" }, "update");
      same(await peer.expect("update"), { type: "update", language: "de" }, "update");
      // A text that is spoken anew has them all.
      await peer.cut();
      peer = await connection();
      await peer.expect("recover");
      await peer.refuse("session_not_found", 4404);
      peer = await connection();
      same(pick(await peer.expect("start_session"), "voice", "language", "speed"), { voice: "other", language: "de", speed: 1.5 }, "start");
      aloud.close();
      await over;
    });
  },

  async context_that_is_closed_ends_the_stream() {
    for (const closesLater of [false, true]) {
      await withPlayback(async ({ aloud, seen, connection, context }) => {
        let changed;
        context.addEventListener = (_, listener) => (changed = listener);
        if (!closesLater) context.state = "closed";
        const over = aloud.start("One.");
        if (closesLater) {
          const peer = await connection();
          await peer.expect("start_session");
          context.state = "closed";
          changed();
        }
        const { reason, error } = await over;
        same([reason, error.code, seen.of("error").length], ["error", "no_audio_output", 1], "result");
        check(error.message.includes("AudioContext is closed"), error.message);
      });
    }
  },

  async start_replaces_an_own_context_that_was_closed() {
    const speakers = [];
    globalThis.AudioContext = function () {
      speakers.push(loudspeaker());
      return Object.assign(speakers.at(-1).context, { close() {} });
    };
    try {
      await withBoth(async ({ aloud, seen, connection }) => {
        let peer;
        for (const [n, contexts] of [1, 1, 2].entries()) {
          const over = aloud.start("One.");
          peer ??= await connection();
          await peer.expect("start_session");
          peer.start();
          peer.sentence(0, 0, 3_200);
          peer.end();
          await seen.until(() => seen.of("message").at(-1)?.message.type === "session_end");
          same(speakers.length, contexts, "contexts");
          speakers.at(-1).play(500);
          same((await over).reason, "completed", "reason");
          if (n === 1) speakers[0].context.state = "closed";
        }
        same(seen.of("error"), [], "errors");
      }, { playback: true });
    } finally {
      delete globalThis.AudioContext;
    }
  },

  async shortages_double_the_cushion_and_calm_halves_it() {
    // Paced delivery sends no more than `aheadMs`, and so three quarters of it are the most.
    for (const [aheadMs, most] of [[1_000, 750], [2_000, 1_500], [undefined, 1_500], [20_000, 3_000]]) {
      await withClock(async ({ aloud, seen, connection, pass }) => {
        const over = aloud.start({ prompt: "One.", delivery: { mode: "paced", aheadMs } });
        const peer = await connection();
        await peer.expect("start_session");
        peer.start();
        peer.text(0, 0);
        let at = 0;
        const give = async (ms) => {
          peer.audio(at, at + ms * MS);
          at += ms * MS;
          await seen.until(() => seen.arrived() === at);
        };
        /** Gives audio until it sounds, and returns how much that takes, in ms. */
        const cushion = async () => {
          for (let ms = 20; ; ms += 20) {
            await give(20);
            if (pass(8).some((sample) => sample !== 0)) return ms;
          }
        };
        const runDry = () => {
          for (const { underruns } = aloud.stats; aloud.stats.underruns === underruns; ) pass(8);
        };
        for (let expected = 60, n = 0; n < 8; n += 1) {
          const found = await cushion();
          check(found >= expected && found < expected + 20, `Shortage ${n}, ahead ${aheadMs}: ${found} ms, not ${expected}.`);
          runDry();
          expected = Math.min(most, 2 * expected);
        }
        // Calm halves it twice, and the shortage after it doubles it.
        await cushion();
        await give(41_000);
        pass(40_500);
        runDry();
        const found = await cushion();
        check(found >= most / 2 && found < most / 2 + 20, `After calm, ahead ${aheadMs}: ${found} ms.`);
        aloud.cancel();
        peer.say({ type: "cancelled", index: 0, offset: at, rev: 1, sentMs: 0, playedMs: 0, spokenText: "", wastedMs: 0 });
        same((await over).reason, "cancelled", "reason");
      });
    }
  },

  async stats_come_ten_times_a_second() {
    await withClock(async ({ aloud, seen, connection, pass }) => {
      let count = 0;
      aloud.on("stats", () => (count += 1));
      const over = aloud.start("One.");
      const peer = await connection();
      await peer.expect("start_session");
      peer.start();
      peer.text(0, 0);
      peer.audio(0, 6_000 * MS);
      await seen.until(() => seen.arrived() === 6_000 * MS);
      pass(5_000);
      check(count >= 40 && count <= 50, `${count} events in 5 s.`);
      // The end comes at once.
      const before = count;
      peer.say({ type: "sentence_end", index: 0, offset: 6_000 * MS, bytes: 6_000 * MS });
      peer.end();
      await seen.until(() => seen.of("message").at(-1)?.message.type === "session_end");
      await new Promise((next) => setImmediate(next));
      pass(1_100);
      same((await over).reason, "completed", "reason");
      check(count > before && aloud.stats.playedMs === 6_000, `${count - before} more, ${aloud.stats.playedMs} ms played.`);
    });
  },

  async restart_that_is_refused_ends_the_stream() {
    await withBoth(async ({ aloud, seen, connection }) => {
      const over = aloud.start({ prompt: "One. Two.", voice: "ada" });
      let peer = await connection();
      await peer.expect("start_session");
      peer.start({ stream: 1, rev: 0 });
      peer.sentence(0, 0, 6_400);
      await seen.until(() => seen.arrived() === 6_400);
      await peer.cut();
      peer = await connection();
      await peer.expect("recover");
      await peer.refuse("session_not_found", 4404);
      peer = await connection();
      // First from its byte, then from its beginning, in the format that has been played.
      for (const offset of [6_400, undefined]) {
        const { from, audio } = await peer.expect("start_session");
        same([from?.offset, audio.sampleRate], [offset, RATE], "from, rate");
        peer.say({ type: "error", message: "There is no voice ada.", code: "unknown_voice", retryable: false });
      }
      const { reason, error } = await over;
      same([reason, error?.code], ["error", "unknown_voice"], "result");
    });
  },

  async restart_continues_a_text_from_its_sentence() {
    // A server that knows `from`, one that ignores it, and one that refuses it.
    for (const kind of ["knows", "knows, and announces nothing again", "ignores", "refuses", "refuses late", "refuses and closes"]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start({ prompt: "One. Two. Three.", delivery: { mode: "paced", aheadMs: 500 } });
        let peer = await connection();
        same((await peer.expect("start_session")).from, undefined, "from");
        peer.start({ stream: 1, rev: 0 });
        peer.sentence(0, 0, 6_400);
        peer.text(1, 6_400);
        peer.audio(6_400, 12_800);
        await seen.until(() => seen.arrived() === 12_800);
        await peer.close(1012, "The server restarts");
        peer = await connection();
        await peer.expect("recover");
        await peer.refuse("session_not_found", 4404);
        peer = await connection();
        const asked = await peer.expect("start_session");
        same([asked.prompt, asked.from], ["One. Two. Three.", { index: 1, offset: 12_800, crc32: crc32(sound(6_400, 12_800)) }], "prompt, from");
        if (kind.startsWith("refuses")) {
          const fatal = kind === "refuses and closes";
          // The server may have to speak the sentence to see that it does not fit.
          if (kind === "refuses late") peer.start({ stream: 1, rev: 0 });
          peer.say({ type: "error", message: "This engine never says it twice the same.", code: fatal ? "position_lost" : "bad_message", retryable: false, fatal });
          if (kind === "refuses late") peer.end("error");
          if (fatal) {
            await peer.close(4411, "The position is lost");
            peer = await connection();
          }
          same((await peer.expect("start_session")).from, undefined, "from");
        }
        peer.start({ stream: 1, rev: 0 });
        if (kind.startsWith("knows")) {
          if (kind === "knows") peer.text(1, 6_400);
          peer.audio(12_800, 19_200);
        } else {
          peer.sentence(0, 0, 6_400);
          peer.sentence(1, 6_400, 19_200);
        }
        peer.sentence(2, 19_200, 25_600);
        await seen.until(() => seen.arrived() === 25_600);
        // An ack while it skipped would replace the server's clock, and no other would follow.
        same(peer.all.filter(({ type }) => type === "ack"), [], "acks");
        // The count goes on from there.
        await peer.cut();
        peer = await connection();
        same((await peer.expect("recover")).offset, 25_600, "offset");
        peer.say({ type: "recovered", recovered: true, offset: 25_600, index: 2, stream: 1, rev: 0 });
        peer.end();
        same((await over).reason, "completed", "reason");
        sameAudio(seen.audio(), sound(0, 25_600), "audio");
        same([seen.arrived(), seen.of("text").map(({ index }) => index), seen.of("error")], [25_600, [0, 1, 2], []], "bytes, texts, errors");
      });
    }
  },

  async restart_in_the_first_sentence_continues_it() {
    // Both announce sentence 0: a server that numbers its streams begins where it was asked to.
    for (const isNumbered of [true, false]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start("One.");
        let peer = await connection();
        await peer.expect("start_session");
        peer.start(isNumbered ? { stream: 1, rev: 0 } : {});
        peer.text(0, 0);
        peer.audio(0, 6_400);
        await seen.until(() => seen.arrived() === 6_400);
        await peer.cut();
        peer = await connection();
        await peer.expect("recover");
        await peer.refuse("session_not_found", 4404);
        peer = await connection();
        same(pick((await peer.expect("start_session")).from, "index", "offset"), { index: 0, offset: 6_400 }, "from");
        peer.start(isNumbered ? { stream: 1, rev: 0 } : {});
        peer.text(0, 0);
        peer.audio(isNumbered ? 6_400 : 0, 12_800);
        peer.end();
        await over;
        sameAudio(seen.audio(), sound(0, 12_800), "audio");
        same(seen.arrived(), 12_800, "bytes");
      });
    }
  },

  async restart_with_another_engine_repeats_the_sentence() {
    // The second take of sentence 1 is longer, shorter than what was received, or as long; or nothing follows it.
    for (const [end, whole] of [[19_200, 25_600], [9_600, 25_600], [12_800, 25_600], [9_600, 9_600]]) {
      await withBoth(async ({ aloud, seen, connection }) => {
        const over = aloud.start({ prompt: "One. Two. Three." });
        let peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0 });
        peer.sentence(0, 0, 6_400);
        peer.text(1, 6_400);
        peer.audio(6_400, 12_800);
        await seen.until(() => seen.arrived() === 12_800);
        await peer.cut();
        peer = await connection();
        await peer.expect("recover");
        await peer.refuse("session_not_found", 4404);
        peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0 });
        peer.sentence(0, 0, 6_400);
        peer.sentence(1, 6_400, end, 1);
        if (whole > end) {
          peer.sentence(2, end, whole, 1);
          await seen.until(() => seen.of("text").length === 3 && seen.audio().length === whole);
          await peer.cut();
          peer = await connection();
          same((await peer.expect("recover")).offset, whole, "offset");
          peer.say({ type: "recovered", recovered: true, offset: whole, index: 2, stream: 1, rev: 0 });
        }
        peer.end();
        await over;
        sameAudio(seen.audio(), Buffer.concat([sound(0, 6_400), sound(6_400, whole, 1)]), "audio");
        const starts = [0, 6_400 / MS, ...(whole > end ? [end / MS] : [])];
        same(seen.of("text").map(({ startMs }) => startMs), starts, "times of the sentences");
      });
    }
  },

  async restart_of_the_server_starves_no_client_without_playback() {
    const text = "Good evening. The kettle is on, and tea will be ready in five minutes. No one has to wait for it.";
    const start = { prompt: text, delivery: { mode: "paced", aheadMs: 300 } };
    const options = ["--listen=127.0.0.1:0"];
    const first = await serve(process.argv[2], ...options);
    let whole;
    await withAloud(first.url, { playback: false }, async (aloud, seen) => {
      await aloud.start(text);
      whole = seen.audio();
    });
    let second;
    try {
      await withAloud(first.url, { playback: false }, async (aloud, seen) => {
        const over = aloud.start(start);
        await seen.until(() => seen.arrived() > whole.length / 2);
        await first.stop();
        second = await serve(process.argv[2], `--listen=127.0.0.1:${first.port}`);
        const { reason } = await over;
        same([reason, aloud.stats.reconnects > 0], ["completed", true], "reason, reconnects");
        sameAudio(seen.audio(), whole, "audio");
      });
    } finally {
      await first.stop();
      await second?.stop();
    }
  },

  async append_lost_on_the_way_to_the_server_is_spoken_once() {
    const server = await serve(process.argv[2], "--listen=127.0.0.1:0");
    const site = await new Site().listen();
    site.target = server.port;
    try {
      for (const start of [{}, { delivery: { mode: "paced", aheadMs: 100 } }]) {
        await withAloud(`${site.url}/speech`, { playback: false }, async (aloud, seen) => {
          const over = aloud.start({ ...START, ...start });
          aloud.append("One is here. ");
          await seen.until(() => seen.of("text").length === 1);
          site.deafen();
          aloud.append("Two got lo");
          aloud.append("st. ");
          aloud.flush();
          site.cut();
          aloud.append("Three came later.");
          aloud.end();
          const { reason, usage } = await over;
          same([reason, usage.sentences], ["ended", 3], "reason, sentences");
          same(seen.of("text").map(({ text }) => text), ["One is here.", "Two got lost.", "Three came later."], "texts");
        });
      }
    } finally {
      await server.stop();
      site.close();
    }
  },

  async another_take_moves_audio_captions_and_clock_back() {
    const words = (index, names, startMs, step) => ({
      type: "timestamps", index, startMs, source: "engine", words: names,
      start: names.map((_, n) => n * step), end: names.map((_, n) => (n + 1) * step),
      charStart: names.map((_, n) => names.slice(0, n).join(" ").length + (n > 0 ? 1 : 0)),
      charEnd: names.map((_, n) => names.slice(0, n + 1).join(" ").length),
    });
    // How much was heard of the 500 ms that had arrived; sentence 1 begins at 200 ms.
    for (const heardMs of [120, 320]) {
      await withPlayback(async ({ aloud, seen, connection, play, heard }) => {
        const over = aloud.start(START);
        let peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0, source: "append" });
        peer.sentence(0, 0, 200 * MS);
        peer.text(1, 200 * MS, "the tea is in the pot");
        peer.say(words(1, ["the", "tea", "is", "in", "the", "pot"], 200, 100));
        peer.audio(200 * MS, 500 * MS);
        await seen.until(() => seen.arrived() === 500 * MS);
        play(heardMs);
        const before = seen.of("word").map(({ text }) => text);
        same(before, heardMs > 200 ? ["the", "tea"] : [], "words");
        await peer.cut();
        peer = await connection();
        await peer.expect("recover");
        peer.say({ type: "recovered", recovered: true, offset: 200 * MS, index: 1, stream: 1, rev: 0, paused: false, textOffset: 0, exact: false });
        peer.text(1, 200 * MS, "the tea is in the pot");
        // The second take is slower.
        peer.say(words(1, ["the", "tea", "is", "in", "the", "pot"], 200, 150));
        peer.audio(200 * MS, 1_100 * MS, 1);
        peer.say({ type: "sentence_end", index: 1, offset: 1_100 * MS, bytes: 900 * MS });
        await seen.until(() => seen.arrived() === 1_400 * MS);
        check(aloud.stats.playedMs <= 200, `The clock did not go back: ${aloud.stats.playedMs} ms.`);
        const at = heard.length;
        play(heardMs > 200 ? 240 : 320);
        // Sentence 1 is heard again for about 240 ms: two words of the second take.
        same(seen.of("word").slice(before.length).map(({ text, startMs }) => [text, startMs]), [["the", 200], ["tea", 350]], "words");
        same(seen.of("sentence").map(({ index }) => index), heardMs > 200 ? [0, 1, 1] : [0, 1], "sentences");
        same(seen.of("text").map(({ index }) => index), [0, 1], "texts");
        peer.end("ended");
        await seen.until(() => seen.of("message").some(({ message }) => message.type === "session_end"));
        play(1_000);
        same((await over).reason, "ended", "reason");
        same(aloud.stats.playedMs, 1_100, "played");
        // Of the first take nothing is heard behind the loss, but a quantum that fades out.
        const first = heard.slice(at).findIndex((sample) => sample === sound(200 * MS, 200 * MS + 2, 1).readInt16LE());
        check(first >= 0 && first <= (heardMs > 200 ? 256 : 100 * 16 + 128), `The second take began after ${first} samples.`);
        const second = heard.slice(at + first, at + first + 900 * 16);
        sameAudio(Buffer.from(Int16Array.from(second).buffer), sound(200 * MS, 1_100 * MS, 1), "heard");
        const messages = seen.of("message").map(({ message }) => message);
        const after = messages.slice(messages.findIndex(({ type }) => type === "recovered"));
        const acks = after.filter(({ type }) => type === "ack").map(({ playedMs }) => playedMs);
        check(acks.length > 0 && acks.every((ms, n) => n === 0 || ms > acks[n - 1]) && acks.at(-1) <= 1_100, `acks: ${acks}`);
      });
    }
  },

  async stop_behind_the_last_byte_counts_what_was_not_heard() {
    // The stop, and what the server sends: the end of the stream before it or on the way; an old server complains.
    for (const kind of ["before", "crossing", "crossing, with an error"]) {
      await withPlayback(async ({ aloud, seen, connection, play }) => {
        const over = aloud.start("One. Two.");
        const peer = await connection();
        await peer.expect("start_session");
        peer.start({ stream: 1, rev: 0 });
        peer.sentence(0, 0, 500 * MS);
        peer.text(1, 500 * MS, "Two.");
        peer.audio(500 * MS, 1_000 * MS);
        await seen.until(() => seen.arrived() === 1_000 * MS);
        play(360);
        const { playedMs } = aloud.stats;
        check(playedMs > 345 && playedMs <= 360, `Played: ${playedMs} ms.`);
        if (kind === "before") {
          peer.end("completed", 5);
          await seen.until(() => seen.of("message").some(({ message }) => message.type === "session_end"));
        }
        const cancelled = aloud.cancel();
        if (kind !== "before") {
          await peer.expect("cancel");
          peer.audio(1_000 * MS, 1_100 * MS);
          peer.end("completed", 5);
        }
        if (kind === "crossing, with an error") {
          peer.say({ type: "error", message: "No stream is running.", code: "nothing_to_cancel", retryable: false, fatal: false });
          peer.say({ type: "error", message: "No stream is running.", code: "not_started", retryable: false, fatal: false });
        }
        const figures = await cancelled;
        const sentMs = kind === "before" ? 1_000 : 1_100;
        same(pick(figures, "type", "index", "sentMs", "playedMs", "wastedMs", "spokenText"),
          { type: "cancelled", index: 0, sentMs, playedMs, wastedMs: sentMs - playedMs, spokenText: "Sentence 0." }, "figures");
        const { reason, wastedMs } = await over;
        // The server's own 5 ms were never sent.
        same([reason, wastedMs, aloud.stats.wastedMs, aloud.stats.playedMs], ["cancelled", sentMs - playedMs + 5, sentMs - playedMs + 5, playedMs], "result");
        // Another stream works, and no error was reported.
        const next = aloud.start("Three.");
        await peer.expect("start_session");
        peer.start({ stream: 2, rev: 0 });
        peer.sentence(0, 0, 100 * MS);
        peer.end();
        await seen.until(() => seen.of("message").filter(({ message }) => message.type === "session_end").length === 2);
        play(200);
        same([(await next).reason, seen.of("error")], ["completed", []], "reason, errors");
      });
    }
  },

  async stop_while_the_connection_is_lost_counts_what_was_not_heard() {
    await withPlayback(async ({ aloud, seen, connection, play }) => {
      const over = aloud.start("One.");
      const peer = await connection();
      await peer.expect("start_session");
      peer.start({ stream: 1, rev: 0 });
      peer.text(0, 0);
      peer.audio(0, 1_000 * MS);
      await seen.until(() => seen.arrived() === 1_000 * MS);
      play(400);
      peer.cut();
      await seen.until(() => aloud.connection === "lost");
      const { playedMs } = aloud.stats;
      check(playedMs > 385 && playedMs <= 400, `Played: ${playedMs} ms.`);
      const figures = await aloud.cancel();
      same([(await over).reason, figures.wastedMs, aloud.stats.wastedMs], ["cancelled", 1_000 - playedMs, 1_000 - playedMs], "reason, figures");
    });
  },
};

/** CRC-32 as the server computes it, bit by bit. */
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (~crc >>> 0).toString(16).padStart(8, "0");
}
