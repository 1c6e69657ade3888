//! Declarations of the options that are no field of [`Config`], and the list of all options.
//!
//! To add an option, add a declaration: here and read it in the file that needs it, or beside a
//! field of [`Config`] or [`Admission`](aloud::settings::Admission), and nothing more.

use aloud::Config;
use aloud::setting::{
    BENCH, ECHO, ENCODINGS, Group, Kind, MAX_MS, SAY, SERVE, Setting, choice, flag, number, real, text, whole,
};

/// Commands that may run a server of their own.
const OWN: &[&str] = &[SERVE, SAY];

const MILLISECONDS: &str = "milliseconds";
const RATE: &str = "samples per second";

/// Variables that hold a secret: name, the option that names a file with it, and the meaning. A secret itself
/// is no option: every user of the machine can read the command line. Programs that the server starts do not
/// inherit these variables.
pub(super) const SECRETS: [Secret; 3] = [
    Secret {
        variable: "ALOUD_ENGINE_KEY",
        file_option: "engine-key-file",
        meaning: "The key for the speech service, in place of `--engine-key-file`.",
    },
    Secret {
        variable: "ALOUD_LLM_KEY",
        file_option: "llm-key-file",
        meaning: "The key for the language model, in place of `--llm-key-file`.",
    },
    Secret {
        variable: "ALOUD_TOKEN",
        file_option: "token-file",
        meaning: "The token that say shows to the server at `--url`, in place of `--token-file`.",
    },
];

/// A secret in the environment.
pub(super) struct Secret {
    pub(super) variable: &'static str,
    pub(super) file_option: &'static str,
    pub(super) meaning: &'static str,
}

const ENGINES: &[(&str, &str)] = &[
    ("flite", "the voice inside the program"),
    ("neural", "natural voices from files, `--voice-file`; needs a build with `--features neural`"),
    ("tone", "a test sound, the same length for every sentence"),
    ("command", "the program that `--command` names"),
    ("speech", "a service with OpenAI's `/v1/audio/speech`"),
    ("elevenlabs", "the ElevenLabs service"),
    ("wyoming", "a server with Wyoming, the protocol of Home Assistant, such as wyoming-piper"),
];

const ENGINES_INSIDE: &[(&str, &str)] =
    &[("flite", "the voice inside the program"), ("tone", "a test sound, which costs next to nothing")];

const SAMPLES: &[(&str, &str)] = &[
    ("pcm_u8", ""),
    ("pcm_s16le", ""),
    ("pcm_s16be", ""),
    ("pcm_s24le", ""),
    ("pcm_s32le", ""),
    ("pcm_f32le", ""),
    ("pcm_f64le", ""),
    ("mulaw", ""),
    ("alaw", ""),
];

/// Returns all options, those of each command in the order of help texts.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    OPTIONS.iter().chain(Config::settings().filter(|setting| !setting.name.is_empty()))
}

/// Returns the options of this command.
pub(super) fn of(command: &str) -> Vec<&'static Setting> {
    let mut options: Vec<_> = all().filter(|setting| setting.commands.contains(&command)).collect();
    options.sort_by_key(|setting| setting.group);
    options
}

const OPTIONS: &[Setting] = &[
    Setting {
        short: "Address to listen on.",
        long: "Port 0 takes any free port; `unix:PATH` is a socket in the file system. \
               Sockets that systemd hands over (LISTEN_FDS) replace this address.",
        default: "127.0.0.1:8080",
        ..text("listen", "HOST:PORT", "HOST:PORT or unix:PATH", Group::Address, &[SERVE, ECHO])
    },
    // Access.
    Setting {
        short: "Credential that clients need.",
        default: "none",
        ..choice("auth", "KIND", AUTH, Group::Access, &[SERVE])
    },
    Setting {
        short: "Let other machines in without a credential.",
        long: "Without this option the server does not start with `--auth none` on an address that other machines can \
               reach, and with `--admin` on such an address. This holds for sockets that systemd hands over, too.",
        ..flag("insecure", Group::Access, &[SERVE])
    },
    Setting {
        short: "File with the tokens for `--auth token`.",
        long: "Each line holds the SHA-256 of a token, a space and the name of its client. \
               The server reads the file again when it changes.",
        ..text("auth-tokens", "FILE", "a file name", Group::Access, &[SERVE])
    },
    Setting {
        short: "File with the key for `--auth jwt`.",
        long: "A public key in PEM, RSA (RS256) or Ed25519 (EdDSA), or else a secret of 32 bytes or more (HS256).",
        ..text("jwt-key-file", "FILE", "a file name", Group::Access, &[SERVE])
    },
    Setting {
        short: "Required aud of JSON Web Tokens.",
        long: "The aud must be this name, or contain it. Without this option, tokens with an aud are refused.",
        ..text("jwt-audience", "NAME", "a name", Group::Access, &[SERVE])
    },
    Setting {
        short: "Required iss of JSON Web Tokens.",
        default: "any",
        ..text("jwt-issuer", "NAME", "a name", Group::Access, &[SERVE])
    },
    aloud::settings::JWT_LEEWAY,
    // Speech.
    Setting {
        short: "Engine that turns text into speech.",
        default: "flite",
        ..choice("engine", "NAME", ENGINES, Group::Speech, OWN)
    },
    Setting {
        short: "File of a natural voice, for `--engine neural`.",
        long: "Clients ask for the voice by NAME; without it, a known file has a name, and another one that of the file. \
               The first voice is the default. Without this option, all voices in `~/.local/share/aloud/voices` (or \
               `$XDG_DATA_HOME/aloud/voices`) are loaded. `aloud voices` lists them, and says how to get one.",
        kind: Kind::List("NAME=FILE or FILE, with commas between several"),
        ..text("voice-file", "NAME=FILE", "NAME=FILE or FILE", Group::Speech, OWN)
    },
    Setting {
        short: "Length of each sentence with the tone engine.",
        range: real(0.001, 1e9, "seconds"),
        default: "2",
        ..number("tone-seconds", "S", Group::Speech, OWN)
    },
    Setting {
        short: "Threads of the server.",
        long: "Each serves its own connections. As many sentences are in synthesis at once.",
        range: whole(1, 256, "threads"),
        default: "number of cores",
        ..number("threads", "N", Group::Speech, OWN)
    },
    // An engine outside of this program.
    Setting {
        short: "Program that speaks, with its arguments.",
        long: "It runs once for each sentence, and writes a WAV or bare samples. Quotes work as in a shell; \
               nothing else of a shell does. A placeholder inside of the script of `sh -c` is refused; pass it as an argument: \
               `sh -c '… \"$1\"' sh {text}`. Placeholders: `{text}` is the sentence, which is otherwise on \
               standard input; `{voice}`, `{language}` and `{speed}`; `{wpm}` is 175 words per minute times the speed; \
               `{length_scale}` is 1 divided by the speed; `{sample_rate}` is `--engine-sample-rate`.",
        ..text("command", "COMMAND", "a program with its arguments, in quotes", Group::Program, OWN)
    },
    Setting {
        short: "Voices for clients to choose, the default first.",
        long: "With speech the default is alloy, with wyoming that of the server. elevenlabs needs the ids of its voices.",
        ..text("voices", "A,B,C", "names with commas between them, the default first", Group::Outside, OWN)
    },
    Setting {
        short: "Language for clients that name none.",
        default: "en",
        ..text("language", "TAG", "a tag such as en or pt-BR", Group::Program, &[SERVE])
    },
    Setting {
        short: "Encoding of samples without a WAV header.",
        long: "Without this option such audio is refused.",
        ..choice("engine-encoding", "NAME", SAMPLES, Group::Program, OWN)
    },
    Setting {
        short: "Sample rate of samples without a WAV header.",
        long: "For speech, of pcm whose Content-Type has no rate. elevenlabs is asked for this rate: 8000, 16000, \
               22050, 24000, 32000, 44100 or 48000. For wyoming, of clients that ask for none.",
        range: whole(4_000, 192_000, RATE),
        default: "22050",
        ..number("engine-sample-rate", "HZ", Group::Outside, OWN)
    },
    Setting {
        short: "Channels of samples without a WAV header.",
        long: "They are mixed into one.",
        range: whole(1, 16, "channels"),
        default: "1",
        ..number("engine-channels", "N", Group::Program, OWN)
    },
    Setting {
        short: "Gain applied to the engine's audio.",
        long: "Peaks stay below -1 dBFS at the engine's own sample rate.",
        range: real(-60.0, 60.0, "dB"),
        default: "0",
        ..number("engine-gain", "DB", Group::Outside, OWN)
    },
    Setting {
        short: "Silence kept before each sentence.",
        range: whole(0, 2_000, MILLISECONDS),
        default: "20",
        ..number("engine-lead-ms", "MS", Group::Outside, OWN)
    },
    Setting {
        short: "Silence kept after each sentence.",
        range: whole(0, 2_000, MILLISECONDS),
        default: "120",
        ..number("engine-tail-ms", "MS", Group::Outside, OWN)
    },
    Setting {
        short: "Time for the first audio of a sentence.",
        range: whole(100, 3_600_000, MILLISECONDS),
        default: "20000",
        ..number("engine-first-byte-ms", "MS", Group::Outside, OWN)
    },
    Setting {
        short: "Longest pause between two pieces of audio.",
        range: whole(100, 3_600_000, MILLISECONDS),
        default: "10000",
        ..number("engine-idle-ms", "MS", Group::Outside, OWN)
    },
    Setting {
        short: "Time for a whole sentence.",
        long: "Time in which the engine waits for the listener does not count.",
        range: whole(100, 3_600_000, MILLISECONDS),
        default: "120000",
        ..number("engine-total-ms", "MS", Group::Outside, OWN)
    },
    // A service as the engine.
    Setting {
        short: "Address of the speech service.",
        long: "`http://HOST:PORT`, with a path if the service needs one; `tcp://HOST:PORT` for wyoming. Several are \
               asked in their order: one that fails is left out for 30 s. Separate them by commas, or repeat the option.",
        default: "`https://api.elevenlabs.io` for elevenlabs",
        kind: Kind::List("http://HOST:PORT, with commas between several"),
        ..text("engine-url", "URL", "http://HOST:PORT", Group::HttpEngine, OWN)
    },
    Setting {
        short: "File with the key for the service.",
        long: "It holds nothing else. Or put the key into the variable `ALOUD_ENGINE_KEY`. The command line takes no key.",
        ..text("engine-key-file", "FILE", "a file name", Group::HttpEngine, OWN)
    },
    Setting {
        short: "Model of the service.",
        default: "tts-1 for speech, eleven_flash_v2_5 for elevenlabs",
        ..text("engine-model", "NAME", "the name of a model", Group::HttpEngine, OWN)
    },
    Setting {
        short: "Audio format that speech is asked for.",
        default: "wav",
        ..choice("engine-format", "NAME", &[("wav", ""), ("pcm", "")], Group::HttpEngine, OWN)
    },
    Setting {
        short: "Path of the requests to a speech service.",
        long: "For speech, where the service has another interface than OpenAI's. It follows the path in the URL.",
        default: "/v1/audio/speech",
        ..text("engine-path", "PATH", "a path that begins with /", Group::HttpEngine, OWN)
    },
    Setting {
        short: "Body of the requests to a speech service.",
        long: "For speech: a JSON object, in whose strings `{text}` is the sentence, such as `{\"text\": \"{text}\"}`. \
               `{voice}`, `{language}`, `{speed}`, `{length_scale}`, `{wpm}` and `{sample_rate}` are as in `--command`; \
               a string that is one of the last four alone becomes a number.",
        default: "that of OpenAI",
        ..text("engine-body", "JSON", "a JSON object with {text}", Group::HttpEngine, OWN)
    },
    Setting {
        short: "Time to connect to the service.",
        range: whole(100, 3_600_000, MILLISECONDS),
        default: "5000",
        ..number("engine-connect-ms", "MS", Group::HttpEngine, OWN)
    },
    Setting {
        short: "Attempts for a request that fails.",
        range: whole(1, 10, ""),
        default: "3",
        ..number("engine-attempts", "N", Group::HttpEngine, OWN)
    },
    // A language model.
    Setting {
        short: "Address of a language model that writes the text.",
        long: "Any server with OpenAI's `/v1/chat/completions`: `http://HOST:PORT`, with a path if it needs one.",
        ..text("llm-url", "URL", "http://HOST:PORT", Group::Model, OWN)
    },
    Setting {
        short: "Model of that server.",
        ..text("llm-model", "NAME", "the name of a model", Group::Model, OWN)
    },
    Setting {
        short: "File with the key for the model.",
        long: "It holds nothing else. Or put the key into the variable `ALOUD_LLM_KEY`. The command line takes no key.",
        ..text("llm-key-file", "FILE", "a file name", Group::Model, OWN)
    },
    Setting {
        short: "Instructions for the model.",
        ..text("system-prompt", "TEXT", "a text", Group::Model, OWN)
    },
    Setting {
        short: "File with the instructions.",
        ..text("system-prompt-file", "FILE", "a file name", Group::Model, OWN)
    },
    Setting {
        short: "Freedom of the model in its choice of words.",
        range: real(0.0, 2.0, ""),
        default: "the model's own",
        ..number("llm-temperature", "T", Group::Model, OWN)
    },
    Setting {
        short: "Longest answer, in tokens of the model.",
        range: whole(1, 1_000_000, "tokens"),
        default: "the model's own",
        ..number("llm-max-tokens", "N", Group::Model, OWN)
    },
    Setting {
        short: "Time without an answer, or without more of it.",
        range: whole(1, 3_600_000, MILLISECONDS),
        default: "60000",
        ..number("llm-timeout-ms", "MS", Group::Model, OWN)
    },
    // Load on the engine.
    Setting {
        short: "Engine that speaks while `--engine` fails.",
        default: "none",
        ..choice("fallback-engine", "NAME", &[("flite", ""), ("tone", "")], Group::Engine, &[SERVE])
    },
    Setting {
        short: "Most sentences in synthesis, of all sessions.",
        long: "The clients take turns. A sentence counts until its program or request has ended.",
        range: whole(1, 10_000, "sentences"),
        default: "8 for a service, --threads for a program, else no limit",
        ..number("engine-concurrency", "N", Group::Engine, &[SERVE])
    },
    Setting {
        short: "Most sentences that wait for the engine.",
        long: "A session whose sentence finds the queue full is closed. One session alone has up to `--prefetch` of \
               them there.",
        range: whole(0, 1_000_000, "sentences"),
        default: "1000",
        ..number("engine-queue", "N", Group::Engine, &[SERVE])
    },
    Setting {
        short: "Longest wait of a listener in that queue.",
        range: whole(1, MAX_MS as u64, MILLISECONDS),
        default: "10000",
        ..number("engine-queue-timeout-ms", "MS", Group::Engine, &[SERVE])
    },
    Setting {
        short: "Do not have the engine say a word first.",
        long: "Otherwise the engine says a word before the server listens, and the server ends if it cannot.",
        ..flag("no-warm-up", Group::Engine, &[SERVE])
    },
    // Operation.
    Setting {
        short: "Address for health, readiness and metrics.",
        long: "A second listener, with `/healthz`, `/readyz` and `/metrics`. It asks for no credential: an address that \
               other machines can reach needs `--insecure`. A socket named admin that systemd hands \
               over replaces this address. It can be a Unix socket too: `unix:PATH`.",
        default: "none",
        ..text("admin", "HOST:PORT", "HOST:PORT or unix:PATH", Group::Operation, &[SERVE])
    },
    Setting {
        short: "Form of log lines.",
        default: "text",
        ..choice(
            "log-format",
            "NAME",
            &[("text", "for a person"), ("json", "an object in each line")],
            Group::Operation,
            &[SERVE],
        )
    },
    Setting {
        short: "Least important level that is logged.",
        default: "info",
        ..choice("log-level", "NAME", LEVELS, Group::Operation, &[SERVE])
    },
    // say. A forgotten variable must not send a text, or a file, elsewhere.
    Setting {
        short: "File to write, or - for standard output.",
        long: "On a terminal, and without `--format`, the speech is played: by the first of `paplay`, `aplay`, \
               `ffplay`, `pw-play` and `afplay` that is found in `PATH`.",
        default: "a player, aloud.wav, aloud.raw or aloud.mp3",
        ..text("output", "FILE", "a file name, or - for standard output", Group::Output, &[SAY])
            .without_variable()
    },
    Setting {
        short: "Form of the file.",
        default: "mp3 for a file whose name ends in .mp3, and else wav",
        ..choice(
            "format",
            "NAME",
            &[
                ("wav", "a header, and samples in the encoding of `--encoding`"),
                ("raw", "these samples alone"),
                ("mp3", "if the server has the feature `mp3`"),
            ],
            Group::Output,
            &[SAY],
        )
        .without_variable()
    },
    Setting {
        short: "Voice that speaks.",
        long: "`aloud voices` lists the voices on this machine, and `/api/voices` those of a server.",
        default: "the default of the server",
        ..text("voice", "NAME", "the name of a voice", Group::Speech, &[SAY]).without_variable()
    },
    Setting {
        short: "Language of the text.",
        long: "The server chooses a voice for it. Text for `--engine command` has this language, too.",
        default: "that of the voice",
        ..text("language", "TAG", "a tag such as en or pt-BR", Group::Speech, &[SAY])
    },
    Setting {
        short: "Write audio at the pace of speech.",
        long: "Use it for a pipe into a player. On a terminal each word appears when it is heard.",
        ..flag("paced", Group::Output, &[SAY])
    },
    Setting {
        short: "Server to ask.",
        long: "`ws://HOST:PORT`, or with a path in place of `/api/session/ws`. `http://` means the same. `wss://` and \
               `https://` need a build with the feature `tls`.",
        default: "a server in this process",
        ..text("url", "URL", "ws://HOST:PORT", Group::Server, &[SAY]).without_variable()
    },
    Setting {
        short: "File with the token for that server.",
        long: "It holds nothing else. Or put the token into the variable `ALOUD_TOKEN`. The command line takes no token.",
        ..text("token-file", "FILE", "a file name", Group::Server, &[SAY])
    },
    Setting {
        short: "Source of the text.",
        long: "The server at `--url` has its own language model; without `--url`, llm needs `--llm-url`.",
        default: "verbatim, or the default of the server",
        ..choice(
            "source",
            "NAME",
            &[("verbatim", "TEXT is spoken"), ("llm", "a language model answers TEXT")],
            Group::Text,
            &[SAY],
        )
        .without_variable()
    },
    Setting {
        short: "Markup to remove from the text before it is spoken.",
        default: "none, or markdown for the answer of a language model",
        ..choice(
            "clean",
            "NAME",
            &[
                ("none", "the text has no markup"),
                ("markdown", "marks, addresses and fenced code are not spoken"),
                ("html", "the text is a page"),
            ],
            Group::Text,
            &[SAY],
        )
        .without_variable()
    },
    // echo.
    Setting {
        short: "Largest message.",
        range: whole(1, 1 << 30, "bytes"),
        default: "67108864",
        ..number("max-message-bytes", "N", Group::Client, &[ECHO])
    },
    // bench. A variable for servers of this machine must not change what is measured.
    Setting {
        short: "Behaviour of the connections.",
        default: "burst",
        ..choice("mode", "NAME", MODES, Group::Load, &[BENCH]).without_variable()
    },
    Setting {
        short: "Connections at once.",
        range: whole(1, 20_000, "connections"),
        default: "16",
        ..number("connections", "N", Group::Load, &[BENCH]).without_variable()
    },
    Setting {
        short: "Length of the measurement.",
        long: "It starts when all connections are busy.",
        range: real(0.1, 86_400.0, "seconds"),
        default: "5",
        ..number("seconds", "S", Group::Load, &[BENCH]).without_variable()
    },
    Setting {
        short: "Text of each stream.",
        long: "When a stream ends, the next one begins.",
        default: "half a minute of text",
        ..text("prompt", "TEXT", "a text", Group::Load, &[BENCH]).without_variable()
    },
    Setting {
        short: "Lead over the listener, with `--mode paced`.",
        range: whole(20, 60_000, MILLISECONDS),
        default: "2000",
        ..number("ahead-ms", "MS", Group::Load, &[BENCH]).without_variable()
    },
    Setting {
        short: "Server to measure.",
        long: "`ws://HOST:PORT`, or with a path in place of `/api/session/ws`.",
        default: "this program, in a process of its own",
        ..text("url", "URL", "ws://HOST:PORT", Group::Server, &[BENCH]).without_variable()
    },
    Setting {
        short: "Process of that server.",
        long: "The bench then reports its CPU and memory. It must run on this machine.",
        range: whole(1, i32::MAX as u64, ""),
        ..number("server-pid", "PID", Group::Server, &[BENCH]).without_variable()
    },
    Setting {
        short: "Sample rate of the audio.",
        long: "With `--url`, the rate of a server that does not announce its format.",
        range: whole(4_000, 192_000, RATE),
        default: "the server's own",
        ..number("sample-rate", "HZ", Group::Server, &[BENCH]).without_variable()
    },
    Setting {
        short: "Encoding of the samples.",
        long: "With `--url`, the encoding of a server that does not announce its format.",
        default: "the server's own",
        ..choice("encoding", "NAME", ENCODINGS, Group::Server, &[BENCH]).without_variable()
    },
    Setting {
        short: "Engine of that server.",
        default: "tone",
        ..choice("engine", "NAME", ENGINES_INSIDE, Group::OwnServer, &[BENCH]).without_variable()
    },
    Setting {
        short: "Length of audio in one binary frame.",
        range: whole(1, 1_000, MILLISECONDS),
        default: "20, which is 960 bytes of the tone engine",
        ..number("frame-ms", "MS", Group::OwnServer, &[BENCH]).without_variable()
    },
    Setting {
        short: "Length of each sentence with the tone engine.",
        range: real(0.001, 1e9, "seconds"),
        default: "60",
        ..number("tone-seconds", "S", Group::OwnServer, &[BENCH]).without_variable()
    },
    Setting {
        short: "Threads of that server.",
        range: whole(1, 256, "threads"),
        default: "one less than the number of cores",
        ..number("threads", "N", Group::OwnServer, &[BENCH]).without_variable()
    },
    Setting { short: "Print one line of JSON in place of a table.", ..flag("json", Group::Output, &[BENCH]) },
];

const AUTH: &[(&str, &str)] = &[
    ("none", "everyone may connect; beyond this machine only with `--insecure`"),
    ("token", "clients with a token from `--auth-tokens`"),
    ("jwt", "clients with a JSON Web Token; needs a build with `--features jwt`"),
];

const LEVELS: &[(&str, &str)] = &[("error", ""), ("warn", ""), ("info", ""), ("debug", ""), ("trace", "")];

const MODES: &[(&str, &str)] = &[
    ("burst", "take audio as fast as it comes"),
    ("paced", "listen at the pace of speech"),
    ("handshake", "open and close connections"),
    ("idle", "hold connections open"),
];

/// True if this option says which server runs in this process, or how: it has no meaning for a
/// server at `--url`.
pub(super) fn is_for_own_server(setting: &Setting) -> bool {
    const ASKED_FOR: [&str; 7] = [
        "speed",
        "encoding",
        "sample-rate",
        "sentence-pause-ms",
        "paragraph-pause-ms",
        "heading-pause-ms",
        "lead-ms",
    ];
    setting.commands.contains(&SAY) && setting.commands.contains(&SERVE) && !ASKED_FOR.contains(&setting.name)
        || setting.group == Group::OwnServer
}

/// True if this option takes the name of a file.
pub(super) fn is_file(setting: &Setting) -> bool {
    setting.value == "FILE" && matches!(setting.kind, Kind::Text(_))
}
