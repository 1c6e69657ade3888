//! The store is a server with the protocol of Redis.
//!
//! One thread has the one connection. Callers put their work into a queue, and the thread sends what has
//! gathered there in one batch after the other. The queue is bounded: the oldest work gives way.

use super::record::{Key, lock};
use super::{Claimed, Lost, News, OnNews, Presence, Settings, Written};
use crate::access::credential::Token;
use crate::access::shared::{REPORT_TTL, Report, Shared as SharedUse};
use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, Value,
};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Longest wait for the answer to a batch, and for a connection. Beyond it the store counts as down.
const PATIENCE: Duration = Duration::from_millis(500);

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// Time from one report on the clients to the next.
const TICK: Duration = Duration::from_millis(250);

/// Time from one batch to the next, in which work gathers: many small ones cost more.
const GATHER: Duration = Duration::from_millis(3);

/// Most work that waits, in bytes. A server that stops writes many sessions at once, some of them with audio.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Most records that wait, in bytes: there is always room for work that a client waits for. A record that finds no
/// room is tried again by its session.
const MAX_RECORD_BYTES: usize = MAX_WAITING_BYTES - 8 * 1024 * 1024;

/// Time for which a store that is gone is expected back.
const ABSENCE: Duration = Duration::from_secs(10);

/// Errors of a store that cannot serve for now, or no longer: another connection may find one that can.
const UNFIT: [&str; 6] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "TRYAGAIN"];

/// Most work in a batch, in bytes.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// Work in batches without an answer, in bytes, from which on the next one waits: a slow line takes its time for them.
const MAX_BUSY_BYTES: usize = 256 * 1024;

/// In front of the keys of sessions. The braces make keys of one session go to one node of a cluster.
const SESSION: &str = "aloud:s:";

/// In front of the keys of tickets that were used.
const TICKET: &str = "aloud:t:";

/// In front of the keys of clients.
const CLIENT: &str = "aloud:c:";

/// In front of the names of the channels of servers, on which they hear who has claimed their sessions.
const CHANNEL: &str = "aloud:r:";

/// The same, of the channels on which they get what other servers still had.
const GIFTS: &str = "aloud:g:";

/// The work that the store can do: each is a script, and so is done whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Put,
    Remove,
    Find,
    Claim,
    Spend,
    Give,
    Share,
}

impl Operation {
    const ALL: [Operation; 7] = [
        Operation::Put,
        Operation::Remove,
        Operation::Find,
        Operation::Claim,
        Operation::Spend,
        Operation::Give,
        Operation::Share,
    ];

    fn name(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Remove => "remove",
            Operation::Find => "find",
            Operation::Claim => "claim",
            Operation::Spend => "spend",
            Operation::Give => "give",
            Operation::Share => "share",
        }
    }

    /// True if it waits for a store that is away.
    fn waits(self) -> bool {
        matches!(self, Operation::Find | Operation::Claim)
    }

    fn script(self) -> &'static str {
        match self {
            Operation::Put => include_str!("put.lua"),
            Operation::Remove => include_str!("remove.lua"),
            Operation::Find | Operation::Claim => include_str!("claim.lua"),
            Operation::Spend => include_str!("spend.lua"),
            Operation::Give => include_str!("give.lua"),
            Operation::Share => include_str!("share.lua"),
        }
    }
}

/// Work for the store.
struct Job {
    operation: Operation,
    key: String,
    arguments: Vec<String>,
    answer: oneshot::Sender<Value>,
}

impl Job {
    fn bytes(&self) -> usize {
        size_of::<Job>() + self.key.len() + self.arguments.iter().map(String::len).sum::<usize>()
    }
}

/// Work that waits.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Those that wait until all work before them is done.
    flushes: Vec<oneshot::Sender<()>>,
    is_closed: bool,
    /// Since when the store is gone, unless it is there.
    gone_since: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
}

/// Shared by the callers and the thread.
struct Shared {
    settings: Settings,
    queue: Mutex<Queue>,
    wake: Notify,
    is_up: AtomicBool,
    /// True if the store answers, and takes no records.
    is_full: AtomicBool,
    counts: [Counts; Operation::ALL.len()],
    /// Records that were written so far: a later one has a higher number.
    records: AtomicU64,
    batches: AtomicU64,
    batch_us: AtomicU64,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, operation: Operation, is_done: bool) {
        let counts = &self.counts[operation as usize];
        (if is_done { &counts.done } else { &counts.failed }).fetch_add(1, Ordering::Relaxed);
    }

    fn set_up(&self, is_up: bool) {
        let mut queue = self.queue();
        let since = queue.gone_since.unwrap_or_else(Instant::now);
        queue.gone_since = (!is_up).then_some(since);
        self.is_up.store(is_up, Ordering::Release);
    }

    /// Notes whether the store takes records, and logs when that changes.
    fn set_full(&self, why: Option<&redis::RedisError>) {
        let was_full = self.is_full.swap(why.is_some(), Ordering::Relaxed);
        match why {
            Some(error) if !was_full => {
                tracing::warn!("the store takes no records: {error}; sessions stay with this server");
            }
            None if was_full => tracing::info!("the store takes records again"),
            _ => {}
        }
    }

    /// Drops the claims whose callers have gone: they alone wait for a store that cannot be reached.
    fn drop_abandoned(&self) {
        let mut queue = self.queue();
        queue.jobs.retain(|job| !job.answer.is_closed());
        queue.bytes = queue.jobs.iter().map(Job::bytes).sum();
    }

    /// Drops all work that waits: its callers learn of it.
    fn drop_all(&self) {
        let (jobs, flushes) = {
            let mut queue = self.queue();
            queue.bytes = 0;
            (std::mem::take(&mut queue.jobs), std::mem::take(&mut queue.flushes))
        };
        jobs.iter().for_each(|job| self.count(job.operation, false));
        drop(flushes);
    }
}

/// The store. Dropping it ends its thread.
pub(crate) struct Store(Arc<Shared>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.0.queue().is_closed = true;
        self.0.wake.notify_one();
    }
}

impl Store {
    /// Connects to the store at a URL, as soon as it is there, and again whenever the connection was lost. Waits
    /// for the first time, but not for long.
    ///
    /// # Errors
    /// One sentence says what is wrong with the URL, without showing it: it may hold a password.
    pub(crate) fn open(url: &str, settings: Settings, on_news: OnNews) -> Result<Store, String> {
        let wrong = |error: redis::RedisError| {
            // The detail repeats the URL.
            format!("the URL of the store cannot be used: {}", error.category())
        };
        let info = url.into_connection_info().map_err(wrong)?;
        // Messages of the store come on the same connection.
        let protocol = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(protocol)).map_err(wrong)?;
        let shared = Arc::new(Shared {
            settings,
            queue: Mutex::new(Queue { gone_since: Some(Instant::now()), ..Queue::default() }),
            wake: Notify::new(),
            is_up: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            counts: std::array::from_fn(|_| Counts::default()),
            records: AtomicU64::new(1),
            batches: AtomicU64::new(0),
            batch_us: AtomicU64::new(0),
        });
        let (worker, (tried, is_tried)) = (Arc::clone(&shared), mpsc::channel());
        let thread = std::thread::Builder::new().name("aloud-store".to_owned());
        let started = thread.spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(work(&worker, &client, on_news, tried)),
                Err(error) => tracing::error!("the store cannot be used: {error}"),
            }
            worker.set_up(false);
            worker.drop_all();
        });
        started.map_err(|error| format!("cannot start the thread of the store: {error}"))?;
        let _ = is_tried.recv_timeout(PATIENCE);
        Ok(Store(shared))
    }

    /// True if the store answers.
    pub(crate) fn is_up(&self) -> bool {
        self.0.is_up.load(Ordering::Acquire)
    }

    /// True if the store is there, or was a short while ago: what it knows may be had soon.
    pub(crate) fn is_expected(&self) -> bool {
        self.0.queue().gone_since.is_none_or(|since| since.elapsed() < ABSENCE)
    }

    /// The right to write a session. This server has this epoch of it.
    pub(crate) fn key(&self, id: &str, token: &Token, epoch: u64) -> Key {
        Key::new(id, token, epoch)
    }

    /// The proof that there is a store.
    pub(crate) fn presence(&self) -> Presence {
        Presence
    }

    /// Time for which a record is kept after it was written.
    pub(crate) fn ttl(&self) -> Duration {
        self.0.settings.ttl
    }

    /// Writes a record.
    pub(crate) fn put(&self, key: &Key, record: String) -> Pending<Written> {
        let Settings { ttl, owner } = &self.0.settings;
        let arguments = vec![
            key.epoch.to_string(),
            owner.clone(),
            key.lock.to_string(),
            record,
            ttl.as_millis().to_string(),
            self.0.records.fetch_add(1, Ordering::Relaxed).to_string(),
        ];
        self.ask(Operation::Put, session(&key.id), arguments, |value| match value {
            Value::Int(1) => Ok(Written::Kept),
            Value::Int(_) => Ok(Written::Stale),
            _ => Err(Lost),
        })
    }

    /// Removes a session that has ended.
    pub(crate) fn remove(&self, key: &Key) {
        let arguments = vec![key.epoch.to_string()];
        drop(self.ask(Operation::Remove, session(&key.id), arguments, |_| Ok(())));
    }

    /// Looks for a session, and takes nothing from the server that has it. This one may have it, with this epoch.
    pub(crate) fn find(&self, id: &str, token: &Token, epoch: Option<u64>) -> Pending<Claimed> {
        self.ask(Operation::Find, session(id), self.question(token, epoch).into(), claimed)
    }

    /// Asks for a session. This server may have it, with this epoch; its client may know of another one.
    pub(crate) fn claim(
        &self,
        id: &str,
        token: &Token,
        epoch: Option<u64>,
        client: Option<u64>,
    ) -> Pending<Claimed> {
        let mut arguments = Vec::from(self.question(token, epoch));
        let client = client.unwrap_or_default().to_string();
        arguments.extend([self.0.settings.owner.clone(), id.to_owned(), client]);
        self.ask(Operation::Claim, session(id), arguments, claimed)
    }

    fn question(&self, token: &Token, epoch: Option<u64>) -> [String; 3] {
        let ttl = self.0.settings.ttl.as_millis().to_string();
        [lock(token), epoch.unwrap_or_default().to_string(), ttl]
    }

    /// Gives a record of a session to the server that has claimed it, unless that has written it by now. Without text
    /// there is nothing to give.
    pub(crate) fn give(&self, id: &str, record: String) -> Pending<()> {
        let arguments = vec![record, self.0.settings.ttl.as_millis().to_string(), id.to_owned()];
        self.ask(Operation::Give, session(id), arguments, |_| Ok(()))
    }

    /// Shares what a client has and has spent at this server.
    pub(crate) fn share(&self, report: &Report) -> Pending<SharedUse> {
        let Report { client, connections, sessions, rates, .. } = report;
        let mut arguments = vec![
            self.0.settings.owner.clone(),
            connections.to_string(),
            sessions.to_string(),
            REPORT_TTL.as_millis().to_string(),
        ];
        for (most, gain, spent) in rates {
            arguments.extend([most, gain, spent].map(f64::to_string));
        }
        self.ask(Operation::Share, format!("{CLIENT}{client}"), arguments, |value| {
            let Value::Array(parts) = value else { return Err(Lost) };
            let number = |value: &Value| match value {
                Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<f64>().ok(),
                _ => None,
            };
            let numbers: Vec<f64> = parts.iter().filter_map(number).collect();
            let [connections, sessions, left @ ..] = &numbers[..] else { return Err(Lost) };
            let left = left.try_into().map_err(|_| Lost)?;
            Ok(SharedUse { connections: *connections as usize, sessions: *sessions as usize, left })
        })
    }

    /// Uses a ticket up, which is valid for this long at most. False if it was used before.
    pub(crate) fn spend(&self, ticket: &Token, ttl: Duration) -> Pending<bool> {
        let arguments = vec![ttl.as_millis().to_string()];
        self.ask(Operation::Spend, format!("{TICKET}{}", lock(ticket)), arguments, |value| match value {
            Value::Int(first) => Ok(first == 1),
            _ => Err(Lost),
        })
    }

    /// Waits until everything that was asked for before is done, but no longer than this.
    pub(crate) async fn flush(&self, patience: Duration) {
        let (flush, done) = oneshot::channel();
        if self.is_up() {
            self.0.queue().flushes.push(flush);
            self.0.wake.notify_one();
            let _ = timeout(patience, done).await;
        }
    }

    /// The store's part of the metrics, in the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let mut page = String::from(
            "# HELP aloud_store_operations_total Operations of the store.\n\
             # TYPE aloud_store_operations_total counter\n",
        );
        for (operation, counts) in Operation::ALL.into_iter().zip(&self.0.counts) {
            for (result, count) in [("done", &counts.done), ("failed", &counts.failed)] {
                let (name, count) = (operation.name(), count.load(Ordering::Relaxed));
                page.push_str(&format!(
                    "aloud_store_operations_total{{operation=\"{name}\",result=\"{result}\"}} {count}\n"
                ));
            }
        }
        let seconds = self.0.batch_us.load(Ordering::Relaxed) as f64 / 1e6;
        let batches = self.0.batches.load(Ordering::Relaxed);
        page.push_str(&format!(
            "# HELP aloud_store_batch_seconds Time from a batch of operations to its answer.\n\
             # TYPE aloud_store_batch_seconds summary\n\
             aloud_store_batch_seconds_sum {seconds}\n\
             aloud_store_batch_seconds_count {batches}\n\
             # HELP aloud_store_up Whether the store answers, and takes records.\n\
             # TYPE aloud_store_up gauge\n\
             aloud_store_up {}\n",
            u8::from(self.is_up() && !self.0.is_full.load(Ordering::Relaxed))
        ));
        page
    }

    fn ask<T>(
        &self,
        operation: Operation,
        key: String,
        arguments: Vec<String>,
        read: fn(Value) -> Result<T, Lost>,
    ) -> Pending<T> {
        let (answer, value) = oneshot::channel();
        let job = Job { operation, key, arguments, answer };
        let mut dropped = Vec::new();
        {
            let mut queue = self.0.queue();
            // Asked under the lock, so that no work is left behind when the thread drops all. Claims wait: a server
            // that has just started may get one before it has its store.
            let has_room = operation != Operation::Put || queue.bytes + job.bytes() <= MAX_RECORD_BYTES;
            if self.is_up() && has_room || operation.waits() {
                queue.bytes += job.bytes();
                queue.jobs.push_back(job);
            } else {
                dropped.push(job);
            }
            while queue.bytes > MAX_WAITING_BYTES
                && let Some(oldest) = queue.jobs.pop_front()
            {
                queue.bytes -= oldest.bytes();
                dropped.push(oldest);
            }
        }
        dropped.iter().for_each(|job| self.0.count(job.operation, false));
        self.0.wake.notify_one();
        Pending { value, read }
    }
}

/// Reads the answer to a question for a session, or to a claim.
fn claimed(value: Value) -> Result<Claimed, Lost> {
    let parts = match value {
        Value::Nil => return Ok(Claimed::Unknown),
        Value::Int(0) => return Ok(Claimed::Owned),
        Value::Int(_) => return Ok(Claimed::Forbidden),
        Value::Array(parts) => parts,
        _ => return Err(Lost),
    };
    let [Value::Int(epoch), Value::BulkString(record), rest @ ..] = &parts[..] else { return Err(Lost) };
    let record = std::str::from_utf8(record).map_err(|_| Lost)?.to_owned();
    let epoch = *epoch as u64;
    match rest {
        [] => Ok(Claimed::Elsewhere { epoch, record }),
        [Value::Int(before), Value::Int(is_alive), Value::Int(bare_ms)] => Ok(Claimed::Moved {
            epoch,
            before: *before as u64,
            record,
            is_alive: *is_alive == 1,
            bare_for: u64::try_from(*bare_ms).ok().map(Duration::from_millis),
        }),
        _ => Err(Lost),
    }
}

/// Key of a session.
fn session(id: &str) -> String {
    format!("{SESSION}{{{id}}}")
}

/// An answer that comes.
pub(crate) struct Pending<T> {
    value: oneshot::Receiver<Value>,
    read: fn(Value) -> Result<T, Lost>,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Lost>> {
        let value = ready!(Pin::new(&mut self.value).poll(cx));
        Poll::Ready(value.map_err(|_| Lost).and_then(self.read))
    }
}

/// The scripts, by the names that the store has given them.
type Scripts = Vec<String>;

/// Works until the store is dropped.
async fn work(shared: &Arc<Shared>, client: &Client, on_news: OnNews, tried: mpsc::Sender<()>) {
    let mut was_up = true;
    while !shared.queue().is_closed {
        let connected = connect(shared, client, Arc::clone(&on_news)).await;
        shared.set_up(connected.is_ok());
        // Only the first time is waited for.
        let _ = tried.send(());
        match connected {
            Ok((connection, scripts)) => {
                tracing::info!("the store is there");
                was_up = true;
                let scripts = Arc::new(scripts);
                let ticks = async {
                    loop {
                        on_news(News::Tick);
                        sleep(TICK).await;
                    }
                };
                let why = tokio::select! {
                    why = serve(shared, &connection, &scripts) => why,
                    () = ticks => None,
                };
                shared.set_up(false);
                shared.drop_all();
                match why {
                    Some(error) => tracing::warn!("the store was lost: {error}"),
                    None => return,
                }
            }
            Err(error) => {
                // Once, and not with every attempt.
                if std::mem::take(&mut was_up) {
                    tracing::warn!("the store cannot be reached: {error}; sessions stay with this server");
                }
                shared.drop_abandoned();
            }
        }
        sleep(RETRY).await;
    }
}

async fn connect(
    shared: &Shared,
    client: &Client,
    on_news: OnNews,
) -> redis::RedisResult<(MultiplexedConnection, Scripts)> {
    let on_push = move |push: PushInfo| {
        if let (PushKind::Message, [Value::BulkString(channel), Value::BulkString(text)]) =
            (push.kind, &push.data[..])
            && let Ok(text) = std::str::from_utf8(text)
            && let Some(news) = news(channel, text)
        {
            on_news(news);
        }
        Ok::<(), SendError>(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_push_sender(on_push);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let scripts = load(&mut connection).await?;
    for channel in [CHANNEL, GIFTS] {
        connection.subscribe(format!("{channel}{}", shared.settings.owner)).await?;
    }
    Ok((connection, scripts))
}

/// Gives the store the scripts.
async fn load(connection: &mut MultiplexedConnection) -> redis::RedisResult<Scripts> {
    let mut scripts = Scripts::new();
    for operation in Operation::ALL {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(operation.script());
        scripts.push(load.query_async(connection).await?);
    }
    Ok(scripts)
}

/// Reads a message of a channel: an id, an epoch, and a record if one is given.
fn news<'a>(channel: &[u8], text: &'a str) -> Option<News<'a>> {
    let (id, rest) = text.split_once(' ')?;
    Some(match channel.starts_with(GIFTS.as_bytes()) {
        true => {
            let (epoch, record) = rest.split_once(' ')?;
            News::Given(id, epoch.parse().ok()?, record)
        }
        false => News::Moved(id, rest.parse().ok()?),
    })
}

/// Sends batches until the connection is lost, for this reason, or the store is dropped. A batch does not wait for the
/// answer to the one before it, so that work waits for one round trip and not for two.
async fn serve(
    shared: &Arc<Shared>,
    connection: &MultiplexedConnection,
    scripts: &Arc<Scripts>,
) -> Option<redis::RedisError> {
    let (mut batches, mut busy_bytes) = (JoinSet::new(), 0);
    let mut next_at = Instant::now();
    loop {
        let next = async {
            sleep_until(next_at).await;
            next_batch(shared).await
        };
        let (jobs, flushes) = tokio::select! {
            Some(sent) = batches.join_next(), if !batches.is_empty() => {
                match sent.unwrap_or(Ok(0)) {
                    Ok(bytes) => busy_bytes -= bytes,
                    Err(error) => {
                        // The others count what they lose.
                        batches.detach_all();
                        return Some(error);
                    }
                }
                continue;
            }
            next = next, if busy_bytes < MAX_BUSY_BYTES => match next {
                Some(next) => next,
                None => {
                    batches.join_all().await;
                    return None;
                }
            },
        };
        next_at = Instant::now() + GATHER;
        if !jobs.is_empty() {
            let bytes = jobs.iter().map(Job::bytes).sum();
            let (shared, mut connection, scripts) =
                (Arc::clone(shared), connection.clone(), Arc::clone(scripts));
            busy_bytes += bytes;
            batches.spawn(async move {
                let asked = Instant::now();
                send(&shared, &mut connection, &scripts, jobs).await?;
                shared.batches.fetch_add(1, Ordering::Relaxed);
                shared.batch_us.fetch_add(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
                Ok::<usize, redis::RedisError>(bytes)
            });
        }
        if !flushes.is_empty() {
            while let Some(sent) = batches.join_next().await {
                match sent.unwrap_or(Ok(0)) {
                    Ok(bytes) => busy_bytes -= bytes,
                    Err(error) => return Some(error),
                }
            }
        }
        for flush in flushes {
            let _ = flush.send(());
        }
    }
}

/// Takes work once there is some; `None` once the store was dropped and all is done.
async fn next_batch(shared: &Shared) -> Option<(Vec<Job>, Vec<oneshot::Sender<()>>)> {
    loop {
        {
            let mut queue = shared.queue();
            let (mut jobs, mut bytes) = (Vec::new(), 0);
            while bytes < MAX_BATCH_BYTES
                && let Some(job) = queue.jobs.pop_front()
            {
                bytes += job.bytes();
                // No connection would have a session that is claimed for a client that has gone.
                if !job.operation.waits() || !job.answer.is_closed() {
                    jobs.push(job);
                }
            }
            queue.bytes -= bytes;
            let is_all = queue.jobs.is_empty();
            let flushes = if is_all { std::mem::take(&mut queue.flushes) } else { Vec::new() };
            if !jobs.is_empty() || !flushes.is_empty() {
                return Some((jobs, flushes));
            }
            if queue.is_closed {
                return None;
            }
        }
        shared.wake.notified().await;
    }
}

/// Sends a batch, and passes its answers on.
async fn send(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
    scripts: &Scripts,
    jobs: Vec<Job>,
) -> redis::RedisResult<()> {
    let forgotten = send_once(shared, connection, scripts, jobs).await?;
    if forgotten.is_empty() {
        return Ok(());
    }
    // The store was restarted behind a proxy, or its scripts were flushed.
    if let Err(error) = load(connection).await {
        forgotten.iter().for_each(|job| shared.count(job.operation, false));
        return Err(error);
    }
    let forgotten = send_once(shared, connection, scripts, forgotten).await?;
    forgotten.iter().for_each(|job| shared.count(job.operation, false));
    Ok(())
}

/// The same. Returns the work for which the store has no script.
async fn send_once(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
    scripts: &Scripts,
    jobs: Vec<Job>,
) -> redis::RedisResult<Vec<Job>> {
    let mut pipeline = redis::Pipeline::with_capacity(jobs.len());
    for Job { operation, key, arguments, .. } in &jobs {
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(&scripts[*operation as usize]).arg(1).arg(key).arg(arguments);
        pipeline.add_command(command);
    }
    let values = match connection.send_packed_commands(&pipeline, 0, jobs.len()).await {
        Ok(values) => values,
        Err(error) => {
            jobs.iter().for_each(|job| shared.count(job.operation, false));
            return Err(error);
        }
    };
    let (mut forgotten, mut failure) = (Vec::new(), None);
    for (job, value) in jobs.into_iter().zip(values) {
        let is_put = job.operation == Operation::Put;
        match value.extract_error() {
            Ok(value) => {
                shared.count(job.operation, true);
                if is_put {
                    shared.set_full(None);
                }
                // The caller may have gone.
                drop(job.answer.send(value));
            }
            Err(error) if error.code() == Some("NOSCRIPT") => forgotten.push(job),
            Err(error) => {
                shared.count(job.operation, false);
                if error.code().is_some_and(|code| UNFIT.contains(&code)) {
                    failure = Some(error);
                } else if is_put {
                    shared.set_full(Some(&error));
                }
            }
        }
    }
    match failure {
        Some(error) => {
            forgotten.iter().for_each(|job| shared.count(job.operation, false));
            Err(error)
        }
        None => Ok(forgotten),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn claims_of_clients_that_have_gone_do_not_gather_while_the_store_is_away() {
        let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Settings { ttl: Duration::from_secs(1), owner: "here".to_owned() };
        let store = Store::open(&format!("redis://{away}"), settings, Arc::new(|_| {})).unwrap();
        let token = Token::new("token").unwrap();
        let held = || {
            let queue = store.0.queue();
            (queue.jobs.len(), queue.bytes)
        };
        let waits = store.claim("waits", &token, None, None);
        let one = held();
        (0..100).for_each(|n| drop(store.claim(&n.to_string(), &token, None, None)));
        store.0.drop_abandoned();
        assert_eq!(held(), one);
        drop(waits);
        store.0.drop_abandoned();
        assert_eq!(held(), (0, 0));
    }
}
