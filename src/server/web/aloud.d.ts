export type Source = "verbatim" | "append" | "llm";

export interface AudioFormat {
  encoding: string;
  sampleRate: number;
  channels: 1;
  /** Of `opus` and `mp3`. */
  frameBytes?: number;
  frameMs?: number;
}

/** The server has defaults for missing fields. */
export interface StartOptions {
  prompt?: string;
  source?: Source;
  voice?: string;
  language?: string;
  /** 0.5 to 2. */
  speed?: number;
  /** Default here: `pcm_s16le`, which also replaces `opus` and `mp3` where they cannot be played. */
  audio?: { encoding?: string; sampleRate?: number; frameMs?: number };
  /** Default here: `word`. */
  timestamps?: "none" | "sentence" | "word";
  /** Default here: `paced` if audio is played. */
  delivery?: { mode: "burst" | "paced"; aheadMs?: number };
  segmentation?: { minChars?: number; maxChars?: number; firstClause?: boolean; idleMs?: number };
  /** Silence between sentences, in ms, from 0 to 5000. */
  pauses?: { sentenceMs?: number; paragraphMs?: number; headingMs?: number };
  /** Silence before the first audio, in ms, from 0 to 5000. */
  leadMs?: number;
  clean?: "none" | "markdown" | "html";
  /** Figures, signs and units become words. Default: the server's choice. */
  normalize?: boolean;
  /** Default here: true. */
  resumable?: boolean;
  /** Begins a `verbatim` text at this sentence, which another stream had at this byte. */
  from?: { index: number; offset: number; crc32?: string };
}

/** Messages of a client. */
export type ClientMessage =
  | ({ type: "start_session" } & StartOptions)
  | { type: "append"; text: string }
  | { type: "flush" | "pause" | "resume" }
  | { type: "cancel"; playedMs?: number }
  | { type: "ack"; playedMs: number }
  | { type: "update"; voice?: string; language?: string; speed?: number }
  | {
      type: "recover";
      sessionId: string;
      token: string;
      offset: number;
      stream?: number;
      rev?: number;
      /** Of the received audio since the last `text`. */
      crc32?: string;
      /** The sentence may begin anew in another take. */
      inexact?: boolean;
    }
  | { type: "auth"; token: string }
  | { type: "ping"; id?: string }
  | { type: "end"; drain?: boolean };

export interface Cancelled {
  type: "cancelled";
  index: number;
  offset: number;
  /** Cancels of the stream. */
  rev?: number;
  sentMs: number;
  playedMs: number;
  spokenText: string;
  wastedMs: number;
}

export interface Usage {
  chars: number;
  sentences: number;
  audioMs: number;
  synthesisedMs: number;
  wastedMs: number;
  firstAudioMs: number;
}

export type EndReason = "completed" | "ended" | "cancelled" | "expired" | "error";

/** Messages of a server. */
export type ServerMessage =
  | {
      type: "session_start";
      sessionId: string;
      protocol?: "aloud.v1";
      token?: string;
      pingIntervalMs?: number;
      audio?: AudioFormat;
      limits?: {
        maxPromptChars: number;
        maxMessageBytes: number;
        maxBufferedChars: number;
        aheadMs: number;
        resumeTtlMs: number;
        maxSessionMs: number;
      };
    }
  | { type: "stream_start"; stream?: number; rev?: number; audio: AudioFormat; voice: string; source: Source }
  | { type: "text"; data: string; index: number; offset?: number; startMs?: number }
  | {
      type: "timestamps";
      index: number;
      startMs: number;
      source: "engine" | "estimate";
      words: string[];
      start: number[];
      end: number[];
      charStart: number[];
      charEnd: number[];
      /** With `clean`: range of each word in the text of the stream, in UTF-16 units. */
      srcStart?: number[];
      srcEnd?: number[];
    }
  | { type: "sentence_end"; index: number; offset?: number; bytes?: number; durationMs?: number; crc32?: string }
  | { type: "flushed"; index: number }
  | { type: "paused" | "resumed"; offset: number }
  | Cancelled
  | {
      type: "recovered";
      recovered: true;
      offset: number;
      index: number;
      stream?: number;
      rev?: number;
      paused?: boolean;
      /** UTF-16 units of text that the server has. */
      textOffset?: number;
      /** `false`: the sentence at `offset` begins anew, in another take. */
      exact?: boolean;
    }
  | { type: "recovered"; recovered: false; code: string }
  | { type: "go_away"; timeLeftMs: number; reason: "shutdown" | "max_duration" }
  | { type: "warning"; code: string; message: string; index?: number; ranges?: [number, number][] }
  | { type: "pong"; id?: string }
  | { type: "error"; message: string; code?: string; retryable?: boolean; fatal?: boolean; index?: number }
  | { type: "session_end"; reason?: EndReason; usage?: Usage };

/** `blocked`: waits for a click or key. `waiting`: no audio to play yet. */
export type State = "idle" | "starting" | "speaking" | "waiting" | "paused" | "blocked";
/** `lost`: reconnects, and plays buffered audio. */
export type Connection = "closed" | "connecting" | "open" | "lost";

export interface Sentence {
  index: number;
  text: string;
  startMs: number;
}

export interface Word {
  index: number;
  text: string;
  charStart: number;
  charEnd: number;
  /** With `clean`: range in the text of the stream, the prompt and every `append`, in UTF-16 units. */
  srcStart?: number;
  srcEnd?: number;
  startMs: number;
  endMs: number;
}

export interface AloudError {
  /** From the server, or `connection_failed`, `session_lost`, `no_audio_output`, `unsupported_audio`. */
  code?: string;
  message: string;
  /** True if the stream ended. */
  fatal?: boolean;
  retryable?: boolean;
  index?: number;
  closeCode?: number;
}

/** Times in ms, `first…` from `start` on, and counts. */
export interface Stats {
  firstAudioMs?: number;
  firstHeardMs?: number;
  receivedMs: number;
  playedMs: number;
  bufferedMs: number;
  /** Synthesised and not played. */
  wastedMs: number;
  underruns: number;
  reconnects: number;
}

/** End of a stream, after playback. */
export interface Result extends Partial<Omit<Cancelled, "type">> {
  reason: EndReason;
  usage?: Usage;
  error?: AloudError;
}

export interface Events {
  state: { state: State; connection: Connection };
  stream: { audio: AudioFormat; source: Source; voice: string };
  /** A sentence was announced. */
  text: Sentence;
  /** Its playback starts, or starts anew after a lost connection. */
  sentence: Sentence;
  /** It is played now; without playback, it has arrived. */
  word: Word;
  /** Received bytes, and their place in the stream. They replace any from there on. */
  audio: { data: Uint8Array; offset: number };
  /** At most ten times a second, and at each shortage. */
  stats: Stats;
  /** `ranges` are places in the text of the sentence `index`. */
  warning: { code: string; message: string; index?: number; ranges?: [number, number][] };
  error: AloudError;
  end: Result;
  /** All messages, without secrets. */
  message: { direction: "in"; message: ServerMessage } | { direction: "out"; message: ClientMessage };
}

export interface Options {
  /** A function is called for each connection. */
  token?: string | (() => string | Promise<string>);
  /** Default: `message`. A refusal then differs from a lost network. */
  tokenIn?: "message" | "subprotocol";
  start?: StartOptions;
  /** Audio to buffer before playback starts, in ms; shortages raise it for a while. Default: 60; of `opus` and `mp3` 200. */
  bufferMs?: number;
  /** For servers that do not send it. Default: 16000. */
  sampleRate?: number;
  /** `false`: only bytes, as without AudioContext. */
  playback?: boolean;
  context?: AudioContext;
  destination?: AudioNode;
  /** URL of `aloud.js`, if it was moved. */
  worklet?: string;
  /** If there is no global one. */
  WebSocket?: unknown;
}

/** One stream at a time. Reconnects after a lost connection. */
export class Aloud {
  /** `https://host`, `ws://host/prefix`, …; default: the server of this file. */
  constructor(url?: string, options?: Options);
  readonly url: string;
  readonly state: State;
  readonly connection: Connection;
  readonly stats: Stats;
  readonly context: AudioContext | undefined;
  /** Returns a function that removes the listener. */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): () => void;
  /** As `on`, for the next event only. */
  once<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): () => void;
  /** Opens the connection ahead of `start`. It closes after 60 s unused. */
  connect(): void;
  /**
   * Replaces the running stream. Call it in a click or key event. The promise never rejects: a stream that fails
   * ends with the reason `error`, and with the same error as the event.
   */
  start(what?: string | StartOptions): Promise<Result>;
  /** Changes voice, language or speed of the running stream, from the next sentence on. */
  update(what: { voice?: string; language?: string; speed?: number }): void;
  /** More text for a stream with `source: "append"`, cut anywhere. */
  append(text: string): void;
  /** Speaks the buffered text without waiting for more. */
  flush(): void;
  pause(): void;
  resume(): void;
  /** Silences at once. An `append` stream stays open. */
  cancel(): Promise<Cancelled | undefined>;
  /** No more text: plays the rest, then closes the connection. */
  end(): void;
  /** Ends the stream, the connection and playback. */
  close(): void;
  /** Drops the connection and reconnects. */
  reconnect(): void;
  /** Allows playback: call it in a click or key event. Returns the node that plays. */
  unlock(): Promise<AudioNode | undefined>;
}
