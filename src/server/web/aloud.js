// Speech from an aloud server: see aloud.d.ts. The audio thread loads this file again, for the player.

// The player. It uses no outside names: the audio thread may get only its source text.
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
  let cushion = 0;
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
    half = phases === 1 && step === 1 ? 0 : Math.ceil(HALF * Math.max(1, from / contextRate));
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

  return {
    receive(message) {
      if (message.chunk) {
        queue.push(new Int16Array(message.chunk));
        waiting += message.chunk.byteLength / 2;
      } else if (message.stream) {
        ({ stream } = message);
        tune(message.rate);
        clear(0);
        [end, over, held, fade] = [false, false, false, 0];
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
        if (!end && waiting < cushion && patience / contextRate < cushion / rate) return;
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

// Bundlers rewrite new URL(…, import.meta.url).
const here = import.meta.url;
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
    const send = (message, transfer) => node.port.postMessage(message, transfer);
    return { node, send, close: () => (node.disconnect(), send("close")) };
  }
  // Pages from plain http have no worklets.
  const node = context.createScriptProcessor(1024, 1, 1);
  const player = createPlayer(Math.round(context.sampleRate), onReport);
  node.onaudioprocess = ({ outputBuffer }) => player.render(outputBuffer.getChannelData(0));
  return { node, send: player.receive, close: () => node.disconnect() };
}

const PATH = "/api/session/ws";
const GESTURES = ["pointerdown", "keydown"];
const NORMAL = 1000; // closes the session
const DROPPED = 4900; // closes the connection only
const ACK_MS = 200; // of speech, between two acks
const QUIET_MS = 2000; // without data, then a ping; the same for its answer
const CONNECT_MS = 10_000;
const FIRST_TRIES = 4; // to reach a server the first time
const KEPT_MS = 30_000; // for a suspended session, if the server gives no time
const MAX_CUSHION_MS = 500;
const REST_MS = 30_000; // until the sound card may sleep

// After which close codes to reconnect, and the names of the final ones. A test compares this JSON with
// the server's tables.
const CLOSES = {
  "retryable": [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4429],
  "range": [4500, 4599],
  "final": {"4401": "unauthorized", "4403": "forbidden", "4404": "session_not_found", "4409": "session_taken", "4430": "slow_client"}
};
const isRetryable = (code) => CLOSES.retryable.includes(code) || (code >= CLOSES.range[0] && code <= CLOSES.range[1]);

function socketUrl(url) {
  const address = url === undefined ? new URL(`.${PATH}`, here) : new URL(url, globalThis.location?.href);
  if (!/^(http|ws)/.test(address.protocol)) throw new Error('Say where the server is: new Aloud("https://…").');
  address.protocol = address.protocol.replace("http", "ws");
  if (!address.pathname.endsWith(PATH)) address.pathname = address.pathname.replace(/\/$/, "") + PATH;
  return address.href;
}

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
  #session; // id and token, to recover
  #keptMs = KEPT_MS;
  #fault; // the error before a close
  #tries = 0;
  #lostAt;
  #retry;
  #watch;
  #lastWord = 0;
  #triedAt;

  #context;
  #output;
  #opening;
  #resting;
  #isBlocked = false;

  constructor(url, options = {}) {
    this.#url = socketUrl(url);
    this.#options = options;
    this.#clearStats();
    globalThis.addEventListener?.("online", this.#hurry);
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
    const stream = {
      id: (streams += 1),
      ask: typeof what === "string" ? { prompt: what } : what,
      began: performance.now(),
      isHeard: this.#context !== undefined,
      ms: (bytes) => (stream.rate ? bytes / 2 / stream.rate * 1000 : 0),
      offset: 0, // bytes to play
      wire: 0, // bytes as the server counts them
      shift: 0, // their difference, after a restart of the server
      sentences: new Map(),
      heardMs: 0,
      ackedMs: 0, // as the server counts
      pending: [],
      held: [], // audio that waits for the player
    };
    const result = new Promise((resolve) => (stream.resolve = resolve));
    this.#stream = stream;
    [this.#tries, this.#lostAt] = [0, undefined];
    this.#clearStats();
    this.#set("starting");
    this.#keepWatch();
    if (this.#isReady && !this.#isBusy) this.#begin();
    else if (!this.#socket && !this.#retry) this.#connect();
    return result;
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
    if (this.#isLive(stream)) this.#write(message);
    else stream.pending.push(message);
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
    if (!stream.held) this.#output.send({ held: isPaused });
    if (this.#isLive(stream)) this.#write({ type: isPaused ? "pause" : "resume" });
    this.#goOn(stream);
  }

  #goOn(stream, state = stream.hasSounded ? "speaking" : "starting") {
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
    stream.pending = [];
    if (stream.held) stream.held = [];
    else this.#output.send({ drop: true, over: !goesOn });
    if (!goesOn) this.#set("idle");
    const isKept = goesOn || stream.ask.source !== "append";
    if (isKept && stream.isOptedIn && this.#isLive(stream)) this.#askToCancel(stream);
    else {
      if (stream.isStarted && !stream.end) this.#disconnect();
      this.#cancelled(stream);
      if (!goesOn || stream.isStarted) this.#finish({ reason: "cancelled" });
    }
    return cancelling.result;
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
    this.#cancelled(stream);
    this.#finish({ reason: "cancelled" });
  }

  close() {
    globalThis.removeEventListener?.("online", this.#hurry);
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
    // Before any await: the user's gesture counts only now.
    if (!this.#context) {
      this.#context = given ?? new AudioContext();
      this.#context.addEventListener("statechange", this.#onContext);
    }
    const context = this.#context;
    clearTimeout(this.#resting);
    if (context.state !== "running") {
      context.resume().catch(() => {});
      setTimeout(this.#onContext, 300);
    }
    this.#opening ??= createOutput(context, worklet, this.#onReport).then(
      (output) => {
        if (context !== this.#context) return void output.close();
        this.#output = output;
        output.node.connect(destination ?? context.destination);
        if (this.#stream) this.#play(this.#stream);
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

  #finish(result) {
    const stream = this.#stream;
    if (!stream) return;
    void this.stats; // updates them
    this.#stats.bufferedMs = 0;
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
    if (!stream.held) this.#output.send({ drop: true, over: true });
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
      credential = typeof token === "function" ? await token() : token;
      if (this.#socket !== attempt) return; // closed meanwhile
      isOffered = credential && tokenIn === "subprotocol" && !isPlain;
      const protocols = isPlain ? [] : ["aloud.v1", ...(isOffered ? [`bearer.${credential}`] : [])];
      this.#socket = socket = new WebSocket(this.#url, protocols);
    } catch (error) {
      if (this.#socket !== attempt) return;
      this.#disconnect();
      return this.#fail("unauthorized", `Cannot connect: ${error.message}.`);
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
    // If a proxy removes the subprotocol, a browser fails the connection without a reason. So connect
    // without one; if that works, try once more with it, to know the cause.
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
    if (stream.cancelling && !stream.cancelling.goesOn) {
      this.#cancelled(stream);
      return this.#finish({ reason: "cancelled" });
    }
    const now = performance.now();
    this.#lostAt ??= now;
    const isOver = stream.wasStarted ? now - this.#lostAt > this.#keptMs : this.#tries >= FIRST_TRIES;
    if (!isRetryable(code) || isOver) {
      const name = CLOSES.final[code] ?? "connection_failed";
      const message = isRetryable(code)
        ? `${this.#url} cannot be reached, or refuses this page; a browser does not say which.`
        : `The server closed the connection: ${code} ${reason}`;
      return this.#fail(name, message, { ...this.#fault, fatal: true, closeCode: code });
    }
    this.#setConnection(stream.wasStarted ? "lost" : "connecting");
    const wait = this.#tries === 0 ? 20 : Math.min(10_000, 125 * 2 ** this.#tries);
    this.#tries += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2));
  }

  #hurry = () => {
    if (!this.#retry) return;
    clearTimeout(this.#retry);
    this.#connect();
  };

  #keepWatch() {
    clearInterval(this.#watch);
    let asked;
    this.#watch = setInterval(() => {
      const now = performance.now();
      if (this.#socket && !this.#isReady && now - this.#triedAt > CONNECT_MS) this.#drop();
      if (!this.#isBusy || !this.#isV1) this.#lastWord = now;
      if (now - this.#lastWord < QUIET_MS) asked = undefined;
      else if (asked === undefined) {
        asked = now;
        this.#write({ type: "ping" });
      } else if (now - asked > QUIET_MS) {
        asked = undefined;
        this.#drop();
      }
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
    else if (type === "recovered" && message.recovered) this.#onRecovered(stream);
    else if (type === "recovered") this.#onSessionLost(stream);
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
    this.#session = token && { sessionId, token };
    const stream = this.#stream;
    if (!stream?.isStarted) {
      this.#open();
      if (stream) this.#begin();
    } else if (stream.session) {
      this.#write({ type: "recover", ...stream.session, offset: stream.wire });
    } else this.#onSessionLost(stream);
  }

  #open() {
    this.#isReady = true;
    this.#setConnection("open");
  }

  #begin() {
    const stream = this.#stream;
    const { start } = this.#options;
    const ask = { timestamps: "word", ...start, ...stream.ask };
    ask.audio = { encoding: "pcm_s16le", ...ask.audio };
    if (stream.isHeard) ask.delivery ??= { mode: "paced" };
    if (this.#isV1) ask.resumable ??= true;
    else delete ask.resumable;
    Object.assign(stream, { isStarted: true, wasStarted: true, wire: 0, ackedMs: 0, isPausedThere: false });
    stream.session = ask.resumable ? this.#session : undefined;
    this.#isBusy = true;
    this.#write({ type: "start_session", ...ask });
    this.#catchUp(stream);
  }

  #catchUp(stream) {
    if (stream.cancelling) this.#askToCancel(stream);
    else if (Boolean(stream.isPaused) !== stream.isPausedThere) this.#write({ type: stream.isPaused ? "pause" : "resume" });
    for (const message of stream.pending.splice(0)) this.#write(message);
  }

  #onRecovered(stream) {
    this.#isBusy = true;
    this.#stats.reconnects += 1;
    this.#open();
    this.#catchUp(stream);
    if (stream.ackedMs > 0) this.#acknowledge(stream, 0);
  }

  // The server was restarted, for example. A text is spoken again; its received part is skipped.
  #onSessionLost(stream) {
    if ((stream.source ?? stream.ask.source ?? "verbatim") !== "verbatim") {
      this.#disconnect();
      return this.#fail("session_lost", "The server no longer has this session.");
    }
    const last = [...stream.sentences.values()].at(-1);
    stream.skip = last && { index: last.index, bytes: stream.offset - last.offset };
    stream.isStarted = false;
    this.#stats.reconnects += 1;
    this.#drop();
  }

  #onStreamStart(stream, { audio, source, voice }) {
    Object.assign(stream, { source, isOptedIn: true });
    this.#emit("stream", { audio, source, voice });
    if (audio.encoding === "pcm_s16le") this.#setRate(stream, audio.sampleRate);
    else this.#fail("unsupported_audio", `Cannot play ${audio.encoding}, only pcm_s16le.`);
  }

  #setRate(stream, rate) {
    stream.rate ??= rate;
    stream.cushionMs ??= this.#options.bufferMs ?? 60;
    this.#play(stream);
  }

  #play(stream) {
    const { id, rate, held } = stream;
    if (!this.#output || !rate || !held) return;
    this.#output.send({ stream: id, rate, cushion: (stream.cushionMs * rate) / 1000 });
    for (const chunk of held) this.#output.send({ chunk });
    stream.held = undefined;
    if (stream.isPaused) this.#output.send({ held: true });
    if (stream.end) this.#output.send({ end: true });
  }

  #onText(stream, { data, index, offset = stream.offset - stream.shift }) {
    // A base server does not send its rate.
    if (!stream.rate) this.#setRate(stream, this.#options.sampleRate ?? 16_000);
    stream.isInSentence = true;
    if (stream.skip) {
      if (index > stream.skip.index) this.#skipped(stream, stream.wire);
      else stream.skip.at = index;
    }
    if (stream.cancelling || stream.sentences.has(index)) return;
    const startMs = Math.round(stream.ms(offset + stream.shift));
    const sentence = { index, text: data, startMs, offset: offset + stream.shift, words: [], shown: -1 };
    stream.sentences.set(index, sentence);
    this.#emit("text", { index, text: data, startMs });
    if (!stream.isHeard) this.#showHeard(stream, Infinity);
  }

  #onTimestamps(stream, { index, words, start, end, charStart, charEnd }) {
    const sentence = stream.sentences.get(index);
    if (!sentence || stream.cancelling) return;
    const last = sentence.words.at(-1)?.charStart ?? -1;
    words.forEach((text, n) => {
      const [startMs, endMs] = [sentence.startMs + start[n], sentence.startMs + end[n]];
      const word = { index, text, startMs, endMs, charStart: charStart[n], charEnd: charEnd[n] };
      if (charStart[n] > last) sentence.words.push(word);
    });
    if (!stream.isHeard) this.#showHeard(stream, Infinity);
  }

  #onAudio(data) {
    const stream = this.#stream;
    if (!stream?.isStarted) return;
    [this.#tries, this.#lostAt] = [0, undefined];
    stream.wire += data.byteLength;
    const { skip } = stream;
    if (skip) {
      const part = skip.at === skip.index ? Math.min(skip.bytes, data.byteLength) : data.byteLength;
      if (skip.at === skip.index) skip.bytes -= part;
      this.#acknowledge(stream, ACK_MS);
      if (part === data.byteLength) return;
      data = data.slice(part);
      this.#skipped(stream, stream.wire - data.byteLength);
    }
    if (stream.cancelling) return;
    this.#stats.firstAudioMs ??= Math.round(performance.now() - stream.began);
    if (this.#listeners.get("audio")?.size) {
      this.#emit("audio", { data: new Uint8Array(data.slice(0)), offset: stream.offset });
    }
    stream.offset += data.byteLength;
    if (!stream.isHeard) stream.heardMs = stream.ms(stream.offset);
    else if (stream.held) stream.held.push(data);
    else this.#output.send({ chunk: data }, [data]);
  }

  #skipped(stream, wire) {
    stream.shift = stream.offset - wire;
    stream.skip = undefined;
  }

  #onCancelled(stream, message) {
    const { goesOn } = stream.cancelling;
    this.#stats.wastedMs += message.wastedMs;
    this.#cancelled(stream, message);
    if (!goesOn) return this.#finish({ ...message, reason: "cancelled" });
    stream.offset = message.offset;
    stream.heardMs = stream.ackedMs = stream.ms(stream.offset);
    for (const [index, { shown, words }] of stream.sentences) {
      if (shown < 0) stream.sentences.delete(index);
      else words.length = shown;
    }
    if (!stream.held) this.#output.send({ drop: true, over: false, position: stream.offset / 2 });
    this.#catchUp(stream);
  }

  #onEnd({ reason = "completed", usage }) {
    this.#isBusy = false;
    const stream = this.#stream;
    if (!stream || stream.end) return;
    if (!stream.isStarted) return this.#begin();
    stream.end = { reason, usage };
    if (usage) this.#stats.wastedMs = usage.wastedMs;
    if (stream.cancelling) {
      this.#cancelled(stream);
      this.#finish({ reason: "cancelled", usage });
    } else if (!stream.isHeard || stream.offset === 0) this.#finish(stream.end);
    else if (!stream.held) this.#output.send({ end: true });
  }

  #onError(error) {
    const { code, message, fatal } = error;
    const stream = this.#stream;
    // The close that follows decides.
    if (fatal) this.#fault = error;
    // The stream had just ended; or the server needs no credential.
    else if (/^(not_started|nothing_to_cancel)$/.test(code) || (code === "unknown_type" && this.#options.token)) return;
    else if (!this.#isReady || !stream?.isStarted || stream.rate) this.#emit("error", error);
    else {
      // The stream was refused.
      this.#isBusy = false;
      this.#fail(code, message, error);
    }
  }

  // Playback.

  #onReport = ({ stream: id, position, dry, over }) => {
    const stream = this.#stream;
    if (id !== stream?.id || stream.cancelling) return;
    const { rate } = stream;
    const latency = over ? 0 : this.#context.outputLatency || this.#context.baseLatency || 0;
    stream.heardMs = Math.max(stream.heardMs, (position / rate - latency) * 1000);
    if (!dry) stream.hasSounded = true;
    if (!dry) this.#stats.firstHeardMs ??= Math.round(performance.now() - stream.began);
    this.#goOn(stream, dry ? "waiting" : "speaking");
    this.#showHeard(stream, stream.heardMs);
    if (dry && stream.isInSentence) {
      this.#stats.underruns += 1;
      stream.cushionMs = Math.min(MAX_CUSHION_MS, 2 * stream.cushionMs);
      this.#output.send({ cushion: (stream.cushionMs * rate) / 1000 });
    }
    this.#acknowledge(stream, dry ? 1 : ACK_MS);
    this.#emit("stats", this.stats);
    if (over) this.#finish(stream.end);
  };

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
