// In the page: an Aloud whose audio goes through a recorder, and a diary of its events.

/** Runs in the audio thread: forwards its input and reports it block by block, with the time. */
function recorder() {
  class Recorder extends AudioWorkletProcessor {
    constructor() {
      super();
      this.blocks = [];
    }

    process([[input]], [[output]]) {
      if (input) output.set(input);
      this.blocks.push(input ? input.slice() : new Float32Array(128));
      if (this.blocks.length === 16) {
        this.port.postMessage({ frame: currentFrame - 15 * 128, blocks: this.blocks });
        this.blocks = [];
      }
      return true;
    }
  }
  registerProcessor("recorder", Recorder);
}

const wait = (ms) => new Promise((over) => setTimeout(over, ms));

export async function listen({ module, sampleRate = 16_000, url, ...options }) {
  const { Aloud } = await import(module);
  const context = new AudioContext({ sampleRate });
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([`(${recorder})()`], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(context, "recorder", { outputChannelCount: [1] });
  tap.connect(context.destination);
  let first;
  const recorded = [];
  let reports = 0;
  tap.port.onmessage = ({ data: { frame, blocks } }) => {
    first ??= frame;
    reports += 1;
    recorded.push(...blocks);
  };
  const aloud = new Aloud(url, { context, destination: tap, ...options });
  const diary = [];
  for (const type of ["state", "stream", "text", "sentence", "word", "warning", "error", "end", "message"]) {
    aloud.on(type, (event) => diary.push({ type, at: context.currentTime, event }));
  }
  const until = (type, matches = () => true) =>
    new Promise((resolve) => {
      const off = aloud.on(type, (event) => {
        if (!matches(event)) return;
        off();
        resolve(event);
      });
    });
  return {
    aloud,
    context,
    diary,
    wait,
    until,
    /** Waits until this much of the stream was played, in ms. */
    heard: (ms) => until("stats", ({ playedMs }) => playedMs >= ms),
    /** Returns the recording: 16-bit samples from the context's time `start` on. */
    async record() {
      // The recorder reports 16 quanta at a time, which is a quarter of a second at 8,000 Hz.
      // On a busy machine a report takes longer; a context that has stopped reports no more.
      const due = reports + 2;
      await wait((16 * 128 * 1000) / sampleRate + 120);
      for (let looks = 0; reports < due && looks < 100; looks += 1) await wait(20);
      const all = new Float32Array(recorded.length * 128);
      recorded.forEach((block, n) => all.set(block, n * 128));
      return { start: first / sampleRate, rate: sampleRate, samples: Array.from(all, (sample) => Math.round(sample * 32768)) };
    },
  };
}
