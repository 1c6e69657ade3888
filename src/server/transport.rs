//! The byte streams that a connection can run over: a bare socket, or any other stream that an upgrade
//! yields.
//!
//! A bare socket is asked for readiness, then read and written without waiting, through buffers that the
//! thread shares: an idle connection owns no buffer. Streams without readiness (TLS, a test's duplex) get
//! it from an adapter with buffers.

use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Bytes that the kernel takes for a client and has not sent: enough for full speed, few enough that an
/// answer behind them comes soon.
pub(crate) const UNSENT_BYTES: u32 = 128 * 1024;

/// The same until it is known how fast the client reads. Less than a stream has on the way to a client whose answers
/// are late: otherwise its socket would never be full, and its rate never be known.
pub(super) const FIRST_UNSENT_BYTES: u32 = 32 * 1024;

/// Most bytes read at once from a socket.
const SOCKET_READ_BYTES: usize = 16 * 1024;

thread_local! {
    /// Shared by all connections of a thread, so that an idle one owns no buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SOCKET_READ_BYTES].into_boxed_slice());
}

/// Calls `read` with the thread's buffer.
pub(crate) fn with_read_buffer<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    READ.with_borrow_mut(|buffer| read(buffer))
}

/// Directions in which a stream is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

impl Readiness {
    pub(crate) fn any(self) -> Poll<io::Result<Readiness>> {
        if self.readable || self.writable { Poll::Ready(Ok(self)) } else { Poll::Pending }
    }
}

/// A byte stream that never makes its caller wait, and reports when it is ready.
pub(crate) trait Transport: Send + Unpin + 'static {
    /// True if the kernel owns written bytes: they and the FIN are delivered even after the stream is
    /// dropped.
    const WRITES_THROUGH: bool;

    /// Ready when one of the `wanted` directions may make progress; an error when the stream is broken.
    /// Dropping interest in between loses nothing. Only one task polls it.
    fn poll_ready(&mut self, wanted: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>>;

    /// Reads the bytes that are there; 0 at the end of the stream, `WouldBlock` if there are none.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// The same, even if the stream has not reported that there is something to read. Only used when a
    /// write has failed.
    fn force_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as fits; `WouldBlock` if nothing fits.
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The same, even if the stream reports no room. A kernel calls a socket writable only once a third of
    /// its buffer is free, which may be megabytes: a peer that reads at the pace of speech would seem
    /// stalled for minutes. Only used when a write has stalled.
    fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Limits the bytes that the kernel takes and has not sent, where the kernel can: a little more than
    /// this. Has no effect on a stream without such a limit.
    fn limit_unsent(&mut self, _bytes: u32) {}

    /// Sends the rest, and the end of the stream.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A peer that is gone is an error and no signal. On systems without a flag for that, std takes care of
/// it.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

fn send(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(match slices {
        [one] => net::send(socket, one, SEND_FLAGS),
        many => net::sendmsg(socket, many, &mut SendAncillaryBuffer::default(), SEND_FLAGS),
    }?)
}

/// Sets TCP_NOTSENT_LOWAT. Without it a kernel takes megabytes for a slow client: each later message waits
/// behind them, and the server cannot know how far the client is.
fn limit_unsent(socket: &impl AsFd, bytes: u32) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // Only a kernel older than the option refuses, and speech works without it.
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(bytes);
}

/// Sets the options of a TCP socket that clients speak to: frames leave at once, and little waits unsent.
pub(crate) fn tune(socket: &impl AsFd) {
    // A frame of audio must not wait for the acknowledgement of the one before it. Speech works without
    // either, if a kernel refuses.
    let _ = SockRef::from(socket).set_tcp_nodelay(true);
    limit_unsent(socket, FIRST_UNSENT_BYTES);
}

/// A bare socket. One type for both kinds, or everything that serves a connection would be compiled twice.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same with either kind.
macro_rules! either {
    ($socket:expr, $inner:ident => $work:expr) => {
        match $socket {
            Socket::Tcp($inner) => $work,
            Socket::Unix($inner) => $work,
        }
    };
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, socket => socket.as_fd())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_shutdown(cx))
    }
}

impl Transport for Socket {
    const WRITES_THROUGH: bool = true;

    fn poll_ready(&mut self, wanted: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let mut ready = Readiness::default();
        if wanted.readable
            && let Poll::Ready(done) = either!(self, socket => socket.poll_read_ready(cx))
        {
            done?;
            ready.readable = true;
        }
        if wanted.writable
            && let Poll::Ready(done) = either!(self, socket => socket.poll_write_ready(cx))
        {
            done?;
            ready.writable = true;
        }
        ready.any()
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        let read = || {
            count = net::recv(&*self, &mut *buffer, RecvFlags::empty())?.0;
            // What did not fill the buffer was all there is, and epoll reports what comes later: the readiness ends
            // here, which saves one more call that would only say so.
            let was_all =
                cfg!(any(target_os = "linux", target_os = "android")) && (1..buffer.len()).contains(&count);
            if was_all { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        match either!(&*self, socket => socket.try_io(Interest::READABLE, read)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && count > 0 => Ok(count),
            read => read.map(|()| count),
        }
    }

    fn force_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(net::recv(&*self, buffer, RecvFlags::empty())?.0)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // The kernel is asked first: tokio's state would have to be fetched from memory. If there is no
        // room tokio has to see that itself, or it would not report room later.
        match send(&*self, slices) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                either!(&*self, socket => socket.try_io(Interest::WRITABLE, || send(socket, slices)))
            }
            written => written,
        }
    }

    fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        send(&*self, slices)
    }

    fn limit_unsent(&mut self, bytes: u32) {
        // The buffer of a Unix socket holds little in any case, 208 KiB on Linux.
        if let Socket::Tcp(socket) = self {
            limit_unsent(socket, bytes);
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self), cx)
    }
}

/// Bytes taken at once from a stream without readiness.
const READ_BYTES: usize = 4 * 1024;

/// Any other stream: reads ahead a little, and keeps bytes that it could not write yet.
pub(crate) struct Buffered<S> {
    stream: S,
    input: Vec<u8>,
    is_at_end: bool,
    output: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Buffered<S> {
    pub(crate) fn new(stream: S) -> Buffered<S> {
        Buffered { stream, input: Vec::new(), is_at_end: false, output: Vec::new(), written: 0 }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.output = Vec::new();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.input.is_empty() && !self.is_at_end {
            let mut space = [0; READ_BYTES];
            let mut space = ReadBuf::new(&mut space);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
            self.is_at_end = space.filled().is_empty();
            self.input.extend_from_slice(space.filled());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Buffered<S> {
    const WRITES_THROUGH: bool = false;

    fn poll_ready(&mut self, wanted: Readiness, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        let mut ready = Readiness::default();
        // Bytes that were taken for writing keep leaving, asked for or not.
        if let Poll::Ready(done) = self.poll_output(cx) {
            done?;
            ready.writable = wanted.writable;
        }
        if wanted.readable
            && let Poll::Ready(done) = self.poll_input(cx)
        {
            done?;
            ready.readable = true;
        }
        ready.any()
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && !self.is_at_end {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.input[..count]);
        self.input.drain(..count);
        Ok(count)
    }

    fn force_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_read(buffer)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.output.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        for slice in slices {
            self.output.extend_from_slice(slice);
        }
        Ok(self.output.len())
    }

    fn force_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write(slices)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_output(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{Future, poll_fn};
    use std::task::ready;
    use std::time::Duration;
    use tokio::task::coop;
    use tokio::time::sleep;

    /// Woken by the future itself, and not by the timer.
    async fn in_time<F: Future>(future: F) -> F::Output {
        tokio::select! {
            biased;
            () = sleep(Duration::from_secs(10)) => panic!("not woken"),
            output = future => output,
        }
    }

    fn pair() -> (Socket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Socket::Unix(ours), theirs)
    }

    const INPUT: Readiness = Readiness { readable: true, writable: false };

    #[tokio::test]
    async fn readiness_wakes_a_task_that_asked_when_its_turn_was_over() {
        let (mut socket, theirs) = pair();
        let mut turns = 0;
        let ready = poll_fn(|cx| {
            turns += 1;
            match turns {
                1 => {
                    // As a peer does that keeps the task reading.
                    while let Poll::Ready(budget) = coop::poll_proceed(cx) {
                        budget.made_progress();
                    }
                    assert!(socket.poll_ready(INPUT, cx).is_pending());
                    Poll::Pending
                }
                2 => {
                    assert!(socket.poll_ready(INPUT, cx).is_pending());
                    theirs.try_write(b"x").unwrap();
                    Poll::Pending
                }
                _ => Poll::Ready(ready!(socket.poll_ready(INPUT, cx)).unwrap()),
            }
        });
        assert_eq!(in_time(ready).await, INPUT);
        assert_eq!(turns, 3);
    }

    #[tokio::test]
    async fn readiness_wakes_a_task_once_for_everything_that_came() {
        let (mut socket, theirs) = pair();
        for byte in [b"a", b"b", b"c"] {
            let mut turns = 0;
            let ready = poll_fn(|cx| {
                turns += 1;
                let poll = socket.poll_ready(INPUT, cx);
                if turns == 1 {
                    assert!(poll.is_pending());
                    // Asked again, it still waits.
                    assert!(socket.poll_ready(INPUT, cx).is_pending());
                    theirs.try_write(byte).unwrap();
                }
                poll.map(io::Result::unwrap)
            });
            assert_eq!(in_time(ready).await, INPUT);
            let mut space = [0; 8];
            assert_eq!(Transport::try_read(&mut socket, &mut space).unwrap(), 1);
            assert_eq!(&space[..1], byte);
            assert_eq!(
                Transport::try_read(&mut socket, &mut space).unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
        }
    }

    #[tokio::test]
    async fn a_socket_without_room_is_written_to_again_once_it_has_some() {
        const OUTPUT: Readiness = Readiness { readable: false, writable: true };
        let (mut socket, theirs) = pair();
        let (first, second) = ([1; 40_000], [2; 20_000]);
        let slices = [IoSlice::new(&first), IoSlice::new(&second)];
        let mut written = 0;
        let error = loop {
            match Transport::try_write(&mut socket, &slices) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        poll_fn(|cx| {
            assert!(socket.poll_ready(OUTPUT, cx).is_pending(), "the socket has no room");
            Poll::Ready(())
        })
        .await;
        let mut space = vec![0; written];
        let mut read = 0;
        while read < written {
            theirs.readable().await.unwrap();
            read += theirs.try_read(&mut space[read..]).unwrap_or(0);
        }
        let ready = in_time(poll_fn(|cx| socket.poll_ready(OUTPUT, cx))).await;
        assert_eq!(ready.unwrap(), OUTPUT);
        assert!(Transport::try_write(&mut socket, &slices[..1]).unwrap() > 0);
        drop(theirs);
        let error = socket.force_write(&slices).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
