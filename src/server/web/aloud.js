/*! aloud.js 0.1.0, MIT OR Apache-2.0 */
// See aloud.d.ts. The audio thread loads this file again, for the player.

// The player. It uses no outside names: the audio thread may get only its source.
function createPlayer(contextRate, send) {
  const HALF = 24;
  const QUANTUM = 128;
  let stream; // its number
  let rate = contextRate;
  let taps = [[1]]; // one filter per phase
  let step = 1; // phases per output sample
  let half = 0;
  let queue = [];
  let head = 0; // samples taken from its first chunk
  let waiting = 0; // samples in the queue
  let line = new Float32Array(1024); // input of the filters
  let filled = 0;
  let position = 0; // of the next sample in the stream
  let phase = 0; // of the next output sample, behind it
  let end = false; // no more samples come
  let over = true; // all was played
  let dry = true; // waits until the cushion is full
  let cushion = 0; // in seconds
  let patience = 0; // waited, in frames
  let held = false;
  let fade = 0; // of the next quantum: in (1) or out (-1)
  let tail; // last quantum of dropped audio
  let unreported = 0; // frames since the last report

  // Windowed sines, computed for each phase.
  const tune = (from) => {
    rate = from;
    const divisor = (a, b) => (b ? divisor(b, a % b) : a);
    const common = divisor(from, contextRate);
    const phases = contextRate / common;
    step = from / common;
    phase = 0;
    half = from === contextRate ? 0 : Math.ceil(HALF * Math.max(1, from / contextRate));
    if (half === 0) return (taps = [[1]]);
    const cutoff = 0.94 * Math.min(1, contextRate / from);
    taps = Array.from({ length: phases }, (_, n) => {
      const filter = Float64Array.from({ length: 2 * half }, (_, tap) => {
        const x = tap - half + 1 - n / phases;
        const sine = x === 0 ? cutoff : Math.sin(Math.PI * cutoff * x) / (Math.PI * x);
        const turn = Math.PI * (1 + x / half);
        return sine * (0.42 - 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn));
      });
      const sum = filter.reduce((sum, tap) => sum + tap, 0);
      return filter.map((tap) => tap / sum);
    });
  };

  const clear = (place) => {
    [queue, head, waiting, patience] = [[], 0, 0, 0];
    line.fill(0);
    filled = Math.max(0, half - 1);
    [phase, position, dry] = [0, place, true];
  };

  const pull = (wanted) => {
    if (filled + wanted > line.length) {
      const grown = new Float32Array(2 * (filled + wanted));
      grown.set(line.subarray(0, filled));
      line = grown;
    }
    while (wanted > 0 && queue.length > 0) {
      const chunk = queue[0];
      const count = Math.min(wanted, chunk.length - head);
      for (let n = 0; n < count; n += 1) {
        line[filled + n] = chunk[head + n] / 32768;
      }
      [filled, head, wanted, waiting] = [filled + count, head + count, wanted - count, waiting - count];
      if (head === chunk.length) {
        queue.shift();
        head = 0;
      }
    }
    return wanted;
  };

  // Fills all of `out`; before the end, it otherwise plays nothing.
  const play = (out) => {
    const before = Math.max(0, half - 1);
    const last = Math.floor((phase + (out.length - 1) * step) / taps.length);
    const missing = pull(Math.max(0, before + last + half + 1 - filled));
    if (missing > 0 && !end) return false;
    line.fill(0, filled, filled + missing);
    let at = 0;
    for (let n = 0; n < out.length; n += 1) {
      const filter = taps[phase];
      let sum = 0;
      for (let tap = 0; tap < filter.length; tap += 1) sum += filter[tap] * line[at + tap];
      out[n] = sum;
      for (phase += step; phase >= taps.length; phase -= taps.length) at += 1;
    }
    position += Math.min(at, filled - before);
    over = missing > 0 && at >= filled - before;
    line.copyWithin(0, at, filled + missing);
    filled = Math.max(before, filled - at);
    return true;
  };

  const report = (what) => {
    unreported = 0;
    send({ stream, position: position + phase / taps.length, ...what });
  };

  // Drops the queued samples from a position on, which is not played yet.
  const cut = (place) => {
    let surplus = position + filled - Math.max(0, half - 1) + waiting - place;
    while (surplus > 0 && queue.length > 0) {
      const chunk = queue.pop();
      const first = queue.length === 0 ? head : 0;
      const kept = Math.max(first, chunk.length - surplus);
      surplus -= chunk.length - kept;
      waiting -= chunk.length - kept;
      if (kept > first) queue.push(chunk.subarray(0, kept));
      else if (first) head = 0;
    }
    filled -= Math.max(0, surplus);
  };

  return {
    receive(message) {
      if ("cut" in message) {
        ({ stream } = message);
        if (message.cut > position) return cut(message.cut);
        message = { drop: true, position: message.cut, over: false };
      }
      if (message.chunk) {
        queue.push(message.chunk);
        waiting += message.chunk.length;
      } else if (message.stream) {
        ({ stream } = message);
        tune(message.rate);
        clear(0);
        [end, over, held, fade] = [false, false, message.held, 0];
      } else if (message.drop) {
        const last = new Float32Array(QUANTUM);
        if (!dry && !over && (!held || fade < 0) && play(last)) {
          tail = last.map((sample, n) => sample * (1 - (n + 1) / QUANTUM));
        }
        clear(message.position ?? position);
        [over, fade] = [message.over, 0];
      } else if (message.end) {
        end = true;
      } else if ("held" in message) {
        if (held !== message.held) fade = message.held ? -1 : 1;
        held = message.held;
      }
      cushion = message.cushion ?? cushion;
    },

    render(out) {
      out.fill(0);
      if (tail) {
        out.set(tail);
        tail = undefined;
        return;
      }
      if (dry && held) fade = 0;
      if (over || (held && fade >= 0)) return;
      if (dry) {
        if (waiting === 0 && !end) return;
        patience += out.length;
        if (!end && waiting < cushion * rate && patience < cushion * contextRate) return;
        dry = false;
      }
      if (!play(out)) {
        [dry, patience, fade] = [true, 0, 0];
        return report({ dry });
      }
      const gain = fade;
      if (gain) {
        out.forEach((sample, n) => {
          const part = (n + 1) / out.length;
          out[n] = sample * (gain > 0 ? part : 1 - part);
        });
        fade = 0;
      }
      unreported += out.length;
      if (over || gain || unreported >= contextRate / 100) report({ over });
    },
  };
}

function register(createPlayer) {
  class Player extends AudioWorkletProcessor {
    constructor() {
      super();
      const player = createPlayer(Math.round(sampleRate), (report) => this.port.postMessage(report));
      this.port.onmessage = ({ data }) => (data === "close" ? (this.player = undefined) : player.receive(data));
      this.player = player;
    }

    process(_, [[out]]) {
      if (out) this.player?.render(out);
      return this.player !== undefined;
    }
  }
  registerProcessor("aloud", Player);
}

if (typeof AudioWorkletProcessor !== "undefined") register(createPlayer);

// Bundlers take new URL(…, import.meta.url) for a file.
const here = import.meta.url;
const resolve = (path, base) => new URL(path, base);
const loaded = new WeakMap();
function load(context, worklet) {
  const add = (url) => context.audioWorklet.addModule(url);
  const fromSource = () => add(URL.createObjectURL(new Blob([`(${register})(${createPlayer})`], { type: "text/javascript" })));
  // A bundler may have put this file into another one, which must not run again.
  const own = worklet ?? (/\/aloud\.js(\?|$)/.test(here) && here);
  if (!loaded.has(context)) loaded.set(context, own ? add(own).catch(fromSource) : fromSource());
  return loaded.get(context);
}

async function createOutput(context, worklet, onReport) {
  if (context.audioWorklet) {
    await load(context, worklet);
    const node = new AudioWorkletNode(context, "aloud", { numberOfInputs: 0, outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => onReport(data);
    const send = (message) => node.port.postMessage(message, message.chunk ? [message.chunk.buffer] : []);
    return { node, send, close: () => (node.disconnect(), send("close")) };
  }
  // Pages from plain http have no worklets.
  const node = context.createScriptProcessor(1024, 1, 1);
  const player = createPlayer(Math.round(context.sampleRate), onReport);
  node.onaudioprocess = ({ outputBuffer }) => player.render(outputBuffer.getChannelData(0));
  return { node, send: player.receive, close: () => node.disconnect() };
}

// Codecs, and whether this browser decodes them.
const CODECS = { opus: false, mp3: false };
const config = (codec, sampleRate) => ({ codec, sampleRate, numberOfChannels: 1 });
const probe = async (codec) => (CODECS[codec] = (await AudioDecoder.isConfigSupported(config(codec, 48_000))).supported);
const probed = Promise.allSettled(Object.keys(CODECS).map(probe));

// G.711: the bits to invert, and the bias.
const law = (inverted, bias) => (data) =>
  Int16Array.from(new Uint8Array(data), (byte) => {
    byte ^= inverted;
    const [power, part] = [(byte >> 4) & 7, (byte & 15) * 16];
    const size = power || bias ? (((part + 264) << power) >> 1) - bias : part + 8;
    return byte & 128 ? -size : size;
  });
const LINEAR = { pcm_s16le: (data) => new Int16Array(data), mulaw: law(255, 132), alaw: law(213, 0) };

const PATH = "/api/session/ws";
const GESTURES = ["pointerdown", "keydown"];
const NORMAL = 1000; // closes the session
const DROPPED = 4900; // closes the connection only
const ACK_MS = 200; // of speech, between two acks
const QUIET_MS = 2000; // without data, then a ping; the same for its answer
const CONNECT_MS = 10_000;
const FIRST_TRIES = 4; // to reach a server the first time
const KEPT_MS = 30_000; // if the server gives no resumeTtlMs
const REST_MS = 30_000; // until the sound card may sleep
const UNUSED_MS = 60_000; // of a connection that connect() opened
const STATS_MS = 100; // between two events
const CUSHION_MS = 3000; // most audio to buffer after shortages
const CALM_MS = 20_000; // without a shortage, then the cushion is halved

// Close codes after which to reconnect, and names of the final ones. A test compares this JSON with the server.
const CLOSES = {
  "retryable": [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4429],
  "range": [4500, 4599],
  "final": {"4401": "unauthorized", "4403": "forbidden", "4404": "session_not_found", "4409": "session_taken", "4411": "position_lost", "4430": "slow_client"}
};
const NOT_RECOVERED = { 4404: "session_not_found", 4410: "session_not_found", 4411: "position_lost" };
const isRetryable = (code) => CLOSES.retryable.includes(code) || (code >= CLOSES.range[0] && code <= CLOSES.range[1]);

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** CRC-32 of bytes after others with this one. */
function crc32(data, crc) {
  crc = ~crc;
  for (const byte of new Uint8Array(data)) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc;
}

const isOffline = () => globalThis.navigator?.onLine === false;
const digits = (crc) => (crc === undefined ? crc : (crc >>> 0).toString(16).padStart(8, "0"));

function socketUrl(url) {
  const address = url === undefined ? resolve(`.${PATH}`, here) : resolve(url, globalThis.location?.href);
  if (!/^(http|ws)/.test(address.protocol)) throw new Error('Say where the server is: new Aloud("https://…").');
  address.protocol = address.protocol.replace("http", "ws");
  if (!address.pathname.endsWith(PATH)) address.pathname = address.pathname.replace(/\/$/, "") + PATH;
  return address.href;
}

// With PulseAudio, Firefox hangs if the page asks for the output latency while the audio thread works.
const LOCKS_UP = /Linux.*Firefox/.test(globalThis.navigator?.userAgent);

const CLOSED = "The AudioContext is closed: pass an open one as `context`, or none.";

let streams = 0;

export class Aloud {
  #url;
  #options;
  #listeners = new Map();
  #state = "idle";
  #connection = "closed";
  #stats = { reconnects: 0 };
  #stream;

  #socket;
  #isReady = false; // messages on the socket are about the stream
  #isBusy = false; // the server runs a stream
  #isV1 = false;
  #mode = "v1"; // then plain, checking, plainly: see #onClose
  #wasReached = false;
  #session; // id and token, to recover, and its streams
  #keptMs = KEPT_MS;
  #fault; // the error before a close
  #tries = 0;
  #lostAt;
  #retry;
  #watch;
  #lastWord = 0;
  #asked; // when a ping was sent that has no answer
  #triedAt;
  #unused;
  #shownAt = 0; // the last event with figures

  #context;
  #output; // the player
  #unsent = []; // messages to it
  #opening;
  #resting;
  #isBlocked = false;

  constructor(url, options = {}) {
    this.#url = socketUrl(url);
    this.#options = options;
    this.#clearStats();
    globalThis.addEventListener?.("online", this.#hurry);
    globalThis.addEventListener?.("offline", this.#doubt);
  }

  get url() {
    return this.#url;
  }

  get state() {
    return this.#state;
  }

  get connection() {
    return this.#connection;
  }

  get context() {
    return this.#context;
  }

  get stats() {
    const stream = this.#stream;
    if (stream) {
      const [receivedMs, playedMs] = [stream.ms(stream.offset), stream.heardMs].map(Math.round);
      Object.assign(this.#stats, { receivedMs, playedMs, bufferedMs: Math.max(0, receivedMs - playedMs) });
    }
    return { ...this.#stats };
  }

  #clearStats() {
    const { reconnects } = this.#stats;
    this.#stats = { receivedMs: 0, playedMs: 0, bufferedMs: 0, wastedMs: 0, underruns: 0, reconnects };
  }

  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  once(type, listener) {
    const remove = this.on(type, (event) => (remove(), listener(event)));
    return remove;
  }

  #emit(type, event) {
    for (const listener of this.#listeners.get(type) ?? []) {
      try {
        listener(event);
      } catch (error) {
        setTimeout(() => { throw error; });
      }
    }
  }

  #set(state, connection = this.#connection) {
    if (this.#isBlocked && /starting|waiting|speaking/.test(state)) state = "blocked";
    if (state === this.#state && connection === this.#connection) return;
    [this.#state, this.#connection] = [state, connection];
    this.#emit("state", { state, connection });
  }

  #setConnection(connection) {
    this.#set(this.#state, connection);
  }

  start(what = {}) {
    this.unlock().catch(() => {});
    this.#abandon();
    clearTimeout(this.#unused);
    const stream = {
      id: (streams += 1),
      ask: typeof what === "string" ? { prompt: what } : what,
      began: performance.now(),
      isHeard: this.#context !== undefined,
      linear: LINEAR.pcm_s16le,
      scale: 0.5, // samples of a byte
      samples: (bytes) => Math.round(bytes * stream.scale),
      ms: (bytes) => (stream.rate ? (stream.samples(bytes) / stream.rate) * 1000 : 0),
      given: 0, // samples that the player has
      offset: 0, // bytes to play
      wire: 0, // bytes as the server counts them
      shift: 0, // their difference, after a restart of the server
      sentences: new Map(),
      heardMs: 0,
      ackedMs: 0, // as the server counts
      script: [], // text and commands, to send again what was lost
      written: 0, // messages of it that were sent
      taken: 0, // UTF-16 units of text before it
    };
    const result = new Promise((resolve) => (stream.resolve = resolve));
    this.#stream = stream;
    [this.#tries, this.#lostAt] = [0, undefined];
    this.#clearStats();
    this.#set("starting");
    if (this.#context?.state === "closed") {
      this.#failClosed();
      return result;
    }
    this.#keepWatch();
    if (this.#isReady && !this.#isBusy) this.#begin();
    else if (!this.#socket && !this.#retry) this.#connect();
    return result;
  }

  connect() {
    clearTimeout(this.#unused);
    this.#unused = setTimeout(() => this.#stream || this.#disconnect(), UNUSED_MS);
    this.#unused.unref?.(); // Node may end
    if (!this.#socket && !this.#retry) this.#connect();
  }

  update(what) {
    const stream = this.#stream;
    if (!stream || stream.isEnding || stream.cancelling?.goesOn === false) return;
    const { voice, language, speed } = what;
    const change = JSON.parse(JSON.stringify({ voice, language, speed }));
    // For a stream that begins anew.
    stream.ask = { ...stream.ask, ...change };
    if (stream.isStarted) this.#inOrder({ type: "update", ...change }, false);
  }

  append(text) {
    this.#inOrder({ type: "append", text });
  }

  flush() {
    this.#inOrder({ type: "flush" });
  }

  end() {
    const stream = this.#stream;
    if (!stream) return this.#disconnect();
    this.#inOrder({ type: "end", drain: true }, false);
    stream.isEnding = true;
  }

  #inOrder(message, needsOpen = true) {
    const stream = this.#stream;
    if (needsOpen && (stream?.ask.source !== "append" || stream.isEnding)) {
      throw new Error('No append stream is open: call start({ source: "append" }) first.');
    }
    stream.script.push(message);
    if (this.#isLive(stream)) this.#sendScript(stream);
  }

  // `taken`: the text that the server has, in UTF-16 units.
  #sendScript(stream, taken) {
    let end = (stream.taken = Math.min(stream.taken, taken ?? Infinity));
    stream.script.forEach((message, n) => {
      const { text = "" } = message;
      const start = end;
      end += text.length;
      if (taken === undefined ? n < stream.written : end < taken || (text && end === taken)) return;
      this.#write(start < taken ? { ...message, text: text.slice(taken - start) } : message);
    });
    stream.written = stream.script.length;
  }

  pause() {
    this.#hold(true);
  }

  resume() {
    this.unlock().catch(() => {});
    this.#hold(false);
  }

  #hold(isPaused) {
    const stream = this.#stream;
    if (!stream || stream.cancelling || Boolean(stream.isPaused) === isPaused) return;
    stream.isPaused = isPaused;
    stream.wasPaused = true;
    this.#send({ held: isPaused });
    if (this.#isLive(stream)) this.#write({ type: isPaused ? "pause" : "resume" });
    this.#goOn(stream);
  }

  #goOn(stream, state = this.#stats.firstHeardMs === undefined ? "starting" : "speaking") {
    this.#set(stream.isPaused ? "paused" : state);
  }

  cancel() {
    const stream = this.#stream;
    return Promise.resolve(stream && this.#stop(stream, stream.ask.source === "append" && !stream.isEnding));
  }

  // Silences a stream; with `goesOn` it stays open for more text.
  #stop(stream, goesOn) {
    if (stream.cancelling) return stream.cancelling.result;
    const cancelling = { goesOn, playedMs: stream.heardMs - stream.ms(stream.shift) };
    cancelling.result = new Promise((resolve) => (cancelling.resolve = resolve));
    stream.cancelling = cancelling;
    for (const { text = "" } of stream.script.slice(0, stream.written)) stream.taken += text.length;
    [stream.script, stream.written] = [[], 0];
    this.#endDecoder(stream);
    if (stream.rate) this.#send({ drop: true, over: !goesOn });
    if (!goesOn) this.#set("idle");
    const isKept = goesOn || stream.ask.source !== "append";
    if (isKept && stream.isOptedIn && this.#isLive(stream)) this.#askToCancel(stream);
    // If the connection is lost, an open stream waits for the next one.
    else if (!goesOn || !stream.isOptedIn || !stream.session || stream.end) {
      if (stream.isStarted && !stream.end) this.#disconnect();
      if (!goesOn || stream.isStarted) this.#finishCancelled(stream);
      else this.#cancelled(stream);
    }
    return cancelling.result;
  }

  // Figures of a cancel without the server's: the stream had just ended, or lost its connection.
  #finishCancelled(stream) {
    const figures = stream.wasStarted ? this.#figures(stream) : undefined;
    const { reason, usage } = stream.end ?? {};
    const before = usage?.wastedMs ?? this.#stats.wastedMs;
    const unheard = figures?.wastedMs ?? 0;
    // A server that stopped the stream has counted the audio that it had sent.
    const wastedMs = /expired|error/.test(reason) ? Math.max(before, unheard) : before + unheard;
    this.#stats.wastedMs = wastedMs;
    this.#cancelled(stream, figures);
    this.#finish({ ...figures, reason: "cancelled", usage, wastedMs });
  }

  #figures(stream) {
    const offset = stream.skip ? stream.offset : stream.wire + stream.shift;
    const [sentMs, playedMs] = [stream.ms(offset), Math.max(0, stream.heardMs)].map(Math.round);
    const { cancelledAt = 0, sentences } = stream;
    const heard = [...sentences.values()].filter(({ shown, offset }) => shown >= 0 && offset >= cancelledAt);
    const { index = 0, text = "", words = [], shown } = heard.pop() ?? {};
    const last = words.length > 0 ? text.slice(0, words[shown - 1]?.charEnd ?? 0) : text;
    const spokenText = [...heard.map(({ text }) => text), last].join(" ").trim();
    return { type: "cancelled", index, offset, sentMs, playedMs, spokenText, wastedMs: Math.max(0, sentMs - playedMs) };
  }

  #askToCancel({ cancelling, isPaused }) {
    this.#write({ type: "cancel", playedMs: Math.max(0, Math.floor(cancelling.playedMs)) });
    if (isPaused && !cancelling.goesOn) this.#write({ type: "resume" });
  }

  #cancelled(stream, figures) {
    stream.cancelling?.resolve(figures);
    stream.cancelling = undefined;
  }

  #abandon() {
    const stream = this.#stream;
    if (!stream) return;
    this.#stop(stream, false);
    if (stream === this.#stream) this.#finishCancelled(stream);
  }

  close() {
    globalThis.removeEventListener?.("online", this.#hurry);
    globalThis.removeEventListener?.("offline", this.#doubt);
    clearTimeout(this.#unused);
    this.#abandon();
    this.#disconnect();
    this.#output?.close();
    clearTimeout(this.#resting);
    if (!this.#options.context) this.#context?.close();
    this.#output = this.#opening = this.#context = undefined;
  }

  reconnect() {
    if (this.#isReady) this.#drop();
  }

  unlock() {
    const { playback, context: given, destination, worklet } = this.#options;
    if (playback === false || !(given ?? globalThis.AudioContext)) return Promise.resolve();
    // The user's gesture counts only before any await.
    if (!given && this.#context?.state === "closed") this.#output = this.#opening = this.#context = undefined;
    if (!this.#context) {
      this.#context = given ?? new AudioContext();
      this.#context.addEventListener("statechange", this.#onContext);
    }
    const context = this.#context;
    clearTimeout(this.#resting);
    if (context.state === "closed") return Promise.reject(new Error(CLOSED));
    if (context.state !== "running") {
      context.resume().catch(() => {});
      setTimeout(this.#onContext, 300);
    }
    this.#opening ??= createOutput(context, worklet, this.#onReport).then(
      (output) => {
        if (context !== this.#context) return void output.close();
        this.#output = output;
        output.node.connect(destination ?? context.destination);
        for (const message of this.#unsent.splice(0)) output.send(message);
        return output.node;
      },
      (error) => {
        this.#opening = undefined;
        this.#fail("no_audio_output", `Cannot play audio: ${error.message}`);
        throw error;
      },
    );
    return this.#opening;
  }

  #onContext = () => {
    const stream = this.#stream;
    if (stream?.isHeard && this.#context?.state === "closed") return this.#failClosed();
    const isBlocked = this.#context?.state !== "running";
    if (!stream?.isHeard || isBlocked === this.#isBlocked) return;
    this.#isBlocked = isBlocked;
    const unlock = () => {
      for (const type of GESTURES) removeEventListener(type, unlock, true);
      this.unlock().catch(() => {});
    };
    if (isBlocked) for (const type of GESTURES) addEventListener(type, unlock, true);
    this.#goOn(stream);
  };

  #failClosed() {
    this.#fail("no_audio_output", CLOSED);
  }

  #finish(result) {
    const stream = this.#stream;
    if (!stream) return;
    void this.stats; // updates them
    this.#stats.bufferedMs = 0;
    this.#endDecoder(stream);
    this.#stream = undefined;
    this.#isBlocked = false;
    clearInterval(this.#watch);
    this.#set("idle");
    if (!this.#socket) this.#disconnect();
    stream.resolve(result);
    this.#emit("end", result);
    clearTimeout(this.#resting);
    if (this.#context && !this.#options.context) {
      this.#resting = setTimeout(() => this.#context?.suspend(), REST_MS);
    }
  }

  #fail(code, message, more) {
    const error = { code, message, fatal: true, ...more };
    const stream = this.#stream;
    this.#emit("error", error);
    if (!stream) return;
    this.#send({ drop: true, over: true });
    if (this.#isBusy) this.#disconnect();
    this.#cancelled(stream);
    this.#finish({ reason: "error", error });
  }

  // The connection.

  async #connect() {
    this.#retry = undefined;
    this.#setConnection(this.#stream?.wasStarted ? "lost" : "connecting");
    const { token, tokenIn, WebSocket = globalThis.WebSocket } = this.#options;
    const attempt = (this.#socket = {});
    this.#triedAt = performance.now();
    const isPlain = this.#mode.startsWith("plain");
    let credential, isOffered, socket;
    try {
      if (!WebSocket) throw new Error("pass a WebSocket, as in new Aloud(url, { WebSocket })");
      await probed;
      credential = typeof token === "function" ? await token() : token;
      if (this.#socket !== attempt) return; // closed meanwhile
      isOffered = credential && tokenIn === "subprotocol" && !isPlain;
      const protocols = isPlain ? [] : ["aloud.v1", ...(isOffered ? [`bearer.${credential}`] : [])];
      this.#socket = socket = new WebSocket(this.#url, protocols);
    } catch (error) {
      if (this.#socket !== attempt) return;
      this.#disconnect();
      // A start() tries again, and tells.
      return void (this.#stream && this.#fail("unauthorized", `Cannot connect: ${error.message}.`));
    }
    let wasOpen = false;
    this.#fault = undefined;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      wasOpen = true;
      if (credential && !isOffered && socket === this.#socket) this.#write({ type: "auth", token: credential });
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#lastWord = performance.now();
      if (typeof data === "string") this.#onMessage(JSON.parse(data));
      else this.#onAudio(data);
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#onClose(code, reason, wasOpen);
    };
  }

  #write(message) {
    this.#show("out", message);
    this.#socket.send(JSON.stringify(message));
  }

  #show(direction, message) {
    this.#emit("message", { direction, message: message.token ? { ...message, token: "…" } : message });
  }

  #isLive(stream) {
    return this.#isReady && stream.isStarted && !stream.end && this.#socket.readyState === 1;
  }

  #letGo(code) {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#isReady = this.#isBusy = false;
    socket?.close?.(code);
  }

  #disconnect() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#letGo(NORMAL);
    this.#setConnection("closed");
  }

  #drop() {
    this.#letGo(DROPPED);
    this.#onLost(1006, "");
  }

  #onClose(code, reason, wasOpen) {
    this.#letGo();
    // If a proxy removes the subprotocol, a browser gives no reason. So connect without one; if that works,
    // try once more with it, to know the cause.
    if (!wasOpen && !this.#wasReached && this.#mode !== "plainly") {
      const failed = this.#mode;
      this.#mode = { v1: "plain", plain: "v1", checking: "plainly" }[failed];
      if (failed !== "plain") return void this.#connect();
    }
    this.#onLost(code, reason);
  }

  #onLost(code, reason) {
    const stream = this.#stream;
    if (!stream || stream.end) return this.#setConnection("closed");
    if (stream.cancelling && !stream.cancelling.goesOn) return this.#finishCancelled(stream);
    const name = NOT_RECOVERED[code];
    if (name && stream.isRecovering) return this.#onNotRecovered(stream, name);
    if (name && stream.from) {
      stream.wasRefused = true;
      return this.#onSessionLost(stream);
    }
    const now = performance.now();
    this.#lostAt ??= now;
    const isLate = now - this.#lostAt > (stream.wasStarted ? this.#keptMs : KEPT_MS);
    const isOver = isLate || (!stream.wasStarted && this.#tries >= FIRST_TRIES);
    if (!isRetryable(code) || isOver) {
      const cause = CLOSES.final[code] ?? "connection_failed";
      const message = isRetryable(code) ? this.#unreached() : `The server closed the connection: ${code} ${reason}${this.#cure(cause)}`;
      return this.#fail(cause, message, { ...this.#fault, fatal: true, closeCode: code });
    }
    this.#setConnection(stream.wasStarted ? "lost" : "connecting");
    // The event "online" ends the wait.
    const wait = isOffline() ? 5_000 : this.#tries === 0 ? 20 : Math.min(10_000, 125 * 2 ** this.#tries);
    if (!isOffline()) this.#tries += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2));
  }

  // A browser does not say why a socket did not open.
  #unreached() {
    const { origin } = globalThis.location ?? {};
    if (isOffline()) return `${this.#url} cannot be reached: this device is offline.`;
    const isForeign = origin && origin.replace("http", "ws") !== new URL(this.#url).origin;
    const cure = isForeign ? ` Does it run, with --allow-origin ${origin}?` : " Does it run?";
    return `${this.#url} cannot be reached, or refuses this page.${cure}`;
  }

  #cure(cause) {
    if (cause !== "unauthorized" || this.#options.token) return "";
    return " Pass a token or a ticket: new Aloud(url, { token }).";
  }

  // The network has changed: asks for a sign of life.
  #doubt = () => {
    if (this.#asked !== undefined || !this.#isBusy || !this.#isV1 || this.#socket.readyState !== 1) return;
    this.#asked = performance.now();
    this.#write({ type: "ping" });
  };

  #hurry = () => {
    if (!this.#retry) return this.#doubt();
    clearTimeout(this.#retry);
    this.#connect();
  };

  #keepWatch() {
    clearInterval(this.#watch);
    this.#asked = undefined;
    this.#watch = setInterval(() => {
      const now = performance.now();
      if (this.#socket && !this.#isReady && now - this.#triedAt > CONNECT_MS) this.#drop();
      if (!this.#isBusy || !this.#isV1) this.#lastWord = now;
      if (this.#lastWord > this.#asked) this.#asked = undefined;
      if (now - this.#asked > QUIET_MS) {
        this.#asked = undefined;
        this.#drop();
      } else if (now - this.#lastWord >= QUIET_MS) this.#doubt();
    }, QUIET_MS / 4);
  }

  // Messages of the server.

  #onMessage(message) {
    this.#show("in", message);
    const { type } = message;
    const stream = this.#stream;
    if (type === "session_start") this.#onGreeting(message);
    else if (type === "session_end") this.#onEnd(message);
    else if (type === "error") this.#onError(message);
    else if (type === "warning") this.#emit("warning", message);
    else if (!stream?.isStarted) return;
    else if (type === "stream_start") this.#onStreamStart(stream, message);
    else if (type === "text") this.#onText(stream, message);
    else if (type === "timestamps") this.#onTimestamps(stream, message);
    else if (type === "sentence_end") stream.isInSentence = false;
    else if (type === "paused" || type === "resumed") stream.isPausedThere = type === "paused";
    else if (type === "cancelled" && stream.cancelling) this.#onCancelled(stream, message);
    else if (type === "recovered" && message.recovered) this.#onRecovered(stream, message);
    else if (type === "recovered") this.#onNotRecovered(stream, message.code);
  }

  #onGreeting({ sessionId, token, protocol, limits }) {
    if (this.#mode === "plain") {
      this.#mode = "checking";
      this.#letGo(NORMAL);
      return void this.#connect();
    }
    if (this.#mode === "checking") this.#mode = "v1";
    this.#wasReached = true;
    this.#isV1 = protocol === "aloud.v1";
    this.#keptMs = limits?.resumeTtlMs ?? KEPT_MS;
    this.#session = token && { id: { sessionId, token }, streams: 0 };
    const stream = this.#stream;
    if (!stream?.isStarted) {
      this.#open();
      if (stream) this.#begin();
    } else if (stream.session && (stream.isOptedIn || stream.session.isNumbered !== false)) {
      stream.isRecovering = true;
      const { session, number, rev, crc, wire, from, retryAt = from?.offset ?? wire } = stream;
      const crc32 = retryAt === wire ? digits(crc) : undefined;
      const { id, epoch } = session;
      this.#write({ type: "recover", ...id, offset: retryAt, stream: number, rev, epoch, crc32, inexact: true });
    } else this.#onSessionLost(stream, true);
  }

  #open() {
    this.#isReady = true;
    this.#setConnection("open");
  }

  #begin() {
    const stream = this.#stream;
    const { start } = this.#options;
    const ask = { timestamps: "word", ...start, ...stream.ask };
    ask.audio = { encoding: "pcm_s16le", ...ask.audio, ...stream.audio };
    if (stream.isHeard && ask.audio.encoding in CODECS) {
      stream.isLinear ??= !CODECS[ask.audio.encoding];
      if (stream.isLinear) ask.audio.encoding = "pcm_s16le";
    }
    if (stream.isHeard) ask.delivery ??= { mode: "paced" };
    if (this.#isV1) ask.resumable ??= true;
    else delete ask.resumable;
    if (this.#isV1 && stream.skip && !stream.wasRefused) {
      const { index, crc } = stream.skip.sentence;
      ask.from = { index, offset: stream.offset - stream.shift, crc32: digits(crc) };
    }
    Object.assign(stream, { isStarted: true, wasStarted: true, isOptedIn: false, isRecovering: false });
    Object.assign(stream, { wire: 0, ackedMs: 0, isPausedThere: false, rev: 0, crc: undefined, last: -1 });
    Object.assign(stream, { written: 0, taken: ask.prompt?.length ?? 0, from: ask.from });
    stream.session = ask.resumable ? this.#session : undefined;
    stream.number = 1 + (this.#session?.streams ?? 0);
    this.#isBusy = true;
    this.#write({ type: "start_session", ...ask });
    this.#catchUp(stream);
  }

  #catchUp(stream, taken) {
    if (stream.cancelling) this.#askToCancel(stream);
    else if (Boolean(stream.isPaused) !== stream.isPausedThere) this.#write({ type: stream.isPaused ? "pause" : "resume" });
    this.#sendScript(stream, taken);
  }

  #onRecovered(stream, { stream: number = stream.number, rev, epoch, paused, textOffset, offset, index, exact }) {
    if (number !== stream.number) return this.#onSessionLost(stream);
    stream.isRecovering = false;
    stream.retryAt = undefined;
    this.#session = stream.session;
    Object.assign(this.#session, { streams: number, epoch });
    this.#isBusy = true;
    this.#stats.reconnects += 1;
    this.#open();
    const sentence = stream.sentences.get(index);
    const again = stream.wire - offset; // bytes that come again
    stream.wire = offset;
    if (again > 0 && stream.skip?.sentence.index === index) this.#skip(stream);
    else if (again > 0 && !stream.skip && sentence) {
      if (exact === false) this.#retake(stream, sentence, offset);
      else this.#skip(stream, again);
    }
    // The server has cancelled, but its answer was lost.
    if (stream.cancelling && rev > stream.rev) {
      stream.isDropping = true;
      this.#onCancelled(stream, { ...this.#figures(stream), rev }, true);
      if (stream !== this.#stream) return;
    }
    stream.rev = rev ?? stream.rev;
    // Without the field, the answer to a pause may have been lost.
    stream.isPausedThere = paused ?? (stream.wasPaused ? undefined : false);
    this.#catchUp(stream, textOffset);
    if (stream.ackedMs > 0) this.#acknowledge(stream, 0);
  }

  #onNotRecovered(stream, code) {
    stream.isRecovering = false;
    const last = [...stream.sentences.values()].at(-1);
    const start = last && last.offset - stream.shift;
    if (code !== "position_lost" || stream.skip || stream.retryAt !== undefined || !(start < stream.wire)) {
      return this.#onSessionLost(stream);
    }
    // Perhaps the session has the sentence from its beginning.
    stream.retryAt = start;
    this.#drop();
  }

  // The session is gone. A text is spoken again from the last sentence on, without its received part.
  #onSessionLost(stream, isNew = false) {
    const last = [...stream.sentences.values()].at(-1);
    if ((stream.source ?? stream.ask.source ?? "verbatim") !== "verbatim" && (last || stream.wire > 0)) {
      this.#disconnect();
      return this.#fail("session_lost", "The server no longer has this session.");
    }
    this.#skip(stream);
    Object.assign(stream, { isStarted: false, isRecovering: false, retryAt: undefined, isDropping: false });
    this.#stats.reconnects += 1;
    if (!isNew) return this.#drop();
    this.#open();
    this.#begin();
  }

  // The last sentence comes again: skips its received bytes, and compares them if they are all.
  #skip(stream, again) {
    const sentence = [...stream.sentences.values()].at(-1);
    if (!sentence) return;
    const received = stream.offset - sentence.offset;
    const bytes = again ?? received;
    stream.skip = { sentence, bytes, isWhole: bytes === received, at: again && sentence.index, crc: 0, kept: [], times: [] };
  }

  // The first message of a stream tells if it begins at `from`, as asked.
  #onBeginning(stream, index) {
    const { from, skip, session } = stream;
    stream.from = undefined;
    if (index !== undefined && (index !== from.index || (index === 0 && !session?.isNumbered))) return;
    Object.assign(stream, { wire: from.offset, crc: skip.sentence.crc, last: from.index, skip: undefined });
  }

  // The sentence begins anew, at this byte and in another take, which replaces the first one.
  #retake(stream, { index, offset }, wire) {
    stream.skip = undefined;
    stream.offset = offset;
    stream.shift = offset - wire;
    stream.heardMs = Math.min(stream.heardMs, stream.ms(offset));
    stream.ackedMs = Math.min(stream.ackedMs, stream.ms(offset - stream.shift));
    for (const sentence of stream.sentences.values()) {
      if (sentence.index >= index) Object.assign(sentence, { words: [], shown: -1 });
    }
    this.#endDecoder(stream);
    const cut = stream.samples(offset);
    stream.given = Math.min(stream.given, cut);
    stream.id = streams += 1; // reports about the first take are void
    this.#send({ cut, stream: stream.id });
  }

  #onStreamStart(stream, { audio, source, voice, stream: number, rev = 0 }) {
    Object.assign(stream, { source, rev, isOptedIn: true, number: number ?? stream.number });
    if (this.#session) Object.assign(this.#session, { streams: stream.number, isNumbered: number !== undefined });
    this.#emit("stream", { audio, source, voice });
    const { encoding, sampleRate, frameBytes, frameMs } = audio;
    const rate = encoding === "opus" ? 48_000 : sampleRate;
    const linear = LINEAR[encoding];
    const scale = linear ? linear(new ArrayBuffer(2)).length / 2 : (rate * frameMs) / 1000 / frameBytes;
    if (!scale) return this.#fail("unsupported_audio", `Cannot play ${encoding}.`);
    Object.assign(stream, { linear, scale, audio: { encoding, sampleRate } });
    this.#setRate(stream, rate);
  }

  #setRate(stream, rate) {
    if (stream.rate) return;
    stream.rate = rate;
    stream.cushionMs = this.#options.bufferMs ?? (stream.linear ? 60 : 200);
    stream.leastMs = stream.cushionMs;
    this.#send({ stream: stream.id, rate, held: stream.isPaused, cushion: stream.cushionMs / 1000 });
  }

  #send(message) {
    if (this.#output) return this.#output.send(message);
    if (message.drop) this.#unsent = this.#unsent.filter(({ chunk }) => !chunk);
    if (this.#context) this.#unsent.push(message);
  }

  async #playOut(stream) {
    await stream.decoder?.flush().catch(() => {});
    if (stream !== this.#stream) return;
    this.#fill(stream, stream.offset);
    this.#send({ end: true });
  }

  // A cancel and another take begin with a new decoder.
  #decode(stream, data, offset) {
    if (!stream.decoder) {
      this.#fill(stream, offset);
      const decoder = (stream.decoder = new AudioDecoder({
        output: (audio) => {
          const samples = new Float32Array(audio.numberOfFrames);
          audio.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
          audio.close();
          if (decoder === stream.decoder) this.#give(stream, samples.map((sample) => sample * 32768));
        },
        error: ({ message }) => {
          stream.decoder = undefined;
          this.#fail("unsupported_audio", `Cannot play ${stream.audio.encoding}: ${message}`);
        },
      }));
      decoder.configure(config(stream.audio.encoding, stream.rate));
    }
    stream.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: stream.ms(offset) * 1000, data }));
  }

  // Silence for what the decoder did not give.
  #fill(stream, offset) {
    this.#give(stream, new Int16Array(Math.max(0, stream.samples(offset) - stream.given)));
  }

  #give(stream, chunk) {
    stream.given += chunk.length;
    this.#send({ chunk });
  }

  #endDecoder(stream) {
    stream.decoder?.close();
    stream.decoder = undefined;
  }

  #onText(stream, { data, index, offset }) {
    // A base server does not send its rate.
    if (!stream.rate) this.#setRate(stream, this.#options.sampleRate ?? 16_000);
    stream.isInSentence = true;
    if (stream.from) this.#onBeginning(stream, index);
    if (stream.isDropping && index > stream.last) {
      stream.isDropping = false;
      this.#goTo(stream, stream.wire + stream.shift);
    }
    offset ??= stream.offset - stream.shift;
    if (stream.skip) {
      if (index > stream.skip.sentence.index) this.#skipped(stream, stream.wire);
      else stream.skip.at = index;
    }
    // A sentence may be announced again, in its middle.
    if (index > stream.last || offset === stream.wire) stream.crc = 0;
    stream.last = Math.max(stream.last, index);
    if (stream.cancelling || stream.sentences.has(index)) return;
    const startMs = Math.round(stream.ms(offset + stream.shift));
    const sentence = { index, text: data, startMs, offset: offset + stream.shift, words: [], shown: -1, crc: 0 };
    stream.sentences.set(index, sentence);
    this.#emit("text", { index, text: data, startMs });
    if (!stream.isHeard) this.#showHeard(stream, Infinity);
  }

  #onTimestamps(stream, message) {
    const { index, words, start, end, charStart, charEnd, srcStart, srcEnd } = message;
    if (stream.skip?.sentence.index === index) stream.skip.times.push(message);
    const sentence = stream.sentences.get(index);
    if (!sentence || stream.cancelling) return;
    const last = sentence.words.at(-1)?.charStart ?? -1;
    words.forEach((text, n) => {
      const [startMs, endMs] = [sentence.startMs + start[n], sentence.startMs + end[n]];
      const word = { index, text, startMs, endMs, charStart: charStart[n], charEnd: charEnd[n] };
      if (srcStart) Object.assign(word, { srcStart: srcStart[n], srcEnd: srcEnd[n] });
      if (charStart[n] > last) sentence.words.push(word);
    });
    if (!stream.isHeard) this.#showHeard(stream, Infinity);
  }

  #onAudio(data) {
    const stream = this.#stream;
    if (!stream?.isStarted) return;
    [this.#tries, this.#lostAt] = [0, undefined];
    if (stream.from) this.#onBeginning(stream);
    stream.wire += data.byteLength;
    if (stream.crc !== undefined) stream.crc = crc32(data, stream.crc);
    const { skip } = stream;
    if (skip) {
      const isThere = skip.at === skip.sentence.index;
      const part = isThere ? Math.min(skip.bytes, data.byteLength) : data.byteLength;
      if (isThere) {
        skip.bytes -= part;
        skip.kept.push(data.slice(0, part));
        skip.crc = crc32(skip.kept.at(-1), skip.crc);
      }
      // Until a first ack, the server's clock paces the stream.
      if (stream.isHeard) this.#acknowledge(stream, ACK_MS);
      if (skip.bytes > 0 || !isThere) return;
      data = data.slice(part);
      this.#skipped(stream, stream.wire - data.byteLength);
    }
    if (data.byteLength > 0) this.#take(stream, data);
  }

  #take(stream, data) {
    if (stream.cancelling || stream.isDropping) return;
    const sentence = stream.sentences.get(stream.last);
    if (sentence) sentence.crc = stream.crc;
    this.#stats.firstAudioMs ??= Math.round(performance.now() - stream.began);
    if (this.#listeners.get("audio")?.size) {
      this.#emit("audio", { data: new Uint8Array(data.slice(0)), offset: stream.offset });
    }
    const { offset } = stream;
    stream.offset += data.byteLength;
    if (!stream.isHeard) stream.heardMs = stream.ms(stream.offset);
    else if (stream.linear) this.#give(stream, stream.linear(data));
    else this.#decode(stream, data, offset);
  }

  #skipped(stream, wire) {
    const { sentence, kept, times, crc, isWhole } = stream.skip;
    stream.shift = stream.offset - wire;
    stream.skip = undefined;
    if (!isWhole || sentence.crc === undefined || sentence.crc === crc) return;
    // Another take does not fit the received beginning.
    this.#retake(stream, sentence, wire - kept.reduce((sum, { byteLength }) => sum + byteLength, 0));
    for (const message of times) this.#onTimestamps(stream, message);
    for (const data of kept) this.#take(stream, data);
  }

  #onCancelled(stream, message, isKnown = false) {
    const { goesOn } = stream.cancelling;
    stream.rev = message.rev ?? stream.rev;
    this.#stats.wastedMs += message.wastedMs;
    this.#cancelled(stream, message);
    if (!goesOn) return this.#finish({ ...message, reason: "cancelled" });
    stream.crc = undefined;
    for (const [index, { shown, words }] of stream.sentences) {
      if (shown < 0) stream.sentences.delete(index);
      else words.length = shown;
    }
    this.#goTo(stream, message.offset);
    if (!isKnown) this.#catchUp(stream);
  }

  // The next audio is of this place.
  #goTo(stream, offset) {
    stream.offset = stream.cancelledAt = offset;
    stream.heardMs = stream.ackedMs = stream.ms(offset);
    stream.given = stream.samples(offset);
    this.#send({ drop: true, over: false, position: stream.given });
  }

  #onEnd({ reason = "completed", usage }) {
    this.#isBusy = false;
    const stream = this.#stream;
    if (!stream || stream.end) return;
    if (!stream.isStarted || (stream.from && stream.wasRefused)) return this.#begin();
    if (stream.skip && stream.skip.at === stream.skip.sentence.index) this.#skipped(stream, stream.wire);
    stream.end = { reason, usage };
    if (usage) this.#stats.wastedMs = usage.wastedMs;
    if (stream.cancelling) this.#finishCancelled(stream);
    else if (!stream.isHeard || stream.offset === 0) this.#finish(stream.end);
    else this.#playOut(stream);
  }

  #onError(error) {
    const { code, message, fatal } = error;
    const stream = this.#stream;
    // The close that follows decides.
    if (fatal) this.#fault = error;
    // It had just ended, or the server needs no credential.
    else if (/^(not_started|nothing_to_cancel)$/.test(code) || (code === "unknown_type" && this.#options.token)) return;
    else if (this.#isReady && stream?.isStarted && stream.from && (!stream.isOptedIn || code === "bad_message")) {
      // The server cannot begin there, and ends a stream that it has started.
      stream.wasRefused = true;
      if (!stream.isOptedIn) this.#begin();
    } else if (!this.#isReady || !stream?.isStarted || (this.#isV1 ? stream.isOptedIn : stream.rate)) this.#emit("error", error);
    else {
      // The stream was refused.
      this.#isBusy = false;
      if (code !== "unsupported_audio" || stream.isLinear !== false || stream.rate) return this.#fail(code, message, error);
      stream.isLinear = true;
      this.#begin();
    }
  }

  // Playback.

  #onReport = ({ stream: id, position, dry, over }) => {
    const stream = this.#stream;
    if (id !== stream?.id || stream.cancelling) return;
    const latency = over || dry ? 0 : (!LOCKS_UP && this.#context.outputLatency) || this.#context.baseLatency || 0;
    stream.heardMs = Math.max(stream.heardMs, (position / stream.rate - latency) * 1000);
    if (!dry) this.#stats.firstHeardMs ??= Math.round(performance.now() - stream.began);
    this.#goOn(stream, dry ? "waiting" : "speaking");
    this.#showHeard(stream, stream.heardMs);
    const now = performance.now();
    if (dry && stream.isInSentence) {
      this.#stats.underruns += 1;
      // With paced delivery no more than its lead arrives.
      const { mode, aheadMs = 2000 } = stream.ask.delivery ?? this.#options.start?.delivery ?? { mode: "paced" };
      const most = mode === "paced" ? Math.min(CUSHION_MS, 0.75 * aheadMs) : CUSHION_MS;
      this.#setCushion(stream, Math.max(stream.leastMs, Math.min(most, 2 * stream.cushionMs)), now);
    } else if (stream.cushionMs > stream.leastMs && now - stream.calmSince > CALM_MS) {
      this.#setCushion(stream, Math.max(stream.leastMs, stream.cushionMs / 2), now);
    }
    this.#acknowledge(stream, dry ? 1 : ACK_MS);
    if (dry || over || now - this.#shownAt >= STATS_MS) {
      this.#shownAt = now;
      this.#emit("stats", this.stats);
    }
    if (over) this.#finish(stream.end);
  };

  #setCushion(stream, cushionMs, now) {
    Object.assign(stream, { cushionMs, calmSince: now });
    this.#send({ cushion: cushionMs / 1000 });
  }

  #acknowledge(stream, byMs) {
    const heardMs = stream.skip ? stream.ms(stream.wire) : stream.heardMs - stream.ms(stream.shift);
    if (!stream.isOptedIn || !this.#isLive(stream) || heardMs - stream.ackedMs < byMs) return;
    stream.ackedMs = heardMs;
    this.#write({ type: "ack", playedMs: Math.floor(heardMs) });
  }

  #showHeard(stream, heardMs) {
    for (const sentence of stream.sentences.values()) {
      const { index, text, startMs, words } = sentence;
      if (startMs > heardMs) return;
      if (sentence.shown < 0) {
        sentence.shown = 0;
        this.#emit("sentence", { index, text, startMs });
      }
      for (; words[sentence.shown]?.startMs <= heardMs; sentence.shown += 1) this.#emit("word", words[sentence.shown]);
    }
  }
}
