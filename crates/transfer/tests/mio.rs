//! A thousand transfers in one event loop: bounded turns, bounded memory, and no reader is starved.

mod common;

use common::pattern;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use nocopy_transfer::{Ended, Pool, Request, Stability, State, Transfer};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const TRANSFERS: usize = 1000;
const LENGTH: usize = 300_000;
const BUDGET: u64 = 40_000;

/// Bytes of this process's memory that are in use.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("it is there");
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    pages * 4096
}

/// Reads a little from each, the slow ones only now and then, until all have ended. Returns what was wrong.
fn read_all(fars: Vec<OwnedFd>, content: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut open: Vec<_> = fars
        .into_iter()
        .map(|far| (File::from(far), 0))
        .enumerate()
        .collect();
    let mut buffer = vec![0; 60_000];
    let mut round = 0_u64;
    while !open.is_empty() {
        round += 1;
        open.retain_mut(|(index, (far, at))| {
            let is_slow = *index % 10 == 0;
            if is_slow && !round.is_multiple_of(8) {
                return true;
            }
            match far.read(&mut buffer) {
                Ok(0) => {
                    if *at != content.len() {
                        wrong.push(format!("{index}: {at} bytes"));
                    }
                    false
                }
                Ok(count) => {
                    if buffer[..count] != content[*at..*at + count] {
                        wrong.push(format!("{index}: other bytes at {at}"));
                    }
                    *at += count;
                    true
                }
                Err(error) => {
                    wrong.push(format!("{index}: {error}"));
                    false
                }
            }
        });
    }
    wrong
}

fn serve(stability: Stability) {
    let content = pattern(LENGTH);
    let file = Arc::new(common::file(&content));
    let mut events = Poll::new().expect("epoll");
    let mut fars = Vec::new();
    let pool = Arc::new(Pool::new(32 << 20));
    let mut transfers: Vec<Option<Transfer<_, _>>> = Vec::new();
    for index in 0..TRANSFERS {
        let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("O_NONBLOCK");
        let mut near = UnixStream::from_std(near);
        events
            .registry()
            .register(&mut near, Token(index), Interest::WRITABLE)
            .expect("epoll");
        fars.push(OwnedFd::from(far));
        let request = Request::new(stability).range(0, LENGTH as u64).pool(&pool);
        transfers.push(Some(
            request
                .begin(Arc::clone(&file), near)
                .expect("what it needs"),
        ));
    }
    let before = resident();
    let reader = thread::spawn(move || read_all(fars, &content));
    let mut happened = Events::with_capacity(TRANSFERS);
    let mut ready: Vec<usize> = (0..TRANSFERS).collect();
    let (mut left, mut most, mut unfair) = (TRANSFERS, 0, 0);
    loop {
        for index in std::mem::take(&mut ready) {
            let Some(transfer) = &mut transfers[index] else {
                continue;
            };
            let taken = transfer.taken();
            let state = transfer.advance(BUDGET);
            assert!(transfer.taken() - taken <= BUDGET, "over the budget");
            match state {
                State::Budget => ready.push(index),
                State::Waits(_) => {}
                State::Ended => {
                    let outcome = transfers[index].take().expect("it was there").outcome();
                    assert_eq!(
                        (outcome.ended, outcome.bytes),
                        (Ended::Complete, LENGTH as u64),
                        "{outcome}"
                    );
                    left -= 1;
                }
            }
        }
        most = most.max(resident().saturating_sub(before));
        // Among equally fast readers, while all of them are still served.
        if left == TRANSFERS {
            let fast = transfers
                .iter()
                .flatten()
                .enumerate()
                .filter(|(index, _)| index % 10 != 0);
            let taken: Vec<_> = fast.map(|(_, transfer)| transfer.taken()).collect();
            let (least, greatest) = (
                taken.iter().min().expect("some"),
                taken.iter().max().expect("some"),
            );
            // What the socket's buffer and one turn can be apart.
            if *greatest > 2 * least + BUDGET + (256 << 10) {
                unfair += 1;
            }
        }
        if left == 0 {
            break;
        }
        let limit = if ready.is_empty() {
            Some(Duration::from_secs(30))
        } else {
            Some(Duration::ZERO)
        };
        events.poll(&mut happened, limit).expect("epoll");
        let more = happened.iter().map(|event| event.token().0);
        let more: Vec<_> = more.filter(|index| !ready.contains(index)).collect();
        assert!(
            !more.is_empty() || !ready.is_empty(),
            "nothing happens, and {left} are left"
        );
        ready.extend(more);
    }
    assert_eq!(reader.join().expect("the reader"), [""; 0]);
    assert_eq!(unfair, 0);
    // The kernel's buffers are not this process's memory.
    println!(
        "{stability:?}: {} KiB more in use at most, {} per transfer",
        most >> 10,
        most / TRANSFERS as u64
    );
    assert!(most < TRANSFERS as u64 * (64 << 10), "{most}");
    assert!(pool.capacity() <= 32 << 20);
}

#[test]
fn a_thousand_share_a_thread() {
    // SAFETY: two numbers; 2,000 descriptors are more than the usual limit.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(4096);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    serve(Stability::Shared);
    serve(Stability::Snapshot);
}
