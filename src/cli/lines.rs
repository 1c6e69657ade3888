//! Log lines for the operator on standard error, written by a thread of their own. If standard
//! error is a pipe without a reader, lines are dropped; sessions never wait for it.
//!
//! This is a `tracing` subscriber for events without spans. `tracing-subscriber` would add five
//! packages, and its non-blocking writer another five.

use super::{LogFormat, Logging};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Most lines that wait for stderr. Further lines are dropped, and counted.
const LINES_IN_FLIGHT: usize = 1_000;

/// Time after a write in which lines are collected. Waking the writing thread costs a thread that
/// logs more than the line itself, and so it is woken rarely if there are many lines.
const PAUSE: Duration = Duration::from_millis(10);

/// Number of bytes in one write, if no line is longer.
const WRITE_BYTES: usize = 16 * 1024;

/// Time at the end of the program for lines that are not written yet.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Message to the writing thread.
enum Line {
    Text(String),
    /// Answer once all lines before this one are written.
    Flush(SyncSender<()>),
}

/// Connection to the writing thread. Dropping it flushes the lines.
pub(super) struct Lines {
    sender: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Starts to write the log lines of this process. Call it once.
    pub(super) fn begin(logging: Logging) -> Lines {
        let (sender, lines) = sync_channel(LINES_IN_FLIGHT);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { format: logging.format, dropped: Arc::clone(&dropped) };
        std::thread::spawn(move || writer.run(&lines));
        let sink = Sink { logging, sender: sender.clone(), dropped: Arc::clone(&dropped) };
        if tracing::subscriber::set_global_default(sink).is_ok() {
            log_panics(logging.text);
        }
        Lines { sender, dropped }
    }

    /// Number of lines dropped so far.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }
}

impl Drop for Lines {
    /// Waits for lines that are not written yet, up to [`LAST_LINES`].
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_LINES;
        let (written, is_written) = sync_channel(1);
        let mut last = Line::Flush(written);
        // The queue has room again once stderr is read.
        while let Err(TrySendError::Full(line)) = self.sender.try_send(last) {
            if Instant::now() >= deadline {
                return;
            }
            last = line;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = is_written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// A line of level info that goes elsewhere than to the log: as it is, or as an object.
pub(super) fn notice(format: LogFormat, message: String) -> String {
    match format {
        LogFormat::Text => message + "\n",
        LogFormat::Json => {
            Record { message, ..Record::new(Level::INFO, "aloud") }.line(format, SystemTime::now())
        }
    }
}

/// Replaces the default hook, which would wait for stderr, and may quote spoken text.
fn log_panics(with_text: bool) {
    panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("?");
        let message = if with_text { message } else { unquoted(message) };
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "a fault of the program: {message}");
    }));
}

/// Part of a panic's message before the first quotation.
fn unquoted(message: &str) -> &str {
    message.find(['`', '"']).map_or(message, |quote| message[..quote].trim_end())
}

struct Writer {
    format: LogFormat,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn run(&self, lines: &Receiver<Line>) {
        let mut reported = 0;
        let mut text = String::new();
        while let Ok(line) = lines.recv() {
            let mut next = Some(line);
            while let Some(line) = next {
                let flushed = match line {
                    Line::Text(line) => {
                        text.push_str(&line);
                        None
                    }
                    Line::Flush(done) => Some(done),
                };
                next = lines.try_recv().ok();
                if next.is_none() || flushed.is_some() || text.len() >= WRITE_BYTES {
                    let _ = io::stderr().write_all(text.as_bytes());
                    text.clear();
                    self.report_dropped(&mut reported);
                }
                if let Some(flushed) = flushed {
                    let _ = flushed.send(());
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Logs how many lines were dropped since the last report.
    fn report_dropped(&self, reported: &mut u64) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > *reported {
            let lines = dropped - *reported;
            let message = format!("{lines} log lines were dropped because standard error was not read");
            let mut record = Record::new(Level::WARN, "aloud");
            record.message = message;
            let _ = io::stderr().write_all(record.line(self.format, SystemTime::now()).as_bytes());
            *reported = dropped;
        }
    }
}

struct Sink {
    logging: Logging,
    sender: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Subscriber for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries may report what is wrong, but not what they do.
        let is_ours = metadata.target().starts_with("aloud");
        metadata.is_event()
            && *metadata.level() <= self.logging.level
            && (is_ours || *metadata.level() <= Level::WARN)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.logging.level))
    }

    fn event(&self, event: &Event<'_>) {
        let mut record = Record::new(*event.metadata().level(), event.metadata().target());
        event.record(&mut record);
        let line = record.line(self.logging.format, SystemTime::now());
        if self.sender.try_send(Line::Text(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    // No span is enabled, and so these are never called.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Content of one event.
struct Record {
    level: Level,
    target: String,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    fn new(level: Level, target: &str) -> Record {
        Record { level, target: target.to_owned(), message: String::new(), fields: Vec::new() }
    }

    /// The line with its end.
    fn line(self, format: LogFormat, now: SystemTime) -> String {
        let level = self.level.as_str().to_ascii_lowercase();
        match format {
            LogFormat::Text => {
                let mut line = format!("{} {level}: {}", timestamp(now), printable(&self.message));
                for (name, value) in &self.fields {
                    // Writing to a string does not fail.
                    let _ = match value {
                        Value::String(text) if is_word(text) => write!(line, " {name}={text}"),
                        value => write!(line, " {name}={}", visible_json(&value.to_string())),
                    };
                }
                line.push('\n');
                line
            }
            LogFormat::Json => {
                let mut object = Map::new();
                object.insert("time".to_owned(), timestamp(now).into());
                object.insert("level".to_owned(), level.into());
                object.insert("target".to_owned(), self.target.into());
                object.insert("message".to_owned(), self.message.into());
                object.extend(self.fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
                format!("{}\n", visible_json(&Value::Object(object).to_string()))
            }
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, value.into())),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.into()));
    }
}

/// True if a value needs no quotes.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    !text.is_empty() && text.chars().all(is_plain)
}

/// Escapes line ends, terminal commands and other invisible characters, so that the text is one line and looks
/// like what it is.
pub(crate) fn printable(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        match is_visible(c) {
            true => line.push(c),
            false => line.extend(c.escape_default()),
        }
    }
    line
}

/// The same for JSON, whose strings have escapes of their own. A reader gets the original characters.
fn visible_json(json: &str) -> Cow<'_, str> {
    if json.chars().all(is_visible) {
        return json.into();
    }
    let mut line = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match is_visible(c) {
            true => line.push(c),
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string does not fail.
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.into()
}

/// True if a character shows as itself: it is no control character of C0 or C1, turns no text around, and has
/// a width. The standard library escapes most others; a few marks and letters without a width are left.
fn is_visible(c: char) -> bool {
    const BLANK: [RangeInclusive<char>; 9] = [
        '\u{34f}'..='\u{34f}',
        '\u{115f}'..='\u{1160}',
        '\u{17b4}'..='\u{17b5}',
        '\u{180b}'..='\u{180f}',
        '\u{2800}'..='\u{2800}',
        '\u{3164}'..='\u{3164}',
        '\u{fe00}'..='\u{fe0f}',
        '\u{ffa0}'..='\u{ffa0}',
        '\u{e0000}'..='\u{e0fff}',
    ];
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Behind another character, combining marks count as printable.
    let mut pair = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut pair[1..]).len();
    let is_printed = std::str::from_utf8(&pair[..length]).is_ok_and(|pair| pair.escape_debug().count() == 2);
    is_printed && !BLANK.iter().any(|range| range.contains(&c))
}

/// Formats a time as UTC with milliseconds (RFC 3339).
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second, millis) =
        (second / 3_600, second / 60 % 60, second % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns the date this many days after 1970-01-01, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let fields = vec![
            ("id", "7a10".into()),
            ("reason", "Two words\n".into()),
            ("empty", "".into()),
            ("streams", 3.into()),
            ("is_kept", true.into()),
        ];
        let (level, target) = (Level::INFO, "aloud::server".to_owned());
        Record { level, target, message: "session \"ended\"\u{1b}[2J".to_owned(), fields }
    }

    #[test]
    fn a_line_is_one_line_in_either_format() {
        let at = UNIX_EPOCH + Duration::from_millis(1_456_790_399_007);
        assert_eq!(
            record().line(LogFormat::Text, at),
            "2016-02-29T23:59:59.007Z info: session \"ended\"\\u{1b}[2J id=7a10 reason=\"Two words\\n\" \
             empty=\"\" streams=3 is_kept=true\n"
        );
        let line = record().line(LogFormat::Json, at);
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2016-02-29T23:59:59.007Z");
        assert_eq!(value["level"], "info");
        assert_eq!(value["target"], "aloud::server");
        assert_eq!(value["message"], "session \"ended\"\u{1b}[2J");
        assert_eq!((&value["reason"], &value["streams"]), (&"Two words\n".into(), &3.into()));
    }

    #[test]
    fn invisible_characters_are_escaped_in_either_format() {
        let invisible = [
            "\0",
            "\n",
            "\r",
            "\t",
            "\u{1b}",
            "\u{7f}",
            "\u{80}",
            "\u{85}",
            "\u{9b}",
            "\u{9f}",
            "\u{a0}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}",
            "\u{180e}",
            "\u{200b}",
            "\u{200d}",
            "\u{200e}",
            "\u{200f}",
            "\u{2028}",
            "\u{2029}",
            "\u{202a}",
            "\u{202b}",
            "\u{202c}",
            "\u{202d}",
            "\u{202e}",
            "\u{2060}",
            "\u{2066}",
            "\u{2067}",
            "\u{2068}",
            "\u{2069}",
            "\u{206f}",
            "\u{2800}",
            "\u{3000}",
            "\u{3164}",
            "\u{feff}",
            "\u{fff9}",
            "\u{ffa0}",
            "\u{e000}",
            "\u{fdd0}",
            "\u{1d173}",
            "\u{e0001}",
            "\u{e0041}",
            "\u{e0100}",
            "\u{10ffff}",
        ];
        for text in invisible {
            for format in [LogFormat::Text, LogFormat::Json] {
                let mut record = Record::new(Level::INFO, "aloud");
                record.message = format!("a{text}b");
                record.fields = vec![("reason", format!("c{text}d").into()), ("word", text.into())];
                let line = record.line(format, UNIX_EPOCH);
                assert!(!line.trim_end_matches('\n').contains(text), "{line:?}");
                if format == LogFormat::Json {
                    let value: Value = serde_json::from_str(&line).unwrap();
                    assert_eq!(
                        (&value["message"], &value["reason"]),
                        (&format!("a{text}b").into(), &format!("c{text}d").into())
                    );
                }
            }
        }
        let visible = "Gr\u{fc}\u{df} Gott \u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940} e\u{301} \u{65e5}\u{672c} \u{1f375} \u{5e9}\u{5dc} \u{2026}";
        assert_eq!((&*printable(visible), &*visible_json(visible)), (visible, visible));
    }

    #[test]
    fn days_become_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (30, (1970, 1, 31)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (364, (1970, 12, 31)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (20_782, (2026, 11, 25)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn a_panic_quotes_no_text() {
        for (message, expected) in [
            ("index out of bounds: the len is 3", "index out of bounds: the len is 3"),
            ("byte index 1 is not a char boundary of `Hello`", "byte index 1 is not a char boundary of"),
            ("failed: Error(\"Hello\")", "failed: Error("),
        ] {
            assert_eq!(unquoted(message), expected);
        }
    }
}
