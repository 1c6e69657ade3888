//! A client that keeps everything that it needs to go on elsewhere.

use crate::support::{Frame, Raw, crc32, v1};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A client of `aloud.v1` with one stream.
pub(crate) struct Listener {
    pub(crate) raw: Raw,
    id: Value,
    token: Value,
    pub(crate) stream: u64,
    pub(crate) rev: u64,
    /// The `epoch` of the last `recovered`.
    pub(crate) epoch: Option<u64>,
    /// All audio of the stream.
    pub(crate) audio: Vec<u8>,
    /// Offset of the last `text`.
    sentence: usize,
    pub(crate) messages: Vec<Value>,
}

impl Listener {
    /// Starts a stream at this server.
    pub(crate) async fn start(addr: SocketAddr, start: &Value) -> Listener {
        let (mut raw, greeting) = v1(addr).await;
        raw.say(&start.to_string()).await;
        let (id, token) = (greeting["sessionId"].clone(), greeting["token"].clone());
        let (audio, messages) = (Vec::new(), Vec::new());
        Listener { raw, id, token, stream: 1, rev: 0, epoch: None, audio, sentence: 0, messages }
    }

    /// Takes a frame.
    pub(crate) fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Binary(bytes) => self.audio.extend(bytes),
            Frame::Text(message) => {
                match message["type"].as_str().unwrap() {
                    "stream_start" => {
                        self.stream = message["stream"].as_u64().unwrap();
                        self.rev = message["rev"].as_u64().unwrap();
                    }
                    "text" => self.sentence = message["offset"].as_u64().unwrap() as usize,
                    "cancelled" => self.rev = message["rev"].as_u64().unwrap(),
                    _ => {}
                }
                self.messages.push(message);
            }
            _ => {}
        }
    }

    /// Takes frames until this holds.
    pub(crate) async fn until(&mut self, mut is_enough: impl FnMut(&Listener) -> bool) {
        while !is_enough(self) {
            let frame = self.raw.read_frame().await;
            assert!(!matches!(frame, Frame::Close(_)), "{frame:?} after {:?}", self.messages.last());
            self.take(frame);
        }
    }

    /// Takes frames up to so many bytes of audio.
    pub(crate) async fn hear(&mut self, bytes: usize) {
        self.until(|listener| listener.audio.len() >= bytes).await;
    }

    /// Takes frames up to a message of this kind, and returns it.
    pub(crate) async fn message(&mut self, kind: &str) -> Value {
        let before = self.messages.len();
        let of_kind = |listener: &Listener| {
            listener.messages[before..].iter().find(|message| message["type"] == kind).cloned()
        };
        self.until(|listener| of_kind(listener).is_some()).await;
        of_kind(self).unwrap()
    }

    /// Takes frames up to the Close, and returns its code.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.raw.read_frame().await {
                Frame::Close(close) => return close.unwrap().0,
                frame => self.take(frame),
            }
        }
    }

    /// The message that asks for the rest of the stream.
    pub(crate) fn recover(&self, more: &Value) -> String {
        let crc = format!("{:08x}", crc32(&self.audio[self.sentence.min(self.audio.len())..]));
        let mut recover = json!({
            "type": "recover", "sessionId": self.id, "token": self.token, "offset": self.audio.len(),
            "stream": self.stream, "rev": self.rev, "epoch": self.epoch.unwrap_or_default(), "crc32": crc,
        });
        recover.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        recover.to_string()
    }

    /// Connects to this server, asks it for the rest without a checksum, and is turned away. Returns the error and the
    /// close code.
    pub(crate) async fn is_refused(&self, addr: SocketAddr) -> (Value, u16) {
        let (mut raw, _) = v1(addr).await;
        let mut recover: Value = serde_json::from_str(&self.recover(&json!({}))).unwrap();
        recover.as_object_mut().unwrap().remove("crc32");
        raw.say(&recover.to_string()).await;
        let mut error = Value::Null;
        loop {
            match raw.read_frame().await {
                Frame::Text(message) if message["type"] == "error" => error = message,
                Frame::Close(close) => return (error, close.unwrap().0),
                frame => assert!(!matches!(frame, Frame::Binary(_)), "audio: {frame:?}"),
            }
        }
    }

    /// Connects to this server and asks it for the rest. Returns the connection before, and the answer.
    pub(crate) async fn move_to(&mut self, addr: SocketAddr, more: &Value) -> (Raw, Value) {
        let (mut raw, _) = v1(addr).await;
        raw.say(&self.recover(more)).await;
        let before = std::mem::replace(&mut self.raw, raw);
        let recovered = self.message("recovered").await;
        if recovered["recovered"] == true {
            self.epoch = recovered["epoch"].as_u64();
            self.audio.truncate(recovered["offset"].as_u64().unwrap() as usize);
        }
        (before, recovered)
    }
}
