//! What `--help` prints. At most 80 columns; a test holds it against the options that exist.

/// `aloud --help`.
pub(super) const MAIN: &str = "\
aloud: a small server that speaks. Text goes in over a WebSocket, speech comes
out while it is still being synthesised. The voice is inside the program.

Usage: aloud [COMMAND] [OPTIONS]

Commands:
  serve   run the server (also what happens without a command)
  say     speak a text into a WAV file, through a server
  bench   put load on a server and measure it
  echo    run a WebSocket echo, to check clients and proxies

Options:
  -h, --help      show this text; after a command, that command's options
  -V, --version   show the version

Examples:
  aloud --listen 127.0.0.1:9000
  aloud say \"Good evening. The kettle is on.\" -o hello.wav
";

/// `aloud serve --help`.
pub(super) const SERVE: &str = "\
Run the server. When it is ready it prints one line, the address it listens
on; log lines go to standard error.

Usage: aloud [serve] [OPTIONS]

Where:
  --listen HOST:PORT   address to listen on; port 0 takes any free one
  --listen unix:PATH   the same, as a socket in the file system
                       [default: 127.0.0.1:8080] [env: ALOUD_LISTEN]
  --no-demo            no page at / that speaks what is typed; the module for
                       other pages, /aloud.js, is there in any case

Who may enter:
  --auth KIND          none: everyone; beyond this machine, only with --insecure
                       token: who has a token of the list in --auth-tokens
                       jwt: who has a JSON Web Token; in a build with
                       --features jwt
                       [default: none] [env: ALOUD_AUTH]
  --insecure           with --auth none, listen where others can connect
  --auth-tokens FILE   the SHA-256 of a token in each line, and the name of who
                       has it behind a space; read again when it changes
                       [env: ALOUD_AUTH_TOKENS]
  --jwt-key-file FILE  a public key in PEM, RSA (RS256) or Ed25519 (EdDSA), or
                       else a secret of 32 bytes or more (HS256)
                       [env: ALOUD_JWT_KEY_FILE]
  --jwt-audience NAME  what their aud must be, or hold; without it, those with
                       an aud are refused [env: ALOUD_JWT_AUDIENCE]
  --jwt-issuer NAME    what their iss must be
                       [default: anything] [env: ALOUD_JWT_ISSUER]
  --jwt-leeway-ms MS   how far clocks may be apart, in milliseconds
                       [default: 30000] [env: ALOUD_JWT_LEEWAY_MS]
  --auth-timeout-ms MS how long a client of aloud.v1 that came without a
                       credential has to send one, in milliseconds
                       [default: 10000] [env: ALOUD_AUTH_TIMEOUT_MS]
  --token-in-query     take a credential from the URL as well, ?token=TOKEN,
                       where logs will keep it
  --allow-origin ORIGIN
                       pages that may connect: https://HOST, null or *; may be
                       repeated, or have commas
                       [default: pages of the host that they connect to]
                       [env: ALOUD_ALLOW_ORIGIN]
  --trusted-proxy NETWORK
                       an address, a network such as 10.0.0.0/8, or unix: whose
                       X-Forwarded-For and Forwarded are believed; may be
                       repeated, or have commas
                       [default: none] [env: ALOUD_TRUSTED_PROXY]

Speech:
  --engine NAME        flite: the voice inside the program
                       tone: a test sound, the same length for every sentence
                       command: the program that --command names
                       speech: a service with OpenAI's /v1/audio/speech
                       elevenlabs: the service of that name
                       [default: flite] [env: ALOUD_ENGINE]
  --speed FACTOR       rate of speech, 0.5 to 2.0; 2.0 takes half as long
                       [default: 1.0] [env: ALOUD_SPEED]
  --greeting TEXT      spoken to a client that starts without a prompt
                       [default: a short hello] [env: ALOUD_GREETING]
  --tone-seconds S     length of each sentence with the tone engine, in
                       seconds, 0.001 to 1000000000
                       [default: 2] [env: ALOUD_TONE_SECONDS]
  --threads N          threads that serve connections, each one its own, and
                       sentences in synthesis at once, 1 to 256
                       [default: number of cores] [env: ALOUD_THREADS]

Audio:
  --encoding NAME      pcm_s16le: signed 16 bit, little endian
                       mulaw, alaw: G.711, 8 bit
                       [default: the engine's own] [env: ALOUD_ENCODING]
  --sample-rate HZ     samples per second: 8000, 16000, 22050, 24000, 44100 or
                       48000; with the tone engine, 4000 to 192000
                       [default: the engine's own] [env: ALOUD_SAMPLE_RATE]
  --frame-ms MS        audio in one binary frame, in milliseconds, 1 to 1000;
                       a frame never holds more than 64 KiB
                       [default: 40] [env: ALOUD_FRAME_MS]

Delivery, where a client does not ask for another:
  --delivery MODE      burst: as fast as engine and connection allow
                       paced: no more than --ahead-ms before it is heard
                       [default: burst] [env: ALOUD_DELIVERY]
  --ahead-ms MS        how far ahead of the listener paced delivery sends, in
                       milliseconds, 20 to 60000
                       [default: 2000] [env: ALOUD_AHEAD_MS]

With --engine command:
  --command 'PROGRAM ARGUMENTS'
                       run for each sentence; writes a WAV or samples. Quotes
                       work as in a shell, nothing else does. Stands for:
                       {text}  the sentence; else it is on standard input
                       {voice}, {language}, {speed}
                       {wpm}  words per minute: 175 times the speed
                       {length_scale}  1 divided by the speed
                       {sample_rate}  as --engine-sample-rate
                       [env: ALOUD_COMMAND]
  --voices A,B,C       voices that clients may ask for, the default first
                       [env: ALOUD_VOICES]
  --language TAG       where the client names none
                       [default: en] [env: ALOUD_LANGUAGE]
  --engine-encoding NAME
                       how samples without a WAV header are written: pcm_u8,
                       pcm_s16le, pcm_s16be, pcm_s24le, pcm_s32le, pcm_f32le,
                       pcm_f64le, mulaw or alaw; without it such audio is
                       refused [env: ALOUD_ENGINE_ENCODING]
  --engine-sample-rate HZ
                       how many there are a second, 4000 to 192000
                       [default: 22050] [env: ALOUD_ENGINE_SAMPLE_RATE]
  --engine-channels N  channels of such audio, 1 to 16; they are mixed
                       [default: 1] [env: ALOUD_ENGINE_CHANNELS]
  --engine-gain DB     makes it louder or softer, in dB, -60 to 60; nothing
                       exceeds -1 dBFS [default: 0] [env: ALOUD_ENGINE_GAIN]
  --engine-lead-ms MS  silence kept in front of a sentence, in milliseconds,
                       0 to 2000 [default: 20] [env: ALOUD_ENGINE_LEAD_MS]
  --engine-tail-ms MS  silence kept behind it, in milliseconds, 0 to 2000
                       [default: 120] [env: ALOUD_ENGINE_TAIL_MS]
  --engine-first-byte-ms MS
                       how long to wait for the first audio, in milliseconds,
                       100 to 3600000
                       [default: 20000] [env: ALOUD_ENGINE_FIRST_BYTE_MS]
  --engine-idle-ms MS  how long to wait for more, in milliseconds, as above
                       [default: 10000] [env: ALOUD_ENGINE_IDLE_MS]
  --engine-total-ms MS
                       how long to wait for a sentence altogether, not
                       counting what the listener makes it wait; as above
                       [default: 120000] [env: ALOUD_ENGINE_TOTAL_MS]

With --engine speech or elevenlabs, services over HTTP:
  --engine-url URL     where it is, http://HOST:PORT or with a path behind it
                       [default for elevenlabs: https://api.elevenlabs.io]
                       [env: ALOUD_ENGINE_URL]
  --engine-key-file F  file that holds the key, and nothing else; or put the
                       key into ALOUD_ENGINE_KEY. Never on the command line
                       [env: ALOUD_ENGINE_KEY_FILE]
  --engine-model NAME  [default: tts-1, or eleven_flash_v2_5]
                       [env: ALOUD_ENGINE_MODEL]
  --engine-format NAME what speech is asked for, wav or pcm
                       [default: wav] [env: ALOUD_ENGINE_FORMAT]
  --engine-connect-ms MS
                       how long to wait for a connection, in milliseconds, as
                       above [default: 5000] [env: ALOUD_ENGINE_CONNECT_MS]
  --engine-attempts N  how often a request is made that is not taken, 1 to 10
                       [default: 3] [env: ALOUD_ENGINE_ATTEMPTS]
  --voices, --engine-sample-rate, --engine-gain, --engine-lead-ms,
  --engine-tail-ms, --engine-first-byte-ms, --engine-idle-ms, --engine-total-ms
                       as with command. The voices are alloy by default with
                       speech; elevenlabs needs their ids. The sample rate is
                       that of pcm where no Content-Type says it; elevenlabs
                       is asked for it: 8000, 16000, 22050, 24000, 32000,
                       44100 or 48000

Text, where a client does not say where it comes from:
  --source NAME        verbatim: the prompt is the text
                       llm: a language model answers the prompt
                       [default: verbatim] [env: ALOUD_SOURCE]
  --llm-url URL        a language model that writes what is spoken: any server
                       with OpenAI's /v1/chat/completions, http://HOST:PORT or
                       with a path behind it [env: ALOUD_LLM_URL]
  --llm-model NAME     which of its models [env: ALOUD_LLM_MODEL]
  --llm-key-file FILE  file that holds the key, and nothing else; or put the
                       key into ALOUD_LLM_KEY. Never on the command line
                       [env: ALOUD_LLM_KEY_FILE]
  --system-prompt TEXT what the model is told in front of every conversation
                       [env: ALOUD_SYSTEM_PROMPT]
  --system-prompt-file FILE
                       the same, from a file [env: ALOUD_SYSTEM_PROMPT_FILE]
  --llm-temperature T  how freely it chooses its words, 0 to 2
                       [default: the model's own] [env: ALOUD_LLM_TEMPERATURE]
  --llm-max-tokens N   where it stops at the latest, in its own tokens
                       [default: the model's own] [env: ALOUD_LLM_MAX_TOKENS]
  --llm-max-chars N    the same in characters; the rest is left out
                       [default: 20000] [env: ALOUD_LLM_MAX_CHARS]
  --llm-timeout-ms MS  silence of the model's server, the first answer
                       included, after which it is given up, 1 to 3600000
                       [default: 60000] [env: ALOUD_LLM_TIMEOUT_MS]

Engines:
  --fallback-engine NAME    flite or tone: speaks while --engine fails
                            [default: none] [env: ALOUD_FALLBACK_ENGINE]
  --engine-concurrency N    sentences that the engine works on at once, of all
                            sessions in turn, 1 to 10000
                            [default: 8 for a service, --threads for a
                            program, no limit for those inside]
                            [env: ALOUD_ENGINE_CONCURRENCY]
  --engine-queue N          sentences that may wait for it; a session whose
                            sentence does not fit is closed, 0 to 1000000
                            [default: 1000] [env: ALOUD_ENGINE_QUEUE]
  --engine-queue-timeout-ms MS
                            how long a listener may wait for it
                            [default: 10000]
                            [env: ALOUD_ENGINE_QUEUE_TIMEOUT_MS]
  --prefetch N              sentences of one session that are made at once, the
                            one that is heard included, 1 to 64
                            [default: 2] [env: ALOUD_PREFETCH]
  --no-warm-up              do not have the engine say a word, to find out
                            whether it works, before listening

Limits of one client:
  --max-prompt-chars N      longest prompt, in characters
                            [default: 20000] [env: ALOUD_MAX_PROMPT_CHARS]
  --max-session-chars N     most characters that a session speaks altogether
                            [default: no limit] [env: ALOUD_MAX_SESSION_CHARS]
  --max-session-ms MS       how long a session of aloud.v1 may last
                            [default: 3600000] [env: ALOUD_MAX_SESSION_MS]
  --resume-ttl-ms MS        how long a resumable session that was lost is kept
                            [default: 120000] [env: ALOUD_RESUME_TTL_MS]
  --idle-timeout-ms MS      how long there may be neither a stream nor a message
                            [default: 600000] [env: ALOUD_IDLE_TIMEOUT_MS]
  --max-message-bytes N     largest message, in bytes, 1024 to 1073741824
                            [default: 65536] [env: ALOUD_MAX_MESSAGE_BYTES]
  --max-messages-per-second N
                            most messages of a session; ten times as many may
                            come at once
                            [default: 5000]
                            [env: ALOUD_MAX_MESSAGES_PER_SECOND]
  --max-client-connections N
                            most connections of a client, which is whom a
                            credential names, or else an address
                            [default: no limit]
                            [env: ALOUD_MAX_CLIENT_CONNECTIONS]
  --max-client-sessions N   most of its sessions in which something was started,
                            lost ones that are kept included
                            [default: no limit]
                            [env: ALOUD_MAX_CLIENT_SESSIONS]
  --max-client-handshakes-per-second N
                            how often it may connect
                            [default: no limit]
                            [env: ALOUD_MAX_CLIENT_HANDSHAKES_PER_SECOND]
  --max-client-chars-per-hour N
                            most characters that it has spoken
                            [default: no limit]
                            [env: ALOUD_MAX_CLIENT_CHARS_PER_HOUR]

Limits of all clients:
  --max-connections N       most connections, 1 to 10000000
                            [default: 20000] [env: ALOUD_MAX_CONNECTIONS]

Operation:
  --admin HOST:PORT         address of a second listener, for health, readiness
                            and metrics: /healthz, /readyz, /metrics; also
                            unix:PATH [default: none] [env: ALOUD_ADMIN]
  --drain-timeout TIME      how long running streams may go on once the server
                            was told to stop, such as 30s, 1500ms or 2m
                            [default: 30s] [env: ALOUD_DRAIN_TIMEOUT]
  --log-format NAME         text, or json: an object in each line
                            [default: text] [env: ALOUD_LOG_FORMAT]
  --log-level NAME          error, warn, info, debug or trace
                            [default: info] [env: ALOUD_LOG_LEVEL]
  --log-text                log what is spoken, too, a line for each sentence;
                            without it no log line holds what is spoken

  -h, --help           show this text

Signals: the first SIGTERM or SIGINT lets running streams finish, and refuses
new ones; a second one ends the program at once.

Exit codes: 0 ended by a signal, and cleanly; 1 could not start, or failed;
2 wrong usage; 130 or 143 ended at once by a second SIGINT or SIGTERM.

Sockets that systemd hands over (LISTEN_FDS) are served in place of --listen;
one named admin in place of --admin.

An option on the command line wins over its environment variable; an empty
variable counts as unset.

Examples:
  aloud serve --listen 0.0.0.0:8080 --auth token --auth-tokens tokens.txt
  ALOUD_LISTEN=unix:/run/aloud.sock aloud serve --encoding mulaw
  aloud serve --engine command --command 'espeak-ng --stdout -s {wpm} --stdin'
";

/// `aloud say --help`.
pub(super) const SAY: &str = "\
Speak a text into a WAV file. The audio always comes over a WebSocket: from
the server at --url, or else from one that runs inside this process for as long
as it takes.

Usage: aloud say [TEXT|-] [OPTIONS]

  TEXT                 what to say, as one argument; without it, or with -,
                       the text is read from standard input

Output:
  -o, --output FILE    WAV file to write, or - for standard output
                       [default: aloud.wav]
  --paced              at the pace of speech, for a pipe into a player; on a
                       terminal each word shows as it is heard

Server:
  --url URL            server to ask, ws://HOST:PORT or ws://HOST:PORT/PATH
                       [default path: /api/session/ws]
  --token-file FILE    file that holds the token which that server asks for, and
                       nothing else; or put the token into ALOUD_TOKEN. Never
                       on the command line [env: ALOUD_TOKEN_FILE]

Speech:
  --speed FACTOR       rate of speech, 0.5 to 2.0; 2.0 takes half as long
                       [default: 1.0] [env: ALOUD_SPEED]

Audio:
  --encoding NAME      pcm_s16le: signed 16 bit, little endian
                       mulaw, alaw: G.711, 8 bit
                       [default: the engine's own] [env: ALOUD_ENCODING]
  --sample-rate HZ     samples per second: 8000, 16000, 22050, 24000, 44100 or
                       48000; with the tone engine, 4000 to 192000
                       [default: the engine's own] [env: ALOUD_SAMPLE_RATE]

Only without --url:
  --engine NAME        flite: the voice inside the program
                       tone: a test sound, the same length for every sentence
                       command: the program that --command names
                       speech: a service with OpenAI's /v1/audio/speech
                       elevenlabs: the service of that name
                       [default: flite] [env: ALOUD_ENGINE]
  --frame-ms MS        audio in one binary frame, in milliseconds, 1 to 1000
                       [default: 40] [env: ALOUD_FRAME_MS]
  --tone-seconds S     length of each sentence with the tone engine, in
                       seconds, 0.001 to 1000000000
                       [default: 2] [env: ALOUD_TONE_SECONDS]
  --threads N          sentences in synthesis at once, 1 to 256
                       [default: number of cores] [env: ALOUD_THREADS]

Only with --engine command:
  --command 'PROGRAM ARGUMENTS'
                       run for each sentence; writes a WAV or samples. Quotes
                       work as in a shell, nothing else does. Stands for:
                       {text}  the sentence; else it is on standard input
                       {voice}, {language}, {speed}
                       {wpm}  words per minute: 175 times the speed
                       {length_scale}  1 divided by the speed
                       {sample_rate}  as --engine-sample-rate
                       [env: ALOUD_COMMAND]
  --voices A,B,C       voices that clients may ask for, the default first
                       [env: ALOUD_VOICES]
  --language TAG       where the client names none
                       [default: en] [env: ALOUD_LANGUAGE]
  --engine-encoding NAME
                       how samples without a WAV header are written: pcm_u8,
                       pcm_s16le, pcm_s16be, pcm_s24le, pcm_s32le, pcm_f32le,
                       pcm_f64le, mulaw or alaw; without it such audio is
                       refused [env: ALOUD_ENGINE_ENCODING]
  --engine-sample-rate HZ
                       how many there are a second, 4000 to 192000
                       [default: 22050] [env: ALOUD_ENGINE_SAMPLE_RATE]
  --engine-channels N  channels of such audio, 1 to 16; they are mixed
                       [default: 1] [env: ALOUD_ENGINE_CHANNELS]
  --engine-gain DB     makes it louder or softer, in dB, -60 to 60; nothing
                       exceeds -1 dBFS [default: 0] [env: ALOUD_ENGINE_GAIN]
  --engine-lead-ms MS  silence kept in front of a sentence, in milliseconds,
                       0 to 2000 [default: 20] [env: ALOUD_ENGINE_LEAD_MS]
  --engine-tail-ms MS  silence kept behind it, in milliseconds, 0 to 2000
                       [default: 120] [env: ALOUD_ENGINE_TAIL_MS]
  --engine-first-byte-ms MS
                       how long to wait for the first audio, in milliseconds,
                       100 to 3600000
                       [default: 20000] [env: ALOUD_ENGINE_FIRST_BYTE_MS]
  --engine-idle-ms MS  how long to wait for more, in milliseconds, as above
                       [default: 10000] [env: ALOUD_ENGINE_IDLE_MS]
  --engine-total-ms MS
                       how long to wait for a sentence altogether, not
                       counting what the listener makes it wait; as above
                       [default: 120000] [env: ALOUD_ENGINE_TOTAL_MS]

Only with --engine speech or elevenlabs, services over HTTP:
  --engine-url URL     where it is, http://HOST:PORT or with a path behind it
                       [default for elevenlabs: https://api.elevenlabs.io]
                       [env: ALOUD_ENGINE_URL]
  --engine-key-file F  file that holds the key, and nothing else; or put the
                       key into ALOUD_ENGINE_KEY. Never on the command line
                       [env: ALOUD_ENGINE_KEY_FILE]
  --engine-model NAME  [default: tts-1, or eleven_flash_v2_5]
                       [env: ALOUD_ENGINE_MODEL]
  --engine-format NAME what speech is asked for, wav or pcm
                       [default: wav] [env: ALOUD_ENGINE_FORMAT]
  --engine-connect-ms MS
                       how long to wait for a connection, in milliseconds, as
                       above [default: 5000] [env: ALOUD_ENGINE_CONNECT_MS]
  --engine-attempts N  how often a request is made that is not taken, 1 to 10
                       [default: 3] [env: ALOUD_ENGINE_ATTEMPTS]
  --voices, --engine-sample-rate, --engine-gain, --engine-lead-ms,
  --engine-tail-ms, --engine-first-byte-ms, --engine-idle-ms, --engine-total-ms
                       as with command. The voices are alloy by default with
                       speech; elevenlabs needs their ids. The sample rate is
                       that of pcm where no Content-Type says it; elevenlabs
                       is asked for it: 8000, 16000, 22050, 24000, 32000,
                       44100 or 48000

Text:
  --source NAME        verbatim: TEXT is spoken
                       llm: a language model answers TEXT; the server at --url
                       has its own, and without --url it takes --llm-url
                       [default: verbatim, or what the server has]

Only without --url, a language model:
  --llm-url URL        a language model that writes what is spoken: any server
                       with OpenAI's /v1/chat/completions, http://HOST:PORT or
                       with a path behind it [env: ALOUD_LLM_URL]
  --llm-model NAME     which of its models [env: ALOUD_LLM_MODEL]
  --llm-key-file FILE  file that holds the key, and nothing else; or put the
                       key into ALOUD_LLM_KEY. Never on the command line
                       [env: ALOUD_LLM_KEY_FILE]
  --system-prompt TEXT what the model is told in front of every conversation
                       [env: ALOUD_SYSTEM_PROMPT]
  --system-prompt-file FILE
                       the same, from a file [env: ALOUD_SYSTEM_PROMPT_FILE]
  --llm-temperature T  how freely it chooses its words, 0 to 2
                       [default: the model's own] [env: ALOUD_LLM_TEMPERATURE]
  --llm-max-tokens N   where it stops at the latest, in its own tokens
                       [default: the model's own] [env: ALOUD_LLM_MAX_TOKENS]
  --llm-max-chars N    the same in characters; the rest is left out
                       [default: 20000] [env: ALOUD_LLM_MAX_CHARS]
  --llm-timeout-ms MS  silence of the model's server, the first answer
                       included, after which it is given up, 1 to 3600000
                       [default: 60000] [env: ALOUD_LLM_TIMEOUT_MS]

  -h, --help           show this text

Examples:
  aloud say \"Good evening. The kettle is on.\" -o hello.wav
  aloud say - -o - --url ws://127.0.0.1:8080 < letter.txt | aplay
  aloud say --source llm \"Tell me about tea\" --llm-url http://127.0.0.1:11434 \\
      --llm-model llama3.2
";

/// `aloud bench --help`.
pub(super) const BENCH: &str = "\
Put load on a server that speaks the base protocol, and measure what becomes of
it: frames, CPU and memory of the server, the time to the first audio, how late
audio comes. Without --url the server is this program itself, in a process of
its own. Ends with code 1 if anything went wrong with a connection.

Usage: aloud bench [OPTIONS]

Load:
  --mode NAME          burst: take audio as fast as it comes
                       paced: listen at the pace of speech
                       handshake: open and close connections
                       idle: hold connections open
                       [default: burst]
  --connections N      connections at once, 1 to 20000 [default: 16]
  --seconds S          how long to measure, once all is under way
                       [default: 5]
  --prompt TEXT        what each stream speaks; when it is over the next begins
                       [default: half a minute of text]
  --ahead-ms MS        with --mode paced: how far ahead of the listener to send,
                       in milliseconds, 20 to 60000 [default: 2000]

Server:
  --url URL            server to measure, ws://HOST:PORT or ws://HOST:PORT/PATH
                       [default path: /api/session/ws]
  --server-pid PID     its process, on this machine: whose CPU and memory to
                       tell
  --sample-rate HZ     samples per second; with --url, what the server is taken
                       to send if it does not say
  --encoding NAME      pcm_s16le, mulaw or alaw; the same

Only without --url:
  --engine NAME        tone: a test sound, which costs next to nothing
                       flite: the voice inside the program
                       [default: tone]
  --frame-ms MS        audio in one binary frame, in milliseconds, 1 to 1000
                       [default: 20, which makes 960 bytes of the tone engine]
  --tone-seconds S     length of each sentence with the tone engine, in
                       seconds, 0.001 to 1000000000 [default: 60]
  --threads N          threads of the server, 1 to 256
                       [default: one less than there are cores]

Output:
  --json               one line of JSON in place of a table

  -h, --help           show this text

Times of audio are those of its arrival. A gap is from one piece of audio to the
next; lateness is against a listener who begins with the first frame, and needs
the format, which servers of aloud.v1 tell. The bench runs on one core, and says
when that was full, or it had to share it.

Examples:
  aloud bench
  aloud bench --mode paced --connections 2000 --seconds 10
  aloud bench --mode idle --connections 10000 --json
  aloud bench --url ws://127.0.0.1:8080 --server-pid $(pidof aloud)
";

/// `aloud echo --help`.
pub(super) const ECHO: &str = "\
Run a WebSocket echo: every message goes back as it came. Handshake, deadlines
and close codes are the server's own, so that a client, a conformance suite or
a proxy can be checked against them. Every path answers.

Usage: aloud echo [OPTIONS]

  --listen HOST:PORT       address to listen on; port 0 takes any free one
  --listen unix:PATH       the same, as a socket in the file system
                           [default: 127.0.0.1:8080] [env: ALOUD_LISTEN]
  --max-message-bytes N    largest message accepted, in bytes, 1 to 1073741824
                           [default: 67108864, which is 64 MiB]
                           [env: ALOUD_MAX_MESSAGE_BYTES]
  -h, --help               show this text

Examples:
  aloud echo --listen 127.0.0.1:9001
  aloud echo --listen unix:/tmp/echo.sock --max-message-bytes 65536
";
