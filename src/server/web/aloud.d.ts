export type Source = "verbatim" | "append" | "llm";

export interface AudioFormat {
  encoding: string;
  sampleRate: number;
  channels: 1;
}

/** What is left out is up to the server. */
export interface StartOptions {
  prompt?: string;
  source?: Source;
  voice?: string;
  language?: string;
  /** 0.5 to 2. */
  speed?: number;
  audio?: { encoding?: string; sampleRate?: number; frameMs?: number };
  /** Default here: `word`. */
  timestamps?: "none" | "sentence" | "word";
  /** Default here: `paced`, where there is someone to hear it. */
  delivery?: { mode: "burst" | "paced"; aheadMs?: number };
  segmentation?: { minChars?: number; maxChars?: number; firstClause?: boolean; idleMs?: number };
  clean?: "none" | "markdown";
  /** Default here: true. */
  resumable?: boolean;
}

/** What a client says. */
export type ClientMessage =
  | ({ type: "start_session" } & StartOptions)
  | { type: "append"; text: string }
  | { type: "flush" | "pause" | "resume" }
  | { type: "cancel"; playedMs?: number }
  | { type: "ack"; playedMs: number }
  | { type: "update"; voice?: string; language?: string; speed?: number }
  | { type: "recover"; sessionId: string; token: string; offset: number }
  | { type: "auth"; token: string }
  | { type: "ping"; id?: string }
  | { type: "end"; drain?: boolean };

export interface Cancelled {
  type: "cancelled";
  index: number;
  offset: number;
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

/** What a server says. */
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
  | { type: "stream_start"; audio: AudioFormat; voice: string; source: Source }
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
    }
  | { type: "sentence_end"; index: number; offset?: number; bytes?: number; durationMs?: number; crc32?: string }
  | { type: "flushed"; index: number }
  | { type: "paused" | "resumed"; offset: number }
  | Cancelled
  | { type: "recovered"; recovered: true; offset: number; index: number }
  | { type: "recovered"; recovered: false; code: string }
  | { type: "go_away"; timeLeftMs: number; reason: "shutdown" | "max_duration" }
  | { type: "warning"; code: string; message: string }
  | { type: "pong"; id?: string }
  | { type: "error"; message: string; code?: string; retryable?: boolean; fatal?: boolean; index?: number }
  | { type: "session_end"; reason?: EndReason; usage?: Usage };

/** `blocked`: the browser waits for a click or key. `waiting`: nothing has come that could be heard. */
export type State = "idle" | "starting" | "speaking" | "waiting" | "paused" | "blocked";
/** `lost`: it comes back, and what was received is heard meanwhile. */
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
  startMs: number;
  endMs: number;
}

export interface AloudError {
  /** The server's, or `connection_failed`, `session_lost`, `no_audio_output`, `unsupported_audio`. */
  code?: string;
  message: string;
  /** The stream is over. */
  fatal?: boolean;
  retryable?: boolean;
  index?: number;
  closeCode?: number;
}

/** Milliseconds of speech, but for the counts; `first…` are since `start`. */
export interface Stats {
  firstAudioMs?: number;
  firstHeardMs?: number;
  receivedMs: number;
  playedMs: number;
  bufferedMs: number;
  /** Made by the server, and not heard. */
  wastedMs: number;
  underruns: number;
  reconnects: number;
}

/** How a stream ended, once all of it was heard. */
export interface Result extends Partial<Omit<Cancelled, "type">> {
  reason: EndReason;
  usage?: Usage;
  error?: AloudError;
}

export interface Events {
  state: { state: State; connection: Connection };
  stream: { audio: AudioFormat; source: Source; voice: string };
  /** A sentence is on its way. */
  text: Sentence;
  /** It is heard from now on. */
  sentence: Sentence;
  /** It is heard now; without playback, it has arrived. */
  word: Word;
  /** Bytes as they arrive, and their place in the stream. */
  audio: { data: Uint8Array; offset: number };
  stats: Stats;
  warning: { code: string; message: string };
  error: AloudError;
  end: Result;
  /** All that is said on the wire, but for secrets. */
  message: { direction: "in"; message: ServerMessage } | { direction: "out"; message: ClientMessage };
}

export interface Options {
  /** For each connection anew, if it is a function: tokens may be short-lived. */
  token?: string | (() => string | Promise<string>);
  /** `message` (the default): the first message, so that a refusal can be told from a lost network. */
  tokenIn?: "message" | "subprotocol";
  start?: StartOptions;
  /** How much has to be there before it sounds. Default: 60. */
  bufferMs?: number;
  /** Of a server that does not tell it. Default: 16000. */
  sampleRate?: number;
  /** `false`: no sound, only bytes; so it is where there is no AudioContext. */
  playback?: boolean;
  context?: AudioContext;
  destination?: AudioNode;
  /** Where `aloud.js` is, if it was moved. */
  worklet?: string;
  /** Where there is no global one. */
  WebSocket?: unknown;
}

/** Speech from a server: one stream at a time, on a connection that comes back when it is lost. */
export class Aloud {
  /** `https://host`, `ws://host/prefix`, …; default: the server that this file came from. */
  constructor(url?: string, options?: Options);
  readonly url: string;
  readonly state: State;
  readonly connection: Connection;
  readonly stats: Stats;
  readonly context: AudioContext | undefined;
  /** Returns what removes the listener. */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): () => void;
  /** Speaks, in place of what is spoken now. Call it in a click or key event. Never rejects. */
  start(what?: string | StartOptions): Promise<Result>;
  /** More text for a stream with `source: "append"`, cut anywhere. */
  append(text: string): void;
  /** Speaks what was appended as it stands. */
  flush(): void;
  pause(): void;
  resume(): void;
  /** Silence, at once. An `append` stream stays open for more. */
  cancel(): Promise<Cancelled | undefined>;
  /** No more text: what there is will be heard, and the connection closed. */
  end(): void;
  /** Ends all at once, for good. */
  close(): void;
  /** Drops the connection and comes back, as after a lost network. */
  reconnect(): void;
  /** Call it in a click or key event to be heard later without. Gives the node that sounds. */
  unlock(): Promise<AudioNode | undefined>;
}
