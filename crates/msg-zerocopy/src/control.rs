//! Control messages as plain bytes: read and written without a pointer, so nothing here can fault.

#![forbid(unsafe_code)]

use crate::abi::{
    CMSG_ALIGN, CMSG_HEADER_BYTES, EXTENDED_ERROR_BYTES, IP_RECVERR, IPV6_RECVERR,
    PACKET_TX_TIMESTAMP, SO_EE_CODE_ZEROCOPY_COPIED, SO_EE_ORIGIN_ZEROCOPY, SOL_IP, SOL_IPV6,
    SOL_PACKET, SOL_UDP, SOL_VSOCK, UDP_SEGMENT, VSOCK_RECVERR,
};
use core::fmt;
use core::iter::FusedIterator;

/// Walks the control messages in the bytes that [`recv_error_queue`](crate::recv_error_queue) filled.
///
/// Every message is yielded, completions decoded and others as they are. A malformed one is yielded as an error, and
/// ends the walk. Native byte order; any alignment.
#[must_use]
pub const fn messages(control: &[u8]) -> Messages<'_> {
    Messages { rest: control }
}

/// The iterator of [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Zero-copy sends are complete.
    Completion(Completion),
    /// Anything else: a timestamp, an ICMP error, an address.
    Other(Other<'a>),
}

/// Sends whose memory is free again: the ids `lo..=hi`.
///
/// After the id `u32::MAX` comes 0, so `lo` may be above `hi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// `ee_info`: the first id.
    pub lo: u32,
    /// `ee_data`: the last id, included.
    pub hi: u32,
    /// Bit 0 of `ee_code`: the kernel copied the bytes after all.
    ///
    /// Of a range of several ids a hint only: neighbouring completions are merged, and the merge keeps one's code.
    pub copied: bool,
}

impl Completion {
    /// How many sends are complete: 1 to 2^32.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.hi.wrapping_sub(self.lo) as u64 + 1
    }

    /// Whether `id` is in the range.
    #[must_use]
    pub const fn contains(self, id: u32) -> bool {
        id.wrapping_sub(self.lo) <= self.hi.wrapping_sub(self.lo)
    }
}

/// A control message that is not a completion.
///
/// What it is: [`Other::extended_error`], [`Other::icmp`], [`Other::offender`], [`Other::stamped`], [`Other::timestamps`]. Each
/// reads the bytes and returns data; none of them is an error of the socket or of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other<'a> {
    /// `cmsg_level`.
    pub level: i32,
    /// `cmsg_type`.
    pub kind: i32,
    /// Its data, without the header and the padding.
    pub data: &'a [u8],
}

impl Other<'_> {
    /// The extended error in it, if its level and type are those of one: an ICMP error, or what a timestamp is of.
    #[must_use]
    pub fn extended_error(&self) -> Option<ExtendedError> {
        is_receive_error(self.level, self.kind)
            .then(|| ExtendedError::read(self.data))
            .flatten()
    }
}

/// `struct sock_extended_err`: what an entry of the error queue is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedError {
    /// `ee_errno`.
    pub errno: u32,
    /// `ee_origin`: 1 local, 2 ICMP, 3 `ICMPv6`, 4 timestamp, 5 zero-copy, 6 txtime.
    pub origin: u8,
    /// `ee_type`.
    pub kind: u8,
    /// `ee_code`.
    pub code: u8,
    /// `ee_pad`.
    pub pad: u8,
    /// `ee_info`.
    pub info: u32,
    /// `ee_data`.
    pub data: u32,
}

impl ExtendedError {
    /// The notification that the kernel would send for these completions.
    #[must_use]
    pub const fn of_completion(completion: Completion) -> Self {
        Self {
            errno: 0,
            origin: SO_EE_ORIGIN_ZEROCOPY,
            kind: 0,
            code: if completion.copied {
                SO_EE_CODE_ZEROCOPY_COPIED
            } else {
                0
            },
            pad: 0,
            info: completion.lo,
            data: completion.hi,
        }
    }

    /// The completions that this notifies of, if it does.
    #[must_use]
    pub const fn completion(self) -> Option<Completion> {
        if self.errno == 0 && self.origin == SO_EE_ORIGIN_ZEROCOPY {
            Some(Completion {
                lo: self.info,
                hi: self.data,
                copied: self.code & SO_EE_CODE_ZEROCOPY_COPIED != 0,
            })
        } else {
            None
        }
    }

    /// Reads the 16 bytes at the front; an address may follow them.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            errno: u32::from_ne_bytes(array(bytes, 0)?),
            origin: *bytes.get(4)?,
            kind: *bytes.get(5)?,
            code: *bytes.get(6)?,
            pad: *bytes.get(7)?,
            info: u32::from_ne_bytes(array(bytes, 8)?),
            data: u32::from_ne_bytes(array(bytes, 12)?),
        })
    }

    /// The 16 bytes as the kernel has them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; EXTENDED_ERROR_BYTES] {
        let [e0, e1, e2, e3] = self.errno.to_ne_bytes();
        let [i0, i1, i2, i3] = self.info.to_ne_bytes();
        let [d0, d1, d2, d3] = self.data.to_ne_bytes();
        let (origin, kind, code, pad) = (self.origin, self.kind, self.code, self.pad);
        [
            e0, e1, e2, e3, origin, kind, code, pad, i0, i1, i2, i3, d0, d1, d2, d3,
        ]
    }
}

/// Why control bytes are not control messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Fewer bytes are left than a header has.
    HeaderCut,
    /// `cmsg_len` is shorter than its own header.
    LengthTooSmall,
    /// `cmsg_len` reaches past the bytes.
    DataCut,
    /// An extended error with fewer than 16 bytes of data: the control buffer was too small.
    ErrorCut,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderCut => "the header of a control message is cut off",
            Self::LengthTooSmall => "a control message is shorter than its header",
            Self::DataCut => "the data of a control message is cut off",
            Self::ErrorCut => "an extended error is cut off",
        })
    }
}

impl core::error::Error for Malformed {}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (message, rest) = match split(self.rest) {
            Ok((message, rest)) => (Ok(message), rest),
            Err(malformed) => (Err(malformed), &[][..]),
        };
        self.rest = rest;
        Some(message)
    }
}

impl FusedIterator for Messages<'_> {}

/// The first message and what follows it. Always takes at least a header's length, so the walk ends.
fn split(bytes: &[u8]) -> Result<(Message<'_>, &[u8]), Malformed> {
    let header = |at| array::<4>(bytes, at).ok_or(Malformed::HeaderCut);
    let len = u64::from_ne_bytes(array(bytes, 0).ok_or(Malformed::HeaderCut)?);
    let level = i32::from_ne_bytes(header(8)?);
    let kind = i32::from_ne_bytes(header(12)?);
    // 64-bit only, so nothing is lost.
    let len = usize::try_from(len).map_err(|_| Malformed::DataCut)?;
    if len < CMSG_HEADER_BYTES {
        return Err(Malformed::LengthTooSmall);
    }
    let data = bytes
        .get(CMSG_HEADER_BYTES..len)
        .ok_or(Malformed::DataCut)?;
    // The padding of the last message may be missing: the kernel writes no more than the buffer has.
    let rest = bytes.get(len.next_multiple_of(CMSG_ALIGN)..).unwrap_or(&[]);

    let other = Message::Other(Other { level, kind, data });
    if !is_receive_error(level, kind) {
        return Ok((other, rest));
    }
    let error = ExtendedError::read(data).ok_or(Malformed::ErrorCut)?;
    Ok((error.completion().map_or(other, Message::Completion), rest))
}

/// Whether the data of such a message is an extended error.
const fn is_receive_error(level: i32, kind: i32) -> bool {
    matches!(
        (level, kind),
        (SOL_IP, IP_RECVERR)
            | (SOL_IPV6, IPV6_RECVERR)
            | (SOL_VSOCK, VSOCK_RECVERR)
            | (SOL_PACKET, PACKET_TX_TIMESTAMP)
    )
}

pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The control message that has a UDP send cut into datagrams of `size` bytes: `UDP_SEGMENT`, the kernel's segmentation offload.
///
/// The 24 bytes are whole: give them to [`MsgHdr::control`](crate::MsgHdr::control), alone or followed by what [`put_message`]
/// writes. The last datagram is shorter if the bytes do not divide.
///
/// **One send takes one id**, however many datagrams it becomes, and with `MSG_ZEROCOPY` the pieces' pages are read
/// until that id is complete (measured on Linux 5.10, 6.1, 6.12, 6.18 and 7.3, by this crate's tests). The send as a whole is at most
/// 65507 bytes over IPv4. A send of more datagrams than the kernel makes, 64 on 5.10 and 128 on 6.1 and later, is `EINVAL`, and **that
/// send has taken an id**, which completes. A size of 0 sends one datagram, as without the message.
///
/// # Kernel
///
/// Since Linux 4.18.
///
/// # Example
///
/// ```no_run
/// # #[cfg(feature = "std")] {
/// use nocopy_msg_zerocopy::{IoVec, MsgHdr, SendFlags, enable, sendmsg_zerocopy, udp_segment};
/// # let socket: std::net::UdpSocket = unimplemented!();
/// static BYTES: [u8; 48_000] = [7; 48_000];
/// let zerocopy = enable(&socket)?;
/// let control = udp_segment(1200);
/// let pieces = [IoVec::new(&BYTES)];
/// let message = MsgHdr::new(&pieces).control(&control);
/// // SAFETY: an immutable static never changes and is never freed; the control message names no memory.
/// let sent = unsafe { sendmsg_zerocopy(zerocopy, &message, SendFlags::empty()) }?;
/// assert_eq!(sent, 48_000); // 40 datagrams, one id
/// # }
/// # Ok::<(), nocopy_msg_zerocopy::Errno>(())
/// ```
#[must_use]
pub const fn udp_segment(size: u16) -> [u8; 24] {
    let [n0, n1] = size.to_ne_bytes();
    let [l0, l1, l2, l3, l4, l5, l6, l7] = (CMSG_HEADER_BYTES as u64 + 2).to_ne_bytes();
    let [s0, s1, s2, s3] = SOL_UDP.to_ne_bytes();
    let [k0, k1, k2, k3] = UDP_SEGMENT.to_ne_bytes();
    [
        l0, l1, l2, l3, l4, l5, l6, l7, s0, s1, s2, s3, k0, k1, k2, k3, n0, n1, 0, 0, 0, 0, 0, 0,
    ]
}

/// Writes one control message with its padding to the front of `out`, and returns how many bytes that took.
///
/// `None`, and nothing written, if they do not fit. For control messages to send, and to make what
/// [`messages`] reads.
#[must_use]
pub fn put_message(out: &mut [u8], level: i32, kind: i32, data: &[u8]) -> Option<usize> {
    let len = CMSG_HEADER_BYTES.checked_add(data.len())?;
    let space = len.checked_next_multiple_of(CMSG_ALIGN)?;
    let out = out.get_mut(..space)?;
    out.fill(0);
    let (header, body) = out.split_at_mut_checked(CMSG_HEADER_BYTES)?;
    header
        .get_mut(..8)?
        .copy_from_slice(&(len as u64).to_ne_bytes());
    header.get_mut(8..12)?.copy_from_slice(&level.to_ne_bytes());
    header.get_mut(12..)?.copy_from_slice(&kind.to_ne_bytes());
    body.get_mut(..data.len())?.copy_from_slice(data);
    Some(space)
}
