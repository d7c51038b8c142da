//! The plans of the benchmark.

#![forbid(unsafe_code)]

use super::peers::Peer;
use super::relays::Relay;
use crate::bench::plan::{AGAIN, Contender, How, Kind, Placement, Plan};
use crate::ways::methods;
use crate::ways::methods::{Method, Pages};
use crate::ways::sinks::Sink;
use nocopy_transfer::{Route, WHOLE};

/// The method with which the other ways of sending are compared.
pub const BASE: &str = "read+write 64 KiB";
/// This project's own peer. It is measured as the other peers are, in a separate program.
pub const OURS: &str = "nocopy";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The methods that are compared for every sink except UDP.
const METHODS: &[&str] = &[
    BASE,
    "read+write 1 MiB",
    "mmap+write",
    "mmap+write 1 MiB",
    "sendfile",
    "splice, pipe 64 KiB",
    "splice, pipe 1 MiB",
    "vmsplice, pipe 1 MiB",
    "write of memory",
    "chosen, shared",
    "chosen, snapshot",
];
/// Further methods for TCP.
const TO_TCP: &[&str] =
    &["MSG_ZEROCOPY, mapped", "MSG_ZEROCOPY, memory", "io_uring splice, pipe 1 MiB", "io_uring SEND_ZC, memory"];
/// Further methods for a file.
const TO_FILE: &[&str] = &["copy_file_range"];
/// The methods for the plan that compares congestion controls.
const FEW: &[&str] = &[BASE, "sendfile"];
/// The congestion control for TCP. The default of many systems paces the data even on loopback.
pub const CONGESTION: &str = "reno";
/// A trial of small files sends at least this number of bytes.
const ENOUGH: usize = 64 * MIB;

/// The options of the benchmark.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The number of rounds of each plan. A sweep has a third of it.
    pub rounds: usize,
    /// The number of bytes that are sent.
    pub length: usize,
    /// Whether 1 GiB and every size, pipe and chunk are measured.
    pub full: bool,
    /// The peers that are measured.
    pub peers: Vec<Peer>,
    /// The relays that are measured.
    pub relays: Vec<Relay>,
}

impl Wanted {
    /// The largest file of all plans.
    pub fn largest(&self) -> usize {
        if self.full { LARGEST.max(self.length) } else { self.length }
    }

    /// All plans for these options.
    pub fn plans(&self) -> Vec<Plan> {
        let mut plans: Vec<Plan> = Sink::ALL.iter().map(|sink| self.ways(*sink)).collect();
        plans.push(Plan { placement: Placement::Split, ..self.ways(Sink::Tcp) });
        plans.push(Plan { congestion: None, ..self.plan(Kind::Ways, Sink::Tcp, named(FEW), "sendfile") });
        if !self.peers.is_empty() {
            plans.push(self.peers());
        }
        if !self.relays.is_empty() {
            plans.push(self.relays());
        }
        if self.full {
            self.sweeps(&mut plans);
        }
        plans
    }

    fn plan(&self, kind: Kind, sink: Sink, mut contenders: Vec<Contender>, twice: &str) -> Plan {
        let found = contenders.iter().position(|one| one.name == twice);
        let twice = found.unwrap_or(0);
        let mut again = contenders[twice].clone();
        again.name.push_str(AGAIN);
        contenders.push(again);
        Plan {
            kind,
            sink,
            placement: Placement::Same,
            congestion: sink.is_tcp().then(|| CONGESTION.to_owned()),
            length: self.length,
            repeat: 1,
            rounds: self.rounds,
            contenders,
            twice,
        }
    }

    /// Compares the ways of sending to a sink.
    fn ways(&self, sink: Sink) -> Plan {
        if sink == Sink::Udp {
            return self.plan(Kind::Ways, sink, datagrams(), "write of huge pages");
        }
        let besides = match sink {
            Sink::Tcp => TO_TCP,
            Sink::File => TO_FILE,
            _ => &[],
        };
        let contenders = named(&[METHODS, besides].concat());
        self.plan(Kind::Ways, sink, contenders, "sendfile")
    }

    fn peers(&self) -> Plan {
        let peers = std::iter::once(Peer::Program(OURS)).chain(self.peers.iter().copied());
        let contenders = peers.map(|peer| Contender { name: peer.name().to_owned(), how: How::Peer(peer) });
        self.plan(Kind::Peers, Sink::Tcp, contenders.collect(), OURS)
    }

    fn relays(&self) -> Plan {
        let contender =
            |relay: &Relay| Contender { name: relay.name().to_owned(), how: How::Peer(Peer::Relay(*relay)) };
        let contenders = self.relays.iter().map(contender).collect();
        self.plan(Kind::Relays, Sink::Tcp, contenders, "nocopy-transfer, shared")
    }

    /// Adds the plans with other sizes, pipes and chunks.
    fn sweeps(&self, plans: &mut Vec<Plan>) {
        for placement in [Placement::Same, Placement::Split] {
            plans.push(Plan { length: LARGEST, placement, ..self.ways(Sink::Tcp) });
        }
        let to_compare = [
            "mmap+write",
            "sendfile",
            "splice, pipe 64 KiB",
            "MSG_ZEROCOPY, mapped",
            "chosen, shared",
            "chosen, snapshot",
        ];
        let to_compare = named(&[&[BASE], &to_compare[..]].concat());
        for length in SIZES {
            plans.push(Plan {
                length: *length,
                repeat: (ENOUGH / length).max(1),
                ..self.plan(Kind::Size, Sink::Tcp, to_compare.clone(), "sendfile")
            });
        }
        for sink in [Sink::Tcp, Sink::TcpDropped] {
            let mut contenders = named(&[BASE, "sendfile"]);
            contenders.extend(PIPES.iter().map(|pipe| {
                let name = format!("splice, pipe {}", size(*pipe));
                of_route(name, Route::Splice { pipe: *pipe })
            }));
            plans.push(self.plan(Kind::Pipe, sink, contenders, "sendfile"));
        }
        plans.push(self.plan(Kind::Chunk, Sink::Tcp, chunks(), "sendfile, whole"));
    }
}

/// The largest file that `--full` sends.
const LARGEST: usize = 1 << 30;
/// The file sizes that `--full` measures.
const SIZES: &[usize] = &[4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, LARGEST];
/// The pipe capacities that `--full` measures.
const PIPES: &[usize] = &[4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB];
/// The sizes of one call that `--full` measures.
const CHUNKS: &[usize] = &[4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];

fn of_route(name: String, route: Route) -> Contender {
    Contender { name, how: How::Method(Method::Route(route)) }
}

/// A size with its unit.
pub fn size(bytes: usize) -> String {
    match bytes {
        WHOLE => "whole".to_owned(),
        _ if bytes >= 1 << 30 => format!("{} GiB", bytes >> 30),
        _ if bytes >= MIB => format!("{} MiB", bytes / MIB),
        _ => format!("{} KiB", bytes / KIB),
    }
}

/// The methods of the ledger with these names, as contenders.
fn named(names: &[&str]) -> Vec<Contender> {
    let of_name = |name: &&str| {
        let (name, method) = methods::ALL.iter().chain(methods::CHOSEN).find(|(other, _)| other == name)?;
        Some(Contender { name: (*name).to_owned(), how: How::Method(*method) })
    };
    names.iter().filter_map(of_name).collect()
}

/// Memory in huge and in small pages, with a copy and without one. The datagrams have no receiver, so no receiver copies the
/// data.
fn datagrams() -> Vec<Contender> {
    let chunk = Sink::Udp.limit();
    let kinds = [("huge pages", Pages::Huge), ("4 KiB pages", Pages::Small)];
    let contenders = kinds.into_iter().flat_map(|(of, pages)| {
        [
            (format!("write of {of}"), Method::Memory { chunk, pages }),
            (format!("MSG_ZEROCOPY of {of}"), Method::MemoryZerocopy { chunk, pages }),
        ]
    });
    let mut contenders: Vec<Contender> =
        contenders.map(|(name, method)| Contender { name, how: How::Method(method) }).collect();
    contenders.extend(named(&[BASE]));
    contenders
}

/// Calls that send more or fewer bytes at a time.
fn chunks() -> Vec<Contender> {
    let mut contenders = named(&[BASE]);
    for buffer in CHUNKS {
        let name = format!("read+write, {}", size(*buffer));
        contenders.push(of_route(name, Route::ReadWrite { buffer: *buffer }));
    }
    for window in CHUNKS.iter().chain(&[WHOLE]) {
        let name = format!("mmap+write, {}", size(*window));
        contenders.push(of_route(name, Route::MmapWrite { window: *window }));
    }
    for most in CHUNKS.iter().chain(&[WHOLE]) {
        contenders.push(Contender {
            name: format!("sendfile, {}", size(*most)),
            how: How::Method(Method::Capped { route: Route::Sendfile, most: *most }),
        });
    }
    contenders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(full: bool) -> Wanted {
        let relays = crate::bench::relays::OF_RUST.iter().copied().map(Relay::Program).collect();
        let peers = vec![Peer::Program("libc")];
        Wanted { rounds: 21, length: 64 * MIB, full, peers, relays }
    }

    /// Every method is one that its sink takes, and the last contender is the second series of another.
    #[test]
    fn every_plan_compares_what_its_sink_takes() {
        for plan in wanted(true).plans() {
            assert!(plan.contenders.len() >= 3, "{plan:?}");
            let (last, others) = plan.contenders.split_last().expect("some");
            assert_eq!(last.name, format!("{}{AGAIN}", others[plan.twice].name));
            for contender in &plan.contenders {
                if let How::Method(method) = contender.how {
                    assert_eq!(method.is_for(plan.sink), Ok(()), "{}", contender.name);
                }
            }
            assert!(plan.length <= wanted(true).largest());
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        for plan in wanted(true).plans() {
            let mut names: Vec<&str> = plan.contenders.iter().map(|one| one.name.as_str()).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{names:?}");
        }
    }

    #[test]
    fn the_short_run_has_one_size() {
        let plans = wanted(false).plans();
        assert!(plans.iter().all(|plan| plan.length == 64 * MIB));
        assert!(wanted(true).plans().len() > plans.len() + SIZES.len());
    }
}
