//! `MSG_ZEROCOPY`: behaviour over UDP and with TCP fast open that the kernel's own tests check.

use super::zerocopy_old::completions_come;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::completions::Completions;
use crate::lab::io::{self};
use crate::lab::{Lab, netns, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_msg_zerocopy::{SendFlags, send_copied, send_zerocopy};
use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const KSELFTEST: Source = Source::Thread("Linux 7.3, tools/testing/selftests/net/msg_zerocopy.c");
const SENDTO: &[Sysno] = &[Sysno::sendto, Sysno::recvmsg];
const ONE_SHIFTED: &[Lie] = &[Lie::about(Sysno::recvmsg, What::IdsShifted(1))];
const WHOLE_OR_NOT: &str = "a datagram is sent whole or not";
/// Claims about UDP and TCP fast open.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "Of parts of one UDP datagram that are sent with and without the flag, those with it are completed, and all arrive.",
        method: "Sends three parts under MSG_MORE, the second without the flag, and reads the datagram and the completions.",
        sources: &[KSELFTEST],
        about: SENDTO,
        lies: ONE_SHIFTED,
        exceptions: &[Exception::Of(Sysno::sendto, What::Shortened, WHOLE_OR_NOT)],
        ..Claim::of_answers(
            "zerocopy.udp.corked-mixed",
            zerocopy_udp_corked_mixed,
            &[("datagram", Answer::Says("whole")), ("ids", Answer::Says("0 to 1"))],
        )
    },
    Claim {
        statement: "A UDP datagram of several pieces that is sent with the flag arrives whole, under MSG_MORE or not.",
        method: "Sends 1, 100, 4096 and 3001 bytes by one sendmsg(), then the same in two under MSG_MORE, and compares.",
        sources: &[Source::Thread("liburing @27255f4, test/send-zerocopy.c"), KSELFTEST],
        about: &[Sysno::sendmsg],
        lies: &[Lie::refused(Sysno::sendmsg, libc::EMSGSIZE)],
        exceptions: &[Exception::Of(Sysno::sendmsg, What::Shortened, WHOLE_OR_NOT)],
        ..Claim::of_answers(
            "zerocopy.udp.pieces",
            zerocopy_udp_pieces,
            &[
                ("sendmsg(4 pieces, MSG_ZEROCOPY)", Answer::Is(PIECES_LENGTH)),
                ("datagram", Answer::Says("whole")),
                ("sendmsg(4 pieces, MSG_ZEROCOPY | MSG_MORE)", Answer::Is(PIECES_LENGTH)),
                ("datagram of two sends", Answer::Says("whole")),
            ],
        )
    },
    Claim {
        statement: "Over veth a UDP datagram that is sent with the flag arrives whole, and its completion says that it was copied.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/msg_zerocopy.sh")],
        about: SENDTO,
        modules: &["veth"],
        lies: ONE_SHIFTED,
        exceptions: &[Exception::Of(Sysno::sendto, What::Shortened, WHOLE_OR_NOT)],
        ..Claim::of_answers(
            "zerocopy.udp.veth",
            zerocopy_udp_veth,
            &[("datagram that came back", Answer::Says("whole")), ("completions", Answer::Says("[0, 0] copied"))],
        )
    },
];

/// Reads the next datagram of a socket.
fn datagram(socket: &UdpSocket) -> Result<Vec<u8>, Stop> {
    let mut buffer = vec![0; 1 << 16];
    io::wait_for(socket.as_fd(), libc::POLLIN).setup("poll")?;
    let count = io::again(|| io::read(socket, &mut buffer)).setup("read the datagram")?;
    buffer.truncate(count);
    Ok(buffer)
}

fn note_datagram(seen: &mut Observation, fact: &str, datagram: &[u8], expected: &[u8]) {
    let is_whole = datagram == expected;
    let length = datagram.len();
    seen.text(fact, if is_whole { "whole".to_owned() } else { format!("{length} bytes, not those that were sent") });
}

fn zerocopy_udp_corked_mixed(_lab: &Lab) -> Result<Observation, Stop> {
    static PARTS: [[u8; 100]; 3] = [[b'a'; 100], [b'b'; 100], [b'c'; 100]];
    completions_come()?;
    let (near, far) = aside(sockets::udp)?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let [first, second, third] = &PARTS;
    let mut seen = Observation::new();
    // SAFETY: a static is never freed.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, first, SendFlags::MORE) });
    seen.call("send(MSG_ZEROCOPY | MSG_MORE)", sent);
    let sent = io::again(|| send_copied(&near, second, SendFlags::MORE));
    seen.call("send(MSG_MORE)", sent);
    // SAFETY: as above.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, third, SendFlags::empty()) });
    seen.call("send(MSG_ZEROCOPY)", sent);
    sent.setup("send")?;
    note_datagram(&mut seen, "datagram", &datagram(&far)?, PARTS.as_flattened());
    let completions = Completions::wait(&near, 2).setup("read the completions")?;
    seen.text("ids", completions.ids());
    Ok(seen)
}

static PIECES: [&[u8]; 4] = [b"1", &[b'2'; 100], &[b'3'; 4096], &[b'4'; 3001]];
/// The sum of their lengths.
const PIECES_LENGTH: u64 = 1 + 100 + 4096 + 3001;

fn zerocopy_udp_pieces(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = aside(sockets::udp)?;
    aside(|| sockets::zerocopy_on(&near).map(drop))?;
    let pieces = PIECES.map(IoSlice::new);
    let send = |flags| {
        // SAFETY: statics are never freed.
        io::again(|| unsafe { io::sendmsg_of(&near, &pieces, libc::MSG_ZEROCOPY | flags) })
    };
    let mut seen = Observation::new();
    let whole = PIECES.concat();
    // A datagram that was not sent does not arrive.
    let got = |sent: Result<usize, Errno>| sent.map_or(Ok(Vec::new()), |_| datagram(&far));
    let sent = send(0);
    seen.call("sendmsg(4 pieces, MSG_ZEROCOPY)", sent);
    note_datagram(&mut seen, "datagram", &got(sent)?, &whole);
    let first = send(libc::MSG_MORE);
    seen.call("sendmsg(4 pieces, MSG_ZEROCOPY | MSG_MORE)", first);
    let second = send(0);
    seen.call("sendmsg(4 more, MSG_ZEROCOPY)", second);
    let twice = [whole.as_slice(), &whole].concat();
    note_datagram(&mut seen, "datagram of two sends", &got(second)?, &twice);
    Ok(seen)
}

fn zerocopy_udp_veth(_lab: &Lab) -> Result<Observation, Stop> {
    static BYTES: [u8; 1000] = [b'd'; 1000];
    completions_come()?;
    let (near, _peer) = netns::udp_over_veth()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    // SAFETY: a static is never freed.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &BYTES, SendFlags::empty()) });
    sent.setup("send")?;
    let mut seen = Observation::new();
    seen.call("send(1000 bytes, MSG_ZEROCOPY)", sent);
    note_datagram(&mut seen, "datagram that came back", &datagram(&near)?, &BYTES);
    let completions = Completions::wait(&near, 1).setup("read the completions")?;
    seen.text("completions", completions);
    Ok(seen)
}
