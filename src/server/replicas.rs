//! This server among those that share a store.

use super::connection::SETTLE_TIME;
use super::service::Shared;
use super::suspended::{Leaving, Released, Suspended};
use super::upgrade;
use crate::settings::{Config, ConfigError, StoreUrl};
use crate::store::{self, News, Store, Written};
use crate::tts::Synthesizer;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Time for which the store keeps a session longer than a server keeps one that has lost its connection.
pub(super) const STORE_MARGIN: Duration = Duration::from_secs(30);

/// Shares what clients have and have spent with the other servers.
#[cfg(feature = "redis")]
fn share_accounts(shared: &Shared) {
    let Some(store) = &shared.store else { return };
    for report in shared.doorkeeper.reports(Instant::now().into_std()) {
        let answer = store.share(&report);
        tokio::spawn(async move { report.answered(answer.await.ok(), Instant::now().into_std()) });
    }
}

#[cfg(not(feature = "redis"))]
fn share_accounts(_: &Shared) {}

/// Begins to write down the suspended sessions that another server cannot continue without this one: it shuts down.
pub(super) fn export_unfinished(shared: &Arc<Shared>) -> JoinSet<()> {
    let mut exports = JoinSet::new();
    if shared.store.is_some() {
        for (suspended, leaving) in shared.registry.take_unfinished() {
            exports.spawn(export(suspended, leaving, Arc::clone(shared)));
        }
    }
    exports
}

/// Writes a suspended session down for good, with what only this server has of it.
async fn export(mut suspended: Box<Suspended>, leaving: Leaving, shared: Arc<Shared>) {
    suspended.settle(&shared.telemetry, SETTLE_TIME).await;
    if let (Some(key), Some(store)) = (&suspended.key, &shared.store) {
        let (session, now) = (&suspended.session, Instant::now().into_std());
        let record = store::Record::encode_whole(session, &shared.fingerprint, now);
        if let Ok(Written::Stale) = store.put(key, record.clone()).await {
            // Another server was faster, and waits for this.
            let _ = store.give(session.id(), record).await;
        }
    }
    shared.registry.end_suspended(&suspended, "the server is going away");
    drop(leaving);
}

/// Opens the store at a URL, for the service that is put into `shared` later.
pub(super) fn open_store(
    url: &StoreUrl,
    config: &Config,
    shared: &Arc<OnceLock<Weak<Shared>>>,
) -> Result<Store, ConfigError> {
    let settings = store::Settings { ttl: config.resume_ttl + STORE_MARGIN, owner: upgrade::session_id() };
    let shared = Arc::clone(shared);
    // Called within the runtime of the store.
    let on_news = move |news: News<'_>| {
        let Some(shared) = shared.get().and_then(Weak::upgrade) else { return };
        match news {
            News::Moved(id, epoch) => match shared.registry.release(id, epoch) {
                Released::Suspended(suspended, leaving) => suspended.give(leaving, &shared),
                Released::Unknown => {
                    shared.store.iter().for_each(|store| drop(store.give(id, String::new())));
                }
                Released::Busy => {}
            },
            News::Given(id, epoch, record) => shared.gifts.arrived(id, epoch, record),
            News::Tick => share_accounts(&shared),
        }
    };
    let store = Store::open(url.reveal(), settings, Arc::new(on_news));
    store.map_err(|why| ConfigError::new("store", why))
}

/// Everything that the bytes of a sentence depend on, as far as it can be known without speaking one: the build, the
/// engine with its voices, and the instructions that the processor has for arithmetic.
pub(super) fn fingerprint(synthesizer: &dyn Synthesizer, voices: &str) -> String {
    let build = std::env::current_exe().and_then(|path| path.metadata()).map_or(0, |file| file.len());
    #[cfg(target_arch = "x86_64")]
    let processor = [
        std::is_x86_feature_detected!("avx2"),
        std::is_x86_feature_detected!("fma"),
        std::is_x86_feature_detected!("avx512f"),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let processor = [false; 3];
    let engine = (synthesizer.name(), synthesizer.format(), crc32fast::hash(voices.as_bytes()));
    let machine = (std::env::consts::ARCH, std::env::consts::OS, processor);
    let all = format!("{}/{build}/{engine:?}/{machine:?}", env!("CARGO_PKG_VERSION"));
    format!("{:08x}", crc32fast::hash(all.as_bytes()))
}
