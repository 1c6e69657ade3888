mod line;

use super::super::routes::Answer;
use super::super::service::Service;
use super::super::transport::Readiness;
use super::*;
use crate::audio::{Encoding, Format};
use crate::session::message::PATH;
use crate::tts::Tone;
use crate::ws::endpoint::{Limits, Role};
use hyper::Request;
use std::io::IoSlice;
use std::time::Duration;
use tokio::time::sleep;

/// A socket that takes everything, and fails us once.
struct Treacherous {
    written: Arc<Mutex<Vec<Vec<u8>>>>,
    panics_at: usize,
}

impl Transport for Treacherous {
    const WRITES_THROUGH: bool = true;

    fn poll_ready(&mut self, _: Readiness, _: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        Poll::Pending
    }

    fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn force_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let (count, length) = {
            let mut written = self.written.lock().unwrap();
            let length = bytes.len();
            written.push(bytes);
            (written.len(), length)
        };
        assert_ne!(count, self.panics_at, "a fault of ours");
        Ok(length)
    }

    fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write(slices)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The opening handshake of a client.
fn handshake() -> Request<()> {
    Request::get(PATH)
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "aloud.v1")
        .body(())
        .unwrap()
}

/// Connects a client that has sent this message behind its handshake. Returns what is written to it.
fn connect(service: &Service, message: &str, panics_at: usize) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let limits = Limits { max_message_bytes: 1024, max_fragments: 1, read_buffer_bytes: 256 };
    let mut client = Endpoint::new(Role::Client, limits);
    client.send_text(message);
    let Answer::Upgrade(_, admitted) = service.answer(&handshake(), None) else { panic!("a handshake") };
    let written = Arc::default();
    let transport = Treacherous { written: Arc::clone(&written), panics_at };
    admitted.start(&service.shared, transport, client.outgoing().to_vec().into());
    written
}

/// True if a stream has started on a connection to which this was written.
fn has_started(written: &Mutex<Vec<Vec<u8>>>) -> bool {
    let written = written.lock().unwrap().concat();
    String::from_utf8_lossy(&written).contains("stream_start")
}

#[tokio::test(start_paused = true)]
async fn many_dear_messages_at_once_delay_a_short_one_by_few_of_them() {
    let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 24_000 };
    let service = Service::new(Config::default(), Arc::new(Tone::new(format, 1e6))).unwrap();
    let dear = |fields: &str| format!(r#"{{"type":"start_session",{fields}}}"#);
    let text = "[a](b <c ".repeat(2_000);
    for dear in [
        dear(&format!(r#""prompt":"{text}""#)),
        dear(&format!(r#""prompt":"{text}","clean":"markdown""#)),
        dear(&format!(r#""prompt":"{text}","source":"append""#)),
        dear(&format!(r#""prompt":"Hello.","unknown":"{text}""#)),
        dear(&format!(r#""prompt":"Hello.","unknown":{{{}"a":0}}"#, r#""a":0,"#.repeat(2_000))),
    ] {
        let others: Vec<_> = (0..30).map(|_| connect(&service, &dear, usize::MAX)).collect();
        let short = connect(&service, r#"{"type":"start_session","prompt":"Hello."}"#, usize::MAX);
        while !has_started(&short) {
            yield_now().await;
        }
        let before = others.iter().filter(|other| has_started(other)).count();
        assert!(before <= 3, "{before} before it: {}", &dear[..80]);
        while !others.iter().all(|other| has_started(other)) {
            yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_step_ends_its_own_connection_with_1011_and_no_other() {
    let format = Format { encoding: Encoding::PcmS16le, sample_rate_hz: 24_000 };
    let config = Config { close_timeout: Duration::from_millis(100), ..Config::default() };
    let service = Service::new(config, Arc::new(Tone::new(format, 1e6))).unwrap();
    let start = r#"{"type":"start_session","delivery":{"mode":"paced","aheadMs":20}}"#;
    let (broken, sound) = (connect(&service, start, 21), connect(&service, start, usize::MAX));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(service.sessions().count(), 1);
    let broken = broken.lock().unwrap();
    assert_eq!(broken.len(), 22);
    assert_eq!(broken[21][2..4], 1011_u16.to_be_bytes(), "{:?}", broken[21]);
    let steps = sound.lock().unwrap().len();
    assert!(steps >= 50, "a frame each 40 ms: {steps}");
}
