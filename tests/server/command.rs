//! Programs as engines: the audio of a good one, the error of a bad one, and no process left once
//! the client is gone.
//!
//! The programs are scripts for `sh`. Each script and all its children hold a FIFO open. The other
//! side of the FIFO reads its end when the last of them exits.

use crate::support::{self, Frame, log, start_with, v1, within};
use aloud::Config;
use aloud::audio::{Encoding, Format, wav_header};
use aloud::tts::command::Settings;
use aloud::tts::{
    Command, Piece, Queue, QueueBounds, SampleEncoding, Speech, SynthesisError, SynthesisErrorKind,
    Synthesizer, Utterance,
};
use rustix::process::{Pid, test_kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const RATE_HZ: u32 = 8_000;

/// Audio of each script: a tenth of a second that resembles neither silence nor text.
fn voice() -> Vec<i16> {
    (0..800i16).map(|n| if n % 16 < 8 { 9_000 + n } else { -9_000 - n }).collect()
}

fn s16(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// A directory for the files of a script, removed at the end.
struct Stage(PathBuf);

impl Stage {
    fn new() -> Stage {
        static STAGES: AtomicUsize = AtomicUsize::new(0);
        let stage = STAGES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aloud-command-{}-{stage}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: RATE_HZ };
        let raw = s16(&voice());
        let wav = [wav_header(format, u32::MAX), raw.clone()].concat();
        for (name, content) in [
            ("voice.raw", raw.clone()),
            ("voice.wav", wav),
            ("long.raw", raw.repeat(100)),
            ("html", b"<html><body>502 Bad Gateway</body></html>".to_vec()),
            ("silence", vec![0; 16_000]),
        ] {
            std::fs::write(path.join(name), content).unwrap();
        }
        let made = std::process::Command::new("mkfifo").arg(path.join("alive")).status().unwrap();
        assert!(made.success());
        Stage(path)
    }

    /// Settings for a script, which must not contain single quotes; braces are doubled.
    fn settings(&self, script: &str) -> Settings {
        let path = self.0.to_str().unwrap();
        let script = script.replace('{', "{{").replace('}', "}}");
        let command = format!("/bin/sh -c 'exec 9>{path}/alive; echo $$ >&9; cd {path}; {script}' sh");
        Settings {
            encoding: Some(SampleEncoding::PcmS16le),
            sample_rate_hz: RATE_HZ,
            ..Settings::new(command)
        }
    }

    fn engine(&self, script: &str) -> Command {
        Command::new(self.settings(script)).unwrap()
    }

    /// Waits for a script to begin, and to be gone with all its children.
    fn watch(&self) -> Watch {
        let path = self.0.join("alive");
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            // Waits until a process opens the other side.
            let mut alive = BufReader::new(File::open(path).unwrap());
            let mut pid = String::new();
            alive.read_line(&mut pid).unwrap();
            let _ = begin.send(pid.trim().parse().unwrap());
            alive.read_to_string(&mut pid).unwrap();
            let _ = end.send(());
        });
        Watch { begun, ended }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Watch {
    begun: oneshot::Receiver<i32>,
    ended: oneshot::Receiver<()>,
}

impl Watch {
    /// Returns the script's process.
    async fn begun(&mut self) -> Pid {
        Pid::from_raw(within(&mut self.begun).await.unwrap()).unwrap()
    }

    /// Returns once the script and all its children are gone and its process is reaped.
    async fn gone(self, pid: Pid) {
        within(self.ended).await.unwrap();
        within(async {
            while test_kill_process(pid).is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn utterance(text: &str) -> Utterance {
    Utterance::new(text, Format { encoding: Encoding::PcmS16le, sample_rate_hz: RATE_HZ })
}

/// All audio, and the error at its end.
async fn heard(mut speech: Speech) -> (Vec<i16>, Option<SynthesisError>) {
    let mut audio = Vec::new();
    let error = within(async {
        loop {
            match speech.next().await {
                Some(Ok(Piece::Audio(chunk))) => audio.extend(chunk),
                Some(Ok(other)) => panic!("no audio but {other:?}"),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        }
    });
    let error = error.await;
    assert_eq!(audio.len() % 2, 0, "whole samples");
    (audio.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect(), error)
}

#[tokio::test]
async fn command_output_is_spoken_or_reported_and_no_process_is_left() {
    use SynthesisErrorKind::{Failed, NoAudio, Timeout};
    // Script, how often it speaks the audio, the error.
    let table = [
        ("cat >/dev/null; cat voice.wav", 1, None),
        ("cat voice.wav; cat >/dev/null", 1, None),
        ("cat voice.raw", 1, None),
        ("cat voice.raw; printf x", 1, None),
        ("cat voice.raw voice.wav voice.wav", 3, None),
        // It fills standard error, which the server drains.
        ("head -c 1000000 /dev/zero >&2; cat voice.raw", 1, None),
        // It announces its end, in several ways, while a child stays alive.
        ("cat voice.raw; sleep 60 &", 1, None),
        ("cat voice.raw; exec >&-; sleep 60", 1, None),
        ("cat voice.raw; (sleep 60 >&- 2>&- &)", 1, None),
        ("exit 0", 0, Some((NoAudio, "gave no audio"))),
        ("cat silence", 0, Some((NoAudio, "gave only silence"))),
        ("cat /dev/zero", 0, Some((NoAudio, "gave only silence"))),
        ("sleep 60", 0, Some((Timeout, "gave no audio within 1.5 s"))),
        ("cat voice.raw; sleep 60", 1, Some((Timeout, "paused for longer than 1.2 s in this sentence"))),
        ("while :; do printf \"\\000\"; sleep 0.05; done", 0, Some((Timeout, "took longer than 2 s"))),
        ("cat voice.raw; exit 3", 1, Some((Failed, "ended with exit code 3"))),
        ("exit 127", 0, Some((Failed, "ended with exit code 127"))),
        ("cat voice.raw; kill -9 $$", 1, Some((Failed, "was ended by signal 9"))),
        ("cat voice.raw; printf x; kill -9 $$", 1, Some((Failed, "was ended by signal 9"))),
        ("cat voice.raw; printf x; exit 1", 1, Some((Failed, "ended with exit code 1"))),
        (
            "cat voice.raw; printf x; sleep 60",
            1,
            Some((Timeout, "paused for longer than 1.2 s in this sentence")),
        ),
        ("printf \"{\\\"error\\\":1}\"", 0, Some((Failed, "gave JSON instead of audio"))),
        ("cat html", 0, Some((Failed, "gave HTML or XML instead of audio, which begins: <html><body>502"))),
        ("cat html; exit 1", 0, Some((Failed, "ended with exit code 1"))),
        ("yes", 0, Some((Failed, "gave text instead of audio, which begins: y y y"))),
        ("cat html >&2; printf RIFFxxxxWAVEfmt", 0, Some((Failed, "ended inside its WAV header"))),
    ];
    let stage = Stage::new();
    for (script, times, expected) in table {
        let settings = Settings {
            first_byte: Duration::from_millis(1_500),
            idle: Duration::from_millis(1_200),
            total: Duration::from_millis(2_000),
            ..stage.settings(script)
        };
        let mut watch = stage.watch();
        let speech = Command::new(settings).unwrap().speak(utterance("Good evening."));
        let pid = watch.begun().await;
        let (samples, error) = heard(speech).await;
        assert_eq!(samples.len(), times * 800, "{script}");
        // Except for the fades.
        let middle = 40..samples.len().saturating_sub(40).max(40);
        assert_eq!(samples.get(middle.clone()), voice().repeat(times).get(middle), "{script}");
        match (error, expected) {
            (None, None) => {}
            (Some(error), Some((kind, message))) => {
                assert_eq!(error.kind, kind, "{script}: {error}");
                assert!(error.message.contains(message), "{script}: {error}");
            }
            (error, _) => panic!("{script}: {error:?}"),
        }
        watch.gone(pid).await;
    }
}

#[tokio::test]
async fn command_that_never_ends_is_killed() {
    let stage = Stage::new();
    let mut watch = stage.watch();
    let speech = stage.engine("while :; do cat long.raw; done").speak(utterance("Hi."));
    let pid = watch.begun().await;
    let (samples, error) = heard(speech).await;
    // 30 s, and 1 s for each character.
    assert_eq!(samples.len(), 33 * RATE_HZ as usize);
    assert!(
        error.is_some_and(|error| error.message.contains("too much audio for this sentence (limit 33 s)"))
    );
    watch.gone(pid).await;
}

#[tokio::test]
async fn command_that_writes_much_and_no_audio_times_out() {
    let stage = Stage::new();
    let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: RATE_HZ };
    let wav = [wav_header(format, 1_600), s16(&voice())].concat();
    std::fs::write(stage.0.join("whole.wav"), wav).unwrap();
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
    // Bytes behind the samples of a WAV are skipped, and come without an end.
    for (script, [idle, total], why) in [
        ("cat whole.wav /dev/zero", [short, long], "paused for longer than 0.3 s"),
        ("cat whole.wav /dev/zero", [long, short], "took longer than 0.3 s"),
    ] {
        let mut watch = stage.watch();
        let settings = Settings { idle, total, ..stage.settings(script) };
        let speech = Command::new(settings).unwrap().speak(utterance("Hi."));
        let pid = watch.begun().await;
        let (samples, error) = within(heard(speech)).await;
        assert_eq!(samples.len(), voice().len());
        let error = error.unwrap();
        assert!(error.kind == SynthesisErrorKind::Timeout && error.message.contains(why), "{error}");
        watch.gone(pid).await;
    }
}

#[tokio::test]
async fn command_without_a_listener_is_killed_with_its_children() {
    let table = [
        "sleep 60",
        "trap : TERM INT HUP PIPE; while :; do sleep 60; done",
        "sleep 60 & sleep 60 & (sleep 60 & wait) & wait",
        "cat voice.raw; sleep 60 & sleep 60",
        "while :; do cat long.raw; done",
        "cat /dev/zero >&2",
        // The script exits, but its child keeps the pipe open.
        "sleep 60 &",
        // A pipeline that has closed its standard output.
        "exec >&- 2>&- <&-; sleep 60",
    ];
    let stage = Stage::new();
    for script in table {
        let mut watch = stage.watch();
        let mut speech = stage.engine(script).speak(utterance("Good evening."));
        let pid = watch.begun().await;
        if script.contains("raw") {
            assert!(matches!(within(speech.next()).await, Some(Ok(Piece::Audio(_)))), "{script}");
        }
        let left = Instant::now();
        drop(speech);
        watch.gone(pid).await;
        assert!(left.elapsed() < Duration::from_secs(1), "{script} took {:?}", left.elapsed());
    }
}

#[test]
fn command_does_not_outlive_the_runtime() {
    let stage = Stage::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serving = runtime();
    let (mut watch, engine) = (stage.watch(), stage.engine("sleep 60 & sleep 60"));
    let (speech, pid) = serving.block_on(async {
        let speech = engine.speak(utterance("Good evening."));
        (speech, watch.begun().await)
    });
    drop(serving);
    runtime().block_on(async { within(watch.ended).await.unwrap() });
    let _ = (speech, pid);
}

#[tokio::test]
async fn command_held_by_a_pause_does_not_time_out() {
    let stage = Stage::new();
    let short = Duration::from_millis(700);
    let settings = Settings {
        first_byte: short,
        idle: short,
        total: short,
        ..stage.settings("cat long.raw; echo done >&9")
    };
    let mut speech = Command::new(settings).unwrap().speak(utterance("Good evening."));
    let mut alive = BufReader::new(
        tokio::task::spawn_blocking({
            let path = stage.0.join("alive");
            move || File::open(path).unwrap()
        })
        .await
        .unwrap(),
    );
    assert!(matches!(within(speech.next()).await, Some(Ok(Piece::Audio(_)))));
    // This test measures real time.
    tokio::time::sleep(3 * short).await;
    let held = speech.buffered_bytes();
    assert!(held < 100_000, "{held} bytes are synthesised ahead");
    let (samples, error) = heard(speech).await;
    assert_eq!(error, None);
    assert!(samples.len() > 79_000, "{} samples", samples.len());
    let mut said = String::new();
    alive.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("done\n"));
}

/// Counts the processes of this stage that are alive, in a thread of its own. Sending ends it, and
/// returns the largest number.
fn most_alive(stage: &Stage) -> (std::sync::mpsc::Sender<()>, std::thread::JoinHandle<usize>) {
    let mark = format!("{}/", stage.0.display());
    let (end, ended) = std::sync::mpsc::channel();
    let count = move || {
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            // A process that has ended has no command line.
            std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok()
        });
        processes.filter(|line| line.contains(&mark)).count()
    };
    let counting = std::thread::spawn(move || {
        let mut most = 0;
        while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            most = count().max(most);
        }
        most
    });
    (end, counting)
}

#[tokio::test]
async fn command_programs_of_paused_sessions_are_never_more_than_the_concurrency() {
    const BYTES: usize = 200_000;
    let stage = Stage::new();
    let _reader = File::options().read(true).write(true).open(stage.0.join("alive")).unwrap();
    std::fs::write(stage.0.join("longer.raw"), s16(&voice()).repeat(125)).unwrap();
    // One process for each sentence, which has a path of the stage in its command line to its end.
    let engine = stage.engine(&format!("exec cat {}/longer.raw", stage.0.display()));
    let bounds = QueueBounds { concurrency: 2, ..QueueBounds::default() };
    let server = start_with(Config::default(), Arc::new(Queue::new(Arc::new(engine), bounds))).await;
    let (end, counting) = most_alive(&stage);
    let mut paused = Vec::new();
    for _ in 0..10 {
        let (mut client, _) = v1(server.addr).await;
        client.say(r#"{"type":"start_session","prompt":"Good evening.","delivery":{"mode":"paced"}}"#).await;
        let frame = loop {
            match client.read_frame().await {
                Frame::Binary(frame) => break frame,
                frame => assert_ne!(frame.kind(), "error"),
            }
        };
        client.say(r#"{"type":"pause"}"#).await;
        paused.push((client, frame.len()));
    }
    drop(end);
    assert_eq!(counting.join().unwrap(), 2);
    // Each goes on with the next byte, for as long as it is paid attention to.
    for (mut client, mut bytes) in paused {
        client.say(r#"{"type":"resume"}"#).await;
        client.say(r#"{"type":"ack","playedMs":60000}"#).await;
        while bytes < BYTES {
            if let Frame::Binary(frame) = client.read_frame().await {
                bytes += frame.len();
                client.say(r#"{"type":"ack","playedMs":60000}"#).await;
            }
        }
        assert_eq!(bytes, BYTES);
    }
}

#[tokio::test]
async fn command_reads_the_sentence_from_standard_input() {
    let stage = Stage::new();
    let long = "Tea. ".repeat(60_000);
    for (text, expected) in [
        ("Good evening.", "Good evening.\n"),
        ("-v is no option.\nNor is\t--this.\0", "-v is no option. Nor is --this. \n"),
        ("Grüß Gott, 'Frau' \"Öl\" $HOME `ls` {text}", "Grüß Gott, 'Frau' \"Öl\" $HOME `ls` {text}\n"),
        (&long, &format!("{long}\n")),
    ] {
        let _watch = stage.watch();
        let engine = stage.engine("cat >said; cat voice.raw");
        assert_eq!(heard(engine.speak(utterance(text))).await.1, None);
        assert_eq!(std::fs::read_to_string(stage.0.join("said")).unwrap(), expected);
    }
}

#[tokio::test]
async fn command_arguments_are_filled_in() {
    let stage = Stage::new();
    let sentence = utterance("Good evening.");
    let dashed = utterance("-5 degrees, $HOME");
    let chosen = |voice: &str, language: &str, speed: f32| {
        let mut chosen = sentence.clone();
        (chosen.voice, chosen.language, chosen.speed) = (voice.to_owned(), language.to_owned(), speed);
        chosen
    };
    let (chosen, sly) = (chosen("b c", "de-CH", 1.5), chosen("", "--help", 0.5));
    let table: [(&str, &Utterance, &[&str]); 9] = [
        ("{text}", &sentence, &["Good evening."]),
        ("--text={text}", &sentence, &["--text=Good evening."]),
        (
            "{text} --text={text} {text}!",
            &dashed,
            &[" -5 degrees, $HOME", "--text=-5 degrees, $HOME", " -5 degrees, $HOME!"],
        ),
        ("-v {voice} -l {language}", &sentence, &["-v", "anna", "-l", "en"]),
        ("-v {voice} -l {language}_{speed}", &chosen, &["-v", "b c", "-l", "de-CH_1.5"]),
        ("{wpm} {length_scale} {sample_rate} {voice}", &sentence, &["175", "1", "8000", "anna"]),
        ("{wpm} {length_scale} {voice}", &chosen, &["262", "0.667", "b c"]),
        ("{language} {wpm} {length_scale} {voice}", &sly, &["en", "88", "2", "anna"]),
        (
            r#"a\ b "c \"d\" \e" {{x}} '' 'f;'g "$HOME" {voice}"#,
            &sentence,
            &["a b", r#"c "d" \e"#, "{x}", "", "f;g", "$HOME", "anna"],
        ),
    ];
    for (arguments, utterance, expected) in table {
        let script = stage.settings("for a; do printf \"%s|\" \"$a\"; done >said; cat voice.raw");
        let voices = match arguments.contains("{voice}") {
            true => vec!["anna".to_owned(), "b c".to_owned()],
            false => Vec::new(),
        };
        let settings = Settings { command: format!("{} {arguments}", script.command), voices, ..script };
        let _watch = stage.watch();
        assert_eq!(heard(Command::new(settings).unwrap().speak(utterance.clone())).await.1, None);
        let said = std::fs::read_to_string(stage.0.join("said")).unwrap();
        assert_eq!(said.split_terminator('|').collect::<Vec<_>>(), expected, "{arguments}");
    }
}

#[tokio::test]
async fn command_does_not_inherit_hidden_variables() {
    let stage = Stage::new();
    // Cargo sets both for tests.
    for hidden in
        [&["CARGO_MANIFEST_DIR"][..], &["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "ALOUD_NO_SUCH"], &[]]
    {
        let script = stage.settings("env >said; cat voice.raw");
        let hidden_variables = hidden.iter().map(|&name| name.to_owned()).collect();
        let _watch = stage.watch();
        let engine = Command::new(Settings { hidden_variables, ..script }).unwrap();
        assert_eq!(heard(engine.speak(utterance("One."))).await.1, None);
        let said = std::fs::read_to_string(stage.0.join("said")).unwrap();
        let has = |name: &str| said.lines().any(|line| line.starts_with(&format!("{name}=")));
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "PATH"] {
            assert_eq!(has(name), !hidden.contains(&name), "{name} {hidden:?}");
        }
    }
}

#[test]
fn command_that_cannot_run_is_refused_with_a_sentence() {
    let table = [
        ("", "it is empty"),
        ("  \t ", "it is empty"),
        ("no-such-program-here --x", "there is no program `no-such-program-here` in PATH; install it"),
        ("/no/such/program", "`/no/such/program` is not an executable file"),
        ("/tmp", "`/tmp` is not an executable file"),
        ("/etc/passwd", "`/etc/passwd` is not an executable file"),
        ("{voice} x", "the program cannot be a placeholder"),
        ("sh {lang}", "there is no placeholder {lang}; use {text}, {voice}, {language}"),
        ("sh {", "`{` has an unmatched brace"),
        ("sh a}b", "`a}b` has an unmatched brace"),
        ("sh 'a", "a quote ' is not closed"),
        ("sh \"a\\\"", "a quote \" is not closed"),
        ("sh a\\", "ends with a backslash"),
        ("sh a | sox", "`|` needs a shell, but the command runs without one; write sh -c"),
        ("sh a 2>&1", "`2>&1` needs a shell"),
        ("sh {voice}", "there are no voices"),
        ("sh -c 'espeak-ng \"{text}\" | sox'", "sh -c '… \"$1\"' sh {text}"),
        ("/usr/bin/env bash -ec 'x {text}'", "{text} stands inside of code that bash runs"),
    ];
    for (command, expected) in table {
        let error = Command::new(Settings::new(command)).unwrap_err().to_string();
        assert!(error.contains(expected), "{command:?} gave {error:?}");
    }
    let voices = vec!["a".to_owned(), "b".to_owned()];
    let error = Command::new(Settings { voices, ..Settings::new("sh") }).unwrap_err().to_string();
    assert!(error.contains("several voices but no {voice}"), "{error}");
    assert!(Command::new(Settings::new("sh -c 'a | b' '|' \\; {text}")).is_ok());
}

#[tokio::test]
async fn command_voices_are_the_configured_ones() {
    let names = |voices: &[&str], command: &str| {
        let voices = voices.iter().map(|&voice| voice.to_owned()).collect();
        let engine = Command::new(Settings { voices, ..Settings::new(command) }).unwrap();
        assert!(!engine.is_deterministic());
        engine.voices().into_iter().map(|voice| voice.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[], "sh"), ["default"]);
    assert_eq!(names(&["a", "b"], "sh {voice}"), ["a", "b"]);
}

#[tokio::test]
async fn command_exit_and_last_output_are_logged() {
    log::listen();
    let stage = Stage::new();
    let script =
        "head -c 3000 /dev/zero >&2; printf \"\\033[31mno such\\nmodel %s\" 4711 >&2; cat voice.raw; exit 3";
    let _watch = stage.watch();
    let (_, error) = heard(stage.engine(script).speak(utterance("Good evening."))).await;
    // The client gets only this much.
    assert_eq!(error.unwrap().message, "The speech program ended with exit code 3.");
    let killed = "printf 4712 >&2; cat voice.raw; kill -9 $$";
    let _watch = stage.watch();
    let (_, error) = heard(stage.engine(killed).speak(utterance("Good evening."))).await;
    assert_eq!(error.unwrap().kind, SynthesisErrorKind::Failed);
    let lines = log::lines();
    let line = lines.iter().find(|line| line.contains("4712")).unwrap();
    assert!(line.contains("/bin/sh was ended by signal 9") && line.ends_with(": 4712"), "{line}");
    let line = lines.iter().find(|line| line.contains("4711")).unwrap();
    assert!(
        line.starts_with("WARN aloud::tts::command: engine command: ")
            && line.contains("/bin/sh ended with exit code 3"),
        "{line}"
    );
    assert!(line.ends_with("[31mno such model 4711") && line.len() < 1_000, "{line}");
    assert!(!line.contains(char::is_control));
}

#[tokio::test]
async fn command_that_was_removed_fails_its_sentence() {
    let stage = Stage::new();
    let program = stage.0.join("program");
    std::fs::copy(find("true"), &program).unwrap();
    let engine = Command::new(Settings::new(program.to_str().unwrap())).unwrap();
    std::fs::remove_file(&program).unwrap();
    let (_, error) = heard(engine.speak(utterance("Good evening."))).await;
    assert!(error.is_some_and(|error| error.message.contains("cannot be started")));
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file()).unwrap()
}

#[tokio::test]
async fn command_is_killed_on_cancel_and_on_a_lost_connection() {
    let stage = Stage::new();
    for ending in ["cancel", "end", "close", "reset"] {
        let engine = Arc::new(stage.engine("cat voice.raw; sleep 60"));
        let server = start_with(Config::default().with(|c| c.prefetch = 1), engine).await;
        let mut watch = stage.watch();
        let (mut client, _) = v1(server.addr).await;
        client.say(r#"{"type":"start_session","prompt":"Good evening."}"#).await;
        let pid = watch.begun().await;
        client.read_until("binary").await;
        let left = Instant::now();
        match ending {
            "cancel" => client.say(r#"{"type":"cancel"}"#).await,
            "end" => client.say(r#"{"type":"end"}"#).await,
            "close" => client.send_bytes(&support::close(1000, "")).await,
            _ => client.reset(),
        }
        watch.gone(pid).await;
        assert!(left.elapsed() < Duration::from_secs(1), "{ending} took {:?}", left.elapsed());
        within(async {
            while server.service.syntheses().count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// espeak-ng is an independent program. The guide has this command.
#[test]
fn espeak_ng_speaks() {
    let path = std::env::var_os("PATH").unwrap();
    if !std::env::split_paths(&path).any(|directory| directory.join("espeak-ng").is_file()) {
        return support::skip("espeak_ng_speaks", "espeak-ng");
    }
    let stage = Stage::new();
    let say = |command: &str, text: &str, more: &[&str]| {
        let file = stage.0.join("said.wav");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_aloud"))
            .args(["say", "--engine", "command", "--command", command, "--output"])
            .arg(&file)
            .args(more)
            .args(["--", text])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        (samples(&file), errors)
    };
    let stdin = "espeak-ng --stdout -v {language} -s {wpm} --stdin";
    let text = "Good evening. The kettle is on.";
    let (plain, errors) = say(stdin, text, &[]);
    assert!((22_050..4 * 22_050).contains(&plain), "{plain} samples: {errors}");
    assert!(errors.contains("2 sentences"), "{errors}");
    // Twice as fast takes about half as long.
    let (fast, _) = say(stdin, text, &["--speed", "2"]);
    assert!((plain * 2 / 5..plain * 3 / 4).contains(&fast), "{fast} of {plain} samples");
    // By argument; text that looks like an option is spoken.
    let argument = "espeak-ng --stdout -v {voice} -s {wpm} {text}";
    let (german, _) = say(argument, "-5 Grad.", &["--voices", "de,en-us"]);
    assert!(german > 11_025, "{german} samples");
    let (telephone, _) = say(stdin, text, &["--sample-rate", "8000"]);
    assert!((telephone * 22_050 / 8_000).abs_diff(plain) < 1_000, "{telephone} and {plain} samples");
}

/// Number of 16-bit samples in a WAV file of aloud.
fn samples(file: &Path) -> usize {
    let wav = std::fs::read(file).unwrap();
    assert_eq!(&wav[36..40], b"data");
    (wav.len() - 44) / 2
}
