//! The way of a session from one connection to another, of this server or of the next one.

use super::{Event, Speaking};
use crate::access::Holding;
use crate::access::credential::Token;
use crate::server::application::{Application, Host};
use crate::server::gifts::{self, Expected, Given, Waiting};
use crate::server::keeping::{Keeping, Shelved};
use crate::server::suspended::{Claim, Granted, Registration, Suspended, Ticket, Turn};
use crate::session::message::Recover;
use crate::session::{Answer, Input, Misplaced, Place, Session};
use crate::store::{Claimed, Pending, Presence, Record, Store};
use crate::tts::Listener;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, Timeout, timeout};

/// The connection's part in sessions that outlive their connection.
#[derive(Default)]
pub(super) struct Resume {
    /// Other connections can find its own session by this.
    pub(super) registration: Option<Registration>,
    /// The session that another connection was asked for.
    pub(super) awaited: Option<Awaited>,
    /// The session that the store was asked for.
    pub(super) claiming: Option<Claiming>,
    /// The session that another server has yet to give.
    pub(super) giving: Option<Giving>,
    /// True if the store did not say who has the session that was asked for.
    pub(super) is_unsure: bool,
    /// Set until the store has answered if the ticket of the client was used on another server.
    pub(super) spending: Option<Spending>,
}

/// A ticket that the store was asked about.
pub(super) struct Spending {
    pub(super) answer: Pin<Box<Timeout<Pending<bool>>>>,
    pub(super) store: Presence,
}

/// A session that the store was asked for.
pub(super) struct Claiming {
    pub(super) answer: Pin<Box<Timeout<Pending<Claimed>>>>,
    pub(super) asked: Box<Asked>,
    pub(super) store: Presence,
}

/// The message that asks for a session of the store, and more of the session that may come.
pub(in crate::server) struct Asked {
    pub(super) recover: Box<Recover>,
    pub(super) gift: Expected,
}

/// A session of the store. Its server before has more of it.
pub(super) struct Giving {
    pub(super) waiting: Waiting,
    pub(super) found: Box<Found>,
    pub(super) store: Presence,
}

/// A session of the store, which this server has from now on.
pub(in crate::server) struct Found {
    pub(super) recover: Box<Recover>,
    pub(super) epoch: u64,
    /// Its epoch before.
    pub(super) before: u64,
    /// `None` if it has a form that is not known here.
    pub(super) record: Option<Record>,
    /// Time since it was claimed from the server that last wrote it, if that is not the one that had it.
    pub(super) bare_for: Option<Duration>,
}

/// A session that another connection has.
pub(super) struct Awaited {
    pub(super) turn: oneshot::Receiver<Turn>,
    pub(super) recover: Box<Recover>,
    /// Set until the client was there after it had its place in the queue. Otherwise a client that is gone
    /// could take the session from its own next connection.
    pub(super) unconfirmed: Option<Ticket>,
}

/// Time from the claim of a session in which the server before may still give it.
const GIVING_TIME: Duration = Duration::from_secs(10);

/// Longest wait for the store when a client comes back. Beyond it only this server is asked.
const CLAIM_PATIENCE: Duration = Duration::from_millis(500);

impl Resume {
    /// Ready with the next event of another connection, or of the store.
    // As for `recover`.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    pub(super) fn poll(&mut self, keeping: Option<&Shelved>, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(Spending { answer, store }) = &mut self.spending
            && let Poll::Ready(answer) = answer.as_mut().poll(cx)
        {
            let store = *store;
            self.spending = None;
            return Poll::Ready(if answer == Ok(Ok(false)) { Event::Spent(store) } else { Event::Kept });
        }
        if let Some(Claiming { answer, .. }) = &mut self.claiming
            && let Poll::Ready(answer) = answer.as_mut().poll(cx)
            && let Some(Claiming { asked, store, .. }) = self.claiming.take()
        {
            return Poll::Ready(Event::Claimed(answer.ok().and_then(Result::ok), asked, store));
        }
        if let Some(Giving { waiting, found, .. }) = &mut self.giving
            && let Poll::Ready(given) = waiting.poll(found.before, found.bare_for.is_none(), cx)
            && let Some(Giving { found, store, .. }) = self.giving.take()
        {
            return Poll::Ready(Event::Given(given, found, store));
        }
        if let Some(Awaited { turn, .. }) = &mut self.awaited
            && let Poll::Ready(turn) = Pin::new(turn).poll(cx)
            && let Some(Awaited { recover, .. }) = self.awaited.take()
        {
            return Poll::Ready(Event::Answered(turn.ok(), recover));
        }
        if let Some(registration) = &mut self.registration
            && let Poll::Ready(request) = registration.requests().poll_recv(cx)
        {
            match (request, keeping) {
                (Some(()), _) => return Poll::Ready(Event::Requested),
                // Their end shows that the registry has let go of the session.
                (None, Some(keeping)) => return Poll::Ready(Event::Moved(keeping.store())),
                (None, None) => {}
            }
        }
        Poll::Pending
    }
}

impl Speaking {
    /// Lets other connections find the session, and other servers.
    pub(super) fn register(&mut self, host: &mut Host<'_>) {
        let Some(session) = &mut self.session else { return };
        if self.keeping.is_none()
            && let Some(store) = &host.shared.store
            && let Some(key) =
                session.token().and_then(Token::new).map(|token| store.key(session.id(), &token, 1))
        {
            self.keeping = Some(Keeping::new(key, store, Instant::now()));
        }
        let epoch = self.keeping.as_ref().map_or(0, |keeping| keeping.key().epoch());
        if epoch > 0 {
            session.set_epoch(epoch);
        }
        let resume = self.resume.get_or_insert_default();
        if resume.registration.is_none() {
            resume.registration = host.shared.registry.register(session, epoch);
        }
    }

    /// Finds the session that the client wants to continue: in the store, if there is one. The copy of this server
    /// is of no use if another server has had the session since.
    // Without a store there is no way here, and the compiler says so.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    pub(super) fn recover(&mut self, recover: Box<Recover>, host: &mut Host<'_>) {
        match (&host.shared.store, Token::new(&recover.token)) {
            (Some(store), Some(token)) => {
                let epoch = host.shared.registry.epoch(&recover.session_id);
                // The server that has it keeps it if it cannot go on here.
                let answer = store.find(&recover.session_id, &token, epoch);
                let gift = host.shared.gifts.expect(&recover.session_id);
                self.await_answer(answer, Asked { recover, gift }, store.presence());
                self.resume.get_or_insert_default().is_unsure = false;
            }
            _ => self.recover_here(recover, false, host),
        }
    }

    // As for `recover`.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    pub(super) fn on_claimed(&mut self, claimed: Option<Claimed>, asked: Asked, host: &mut Host<'_>) {
        let Asked { recover, gift } = asked;
        let (registry, id) = (&host.shared.registry, &recover.session_id);
        let known = registry.epoch(id);
        let is_behind = |epoch: u64| is_behind(&recover, epoch);
        let is_lost = |epoch: u64| is_left_behind(&recover, epoch);
        let is_expected = || host.shared.store.as_ref().is_some_and(Store::is_expected);
        match claimed {
            // The session may have gone on elsewhere, unless the client shows that it has not.
            None if is_expected()
                && (known.is_none_or(is_behind) || recover.epoch.is_none() && recover.crc32.is_none()) =>
            {
                self.handle(Input::Answer(Answer::Unreachable));
            }
            None if is_expected() => {
                self.resume.get_or_insert_default().is_unsure = true;
                self.recover_here(recover, true, host);
            }
            // Another server has claimed it since.
            Some(Claimed::Owned) if known.is_none() => self.recover(recover, host),
            None | Some(Claimed::Unknown | Claimed::Owned) if known.is_some_and(is_lost) => {
                self.handle(Input::Answer(Answer::Misplaced(Misplaced::Lost)));
            }
            Some(Claimed::Unknown) => self.recover_here(recover, false, host),
            None | Some(Claimed::Owned) => self.recover_here(recover, true, host),
            Some(Claimed::Forbidden) => self.not_recovered(false, host),
            Some(Claimed::Elsewhere { epoch, record }) => match self.refuses(&recover, epoch, &record) {
                Some(why) => self.handle(Input::Answer(Answer::Misplaced(why))),
                None => self.claim(recover, gift, host),
            },
            // Another connection of this server has claimed it at the same time, and was later.
            Some(Claimed::Moved { epoch, .. }) if known.is_some_and(|known| known >= epoch) => {
                self.recover(recover, host);
            }
            Some(Claimed::Moved { epoch, before, record, is_alive, bare_for }) => {
                let record = Record::decode(&record);
                let may_come = is_alive && bare_for.is_none_or(|time| time < GIVING_TIME);
                let needs_more =
                    may_come && record.as_ref().is_some_and(|record| record.lacks_work(bare_for.is_some()));
                let found = Found { recover, epoch, before, record, bare_for };
                match (gift.wait(), &host.shared.store) {
                    (Some(waiting), Some(store)) if needs_more => {
                        self.resume.get_or_insert_default().giving =
                            Some(Giving { waiting, found: Box::new(found), store: store.presence() });
                    }
                    _ => self.on_found(found, &Given::Nothing, host),
                }
            }
        }
    }

    /// Asks the store for a session that another server has.
    // As for `recover`.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    fn claim(&mut self, recover: Box<Recover>, gift: Expected, host: &mut Host<'_>) {
        let (Some(store), Some(token)) = (&host.shared.store, Token::new(&recover.token)) else { return };
        let epoch = host.shared.registry.epoch(&recover.session_id);
        let answer = store.claim(&recover.session_id, &token, epoch, recover.epoch);
        self.await_answer(answer, Asked { recover, gift }, store.presence());
    }

    /// Waits for an answer of the store, but not for long.
    fn await_answer(&mut self, answer: Pending<Claimed>, asked: Asked, store: Presence) {
        let answer = Box::pin(timeout(CLAIM_PATIENCE, answer));
        self.resume.get_or_insert_default().claiming =
            Some(Claiming { answer, asked: Box::new(asked), store });
    }

    /// The reason for which the session of a record, with this epoch, cannot continue anywhere.
    fn refuses(&self, recover: &Recover, epoch: u64, record: &str) -> Option<Misplaced> {
        if is_left_behind(recover, epoch) {
            return Some(Misplaced::Lost);
        }
        let (config, snapshot) = (self.session.as_ref()?.config(), Record::decode(record)?.snapshot);
        let session = Session::restore(Arc::clone(config), snapshot, None, Instant::now().into_std());
        session.refuses(&Place::from(recover))
    }

    /// Continues a session of the store, by the record that its server before has given, or by that of the store.
    pub(super) fn on_found(&mut self, found: Found, given: &Given, host: &mut Host<'_>) {
        let Found { recover, epoch, before, record, bare_for } = found;
        let (registry, id) = (&host.shared.registry, &recover.session_id);
        if registry.epoch(id).is_some_and(|known| known >= epoch) {
            return self.recover(recover, host);
        }
        // An own copy is older than the record.
        drop(registry.release(id, epoch));
        let record = if let Given::Record(given) = given { Record::decode(given) } else { record };
        let may_come = *given == Given::Late && bare_for.unwrap_or_default() + gifts::PATIENCE < GIVING_TIME;
        let place = Place::from(&*recover);
        match self.restore(&recover, epoch, record, host) {
            // It is not written, so that the server before can still give it.
            Some(granted)
                if may_come && granted.suspended.session.check_place(&place) == Err(Misplaced::Lost) =>
            {
                drop(granted);
                self.handle(Input::Answer(Answer::Unreachable));
            }
            Some(granted) if is_left_behind(&recover, before) => {
                self.put_back(granted, Misplaced::Lost, host);
            }
            Some(granted) => self.adopt(granted, place, host),
            None if registry.epoch(id).is_some_and(|known| known > epoch) => self.recover(recover, host),
            None => self.not_recovered(false, host),
        }
    }

    /// The session of a record, which this server has from now on; `None` if it cannot continue here.
    // Without a store there is no way here, and the compiler says so.
    #[cfg_attr(not(feature = "redis"), allow(unreachable_code, unused_variables))]
    pub(super) fn restore(
        &self,
        recover: &Recover,
        epoch: u64,
        record: Option<Record>,
        host: &Host<'_>,
    ) -> Option<Granted> {
        let (shared, now) = (host.shared, Instant::now().into_std());
        let store = shared.store.as_ref()?;
        let Record { fingerprint, mut snapshot, .. } = record?;
        let config = Arc::clone(self.session.as_ref()?.config());
        let format = snapshot.format().filter(|_| snapshot.id() == recover.session_id)?;
        if format != config.format && !config.formats.contains(&format) {
            return None;
        }
        // Of another engine, only the bytes of the client can prove that they are the same.
        if fingerprint != shared.fingerprint && recover.crc32.is_none() {
            snapshot.change_engine();
        }
        let key = store.key(&recover.session_id, &Token::new(&recover.token)?, epoch);
        let mut session = Session::restore(config, snapshot, Some(recover.token.clone()), now);
        session.set_epoch(epoch);
        let registration = shared.registry.register(&session, epoch)?;
        let mut slot = None;
        // It has a place already, whichever server counts it.
        let _ = self.permit.reserve_session(&mut slot, now);
        let suspended = Box::new(Suspended {
            session,
            speeches: VecDeque::new(),
            listener: Listener::default(),
            script: None,
            client: self.permit.client().clone(),
            slot,
            key: Some(key),
        });
        Some(Granted { suspended, registration })
    }

    /// Continues a session that has come from another server, unless that is not possible at this place.
    pub(super) fn adopt(&mut self, granted: Granted, place: Place, host: &mut Host<'_>) {
        match granted.suspended.session.check_place(&place) {
            Ok(()) => self.resume(granted, place, host),
            Err(why) => self.put_back(granted, why, host),
        }
    }

    /// Refuses a place in a session that has come from another server, and keeps it for another `recover`.
    fn put_back(&mut self, granted: Granted, why: Misplaced, host: &mut Host<'_>) {
        let Granted { suspended, registration } = granted;
        host.shared.registry.suspend(suspended, Some(registration));
        self.handle(Input::Answer(Answer::Misplaced(why)));
    }

    /// Finds the session among those of this server. It may have been `known` here a moment ago: then another server
    /// has it by now.
    pub(super) fn recover_here(&mut self, recover: Box<Recover>, known: bool, host: &mut Host<'_>) {
        let place = Place::from(&*recover);
        match host.shared.registry.claim(&recover.session_id, &recover.token, place) {
            Claim::Granted(granted) => self.resume(*granted, place, host),
            Claim::Waiting(turn, ticket) => {
                let awaited = Awaited { turn, recover, unconfirmed: Some(ticket) };
                self.resume.get_or_insert_default().awaited = Some(awaited);
            }
            Claim::Misplaced(why) => self.misplaced(why),
            Claim::Expired => self.not_recovered(true, host),
            Claim::Unknown if known => self.recover(recover, host),
            Claim::Unknown => self.not_recovered(false, host),
        }
    }

    /// Lets go of the session: another server has it, and gets what only this one has.
    pub(super) fn release(&mut self, host: &mut Host<'_>) {
        let Some(session) = self.session.take() else { return };
        (self.keeping, self.is_gated) = (None, false);
        let suspended = self.suspend(session);
        let leaving = host.shared.registry.leaving(suspended.session.id());
        suspended.give(leaving, host.shared);
        self.resume = None;
        Session::taken().into_iter().for_each(|output| self.carry_out_one(output, host));
    }

    /// Refuses a place in a session of this server, which may be an old copy if the store did not answer.
    pub(super) fn misplaced(&mut self, why: Misplaced) {
        let is_unsure = self.resume.as_ref().is_some_and(|resume| resume.is_unsure);
        self.handle(Input::Answer(match why {
            Misplaced::Lost if is_unsure => Answer::Unreachable,
            why => Answer::Misplaced(why),
        }));
    }

    pub(super) fn not_recovered(&mut self, is_expired: bool, host: &mut Host<'_>) {
        host.shared.telemetry.resumed(if is_expired { "expired" } else { "not_found" });
        self.handle(Input::Answer(Answer::NotRecovered { is_expired }));
    }

    /// Replaces the connection's own session by another one. The caller carries out what that decides.
    pub(super) fn resume(&mut self, granted: Granted, place: Place, host: &mut Host<'_>) {
        let Granted { mut suspended, registration } = granted;
        let now = Instant::now().into_std();
        let is_exhausted = !self.permit.has_audio_left(now);
        if is_exhausted || !suspended.session.may_send_again(place.offset, now) {
            host.shared.registry.suspend(suspended, Some(registration));
            self.handle(Input::Answer(Answer::TooOften { is_exhausted }));
            return;
        }
        let Suspended { session, speeches, listener, script, slot, key, client: _ } = *suspended;
        if let (Some(key), Some(store)) = (key, &host.shared.store) {
            self.keeping = Some(Keeping::new(key, store, Instant::now()));
        }
        self.slot = slot;
        self.listener = listener;
        self.session = Some(session);
        self.handle(Input::Disconnected);
        self.handle(Input::Answer(Answer::Recovered(place)));
        self.speeches = speeches;
        self.gives_up_at = None;
        self.script = script;
        self.resume.get_or_insert_default().registration = Some(registration);
    }

    /// Hands the session over to the connection whose turn it is.
    pub(super) fn hand_over(&mut self, host: &mut Host<'_>) {
        // A step of the stream may have decided on its end just now.
        self.carry_out(host);
        if self.is_over_for_good() {
            // Dropping the registration tells the other connections that there is no session.
            self.resume = None;
            return;
        }
        while let Some(session) = self.session.take() {
            let registration = self.resume.as_mut().and_then(|resume| resume.registration.take());
            let Some(mut registration) = registration else {
                self.session = Some(session);
                return;
            };
            let Some(answer) = registration.next_waiter(&session) else {
                self.session = Some(session);
                self.resume.get_or_insert_default().registration = Some(registration);
                return;
            };
            let suspended = self.suspend(session);
            if let Err(granted) = registration.hand_over(suspended, answer) {
                // The other connection has gone, and this one goes on.
                let Granted { suspended, registration } = *granted;
                let Suspended { session, speeches, listener: _, script, slot, key, client: _ } = *suspended;
                if let (Some(key), Some(store)) = (key, &host.shared.store) {
                    self.keeping = Some(Keeping::new(key, store, Instant::now()));
                }
                (self.session, self.speeches, self.script, self.slot) =
                    (Some(session), speeches, script, slot);
                self.resume.get_or_insert_default().registration = Some(registration);
            } else {
                self.resume = None;
                Session::taken().into_iter().for_each(|output| self.carry_out_one(output, host));
                return;
            }
        }
    }

    /// True if the session is over and everything was sent to its client.
    pub(super) fn is_over_for_good(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_over() && !session.is_resumable())
    }

    /// Puts a session together with everything that works for it.
    pub(super) fn suspend(&mut self, session: Session) -> Box<Suspended> {
        let (speeches, script) = (std::mem::take(&mut self.speeches), self.script.take());
        let client = self.permit.client().clone();
        self.holding = Holding::default();
        self.listener.set_away(true);
        let listener = self.listener.clone();
        self.is_gated = false;
        // With the feature the keeping is in a box.
        #[cfg_attr(not(feature = "redis"), allow(clippy::redundant_closure_for_method_calls))]
        let key = self.keeping.take().map(|keeping| keeping.into_key());
        Box::new(Suspended { session, speeches, listener, script, client, slot: self.slot.take(), key })
    }
}

/// True if the client was at a later server than the one that had this epoch.
fn is_behind(recover: &Recover, epoch: u64) -> bool {
    recover.epoch.is_some_and(|last| last > epoch)
}

/// The same, if nothing shows that what was said there is known here as well: only the client's bytes can.
fn is_left_behind(recover: &Recover, epoch: u64) -> bool {
    is_behind(recover, epoch) && recover.crc32.is_none()
}
