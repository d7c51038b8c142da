//! Pipes and buffers that transfers lend each other.
//!
//! A pipe is made once and lent to one transfer at a time. One with bytes in it is closed, never lent again. All pipes of a pool
//! together have at most half of what one user may have (`pipe-user-pages-soft`), because beyond it the kernel gives pipes of one or
//! two pages, with which a splice is slower than a copy (claim `pipe.user.small-pipes`).

use nocopy_mmap::{Advice, PrivateAnonymous, madvise};
use nocopy_splice::{Pipe, PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use syscalls::Errno;

/// The capacity of a large pipe, in bytes: what an unprivileged user may have (`pipe-max-size`).
const LARGE: usize = 1 << 20;
/// The capacity of a pipe as it is made, with pages of 4 KiB.
const SMALL: usize = 64 << 10;
/// The size of a buffer for a copy. To TCP, `AF_UNIX` and files it was within 7 % of the best size on two machines, one with 1 MiB of
/// second-level cache and one with 2 MiB: 1.45 times and 1.0 to 1.07 times as fast as 64 KiB.
pub(crate) const BUFFER: usize = 512 << 10;
/// The same to a pipe, whose reader takes what fits into it.
pub(crate) const BUFFER_TO_PIPE: usize = 256 << 10;
/// A buffer up to this size is a transfer's own, and stays with it.
const OWN_BUFFER: usize = 16 << 10;
/// Idle pipes and buffers above this number are given back to the kernel.
const IDLE: usize = 16;

/// A bounded stock of pipes, for any number of transfers on any number of threads.
pub struct Pool {
    /// The bytes of capacity that all pipes of the pool may have.
    most: usize,
    stock: Mutex<Stock>,
}

#[derive(Default)]
struct Stock {
    /// The capacity of all pipes, lent and idle.
    capacity: usize,
    idle: Vec<(Pipe, usize)>,
    buffers: Vec<Vec<u8>>,
    /// One page that the kernel empties in the child of a fork: the idle pipes are the parent's then, too.
    mark: Option<PrivateAnonymous>,
    /// How many forks this stock has come through. A pipe that was lent before one is not taken back.
    generation: u64,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool whose pipes have at most `most` bytes of capacity together. With 0 there are none, and what needs one is copied.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            stock: Mutex::default(),
        }
    }

    /// The pool of the process: half of `pipe-user-pages-soft`, or 32 MiB if that cannot be read.
    pub fn of_process() -> &'static Arc<Self> {
        static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
        POOL.get_or_init(|| {
            let pages = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").ok();
            let pages = pages.and_then(|text| text.trim().parse::<usize>().ok());
            // 0 is no limit.
            let pages = pages.filter(|pages| *pages > 0).unwrap_or(16384);
            Arc::new(Self::new(
                pages.saturating_mul(rustix::param::page_size()) / 2,
            ))
        })
    }

    /// The capacity of all pipes, lent and idle, in bytes.
    pub fn capacity(&self) -> usize {
        self.stock().capacity
    }

    fn stock(&self) -> std::sync::MutexGuard<'_, Stock> {
        // What is in it is whole after each statement.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pipe that is empty. None if there is none left.
    pub(crate) fn pipe(self: &Arc<Self>) -> Result<Option<Lent>, Errno> {
        let mut stock = self.stock();
        if stock.is_inherited() {
            stock.forget();
        }
        // Before a pipe is lent: it can come back in a child.
        stock.mark();
        let generation = stock.generation;
        let lent = |pipe, size| Lent {
            pipe: Some(pipe),
            size,
            pool: Some((Arc::clone(self), generation)),
        };
        if let Some((pipe, size)) = stock.idle.pop() {
            return Ok(Some(lent(pipe, size)));
        }
        let room = self.most.saturating_sub(stock.capacity);
        if room < SMALL {
            return Ok(None);
        }
        let pipe = pipe2(PipeFlags::CLOEXEC)?;
        let size = match fcntl_setpipe_size(&pipe.write, if room < LARGE { SMALL } else { LARGE }) {
            Ok(size) => size,
            Err(_) => fcntl_getpipe_size(&pipe.write)?,
        };
        // The user's other pipes have used it up.
        if size < SMALL {
            return Ok(None);
        }
        stock.capacity += size;
        Ok(Some(lent(pipe, size)))
    }

    /// A buffer of at least this length, which has any content.
    pub(crate) fn buffer(&self, length: usize) -> Result<Vec<u8>, Errno> {
        if length <= OWN_BUFFER || length > BUFFER {
            return zeros(length);
        }
        let idle = self.stock().buffers.pop();
        idle.map_or_else(|| zeros(BUFFER), Ok)
    }

    pub(crate) fn take_buffer(&self, buffer: Vec<u8>) {
        if buffer.len() == BUFFER {
            let mut stock = self.stock();
            if stock.buffers.len() < IDLE {
                stock.buffers.push(buffer);
            }
        }
    }

    fn take_pipe(&self, pipe: Pipe, size: usize, is_empty: bool, generation: u64) {
        let mut stock = self.stock();
        // The parent's: it is closed here, and was never counted in this process.
        if stock.is_inherited() || stock.generation != generation {
            return;
        }
        if is_empty && stock.idle.len() < IDLE && stock.mark.is_some() {
            stock.idle.push((pipe, size));
        } else {
            stock.capacity = stock.capacity.saturating_sub(size);
        }
    }
}

/// A buffer of this size. The caller may have named more than there is.
pub(crate) fn zeros(size: usize) -> Result<Vec<u8>, Errno> {
    // `vec!` ends the program where there is no memory. Its pages are not touched.
    let asked = Vec::<u8>::new().try_reserve_exact(size);
    asked.map_err(|_| Errno::ENOMEM)?;
    Ok(vec![0; size])
}

impl Stock {
    /// Whether this process is a child of the one that made the idle pipes: both would use one pipe.
    fn is_inherited(&self) -> bool {
        // SAFETY: the first byte of a mapping that is ours. Volatile, because a fork changes it.
        self.mark
            .as_ref()
            .is_some_and(|mark| unsafe { mark.mapping().as_ptr().read_volatile() } == 0)
    }

    fn forget(&mut self) {
        self.idle.clear();
        self.capacity = 0;
        self.mark = None;
        self.generation += 1;
    }

    /// Sees to it that a fork will be noticed. Needs `MADV_WIPEONFORK`, of Linux 4.14; without it no pipe is kept.
    fn mark(&mut self) {
        if self.mark.is_none() {
            let size = rustix::param::page_size();
            self.mark = PrivateAnonymous::new(size).ok().and_then(|mut page| {
                // SAFETY: the page is ours, and in this process its bytes stay.
                unsafe { madvise(page.mapping().as_ptr(), size, Advice::WIPEONFORK) }.ok()?;
                page[0] = 1;
                Some(page)
            });
        }
    }
}

/// A pipe that a transfer has, of the pool or its own.
#[derive(Debug)]
pub(crate) struct Lent {
    /// None when it has been given away.
    pipe: Option<Pipe>,
    size: usize,
    /// The pool that it goes back to, and the generation in which it was lent.
    pool: Option<(Arc<Pool>, u64)>,
}

impl Lent {
    /// A pipe of this capacity that belongs to no pool.
    pub(crate) fn own(size: usize) -> Result<Self, Errno> {
        let pipe = pipe2(PipeFlags::CLOEXEC)?;
        if fcntl_getpipe_size(&pipe.write)? != size {
            fcntl_setpipe_size(&pipe.write, size)?;
        }
        Ok(Self {
            pipe: Some(pipe),
            size,
            pool: None,
        })
    }

    /// None after [`Self::give_back`].
    pub(crate) const fn pipe(&self) -> Option<&Pipe> {
        self.pipe.as_ref()
    }

    /// Its capacity.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Whether it goes back to a pool.
    pub(crate) const fn is_of_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// Gives an empty pipe back to the pool.
    pub(crate) fn give_back(mut self) {
        self.part(true);
    }

    fn part(&mut self, is_empty: bool) {
        if let (Some(pipe), Some((pool, generation))) = (self.pipe.take(), self.pool.take()) {
            pool.take_pipe(pipe, self.size, is_empty, generation);
        }
    }
}

impl Drop for Lent {
    /// A pipe that may have bytes in it is closed.
    fn drop(&mut self) {
        self.part(false);
    }
}
