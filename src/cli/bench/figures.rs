//! The figures of a measurement, and their report as JSON or as a table.

use super::histogram::Histogram;
use super::{Bench, Mode};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::time::Duration;

/// Most kinds of trouble that are counted separately, for servers with ever new messages.
const MAX_KINDS: usize = 50;

/// Share of a core from which the bench counts as the limit of the figures.
const FULL: f64 = 0.9;

/// Trouble with a connection. Equal kinds are counted together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble(Cow<'static, str>);

impl Trouble {
    pub(super) fn new(kind: impl Into<Cow<'static, str>>) -> Trouble {
        Trouble(kind.into())
    }

    /// Returns the trouble for the message of an `error`.
    pub(super) fn reported(message: &str) -> Trouble {
        Trouble::new(format!("error: {}", message.chars().take(80).collect::<String>()))
    }

    pub(super) fn kind(&self) -> &str {
        &self.0
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::new(error.kind().to_string())
    }
}

/// Counts between the beginning and the end of a measurement.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Number of binary messages, and of their bytes.
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Times between two pieces of audio of a stream, as read from the socket.
    pub(super) gaps: Histogram,
    /// Delays of frames behind the listener's clock.
    pub(super) late: Histogram,
    /// Durations of opening handshakes, connecting included.
    pub(super) handshakes: Histogram,
    /// Number of streams that ended.
    pub(super) streams: u64,
    /// Number of frames of each connection.
    per_connection: Vec<u64>,
}

impl Window {
    fn of(connections: usize) -> Window {
        Window { per_connection: vec![0; connections], ..Window::default() }
    }
}

/// Counts of all connections together.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) window: Window,
    /// Times from `start_session` to the first audio of all streams.
    pub(super) first_audio: Histogram,
    /// Number of open connections.
    pub(super) open: usize,
    /// Number of streams that the listener left early, and their wasted audio as announced by the server.
    left: u64,
    wasted: Duration,
    troubles: BTreeMap<Cow<'static, str>, u64>,
}

impl Tally {
    pub(super) fn new(connections: usize) -> Tally {
        Tally {
            window: Window::of(connections),
            first_audio: Histogram::default(),
            open: 0,
            left: 0,
            wasted: Duration::ZERO,
            troubles: BTreeMap::new(),
        }
    }

    /// Ends the current window and starts a new one.
    pub(super) fn turn(&mut self) -> Window {
        let connections = self.window.per_connection.len();
        std::mem::replace(&mut self.window, Window::of(connections))
    }

    pub(super) fn heard(&mut self, connection: usize, frames: u64, bytes: u64) {
        self.window.frames += frames;
        self.window.bytes += bytes;
        self.window.per_connection[connection] += frames;
    }

    /// Counts a stream that ended, or that its listener left.
    pub(super) fn ended(&mut self, wasted: Option<Duration>, is_leaving: bool) {
        self.window.streams += u64::from(!is_leaving);
        if let (Some(wasted), true) = (wasted, is_leaving) {
            self.left += 1;
            self.wasted += wasted;
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let is_new = !self.troubles.contains_key(&trouble.0);
        let kind = if is_new && self.troubles.len() >= MAX_KINDS { "others".into() } else { trouble.0 };
        *self.troubles.entry(kind).or_default() += 1;
    }

    pub(super) fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }
}

/// CPU and memory of the server in the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) cpu: Option<Duration>,
    /// Growth of resident memory from no connection to all of them, in bytes.
    pub(super) grown: Option<u64>,
}

/// CPU of the bench itself in the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BenchCpu {
    pub(super) cpu: Option<Duration>,
    /// Time in which the bench was ready to run and had no core.
    pub(super) waited: Option<Duration>,
}

/// A complete report.
pub(super) struct Report<'a> {
    pub(super) asked: &'a Bench,
    pub(super) url: &'a str,
    /// Description of the server.
    pub(super) server: String,
    /// Number of connections open at the start of the window.
    pub(super) open: usize,
    /// Duration of the window.
    pub(super) time: Duration,
    pub(super) window: Window,
    pub(super) tally: Tally,
    pub(super) spent: Spent,
    pub(super) own: BenchCpu,
    pub(super) is_interrupted: bool,
}

impl Report<'_> {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64()
    }

    fn cores(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.time.as_secs_f64()
    }

    /// Returns the server's CPU time for each of `count`, in µs.
    fn cpu_us_each(&self, count: f64) -> Option<f64> {
        let cpu = self.spent.cpu?;
        (count > 0.0).then(|| cpu.as_secs_f64() * 1e6 / count)
    }

    fn connection_seconds(&self) -> f64 {
        self.open as f64 * self.time.as_secs_f64()
    }

    fn memory_each(&self) -> Option<u64> {
        let grown = self.spent.grown?;
        (self.open > 0 && self.asked.mode != Mode::Handshake).then(|| grown / self.open as u64)
    }

    /// True if the bench limited the figures: its core was full, with the bench or with other programs.
    fn was_full(&self) -> bool {
        let BenchCpu { cpu, waited } = self.own;
        cpu.is_some_and(|cpu| self.cores(cpu + waited.unwrap_or_default()) >= FULL)
    }

    fn wasted_ms(&self) -> Option<f64> {
        let Tally { left, wasted, .. } = &self.tally;
        (*left > 0).then(|| wasted.as_secs_f64() * 1000.0 / *left as f64)
    }

    /// Returns the smallest, the median and the largest number of frames of a connection.
    fn shares(&self) -> Option<[u64; 3]> {
        let mut frames = self.window.per_connection.clone();
        frames.sort_unstable();
        let streams = matches!(self.asked.mode, Mode::Burst | Mode::Paced);
        (streams && self.window.frames > 0)
            .then(|| [frames[0], frames[frames.len() / 2], frames[frames.len() - 1]])
    }

    /// Returns the report as one line of JSON.
    pub(super) fn to_json(&self) -> String {
        let figure = |value: Option<f64>| value.map(|value| (value * 1000.0).round() / 1000.0);
        let times = |histogram: &Histogram| match histogram.count() {
            0 => Value::Null,
            count => json!({
                "count": count,
                "p50": histogram.at(0.5),
                "p99": histogram.at(0.99),
                "max": histogram.max(),
            }),
        };
        let window = &self.window;
        let handshakes = window.handshakes.count();
        let shares =
            self.shares().map(|[least, middle, most]| json!({"min": least, "p50": middle, "max": most}));
        json!({
            "mode": self.asked.mode.name(),
            "url": self.url,
            "connections": self.asked.connections,
            "connections_open": self.open,
            "seconds": figure(Some(self.time.as_secs_f64())),
            "interrupted": self.is_interrupted,
            "frames_per_s": figure(Some(self.per_second(window.frames))),
            "mb_per_s": figure(Some(self.per_second(window.bytes) / 1e6)),
            "streams": window.streams,
            "handshakes_per_s": figure((handshakes > 0).then(|| self.per_second(handshakes))),
            "server_cpu_cores": figure(self.spent.cpu.map(|cpu| self.cores(cpu))),
            "server_cpu_us_per_frame": figure(self.cpu_us_each(window.frames as f64)),
            "server_cpu_us_per_handshake": figure(self.cpu_us_each(handshakes as f64)),
            "server_cpu_us_per_connection_s": figure(match self.asked.mode {
                Mode::Handshake => None,
                _ => self.cpu_us_each(self.connection_seconds()),
            }),
            "server_rss_bytes_per_connection": self.memory_each(),
            "first_audio_us": times(&self.tally.first_audio),
            "handshake_us": times(&window.handshakes),
            "gap_us": times(&window.gaps),
            "late_us": times(&window.late),
            "wasted_ms_per_listener": figure(self.wasted_ms()),
            "frames_of_connection": shares,
            "bench_cpu_cores": figure(self.own.cpu.map(|cpu| self.cores(cpu))),
            "bench_waited_cores": figure(self.own.waited.map(|waited| self.cores(waited))),
            "bench_was_full": self.was_full(),
            "errors": self.tally.troubles.iter().map(|(kind, count)| (kind.to_string(), json!(count)))
                .collect::<serde_json::Map<_, _>>(),
        })
        .to_string()
    }

    /// Returns the report as a table for people.
    pub(super) fn to_table(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut row = |name: &str, value: String| _ = writeln!(out, "  {name:<22} {value}");
        let asked = self.asked;
        let window = &self.window;
        let open = match self.open {
            open if open == asked.connections => count(open as u64),
            open => format!("{} of {}", count(open as u64), count(asked.connections as u64)),
        };
        let ended = if self.is_interrupted { ", interrupted" } else { "" };
        row("server", format!("{}, {}", self.url, self.server));
        let plural = if self.open == 1 { "" } else { "s" };
        row(
            "measured",
            format!(
                "{}, {open} connection{plural}, {:.1} s{ended}",
                asked.mode.name(),
                self.time.as_secs_f64()
            ),
        );
        if window.frames > 0 {
            let size = window.bytes as f64 / window.frames as f64;
            let frames = count(self.per_second(window.frames) as u64);
            row("frames", format!("{frames} /s of {size:.0} bytes"));
            row("audio", rate(self.per_second(window.bytes) / 1e6));
        }
        if window.handshakes.count() > 0 {
            row("handshakes", format!("{} /s", count(self.per_second(window.handshakes.count()) as u64)));
            row("handshake", times(&window.handshakes));
        }
        if let Some(cpu) = self.spent.cpu {
            let mut value = format!("{:.2} cores", self.cores(cpu));
            let mut each = |cost: Option<f64>, of: &str| {
                if let Some(us) = cost {
                    let _ = write!(value, ", {us:.3} µs per {of}");
                }
            };
            each(self.cpu_us_each(window.frames as f64), "frame");
            each(self.cpu_us_each(window.handshakes.count() as f64), "handshake");
            if asked.mode == Mode::Paced || asked.mode == Mode::Idle {
                each(self.cpu_us_each(self.connection_seconds()), "connection and second");
            }
            row("server CPU", value);
        }
        if let Some(bytes) = self.memory_each() {
            row("server memory", format!("{} bytes per connection", count(bytes)));
        }
        if self.tally.first_audio.count() > 0 {
            row("first audio", times(&self.tally.first_audio));
        }
        if window.gaps.count() > 0 {
            row("gaps", times(&window.gaps));
        }
        if window.late.count() > 0 {
            row("lateness", times(&window.late));
        }
        if let Some(ms) = self.wasted_ms() {
            row("wasted audio", format!("{ms:.0} ms per listener who left"));
        }
        if let Some([least, middle, most]) = self.shares() {
            let [least, middle, most] = [least, middle, most].map(count);
            row("frames of one", format!("least {least}, median {middle}, most {most}"));
        }
        if let Some(cpu) = self.own.cpu {
            let waited = self.cores(self.own.waited.unwrap_or_default());
            row(
                "bench CPU",
                format!("{:.2} cores, and waited for one {:.2} of the time", self.cores(cpu), waited),
            );
        }
        match self.tally.troubles.is_empty() {
            true => row("errors", "none".to_owned()),
            false => {
                for (kind, n) in &self.tally.troubles {
                    row("errors", format!("{} × {kind}", count(*n)));
                }
            }
        }
        if self.was_full() {
            out += "\nThe bench used a full core: the server may be faster than these figures.\n";
        }
        out
    }
}

/// Formats percentiles in a suitable unit.
fn times(histogram: &Histogram) -> String {
    let time = |us: u64| match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    };
    let [p50, p99] = [0.5, 0.99].map(|share| time(histogram.at(share)));
    format!("p50 {p50}, p99 {p99}, max {}", time(histogram.max()))
}

/// Formats a rate in MB/s.
fn rate(mb: f64) -> String {
    if mb < 100.0 { format!("{mb:.1} MB/s") } else { format!("{} MB/s", count(mb as u64)) }
}

/// Formats a whole number with commas between the thousands.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_commas() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn trouble_is_counted_by_kind_and_bounded() {
        let mut tally = Tally::new(1);
        for n in 0..1_000 {
            tally.trouble(Trouble::new("the same"));
            tally.trouble(Trouble::new(format!("kind {n}")));
        }
        assert_eq!(tally.troubles["the same"], 1_000);
        assert_eq!(tally.troubles.len(), MAX_KINDS + 1);
        assert_eq!(tally.troubles.values().sum::<u64>(), 2_000);
    }
}
