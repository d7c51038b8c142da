//! Owned memory as a source: by `MSG_ZEROCOPY` where it helps, and each buffer comes back.

mod common;

use common::{To, pattern, sink, tcp};
use nocopy_transfer::{Copies, Errno, LEAST, RingError, Sender};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends these sizes from one content. Returns the sender and which buffers were copied.
fn send(out: OwnedFd, content: &[u8], sizes: &[usize]) -> (Sender<Vec<u8>>, Vec<bool>) {
    let mut sender = Sender::new(out).expect("a sink");
    let mut copied = vec![None; sizes.len()];
    let mut take = |sender: &mut Sender<Vec<u8>>| {
        while let Some(sent) = sender.finished() {
            let index = usize::try_from(sent.ticket).expect("a number");
            assert_eq!(sent.buffer.len(), sizes[index]);
            assert_eq!(sent.taken, sizes[index]);
            assert_eq!(
                copied[index].replace(sent.is_copied),
                None,
                "it came back twice"
            );
        }
    };
    let mut at = 0;
    for size in sizes {
        let mut buffer = content[at..at + size].to_vec();
        at += size;
        while let Err(back) = sender.push(buffer) {
            buffer = back;
            sender.wait(PATIENCE).expect("progress");
            take(&mut sender);
        }
    }
    sender.flush(PATIENCE).expect("everything is sent");
    take(&mut sender);
    assert_eq!(sender.counts().bytes, content.len() as u64);
    let copied = copied
        .into_iter()
        .map(|copied| copied.expect("each comes back"));
    let copied = copied.collect();
    (sender, copied)
}

#[test]
fn everything_arrives_and_every_buffer_comes_back() {
    let sizes: Vec<_> = (0..300).map(|index| (index * 7919) % 60_000).collect();
    let content = pattern(sizes.iter().sum());
    for to in [To::Tcp, To::Unix, To::Pipe, To::File, To::Append] {
        for is_nonblocking in [false, true] {
            let (out, far) = sink(to, content.len());
            if is_nonblocking {
                common::set_nonblocking(&out);
            }
            let target = out.try_clone().expect("dup");
            let (sender, _) = send(out, &content, &sizes);
            let is_tcp = to == To::Tcp;
            assert_eq!(
                matches!(sender.copies(), Some(Copies::NotPossible(_))),
                !is_tcp,
                "{to:?}"
            );
            assert_eq!(sender.counts().zerocopy > 0, is_tcp, "{to:?}: {sender:?}");
            drop(sender);
            assert!(
                far.received(target).is_none_or(|bytes| bytes == content),
                "{to:?}"
            );
        }
    }
}

/// Loopback copies, and says so: after the first report nothing is sent with the flag.
#[test]
fn what_the_kernel_copies_anyway_is_not_asked_for_again() {
    let (near, mut far) = tcp();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).map(|_| bytes)
    });
    let content = pattern(64 << 20);
    let (sender, copied) = send(near.into(), &content, &[1 << 20; 64]);
    assert_eq!(sender.copies(), Some(Copies::Reported), "{sender:?}");
    let counts = sender.counts();
    assert!(counts.zerocopy > 0 && counts.plain > 0, "{sender:?}");
    assert_eq!(counts.reported_copied, counts.zerocopy, "{sender:?}");
    assert_eq!(copied, [true; 64]);
    drop(sender);
    assert!(reader.join().expect("the reader").expect("bytes") == content);
}

#[test]
fn few_bytes_are_sent_by_copy() {
    let (near, mut far) = tcp();
    let (sender, copied) = send(near.into(), &pattern(3 * (LEAST / 4)), &[LEAST / 4; 3]);
    let counts = sender.counts();
    assert_eq!((counts.zerocopy, copied), (0, vec![true; 3]), "{sender:?}");
    assert!(counts.plain >= 1);
    drop(sender);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).expect("bytes");
    assert!(bytes == pattern(3 * (LEAST / 4)));
}

#[test]
fn a_peer_that_does_not_read_is_a_stall_and_one_that_is_gone_an_error() {
    let (near, far) = tcp();
    near.set_nonblocking(true).expect("set");
    let mut sender = Sender::new(near).expect("a sink");
    for _ in 0..64 {
        sender.push(vec![7; 1 << 20]).expect("room");
    }
    assert!(sender.push(vec![7; 5]).is_err_and(|back| back == [7; 5]));
    let stalled = sender.flush(Duration::from_millis(50));
    assert_eq!(stalled, Err(RingError::Stalled));
    drop(far);
    let gone = sender.flush(PATIENCE).expect_err("nobody reads");
    assert!(matches!(gone, RingError::Errno(_)), "{gone}");
}

/// Every buffer is given back, with what the sink took of it, and later ones can be pushed again.
#[test]
fn an_end_in_the_middle_gives_every_buffer_back() {
    for is_tcp in [true, false] {
        for is_gone in [true, false] {
            let (near, far) = if is_tcp {
                let (near, far) = tcp();
                (OwnedFd::from(near), OwnedFd::from(far))
            } else {
                let (near, far) = UnixStream::pair().expect("a pair");
                (OwnedFd::from(near), OwnedFd::from(far))
            };
            common::set_nonblocking(&near);
            let mut sender = Sender::new(near).expect("a sink");
            let tickets: Vec<_> = (0..20)
                .map(|_| sender.push(vec![7; 1 << 20]).expect("room"))
                .collect();
            let stalled = sender.flush(Duration::from_millis(50));
            assert_eq!(stalled, Err(RingError::Stalled));
            let far = (!is_gone).then_some(far);
            if is_gone {
                let gone = sender.flush(PATIENCE).expect_err("the peer is gone");
                assert!(matches!(gone, RingError::Errno(_)), "{gone}");
            }
            sender.abort().expect("it gives up");
            sender.flush(PATIENCE).expect("nothing waits");
            let sent: Vec<_> = std::iter::from_fn(|| sender.finished()).collect();
            let mut given: Vec<_> = sent.iter().map(|sent| sent.ticket).collect();
            given.sort_unstable();
            assert_eq!(given, tickets, "TCP: {is_tcp}, gone: {is_gone}");
            let taken: usize = sent.iter().map(|sent| sent.taken).sum();
            assert_eq!(taken as u64, sender.counts().bytes);
            assert!(taken > 0 && taken < 20 << 20 && sent[19].buffer.len() == 1 << 20);
            assert!(sender.finished().is_none());
            // What comes later would come after a gap.
            sender.push(vec![7; 5]).expect("room");
            let refused = sender.send();
            assert_eq!(refused, Err(RingError::Errno(Errno::EPIPE)));
            drop(far);
        }
    }
}
