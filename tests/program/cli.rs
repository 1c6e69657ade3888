//! The command line as people and scripts see it: stdout, stderr, exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(super) fn aloud(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

pub(super) fn run(args: &[&str]) -> Output {
    aloud(args).output().unwrap()
}

pub(super) fn text_of(output: &Output) -> String {
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A temporary directory, removed at the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("aloud-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server in a process of its own, killed when dropped.
pub(super) struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Serving {
    pub(super) fn start(args: &[&str]) -> Serving {
        Serving::of(&mut aloud(args))
    }

    fn of(command: &mut Command) -> Serving {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Serving { child, stdout, line }
    }

    pub(super) fn url(&self) -> String {
        format!("ws://{}", self.line.trim().strip_prefix("listening on http://").unwrap())
    }

    /// Waits for its end.
    pub(super) fn ended(mut self) {
        self.child.wait().unwrap();
    }

    pub(super) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a WAV file: format tag, rate, and the bytes after the header.
fn wav(bytes: &[u8]) -> (u16, u32, &[u8]) {
    assert_eq!((&bytes[..4], &bytes[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    let data = bytes.windows(4).position(|window| window == b"data").unwrap();
    let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let samples = &bytes[data + 8..];
    let announced = u32_at(data + 4);
    if announced == u32::MAX {
        return (u16_at(20), u32_at(24), samples);
    }
    // An odd number of bytes is followed by a zero byte, which the length of the samples does not count.
    let (samples, padding) = samples.split_at(announced as usize);
    assert_eq!(padding, &[0][..samples.len() % 2], "{announced}");
    assert_eq!(u32_at(4) as usize + 8, bytes.len());
    (u16_at(20), u32_at(24), samples)
}

#[test]
fn say_writes_speech_to_a_file() {
    let folder = Folder::new("say");
    let file = folder.file("hello.wav");
    let output = run(&["say", "Good evening. The kettle is on.", "-o", &file]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(stderr.starts_with("Good evening.\nThe kettle is on.\n"), "{stderr}");
    let bytes = std::fs::read(&file).unwrap();
    let (tag, rate, samples) = wav(&bytes);
    assert_eq!((tag, rate), (1, 16_000));
    let samples: Vec<i16> = samples.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect();
    let seconds = samples.len() as f64 / 16_000.0;
    assert!((1.0..4.0).contains(&seconds), "{seconds} s for nine syllables");
    let power = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
    let level = 20.0 * (power.sqrt() / 32_768.0).log10();
    assert!((-30.0..-10.0).contains(&level), "{level} dBFS");
}

#[test]
fn say_reads_stdin_and_writes_stdout() {
    let mut child = aloud(&["say", "-", "-o", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Good evening. The kettle is on.").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let (_, _, piped) = wav(&output.stdout);

    let folder = Folder::new("stdout");
    let file = folder.file("same.wav");
    assert!(run(&["say", "Good evening. The kettle is on.", "-o", &file]).status.success());
    let bytes = std::fs::read(&file).unwrap();
    assert!(piped == wav(&bytes).2, "stdout and file hold the same speech");
}

#[test]
fn say_speaks_faster() {
    let folder = Folder::new("speed");
    let length = |speed: &str| {
        let file = folder.file(speed);
        let done = run(&["say", "It is a long way to the harbour from here.", "--speed", speed, "-o", &file]);
        assert!(done.status.success());
        std::fs::metadata(&file).unwrap().len() as f64
    };
    let ratio = length("0.5") / length("2");
    assert!((3.0..5.0).contains(&ratio), "{ratio}");
}

#[test]
fn say_writes_the_requested_format() {
    let folder = Folder::new("format");
    let spoken = |encoding: &str, rate: &str| {
        let file = folder.file("format.wav");
        let said = run(&["say", "Hello.", "--encoding", encoding, "--sample-rate", rate, "-o", &file]);
        assert!(said.status.success(), "{}", text(&said.stderr));
        let bytes = std::fs::read(&file).unwrap();
        let (tag, rate, samples) = wav(&bytes);
        (tag, rate, samples.len())
    };
    let (_, _, native) = spoken("pcm_s16le", "16000");
    assert_eq!(spoken("alaw", "8000"), (6, 8_000, (native / 2).div_ceil(2)));
    assert_eq!(spoken("pcm_s16le", "48000"), (1, 48_000, native * 3));
}

#[test]
fn say_uses_another_server() {
    let folder = Folder::new("url");
    let file = folder.file("far.wav");
    let server = Serving::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--engine",
        "tone",
        "--tone-seconds",
        "0.5",
        "--encoding",
        "mulaw",
        "--sample-rate",
        "8000",
    ]);
    let url = server.url();
    let said = run(&[
        "say",
        "One. Two.",
        "--url",
        &url,
        "--encoding",
        "mulaw",
        "--sample-rate",
        "8000",
        "-o",
        &file,
    ]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let bytes = std::fs::read(&file).unwrap();
    let (tag, rate, samples) = wav(&bytes);
    assert_eq!((tag, rate, samples.len()), (7, 8_000, 8_000));
}

/// A proxy that cuts each connection but the last one after this many bytes from the server. Returns
/// its port.
fn cutting_proxy(server: String, cuts: Vec<u64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for most in cuts.into_iter().chain([u64::MAX]) {
            let (client, _) = listener.accept().unwrap();
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut up, mut down) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut down, &mut up));
            let _ = std::io::copy(
                &mut upstream.try_clone().unwrap().take(most),
                &mut client.try_clone().unwrap(),
            );
            let _ = client.shutdown(Shutdown::Both);
            let _ = upstream.shutdown(Shutdown::Both);
        }
    });
    port
}

#[test]
fn say_recovers_when_its_connection_is_cut() {
    let folder = Folder::new("cut");
    let (whole, cut) = (folder.file("whole.wav"), folder.file("cut.wav"));
    let text = "It is a long way to the harbour from here. The boats are out. Nobody is at home.";
    let server = Serving::start(&["serve", "--listen", "127.0.0.1:0"]);
    let url = server.url();
    let said = run(&["say", text, "--url", &url, "-o", &whole]);
    assert!(said.status.success(), "{}", text_of(&said));

    let address = url.strip_prefix("ws://").unwrap().to_owned();
    let port = cutting_proxy(address.clone(), vec![1_000, 50_001, 30_000]);
    let said = run(&["say", text, "--url", &format!("ws://127.0.0.1:{port}"), "-o", &cut]);
    assert!(said.status.success(), "{}", text_of(&said));
    assert_eq!(text_of(&said).matches("session resumed").count(), 3, "{}", text_of(&said));
    assert_eq!(text_of(&said).matches("The boats are out.").count(), 1, "{}", text_of(&said));
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&cut).unwrap(), "byte for byte the same");

    // After the greeting, before a stream has begun: no session to recover.
    let port = cutting_proxy(address, vec![580, 600, 30_000]);
    let said = run(&["say", text, "--url", &format!("ws://127.0.0.1:{port}"), "-o", &cut]);
    assert!(said.status.success(), "{}", text_of(&said));
    assert_eq!(text_of(&said).matches(": reconnected").count(), 2, "{}", text_of(&said));
    assert_eq!(text_of(&said).matches("session resumed").count(), 1, "{}", text_of(&said));
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&cut).unwrap(), "byte for byte the same");
}

#[test]
fn say_does_not_retry_a_refusal() {
    let server = Serving::start(&["serve", "--listen", "127.0.0.1:0", "--engine", "tone"]);
    let long = "It is a long way. ".repeat(2_000);
    let cases: [(&[&str], &str); 3] = [
        (&[&long], "The prompt is too long (limit 20000 characters)"),
        (&["Hello.", "--source", "llm"], "no language model"),
        (&["Hello.", "--sample-rate", "5000"], "no pcm_s16le at 5000 Hz"),
    ];
    for (args, reason) in cases {
        let url = server.url();
        let said = run(&[&["say", "--url", &url, "-o", "-"], args].concat());
        assert_eq!(said.status.code(), Some(1));
        assert!(text_of(&said).contains(reason), "{}", text_of(&said));
        assert!(said.stdout.is_empty());
    }
}

#[test]
fn say_paces_its_output_on_request() {
    let folder = Folder::new("paced");
    let (burst, paced) = (folder.file("burst.wav"), folder.file("paced.wav"));
    let started = Instant::now();
    assert!(run(&["say", "The kettle is on.", "--paced", "-o", &paced]).status.success());
    // One second of speech; the server sends half a second ahead.
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    assert!(run(&["say", "The kettle is on.", "-o", &burst]).status.success());
    assert!(std::fs::read(&burst).unwrap() == std::fs::read(&paced).unwrap());
}

#[test]
fn say_names_the_failure() {
    let folder = Folder::new("fails");
    let missing = folder.file("no/such/folder.wav");
    // The port of a closed listener refuses connections.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("ws://127.0.0.1:{port}");
    let file = folder.file("x.wav");
    for (args, word) in [
        (["say", "Hello.", "-o", &missing], missing.as_str()),
        (["say", "...", "-o", &file], "nothing to speak"),
        (["say", "Hello.", "--url", &url], url.as_str()),
        (["say", "你好。", "-o", &file], "audio"),
    ] {
        let output = aloud(&args).current_dir(&folder.0).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains(word), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn serve_prints_one_line_and_ends_cleanly() {
    for (signal, args) in
        [("TERM", &["serve", "--listen", "127.0.0.1:0"][..]), ("INT", &["--listen=127.0.0.1:0"])]
    {
        let mut server = Serving::start(args);
        let port = server.url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
        assert_ne!(port, 0);
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
        let mut rest = String::new();
        server.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "exactly one line");
    }
}

#[test]
fn serve_takes_settings_from_the_environment() {
    let folder = Folder::new("unix");
    let path = folder.file("aloud.sock");
    let mut server = Serving::of(aloud(&["serve"]).env("ALOUD_LISTEN", format!("unix:{path}")));
    assert_eq!(server.line.trim(), format!("listening on unix:{path}"));
    assert!(std::fs::exists(&path).unwrap());
    server.signal("TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(!std::fs::exists(&path).unwrap(), "the socket is removed");
}

#[test]
fn serve_says_why_it_cannot_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (args, word) in [
        (&["serve", "--listen", address.as_str()][..], address.as_str()),
        (&["serve", "--listen", "127.0.0.1:0", "--sample-rate", "11025"], "also gives 8000, 22050, 24000,"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
}

#[test]
fn usage_error_is_one_sentence_and_exit_code_2() {
    for args in [
        &["serve", "--lisen", "x"][..],
        &["serve", "--frame-ms", "0"],
        &["sing"],
        &["say", "one", "two"],
        &["serve", "--engine", "bells"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for args in [&["--help"][..], &["serve", "--help"], &["say", "-h"], &["echo", "--help"], &["help", "say"]]
    {
        let output = run(args);
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(text(&output.stdout).contains("Usage: aloud"), "{args:?}");
    }
    assert_eq!(text(&run(&["--version"]).stdout), concat!("aloud ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn manual_and_completions_go_to_stdout() {
    for (args, word) in [
        (&["help"][..], "Pages of the manual:"),
        (&["help", "options"], "# Options"),
        (&["options"], "# Options"),
        (&["man"], ".SH NAME"),
        (&["completions", "bash"], "complete -F _aloud aloud"),
        (&["completions", "zsh"], "#compdef aloud"),
        (&["completions", "fish"], "complete -c aloud"),
    ] {
        let output = run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text_of(&output));
        assert!(text(&output.stdout).contains(word), "{args:?}");
    }
    for args in [&["help", "optoins"][..], &["completions", "csh"], &["completions"], &["man", "x"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(text_of(&output).lines().count(), 1, "{args:?}");
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let script = text(&run(&["completions", "bash"]).stdout);
    let completed = |words: &str| {
        let complete = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _aloud; echo \"${{COMPREPLY[*]}}\""
        );
        let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(completed("aloud se"), "serve");
    assert_eq!(completed("aloud serve --log-"), "--log-format --log-level --log-text");
    assert_eq!(completed("aloud --log-level ''"), "error warn info debug trace");
    assert_eq!(completed("aloud say --output Cargo.l"), "Cargo.lock");
    assert_eq!(completed("aloud completions f"), "fish");
    assert_eq!(completed("aloud serve --frame-ms ''"), "");
}

#[test]
fn unknown_variable_is_a_warning_on_stderr() {
    let folder = Folder::new("variable");
    let file = folder.file("x.wav");
    let said = aloud(&["say", "Hello.", "-o", &file]).env("ALOUD_SPED", "2").output().unwrap();
    assert!(said.status.success());
    let expected = "aloud: the variable ALOUD_SPED is unknown; did you mean ALOUD_SPEED?\n";
    assert!(text_of(&said).starts_with(expected), "{}", text_of(&said));

    // Among log lines, in their form.
    let mut command = aloud(&["serve", "--listen=127.0.0.1:0", "--log-format=json", "--no-warm-up"]);
    command.env("ALOUD_SPED", "2").env("ALOUD_TEST_SOMETHING", "1");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with('{') && line.contains("did you mean ALOUD_SPEED?"), "{line}");
    assert!(line.contains("\"level\":\"warn\""), "{line}");
}

#[test]
fn echo_returns_its_input() {
    // `say` gets its own message back, and reports that this server does not speak.
    let server = Serving::start(&["echo", "--listen", "127.0.0.1:0"]);
    let said = run(&["say", "Hello.", "--url", &server.url(), "-o", "-"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stderr).contains("start_session"), "{}", text(&said.stderr));
}

#[test]
fn serve_reports_the_warm_up_unless_it_is_disabled() {
    for (args, is_warm) in [(&[][..], true), (&["--no-warm-up"], false), (&["--fallback-engine=tone"], true)]
    {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = aloud(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on http://127.0.0.1:"), "{line}");
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        if is_warm {
            stderr.read_line(&mut log).unwrap();
        }
        let kill = format!("kill -TERM {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        stderr.read_to_string(&mut log).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}: {log}");
        assert_eq!(log.contains("spoke its first word within"), is_warm, "{args:?}: {log}");
    }
}
