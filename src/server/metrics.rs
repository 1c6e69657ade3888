//! Metrics for the operator: counters, gauges, histograms and the state of the engine, in the text format of
//! Prometheus (0.0.4).
//!
//! Written by hand because it is a page of text: the crates for it would bring more packages than a
//! default build may have. Every label has a fixed set of values, whatever a client sends. Nothing here
//! takes a lock, and nothing happens for each frame: a [`Meter`] adds up what a connection sends, and
//! passes it on from time to time.

use crate::gauge::{Counted, Gauge};
use crate::session::message::{CLOSE_CODES, Code, NO_CLOSE, NO_CODE};
use crate::session::{Phase, Wait};
use crate::tts::{SynthesisError, SynthesisErrorKind};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Number of sentences in a row that fail before the engine counts as broken.
const FAILURES: u32 = 3;

/// Bytes that a connection sends before they are added to the total.
const STEP_BYTES: u64 = 64 * 1024;

/// The last of each is what everything else counts as.
const STATUSES: &[&str] = &[
    "101", "400", "401", "403", "404", "405", "408", "413", "414", "421", "426", "429", "431", "500", "503",
    "other",
];
const ANSWERS: &[&str] =
    &["200", "400", "401", "403", "405", "408", "413", "415", "422", "429", "502", "503", "504", "other"];
const SOURCES: &[&str] = &["verbatim", "llm", "append", "other"];
const ENGINE_CODES: &[&str] = &[
    Code::EngineFailed.name(),
    Code::EngineNoAudio.name(),
    Code::EngineTimeout.name(),
    Code::Overloaded.name(),
    "other",
];
const WRITER_CODES: &[&str] = &[Code::LlmFailed.name(), Code::LlmTimeout.name(), "other"];
const RESUMES: &[&str] = &["recovered", "not_found", "expired", "position_lost", "other"];

/// Upper bounds of the buckets, in microseconds.
const FIRST_AUDIO_BOUNDS: &[u64] = &[
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    30_000_000,
];
const GAP_BOUNDS: &[u64] = &[
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Counts by the value of one label.
struct Counts {
    values: &'static [&'static str],
    counts: Box<[AtomicU64]>,
}

impl Counts {
    fn new(values: &'static [&'static str]) -> Counts {
        Counts { values, counts: values.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    fn add(&self, value: &str) {
        let known = self.values.iter().position(|known| *known == value);
        self.counts[known.unwrap_or(self.values.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts of closes by code, in the order of [`CLOSE_CODES`]; the last one counts all other codes.
struct Closes([AtomicU64; CLOSE_CODES.len() + 1]);

impl Closes {
    fn new() -> Closes {
        Closes(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn add(&self, code: u16) {
        let known = CLOSE_CODES.iter().position(|(known, ..)| *known == code);
        self.0[known.unwrap_or(CLOSE_CODES.len())].fetch_add(1, Ordering::Relaxed);
    }

    /// Codes with their counts.
    fn iter(&self) -> impl Iterator<Item = (String, &AtomicU64)> {
        let codes = CLOSE_CODES.iter().map(|(code, ..)| code.to_string());
        codes.chain(["other".to_owned()]).zip(&self.0)
    }
}

/// Times, each in the bucket whose bound it does not exceed.
struct Histogram {
    bounds_us: &'static [u64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Histogram {
    fn new(bounds_us: &'static [u64]) -> Histogram {
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds_us, counts, sum_us: AtomicU64::new(0) }
    }

    fn observe(&self, time: Duration) {
        let us = time.as_micros() as u64;
        let bucket = self.bounds_us.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// The end of a connection by its close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedBy {
    Client(Option<u16>),
    Server(u16),
    /// There was no Close frame.
    Lost,
}

impl ClosedBy {
    /// The side that closed it, as a label, and the code (RFC 6455 §7.4.1).
    pub(crate) fn labels(self) -> (&'static str, u16) {
        match self {
            ClosedBy::Client(code) => ("client", code.unwrap_or(NO_CODE)),
            ClosedBy::Server(code) => ("server", code),
            ClosedBy::Lost => ("nobody", NO_CLOSE),
        }
    }
}

/// Metrics of a service.
pub(crate) struct Telemetry {
    began: SystemTime,
    /// Connections from accepting them to the end of their handshake.
    pub(crate) handshaking: Gauge,
    /// Sessions that have a connection, by phase.
    sessions: [Gauge; Phase::ALL.len()],
    handshakes: Counts,
    closed_by_client: Closes,
    closed_by_server: Closes,
    lost: AtomicU64,
    sent_bytes: AtomicU64,
    sent_messages: AtomicU64,
    sent_audio_frames: AtomicU64,
    audio_ms: AtomicU64,
    streams: Counts,
    first_audio: Histogram,
    gaps: Histogram,
    engine_errors: Counts,
    writer_errors: Counts,
    resumes: Counts,
    /// Answers over HTTP that are being spoken.
    pub(crate) answering: Gauge,
    answers: Counts,
    engine: Engine,
}

/// State of the engine. An engine that was not tried yet counts as good.
#[derive(Default)]
struct Engine {
    is_warming_up: AtomicBool,
    /// Sentences that have failed in a row.
    failures: AtomicU32,
}

/// Figures that the service adds to a page.
pub(crate) struct Present {
    pub(crate) connections: usize,
    pub(crate) frozen_sessions: usize,
    pub(crate) frozen_bytes: usize,
    pub(crate) live_bytes: usize,
    pub(crate) syntheses: usize,
    pub(crate) waiting_syntheses: usize,
    pub(crate) scripts: usize,
    pub(crate) wasted: Duration,
    pub(crate) is_ready: bool,
}

impl Telemetry {
    pub(crate) fn new() -> Telemetry {
        Telemetry {
            began: SystemTime::now(),
            handshaking: Gauge::default(),
            sessions: Default::default(),
            handshakes: Counts::new(STATUSES),
            closed_by_client: Closes::new(),
            closed_by_server: Closes::new(),
            lost: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            sent_messages: AtomicU64::new(0),
            sent_audio_frames: AtomicU64::new(0),
            audio_ms: AtomicU64::new(0),
            streams: Counts::new(SOURCES),
            first_audio: Histogram::new(FIRST_AUDIO_BOUNDS),
            gaps: Histogram::new(GAP_BOUNDS),
            engine_errors: Counts::new(ENGINE_CODES),
            writer_errors: Counts::new(WRITER_CODES),
            resumes: Counts::new(RESUMES),
            answering: Gauge::default(),
            answers: Counts::new(ANSWERS),
            engine: Engine::default(),
        }
    }

    /// Counts the answer to an opening handshake.
    pub(crate) fn shook_hands(&self, status: u16) {
        self.handshakes.add(&status.to_string());
    }

    /// Counts the answer to a request for speech over HTTP.
    pub(crate) fn answered(&self, status: u16) {
        self.answers.add(&status.to_string());
    }

    pub(crate) fn closed(&self, by: ClosedBy) {
        match by {
            ClosedBy::Client(_) => self.closed_by_client.add(by.labels().1),
            ClosedBy::Server(_) => self.closed_by_server.add(by.labels().1),
            ClosedBy::Lost => _ = self.lost.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Counts the end of a session, and the audio that it sent.
    pub(crate) fn session_ended(&self, audio: Duration) {
        self.audio_ms.fetch_add(audio.as_millis() as u64, Ordering::Relaxed);
    }

    pub(crate) fn stream_began(&self, source: &str) {
        self.streams.add(source);
    }

    /// Counts a time that a client has waited.
    pub(crate) fn waited(&self, wait: Wait) {
        match wait {
            Wait::FirstAudio(after) => self.first_audio.observe(after),
            Wait::Gap(silence) => self.gaps.observe(silence),
        }
    }

    /// Counts the result of a `recover`.
    pub(crate) fn resumed(&self, result: &str) {
        self.resumes.add(result);
    }

    pub(crate) fn writer_failed(&self, code: &str) {
        self.writer_errors.add(code);
    }

    /// Counts a sentence that was synthesised to its end.
    pub(crate) fn engine_spoke(&self) {
        if self.engine.failures.load(Ordering::Relaxed) > 0 {
            self.engine.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a sentence that failed.
    pub(crate) fn engine_failed(&self, code: &str, error: &SynthesisError) {
        self.engine_errors.add(code);
        match error.kind {
            SynthesisErrorKind::Failed | SynthesisErrorKind::Timeout => {
                self.engine.failures.fetch_add(1, Ordering::Relaxed);
            }
            // The text had no sound, or the queue was full: neither means that the engine is broken.
            SynthesisErrorKind::NoAudio | SynthesisErrorKind::Overloaded => {}
        }
    }

    pub(crate) fn warm_up_began(&self) {
        self.engine.is_warming_up.store(true, Ordering::Relaxed);
    }

    pub(crate) fn warm_up_ended(&self, works: bool) {
        self.engine.failures.store(if works { 0 } else { FAILURES }, Ordering::Relaxed);
        self.engine.is_warming_up.store(false, Ordering::Relaxed);
    }

    /// True if the engine has failed too often.
    pub(crate) fn engine_fails(&self) -> bool {
        self.engine.failures.load(Ordering::Relaxed) >= FAILURES
    }

    /// True while the engine says its first word.
    pub(crate) fn is_warming_up(&self) -> bool {
        self.engine.is_warming_up.load(Ordering::Relaxed)
    }

    /// The page with all metrics.
    pub(crate) fn page(&self, now: &Present) -> String {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut page = Page(String::with_capacity(12 * 1024));
        page.family("aloud_build_info", "gauge", "The version of the program, as a label.");
        page.sample("aloud_build_info", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        page.one(
            "process_start_time_seconds",
            "gauge",
            "Start of the service, in seconds since 1970.",
            began.as_secs_f64(),
        );
        page.one(
            "aloud_ready",
            "gauge",
            "1 if new sessions are welcome, as /readyz says.",
            u8::from(now.is_ready),
        );

        page.family("aloud_connections", "gauge", "Open connections, by state.");
        page.sample("aloud_connections", "state=\"handshake\"", self.handshaking.count());
        page.sample("aloud_connections", "state=\"open\"", now.connections);
        page.family(
            "aloud_sessions",
            "gauge",
            "Sessions, by state; frozen ones are suspended: they have lost their connection and wait for their client.",
        );
        for (phase, sessions) in Phase::ALL.iter().zip(&self.sessions) {
            page.sample("aloud_sessions", &format!("state=\"{}\"", phase.name()), sessions.count());
        }
        page.sample("aloud_sessions", "state=\"frozen\"", now.frozen_sessions);
        page.one(
            "aloud_live_bytes",
            "gauge",
            "Memory of sessions with a connection, roughly.",
            now.live_bytes,
        );
        page.one("aloud_frozen_bytes", "gauge", "Memory of suspended sessions, roughly.", now.frozen_bytes);

        page.counts(
            "aloud_handshakes_total",
            "Opening handshakes, by the status of the answer.",
            "status",
            &self.handshakes,
        );
        page.family("aloud_closes_total", "counter", "Closed connections, by code and by the side that closed first; 1005: no code, 1006: lost without a Close frame.");
        for (by, counts) in [("client", &self.closed_by_client), ("server", &self.closed_by_server)] {
            for (code, closes) in counts.iter() {
                page.sample("aloud_closes_total", &format!("by=\"{by}\",code=\"{code}\""), count(closes));
            }
        }
        let lost = format!("by=\"nobody\",code=\"{NO_CLOSE}\"");
        page.sample("aloud_closes_total", &lost, count(&self.lost));
        page.counts(
            "aloud_resumes_total",
            "Attempts to resume a session, by result.",
            "result",
            &self.resumes,
        );

        page.one(
            "aloud_sent_bytes_total",
            "counter",
            "Bytes that were sent, frame headers included.",
            count(&self.sent_bytes),
        );
        page.family(
            "aloud_sent_frames_total",
            "counter",
            "Frames that were sent, except Ping, Pong and Close.",
        );
        page.sample("aloud_sent_frames_total", "opcode=\"text\"", count(&self.sent_messages));
        page.sample("aloud_sent_frames_total", "opcode=\"binary\"", count(&self.sent_audio_frames));

        page.counts(
            "aloud_streams_total",
            "Streams that were started, by the source of their text.",
            "source",
            &self.streams,
        );
        page.one(
            "aloud_speech_answers",
            "gauge",
            "Answers to POST /v1/audio/speech that are being spoken.",
            self.answering.count(),
        );
        page.counts(
            "aloud_speech_answers_total",
            "Answers to POST /v1/audio/speech, by status.",
            "status",
            &self.answers,
        );
        page.histogram(
            "aloud_first_audio_seconds",
            "Time from the text of a stream to its first audio on the way to the client.",
            &self.first_audio,
        );
        page.histogram(
            "aloud_sentence_gap_seconds",
            "Silence that a listener hears between two sentences.",
            &self.gaps,
        );
        page.one(
            "aloud_audio_seconds_total",
            "counter",
            "Audio that was sent, in sessions that have ended.",
            seconds(count(&self.audio_ms)),
        );
        page.one(
            "aloud_wasted_audio_seconds_total",
            "counter",
            "Audio that was synthesised and not heard, in sessions that have ended.",
            seconds(now.wasted.as_millis() as u64),
        );

        page.family(
            "aloud_syntheses",
            "gauge",
            "Sentences in flight, and sentences that wait for an engine.",
        );
        page.sample("aloud_syntheses", "state=\"running\"", now.syntheses);
        page.sample("aloud_syntheses", "state=\"queued\"", now.waiting_syntheses);
        page.one("aloud_scripts", "gauge", "Answers that language models write now.", now.scripts);
        page.counts(
            "aloud_engine_errors_total",
            "Sentences that failed, by error code.",
            "code",
            &self.engine_errors,
        );
        page.counts(
            "aloud_writer_errors_total",
            "Answers of a language model that failed, by error code.",
            "code",
            &self.writer_errors,
        );
        page.0
    }

    /// Counts a session by its phase, until the returned value is dropped.
    fn enter(&self, phase: Phase) -> Counted {
        self.sessions[phase as usize].enter()
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// The text format (Prometheus exposition formats, 0.0.4).
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    /// A family of one, without a label.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counts(&mut self, name: &str, help: &str, label: &str, counts: &Counts) {
        self.family(name, "counter", help);
        for (value, count) in counts.values.iter().zip(&counts.counts) {
            self.sample(name, &format!("{label}=\"{value}\""), count.load(Ordering::Relaxed));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        let bounds = histogram.bounds_us.iter().map(|us| format!("{}", *us as f64 / 1e6));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&histogram.counts) {
            below += count.load(Ordering::Relaxed);
            self.sample(&bucket, &format!("le=\"{bound}\""), below);
        }
        let sum = histogram.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(self.0, "{name}_sum {sum}\n{name}_count {below}");
    }
}

/// A counter of the program that embeds a service, in the same format.
pub(super) fn counter(name: &str, help: &str, value: u64) -> String {
    let mut page = Page(String::new());
    page.one(name, "counter", help, value);
    page.0
}

/// Figures of one connection that were not added to the totals yet, and the phase of its session.
#[derive(Default)]
pub(crate) struct Meter {
    bytes: u64,
    messages: u32,
    audio_frames: u32,
    /// Bytes of the answer to the handshake that are still to leave, and are not counted.
    answer_bytes: u32,
    phase: Option<(Phase, Counted)>,
}

impl Meter {
    /// Leaves the first bytes out of the count: the answer to the handshake.
    pub(crate) fn leave_out(&mut self, answer_bytes: usize) {
        self.answer_bytes = answer_bytes as u32;
    }

    /// Counts one write.
    pub(crate) fn wrote(&mut self, telemetry: &Telemetry, bytes: usize, frames: (usize, usize)) {
        let answer_bytes = bytes.min(self.answer_bytes as usize);
        self.answer_bytes -= answer_bytes as u32;
        self.bytes += (bytes - answer_bytes) as u64;
        self.messages += frames.0 as u32;
        self.audio_frames += frames.1 as u32;
        if self.bytes >= STEP_BYTES {
            self.report(telemetry);
        }
    }

    /// Counts one message.
    pub(crate) fn sent_message(&mut self) {
        self.messages += 1;
    }

    /// Adds the figures to the totals.
    pub(crate) fn report(&mut self, telemetry: &Telemetry) {
        let Meter { bytes, messages, audio_frames, .. } = self;
        telemetry.sent_bytes.fetch_add(std::mem::take(bytes), Ordering::Relaxed);
        telemetry.sent_messages.fetch_add(std::mem::take(messages).into(), Ordering::Relaxed);
        telemetry.sent_audio_frames.fetch_add(std::mem::take(audio_frames).into(), Ordering::Relaxed);
    }

    /// Counts the session by its present phase; `None` without a session.
    pub(crate) fn enter(&mut self, telemetry: &Telemetry, phase: Option<Phase>) {
        if self.phase.as_ref().map(|(phase, _)| *phase) != phase {
            self.phase = phase.map(|phase| (phase, telemetry.enter(phase)));
            // The figures of a stream are visible when it is over.
            self.report(telemetry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> Present {
        Present {
            connections: 1,
            frozen_sessions: 2,
            frozen_bytes: 3,
            live_bytes: 4,
            syntheses: 4,
            waiting_syntheses: 5,
            scripts: 6,
            wasted: Duration::from_millis(1_500),
            is_ready: true,
        }
    }

    fn value(telemetry: &Telemetry, sample: &str) -> String {
        let page = telemetry.page(&present());
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in {page}")).to_owned()
    }

    #[test]
    fn a_time_falls_into_every_bucket_that_it_does_not_exceed() {
        let telemetry = Telemetry::new();
        for ms in [0, 5, 6, 31_000] {
            telemetry.waited(Wait::FirstAudio(Duration::from_millis(ms)));
        }
        for (sample, expected) in [
            ("aloud_first_audio_seconds_bucket{le=\"0.005\"}", "2"),
            ("aloud_first_audio_seconds_bucket{le=\"0.01\"}", "3"),
            ("aloud_first_audio_seconds_bucket{le=\"30\"}", "3"),
            ("aloud_first_audio_seconds_bucket{le=\"+Inf\"}", "4"),
            ("aloud_first_audio_seconds_sum", "31.011"),
            ("aloud_first_audio_seconds_count", "4"),
            ("aloud_sentence_gap_seconds_count", "0"),
            ("aloud_wasted_audio_seconds_total", "1.5"),
            ("aloud_syntheses{state=\"queued\"}", "5"),
        ] {
            assert_eq!(value(&telemetry, sample), expected, "{sample}");
        }
    }

    #[test]
    fn what_is_unknown_has_no_label_of_its_own() {
        let telemetry = Telemetry::new();
        let lines = telemetry.page(&present()).lines().count();
        for code in 1_000..=4_999 {
            telemetry.closed(ClosedBy::Client(Some(code)));
        }
        telemetry.closed(ClosedBy::Client(None));
        telemetry.closed(ClosedBy::Lost);
        telemetry.shook_hands(418);
        assert_eq!(telemetry.page(&present()).lines().count(), lines);
        for (sample, expected) in [
            ("aloud_closes_total{by=\"client\",code=\"1005\"}", "2"),
            ("aloud_closes_total{by=\"client\",code=\"4400\"}", "1"),
            ("aloud_closes_total{by=\"client\",code=\"other\"}", "3973"),
            ("aloud_closes_total{by=\"nobody\",code=\"1006\"}", "1"),
            ("aloud_handshakes_total{status=\"other\"}", "1"),
        ] {
            assert_eq!(value(&telemetry, sample), expected, "{sample}");
        }
    }

    #[test]
    fn an_engine_fails_after_some_failures_in_a_row() {
        let telemetry = Telemetry::new();
        let failed = || telemetry.engine_failed("engine_failed", &SynthesisError::failed("No."));
        let mute = || telemetry.engine_failed("engine_no_audio", &SynthesisError::no_audio("No."));
        assert!(!telemetry.engine_fails(), "untried");
        (1..FAILURES).for_each(|_| failed());
        telemetry.engine_spoke();
        (1..FAILURES).for_each(|_| failed());
        (0..FAILURES).for_each(|_| mute());
        assert!(!telemetry.engine_fails(), "not in a row");
        failed();
        assert!(telemetry.engine_fails());
        telemetry.warm_up_began();
        assert!(telemetry.engine_fails() && telemetry.is_warming_up());
        telemetry.warm_up_ended(true);
        assert!(!telemetry.engine_fails() && !telemetry.is_warming_up());
        telemetry.warm_up_ended(false);
        assert!(telemetry.engine_fails());
    }

    #[test]
    fn a_meter_tells_what_it_has_counted_once() {
        let telemetry = Telemetry::new();
        let mut meter = Meter::default();
        meter.enter(&telemetry, Some(Phase::Idle));
        meter.wrote(&telemetry, 100, (1, 2));
        assert_eq!(value(&telemetry, "aloud_sent_bytes_total"), "0", "not for each write");
        meter.enter(&telemetry, Some(Phase::Streaming));
        assert_eq!(value(&telemetry, "aloud_sessions{state=\"idle\"}"), "0");
        assert_eq!(value(&telemetry, "aloud_sessions{state=\"streaming\"}"), "1");
        meter.wrote(&telemetry, 70_000, (0, 3));
        meter.sent_message();
        meter.enter(&telemetry, None);
        assert_eq!(value(&telemetry, "aloud_sessions{state=\"streaming\"}"), "0");
        assert_eq!(value(&telemetry, "aloud_sent_bytes_total"), "70100");
        assert_eq!(value(&telemetry, "aloud_sent_frames_total{opcode=\"text\"}"), "2");
        assert_eq!(value(&telemetry, "aloud_sent_frames_total{opcode=\"binary\"}"), "5");
    }
}
