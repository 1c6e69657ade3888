//! Helpers for tests of engines.

use super::{Piece, Speech, SynthesisError};
use crate::gauge::Gauge;
use hyper::body::Bytes;
use std::future::Future;
use std::time::Duration;

/// Waits for a future that must not take long.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("done within its time")
}

/// Collects all pieces of a speech, and the error at its end.
pub(super) async fn pieces(mut speech: Speech) -> (Vec<Piece>, Option<SynthesisError>) {
    let mut pieces = Vec::new();
    let error = soon(async {
        loop {
            match speech.next().await {
                Some(Ok(piece)) => pieces.push(piece),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        }
    });
    let error = error.await;
    assert!(soon(speech.next()).await.is_none(), "nothing comes after the end");
    (pieces, error)
}

/// Collects all chunks of a speech without word times, and the error at its end. A warning of words that cannot be
/// said is left out.
pub(super) async fn all(speech: Speech) -> (Vec<Bytes>, Option<SynthesisError>) {
    let (pieces, error) = pieces(speech).await;
    let is_audio =
        |piece: &Piece| !matches!(piece, Piece::Warning(warning) if warning.code == "unspeakable_text");
    (pieces.into_iter().filter(is_audio).map(chunk).collect(), error)
}

/// Returns the audio of a piece.
pub(super) fn chunk(piece: Piece) -> Bytes {
    match piece {
        Piece::Audio(chunk) => chunk,
        other => panic!("no audio but {other:?}"),
    }
}

/// Waits until nothing is counted any more.
pub(super) async fn idle(gauge: &Gauge) {
    soon(async {
        while gauge.count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
