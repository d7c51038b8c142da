//! A program that forks between two copies. The only test of its program: a child of several threads has one of them.

mod common;

use common::{From, To, pattern, sink, source};
use nocopy_transfer::{Outcome, Pool, Request, Stability, State, Wait};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

const SHARED: Stability = Stability::Shared;

fn routes(outcome: &Outcome) -> Vec<&'static str> {
    outcome
        .segments
        .iter()
        .map(|segment| segment.route.name())
        .collect()
}

/// The child of a fork has the same descriptors, and must not lend the parent's pipes: both would read the other's bytes.
#[test]
fn a_child_lends_no_pipe_of_its_parent() {
    let pool = Arc::new(Pool::new(1 << 20));
    let once = |pool: &Arc<Pool>| {
        let near = source(From::Unix, &pattern(10_000));
        let (out, far) = sink(To::Tcp, 10_000);
        let outcome = Request::new(SHARED)
            .pool(pool)
            .begin(&near, &out)
            .expect("begun")
            .run();
        assert_eq!(routes(&outcome), ["splice"], "{outcome}");
        assert!(far.received(out) == Some(pattern(10_000)));
    };
    let ends = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let pipes = || -> Vec<_> {
        let open = std::fs::read_dir("/proc/self/fd").expect("it is there");
        let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut names: Vec<_> = numbers
            .filter_map(ends)
            .filter(|name| name.to_string_lossy().starts_with("pipe:"))
            .collect();
        names.sort();
        names
    };
    // The test's own output, perhaps.
    let foreign = pipes();
    once(&pool);
    assert_eq!(pool.capacity(), 1 << 20);
    let before = pipes();
    // SAFETY: the child uses this thread alone, and ends by _exit. It allocates, which glibc allows after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let near = UnixStream::pair().expect("a pair");
        (&near.1).write_all(b"x").expect("room");
        drop(near.1);
        let out = UnixStream::pair().expect("a pair");
        let outcome = Request::new(SHARED)
            .pool(&pool)
            .begin(&near.0, &out.0)
            .expect("begun")
            .run();
        // The parent's pipe is closed here, and there is another one.
        let is_new = pipes() != before && outcome.bytes == 1 && routes(&outcome) == ["splice"];
        // SAFETY: ends the child.
        unsafe { libc::_exit(if is_new { 7 } else { 1 }) };
    }
    assert_eq!(status_of(child), 7);
    once(&pool);

    // A pipe that is lent when the fork comes is not taken back by the child, which has another stock by then.
    let near = UnixStream::pair().expect("a pair");
    (&near.1).write_all(&pattern(10_000)).expect("room");
    let full = full_pair();
    let mut transfer = Request::new(SHARED)
        .pool(&pool)
        .begin(&near.0, &full.0)
        .expect("begun");
    assert_eq!(transfer.advance(10_000), State::Waits(Wait::Sink));
    let mut before = pipes();
    before.retain(|name| !foreign.contains(name));
    assert_eq!(before.len(), 2, "{before:?}");
    // SAFETY: as above.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let other = UnixStream::pair().expect("a pair");
        (&other.1).write_all(b"x").expect("room");
        drop(other.1);
        let out = UnixStream::pair().expect("a pair");
        let of_child = Request::new(SHARED).pool(&pool);
        let outcome = of_child.begin(&other.0, &out.0).expect("begun").run();
        let inherited = transfer.into_parts();
        let is_kept = pipes().iter().any(|name| before.contains(name));
        let is_right = outcome.bytes == 1 && inherited.held == pattern(10_000) && !is_kept;
        // SAFETY: ends the child.
        unsafe { libc::_exit(if is_right { 7 } else { 1 }) };
    }
    assert_eq!(status_of(child), 7);
}

fn status_of(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: one int that is written during the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WEXITSTATUS(status)
}

/// A socket that takes nothing now.
fn full_pair() -> (UnixStream, UnixStream) {
    let pair = UnixStream::pair().expect("a pair");
    pair.0.set_nonblocking(true).expect("set");
    while (&pair.0).write(&[0; 4096]).is_ok() {}
    pair
}
