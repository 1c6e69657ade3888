// The demo page: uses aloud.js as any page can, and shows messages, audio and figures.

import { Aloud } from "./aloud.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const aloud = new Aloud(undefined, { token: () => $("token").value || undefined });

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

  show(text) {
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

  light({ index, charStart }) {
    const sentence = this.sentences.get(index);
    if (!sentence) return;
    const before = sentence.text.slice(0, charStart).replace(/\s/g, "").length;
    const place = this.places[sentence.at + before];
    const found = this.words.findIndex(({ to }) => place < to);
    if (found < 0) return;
    for (let n = this.current ?? 0; n < found; n += 1) this.words[n].span.className = "said";
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
    for (const { span } of this.words) span.className = "said";
  },
};

// The audio as bars: played ones before the line, buffered ones after it.

const BAR_MS = 50;
const wave = {
  bars: [],
  rate: 16_000,
  end: 0, // bytes received
  playedMs: 0,

  clear() {
    [this.bars, this.end, this.playedMs] = [[], 0, 0];
    this.draw();
  },

  take({ data, offset }) {
    const samples = new Int16Array(data.buffer);
    const length = Math.round((this.rate * BAR_MS) / 1000);
    // An earlier place: the sentence begins anew after a lost connection.
    if (offset < this.end) this.bars.length = Math.ceil(offset / 2 / length);
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
    const line = Math.round(width * 0.6); // the playback position
    const played = this.playedMs / BAR_MS;
    const isAsleep = this.bars.length === 0;
    for (let n = Math.floor(played - line / step) - 1; n < played + (width - line) / step + 1; n += 1) {
      const x = line + (n - played) * step;
      const level = Math.sqrt((this.bars[n] ?? 0) / 32768);
      const bar = Math.max(3, level * (height - 16));
      context.fillStyle = n < played && n >= 0 && !isAsleep ? accent : faint;
      context.globalAlpha = this.bars[n] === undefined ? 0.45 : 1;
      context.beginPath();
      context.roundRect(x, (height - bar) / 2, 3, bar, 1.5);
      context.fill();
    }
    context.globalAlpha = 1;
    if (isAsleep) return;
    context.fillStyle = color("--ink");
    context.fillRect(line - 1, 4, 1.5, height - 8);
  },
};
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
  const [button, words] = SAYS[state] ?? ["Speak", "Ready."];
  stage.dataset.state = isLost ? "lost" : state;
  stage.toggleAttribute("data-plays", !isIdle && state !== "paused");
  $("speak").querySelector("span").textContent = button;
  $("stop").disabled = isIdle;
  $("cut").disabled = isIdle || connection !== "open";
  $("status").textContent = isLost ? "Connection lost. Reconnecting …" : isIdle ? (showState.last ?? words) : words;
}

function speak() {
  showState.last = undefined;
  $("trouble").hidden = true;
  reader.show($("text").value);
  wave.clear();
  log.clear();
  stage.toggleAttribute("data-reads", true);
  $("captions").textContent = "";
  const voice = $("voice").value || undefined;
  let speed = Number($("speed").value);
  if (speed === 1) speed = undefined; // the server's default
  aloud.start({ prompt: $("text").value, voice, speed });
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
$("cut").addEventListener("click", () => aloud.reconnect());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && aloud.state !== "idle") aloud.cancel();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    act();
  }
});
// A click on the spoken text returns to the editor.
$("reader").addEventListener("click", () => {
  if (aloud.state !== "idle") return;
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
aloud.on("warning", ({ message }) => (($("trouble").hidden = false), ($("trouble").textContent = message)));
aloud.on("error", ({ code, message, closeCode }) => {
  $("trouble").hidden = false;
  $("trouble").textContent = message;
  // A credential may be missing: a browser does not say why a server refused a page.
  if (code === "unauthorized" || closeCode === 1006) $("token-choice").hidden = false;
});
aloud.on("end", ({ reason }) => {
  showFigures(aloud.stats);
  if (reason === "completed" || reason === "ended") reader.finish();
  else edit();
  const words = { completed: "Finished.", cancelled: "Stopped.", error: "The stream failed.", expired: "The session reached its maximum length." };
  showState.last = words[reason] ?? "Finished.";
  showState();
  if (reason === "completed") setTimeout(() => aloud.state === "idle" && edit(), 1500);
});

fetch("api/voices").then((answer) => answer.json()).then((voices) => {
  for (const { name, label } of voices) $("voice").append(new Option(label ?? name, name));
  $("voice-choice").hidden = voices.length < 2;
}, () => {});

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
