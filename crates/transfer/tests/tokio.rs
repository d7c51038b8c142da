//! The same on a runtime: everything arrives, and nothing is lost when a future is dropped.

mod common;

use common::pattern;
use nocopy_transfer::tokio::{copy, copy_bidirectional, copy_range, drive};
use nocopy_transfer::{Ended, Error, Request, Stability, dropped_bytes};
use std::future::Future;
use std::io::{Seek, SeekFrom};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UnixStream};

const SHARED: Stability = Stability::Shared;
const LENGTH: usize = (3 << 20) + 4711;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime.expect("a runtime"), future)
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("its address"))
        .await
        .expect("connected");
    (near, listener.accept().await.expect("accepted").0)
}

async fn all_of(mut far: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.expect("bytes");
    bytes
}

#[test]
fn a_file_is_copied_from_where_its_reader_is() {
    block_on(async {
        let content = pattern(LENGTH);
        let mut file = File::from_std(common::file(&content));
        let (mut near, far) = tcp().await;
        let reader = tokio::task::spawn_local(all_of(far));
        // tokio reads ahead: the descriptor is farther than its reader.
        let mut some = [0; 1000];
        file.read_exact(&mut some).await.expect("bytes");
        let outcome = copy(&mut file, &mut near, SHARED).await.expect("a copy");
        assert_eq!(outcome.bytes, LENGTH as u64 - 1000, "{outcome}");
        assert_eq!(file.stream_position().await.expect("a file"), LENGTH as u64);
        let outcome = copy_range(&mut file, 5, 10, &mut near, SHARED)
            .await
            .expect("a copy");
        assert_eq!(outcome.bytes, 10);
        drop(near);
        assert!(reader.await.expect("the reader") == [&content[1000..], &content[5..15]].concat());
    });
}

/// The receiver reads in small pieces and sleeps in between: each time the sender waits for an event.
#[test]
fn no_event_is_missed() {
    block_on(async {
        for stability in [SHARED, Stability::Snapshot] {
            let content = pattern(LENGTH);
            let (mut feeder, mut source) = UnixStream::pair().expect("a pair");
            let (mut near, mut far) = tcp().await;
            let expected = content.clone();
            let writer = tokio::task::spawn_local(async move {
                for (index, piece) in content.chunks(70_001).enumerate() {
                    feeder.write_all(piece).await.expect("room");
                    if index % 5 == 0 {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            });
            let reader = tokio::task::spawn_local(async move {
                let mut bytes = Vec::with_capacity(LENGTH);
                let mut turn = 0;
                while far.read_buf(&mut bytes).await.expect("bytes") > 0 {
                    turn += 1;
                    if turn % 7 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                bytes
            });
            let limit = tokio::time::timeout(
                Duration::from_secs(60),
                copy(&mut source, &mut near, stability),
            );
            let outcome = limit.await.expect("it does not hang").expect("a copy");
            assert_eq!(
                (outcome.ended, outcome.bytes),
                (Ended::Complete, LENGTH as u64),
                "{outcome}"
            );
            drop(near);
            writer.await.expect("the writer");
            assert!(reader.await.expect("the reader") == expected);
        }
    });
}

#[test]
fn a_proxy_copies_both_ways_and_hands_on_each_end() {
    block_on(async {
        let (mut client, mut client_side) = tcp().await;
        let (mut server_side, mut server) = tcp().await;
        let proxy = tokio::task::spawn_local(async move {
            copy_bidirectional(&mut client_side, &mut server_side, SHARED).await
        });
        let request = pattern(100_000);
        client.write_all(&request).await.expect("room");
        client.shutdown().await.expect("its end");
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.expect("bytes");
        assert!(got == request);
        // The other direction is still open.
        let response = pattern(LENGTH);
        let expected = response.clone();
        let writer = tokio::task::spawn_local(async move {
            server.write_all(&response).await.expect("room");
            server
        });
        let mut got = vec![0; LENGTH];
        client.read_exact(&mut got).await.expect("bytes");
        assert!(got == expected);
        drop(writer.await.expect("the writer"));
        assert_eq!(client.read(&mut got).await.expect("its end"), 0);
        let (there, back) = proxy.await.expect("the proxy").expect("a copy");
        assert_eq!((there.bytes, back.bytes), (100_000, LENGTH as u64));
    });
}

#[test]
fn a_dropped_future_leaves_the_transfer_as_it_is() {
    block_on(async {
        let content = pattern(8 << 20);
        let (mut feeder, source) = UnixStream::pair().expect("a pair");
        let (near, far) = tcp().await;
        let whole = content.clone();
        let writer = tokio::task::spawn_local(async move { feeder.write_all(&whole).await });
        let mut transfer = Request::new(SHARED)
            .begin(&source, &near)
            .expect("what it needs");
        // Nobody reads, so it is dropped with bytes on their way; each time it goes on from there.
        for _ in 0..3 {
            let limit = tokio::time::timeout(Duration::from_millis(20), drive(&mut transfer));
            assert!(limit.await.is_err());
        }
        assert!(transfer.taken() > 0 && transfer.taken() < 8 << 20);
        let reader = tokio::task::spawn_local(all_of(far));
        drive(&mut transfer).await.expect("the runtime");
        assert_eq!(transfer.outcome().ended, Ended::Complete);
        writer.await.expect("the writer").expect("room");
        drop(near);
        assert!(reader.await.expect("the reader") == content);
    });
}

/// What a dropped copy of a stream has taken and not delivered is counted; of a file nothing is lost.
#[test]
fn a_dropped_copy_is_counted() {
    let content = pattern(64 << 20);
    block_on(async {
        let (mut near, far) = tcp().await;
        let mut file = File::from_std(common::file(&content));
        let limit = tokio::time::timeout(
            Duration::from_millis(20),
            copy_range(&mut file, 0, 64 << 20, &mut near, Stability::Snapshot),
        );
        assert!(limit.await.is_err());
        assert_eq!(dropped_bytes(), 0);
        drop(far);

        let (mut near, mut far) = tcp().await;
        let (mut feeder, mut source) = UnixStream::pair().expect("a pair");
        let whole = content.clone();
        let writer = tokio::task::spawn_local(async move { feeder.write_all(&whole).await });
        let limit = tokio::time::timeout(
            Duration::from_millis(50),
            copy(&mut source, &mut near, SHARED),
        );
        assert!(limit.await.is_err());
        let dropped = dropped_bytes();
        assert!(dropped > 0);
        // It is exactly the gap between what has arrived and what comes next.
        drop(near);
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).await.expect("bytes");
        let at = bytes.len() + usize::try_from(dropped).expect("a length");
        let mut next = vec![0; 1000];
        source.read_exact(&mut next).await.expect("more");
        assert!(next == content[at..at + 1000]);
        drop(source);
        assert!(writer.await.expect("the writer").is_err());
    });
}

#[test]
fn pipes_and_files_are_ends_too() {
    block_on(async {
        let (mut sender, mut receiver) = pipe::pipe().expect("a pipe");
        let mut from = File::from_std(common::file(&pattern(LENGTH)));
        let target = common::file(b"");
        let mut to = File::from_std(target.try_clone().expect("dup"));
        let there = async {
            let outcome = copy(&mut from, &mut sender, SHARED).await.expect("a copy");
            drop(sender);
            outcome
        };
        let back = copy(&mut receiver, &mut to, SHARED);
        let mut there = std::pin::pin!(there);
        let mut back = std::pin::pin!(back);
        let (mut one, mut other) = (None, None);
        std::future::poll_fn(|context| {
            use std::task::Poll;
            if one.is_none()
                && let Poll::Ready(outcome) = there.as_mut().poll(context)
            {
                one = Some(outcome);
            }
            if other.is_none()
                && let Poll::Ready(outcome) = back.as_mut().poll(context)
            {
                other = Some(outcome);
            }
            if one.is_some() && other.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        assert_eq!(one.expect("ended").bytes, LENGTH as u64);
        assert_eq!(other.expect("ended").expect("a copy").bytes, LENGTH as u64);
        let mut target = target;
        target.seek(SeekFrom::Start(0)).expect("a file");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut target, &mut bytes).expect("bytes");
        assert!(bytes == pattern(LENGTH));
    });
}

/// The runtime has no events for a pipe in a `File`: an error, and no loop.
#[test]
fn a_file_that_is_a_pipe_is_not_waited_for() {
    block_on(async {
        let (read, _write) = std::io::pipe().expect("a pipe");
        let read = std::os::fd::OwnedFd::from(read);
        common::set_nonblocking(&read);
        let file = File::from_std(read.into());
        let (near, _far) = tcp().await;
        let mut transfer = Request::new(SHARED)
            .begin(&file, &near)
            .expect("what it needs");
        let driven = tokio::time::timeout(Duration::from_secs(5), drive(&mut transfer)).await;
        let error = driven.expect("it does not hang").expect_err("no events");
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    });
}

/// What had left the source is given back also where the runtime cannot wait any more.
#[test]
fn a_runtime_that_has_ended_loses_nothing() {
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let ((mut near, mut far), (mut out, _reader)) = ended.block_on(async {
        let (source, sink) = (tcp().await, tcp().await);
        sink.0.writable().await.expect("room");
        while sink.0.try_write(&[0; 4096]).is_ok() {}
        (source, sink)
    });
    ended
        .block_on(far.write_all(&pattern(10_000)))
        .expect("room");
    drop(ended);
    block_on(async {
        let copied =
            tokio::time::timeout(Duration::from_secs(10), copy(&mut near, &mut out, SHARED));
        let error = copied.await.expect("it does not hang").expect_err("ended");
        let Error::Stopped(stopped) = error else {
            panic!("{error}");
        };
        assert_eq!(stopped.outcome.bytes, 0, "{stopped:?}");
        assert!(stopped.held == pattern(10_000), "{}", stopped.outcome);
    });
}

#[test]
fn a_proxy_goes_on_after_an_urgent_byte() {
    use std::os::fd::AsRawFd;
    block_on(async {
        let (mut client, mut near) = tcp().await;
        let (mut out, mut far) = tcp().await;
        client.write_all(b"ab").await.expect("room");
        // SAFETY: one byte that is read during the call.
        let sent =
            unsafe { libc::send(client.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        client.write_all(b"cdef").await.expect("room");
        let copying =
            tokio::task::spawn_local(async move { copy(&mut near, &mut out, SHARED).await });
        let mut bytes = [0; 6];
        let read = tokio::time::timeout(Duration::from_secs(10), far.read_exact(&mut bytes)).await;
        read.expect("it does not hang").expect("bytes");
        assert_eq!(&bytes, b"abcdef");
        drop(client);
        assert_eq!(copying.await.expect("the copy").expect("a copy").bytes, 6);
    });
}
