//! A convenience on top of the ring: one region, cut into slots that are written, sent and written again.

use crate::buffer::{Buffer, Region};
use crate::error::{Refused, RingError};
use crate::flight::Places;
use crate::owned_fd::OwnedFd;
use crate::ring::{Reaped, Ring};
use crate::socket::{IntoSocket, Socket};
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::Deref;
use core::ptr::{NonNull, slice_from_raw_parts_mut};
use core::time::Duration;

/// A part of a region: what a ring of [`Slots`] sends.
pub struct Part(NonNull<[u8]>);

// SAFETY: it stands for bytes that the slots own, which any thread may read.
unsafe impl Send for Part {}
// SAFETY: as above.
unsafe impl Sync for Part {}

// SAFETY: a part is made by `Slot::commit`, of memory that its region keeps in place, and the slots write it only when it is gone. They drop
// the region only if the ring is idle, so a part that is forgotten keeps its bytes.
unsafe impl Buffer for Part {
    fn bytes(&self) -> &[u8] {
        // SAFETY: bytes of the region, initialized, and not written while this value lives.
        unsafe { self.0.as_ref() }
    }
}

/// A [`Ring`] over one region of memory that is cut into equal slots, one for each of the ring's places.
///
/// Take a slot, fill it, commit it. What it dereferences to, a [`Ring`], tells the rest.
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{Pages, Slots};
/// use std::{net::TcpStream, time::Duration};
///
/// const PATIENCE: Duration = Duration::from_secs(10);
/// let socket = TcpStream::connect("192.0.2.1:9000")?;
/// let mut slots = Slots::with_capacity(socket, Pages::new(4 << 20)?, 4)?;
///
/// let mut send = || {
///     for number in 0..100 {
///         while slots.free() == 0 {
///             slots.wait(PATIENCE)?; // sends, or sleeps until something completes
///         }
///         let mut slot = slots.take().expect("one is free");
///         slot.fill(number);
///         let len = slot.len();
///         slot.commit(len);
///         slots.send_all(PATIENCE)?;
///     }
///     slots.wait_idle(PATIENCE)
/// };
/// if send().is_err() {
///     slots.abort()?; // a peer that does not read: reset the connection, get the memory back
///     slots.wait_idle(PATIENCE)?;
/// }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropped with sends in flight, or after an error that is permanent, it leaks its region, as a ring leaks its buffers.
pub struct Slots<
    R: Region,
    #[cfg(feature = "std")] P: Places<Part> = crate::ring::Boxed<Part>,
    #[cfg(not(feature = "std"))] P: Places<Part>,
    S: Socket = OwnedFd,
> {
    ring: Ring<Part, P, S>,
    /// The region's first byte.
    first: NonNull<u8>,
    slot_size: usize,
    /// Always there, and not touched until the end: a box that is moved or looked at as one claims its bytes for itself.
    region: MaybeUninit<R>,
}

// SAFETY: `first` stands for the region's bytes, which go where the region goes.
unsafe impl<R: Region + Send, P: Places<Part> + Send, S: Socket + Send> Send for Slots<R, P, S> {}
// SAFETY: by `&self` nothing is written.
unsafe impl<R: Region + Sync, P: Places<Part> + Sync, S: Socket + Sync> Sync for Slots<R, P, S> {}

/// A free slot, to be filled: it dereferences to its bytes, which hold what they held when it was last used. Dropped without
/// [`commit`](Self::commit) it is free again.
#[must_use = "a slot that is dropped is free again"]
pub struct Slot<'slots, R: Region, P: Places<Part>, S: Socket> {
    slots: &'slots mut Slots<R, P, S>,
    index: usize,
}

impl<R: Region, P: Places<Part>, S: Socket> Slot<'_, R, P, S> {
    /// Which slot this is, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Puts the first `len` bytes, or all if it has fewer, at the end of what is to be sent. With 0 the slot is free again.
    pub fn commit(self, len: usize) {
        let part = self.slots.part(self.index);
        let len = len.min(part.len());
        if len > 0 {
            // There is a place: `take` has seen it, and this slot holds the ring since.
            let pushed = self.slots.ring.push_part(Part(part), 0..len);
            debug_assert!(pushed.is_ok(), "a slot that is out has a place in the ring");
        }
    }
}

impl<R: Region, P: Places<Part>, S: Socket> Deref for Slot<'_, R, P, S> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: bytes of the region. The slot is free, so no part of it exists, and this value alone gives access to it.
        unsafe { self.slots.part(self.index).as_ref() }
    }
}

impl<R: Region, P: Places<Part>, S: Socket> core::ops::DerefMut for Slot<'_, R, P, S> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the kernel does not read it either.
        unsafe { self.slots.part(self.index).as_mut() }
    }
}

impl<R: Region, P: Places<Part>, S: Socket> fmt::Debug for Slot<'_, R, P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({}, {} bytes)", self.index, self.slots.slot_size)
    }
}

impl<R: Region, P: Places<Part>, S: Socket> fmt::Debug for Slots<R, P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("slot_size", &self.slot_size)
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "std")]
impl<R: Region> Slots<R> {
    /// Cuts a region into `slots` slots, and makes a ring of the socket: see [`Ring::new`].
    ///
    /// # Errors
    ///
    /// As [`Ring::new`], with the region.
    pub fn with_capacity(
        socket: impl IntoSocket,
        region: R,
        slots: usize,
    ) -> Result<Self, Refused<(OwnedFd, R)>> {
        Self::new(socket, region, crate::ring::boxed(slots))
    }
}

impl<R: Region, P: Places<Part>> Slots<R, P> {
    /// Cuts a region into as many slots as there are places, and makes a ring of the socket: see [`Ring::new`].
    ///
    /// Slots of whole pages, aligned to pages, pin no page twice: [`Pages`](crate::Pages).
    ///
    /// # Errors
    ///
    /// As [`Ring::new`], with the region.
    pub fn new(
        socket: impl IntoSocket,
        region: R,
        places: P,
    ) -> Result<Self, Refused<(OwnedFd, R)>> {
        match Ring::new(socket, places) {
            Ok(ring) => Ok(Self::of(ring, region)),
            Err(Refused { error, given }) => Err(Refused {
                error,
                given: (given, region),
            }),
        }
    }
}

impl<R: Region, P: Places<Part>, S: Socket> Slots<R, P, S> {
    /// Cuts a region for a ring that [`Ring::over`] made.
    pub fn of(ring: Ring<Part, P, S>, region: R) -> Self {
        let mut region = MaybeUninit::new(region);
        // SAFETY: just written.
        let bytes = unsafe { region.assume_init_mut() }.bytes_mut();
        let slot_size = bytes.len() / ring.capacity();
        let first = NonNull::from(bytes).cast();
        Self {
            ring,
            first,
            slot_size,
            region,
        }
    }

    /// How many bytes a slot has.
    #[must_use]
    pub const fn slot_size(&self) -> usize {
        self.slot_size
    }

    /// A slot that neither waits nor is in flight, if there is one.
    ///
    /// None as well after an error that is permanent.
    pub fn take(&mut self) -> Option<Slot<'_, R, P, S>> {
        self.ring.check().ok()?;
        let index = self.ring.next_place()?;
        Some(Slot { slots: self, index })
    }

    /// The bytes of a slot.
    fn part(&self, index: usize) -> NonNull<[u8]> {
        // SAFETY: `index` is below the number of places, so the slot is within the region.
        let first = unsafe { self.first.add(index * self.slot_size) };
        let part = slice_from_raw_parts_mut(first.as_ptr(), self.slot_size);
        // SAFETY: not null, since `first` is not.
        unsafe { NonNull::new_unchecked(part) }
    }

    /// The ring's places of finished parts are free again, and with them the slots.
    fn free_finished(&mut self) {
        while self.ring.finished().is_some() {}
    }

    /// See [`Ring::send`].
    ///
    /// # Errors
    ///
    /// As [`Ring::send`].
    pub fn send(&mut self) -> Result<usize, RingError> {
        self.ring.send()
    }

    /// See [`Ring::send_or_copy`].
    ///
    /// # Errors
    ///
    /// As [`Ring::send`].
    pub fn send_or_copy(&mut self) -> Result<usize, RingError> {
        let sent = self.ring.send_or_copy();
        self.free_finished();
        sent
    }

    /// See [`Ring::send_all`].
    ///
    /// # Errors
    ///
    /// As [`Ring::send_all`].
    pub fn send_all(&mut self, limit: Duration) -> Result<(), RingError> {
        let sent = self.ring.send_all(limit);
        self.free_finished();
        sent
    }

    /// See [`Ring::reap_all`].
    ///
    /// # Errors
    ///
    /// As [`Ring::reap`].
    pub fn reap_all(&mut self) -> Result<Reaped, RingError> {
        let reaped = self.ring.reap_all();
        self.free_finished();
        reaped
    }

    /// See [`Ring::wait`].
    ///
    /// # Errors
    ///
    /// As [`Ring::wait`].
    pub fn wait(&mut self, limit: Duration) -> Result<(), RingError> {
        let waited = self.ring.wait(limit);
        self.free_finished();
        waited
    }

    /// See [`Ring::wait_idle`].
    ///
    /// # Errors
    ///
    /// As [`Ring::wait`].
    pub fn wait_idle(&mut self, limit: Duration) -> Result<(), RingError> {
        let waited = self.ring.wait_idle(limit);
        self.free_finished();
        waited
    }

    /// See [`Ring::abort`].
    ///
    /// # Errors
    ///
    /// As [`Ring::abort`].
    pub fn abort(&mut self) -> Result<Reaped, RingError> {
        let reaped = self.ring.abort();
        self.free_finished();
        reaped
    }

    /// Ends the slots and returns the region, if nothing is in flight. The socket is closed, and what waits is not sent.
    ///
    /// # Errors
    ///
    /// The slots themselves: with [`RingError::WindowFull`] if sends are in flight, or with the error that is permanent.
    #[expect(
        clippy::result_large_err,
        reason = "the slots themselves, to be used on"
    )]
    pub fn into_region(self) -> Result<R, Refused<Self>> {
        if !self.is_idle() {
            return Err(Refused {
                error: self.ring.check().err().unwrap_or(RingError::WindowFull),
                given: self,
            });
        }
        let mut this = ManuallyDrop::new(self);
        // SAFETY: dropped once: `this` is not dropped. Its parts go before their region.
        unsafe { core::ptr::drop_in_place(&raw mut this.ring) };
        // SAFETY: taken once: `this` is not used and not dropped afterwards.
        Ok(unsafe { this.region.assume_init_read() })
    }
}

/// What the ring tells. What it does is called on the slots, so that finished slots are free.
impl<R: Region, P: Places<Part>, S: Socket> Deref for Slots<R, P, S> {
    type Target = Ring<Part, P, S>;

    fn deref(&self) -> &Self::Target {
        &self.ring
    }
}

impl<R: Region, P: Places<Part>, S: Socket> Drop for Slots<R, P, S> {
    fn drop(&mut self) {
        if self.is_idle() {
            // SAFETY: dropped once, here. The parts that are left in the ring are dropped after it: dropping one touches no byte.
            unsafe { self.region.assume_init_drop() };
        }
    }
}
