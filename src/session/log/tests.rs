use super::*;
use crate::audio::Encoding;
use crate::ws::frames::push_frame;

/// A generator of its own, so that a seed means the same everywhere: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((number >> 33) as usize) % end
    }
}

fn burst(frame_bytes: usize) -> Flow {
    let format = Format { encoding: Encoding::MuLaw, sample_rate_hz: 8_000 };
    Flow { format, frame_bytes, ahead: None, keep_bytes: 0 }
}

/// A model of the log: everything that was pushed, as frames.
#[derive(Default)]
struct Model {
    wire: Vec<u8>,
    /// Start of each frame in `wire`, and the audio bytes up to its end.
    frames: Vec<(usize, u64)>,
    written: u64,
}

impl Model {
    fn push_message(&mut self, json: &str) {
        self.frames.push((self.wire.len(), self.written));
        push_frame(true, json.as_bytes(), &mut self.wire);
    }

    fn push_audio(&mut self, chunk: &[u8], frame_bytes: usize) {
        for payload in chunk.chunks(frame_bytes) {
            self.written += payload.len() as u64;
            self.frames.push((self.wire.len(), self.written));
            push_frame(false, payload, &mut self.wire);
        }
    }

    /// Audio bytes of the frames that the first `wire_bytes` have begun.
    fn begun(&self, wire_bytes: usize) -> u64 {
        let begun = self.frames.partition_point(|(start, _)| *start < wire_bytes);
        begun.checked_sub(1).map_or(0, |last| self.frames[last].1)
    }
}

/// The log as a connection uses it, with a socket that takes a given number of bytes.
struct Driven {
    log: Log,
    unsent: Vec<u8>,
    wire: Vec<u8>,
    now: Instant,
    /// The client answers pings at once.
    answers: bool,
}

impl Driven {
    fn new(flow: Flow) -> Driven {
        let answers = flow.keep_bytes == 0;
        Driven { log: Log::new(flow), unsent: Vec::new(), wire: Vec::new(), now: Instant::now(), answers }
    }

    /// Offers one write to the socket, which takes `accept(offered)` bytes.
    fn write(&mut self, accept: impl FnOnce(usize) -> usize) {
        let mut batch = Batch::default();
        batch.push_raw(&self.unsent);
        self.log.fill(self.now, &mut batch);
        let offered: Vec<u8> = batch.write(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
        assert_eq!(offered.len(), batch.len());
        let written = accept(offered.len());
        self.wire.extend_from_slice(&offered[..written]);
        self.unsent.drain(..written.min(self.unsent.len()));
        let mut rest = std::mem::take(&mut self.unsent);
        batch.sent(written, &mut rest, |what| _ = self.log.sent(self.now, what));
        self.unsent = rest;
        if self.answers
            && let Some(offset) = self.log.ask(self.now)
        {
            self.log.confirm(self.now, offset);
        }
    }

    /// The client says that it has everything.
    fn confirm(&mut self) {
        self.log.confirm(self.now, self.log.sent_bytes());
    }

    fn is_done(&self) -> bool {
        self.log.is_all_sent() && self.unsent.is_empty()
    }
}

/// In random histories, and however little the socket takes at a time, it gets the bytes of the model,
/// each once, in order.
#[test]
fn sent_bytes_are_the_pushed_bytes() {
    for seed in 1..=100u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let frame_bytes = [1, 2, 7, 125, 126, 640, 2_047, 2_048, 4_800, 65_536][random.below(10)];
        let (mut driven, mut model) = (Driven::new(burst(frame_bytes)), Model::default());
        let (mut next, mut checked) = (0u8, 0);
        for _ in 0..60 {
            match random.below(6) {
                0 => {
                    let json = format!("{{{}}}", "m".repeat(random.below(300)));
                    model.push_message(&json);
                    driven.log.push_message(json);
                }
                1 | 2 => {
                    let most = [1, 3, 1_000, 20_000, 70_000][random.below(5)].min(frame_bytes * 300);
                    let chunk: Vec<u8> = (0..random.below(most + 1))
                        .map(|_| {
                            next = next.wrapping_add(7);
                            next
                        })
                        .collect();
                    model.push_audio(&chunk, frame_bytes);
                    driven.log.push_audio(chunk.into());
                }
                3 => driven.write(|_| 0),
                4 => driven.write(|offered| random.below(offered + 1)),
                _ => driven.write(|offered| random.below(5).min(offered)),
            }
            let at = driven.wire.len();
            assert!(at <= model.wire.len(), "seed {seed}");
            assert!(driven.wire[checked..] == model.wire[checked..at], "seed {seed}");
            checked = at;
            let sent = model.begun(at);
            assert_eq!(
                driven.log.wants_more(driven.now),
                model.written - sent < LOOK_AHEAD_BYTES,
                "seed {seed}"
            );
            assert_eq!(driven.is_done(), at == model.wire.len(), "seed {seed}");
            assert!(driven.unsent.len() < frame_bytes.max(310) + 10, "at most the frame begun");
        }
        while !driven.is_done() {
            driven.write(|offered| offered);
        }
        assert!(driven.wire == model.wire, "seed {seed}");
    }
}

#[test]
fn synthesis_stops_at_the_look_ahead() {
    let full = usize::try_from(LOOK_AHEAD_BYTES).unwrap();
    // Bytes that are pushed, and true if more is wanted then.
    for (bytes, wants_more) in [(0, true), (1, true), (full - 1, true), (full, false), (full * 3, false)] {
        let mut driven = Driven::new(burst(640));
        driven.log.push_audio(vec![1; bytes].into());
        assert_eq!(driven.log.wants_more(driven.now), wants_more, "{bytes}");
        // Messages use none of the look-ahead.
        driven.log.push_message("x".repeat(MESSAGE_BYTES - 1));
        assert_eq!(driven.log.wants_more(driven.now), wants_more, "{bytes}");
    }
    let mut driven = Driven::new(burst(640));
    driven.log.push_audio(vec![1; full].into());
    driven.write(|_| 0);
    assert!(!driven.log.wants_more(driven.now), "offered is not sent");
    driven.write(|_| 1);
    assert!(driven.log.wants_more(driven.now), "a begun frame has to leave");
    driven.log.push_audio(vec![1; 640].into());
    assert!(!driven.log.wants_more(driven.now));
}

#[test]
fn messages_alone_stop_synthesis_and_are_not_kept_forever() {
    let message = "x".repeat(1_000);
    let most = MESSAGE_BYTES / message.len() + 1;
    for flow in [burst(640), Flow { keep_bytes: 5_000, ..burst(640) }] {
        let mut driven = Driven::new(flow);
        let fill = |driven: &mut Driven| {
            let mut count = 0;
            while driven.log.wants_more(driven.now) {
                driven.log.push_message(message.clone());
                count += 1;
            }
            count
        };
        assert_eq!(fill(&mut driven), most);
        for _ in 0..10 {
            while driven.log.has_output(driven.now) {
                driven.write(|offered| offered);
            }
            assert_eq!(fill(&mut driven), most, "there is room again");
            let memory = driven.log.memory_bytes();
            assert!(memory < MESSAGE_BYTES * 5 / 2, "{memory}");
        }
        driven.log.cancel(driven.now);
        assert_eq!(fill(&mut driven), most, "cancelled messages take no room");
        // A rewind takes room for the messages that are sent again.
        while driven.log.has_output(driven.now) {
            driven.write(|offered| offered);
        }
        assert_eq!(driven.log.rewind(0), Ok(()));
        let again = if flow.keep_bytes == 0 { 0 } else { most - 1 };
        assert_eq!(fill(&mut driven), most - again);
        driven.log.restart(0, 0);
        assert_eq!(fill(&mut driven), most);
    }
}

#[test]
fn kept_messages_grow_with_kept_audio() {
    let mut driven = Driven::new(Flow { keep_bytes: 4 * 1024 * 1024, ..burst(640) });
    for _ in 0..2_000 {
        driven.log.push_audio(vec![1; 1_280].into());
        driven.log.push_message("x".repeat(150));
        driven.write(|offered| offered);
        driven.confirm();
    }
    assert_eq!(driven.log.base_bytes(), 0);
    // More messages than any speech has move the base, and a rewind before it fails.
    for _ in 0..4_000 {
        driven.log.push_message("x".repeat(150));
        driven.write(|offered| offered);
    }
    let base = driven.log.base_bytes();
    assert!(base > 0);
    assert_eq!(driven.log.rewind(base - 1), Err(OutOfLog::Before));
    assert_eq!(driven.log.rewind(base), Ok(()));
}

#[test]
fn empty_chunk_adds_no_entry() {
    let (mut log, now) = (Log::new(burst(640)), Instant::now());
    log.push_audio(Bytes::new());
    assert!(log.is_all_sent() && log.wants_more(now));
    let mut batch = Batch::default();
    log.fill(now, &mut batch);
    assert!(batch.is_empty());
}

#[test]
fn sent_audio_is_dropped_where_nothing_is_kept() {
    let chunk = Bytes::from(vec![1; 10_000]);
    let mut driven = Driven::new(burst(5_000));
    driven.log.push_audio(chunk.clone());
    driven.log.push_message("{}".to_owned());
    assert!(!chunk.is_unique());
    driven.write(|offered| offered);
    assert!(chunk.is_unique() && driven.is_done());
}

const MS: Duration = Duration::from_millis(1);

/// 8 bytes are a millisecond.
fn paced(frame_bytes: usize, ahead: Duration, keep_bytes: u64) -> Flow {
    Flow { ahead: Some(ahead), keep_bytes, ..burst(frame_bytes) }
}

impl Driven {
    /// Sends everything that may leave now. Returns the audio bytes of each write.
    fn send(&mut self) -> Vec<usize> {
        let mut frames = Vec::new();
        while self.log.has_output(self.now) {
            let before = self.log.sent_bytes();
            self.write(|offered| offered);
            frames.push((self.log.sent_bytes() - before) as usize);
        }
        self.wire.clear();
        frames
    }
}

/// Paced audio is within the look-ahead at any time, leaves at once at the beginning, and is never too
/// late, even over a long time and with a short look-ahead.
#[test]
fn paced_audio_stays_within_the_look_ahead_and_the_listener_is_never_dry() {
    for (frame_ms, ahead_ms) in
        [(1, 20), (20, 20), (20, 40), (40, 100), (40, 2_000), (1_000, 20), (7, 333), (40, 60_000)]
    {
        // At this rate neither a frame nor a wake-up is a whole number of samples or milliseconds.
        let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 22_050 };
        let frame_bytes = format.frame_bytes(frame_ms);
        let ahead = MS * ahead_ms;
        let mut driven = Driven::new(Flow { format, frame_bytes, ahead: Some(ahead), keep_bytes: 0 });
        let began = driven.now;
        let at = format!("frames of {frame_ms} ms, {ahead_ms} ms ahead");
        let limit = format.bytes(ahead) + frame_bytes as u64;
        let mut wakes = 0u32;
        let minute = Duration::from_secs(if ahead_ms > 10_000 { 200 } else { 60 });
        while driven.now < began + minute {
            let mut frames = 0;
            // A look-ahead beyond what may wait is filled in several writes.
            loop {
                while driven.log.wants_more(driven.now) {
                    driven.log.push_audio(vec![1; frame_bytes * 3].into());
                }
                match driven.send().len() {
                    0 => break,
                    more => frames += more,
                }
            }
            assert!(frames > 0, "{at}: woken for nothing");
            let heard = format.bytes(driven.now - began);
            let sent = driven.log.sent_bytes();
            assert!(sent - heard.min(sent) <= limit, "{at}: {sent} sent, {heard} heard");
            assert!(driven.log.written_bytes() <= sent + limit + 4 * frame_bytes as u64, "{at}");
            assert!(!driven.log.has_output(driven.now));
            let opens = driven.log.opens_at(driven.now).expect("it opens by itself");
            assert!(opens > driven.now, "{at}: it would spin");
            driven.now = opens - Duration::from_micros(60);
            while driven.log.wants_more(driven.now) {
                driven.log.push_audio(vec![1; frame_bytes * 3].into());
            }
            assert!(!driven.log.has_output(driven.now), "{at}: open before its time");
            driven.now = opens;
            assert!(driven.log.has_output(driven.now), "{at}: shut after its time");
            // Timers are late. The delays must not add up.
            driven.now += Duration::from_micros(690);
            // The sent audio lasts until now, but for the time of a sample.
            let heard = format.bytes(driven.now - began);
            if frame_ms <= ahead_ms / 2 {
                assert!(heard < sent, "{at}: the listener ran dry, {heard} heard of {sent}");
            }
            wakes += 1;
        }
        let step = minute / wakes;
        let frames = ((ahead_ms + frame_ms - frame_ms.max(ahead_ms / 5)).min(500) / frame_ms).max(1);
        assert!(step >= MS * (frames * frame_ms) * 9 / 10, "{at}: a wake-up every {step:?}");
    }
}

#[test]
fn playback_clock_stops_while_the_gate_is_shut_or_the_listener_is_dry() {
    let mut driven = Driven::new(paced(80, MS * 100, 0));
    driven.now += MS * 70;
    assert_eq!(driven.log.opens_at(driven.now), None, "nothing plays before the first frame");
    driven.log.push_audio(vec![1; 4_000].into());
    driven.send();
    assert_eq!(driven.log.sent_bytes(), 880);
    driven.now += MS * 30;
    assert_eq!(driven.log.played_bytes(driven.now), 240);
    driven.log.shut(driven.now);
    driven.now += MS * 500;
    assert_eq!(driven.log.played_bytes(driven.now), 240);
    assert!(!driven.log.has_output(driven.now));
    assert_eq!(driven.log.opens_at(driven.now), None);
    driven.log.shut(driven.now);
    driven.log.open(driven.now);
    assert_eq!(driven.log.played_bytes(driven.now), 240);
    driven.now += MS * 10;
    assert_eq!(driven.log.played_bytes(driven.now), 320);
    // Dry: no more is played than was sent.
    driven.now += MS * 500;
    assert_eq!(driven.log.played_bytes(driven.now), 880);
    driven.send();
    assert_eq!(driven.log.sent_bytes(), 1_760, "time that stood still is not caught up");
    driven.now += MS * 10;
    assert_eq!(driven.log.played_bytes(driven.now), 960);
    // A message waits only for the entries before it.
    let mut driven = Driven::new(paced(80, MS * 100, 0));
    driven.log.push_message("{}".to_owned());
    driven.log.push_audio(vec![1; 881].into());
    driven.log.push_message("{}".to_owned());
    driven.write(|offered| offered);
    assert!(!driven.log.is_all_sent() && !driven.log.has_output(driven.now));
}

#[test]
fn ack_replaces_the_clock() {
    let mut driven = Driven::new(paced(80, MS * 100, 160));
    driven.log.push_audio(vec![1; 4_000].into());
    driven.send();
    driven.now += MS * 90;
    assert_eq!(driven.log.played_bytes(driven.now), 720);
    // Less than the clock said is allowed; less than the client said before, or more than was sent, is
    // not.
    for (offset, played) in [(100, 100), (50, 100), (100, 100), (300, 300)] {
        driven.log.acknowledge(driven.now, offset);
        assert_eq!(driven.log.played_bytes(driven.now), played);
    }
    driven.now += MS * 1_000;
    assert_eq!(driven.log.played_bytes(driven.now), 300);
    driven.send();
    assert_eq!(driven.log.sent_bytes(), 1_120, "whole frames, as many as there is room for");
    assert!(!driven.log.has_output(driven.now));
    assert_eq!(driven.log.opens_at(driven.now), None, "time alone does not open it");
    driven.log.acknowledge(driven.now, 5_000);
    assert_eq!(driven.log.played_bytes(driven.now), 1_120);
    driven.send();
    assert_eq!(driven.log.sent_bytes(), 2_000);
    // Whole chunks are kept: a rewind to the beginning of this one is possible.
    assert_eq!(driven.log.base_bytes(), 0);
}

/// A player that acknowledges before it has played all its audio is never dry.
#[test]
fn ack_in_time_leaves_no_gap() {
    for ahead in [60, 100, 200, 300, 400, 500, 1_000, 2_000] {
        for every in (10..ahead).step_by(10) {
            let mut driven = Driven::new(paced(160, MS * ahead, 0));
            driven.log.push_audio(vec![1; 8 * 20_000].into());
            let mut played = 0;
            for ms in 0..u64::from(4 * ahead) + 1_000 {
                while driven.log.has_output(driven.now) {
                    driven.send();
                }
                let unheard = driven.log.sent_bytes() - played;
                assert!(unheard > 0, "{ahead} ms ahead, ack every {every} ms: dry at {ms} ms");
                assert!(unheard <= u64::from(ahead + 20) * 8 || ms < u64::from(every));
                driven.now += MS;
                played += 8;
                if (ms + 1) % u64::from(every) == 0 {
                    driven.log.acknowledge(driven.now, played);
                }
            }
        }
    }
}

#[test]
fn audio_beyond_keep_bytes_is_dropped() {
    for keep_bytes in [0, 1, 1_000, 5_000] {
        let mut driven = Driven::new(Flow { keep_bytes, ..burst(160) });
        for n in 0..100 {
            driven.log.push_message(format!("{{{n}}}"));
            driven.log.push_audio(vec![1; 640].into());
            driven.send();
            driven.confirm();
            let (base, sent) = (driven.log.base_bytes(), driven.log.sent_bytes());
            assert!(base <= sent.saturating_sub(keep_bytes) || keep_bytes == 0, "{keep_bytes}");
            assert!(sent - base < keep_bytes.max(1) + 640, "{keep_bytes}: {base} of {sent}");
            let most = (keep_bytes as usize + 640) * 2 + 200;
            assert!(driven.log.memory_bytes() < most, "{keep_bytes}: {}", driven.log.memory_bytes());
        }
    }
}

/// Whatever lies between server and client may hold what was sent: the log lets go of nothing that the
/// client has not confirmed, and sends no more than is kept for it.
#[test]
fn unconfirmed_audio_is_kept_and_bounded() {
    for ahead in [None, Some(Duration::from_secs(3_600))] {
        for keep_bytes in [0, 1, 100_000] {
            let mut driven = Driven::new(Flow { keep_bytes, ahead, ..burst(160) });
            driven.answers = false;
            let mut asked: Vec<u64> = Vec::new();
            let mut pour = |driven: &mut Driven| {
                for _ in 0..10_000 {
                    if driven.log.wants_more(driven.now) {
                        driven.log.push_audio(vec![1; 640].into());
                    }
                    driven.send();
                    asked.extend(driven.log.ask(driven.now));
                }
                driven.log.sent_bytes()
            };
            let sent = pour(&mut driven);
            // Little is sent before the first answer, and more of it the longer that does not come.
            assert!((32_000..=32 * 1024).contains(&sent), "{sent}");
            assert!(!driven.log.has_output(driven.now));
            let opens = driven.log.opens_at(driven.now).unwrap();
            assert!((MS * 50..MS * 200).contains(&(opens - driven.now)), "{:?}", opens - driven.now);
            driven.now += MS * 2_000;
            let sent = pour(&mut driven);
            assert!((56_000 - 160..=56_000 + 768).contains(&sent), "3 s of speech after 2 s: {sent}");
            driven.now += MS * 58_000;
            let sent = pour(&mut driven);
            if keep_bytes == 0 {
                assert!(sent >= 6_400_000, "{sent}");
                continue;
            }
            assert!(sent <= UNCONFIRMED_BYTES && sent + 160 > UNCONFIRMED_BYTES, "{sent}");
            assert!(!driven.log.has_output(driven.now));
            // Each offset in what may be lost can be returned to, the very first included.
            assert_eq!(driven.log.base_bytes(), 0);
            driven.now += Duration::from_secs(3_000);
            // More than was sent cannot be confirmed, nor less than before.
            driven.log.confirm(driven.now, 1_000_000);
            driven.log.confirm(driven.now, 5);
            assert_eq!(driven.log.base_bytes(), (1_000_000 - keep_bytes) / 640 * 640);
            // The answer was late, so little is sent before the next one.
            let more = pour(&mut driven);
            assert_eq!(more, sent, "less than that is on the way");
            driven.now += Duration::from_secs(3_000);
            driven.log.confirm(driven.now, u64::MAX);
            assert_eq!(driven.log.base_bytes(), (sent - keep_bytes) / 640 * 640);
            // What a client names when it comes back is what it has.
            assert_eq!(driven.log.rewind(driven.log.base_bytes()), Ok(()));
            pour(&mut driven);
            driven.now += Duration::from_secs(20);
            assert!(pour(&mut driven) > sent);
            let (steps, most) =
                (asked.windows(2).map(|pair| pair[1].saturating_sub(pair[0])), 1024 * 1024 + 160);
            assert!(asked.len() > 8 && steps.max().unwrap() <= most, "{asked:?}");
        }
    }
}

/// Audio before the beginning of a stream is nothing that its client has to confirm.
#[test]
fn starting_at_an_offset_beyond_the_unconfirmed_bytes_sends() {
    for ahead in [None, Some(MS * 100)] {
        let offset = 3 * UNCONFIRMED_BYTES;
        let flow = Flow { keep_bytes: 100_000, ahead, ..burst(160) };
        let mut driven = Driven::new(flow);
        driven.log = Log::starting_at(flow, offset);
        driven.log.skip(offset);
        driven.log.push_audio(vec![1; 1_600].into());
        driven.send();
        assert!(driven.log.sent_bytes() >= offset + 800, "{ahead:?}: {}", driven.log.sent_bytes() - offset);
    }
}

/// A stream was sent in part. A rewind to any of its bytes sends exactly the bytes after it.
#[test]
fn rewind_to_every_offset_sends_the_same_again() {
    let audio: Vec<u8> = (0..500).map(|n| (n % 251) as u8).collect();
    for accepted in (0..600).step_by(7) {
        for offset in 0..=501 {
            let mut driven = Driven::new(Flow { keep_bytes: 1_000, ..burst(80) });
            driven.log.push_message("{0}".to_owned());
            for chunk in [&audio[..300], &audio[300..]] {
                driven.log.push_audio(Bytes::copy_from_slice(chunk));
                driven.log.push_message("{1}".to_owned());
            }
            driven.write(|offered| accepted.min(offered));
            let sent = driven.log.sent_bytes();
            let result = driven.log.rewind(offset);
            if offset > sent {
                assert_eq!((result, driven.log.sent_bytes()), (Err(OutOfLog::Beyond), sent));
                break;
            }
            assert_eq!(result, Ok(()));
            driven.wire.clear();
            driven.unsent.clear();
            driven.write(|offered| offered);
            assert_eq!(driven.audio(), audio[offset as usize..], "{offset} of {sent}");
            let messages = driven.wire.windows(5).filter(|w| w[0] == 0x81 && w[2] == b'{').count();
            // Messages at the offset itself are included.
            let expected = match offset {
                0 => 3,
                1..=300 => 2,
                _ => 1,
            };
            assert_eq!(messages, expected, "{offset} of {sent}");
        }
    }
}

impl Driven {
    /// Audio on the wire, which may end in the middle of a frame.
    fn audio(&self) -> Vec<u8> {
        let (mut audio, mut wire) = (Vec::new(), &self.wire[..]);
        while wire.len() >= 2 {
            let (header, len) = match wire[1] {
                126 if wire.len() < 4 => break,
                126 => (4, usize::from(u16::from_be_bytes([wire[2], wire[3]]))),
                short => (2, usize::from(short)),
            };
            let end = (header + len).min(wire.len());
            if wire[0] == 0x82 {
                audio.extend_from_slice(&wire[header..end]);
            }
            wire = &wire[end..];
        }
        audio
    }
}

/// In random histories of all operations, the client always has the beginning of the pushed audio, cut
/// only by a cancel, and the positions keep their order.
#[test]
fn random_histories_keep_positions_in_order_and_bytes_in_place() {
    for seed in 1..=400u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let frame_bytes = [1, 7, 80, 640][random.below(4)];
        let ahead = [None, Some(MS * 20), Some(MS * 100), Some(MS * 2_000)][random.below(4)];
        let keep_bytes = [0, 100, 100_000][random.below(3)];
        let mut driven = Driven::new(Flow { ahead, keep_bytes, ..burst(frame_bytes) });
        // All audio by offset, and the client's part of it.
        let (mut model, mut client) = (Vec::<u8>::new(), Vec::<u8>::new());
        let (mut next, mut is_shut) = (0u8, false);
        // The most that was sent and not cancelled: a client may have as much.
        let (mut played, mut peak) = (0, 0);
        for step in 0..150 {
            peak = peak.max(driven.log.sent_bytes());
            match random.below(20) {
                0..=5 => {
                    let chunk: Vec<u8> = (0..random.below(frame_bytes * 9 + 1))
                        .map(|_| {
                            next = next.wrapping_add(7);
                            next
                        })
                        .collect();
                    model.extend_from_slice(&chunk);
                    driven.log.push_audio(chunk.into());
                }
                6 => driven.log.push_message("{m}".to_owned()),
                7 => {
                    is_shut = true;
                    driven.log.shut(driven.now);
                }
                8 | 9 => {
                    is_shut = false;
                    driven.log.open(driven.now);
                }
                10 if random.below(3) == 0 => {
                    let offset = random.below(model.len() + 9) as u64;
                    driven.log.acknowledge(driven.now, offset);
                    played = 0;
                }
                11 if random.below(3) == 0 => {
                    driven.log.cancel(driven.now);
                    model.truncate(driven.log.sent_bytes() as usize);
                    peak = driven.log.sent_bytes();
                    assert!(driven.log.is_all_sent());
                }
                12 if random.below(2) == 0 => {
                    // A new connection: a frame that was begun on the old one is lost.
                    let offset = random.below(peak as usize + 3);
                    let base = driven.log.base_bytes();
                    let expected = match offset as u64 {
                        o if o < base => Err(OutOfLog::Before),
                        o if o > peak => Err(OutOfLog::Beyond),
                        _ => Ok(()),
                    };
                    assert_eq!(driven.log.rewind(offset as u64), expected, "seed {seed}, {step}");
                    if expected.is_ok() {
                        client.resize(offset, 0);
                        client.copy_from_slice(&model[..offset]);
                        driven.unsent.clear();
                        played = 0;
                    }
                }
                13..=15 => driven.now += MS * [0, 1, 10, 300][random.below(4)],
                _ => {
                    // A frame that was begun arrives in full before anything else.
                    driven.wire.clear();
                    driven.write(|offered| random.below(offered + 1));
                    driven.wire.append(&mut driven.unsent);
                    let audio = driven.audio();
                    assert!(!is_shut || audio.is_empty(), "seed {seed}, {step}");
                    client.extend_from_slice(&audio);
                }
            }
            let (log, now) = (&driven.log, driven.now);
            let at = format!("seed {seed}, step {step}");
            assert_eq!(client.len() as u64, log.sent_bytes(), "{at}");
            assert!(model.starts_with(&client), "{at}");
            assert_eq!(log.written_bytes(), model.len() as u64, "{at}");
            let heard = log.played_bytes(now);
            assert!(log.base_bytes() <= log.sent_bytes() && heard <= log.sent_bytes(), "{at}");
            // Without `keep_bytes` nothing is kept, and a client may acknowledge less than the clock.
            assert!(log.base_bytes() <= heard || keep_bytes == 0 || log.is_acknowledged, "{at}");
            assert!(heard >= played, "{at}: playback runs backwards");
            played = heard;
            if let Some(opens) = log.opens_at(now) {
                assert!(opens > now, "{at}");
                assert!(log.is_all_sent() || log.has_output(opens), "{at}");
            }
            assert!(!is_shut || (!log.has_output(now) && log.opens_at(now).is_none()), "{at}");
        }
    }
}

/// The first question tells the round trip, so nothing of the audio stands before it.
#[test]
fn the_first_question_stands_before_the_audio() {
    for ahead in [None, Some(MS * 3_000)] {
        let mut driven = Driven::new(Flow { ahead, ..burst(160) });
        assert_eq!(driven.log.ask(driven.now), None, "there is no audio");
        driven.log.push_message("{}".into());
        assert_eq!(driven.log.ask(driven.now), None, "there is only a message");
        driven.log.push_audio(vec![1; 1_600].into());
        assert_eq!(driven.log.ask(driven.now), Some(0), "the message and the audio leave in one write");
        assert_eq!(driven.log.ask(driven.now), None);
    }
}

/// Whatever the frames, and however late the answers: a stream that is not done may send, or waits for an answer.
#[test]
fn a_client_that_answers_is_never_left_waiting() {
    for (seed, frame_bytes) in (0_u64..8).flat_map(|seed| [160, 9_600, 57_600].map(|bytes| (seed, bytes))) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let mut driven = Driven::new(burst(frame_bytes));
        let mut open = VecDeque::new();
        for _ in 0..400 {
            while driven.log.wants_more(driven.now) {
                driven.log.push_audio(vec![1; 9_600].into());
            }
            open.extend(driven.log.ask(driven.now));
            let may_send = driven.log.has_output(driven.now);
            assert!(may_send || !open.is_empty(), "{seed} {frame_bytes}: {} sent", driven.log.sent_bytes());
            if may_send && next(3) > 0 {
                driven.write(|offered| offered);
                open.extend(driven.log.ask(driven.now));
            } else if let Some(offset) = open.pop_front() {
                driven.now += MS * [1, 300, 700, 1_400][next(4) as usize];
                driven.log.confirm(driven.now, offset);
            }
            driven.wire.clear();
        }
        assert!(driven.log.sent_bytes() > 300_000);
    }
}
