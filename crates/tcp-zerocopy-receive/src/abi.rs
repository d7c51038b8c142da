//! Numbers and the structure of the kernel's interface, which `libc` lacks.

#![forbid(unsafe_code)]

use core::mem::offset_of;

use crate::flags::ReceiveFlags;

/// `TCP_ZEROCOPY_RECEIVE`: `include/uapi/linux/tcp.h`.
pub(crate) const TCP_ZEROCOPY_RECEIVE: usize = 35;

/// What the call asks for and answers: `struct tcp_zerocopy_receive` of `include/uapi/linux/tcp.h`.
///
/// The structure has grown. The caller names a length, and **only the fields inside this length are read and written**:
///
/// | fields | bytes up to here | kernel |
/// |---|---|---|
/// | `address`, `length`, `recv_skip_hint` | 16: [`SIZE_4_18`](Self::SIZE_4_18) | Linux 4.18, commit 05255b823a61 |
/// | `inq` | 20 | 5.6, commit c8856c051454 |
/// | `err` | 24: [`SIZE_5_6`](Self::SIZE_5_6) | 5.6, commit 33946518d493 |
/// | `copybuf_address`, `copybuf_len` | 36 | 5.11, commit 18fb76ed5386; also in later releases of 5.10 |
/// | `flags` | 40: [`SIZE_5_11`](Self::SIZE_5_11) | 5.11, commit 94ab9eb9b234 |
/// | `msg_control`, `msg_controllen`, `msg_flags` | 60 | 5.12, commit 7eeba1706eba |
/// | `reserved` | 64: [`SIZE_5_12`](Self::SIZE_5_12) | 5.12, commit 3c5a2fd042d0 |
///
/// What a kernel does with a length:
///
/// - Linux 4.18 to 5.5: any other length than 16 is `EINVAL`.
/// - From 5.6 on: 12 bytes are enough, and `EINVAL` below (claim `zerocopy.recv.short-structure`, which tries 11 and 12 bytes
///   on 5.10 to 7.3). A longer structure than the kernel knows is cut, and the length is set to what the kernel knows: 40
///   was measured on 5.10.259, 64 on 6.1 to 7.3 (claim `zerocopy.recv.structure-length`).
/// - From 5.12 on, what is cut off must be 0, else `EINVAL` (claim `zerocopy.recv.longer-structure`).
///
/// So a length of 64 works from 5.6 on, and the length after the call says which fields have an answer. A length that ends inside
/// a field (23 or 30, say) gets no `inq` and no `err`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[repr(C)]
pub struct TcpZerocopyReceive {
    /// In: where to map to. A multiple of the page size, inside a mapping of a TCP socket.
    pub address: u64,
    /// In: how many bytes may be mapped. Out: how many are, whole pages from `address` on.
    pub length: u32,
    /// Out: how many of the next bytes of the stream cannot be mapped. Read them by `recv`.
    pub recv_skip_hint: u32,
    /// Out: how many bytes are queued now, and one more when the peer has shut down.
    pub inq: u32,
    /// Out: 0, or the negated errno of the socket, which the socket then no longer has.
    pub err: i32,
    /// In: where to copy to.
    pub copybuf_address: u64,
    /// In: how many bytes may be copied. Out: how many are, or a negated errno. **A negative number is no limit.**
    pub copybuf_len: i32,
    /// In: flags.
    pub flags: ReceiveFlags,
    /// In and out: where to write control messages, if `SO_TIMESTAMPING`, `SO_TIMESTAMP` or `SO_TIMESTAMPNS` is on. Out: after the last one.
    pub msg_control: u64,
    /// In: how many bytes are there. Out: how many are left.
    pub msg_controllen: u64,
    /// In: 0. Out: `MSG_CTRUNC` and the like. Other bits than `TCP_CMSG_TS` (2) are `EINVAL`.
    pub msg_flags: u32,
    /// In: 0. Everything else is `EINVAL` (claim `zerocopy.recv.reserved`).
    pub reserved: u32,
}

impl TcpZerocopyReceive {
    /// `address`, `length` and `recv_skip_hint`: the only length that Linux 4.18 to 5.5 take.
    pub const SIZE_4_18: u32 = 16;
    /// These, `inq` and `err`.
    pub const SIZE_5_6: u32 = 24;
    /// These, `copybuf_address`, `copybuf_len` and `flags`.
    pub const SIZE_5_11: u32 = 40;
    /// All fields.
    pub const SIZE_5_12: u32 = 64;

    /// The end of `copybuf_len`: a kernel that knows the copy buffer has at least as much.
    pub(crate) const COPYBUF_END: u32 = 36;

    /// Asks for pages of at most `length` bytes at `address`, and for nothing else.
    #[must_use]
    #[inline]
    pub fn new(address: *mut u8, length: u32) -> Self {
        Self {
            address: address.expose_provenance() as u64,
            length,
            ..Self::default()
        }
    }
}

// The kernel reads and writes by these offsets, so they are a matter of soundness.
const _: () = {
    assert!(size_of::<TcpZerocopyReceive>() == TcpZerocopyReceive::SIZE_5_12 as usize);
    assert!(align_of::<TcpZerocopyReceive>() == 8);
    assert!(offset_of!(TcpZerocopyReceive, address) == 0);
    assert!(offset_of!(TcpZerocopyReceive, length) == 8);
    assert!(offset_of!(TcpZerocopyReceive, recv_skip_hint) == 12);
    assert!(offset_of!(TcpZerocopyReceive, inq) == TcpZerocopyReceive::SIZE_4_18 as usize);
    assert!(offset_of!(TcpZerocopyReceive, err) == 20);
    assert!(
        offset_of!(TcpZerocopyReceive, copybuf_address) == TcpZerocopyReceive::SIZE_5_6 as usize
    );
    assert!(offset_of!(TcpZerocopyReceive, copybuf_len) == 32);
    assert!(offset_of!(TcpZerocopyReceive, flags) == TcpZerocopyReceive::COPYBUF_END as usize);
    assert!(offset_of!(TcpZerocopyReceive, msg_control) == TcpZerocopyReceive::SIZE_5_11 as usize);
    assert!(offset_of!(TcpZerocopyReceive, msg_controllen) == 48);
    assert!(offset_of!(TcpZerocopyReceive, msg_flags) == 56);
    assert!(offset_of!(TcpZerocopyReceive, reserved) == 60);
};
