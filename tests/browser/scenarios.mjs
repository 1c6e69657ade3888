// Played audio and events in a real browser.
//
//   node scenarios.mjs BINARY SCENARIO…
//
// ALOUD_TEST_BROWSER_PATH holds playwright-core, puppeteer-core, axe-core, typescript and ws. browsers.mjs says how
// to choose another browser than Chromium. If a check fails, exits with 1 and a sentence on stderr.

import { spawnSync } from "node:child_process";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apps } from "./apps.mjs";
import { returns } from "./returns.mjs";
import { browse, check, inTime, modulePath, open, perform, PLAYS, punctually, required, same, samples, serve, Site } from "./support.mjs";

const [, , binary, ...wanted] = process.argv;
const QUANTUM = 128;
const LATE_S = process.env.ALOUD_TEST_BROWSER === "webkit" ? 0.2 : 0.1; // of a pause; WebKitGTK renders ahead
const TEXT = "Good evening. The kettle is on, and tea will be ready in five minutes. No one has to wait for it.";

/** Runs a scenario with a server behind a proxy, a browser, and a page with the module. */
function withPage(use, options) {
  return punctually(() => withNewPage(use, options));
}

async function withNewPage(use, { flags = [PLAYS], options = [] } = {}) {
  const server = await serve(binary, "--listen=127.0.0.1:0", ...options);
  const site = await new Site().listen();
  site.target = server.port;
  let browser;
  try {
    browser = await browse(...flags);
    const opened = await open(browser.context, `${site.url}/`);
    /** Runs a function in the page, with the result of `listen` in listener.js. */
    const run = (inPage, given = {}) =>
      opened.page.evaluate(
        async ([source, given]) => {
          const { listen } = await import("/tests/listener.js");
          globalThis.listener ??= await listen({ module: "/speech/aloud.js", ...given.listen });
          return (0, eval)(`(${source})`)(globalThis.listener, given);
        },
        [String(inPage), given],
      );
    const heardBytes = () => samples(Buffer.concat(site.sockets.flatMap(({ audio }) => audio)));
    await use({ server, site, browser, run, heardBytes, ...opened });
  } finally {
    await browser?.close();
    await server.stop();
    site.close();
  }
}

/**
 * Follows a stream through a recording, quantum by quantum. Each quantum must be the next one of the stream,
 * the same fading out or in, or silence. A gap within a quantum or a repeated sample is an error.
 */
function follow(recording, stream, { from = 0, untilFade = false } = {}) {
  const { samples: heard } = recording;
  let block = Math.floor(heard.findIndex((sample, n) => n >= from && sample !== 0) / QUANTUM);
  check(block >= 0, "Nothing was heard.");
  let place = Math.floor(stream.findIndex((sample) => sample !== 0) / QUANTUM) * QUANTUM;
  const found = { start: block * QUANTUM, silences: [], fades: [] };
  for (; (block + 1) * QUANTUM <= heard.length && place < stream.length; block += 1) {
    const now = heard.slice(block * QUANTUM, (block + 1) * QUANTUM);
    const is = (gain) =>
      now.every((sample, n) => Math.abs(sample - (stream[place + n] ?? 0) * gain((n + 1) / QUANTUM)) <= (gain(0.5) === 1 ? 0 : 1));
    if (is(() => 1)) place += QUANTUM;
    else if (now.every((sample) => sample === 0)) {
      const last = found.silences.at(-1);
      if (last?.end === block * QUANTUM) last.end += QUANTUM;
      else found.silences.push({ place, start: block * QUANTUM, end: (block + 1) * QUANTUM });
    } else if (is((part) => 1 - part) || is((part) => part)) {
      found.fades.push({ place, at: block * QUANTUM });
      place += QUANTUM;
      if (untilFade) break;
    } else throw new Error(`At sample ${place} of ${stream.length} other audio was recorded.`);
  }
  return { ...found, place: Math.min(place, stream.length), end: block * QUANTUM };
}

// Each encoding, and the rate at which a recording holds its decoded samples unchanged.
const ENCODINGS = [["mulaw", 16_000], ["alaw", 16_000], ["mp3", 16_000], ["opus", 48_000]];

/** Calls `use` for each encoding, with a `run` whose listener plays it. After it, the page has no listener. */
async function inEachEncoding({ page, run, site }, use, encodings = ENCODINGS) {
  for (const [encoding, rate] of encodings) {
    const options = { start: { audio: { encoding } }, sampleRate: rate };
    const runs = (inPage, given = {}) => run(inPage, { ...given, listen: options });
    const format = async () => (await page.evaluate(() => listener.diary.find(({ type }) => type === "stream"))).event.audio;
    const decode = async (bytes) => decoded(page, await format(), bytes);
    await punctually(async () => {
      const before = site.sockets.length;
      try {
        await use({ encoding, run: runs, format, decode, ownSockets: () => site.sockets.slice(before) });
      } finally {
        await page.evaluate(() => {
          globalThis.listener?.aloud.close();
          globalThis.listener?.context.close();
          delete globalThis.listener;
        });
      }
    });
  }
}

/** Sun's decoders of G.711. */
const G711 = {
  mulaw(code) {
    const inverted = ~code & 255;
    const size = (((inverted & 15) << 3) + 132) << ((inverted & 112) >> 4);
    return inverted & 128 ? 132 - size : size - 132;
  },
  alaw(code) {
    const bits = code ^ 85;
    const segment = (bits & 112) >> 4;
    const size = segment === 0 ? ((bits & 15) << 4) + 8 : (((bits & 15) << 4) + 264) << (segment - 1);
    return bits & 128 ? size : -size;
  },
};

/** Decodes bytes with one decoder, to 16-bit samples. */
async function decoded(page, { encoding, sampleRate, frameBytes }, bytes) {
  if (encoding === "pcm_s16le") return samples(Uint8Array.from(bytes));
  if (G711[encoding]) return Int16Array.from(bytes, G711[encoding]);
  const config = { codec: encoding, sampleRate: encoding === "opus" ? 48_000 : sampleRate, numberOfChannels: 1 };
  return page.evaluate(async ({ config, bytes, frameBytes }) => {
    const samples = [];
    const decoder = new AudioDecoder({
      error: (error) => console.error(String(error)),
      output: (audio) => {
        const part = new Float32Array(audio.numberOfFrames);
        audio.copyTo(part, { planeIndex: 0, format: "f32-planar" });
        samples.push(...part);
      },
    });
    decoder.configure(config);
    for (let from = 0; from < bytes.length; from += frameBytes) {
      const data = Uint8Array.from(bytes.slice(from, from + frameBytes));
      decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: from, data }));
    }
    await decoder.flush();
    return samples.map((sample) => Math.round(sample * 32768));
  }, { config, bytes: [...bytes], frameBytes });
}

/** The largest correlation of samples with others that are at most 100 ms later. */
function likeness(early, late, rate) {
  let most = 0;
  for (let delay = 0; delay <= rate / 10; delay += 1) {
    let [product, left, right] = [0, 0, 0];
    for (let n = 0; n < early.length && n + delay < late.length; n += 4) {
      product += early[n] * late[n + delay];
      left += early[n] ** 2;
      right += late[n + delay] ** 2;
    }
    most = Math.max(most, product / Math.sqrt(left * right));
  }
  return most;
}

const scenarios = {
  ...returns,
  ...apps,

  async audio_plays_each_sample_once() {
    await withPage(async ({ run, heardBytes, complaints }) => {
      const { result, stats, recording, diary } = await run(async ({ aloud, record, diary }, { text }) => {
        const result = await aloud.start(text);
        return { result, stats: aloud.stats, diary, recording: await record() };
      }, { text: TEXT });
      const sent = heardBytes();
      const { place, silences, fades } = follow(recording, sent);
      same([place, fades], [sent.length, []], "heard, fades");
      inTime(silences.length === 0 && stats.underruns === 0, `${silences.length} gaps, ${stats.underruns} underruns.`);
      same(result.reason, "completed", "reason");
      same([stats.reconnects, stats.bufferedMs], [0, 0], "reconnects, buffered");
      check(Math.abs(stats.playedMs - sent.length / 16) <= 1, `Played: ${stats.playedMs} ms.`);
      const of = (type) => diary.filter((entry) => entry.type === type).map(({ event }) => event);
      same(of("word").map(({ text }) => text).join(" "), TEXT, "words");
      same(of("sentence").map(({ index }) => index), [0, 1, 2], "sentences");
      const acks = of("message").filter(({ message }) => message.type === "ack").map(({ message }) => message.playedMs);
      check(acks.length > 5 && acks.every((ms, n) => n === 0 || ms > acks[n - 1]), `acks: ${acks}`);
      same(of("state").map(({ state }) => state).at(-1), "idle", "state");
      same(complaints, [], "complaints");
    });
  },

  async audio_plays_at_any_sample_rate() {
    // A tone is a sine. A missing or repeated sample breaks it.
    await withPage(async ({ page, run }) => {
      for (const rate of [8_000, 22_050, 44_100, 48_000, 96_000]) {
        const { recording, underruns } = await run(async ({ aloud, record }) => {
          await aloud.start("One. Two.");
          return { recording: await record(), underruns: aloud.stats.underruns };
        }, { listen: { sampleRate: rate } });
        const heard = recording.samples;
        const first = heard.findIndex((sample) => sample !== 0);
        const last = heard.findLastIndex((sample) => sample !== 0);
        const seconds = (last - first) / rate;
        inTime(underruns === 0, `At ${rate} Hz there were ${underruns} underruns.`);
        check(Math.abs(seconds - 2) < 0.02, `At ${rate} Hz ${seconds} s were heard.`);
        // Each half is one sentence, and one tone: y[n] = 2 cos(w) y[n-1] - y[n-2].
        for (const [from, to] of [[0.1, 0.9], [1.1, 1.9]]) {
          const part = heard.slice(first + from * rate, first + to * rate);
          let [up, down] = [0, 0];
          for (let n = 2; n < part.length; n += 1) {
            up += part[n - 1] * (part[n] + part[n - 2]);
            down += part[n - 1] ** 2;
          }
          const peak = Math.max(...part);
          const worst = Math.max(...part.slice(2).map((sample, n) => Math.abs(sample + part[n] - (up / down) * part[n + 1])));
          check(peak > 1_000 && worst < peak / 100 + 3, `At ${rate} Hz the sine of ${peak} is off by ${worst}.`);
        }
        await page.evaluate(() => {
          listener.aloud.close();
          listener.context.close();
          delete globalThis.listener;
        });
      }
    }, { options: ["--engine=tone", "--tone-seconds=1"] });
  },

  async encoded_audio_plays_each_sample_once() {
    await withPage(async (opened) => {
      const { page, complaints } = opened;
      const text = "Tea will be ready in five minutes. No one has to wait.";
      const linear = await reference(page, text);
      await inEachEncoding(opened, async ({ encoding, run, format, decode }) => {
        const { result, stats, bytes, words, recording } = await run(async ({ aloud, record, diary }, { text }) => {
          const bytes = [];
          aloud.on("audio", ({ data, offset }) => offset === bytes.length && bytes.push(...data));
          const result = await aloud.start(text);
          const words = diary.filter(({ type }) => type === "word").map(({ event }) => event.text).join(" ");
          return { result, stats: aloud.stats, bytes, words, recording: await record() };
        }, { text });
        const { encoding: played, frameBytes, frameMs } = await format();
        check(played === encoding || (encoding === "opus" && played === "pcm_s16le"), `${encoding} came as ${played}.`);
        const sent = await decode(bytes);
        const rate = frameBytes ? (sent.length / (bytes.length / frameBytes) / frameMs) * 1000 : 16_000;
        same([result.reason, words], ["completed", text], `${encoding}: reason, words`);
        check(Math.abs(stats.playedMs - (sent.length / rate) * 1000) <= 1, `${encoding}: played ${stats.playedMs} ms.`);
        // The recording is at another rate if the server has no Opus.
        if (played === encoding) {
          const { place, silences, fades } = follow(recording, sent);
          same([place, fades], [sent.length, []], `${encoding}: heard, fades`);
          inTime(silences.length === 0, `${encoding}: ${silences.length} gaps.`);
        }
        // The first sentence: pauses between sentences are whole frames.
        const found = likeness(linear.slice(0, 24_000), sent.filter((_, n) => n % (rate / 16_000) === 0), 16_000);
        check(found > 0.95, `${encoding}: a correlation of ${found}.`);
      });
      same(complaints, [], "complaints");
    });
  },

  async encoded_audio_is_exact_after_a_pause_and_a_cut() {
    await withPage(async (opened) => {
      const { page, site } = opened;
      await inEachEncoding(opened, async ({ encoding, run, format, decode }) => {
        const over = run(async ({ aloud, record, heard, wait, diary }, { text }) => {
          const bytes = [];
          aloud.on("audio", ({ data, offset }) => offset === bytes.length && bytes.push(...data));
          const over = aloud.start(text);
          await heard(600);
          aloud.pause();
          await wait(300);
          aloud.resume();
          const result = await over;
          const words = diary.filter(({ type }) => type === "word").map(({ event }) => event.text).join(" ");
          return { result, stats: aloud.stats, bytes, words, recording: await record() };
        }, { text: TEXT });
        await page.waitForFunction(() => globalThis.listener?.aloud.stats.playedMs > 1_500);
        site.cut();
        const { result, stats, bytes, words, recording } = await over;
        same([result.reason, words, stats.reconnects], ["completed", TEXT, 1], `${encoding}: reason, words, reconnects`);
        const whole = await reference(page, TEXT, (await format()).encoding);
        same(Buffer.from(bytes).equals(Buffer.from(whole.buffer)), true, `${encoding}: the bytes of an unbroken connection`);
        if ((await format()).encoding !== encoding) return;
        const sent = await decode(bytes);
        const { place, silences, fades } = follow(recording, sent);
        same([place, silences.length > 0, fades.length], [sent.length, true, 2], `${encoding}: heard, paused, fades`);
      });
    });
  },

  async encoded_audio_is_exact_after_a_cancel() {
    await withPage(async (opened) => {
      await inEachEncoding(opened, async ({ encoding, run, format, decode, ownSockets }) => {
        const { recording, figures, result, words } = await run(async ({ aloud, record, heard, diary }) => {
          const over = aloud.start({ source: "append" });
          aloud.append("The kettle is on, and the tea is in the pot, and so it goes on for a while. ");
          await heard(1_000);
          const figures = await aloud.cancel();
          aloud.append("Sorry, go on.");
          aloud.end();
          const result = await over;
          const words = diary.filter(({ type }) => type === "word").map(({ event }) => event.text).join(" ");
          return { recording: await record(), figures, result, words };
        });
        same(result.reason, "ended", "reason");
        check(/^The kettle .*Sorry, go on\.$/.test(words) && !words.includes("while"), `${encoding}: words: ${words}`);
        if ((await format()).encoding !== encoding) return;
        const bytes = Buffer.concat(ownSockets().flatMap(({ audio }) => audio));
        const first = await decode(bytes.subarray(0, figures.offset));
        const before = follow(recording, first, { untilFade: true });
        same(before.fades.length, 1, `${encoding}: fades`);
        const heardMs = ((before.fades[0].place + QUANTUM) / recording.rate) * 1000;
        inTime(Math.abs(figures.playedMs - heardMs) < 100, `${encoding}: ${figures.playedMs} ms were reported as played, of ${heardMs}.`);
        // A decoder of its own for the text that was appended then.
        const second = await decode(bytes.subarray(figures.offset));
        const after = follow(recording, second, { from: before.fades[0].at + QUANTUM });
        same([after.place, after.fades], [second.length, []], `${encoding}: heard after it`);
      });
    });
  },

  async encoded_audio_of_another_take_replaces_the_first() {
    await withPage(async (opened) => {
      const { page, site } = opened;
      await inEachEncoding(opened, async ({ encoding, run, format, decode }) => {
        const engines = ["flite", "tone"].map((engine) => serve(binary, "--listen=127.0.0.1:0", `--engine=${engine}`));
        const [flite, tone] = await Promise.all(engines);
        try {
          site.target = flite.port;
          site.onLose = () => {
            site.target = tone.port;
            return flite.stop();
          };
          const { result, takes, recording } = await run(async ({ aloud, record, until }, { text }) => {
            const takes = [{ from: 0, bytes: [] }];
            aloud.on("audio", ({ data, offset }) => {
              const { from, bytes } = takes.at(-1);
              if (offset !== from + bytes.length) takes.push({ from: offset, bytes: [] });
              takes.at(-1).bytes.push(...data);
            });
            const over = aloud.start({ prompt: text, delivery: { mode: "paced", aheadMs: 5_000 } });
            const second = await until("text", ({ index }) => index === 1);
            await until("stats", ({ receivedMs, playedMs }) => receivedMs > second.startMs + 500 && playedMs > 300);
            // What is not played waits until the next server is there.
            aloud.pause();
            await fetch("/lose");
            await until("state", ({ connection }) => connection === "open");
            aloud.resume();
            const result = await over;
            return { result, takes, recording: await record() };
          }, { text: "Good evening, ladies and gentlemen, and be very welcome. The kettle is on, and there is tea for everyone." });
          same([result.reason, takes.length], ["completed", 2], `${encoding}: reason, takes`);
          if ((await format()).encoding !== encoding) return;
          const first = await decode(takes[0].bytes.slice(0, takes[1].from));
          const heard = [...first, ...await decode(takes[1].bytes)];
          const { place, fades } = follow(recording, heard);
          same([place, fades.length], [heard.length, 2], `${encoding}: heard, fades`);
        } finally {
          await flite.stop();
          await tone.stop();
        }
      });
    });
  },

  async encoded_audio_falls_back_to_samples() {
    await withPage(async (opened) => {
      const { page, complaints, site } = opened;
      const hear = async (audio, expected) => {
        await inEachEncoding(opened, async ({ encoding, run, format, decode }) => {
          const { bytes, starts, recording } = await run(async ({ aloud, record, diary }, { audio }) => {
            const bytes = [];
            aloud.on("audio", ({ data }) => bytes.push(...data));
            await aloud.start({ prompt: "Good evening.", audio });
            const starts = diary.filter(({ event }) => event.message?.type === "start_session").map(({ event }) => event.message.audio.encoding);
            return { bytes, starts, recording: await record() };
          }, { audio: { ...audio, encoding } });
          same([(await format()).encoding, starts], ["pcm_s16le", [...expected(encoding), "pcm_s16le"]], `${encoding}: played, asked for`);
          const sent = await decode(bytes);
          same(follow(recording, sent).place, sent.length, `${encoding}: heard`);
        }, [["mp3", audio.sampleRate ?? 16_000], ["opus", audio.sampleRate ?? 16_000]]);
      };
      // No encoder has this rate: the server refuses it.
      await hear({ sampleRate: 22_050 }, (encoding) => [encoding]);
      // The module asks once what the browser decodes, so the page is loaded anew.
      for (const script of ["AudioDecoder.isConfigSupported = async (config) => ({ supported: false, config })", "delete globalThis.AudioDecoder"]) {
        await page.goto(`${site.url}/`);
        await page.evaluate(script);
        await hear({}, () => []);
      }
      same(complaints, [], "complaints");
    });
  },

  async encoded_audio_has_no_gap_at_64_kbit_per_second() {
    await withPage(async (opened) => {
      opened.site.bytesPerSecond = 8_000;
      await inEachEncoding(opened, async ({ encoding, run, format }) => {
        const { result, stats } = await run(async ({ aloud }, { text }) => {
          const result = await aloud.start(text);
          return { result, stats: aloud.stats };
        }, { text: TEXT });
        same(result.reason, "completed", "reason");
        console.error(`${encoding}: first sound after ${stats.firstHeardMs} ms`);
        if ((await format()).encoding === encoding) inTime(stats.underruns === 0, `${encoding}: ${stats.underruns} gaps.`);
      }, [["mp3", 16_000], ["opus", 48_000]]);
      // Samples do not fit through this line.
      await inEachEncoding(opened, ({ run }) => run(async ({ aloud, until }, { text }) => {
        aloud.start(text);
        await until("stats", ({ underruns }) => underruns > 0);
      }, { text: TEXT }), [["pcm_s16le", 16_000]]);
    });
  },

  async pause_resumes_at_the_same_sample() {
    await withPage(async ({ run, heardBytes }) => {
      const { recording, pausedAt, states } = await run(async ({ aloud, context, record, heard, wait, diary }, { text }) => {
        const over = aloud.start(text);
        await heard(1_500);
        const pausedAt = context.currentTime;
        aloud.pause();
        await wait(700);
        aloud.resume();
        await over;
        const states = diary.filter(({ type }) => type === "state").map(({ event }) => event.state);
        return { recording: await record(), pausedAt, states };
      }, { text: TEXT });
      const sent = heardBytes();
      const { place, silences, fades } = follow(recording, sent);
      same(place, sent.length, "heard");
      same(fades.length, 2, "fades");
      inTime(silences.length === 1, `${silences.length} gaps, one of them the pause.`);
      const [{ start, end }] = silences;
      const delay = recording.start + start / recording.rate - pausedAt;
      inTime(delay < 0.05, `The pause was heard after ${delay} s.`);
      check(end - start > (0.7 - LATE_S) * recording.rate, `It lasted ${(end - start) / recording.rate} s.`);
      check(states.includes("paused") && states.at(-1) === "idle", `states: ${states}`);
    });
  },

  async cancel_silences_an_append_stream_and_keeps_it_open() {
    await withPage(async ({ run, heardBytes }) => {
      const { recording, cancelledAt, figures, result, diary } = await run(async ({ aloud, context, record, heard, diary }) => {
        const over = aloud.start({ source: "append" });
        aloud.append("The kettle is on, and the tea is in the p");
        aloud.append("ot, and so it goes on and on for a while. ");
        aloud.flush();
        await heard(1_200);
        const cancelledAt = context.currentTime;
        const figures = await aloud.cancel();
        aloud.append("Sorry, go on.");
        aloud.end();
        const result = await over;
        return { recording: await record(), cancelledAt, figures, result, diary };
      });
      const sent = heardBytes();
      const cut = figures.offset / 2;
      // One quantum fades out. After it comes only the text that was appended then.
      const before = follow(recording, sent.slice(0, cut), { untilFade: true });
      same(before.fades.length, 1, "fades");
      inTime(before.silences.length === 0, `${before.silences.length} gaps.`);
      const behind = before.fades[0].at + QUANTUM;
      const delay = recording.start + before.fades[0].at / recording.rate + QUANTUM / recording.rate - cancelledAt;
      inTime(delay < 0.05, `It was silent after ${delay} s.`);
      const heardMs = (before.fades[0].place + QUANTUM) / 16;
      inTime(Math.abs(figures.playedMs - heardMs) < 100, `${figures.playedMs} ms were reported as played, of ${heardMs}.`);
      check(figures.spokenText.startsWith("The kettle is on"), `Heard: ${figures.spokenText}`);
      const after = follow(recording, sent.slice(cut), { from: behind });
      same([after.place, after.fades.length], [sent.length - cut, 0], "heard after it");
      inTime(after.silences.length === 0, `${after.silences.length} gaps after it.`);
      same(result.reason, "ended", "reason");
      const words = diary.filter(({ type }) => type === "word").map(({ event }) => event.text).join(" ");
      check(/^The kettle is on,.*Sorry, go on\.$/.test(words) && !words.includes("while"), `words: ${words}`);
    });
  },

  async cancel_ends_a_prompt_and_the_next_starts_at_once() {
    await withPage(async ({ run, site }) => {
      const { first, figures, second, third, fourth } = await run(async ({ aloud, heard, until }, { text }) => {
        const one = aloud.start(text);
        await heard(500);
        const figures = await aloud.cancel();
        const first = await one;
        // A new stream replaces a running one, even a paused one.
        const two = aloud.start(text);
        await heard(300);
        aloud.pause();
        const three = aloud.start("Three.");
        const [second, third] = [await two, await three];
        const refused = aloud.start({ prompt: "Four.", voice: "unknown" });
        return { first, figures, second, third, fourth: await refused };
      }, { text: TEXT });
      same([first.reason, figures.type, second.reason, third.reason], ["cancelled", "cancelled", "cancelled", "completed"], "reasons");
      same([fourth.reason, fourth.error.code], ["error", "unknown_voice"], "refusal");
      same(site.sockets.length, 1, "connections");
    });
  },

  async word_events_come_at_playback() {
    // By how much each word is off, in the best of all runs. An event is a message of the audio thread to the page: on
    // a busy machine the page takes a single one late, but not the same one in each run. A word whose event the module
    // sends at a wrong time is off in each.
    let least;
    await withPage(async ({ run }) => {
      const { diary, recording, latency } = await run(async ({ aloud, record, diary, context }) => {
        await aloud.start("Moon. Lemon, melon, and many more. Now, we rally. Always, ever.");
        return { diary, recording: await record(), latency: context.outputLatency };
      });
      // Where sound begins after 100 ms of silence or more, in windows of 5 ms.
      const size = recording.rate / 200;
      const levels = [];
      for (let n = 0; n + size <= recording.samples.length; n += size) {
        levels.push(Math.max(...recording.samples.slice(n, n + size).map(Math.abs)));
      }
      const peak = Math.max(...levels);
      const onsets = [];
      let quiet = 20;
      levels.forEach((level, n) => {
        if (level < peak / 25) quiet += 1;
        else {
          if (quiet >= 20) onsets.push(recording.start + n / 200);
          quiet = 0;
        }
      });
      check(onsets.length >= 6, `Only ${onsets.length - 1} pauses were found.`);
      const words = diary.filter(({ type }) => type === "word");
      const off = onsets.map((onset) => Math.min(...words.map(({ at }) => Math.abs(at - latency - onset))));
      console.error(`words are off by ${off.map((s) => Math.round(s * 1000))} ms`);
      same(off.length, least?.length ?? off.length, "pauses of another run");
      least = off.map((s, n) => Math.min(s, least?.[n] ?? s));
      inTime(Math.max(...least) <= 0.06, `A word was off by ${Math.max(...least)} s.`);
    });
  },

  async recover_after_a_cut_is_inaudible() {
    await withPage(async ({ run, site, page }) => {
      const over = run(async ({ aloud, record, diary }, { text }) => {
        let bytes = [];
        aloud.on("audio", ({ data }) => bytes.push(...data));
        const result = await aloud.start(text);
        return { result, bytes, stats: aloud.stats, recording: await record(), states: diary.filter(({ type }) => type === "state").map(({ event }) => event.connection) };
      }, { text: TEXT });
      for (const playedMs of [1_000, 2_500]) {
        await page.waitForFunction((ms) => globalThis.listener?.aloud.stats.playedMs > ms, playedMs);
        site.cut();
      }
      const { result, bytes, stats, recording, states } = await over;
      same([result.reason, stats.reconnects], ["completed", 2], "reason, reconnects");
      check(states.includes("lost"), `connection: ${states}`);
      const sent = samples(Uint8Array.from(bytes));
      const whole = await reference(page, TEXT);
      same(sent.length, whole.length, "samples");
      check(sent.every((sample, n) => sample === whole[n]), "The recovered audio is not that of an unbroken connection.");
      const { place, silences } = follow(recording, whole);
      same(place, whole.length, "heard");
      inTime(silences.length === 0 && stats.underruns === 0, `${silences.length} gaps, ${stats.underruns} underruns.`);
    });
  },

  async ping_detects_a_silent_network() {
    await withPage(async ({ run, site, page }) => {
      const over = run(async ({ aloud, record }, { text }) => {
        const result = await aloud.start(`${text} ${text}`);
        return { result, stats: aloud.stats, recording: await record() };
      }, { text: TEXT });
      await page.waitForTimeout(1_000);
      site.deafen();
      const { result, stats, recording } = await over;
      same([result.reason, stats.reconnects], ["completed", 1], "reason, reconnects");
      const whole = await reference(page, `${TEXT} ${TEXT}`);
      same(follow(recording, whole).place, whole.length, "heard");
    });
  },

  async restart_of_the_server_continues_the_text() {
    await withPage(async ({ run, site, server, page }) => {
      const over = run(async ({ aloud, record }, { text }) => {
        const result = await aloud.start(text);
        return { result, stats: aloud.stats, recording: await record() };
      }, { text: TEXT });
      await page.waitForTimeout(1_300);
      await server.stop();
      const next = await serve(binary, "--listen=127.0.0.1:0");
      site.target = next.port;
      try {
        const { result, stats, recording } = await over;
        same([result.reason, stats.reconnects > 0], ["completed", true], "reason, reconnects");
        const whole = await reference(page, TEXT);
        same(follow(recording, whole).place, whole.length, "heard");
      } finally {
        await next.stop();
      }
    });
  },

  async connect_fails_after_some_attempts() {
    await withPage(async ({ run, site }) => {
      site.isDown = true;
      const { result, tries } = await run(async ({ aloud }) => {
        const result = await aloud.start("Hello.");
        return { result, tries: 0 };
      });
      same([result.reason, result.error.code], ["error", "connection_failed"], "result");
      check(site.upgrades >= 4 && site.upgrades <= 10, `${site.upgrades} attempts`);
    });
  },

  async auth_refused_ends_the_stream_without_a_retry() {
    const { WebSocketServer } = required("ws");
    const first = [];
    const stub = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "aloud.v1" });
    stub.on("connection", (socket) => socket.on("message", (data) => {
      first.push(JSON.parse(data));
      socket.close(4401, "This token has expired");
    }));
    try {
      await withPage(async ({ run, page }) => {
        const { result, errors, asked } = await run(async ({ aloud, diary }, { url }) => {
          let asked = 0;
          const { Aloud } = await import("/speech/aloud.js");
          const refused = new Aloud(url, { token: async () => `t${(asked += 1)}` });
          const errors = [];
          refused.on("error", ({ code, closeCode }) => errors.push([code, closeCode]));
          const result = await refused.start("Hello.");
          await new Promise((over) => setTimeout(over, 1_000));
          return { result, errors, asked };
        }, { url: `ws://127.0.0.1:${stub.address().port}` });
        same([result.reason, errors, asked], ["error", [["unauthorized", 4401]], 1], "result, errors, tokens");
        same(first, [{ type: "auth", token: "t1" }], "first messages");
      });
    } finally {
      stub.close();
    }
  },

  async page_of_another_origin_plays() {
    await withPage(async ({ page, run, site, complaints }) => {
      const start = async (...options) => {
        const server = await serve(binary, "--listen=127.0.0.1:0", ...options);
        const other = await new Site().listen();
        other.target = server.port;
        const stop = () => (other.close(), server.stop());
        return { other, module: `${other.url}/speech/aloud.js`, stop };
      };
      // The message of a refusal names the option that lets this page in.
      const strict = await start();
      let option;
      try {
        const { reason, error } = await page.evaluate(async (module) => {
          const { Aloud } = await import(module);
          return new Aloud(undefined, { playback: false }).start("Good evening.");
        }, strict.module);
        same([reason, error.code], ["error", "connection_failed"], "refused");
        option = /--allow-origin \S+?(?=\?)/.exec(error.message)?.[0];
        same(option, `--allow-origin ${site.url}`, error.message);
      } finally {
        await strict.stop();
      }
      complaints.length = 0;

      const { other, module, stop } = await start(...option.split(" "));
      try {
        // The module, its audio thread, the socket and the voices are all of another origin than the page.
        const { result, url, voices, recording } = await run(async ({ aloud, record }, { listen: { module } }) => {
          const result = await aloud.start("Good evening.");
          return { result, url: aloud.url, voices: await (await fetch(new URL("api/voices", module))).json(), recording: await record() };
        }, { listen: { module } });
        same([result.reason, url], ["completed", `${other.url.replace("http", "ws")}/speech/api/session/ws`], "result, url");
        const heard = samples(Buffer.concat(other.sockets.flatMap(({ audio }) => audio)));
        same(follow(recording, heard).place, heard.length, "heard");
        check(voices[0].name === "kal16", `voices: ${JSON.stringify(voices)}`);
        same(complaints, [], "complaints");
      } finally {
        await stop();
      }
    });
  },

  async subprotocol_removed_by_a_proxy_is_detected() {
    await withPage(async ({ run, site, heardBytes }) => {
      site.stripsSubprotocol = true;
      const { results, recording, greeting, length } = await run(async ({ aloud, record, diary }) => {
        let length = 0;
        aloud.on("audio", ({ data, offset }) => (length = (offset + data.length) / 2));
        const results = [await aloud.start("Again."), await aloud.start("Good evening. The kettle is on.")];
        const greeting = diary.findLast(({ event }) => event.message?.type === "session_start").event.message;
        return { results: results.map(({ reason }) => reason), recording: await record(), greeting, length };
      });
      same([results, greeting.protocol], [["completed", "completed"], undefined], "results, protocol");
      same(site.upgrades, 4, "connections");
      const second = heardBytes().slice(-length);
      const from = recording.samples.findLastIndex((sample) => sample !== 0) - second.length;
      same(follow(recording, second, { from }).place, second.length, "heard");
    });
  },

  async base_protocol_server_is_played() {
    const { WebSocketServer } = required("ws");
    const stub = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    const said = [];
    stub.on("connection", (socket) => {
      const send = (message) => socket.send(JSON.stringify(message));
      send({ type: "session_start", sessionId: "5f0c2f0e-6c1b-4f0e-9d0a-3b1a7a0f4c55" });
      socket.on("message", (data) => {
        said.push(JSON.parse(data).type);
        if (said.at(-1) !== "start_session") return;
        for (const index of [0, 1]) {
          send({ type: "text", data: `Sentence ${index}.`, index });
          socket.send(Buffer.from(Int16Array.from({ length: 4_800 }, (_, n) => 1 + n + index * 4_800).buffer));
          send({ type: "sentence_end", index });
        }
        send({ type: "session_end" });
      });
    });
    try {
      await withPage(async ({ run }) => {
        const { result, recording, sentences } = await run(async ({ aloud, record, diary }) => {
          const result = await aloud.start("Anything.");
          return { result, recording: await record(), sentences: diary.filter(({ type }) => type === "sentence").length };
        }, { listen: { url: `ws://127.0.0.1:${stub.address().port}`, sampleRate: 24_000 } });
        void result;
        same([result.reason, sentences], ["completed", 2], "reason, sentences");
        check(recording.samples.some((sample) => sample > 9_000), "The second sentence was not heard.");
        same(said.filter((type) => type !== "start_session"), [], "what a base server does not know");
      });
    } finally {
      stub.close();
    }
  },

  async page_speaks_and_shows_words() {
    await withPage(async ({ page, site, complaints }) => {
      await page.goto(`${site.url}/speech/`);
      await page.waitForSelector("#voice option:nth-child(3)", { state: "attached" });
      await page.fill("#text", "Good evening. The kettle is on, and tea will be ready in five minutes.");
      await page.keyboard.press("Control+Enter");
      // The word itself may have passed before a busy machine looks.
      await page.waitForFunction(() => [...document.querySelectorAll("#reader .now, #reader .said")].some(({ textContent }) => textContent === "kettle"));
      same(await page.textContent("#captions"), "The kettle is on, and tea will be ready in five minutes.", "caption");
      await page.click("#cut");
      await page.waitForFunction(() => document.getElementById("reconnects").textContent === "1");
      await page.click("#speak");
      same([await page.textContent("#speak span"), await page.textContent("#status")], ["Resume", "Paused."], "paused");
      await page.click("#speak");
      await page.waitForFunction(() => document.getElementById("status").textContent === "Finished.");
      same(await page.locator("#reader .said").count(), 14, "words that were lit");
      check(/^[1-9]\d* ms$/.test(await page.textContent("#first")), `First audio: ${await page.textContent("#first")}`);
      same(await page.textContent("#buffered"), "0.0 s", "buffered");
      const log = await page.textContent("#log");
      for (const name of ["session_start", "start_session", "audio", "ack", "recover", "paused", "session_end"]) {
        check(log.includes(name), `${name} is not in the list of messages.`);
      }
      check(!/"token":"[^…]/.test(log), "A secret is shown.");
      await page.click("#speak");
      await page.waitForSelector("#reader .now");
      await page.keyboard.press("Escape");
      await page.waitForFunction(() => document.getElementById("status").textContent === "Stopped.");
      check(await page.isEnabled("#text"), "The text cannot be edited.");
      check(site.sockets.every(({ path }) => path === "/speech/api/session/ws"), "The prefix was left.");
      same(complaints, [], "complaints");
    });
  },

  async page_waits_for_a_gesture() {
    await withPage(async ({ page, site }) => {
      // Without a click, a page may not play. Each request of the test driver to the page counts as a click, so
      // the page starts on its own, and the test waits before it asks.
      await page.addInitScript(() => {
        addEventListener("load", () => setTimeout(() => document.getElementById("stage").requestSubmit(), 200));
      });
      await page.goto(`${site.url}/speech/`);
      await new Promise((over) => setTimeout(over, 2_000));
      const status = await page.textContent("#status");
      inTime(status.includes("Click or press a key"), `status: ${status}`);
      await page.click("h1");
      await page.waitForSelector("#reader .now");
      same(await page.textContent("#status"), "Speaking.", "status");
    }, { flags: ["--autoplay-policy=document-user-activation-required"] });
  },

  async page_is_accessible() {
    const { source } = required("axe-core");
    await withPage(async ({ page, site, browser }) => {
      for (const [colorScheme, width, height] of [["light", 1280, 800], ["dark", 1280, 800], ["light", 360, 740], ["dark", 360, 740]]) {
        await page.setViewportSize({ width, height });
        await page.emulateMedia({ colorScheme });
        await page.goto(`${site.url}/speech/`);
        const look = async (when) => {
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          check(wide <= 0, `${when}, at ${width} px, the page is ${wide} px too wide.`);
          await page.evaluate(source);
          const { violations } = await page.evaluate(() => axe.run());
          const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
          same(bad.map(({ id, nodes }) => [id, nodes.map(({ html }) => html).slice(0, 3)]), [], `${when}, ${colorScheme}, ${width} px`);
        };
        await look("idle");
        for (const summary of await page.locator("summary").all()) await summary.click();
        await page.click("#speak");
        await page.waitForSelector("#reader .now");
        await look("speaking");
        if (width < 600) {
          const small = await page.evaluate(() => [...document.querySelectorAll(".controls button, .controls select")].filter((e) => e.getBoundingClientRect().height < 44).length);
          same(small, 0, "controls too small for a finger");
        }
        await page.keyboard.press("Escape");
        await page.waitForSelector("#stage:not([data-reads])");
        // All can be reached with the keyboard.
        const reached = new Set();
        await page.evaluate(() => document.activeElement.blur());
        for (let n = 0; n < 24; n += 1) {
          await page.keyboard.press("Tab");
          reached.add(await page.evaluate(() => document.activeElement.id));
        }
        for (const id of ["text", "speak", "voice", "speed"]) check(reached.has(id), `Tab does not reach #${id}, but ${[...reached]}`);
      }
      void browser;
    });
  },

  async node_receives_bytes_without_playback() {
    const server = await serve(binary, "--listen=127.0.0.1:0");
    const home = await mkdtemp(join(tmpdir(), "aloud-node-"));
    try {
      const module = join(home, "aloud.mjs");
      await writeFile(module, await (await fetch(`${server.url}/aloud.js`)).text());
      const { Aloud } = await import(module);
      const { WebSocket } = required("ws");
      const aloud = new Aloud(server.url, { WebSocket });
      const words = [];
      let bytes = 0;
      aloud.on("word", ({ text }) => words.push(text));
      aloud.on("audio", ({ data, offset }) => {
        same(offset, bytes, "offset");
        bytes += data.length;
        if (offset === 0) aloud.reconnect();
      });
      const { reason, usage } = await aloud.start({ prompt: TEXT, audio: { sampleRate: 8_000 } });
      same([reason, words.join(" "), bytes], ["completed", TEXT, usage.audioMs * 16 + bytes % 16], "reason, words, bytes");
      check(bytes > 60_000, `${bytes} bytes`);
      same(aloud.stats.reconnects, 1, "reconnects");
      aloud.close();
      let refusal;
      try {
        new Aloud();
      } catch (error) {
        refusal = error.message;
      }
      check(refusal?.includes("Say where the server is"), `Without an address: ${refusal}`);
    } finally {
      await server.stop();
      await rm(home, { recursive: true });
    }
  },

  async types_are_strict() {
    const server = await serve(binary, "--listen=127.0.0.1:0");
    const home = await mkdtemp(join(tmpdir(), "aloud-types-"));
    try {
      for (const name of ["aloud.js", "aloud.d.ts"]) {
        await writeFile(join(home, name), await (await fetch(`${server.url}/${name}`)).text());
      }
      await cp(join(import.meta.dirname, "types.ts"), join(home, "types.ts"));
      await writeFile(join(home, "package.json"), '{"type":"module"}');
      const options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "--types", ""];
      const tsc = join(modulePath("typescript/package.json"), "..", "bin", "tsc");
      const checked = spawnSync(process.execPath, [tsc, ...options, "types.ts"], { cwd: home, encoding: "utf8" });
      check(checked.status === 0, `tsc: ${checked.stdout}${checked.stderr}`);
    } finally {
      await server.stop();
      await rm(home, { recursive: true });
    }
  },
};

/** Audio of a text over an uncut connection. */
async function reference(page, text, encoding = "pcm_s16le") {
  const bytes = await page.evaluate(async ({ text, encoding }) => {
    const { Aloud } = await import("/speech/aloud.js");
    const aloud = new Aloud(undefined, { playback: false });
    const bytes = [];
    aloud.on("audio", ({ data }) => bytes.push(...data));
    await aloud.start({ prompt: text, audio: { encoding } });
    aloud.close();
    return bytes;
  }, { text, encoding });
  return encoding === "pcm_s16le" ? samples(Uint8Array.from(bytes)) : Uint8Array.from(bytes);
}

await perform(scenarios, wanted);
