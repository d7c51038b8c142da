//! Numbers and structures of the kernel's interface, as far as this crate needs them.
//!
//! The numbers that `libc` has are taken from it where they are used; here is what it lacks, or lays out for
//! itself. Each item names the kernel header that defines it.

use core::marker::PhantomData;

/// `SO_ZEROCOPY`: `include/uapi/asm-generic/socket.h`.
#[cfg(not(any(target_arch = "sparc64", target_arch = "sparc")))]
pub const SO_ZEROCOPY: i32 = 60;
/// `SO_ZEROCOPY`: `arch/sparc/include/uapi/asm/socket.h`.
#[cfg(any(target_arch = "sparc64", target_arch = "sparc"))]
pub const SO_ZEROCOPY: i32 = 0x3e;

/// `SO_PROTOCOL`: `include/uapi/asm-generic/socket.h`.
#[cfg(not(any(target_arch = "sparc64", target_arch = "sparc")))]
pub(crate) const SO_PROTOCOL: i32 = 38;
/// `SO_PROTOCOL`: `arch/sparc/include/uapi/asm/socket.h`.
#[cfg(any(target_arch = "sparc64", target_arch = "sparc"))]
pub(crate) const SO_PROTOCOL: i32 = 0x28;

/// `SO_ERROR`: `include/uapi/asm-generic/socket.h`.
#[cfg(not(any(target_arch = "sparc64", target_arch = "sparc")))]
pub(crate) const SO_ERROR: i32 = 4;
/// `SO_ERROR`: `arch/sparc/include/uapi/asm/socket.h`.
#[cfg(any(target_arch = "sparc64", target_arch = "sparc"))]
pub(crate) const SO_ERROR: i32 = 0x1007;

/// `MSG_ZEROCOPY`: `include/linux/socket.h`.
pub const MSG_ZEROCOPY: u32 = 0x0400_0000;

/// `SO_EE_ORIGIN_ZEROCOPY`: `include/uapi/linux/errqueue.h`.
pub const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;

/// `SO_EE_CODE_ZEROCOPY_COPIED`: `include/uapi/linux/errqueue.h`.
pub const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

/// `SOL_IP`: `include/linux/socket.h`.
pub const SOL_IP: i32 = 0;
/// `IP_RECVERR`: `include/uapi/linux/in.h`.
pub const IP_RECVERR: i32 = 11;
/// `SOL_IPV6`: `include/linux/socket.h`.
pub const SOL_IPV6: i32 = 41;
/// `IPV6_RECVERR`: `include/uapi/linux/in6.h`.
pub const IPV6_RECVERR: i32 = 25;
/// `SOL_PACKET`: `include/linux/socket.h`.
pub const SOL_PACKET: i32 = 263;
/// `PACKET_TX_TIMESTAMP`: `include/uapi/linux/if_packet.h`. A packet socket's error queue uses it for everything.
pub const PACKET_TX_TIMESTAMP: i32 = 16;
/// `SOL_VSOCK`: `include/linux/socket.h`.
pub const SOL_VSOCK: i32 = 287;
/// `VSOCK_RECVERR`: `include/uapi/linux/vm_sockets.h`.
pub const VSOCK_RECVERR: i32 = 1;

/// `SOL_UDP`: `include/linux/socket.h`.
pub const SOL_UDP: i32 = 17;
/// `UDP_SEGMENT`: `include/uapi/linux/udp.h`.
pub const UDP_SEGMENT: i32 = 103;

/// `SOL_SOCKET`: `include/uapi/asm-generic/socket.h`, and another number on some machines.
pub const SOL_SOCKET: i32 = libc::SOL_SOCKET;

/// The types of timestamps, `SCM_TIMESTAMP*`: `include/uapi/asm-generic/socket.h`.
#[cfg(not(any(target_arch = "sparc64", target_arch = "sparc")))]
mod stamps {
    /// `SO_TIMESTAMP_OLD`
    pub const SCM_TIMESTAMP_OLD: i32 = 29;
    /// `SO_TIMESTAMPNS_OLD`
    pub const SCM_TIMESTAMPNS_OLD: i32 = 35;
    /// `SO_TIMESTAMPING_OLD`
    pub const SCM_TIMESTAMPING_OLD: i32 = 37;
    /// `SO_TIMESTAMP_NEW`
    pub const SCM_TIMESTAMP_NEW: i32 = 63;
    /// `SO_TIMESTAMPNS_NEW`
    pub const SCM_TIMESTAMPNS_NEW: i32 = 64;
    /// `SO_TIMESTAMPING_NEW`
    pub const SCM_TIMESTAMPING_NEW: i32 = 65;
}

/// The types of timestamps, `SCM_TIMESTAMP*`: `arch/sparc/include/uapi/asm/socket.h`.
#[cfg(any(target_arch = "sparc64", target_arch = "sparc"))]
mod stamps {
    /// `SO_TIMESTAMP_OLD`
    pub const SCM_TIMESTAMP_OLD: i32 = 0x1d;
    /// `SO_TIMESTAMPNS_OLD`
    pub const SCM_TIMESTAMPNS_OLD: i32 = 0x21;
    /// `SO_TIMESTAMPING_OLD`
    pub const SCM_TIMESTAMPING_OLD: i32 = 0x23;
    /// `SO_TIMESTAMP_NEW`
    pub const SCM_TIMESTAMP_NEW: i32 = 0x46;
    /// `SO_TIMESTAMPNS_NEW`
    pub const SCM_TIMESTAMPNS_NEW: i32 = 0x42;
    /// `SO_TIMESTAMPING_NEW`
    pub const SCM_TIMESTAMPING_NEW: i32 = 0x43;
}

pub use stamps::{
    SCM_TIMESTAMP_NEW, SCM_TIMESTAMP_OLD, SCM_TIMESTAMPING_NEW, SCM_TIMESTAMPING_OLD,
    SCM_TIMESTAMPNS_NEW, SCM_TIMESTAMPNS_OLD,
};

/// `SO_EE_ORIGIN_ICMP`: `include/uapi/linux/errqueue.h`.
pub const SO_EE_ORIGIN_ICMP: u8 = 2;
/// `SO_EE_ORIGIN_ICMP6`: `include/uapi/linux/errqueue.h`.
pub const SO_EE_ORIGIN_ICMP6: u8 = 3;
/// `SO_EE_ORIGIN_TIMESTAMPING`: `include/uapi/linux/errqueue.h`.
pub const SO_EE_ORIGIN_TIMESTAMPING: u8 = 4;

/// `AF_INET` and `AF_INET6`: `include/linux/socket.h`.
pub(crate) const AF_INET: u16 = 2;
/// See [`AF_INET`].
pub(crate) const AF_INET6: u16 = 10;

/// Bytes of a `struct cmsghdr` before its data: `include/linux/socket.h`.
///
/// `cmsg_len: u64` (header and data, without padding), `cmsg_level: i32`, `cmsg_type: i32`.
pub const CMSG_HEADER_BYTES: usize = 16;

/// What `cmsghdr` and its data are aligned to: `CMSG_ALIGN` in `include/linux/socket.h`, for 64 bits.
pub const CMSG_ALIGN: usize = 8;

/// Bytes of a `struct sock_extended_err`: `include/uapi/linux/errqueue.h`. The offender's address may follow.
pub const EXTENDED_ERROR_BYTES: usize = 16;

/// A piece of memory to send: `struct iovec` of `include/uapi/linux/uio.h`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IoVec<'bytes> {
    pub(crate) base: *const u8,
    pub(crate) len: usize,
    owner: PhantomData<&'bytes [u8]>,
}

// SAFETY: it stands for a shared slice, which any thread may read.
unsafe impl Send for IoVec<'_> {}
// SAFETY: as above.
unsafe impl Sync for IoVec<'_> {}

impl<'bytes> IoVec<'bytes> {
    /// Names the bytes; the kernel only reads them.
    #[must_use]
    pub const fn new(bytes: &'bytes [u8]) -> Self {
        Self {
            base: bytes.as_ptr(),
            len: bytes.len(),
            owner: PhantomData,
        }
    }
}

/// What [`sendmsg_zerocopy`](crate::sendmsg_zerocopy) sends: `struct user_msghdr` of `include/linux/socket.h`.
///
/// Every pointer in it is null or comes from a slice that outlives `'bytes`, and no call of this crate writes
/// through a value that a caller made.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MsgHdr<'bytes> {
    pub(crate) name: *const u8,
    pub(crate) name_len: u32,
    pub(crate) iov: *const IoVec<'bytes>,
    pub(crate) iov_len: usize,
    pub(crate) control: *const u8,
    pub(crate) control_len: usize,
    pub(crate) flags: u32,
}

// SAFETY: all of its pointers are null or stand for shared slices.
unsafe impl Send for MsgHdr<'_> {}
// SAFETY: as above.
unsafe impl Sync for MsgHdr<'_> {}

impl<'bytes> MsgHdr<'bytes> {
    /// A message of these pieces, without an address and without control messages.
    #[must_use]
    pub const fn new(iov: &'bytes [IoVec<'bytes>]) -> Self {
        Self {
            name: core::ptr::null(),
            name_len: 0,
            iov: iov.as_ptr(),
            iov_len: iov.len(),
            control: core::ptr::null(),
            control_len: 0,
            flags: 0,
        }
    }

    /// Adds a destination: the bytes of a `sockaddr_in`, `sockaddr_in6` or `sockaddr_vm`.
    ///
    /// A length above `u32::MAX` is passed as `u32::MAX`, which the kernel refuses.
    #[must_use]
    pub const fn to(mut self, address: &'bytes [u8]) -> Self {
        self.name = address.as_ptr();
        self.name_len = if address.len() > u32::MAX as usize {
            u32::MAX
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "compared above")]
            let len = address.len() as u32;
            len
        };
        self
    }

    /// Adds control messages, as [`put_message`](crate::put_message) writes them.
    #[must_use]
    pub const fn control(mut self, control: &'bytes [u8]) -> Self {
        self.control = control.as_ptr();
        self.control_len = control.len();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn the_structures_are_laid_out_as_libc_has_them() {
        assert_eq!(size_of::<IoVec<'_>>(), size_of::<libc::iovec>());
        assert_eq!(
            offset_of!(IoVec<'_>, base),
            offset_of!(libc::iovec, iov_base)
        );
        assert_eq!(offset_of!(IoVec<'_>, len), offset_of!(libc::iovec, iov_len));

        macro_rules! same {
            ($($ours:ident = $theirs:ident),*) => {
                $(assert_eq!(offset_of!(MsgHdr<'_>, $ours), offset_of!(libc::msghdr, $theirs));)*
            };
        }
        assert_eq!(size_of::<MsgHdr<'_>>(), size_of::<libc::msghdr>());
        same!(
            name = msg_name,
            name_len = msg_namelen,
            iov = msg_iov,
            iov_len = msg_iovlen
        );
        same!(
            control = msg_control,
            control_len = msg_controllen,
            flags = msg_flags
        );
    }

    #[test]
    fn lists_and_messages_go_to_other_threads() {
        const fn goes<T: Send + Sync>() {}
        goes::<IoVec<'_>>();
        goes::<MsgHdr<'_>>();
    }

    #[test]
    fn control_messages_are_laid_out_as_libc_has_them() {
        assert_eq!(CMSG_HEADER_BYTES, size_of::<libc::cmsghdr>());
        assert_eq!(CMSG_ALIGN, align_of::<libc::cmsghdr>());
        assert_eq!(offset_of!(libc::cmsghdr, cmsg_len), 0);
        assert_eq!(offset_of!(libc::cmsghdr, cmsg_level), 8);
        assert_eq!(offset_of!(libc::cmsghdr, cmsg_type), 12);

        assert_eq!(EXTENDED_ERROR_BYTES, size_of::<libc::sock_extended_err>());
        assert_eq!(offset_of!(libc::sock_extended_err, ee_errno), 0);
        assert_eq!(offset_of!(libc::sock_extended_err, ee_origin), 4);
        assert_eq!(offset_of!(libc::sock_extended_err, ee_type), 5);
        assert_eq!(offset_of!(libc::sock_extended_err, ee_code), 6);
        assert_eq!(offset_of!(libc::sock_extended_err, ee_pad), 7);
        assert_eq!(offset_of!(libc::sock_extended_err, ee_info), 8);
        assert_eq!(offset_of!(libc::sock_extended_err, ee_data), 12);
    }

    #[test]
    fn the_numbers_that_libc_has_are_the_same() {
        assert_eq!(MSG_ZEROCOPY, libc::MSG_ZEROCOPY.cast_unsigned());
        assert_eq!((SOL_IP, IP_RECVERR), (libc::SOL_IP, libc::IP_RECVERR));
        assert_eq!(
            (SOL_IPV6, IPV6_RECVERR),
            (libc::SOL_IPV6, libc::IPV6_RECVERR)
        );
        assert_eq!(SOL_PACKET, libc::SOL_PACKET);
        assert_eq!((SOL_UDP, UDP_SEGMENT), (libc::SOL_UDP, libc::UDP_SEGMENT));
        assert_eq!(SCM_TIMESTAMP_OLD, libc::SCM_TIMESTAMP);
        assert_eq!(SCM_TIMESTAMPNS_OLD, libc::SCM_TIMESTAMPNS);
        assert_eq!(SCM_TIMESTAMPING_OLD, libc::SCM_TIMESTAMPING);
        assert_eq!(SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP);
        assert_eq!(SO_EE_ORIGIN_ICMP6, libc::SO_EE_ORIGIN_ICMP6);
        assert_eq!(SO_EE_ORIGIN_TIMESTAMPING, libc::SO_EE_ORIGIN_TIMESTAMPING);
        assert_eq!(i32::from(AF_INET), libc::AF_INET);
        assert_eq!(i32::from(AF_INET6), libc::AF_INET6);
    }
}
