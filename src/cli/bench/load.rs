//! The load: connections that open, listen and leave, all in one thread; and the measurement.

use super::figures::{BenchCpu, Report, Spent, Tally, Trouble, Window, count};
use super::listener::{Habits, Listener};
use super::opening::Target;
use super::process;
use super::{Bench, Mode};
use std::cell::RefCell;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, IsTerminal, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// Bytes of one read: usually all that a socket holds.
const READ_BYTES: usize = 256 * 1024;

/// Number of connections that open at the same time.
const OPENING: usize = 64;

/// Time for all connections to open. After it, the open ones are measured.
const OPENING_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for the server's first message, and for its side of the closing handshake.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for all listeners to leave.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause after a failed handshake.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Time over which paced streams start, evenly, so that not all are due at the same moment.
const SPREAD: Duration = Duration::from_secs(1);

/// Interval between two updates of the progress line.
const PROGRESS: Duration = Duration::from_millis(250);

thread_local! {
    /// Read buffer of all connections: audio is counted, not stored.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// Phase of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Running,
    Leaving,
}

/// State that all connections share.
struct Load {
    target: Target,
    habits: Habits,
    connections: usize,
    is_paced: bool,
    tally: Mutex<Tally>,
    phase: watch::Sender<Phase>,
    opening: Semaphore,
}

/// One connection.
struct OpenLink {
    socket: TcpStream,
    listener: Listener,
    /// Bytes to send.
    out: Vec<u8>,
}

impl OpenLink {
    /// Reads the server's next bytes and passes them to the listener.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn read(&mut self, load: &Load) -> Result<(), Trouble> {
        let is_full = poll_fn(|cx| {
            READ.with_borrow_mut(|buffer| {
                let mut space = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.socket).poll_read(cx, &mut space))?;
                let input = space.filled();
                if input.is_empty() {
                    return Poll::Ready(Err(Trouble::new("connection ended without a Close")));
                }
                let tally = &mut load.tally();
                self.listener.take(input, Instant::now(), &load.habits, tally, &mut self.out)?;
                Poll::Ready(Ok(space.remaining() == 0))
            })
        })
        .await?;
        if is_full {
            // More data waits; other connections take their turn first.
            yield_now().await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Trouble> {
        if !self.out.is_empty() {
            self.socket.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }
}

impl Load {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a connection and reads the server's first message.
    async fn open(&self, number: usize) -> Result<OpenLink, Trouble> {
        let begun = Instant::now();
        let opened = self.target.open().await?;
        self.tally().window.handshakes.add(begun.elapsed());
        let listener = Listener::new(number, self.habits.format, begun);
        let mut link = OpenLink { socket: opened.socket, listener, out: Vec::new() };
        let now = Instant::now();
        link.listener.take(&opened.early, now, &self.habits, &mut self.tally(), &mut link.out)?;
        let greeted = async {
            while !link.listener.is_greeted() {
                link.read(self).await?;
            }
            Ok::<(), Trouble>(())
        };
        let late = |_| Trouble::new("no session_start within 10 s");
        timeout(ANSWER_TIMEOUT, greeted).await.map_err(late)??;
        Ok(link)
    }

    /// Runs one listener, on `link` or a new connection. Drops `arrived` once it is open.
    async fn listen(self: Arc<Load>, number: usize, link: Option<OpenLink>, arrived: mpsc::Sender<()>) {
        let link = match link {
            Some(link) => Ok(link),
            None => {
                let _permit = self.opening.acquire().await;
                self.open(number).await
            }
        };
        let result = match link {
            Ok(mut link) => {
                self.tally().open += 1;
                drop(arrived);
                let result = self.converse(number, &mut link).await;
                if result.is_err() {
                    link.listener.close(1002, &mut link.out);
                    // One attempt: the server may be gone or may not read.
                    let _ = link.socket.try_write(&link.out);
                    self.tally().open -= 1;
                }
                result
            }
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = result {
            self.tally().trouble(trouble);
        }
    }

    async fn converse(&self, number: usize, link: &mut OpenLink) -> Result<(), Trouble> {
        let mut phase = self.phase.subscribe();
        phase.mark_changed();
        loop {
            link.flush().await?;
            if link.listener.is_closed() {
                return Ok(());
            }
            let due = link.listener.next_start();
            tokio::select! {
                biased;
                read = link.read(self) => read?,
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    link.listener.start(&self.habits, Instant::now(), &mut link.out);
                }
                changed = phase.changed() => match *phase.borrow_and_update() {
                    _ if changed.is_err() => return Ok(()),
                    Phase::Opening => {}
                    Phase::Running => {
                        let spread = if self.is_paced { SPREAD } else { Duration::ZERO };
                        let share = number as f64 / self.connections as f64;
                        link.listener.start_at(Instant::now() + spread.mul_f64(share));
                    }
                    Phase::Leaving => link.listener.end(&mut link.out),
                },
            }
        }
    }

    /// Opens and closes one connection after another.
    async fn shake_hands(self: Arc<Load>, number: usize) {
        while *self.phase.borrow() != Phase::Leaving {
            if let Err(trouble) = self.come_and_go(number).await {
                self.tally().trouble(trouble);
                sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn come_and_go(&self, number: usize) -> Result<(), Trouble> {
        let mut link = self.open(number).await?;
        link.listener.close(1000, &mut link.out);
        let closed = async {
            link.flush().await?;
            while !link.listener.is_closed() {
                link.read(self).await?;
            }
            // The server is the first to close TCP (RFC 6455 §7.1.1).
            while poll_fn(|cx| {
                READ.with_borrow_mut(|buffer| {
                    let mut space = ReadBuf::new(buffer);
                    ready!(Pin::new(&mut link.socket).poll_read(cx, &mut space))?;
                    Poll::Ready(io::Result::Ok(!space.filled().is_empty()))
                })
            })
            .await?
            {}
            Ok(())
        };
        let late = |_| Trouble::new("the closing handshake took more than 10 s");
        timeout(ANSWER_TIMEOUT, closed).await.map_err(late)?
    }
}

/// Figures of a measurement.
pub(super) struct Measured {
    open: usize,
    time: Duration,
    window: Window,
    tally: Tally,
    spent: Spent,
    own: BenchCpu,
    is_interrupted: bool,
}

impl Measured {
    pub(super) fn report<'a>(self, asked: &'a Bench, url: &'a str, server: String) -> Report<'a> {
        let Measured { open, time, window, tally, spent, own, is_interrupted } = self;
        Report { asked, url, server, open, time, window, tally, spent, own, is_interrupted }
    }
}

/// Opens the connections, measures, and closes them. `stop` ends it early.
///
/// # Errors
/// The first connection could not be opened, or `stop` came before all were open.
pub(super) async fn measure(
    asked: &Bench,
    target: Target,
    habits: Habits,
    server: Option<u32>,
    stop: impl Future<Output = ()>,
) -> Result<Measured, Box<dyn Error>> {
    let load = Arc::new(Load {
        target,
        habits,
        connections: asked.connections,
        is_paced: asked.mode == Mode::Paced,
        tally: Mutex::new(Tally::new(asked.connections)),
        phase: watch::Sender::new(Phase::Opening),
        opening: Semaphore::new(OPENING),
    });
    let mut stop = std::pin::pin!(stop);
    let interrupted = || -> Box<dyn Error> { "interrupted before anything was measured".into() };
    let memory = server.and_then(process::memory);

    // If one connection fails, more would fail too.
    let first = tokio::select! {
        () = &mut stop => return Err(interrupted()),
        first = load.open(0) => first.map_err(|trouble| trouble.kind().to_owned())?,
    };
    let mut screen = ProgressLine::new(asked.mode);
    let mut tasks = JoinSet::new();
    if asked.mode == Mode::Handshake {
        drop(first);
        for number in 0..asked.connections {
            tasks.spawn(Arc::clone(&load).shake_hands(number));
        }
    } else {
        let (arrived, mut all_arrived) = mpsc::channel(1);
        let mut first = Some(first);
        for number in 0..asked.connections {
            tasks.spawn(Arc::clone(&load).listen(number, first.take(), arrived.clone()));
        }
        drop(arrived);
        let all_arrived = async { _ = timeout(OPENING_TIMEOUT, all_arrived.recv()).await };
        if screen.show_until(all_arrived, &load, "opening", stop.as_mut()).await {
            return Err(interrupted());
        }
    }
    if asked.mode != Mode::Idle {
        load.phase.send_replace(Phase::Running);
    }
    let own = std::process::id();
    let figures = || (Instant::now(), server.and_then(process::cpu), process::cpu(own), process::waited(own));
    let begin = || {
        load.tally().turn();
        figures()
    };
    let open = match asked.mode {
        Mode::Handshake => asked.connections,
        _ => load.tally().open,
    };
    let mut before = begin();
    let mut is_interrupted =
        screen.show_until(sleep(asked.mode.warm_up()), &load, "warming up", stop.as_mut()).await;
    if !is_interrupted {
        before = begin();
        is_interrupted = screen.show_until(sleep(asked.time), &load, "measuring", stop.as_mut()).await;
    }
    let after = figures();
    let window = load.tally().turn();
    let grown = match (memory, server.and_then(process::memory)) {
        (Some(before), Some(after)) => Some(after.saturating_sub(before)),
        _ => None,
    };
    let between = |before: Option<Duration>, after: Option<Duration>| Some(after?.saturating_sub(before?));
    let spent = Spent { cpu: between(before.1, after.1), grown };

    load.phase.send_replace(Phase::Leaving);
    let _ = timeout(LEAVING_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
    screen.clear();
    let tally = std::mem::replace(&mut *load.tally(), Tally::new(0));
    let own = BenchCpu { cpu: between(before.2, after.2), waited: between(before.3, after.3) };
    Ok(Measured { open, time: after.0 - before.0, window, tally, spent, own, is_interrupted })
}

/// The progress line, if stderr is a terminal.
struct ProgressLine {
    mode: Mode,
    is_terminal: bool,
    begun: Instant,
    /// Time of the last update, and the frames and handshakes then.
    drawn: (Instant, u64, u64),
}

impl ProgressLine {
    fn new(mode: Mode) -> ProgressLine {
        let now = Instant::now();
        ProgressLine { mode, is_terminal: io::stderr().is_terminal(), begun: now, drawn: (now, 0, 0) }
    }

    /// Shows the progress until a future is ready. True if `stop` came first.
    async fn show_until(
        &mut self,
        done: impl Future<Output = ()>,
        load: &Load,
        doing: &str,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        let mut done = std::pin::pin!(done);
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begun = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.as_mut() => return true,
                () = done.as_mut() => return false,
                _ = ticks.tick(), if self.is_terminal => self.draw(load, doing),
            }
        }
    }

    fn draw(&mut self, load: &Load, doing: &str) {
        let now = Instant::now();
        let (frames, handshakes, open) = {
            let tally = load.tally();
            (tally.window.frames, tally.window.handshakes.count(), tally.open)
        };
        let time = (now - self.drawn.0).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| count((now.saturating_sub(before) as f64 / time) as u64);
        let what = match self.mode {
            Mode::Handshake => format!("{} handshakes/s", rate(handshakes, self.drawn.2)),
            Mode::Idle => format!("{} connections open", count(open as u64)),
            Mode::Burst | Mode::Paced => {
                format!("{} frames/s, {} connections open", rate(frames, self.drawn.1), count(open as u64))
            }
        };
        self.drawn = (now, frames, handshakes);
        let seconds = self.begun.elapsed().as_secs();
        let _ = io::stderr().write_all(format!("\r\x1b[K  {doing}, {seconds} s: {what}").as_bytes());
    }

    fn clear(&self) {
        if self.is_terminal {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
