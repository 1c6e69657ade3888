// The demo page: uses aloud.js as any page can, and shows messages, audio and figures. The server puts VERSION and
// HAS_MP3 before this file.

import { Aloud } from "./aloud.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const token = () => $("token").value || undefined;

// The network: a cut drops the connection, and lets none through for a while.

const CUT_MS = 1500;
const network = {
  isCut: false,
  outages: [], // { at, fromMs, toMs, ms }: places in the stream, and the length

  cut() {
    this.isCut = true;
    aloud.reconnect();
    // What is buffered covers it.
    setTimeout(() => {
      this.isCut = false;
      dispatchEvent(new Event("online"));
    }, Math.max(200, Math.min(CUT_MS, aloud.stats.bufferedMs - 400)));
  },

  follow(connection) {
    const { playedMs, underruns } = aloud.stats;
    const last = this.outages.at(-1);
    if (connection === "lost" && (!last || last.ms !== undefined)) {
      this.outages.push({ at: performance.now(), fromMs: playedMs, toMs: playedMs, underruns, wasPaused: false });
    } else if (connection !== "lost" && last && last.ms === undefined) {
      last.toMs = playedMs;
      last.ms = performance.now() - last.at;
      const length = `${(last.ms / 1000).toFixed(1)} s outage`;
      const isHeard = underruns > last.underruns;
      last.label = connection !== "open" ? "" : isHeard || last.wasPaused ? length : `played through a ${length}`;
      if (!last.label) return;
      $("outage").hidden = false;
      $("outage").textContent = isHeard ? `A ${length}, longer than the buffered audio. Speech goes on at the same byte.` : last.wasPaused ? `A ${length} while paused.` : `Played through a ${length}. No gap, no word lost.`;
      $("wave").setAttribute("aria-label", `Level of the speech, ${last.label}`);
    }
    if (last && aloud.state === "paused") last.wasPaused ||= last.ms === undefined;
  },
};

function Line(url, protocols) {
  if (!network.isCut) return new WebSocket(url, protocols);
  const dead = { close() {}, readyState: WebSocket.CLOSED };
  setTimeout(() => dead.onclose?.({ code: 1006, reason: "" }));
  return dead;
}

const aloud = new Aloud(undefined, { token, WebSocket: Line });

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
if (isMac) $("keys").querySelector("kbd").textContent = "⌘";

// The text, word by word.

const reader = {
  words: [], // { from, to, span }: positions in the text
  solid: "", // the text without white space
  places: [], // position in the text of each character of `solid`
  next: 0, // end of the last sentence in `solid`
  sentences: new Map(), // start of each sentence in `solid`, and its text
  current: undefined,

  /** Shows a text, read up to a position. */
  show(text, from = 0) {
    this.clear();
    for (const { 0: word, index } of text.matchAll(/\S+|\s+/g)) {
      if (/\s/.test(word)) {
        $("reader").append(word);
        continue;
      }
      this.add(word, index);
      for (let n = 0; n < word.length; n += 1) this.places.push(index + n);
      this.solid += word;
    }
    this.next = text.slice(0, from).replace(/\s/g, "").length;
    for (const word of this.words) if (word.to <= from) word.span.className = "said";
  },

  add(word, from) {
    const span = document.createElement("span");
    span.textContent = word;
    $("reader").append(span);
    this.words.push({ from, to: from + word.length, span });
  },

  clear() {
    $("reader").replaceChildren();
    Object.assign(this, { words: [], solid: "", places: [], next: 0, sentences: new Map(), current: undefined, isWritten: false });
  },

  /** Finds a sentence in the text. A sentence that was not typed here, such as a language model's, is added. */
  expect({ index, text }, isTyped) {
    const solid = text.replace(/\s/g, "");
    let at = isTyped ? this.solid.indexOf(solid, this.next) : -1;
    if (at < 0) {
      if (!this.isWritten) this.clear();
      this.isWritten = true;
      at = this.solid.length;
      const start = (this.places.at(-1) ?? -2) + 2;
      if (at > 0) $("reader").append(" ");
      for (const { 0: word, index } of text.matchAll(/\S+|\s+/g)) {
        if (/\s/.test(word)) $("reader").append(word);
        else this.add(word, start + index);
        for (let n = 0; n < word.length; n += 1) if (/\S/.test(word[n])) this.places.push(start + index + n);
      }
      this.solid += solid;
    }
    this.next = at + solid.length;
    this.sentences.set(index, { at, text });
  },

  /** Number of the word at a place in a sentence, or -1. */
  find(index, char) {
    const sentence = this.sentences.get(index);
    if (!sentence) return -1;
    const before = sentence.text.slice(0, char).replace(/\s/g, "").length;
    const place = this.places[sentence.at + before];
    return this.words.findIndex(({ to }) => place < to);
  },

  /** Marks words that the voice cannot say: they are not read. */
  skip(index, ranges = [[0, this.sentences.get(index)?.text.length ?? 0]]) {
    for (const [from, to] of ranges) {
      const [first, last] = [this.find(index, from), this.find(index, Math.max(from, to - 1))];
      for (let n = first; n >= 0 && n <= last; n += 1) this.words[n].span.dataset.skipped = "";
    }
  },

  say(span) {
    span.className = "skipped" in span.dataset ? "" : "said";
  },

  light({ index, charStart }) {
    const found = this.find(index, charStart);
    if (found < 0) return;
    for (let n = this.current ?? 0; n < found; n += 1) this.say(this.words[n].span);
    // The sentence may begin anew after a lost connection.
    for (let n = found + 1; n <= this.current; n += 1) this.words[n].span.className = "";
    this.current = found;
    const { span } = this.words[found];
    span.className = "now";
    // Only the text scrolls, not the page.
    const box = $("reader");
    const top = span.offsetTop - box.offsetTop;
    if (top < box.scrollTop + 24 || top > box.scrollTop + box.clientHeight - 72) box.scrollTop = top - box.clientHeight / 3;
  },

  finish() {
    for (const { span } of this.words) this.say(span);
  },
};

// The audio as bars: played ones before the line, buffered ones after it.

const BAR_MS = 50;
const wave = {
  bars: [],
  rate: 16_000,
  end: 0, // bytes received
  playedMs: 0,
  pieces: [], // the bytes, to save them

  clear() {
    [this.bars, this.end, this.playedMs, this.pieces] = [[], 0, 0, []];
    network.outages = [];
    $("wav").disabled = true;
    $("wave").setAttribute("aria-label", "Level of the speech");
    this.draw();
  },

  take({ data, offset }) {
    const samples = new Int16Array(data.buffer);
    const length = Math.round((this.rate * BAR_MS) / 1000);
    // An earlier place: the sentence begins anew after a lost connection.
    if (offset < this.end) {
      this.bars.length = Math.ceil(offset / 2 / length);
      while (this.end > offset) {
        const last = this.pieces.pop();
        this.end -= last.byteLength;
        if (this.end < offset) this.pieces.push(last.subarray(0, offset - this.end));
      }
    }
    this.pieces.push(data);
    $("wav").disabled = false;
    this.end = offset + data.byteLength;
    samples.forEach((sample, n) => {
      const bar = Math.floor((offset / 2 + n) / length);
      this.bars[bar] = Math.max(this.bars[bar] ?? 0, Math.abs(sample));
    });
    this.draw();
  },

  move(playedMs) {
    this.playedMs = playedMs;
    this.draw();
  },

  /** The received audio as a WAV file. */
  file() {
    const head = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((letter, n) => head.setUint8(at + n, letter.charCodeAt(0)));
    for (const [at, letters] of [[0, "RIFF"], [8, "WAVEfmt "], [36, "data"]]) text(at, letters);
    for (const [at, value] of [[4, 36 + this.end], [16, 16], [24, this.rate], [28, 2 * this.rate], [40, this.end]]) head.setUint32(at, value, true);
    for (const [at, value] of [[20, 1], [22, 1], [32, 2], [34, 16]]) head.setUint16(at, value, true);
    return new Blob([head, ...this.pieces], { type: "audio/wav" });
  },

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.paint();
    });
  },

  paint() {
    const canvas = $("wave");
    const scale = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    }
    const context = canvas.getContext("2d");
    const style = getComputedStyle(stage);
    const color = (name) => style.getPropertyValue(name).trim();
    const [accent, faint] = [color("--accent"), color("--faint")];
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const step = 5;
    const played = this.playedMs / BAR_MS;
    // The playback position stands, and the bars move; or it moves, and the bars turn like pages.
    const page = Math.floor(width / step);
    const line = isCalm.matches ? (played % page) * step : Math.round(width * 0.6);
    const isAsleep = this.bars.length === 0;
    for (let n = Math.floor(played - line / step) - 1; n < played + (width - line) / step + 1; n += 1) {
      const x = line + (n - played) * step;
      const level = Math.sqrt((this.bars[n] ?? 0) / 32768);
      const bar = Math.max(3, level * (height - 26));
      context.fillStyle = n < played && n >= 0 && !isAsleep ? accent : faint;
      context.globalAlpha = this.bars[n] === undefined ? 0.45 : 1;
      context.beginPath();
      context.roundRect(x, (height - bar) / 2 + 5, 3, bar, 1.5);
      context.fill();
    }
    context.globalAlpha = 1;
    if (isAsleep) return;
    for (const { fromMs, toMs, ms, label = "no network" } of network.outages) {
      const [from, to] = [fromMs, ms === undefined ? this.playedMs : toMs].map((at) => line + (at / BAR_MS - played) * step);
      context.fillStyle = accent;
      context.globalAlpha = 0.16;
      context.fillRect(from, 0, Math.max(2, to - from), height);
      context.globalAlpha = 1;
      context.fillRect(from, height - 3, Math.max(2, to - from), 3);
      context.fillStyle = color("--ink");
      context.font = `600 12px ${color("--sans")}`;
      context.fillText(label, Math.max(4, Math.min(from, width - context.measureText(label).width - 4)), 12);
    }
    context.fillStyle = color("--ink");
    context.fillRect(line - 1, 4, 1.5, height - 8);
  },
};
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
new ResizeObserver(() => wave.draw()).observe($("wave"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => wave.draw());

// Messages on the connection.

const MAX_ROWS = 500;
const log = {
  began: 0,
  messages: 0,
  last: undefined,

  clear() {
    this.began = performance.now();
    [this.messages, this.last] = [0, undefined];
    $("log").replaceChildren();
    $("count").textContent = "";
  },

  /** Adds a row. With `follows`, a row of the same name is updated instead. */
  row(direction, name, describe, follows) {
    const box = $("log");
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    if (follows && this.last?.name === name) this.last.times += 1;
    else {
      const row = document.createElement("div");
      row.className = direction;
      row.append(document.createElement("time"), document.createElement("i"), document.createElement("span"), document.createElement("code"));
      box.append(row);
      if (box.childElementCount > MAX_ROWS) box.firstElementChild.remove();
      this.last = { name, row, times: 1, bytes: 0 };
    }
    const [time, arrow, title, code] = this.last.row.children;
    time.textContent = ((performance.now() - this.began) / 1000).toFixed(3);
    arrow.textContent = direction === "in" ? "←" : "→";
    title.textContent = name;
    code.textContent = describe(this.last);
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  },

  take({ direction, message: { type, ...fields } }) {
    const json = JSON.stringify(fields);
    this.messages += 1;
    $("count").textContent = `(${this.messages})`;
    this.row(direction, type, () => (json === "{}" ? "" : json), type === "ack");
  },

  takeAudio({ data }) {
    this.row("in", "audio", (last) => {
      last.bytes += data.byteLength;
      return `${last.bytes.toLocaleString("en")} bytes in ${last.times} ${last.times === 1 ? "frame" : "frames"}`;
    }, true);
  },
};

// Figures.

function figure(id, value, unit = "") {
  const field = $(id);
  if (field.dataset.value === `${value}${unit}`) return;
  field.dataset.value = `${value}${unit}`;
  field.replaceChildren(value);
  if (!unit) return;
  const small = document.createElement("small");
  small.textContent = ` ${unit}`;
  field.append(small);
}

function showFigures({ firstAudioMs, receivedMs, playedMs, bufferedMs, wastedMs, reconnects }) {
  const seconds = (ms) => (ms / 1000).toFixed(1);
  figure("first", firstAudioMs === undefined ? "–" : String(firstAudioMs), firstAudioMs === undefined ? "" : "ms");
  figure("sent", seconds(receivedMs), "s");
  figure("played", seconds(playedMs), "s");
  figure("buffered", seconds(bufferedMs), "s");
  figure("wasted", seconds(wastedMs), "s");
  figure("reconnects", String(reconnects));
}

// Buttons.

const SAYS = {
  starting: ["Pause", "Starting …"],
  speaking: ["Pause", "Speaking."],
  waiting: ["Pause", "Waiting for audio …"],
  blocked: ["Pause", "Click or press a key: your browser requires this before it plays audio."],
  paused: ["Resume", "Paused."],
};

function showState() {
  const { state, connection } = aloud;
  const isIdle = state === "idle";
  const isLost = connection === "lost" && !isIdle;
  network.follow(connection);
  if (connection === "open" && $("trouble").textContent === DEAD) $("trouble").hidden = true;
  const [button, words] = SAYS[state] ?? ["Speak", "Ready."];
  stage.dataset.state = isLost ? "lost" : state;
  stage.toggleAttribute("data-plays", !isIdle && state !== "paused");
  $("speak").querySelector("span").textContent = button;
  $("stop").disabled = isIdle;
  $("cut").disabled = isIdle || connection !== "open";
  $("status").textContent = isLost ? "No network. Playing what is buffered …" : state === "starting" && connection === "connecting" ? "Connecting …" : isIdle ? (showState.last ?? words) : words;
}

/** Speaks the text from a position on. */
function speak(from = 0) {
  const text = $("text").value;
  const prompt = text.slice(from);
  $("trouble").hidden = $("outage").hidden = true;
  if (!prompt.trim()) {
    showState.last = "Nothing to speak: type a text first.";
    $("text").focus();
    return showState();
  }
  showState.last = undefined;
  network.isCut = false;
  reader.show(text, from);
  wave.clear();
  log.clear();
  stage.toggleAttribute("data-reads", true);
  $("captions").textContent = "";
  const voice = $("voice").value || undefined;
  let speed = Number($("speed").value);
  if (speed === 1) speed = undefined; // the server's default
  aloud.start({ prompt, voice, speed });
  aloud.unlock().then(setVolume, () => {});
  // The module tries for some seconds; say why at once.
  if (aloud.connection !== "open") isReachable().then((is) => is || aloud.connection === "open" || warn(DEAD));
}

let gain;
function setVolume(node) {
  if (node && gain?.context !== node.context) {
    gain = new GainNode(node.context);
    node.disconnect();
    node.connect(gain).connect(node.context.destination);
  }
  if (gain) gain.gain.value = ($("volume").value / 100) ** 2;
}

function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Lets the server make a file of the whole text. */
async function saveMp3() {
  const body = { model: "tts-1", input: $("text").value, voice: $("voice").value || undefined, speed: Number($("speed").value), response_format: "mp3" };
  const headers = { "Content-Type": "application/json", ...(token() && { Authorization: `Bearer ${token()}` }) };
  $("mp3").disabled = true;
  try {
    const answer = await fetch("v1/audio/speech", { method: "POST", headers, body: JSON.stringify(body) });
    if (answer.ok) return save(await answer.blob(), "aloud.mp3");
    if (answer.status === 401) $("token-choice").hidden = false;
    warn((await answer.json()).error.message);
  } catch {
    warn(DEAD);
  } finally {
    $("mp3").disabled = false;
  }
}

const DEAD = "The server does not answer. Start it, or look at your network, and speak again.";

const isReachable = () => fetch("api/voices", { cache: "no-store" }).then(() => true, () => false);

function warn(sentence) {
  $("trouble").hidden = false;
  $("trouble").textContent = sentence;
}

function count() {
  const { length } = [...$("text").value];
  $("length").textContent = `${length.toLocaleString("en")} ${length === 1 ? "character" : "characters"}`;
}

function act() {
  if (aloud.state === "idle") speak();
  else if (aloud.state === "paused") aloud.resume();
  else aloud.pause();
}

function edit() {
  stage.toggleAttribute("data-reads", false);
}

stage.addEventListener("submit", (event) => {
  event.preventDefault();
  act();
});
$("stop").addEventListener("click", () => aloud.cancel());
$("cut").addEventListener("click", () => network.cut());
$("volume").addEventListener("input", () => setVolume());
$("text").addEventListener("input", count);
$("wav").addEventListener("click", () => save(wave.file(), "aloud.wav"));
$("mp3").addEventListener("click", saveMp3);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && aloud.state !== "idle") aloud.cancel();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    act();
  }
});
// A click on a word goes on from there. When all is spoken, it returns to the editor.
$("reader").addEventListener("click", ({ target }) => {
  if (aloud.state !== "idle") {
    const word = reader.words.find(({ span }) => span === target);
    if (word && isTyped) speak(word.from);
    return;
  }
  edit();
  $("text").focus();
});
$("speed").addEventListener("input", () => {
  $("factor").textContent = `${Number($("speed").value).toFixed(1)}×`;
});

let isTyped = true;
aloud.on("state", showState);
aloud.on("stream", ({ audio, source }) => {
  wave.rate = audio.sampleRate;
  isTyped = source === "verbatim";
  move();
});
// The place moves with each picture, and the figures less often.
const move = () => {
  wave.move(aloud.stats.playedMs);
  if (aloud.state !== "idle") requestAnimationFrame(move);
};
aloud.on("text", (sentence) => reader.expect(sentence, isTyped));
aloud.on("sentence", ({ text }) => ($("captions").textContent = text));
aloud.on("word", (word) => reader.light(word));
aloud.on("audio", (audio) => {
  wave.take(audio);
  log.takeAudio(audio);
});
aloud.on("stats", showFigures);
aloud.on("message", (message) => log.take(message));
aloud.on("warning", ({ code, message, index, ranges }) => {
  warn(message);
  if (code === "unspeakable_text") reader.skip(index, ranges);
});
aloud.on("error", async ({ code, message, closeCode, index }) => {
  warn(message);
  if (code === "engine_no_audio") reader.skip(index);
  if (code === "unauthorized") $("token-choice").hidden = false;
  // A browser does not say why a handshake failed, nor why the player was not loaded. A server that answers has refused
  // the handshake, perhaps for want of a token.
  if (closeCode !== 1006 && code !== "no_audio_output") return;
  if (await isReachable()) $("token-choice").hidden &&= closeCode !== 1006;
  else if (aloud.state === "idle") warn(DEAD);
});
aloud.on("end", ({ reason }) => {
  showFigures(aloud.stats);
  const isSilent = wave.end === 0 && reason === "completed";
  if (!isSilent && (reason === "completed" || reason === "ended")) reader.finish();
  else edit();
  const words = { completed: "Finished.", cancelled: "Stopped.", error: "The stream failed.", expired: "The session reached its maximum length." };
  showState.last = isSilent ? "Nothing to speak: the voice found no word in this text." : (words[reason] ?? "Finished.");
  showState();
  if (reason === "completed") setTimeout(() => aloud.state === "idle" && edit(), 1500);
});

fetch("api/voices").then((answer) => answer.json()).then((voices) => {
  for (const { name, label } of voices) $("voice").append(new Option(label ?? name, name));
  $("voice-choice").hidden = voices.length < 2;
}, () => {});

$("version").textContent = VERSION;
if (HAS_MP3) fetch("v1/models").then(({ status }) => ($("mp3").hidden = status === 404), () => {});
count();

$("example").textContent = `<button id="speak">Speak</button>
<script type="module">
  import { Aloud } from "${new URL("aloud.js", location.href)}";
  const aloud = new Aloud();
  aloud.on("word", ({ text }) => console.log(text));
  speak.onclick = () => aloud.start("Good evening.");
</script>`;
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("example").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});
