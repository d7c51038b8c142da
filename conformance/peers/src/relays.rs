//! Ways from one TCP connection to another, as a proxy has them.

use nocopy_transfer::Stability;
use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A way from one connection to another, to the end of the first one. Returns the bytes.
pub type Relay = fn(&TcpStream, &TcpStream) -> io::Result<u64>;

/// All of them.
pub const RELAYS: &[(&str, Relay)] = &[
    ("relay: tokio::io::copy_bidirectional", with_tokio),
    ("relay: read+write 64 KiB", with_libc),
    ("relay: splice, pipe 64 KiB", |source, sink| {
        with_splice(source, sink, 64 << 10)
    }),
    ("relay: splice, pipe 1 MiB", |source, sink| {
        with_splice(source, sink, 1 << 20)
    }),
    ("relay: tokio-splice2", with_tokio_splice),
    ("relay: nocopy-transfer, shared", |source, sink| {
        with_transfer(source, sink, Stability::Shared)
    }),
    ("relay: nocopy-transfer, snapshot", |source, sink| {
        with_transfer(source, sink, Stability::Snapshot)
    }),
    ("relay: nocopy-transfer, tokio", with_transfer_tokio),
];

fn count(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

fn with_libc(source: &TcpStream, sink: &TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0_u8; 64 << 10];
    let (source, sink) = (source.as_raw_fd(), sink.as_raw_fd());
    let mut all = 0;
    loop {
        // SAFETY: the buffer has this length.
        let read = count(unsafe { libc::read(source, buffer.as_mut_ptr().cast(), buffer.len()) })?;
        if read == 0 {
            return Ok(all);
        }
        let mut written = 0;
        while written < read {
            let left = &buffer[written..read];
            // SAFETY: a slice.
            written += count(unsafe { libc::write(sink, left.as_ptr().cast(), left.len()) })?;
        }
        all += read as u64;
    }
}

fn with_splice(source: &TcpStream, sink: &TcpStream, size: libc::c_int) -> io::Result<u64> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    count(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } as isize)?;
    // SAFETY: they were made here.
    let [read, write] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    // SAFETY: no pointer.
    count(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, size) } as isize)?;
    let splice = |from: i32, to: i32, length| {
        let (none, flags) = (std::ptr::null_mut(), libc::SPLICE_F_MOVE);
        // SAFETY: no offset.
        count(unsafe { libc::splice(from, none, to, none, length, flags) })
    };
    let mut all = 0;
    loop {
        let mut queued = splice(
            source.as_raw_fd(),
            write.as_raw_fd(),
            size.unsigned_abs() as usize,
        )?;
        if queued == 0 {
            return Ok(all);
        }
        all += queued as u64;
        while queued > 0 {
            queued -= splice(read.as_raw_fd(), sink.as_raw_fd(), queued)?;
        }
    }
}

fn with_transfer(source: &TcpStream, sink: &TcpStream, stability: Stability) -> io::Result<u64> {
    Ok(nocopy_transfer::copy(source, sink, stability)?.bytes)
}

/// Both connections, on a runtime of one thread.
fn on_a_runtime<Work: Future<Output = io::Result<u64>>>(
    source: &TcpStream,
    sink: &TcpStream,
    work: impl FnOnce(tokio::net::TcpStream, tokio::net::TcpStream) -> Work,
) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let stream = |of: &TcpStream| {
        of.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(of.try_clone()?)
    };
    runtime.block_on(async { work(stream(source)?, stream(sink)?).await })
}

fn with_tokio(source: &TcpStream, sink: &TcpStream) -> io::Result<u64> {
    on_a_runtime(source, sink, async |mut source, mut sink| {
        Ok(tokio::io::copy_bidirectional(&mut source, &mut sink)
            .await?
            .0)
    })
}

fn with_tokio_splice(source: &TcpStream, sink: &TcpStream) -> io::Result<u64> {
    on_a_runtime(source, sink, async |mut source, mut sink| {
        let copied = tokio_splice2::copy_bidirectional(&mut source, &mut sink).await?;
        Ok(copied.into_result()?.tx as u64)
    })
}

fn with_transfer_tokio(source: &TcpStream, sink: &TcpStream) -> io::Result<u64> {
    on_a_runtime(source, sink, async |mut source, mut sink| {
        let shared = Stability::Shared;
        let copied = nocopy_transfer::tokio::copy_bidirectional(&mut source, &mut sink, shared);
        Ok(copied.await?.0.bytes)
    })
}
