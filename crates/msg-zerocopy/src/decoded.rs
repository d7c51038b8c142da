//! What control messages say beside completions: timestamps, and ICMP errors with the address that they are of.

#![forbid(unsafe_code)]

use crate::abi::{
    AF_INET, AF_INET6, EXTENDED_ERROR_BYTES, IP_RECVERR, IPV6_RECVERR, SCM_TIMESTAMP_NEW,
    SCM_TIMESTAMP_OLD, SCM_TIMESTAMPING_NEW, SCM_TIMESTAMPING_OLD, SCM_TIMESTAMPNS_NEW,
    SCM_TIMESTAMPNS_OLD, SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, SO_EE_ORIGIN_TIMESTAMPING, SOL_IP,
    SOL_IPV6, SOL_SOCKET,
};
use crate::control::{ExtendedError, Other, array};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A time as the kernel has it: `struct __kernel_timespec` of `include/uapi/linux/time_types.h`.
///
/// The values are kept as they came, whatever they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// `tv_sec`: seconds since 1970, or of the network card's own clock.
    pub seconds: i64,
    /// `tv_nsec`: 0 to 999,999,999 if the kernel made it.
    pub nanoseconds: i64,
}

impl Time {
    /// Whether the kernel has left it out: 0 seconds and 0 nanoseconds.
    #[must_use]
    pub const fn is_unset(self) -> bool {
        self.seconds == 0 && self.nanoseconds == 0
    }

    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            seconds: i64::from_ne_bytes(array(bytes, at)?),
            nanoseconds: i64::from_ne_bytes(array(bytes, at.checked_add(8)?)?),
        })
    }
}

/// The times in one control message: `struct scm_timestamping` of `include/uapi/linux/errqueue.h`.
///
/// Times that the message does not have are 0: see [`Time::is_unset`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Timestamps {
    /// `ts[0]`: by the kernel's clock.
    pub software: Time,
    /// `ts[1]`: a hardware time as the kernel's clock, which the kernel no longer makes.
    pub legacy: Time,
    /// `ts[2]`: by the network card's own clock.
    pub hardware: Time,
}

/// How far a send was when its time was taken: `SCM_TSTAMP_*` of `include/uapi/linux/errqueue.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// `SCM_TSTAMP_SND`: given to the network card, or past it with a hardware time.
    Sent,
    /// `SCM_TSTAMP_SCHED`: given to the packet scheduler.
    Scheduled,
    /// `SCM_TSTAMP_ACK`: acknowledged by the peer, over TCP.
    Acknowledged,
    /// `SCM_TSTAMP_COMPLETION`, Linux 6.15: completed by the driver, for Bluetooth.
    Completed,
    /// Another number.
    Unknown(u32),
}

/// Which send the times of the same entry are of: an extended error of the origin `SO_EE_ORIGIN_TIMESTAMPING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Stamped {
    /// `ee_info`: how far it was.
    pub stage: Stage,
    /// `ee_data`: with `SOF_TIMESTAMPING_OPT_ID` the number of the send, which is **not** the id of a completion: it counts
    /// datagrams, and over TCP bytes. Without it 0.
    pub id: u32,
}

/// An ICMP or `ICMPv6` error, queued because the socket has `IP_RECVERR` or `IPV6_RECVERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Icmp {
    /// `ee_errno`: the kernel's number for it, such as 111 (`ECONNREFUSED`). A fact about a packet that was sent, not a failure of
    /// the call that has read it.
    pub errno: u32,
    /// Whether it is `ICMPv6`, whose types and codes have other meanings.
    pub is_v6: bool,
    /// `ee_type`: the ICMP type.
    pub kind: u8,
    /// `ee_code`: the ICMP code.
    pub code: u8,
    /// `ee_info`: the largest packet that fits, where the type is "too big" or "fragmentation needed".
    pub info: u32,
    /// The machine that sent it, with the port 0.
    pub offender: Option<SocketAddr>,
}

impl ExtendedError {
    /// Which send the times of the same entry are of, if this says so.
    #[must_use]
    pub const fn stamped(self) -> Option<Stamped> {
        if self.origin != SO_EE_ORIGIN_TIMESTAMPING {
            return None;
        }
        let stage = match self.info {
            0 => Stage::Sent,
            1 => Stage::Scheduled,
            2 => Stage::Acknowledged,
            3 => Stage::Completed,
            other => Stage::Unknown(other),
        };
        Some(Stamped {
            stage,
            id: self.data,
        })
    }
}

impl Other<'_> {
    /// The times in it, if it is a `SCM_TIMESTAMPING`, `SCM_TIMESTAMPNS` or `SCM_TIMESTAMP`, in the old form or in that of 2038.
    ///
    /// The last two have one time, which is returned as [`Timestamps::software`]; microseconds become nanoseconds. Which send
    /// they are of stands in the next message of the entry: [`Other::stamped`]. On a socket with `SO_TIMESTAMPING` the error queue
    /// has such entries beside completions (claim `zerocopy.queue.time-stamps`).
    ///
    /// `None` too if the data has not the length of its type.
    ///
    /// ```
    /// use nocopy_msg_zerocopy::{Message, messages, put_message};
    /// use nocopy_msg_zerocopy::abi::{SCM_TIMESTAMPNS_NEW, SOL_SOCKET};
    ///
    /// let mut control = [0; 64];
    /// let time = [1_700_000_000_i64, 5].map(i64::to_ne_bytes).concat();
    /// let len = put_message(&mut control, SOL_SOCKET, SCM_TIMESTAMPNS_NEW, &time).expect("it fits");
    /// let Some(Ok(Message::Other(other))) = messages(&control[..len]).next() else { panic!("one message") };
    /// let times = other.timestamps().expect("a time");
    /// assert_eq!((times.software.seconds, times.software.nanoseconds), (1_700_000_000, 5));
    /// assert!(times.hardware.is_unset());
    /// ```
    #[must_use]
    pub fn timestamps(&self) -> Option<Timestamps> {
        if self.level != SOL_SOCKET {
            return None;
        }
        let one = |software| Timestamps {
            software,
            ..Timestamps::default()
        };
        match (self.kind, self.data.len()) {
            (SCM_TIMESTAMPING_OLD | SCM_TIMESTAMPING_NEW, 48) => Some(Timestamps {
                software: Time::read(self.data, 0)?,
                legacy: Time::read(self.data, 16)?,
                hardware: Time::read(self.data, 32)?,
            }),
            (SCM_TIMESTAMPNS_OLD | SCM_TIMESTAMPNS_NEW, 16) => Time::read(self.data, 0).map(one),
            (SCM_TIMESTAMP_OLD | SCM_TIMESTAMP_NEW, 16) => {
                let Time {
                    seconds,
                    nanoseconds: microseconds,
                } = Time::read(self.data, 0)?;
                // Out of range only if it is not the kernel's.
                let nanoseconds = microseconds.checked_mul(1000)?;
                Some(one(Time {
                    seconds,
                    nanoseconds,
                }))
            }
            _ => None,
        }
    }

    /// Which send the times of the same entry are of, if it is such an extended error.
    #[must_use]
    pub fn stamped(&self) -> Option<Stamped> {
        self.extended_error()?.stamped()
    }

    /// The ICMP error in it, if its origin is ICMP or `ICMPv6`.
    ///
    /// Data, not an error: the entry says what happened to a packet sent earlier, and the completions beside it count as ever. The
    /// bytes of that packet and where it was going are in the entry too, in parts that
    /// [`recv_error_queue`](crate::recv_error_queue) does not ask for; a program that wants them calls `recvmsg` itself, with a
    /// name and pieces.
    #[must_use]
    pub fn icmp(&self) -> Option<Icmp> {
        let error = self.extended_error()?;
        let is_v6 = match error.origin {
            SO_EE_ORIGIN_ICMP => false,
            SO_EE_ORIGIN_ICMP6 => true,
            _ => return None,
        };
        Some(Icmp {
            errno: error.errno,
            is_v6,
            kind: error.kind,
            code: error.code,
            info: error.info,
            offender: self.offender(),
        })
    }

    /// The address after an extended error of IPv4 or IPv6, `SO_EE_OFFENDER`: the machine that an ICMP error is from.
    ///
    /// The kernel leaves it out (`AF_UNSPEC`) where it has none; then this is `None`. Beside a timestamp it is where the packet
    /// came from. An IPv6 socket has IPv4 addresses as mapped ones.
    #[must_use]
    pub fn offender(&self) -> Option<SocketAddr> {
        if !matches!(
            (self.level, self.kind),
            (SOL_IP, IP_RECVERR) | (SOL_IPV6, IPV6_RECVERR)
        ) {
            return None;
        }
        let address = self.data.get(EXTENDED_ERROR_BYTES..)?;
        let port = u16::from_be_bytes(array(address, 2)?);
        match u16::from_ne_bytes(array(address, 0)?) {
            // A sockaddr_in has 8 bytes of zeros at its end.
            AF_INET if address.len() >= 16 => {
                let ip = Ipv4Addr::from(array::<4>(address, 4)?);
                Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
            }
            AF_INET6 => {
                let flow = u32::from_ne_bytes(array(address, 4)?);
                let ip = Ipv6Addr::from(array::<16>(address, 8)?);
                let scope = u32::from_ne_bytes(array(address, 24)?);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)))
            }
            _ => None,
        }
    }
}
