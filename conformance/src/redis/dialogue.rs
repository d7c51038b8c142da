//! The dialogue of a replica and its master: bytes and times in, bytes and steps out. There is no socket and no clock here.
//!
//! ```text
//! Greeting ──PSYNC, SYNC──► Asked ──version──► Delayed ──time──► Sending ──file──► Streaming
//!     │                       └ only if its version is unknown                         │
//!     └──QUIT──► Ending ◄──────────────────── the master stops ◄──────────────────────┘
//! ```

#![forbid(unsafe_code)]

use super::rdb::{self, Header, Server as Version};
use crate::lab::redis::resp::{self, Next};
use std::io;
use std::time::{Duration, Instant};

/// The time that a replica may take to report its version.
const PATIENCE: Duration = Duration::from_secs(2);
/// The interval of the signs that the master is alive, before the file.
const ALIVE: Duration = Duration::from_secs(1);
/// The limit for bytes that are not a complete command, or not a complete answer.
pub const UNREAD: usize = 1 << 20;
/// The number of bytes of commands that are sent at once.
pub const PIECE: usize = 64 << 10;

/// The form in which the file is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `$` and its length, before the file.
    Length,
    /// `$EOF:` and a mark of 40 bytes before the file, and the mark after it, for replicas that support it.
    Mark,
}

/// The conditions of a master, which are the same for all its replicas.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The 40 digits by which the master names itself.
    pub identity: String,
    /// The user and the password.
    pub login: Option<(String, String)>,
    /// The file's header, which decides who loads it.
    pub header: Header,
    /// The file's length.
    pub length: u64,
    /// Whether the file is also sent to replicas that cannot load it, or that do not report their version.
    pub force: bool,
    /// The form in which the file is announced.
    pub framing: Framing,
    /// The time that a replica waits for the file.
    pub delay: Duration,
    /// The interval of the `PING`s to a replica that has everything.
    pub ping: Duration,
}

/// What a dialogue depends on at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'run> {
    /// The conditions.
    pub terms: &'run Terms,
    /// The commands that follow the file and have arrived.
    pub commands: &'run [u8],
    /// Whether more commands can arrive.
    pub more: bool,
    /// The time.
    pub now: Instant,
}

/// The bytes for the replica, and the steps of its master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The bytes for the replica.
    pub bytes: Vec<u8>,
    /// The steps, in their order.
    pub steps: Vec<Step>,
}

/// An action of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send `INFO server` to this port of the replica's machine; [`Dialogue::hear_answer`] takes the answer.
    Ask(u16),
    /// Nothing: the file is promised.
    Begins,
    /// Send the file after the bytes; [`Dialogue::sent`] follows it.
    Send,
    /// Nothing: the replica has acknowledged everything.
    Done,
}

/// How a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The replica closed it, and nothing is missing.
    Orderly,
    /// There was an error, with this message.
    Wrong(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// The phase of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has connected, and sends its greeting.
    Greeting,
    /// Since this time it is asked, over another connection, for its version.
    Asked(Instant),
    /// It waits until this time for the file.
    Delayed(Instant),
    /// It gets the file.
    Sending,
    /// It has the file, and gets the commands.
    Streaming,
    /// Nothing more is sent, and it is to close the connection.
    Ending,
}

/// The properties that a replica reports.
#[derive(Clone, Debug)]
struct Said {
    /// The port on which it listens.
    port: Option<u16>,
    version: Option<Version>,
    /// `redis-cli --rdb`, which stores the file and does not load it.
    stores_only: bool,
    knows_mark: bool,
}

impl Said {
    /// Notes a property from `REPLCONF`.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let value = String::from_utf8_lossy(value);
        match name.to_ascii_lowercase().as_slice() {
            b"listening-port" => self.port = value.parse().ok(),
            b"capa" => self.knows_mark |= value == "eof",
            b"rdb-only" => self.stores_only = value == "1",
            // Valkey sends this; Redis does not.
            b"version" => {
                let version = rdb::version(&value);
                let program = rdb::Format::Valkey;
                self.version = version.map(|version| Version { program, version });
            }
            _ => {}
        }
    }
}

/// The dialogue with one replica.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the replica, and they do not depend on each other"
)]
#[derive(Clone, Debug)]
pub struct Dialogue {
    phase: Phase,
    said: Said,
    /// Whether it has logged in, or need not.
    is_known: bool,
    /// Whether it sent a command of a replica.
    is_replica: bool,
    /// Whether it acknowledges what it gets: it sent `PSYNC`, not `SYNC`.
    acknowledges: bool,
    mark: String,
    /// Bytes that are not a complete command.
    unread: Vec<u8>,
    /// The beginning of the answer about its version.
    answer: Vec<u8>,
    /// The number of bytes of the commands that were sent.
    passed: usize,
    has_file: bool,
    acknowledged: Option<u64>,
    is_done: bool,
    /// When it last got something that shows that its master is alive.
    heard: Instant,
}

impl Dialogue {
    /// The dialogue with a replica that has connected. `version` is used if it reports none, `mark` may follow the file.
    pub fn new(terms: &Terms, version: Option<Version>, mark: String, now: Instant) -> Self {
        Self {
            phase: Phase::Greeting,
            said: Said { port: None, version, stores_only: false, knows_mark: false },
            is_known: terms.login.is_none(),
            is_replica: false,
            acknowledges: false,
            mark,
            unread: Vec::new(),
            answer: Vec::new(),
            passed: 0,
            has_file: false,
            acknowledged: None,
            is_done: false,
            heard: now,
        }
    }

    /// Its phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether it sent a command of a replica (`REPLCONF`, `PSYNC`, `SYNC`).
    pub fn is_replica(&self) -> bool {
        self.is_replica
    }

    /// The number of bytes after the file that it has acknowledged.
    pub fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    /// Whether it has acknowledged everything.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether bytes follow the file before the commands.
    pub fn has_mark(&self) -> bool {
        !self.mark.is_empty()
    }

    /// The bytes that are kept, for a command or an answer that is not complete.
    pub fn unread(&self) -> usize {
        self.unread.len() + self.answer.len()
    }

    /// Takes bytes from the replica, cut at any place, and answers each command in them.
    pub fn hear(&mut self, bytes: &[u8], at: &Situation<'_>, out: &mut Output) -> Result<(), End> {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        loop {
            match resp::next(rest).map_err(|bad| End::Wrong(bad.to_string()))? {
                Next::Unfinished => break,
                Next::Nothing(length) => rest = &rest[length..],
                Next::Command(command, length) => {
                    rest = &rest[length..];
                    self.obey(&command, at, out)?;
                }
            }
        }
        if rest.len() > UNREAD {
            return Err(End::Wrong("a command does not end".to_owned()));
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    /// Answers a command.
    fn obey(&mut self, command: &[Vec<u8>], at: &Situation<'_>, out: &mut Output) -> Result<(), End> {
        let text = |at: usize| {
            let bytes = command.get(at).map_or(&[][..], Vec::as_slice);
            String::from_utf8_lossy(bytes).into_owned()
        };
        let word = |at: usize| text(at).to_ascii_lowercase();
        let mut say = |bytes: &[u8]| out.bytes.extend_from_slice(bytes);
        self.is_replica |= matches!(word(0).as_str(), "replconf" | "psync" | "sync");
        match word(0).as_str() {
            "replconf" if word(1) == "ack" => self.acknowledge(text(2).parse().ok(), at, out),
            // After the request for the file, the connection has the file and then commands: an answer would become part of them.
            _ if self.phase != Phase::Greeting => {}
            "auth" if matches!(command.len(), 2 | 3) => {
                let user = if command.len() > 2 { text(1) } else { "default".to_owned() };
                let given = (user, text(command.len() - 1));
                self.is_known |= at.terms.login.as_ref() == Some(&given);
                say(if self.is_known {
                    b"+OK\r\n"
                } else {
                    b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
                });
            }
            "auth" => say(b"-ERR wrong number of arguments for 'auth' command\r\n"),
            "quit" => {
                say(b"+OK\r\n");
                self.phase = Phase::Ending;
            }
            _ if !self.is_known => say(b"-NOAUTH Authentication required.\r\n"),
            "ping" => say(b"+PONG\r\n"),
            "replconf" => {
                for pair in command[1..].chunks(2) {
                    if let [name, value] = pair {
                        self.said.note(name, value);
                    }
                }
                say(b"+OK\r\n");
            }
            "psync" | "sync" => {
                self.acknowledges = word(0) == "psync";
                // A replica that cannot load the file must not drop its data before it is asked.
                self.promise(at, out)?;
            }
            other => {
                let name: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
                say(format!("-ERR unknown command '{name}': this is a file for replicas, not a server\r\n").as_bytes());
            }
        }
        Ok(())
    }

    /// Notes an acknowledged offset. Without the file there is nothing to acknowledge.
    fn acknowledge(&mut self, offset: Option<u64>, at: &Situation<'_>, out: &mut Output) {
        if !self.has_file {
            return;
        }
        self.acknowledged = offset;
        let has_all = offset.is_some_and(|offset| offset >= at.commands.len() as u64);
        if has_all && !at.more && !self.is_done {
            self.is_done = true;
            out.steps.push(Step::Done);
        }
    }

    /// Promises the file to a replica that is known to load it, or that gets it in any case. If its version is unknown, it is asked.
    fn promise(&mut self, at: &Situation<'_>, out: &mut Output) -> Result<(), End> {
        let header = at.terms.header;
        if !at.terms.force && !self.said.stores_only {
            match (&self.said.version, self.said.port) {
                (Some(version), _) if version.loads(header) => {}
                (Some(version), _) => {
                    return Err(End::Wrong(format!(
                        "{version} does not load {header}, and would lose its own data: --force if it is to"
                    )));
                }
                (None, Some(port)) => {
                    self.phase = Phase::Asked(at.now);
                    out.steps.push(Step::Ask(port));
                    return Ok(());
                }
                (None, None) => return Err(unknown("it has named no port")),
            }
        }
        if self.acknowledges {
            let line = format!("+FULLRESYNC {} 0\r\n", at.terms.identity);
            out.bytes.extend_from_slice(line.as_bytes());
        }
        self.phase = Phase::Delayed(at.now + at.terms.delay);
        out.steps.push(Step::Begins);
        Ok(())
    }

    /// Takes bytes from the connection that asks the replica for its version.
    pub fn hear_answer(
        &mut self,
        bytes: &[u8],
        is_open: bool,
        at: &Situation<'_>,
        out: &mut Output,
    ) -> Result<(), End> {
        if !matches!(self.phase, Phase::Asked(_)) {
            return Ok(());
        }
        self.answer.extend_from_slice(bytes);
        let answer = String::from_utf8_lossy(&self.answer);
        match (Version::of_info(&answer), answer.starts_with('-')) {
            (Some(version), _) => self.said.version = Some(version),
            (None, true) => return Err(unknown(answer.trim())),
            (None, false) if !is_open => return Err(unknown("it has closed the connection")),
            (None, false) if answer.len() > UNREAD => {
                return Err(unknown("its answer does not end"));
            }
            (None, false) => return Ok(()),
        }
        self.answer = Vec::new();
        self.promise(at, out)
    }

    /// Says what is due when the replica has taken all that it was sent: the head of the file, or a piece of the commands.
    pub fn turn(&mut self, at: &Situation<'_>, out: &mut Output) {
        match self.phase {
            Phase::Delayed(until) if until <= at.now => {
                let head = if at.terms.framing == Framing::Mark && self.said.knows_mark {
                    format!("$EOF:{}\r\n", self.mark)
                } else {
                    self.mark.clear();
                    format!("${}\r\n", at.terms.length)
                };
                out.bytes.extend_from_slice(head.as_bytes());
                out.steps.push(Step::Send);
                self.phase = Phase::Sending;
            }
            Phase::Streaming if self.acknowledges && self.passed < at.commands.len() => {
                let left = &at.commands[self.passed..];
                let piece = &left[..left.len().min(PIECE)];
                out.bytes.extend_from_slice(piece);
                self.passed += piece.len();
                self.heard = at.now;
            }
            _ => {}
        }
    }

    /// The connection has taken the whole file.
    pub fn sent(&mut self, now: Instant, out: &mut Output) {
        if self.phase == Phase::Sending {
            let mark = std::mem::take(&mut self.mark);
            out.bytes.extend_from_slice(mark.as_bytes());
            self.phase = Phase::Streaming;
            self.has_file = true;
            self.heard = now;
        }
    }

    /// Says what is due at this time. Returns whether the replica has a [turn](Self::turn).
    pub fn clock(&mut self, at: &Situation<'_>, out: &mut Output) -> Result<bool, End> {
        let quiet = at.now - self.heard;
        match self.phase {
            Phase::Asked(since) if at.now - since > PATIENCE => Err(unknown("it does not answer")),
            Phase::Asked(_) | Phase::Delayed(_) if quiet >= ALIVE && self.acknowledges => {
                self.heard = at.now;
                out.bytes.push(b'\n');
                Ok(true)
            }
            Phase::Delayed(until) => Ok(until <= at.now),
            // Only between commands.
            Phase::Streaming if self.acknowledges && self.passed == at.commands.len() => {
                let is_late = quiet >= at.terms.ping;
                if is_late {
                    self.heard = at.now;
                    out.bytes.extend(resp::command(&[b"PING"]));
                }
                Ok(is_late)
            }
            Phase::Streaming => Ok(self.acknowledges),
            Phase::Greeting | Phase::Asked(_) | Phase::Sending | Phase::Ending => Ok(false),
        }
    }

    /// The master stops: nothing more is said.
    pub fn end(&mut self) {
        self.phase = Phase::Ending;
    }

    /// The connection has ended in this way, after this many bytes of the file.
    pub fn closed(&self, how: &str, bytes: u64) -> End {
        match self.phase {
            Phase::Greeting | Phase::Streaming | Phase::Ending => End::Orderly,
            Phase::Sending => End::Wrong(format!("{how} after {bytes} bytes")),
            Phase::Asked(_) | Phase::Delayed(_) => End::Wrong(format!("{how} before it got the file")),
        }
    }
}

/// The error for a replica whose version is unknown.
pub fn unknown(why: &str) -> End {
    End::Wrong(format!(
        "it is not known what the replica loads ({why}), and it would lose its own data: name it with --replica-version, or --force"
    ))
}

/// The line that reports an error to a replica that got nothing. The replica writes it to its log.
pub fn refusal(why: &str) -> Vec<u8> {
    let line: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("-ERR {line}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::rdb::Format;
    use quickcheck::quickcheck;
    use rstest::rstest;

    const COMMANDS: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n";
    const IDENTITY: &str = "0123456789012345678901234567890123456789";
    const MARK: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

    fn terms() -> Terms {
        Terms {
            identity: IDENTITY.to_owned(),
            login: None,
            header: Header { format: Format::Redis, version: 10 },
            length: 100,
            force: false,
            framing: Framing::Length,
            delay: Duration::ZERO,
            ping: Duration::from_secs(10),
        }
    }

    fn redis(major: u32, minor: u32) -> Version {
        Version { program: Format::Redis, version: (major, minor) }
    }

    /// A dialogue, its terms, and a clock that a test sets.
    struct Played {
        terms: Terms,
        dialogue: Dialogue,
        now: Instant,
    }

    impl Played {
        fn new(terms: Terms, version: Option<Version>) -> Self {
            let now = Instant::now();
            let dialogue = Dialogue::new(&terms, version, MARK.to_owned(), now);
            Self { terms, dialogue, now }
        }

        /// The bytes and steps that come of something, or how it ends.
        fn play(
            &mut self,
            what: impl FnOnce(&mut Dialogue, &Situation<'_>, &mut Output) -> Result<(), End>,
        ) -> Result<(String, Vec<Step>), End> {
            let at = Situation { terms: &self.terms, commands: COMMANDS, more: false, now: self.now };
            let mut out = Output::default();
            what(&mut self.dialogue, &at, &mut out)?;
            let text = String::from_utf8(out.bytes).expect("these terms are ASCII");
            Ok((text, out.steps))
        }

        fn hears(&mut self, bytes: &str) -> Result<(String, Vec<Step>), End> {
            self.play(|dialogue, at, out| dialogue.hear(bytes.as_bytes(), at, out))
        }

        fn answers(&mut self, bytes: &str, is_open: bool) -> Result<(String, Vec<Step>), End> {
            self.play(|dialogue, at, out| dialogue.hear_answer(bytes.as_bytes(), is_open, at, out))
        }

        fn turn(&mut self) -> (String, Vec<Step>) {
            let turned = self.play(|dialogue, at, out| {
                dialogue.turn(at, out);
                Ok(())
            });
            turned.expect("a turn has no error")
        }

        fn sent(&mut self) -> String {
            let sent = self.play(|dialogue, at, out| {
                dialogue.sent(at.now, out);
                Ok(())
            });
            sent.expect("this has no error").0
        }

        /// The bytes after this time, and whether a turn is due.
        fn after(&mut self, time: Duration) -> Result<(String, bool), End> {
            self.now += time;
            let mut is_due = false;
            let (bytes, _) = self.play(|dialogue, at, out| {
                is_due = dialogue.clock(at, out)?;
                Ok(())
            })?;
            Ok((bytes, is_due))
        }
    }

    fn said(bytes: &str, steps: &[Step]) -> Result<(String, Vec<Step>), End> {
        Ok((bytes.to_owned(), steps.to_vec()))
    }

    fn full_resync() -> String {
        format!("+FULLRESYNC {IDENTITY} 0\r\n")
    }

    /// The greeting of Redis 7, whose version is asked over another connection.
    #[test]
    fn a_redis_gets_file_and_commands() {
        let mut it = Played::new(terms(), None);
        assert_eq!(it.hears("*1\r\n$4\r\nPING\r\n"), said("+PONG\r\n", &[]));
        let port = "*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6380\r\n";
        assert_eq!(it.hears(port), said("+OK\r\n", &[]));
        let able = "*5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n";
        assert_eq!(it.hears(able), said("+OK\r\n", &[]));
        let sync = "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n";
        assert_eq!(it.hears(sync), said("", &[Step::Ask(6380)]));
        assert_eq!(it.answers("$90\r\n# Server\r\nredis_ver", true), said("", &[]));
        let promised = said(&full_resync(), &[Step::Begins]);
        assert_eq!(it.answers("sion:7.0.15\r\n", true), promised);
        assert_eq!(it.turn(), ("$100\r\n".to_owned(), vec![Step::Send]));
        assert_eq!(it.turn(), (String::new(), vec![]));
        assert_eq!(it.sent(), "");
        let commands = String::from_utf8_lossy(COMMANDS).into_owned();
        assert_eq!(it.turn(), (commands, vec![]));
        assert_eq!(it.hears("REPLCONF ACK 0\r\n"), said("", &[]));
        assert_eq!(it.dialogue.acknowledged(), Some(0));
        let all = format!("REPLCONF ACK {}\r\n", COMMANDS.len());
        assert_eq!(it.hears(&all), said("", &[Step::Done]));
        assert_eq!(it.hears(&all), said("", &[]), "once");
        assert!(it.dialogue.is_done() && it.dialogue.is_replica());
        assert_eq!(it.dialogue.closed("it closed", 100), End::Orderly);
    }

    #[rstest]
    #[case(Framing::Mark, "capa eof", format!("$EOF:{MARK}\r\n"), MARK)]
    #[case(Framing::Mark, "capa psync2", "$100\r\n".to_owned(), "")]
    #[case(Framing::Length, "capa eof", "$100\r\n".to_owned(), "")]
    fn a_mark_is_for_replicas_that_know_it(
        #[case] framing: Framing,
        #[case] able: &str,
        #[case] head: String,
        #[case] tail: &str,
    ) {
        let terms = Terms { framing, ..terms() };
        let mut it = Played::new(terms, Some(redis(7, 0)));
        it.hears(&format!("REPLCONF {able}\r\n")).expect("OK");
        let promised = said(&full_resync(), &[Step::Begins]);
        assert_eq!(it.hears("PSYNC ? -1\r\n"), promised);
        assert_eq!(it.turn(), (head, vec![Step::Send]));
        assert_eq!(it.sent(), tail);
    }

    /// `SYNC` has no answer before the file, no acknowledgements and no commands after it.
    #[test]
    fn the_old_command_gets_the_file_alone() {
        let mut it = Played::new(terms(), Some(redis(7, 0)));
        assert_eq!(it.hears("SYNC\r\n"), said("", &[Step::Begins]));
        assert_eq!(it.turn(), ("$100\r\n".to_owned(), vec![Step::Send]));
        it.sent();
        assert_eq!(it.turn(), (String::new(), vec![]));
        let hour = Duration::from_hours(1);
        assert_eq!(it.after(hour), Ok((String::new(), false)));
    }

    #[rstest]
    #[case("AUTH secret", "+OK\r\n+PONG\r\n")]
    #[case("AUTH default secret", "+OK\r\n+PONG\r\n")]
    #[case("AUTH other secret", "-WRONGPASS")]
    #[case("AUTH Secret", "-WRONGPASS")]
    #[case("AUTH", "-ERR wrong number of arguments")]
    #[case("AUTH a b c", "-ERR wrong number of arguments")]
    #[case("PSYNC ? -1", "-NOAUTH")]
    #[case("REPLCONF rdb-only 1", "-NOAUTH")]
    fn a_password_is_asked_for(#[case] line: &str, #[case] beginning: &str) {
        let terms = Terms { login: Some(("default".to_owned(), "secret".to_owned())), ..terms() };
        let mut it = Played::new(terms, Some(redis(7, 0)));
        let (answer, steps) = it.hears(&format!("{line}\r\nPING\r\n")).expect("an answer");
        assert!(answer.starts_with(beginning), "{answer}");
        assert_eq!(answer.ends_with("+PONG\r\n"), beginning.starts_with('+'));
        assert_eq!(steps, []);
    }

    #[rstest]
    #[case(Some(redis(6, 2)), "PSYNC ? -1", "Redis 6.2 does not load REDIS0010")]
    #[case(None, "PSYNC ? -1", "it has named no port")]
    #[case(None, "SYNC", "it has named no port")]
    fn a_replica_that_would_lose_its_data_gets_nothing(
        #[case] version: Option<Version>,
        #[case] line: &str,
        #[case] why: &str,
    ) {
        let mut it = Played::new(terms(), version.clone());
        let refused = it.hears(&format!("{line}\r\n"));
        assert!(matches!(&refused, Err(End::Wrong(said)) if said.contains(why)), "{refused:?}");
        let terms = Terms { force: true, ..terms() };
        let mut it = Played::new(terms, version);
        let (_, steps) = it.hears(&format!("{line}\r\n")).expect("--force");
        assert_eq!(steps, [Step::Begins]);
    }

    #[rstest]
    #[case("-NOAUTH Authentication required.\r\n", true, "-NOAUTH")]
    #[case("$3\r\nabc", false, "it has closed the connection")]
    #[case("redis_version:6.0.16\r\n", true, "Redis 6.0 does not load")]
    fn an_answer_may_be_a_refusal(#[case] answer: &str, #[case] is_open: bool, #[case] why: &str) {
        let mut it = Played::new(terms(), None);
        let asked = it.hears("REPLCONF listening-port 6380\r\nPSYNC ? -1\r\n");
        assert_eq!(asked, said("+OK\r\n", &[Step::Ask(6380)]));
        let refused = it.answers(answer, is_open);
        assert!(matches!(&refused, Err(End::Wrong(said)) if said.contains(why)), "{refused:?}");
    }

    /// Without an answer, the replica gets nothing; until then it gets signs that its master is alive.
    #[test]
    fn an_answer_is_waited_for_two_seconds() {
        let mut it = Played::new(terms(), None);
        it.hears("REPLCONF listening-port 6380\r\nPSYNC ? -1\r\n").expect("asked");
        let half = Duration::from_millis(500);
        assert_eq!(it.after(half), Ok((String::new(), false)));
        assert_eq!(it.after(half), Ok(("\n".to_owned(), true)));
        assert_eq!(it.after(half), Ok((String::new(), false)));
        assert_eq!(it.turn(), (String::new(), vec![]));
        let late = it.after(2 * half);
        assert_eq!(late, Err(unknown("it does not answer")));
    }

    #[test]
    fn a_delayed_file_is_sent_when_its_time_has_come() {
        let terms = Terms { delay: Duration::from_millis(1500), ..terms() };
        let mut it = Played::new(terms, Some(redis(7, 0)));
        it.hears("PSYNC ? -1\r\n").expect("promised");
        assert_eq!(it.turn(), (String::new(), vec![]));
        let second = Duration::from_secs(1);
        assert_eq!(it.after(second), Ok(("\n".to_owned(), true)));
        assert_eq!(it.turn(), (String::new(), vec![]), "not yet");
        assert_eq!(it.after(second / 2), Ok((String::new(), true)));
        assert_eq!(it.turn(), ("$100\r\n".to_owned(), vec![Step::Send]));
    }

    /// A `PING` stands only between commands.
    #[test]
    fn a_ping_follows_the_commands() {
        let mut it = Played::new(terms(), Some(redis(7, 0)));
        it.hears("PSYNC ? -1\r\n").expect("promised");
        it.turn();
        it.sent();
        let interval = Duration::from_secs(10);
        assert_eq!(it.after(interval), Ok((String::new(), true)), "a turn first");
        it.turn();
        assert_eq!(it.after(interval / 2), Ok((String::new(), false)));
        let ping = "*1\r\n$4\r\nPING\r\n".to_owned();
        assert_eq!(it.after(interval / 2), Ok((ping, true)));
    }

    /// A client that leaves, or that never got the file, has not got everything, whatever it acknowledges.
    #[rstest]
    #[case("REPLCONF ACK 1000\r\n")]
    #[case("QUIT\r\nREPLCONF ACK 1000\r\n")]
    #[case("PSYNC ? -1\r\nREPLCONF ACK 1000\r\n")]
    fn nothing_is_acknowledged_without_the_file(#[case] bytes: &str) {
        let mut it = Played::new(terms(), Some(redis(7, 0)));
        let (_, steps) = it.hears(bytes).expect("an answer");
        assert!(!steps.contains(&Step::Done), "{steps:?}");
        assert_eq!((it.dialogue.is_done(), it.dialogue.acknowledged()), (false, None));
    }

    /// An answer would become a part of the file.
    #[test]
    fn nothing_is_answered_after_the_request() {
        let mut it = Played::new(terms(), Some(redis(7, 0)));
        let (answer, steps) = it.hears("PSYNC ? -1\r\nPING\r\nPSYNC ? -1\r\nnonsense\r\nQUIT\r\n").expect("one answer");
        assert_eq!((answer, steps), (full_resync(), vec![Step::Begins]));
        assert_eq!(
            it.dialogue.closed("it has closed", 0),
            End::Wrong("it has closed before it got the file".to_owned())
        );
    }

    #[test]
    fn an_unknown_command_is_answered_in_one_line() {
        let mut it = Played::new(terms(), None);
        let command = format!("*1\r\n$43\r\na\r\n{}\r\n", "b".repeat(40));
        let (answer, _) = it.hears(&command).expect("an answer");
        assert_eq!(answer.matches("\r\n").count(), 1, "{answer}");
        assert!(answer.starts_with("-ERR unknown command 'abbb"), "{answer}");
        assert!(!answer.contains(&"b".repeat(40)), "{answer}");
        assert_eq!(refusal("two\r\nlines"), b"-ERR two  lines\r\n");
    }

    #[test]
    fn what_is_no_command_ends_it() {
        let mut it = Played::new(terms(), None);
        let tls = it.hears("\u{16}\u{3}");
        assert!(matches!(&tls, Err(End::Wrong(said)) if said.contains("TLS")), "{tls:?}");
    }

    quickcheck! {
        // Whatever comes, from both connections: no panic, a bounded memory, a bounded answer.
        fn any_bytes_are_bounded(pieces: Vec<(bool, Vec<u8>)>, greeting: bool) -> bool {
            let mut it = Played::new(terms(), None);
            if greeting {
                it.hears("REPLCONF listening-port 1\r\nPSYNC ? -1\r\n").expect("asked");
            }
            for (is_answer, bytes) in pieces {
                let mut out = Output::default();
                let ended = it.play(|dialogue, at, _| if is_answer {
                    dialogue.hear_answer(&bytes, true, at, &mut out)
                } else {
                    dialogue.hear(&bytes, at, &mut out)
                });
                let is_bounded = it.dialogue.unread() <= 2 * UNREAD
                    && out.bytes.len() <= 64 * (bytes.len() + 2);
                if !is_bounded || ended.is_err() {
                    return is_bounded;
                }
            }
            true
        }
    }

    /// The longest commands and answers that never end are refused before they take much memory.
    #[rstest]
    #[case("a")]
    #[case("*1000\r\n$60000\r\n")]
    #[case("$900000\r\n")]
    fn what_does_not_end_is_refused(#[case] beginning: &str) {
        let mut it = Played::new(terms(), None);
        it.hears("REPLCONF listening-port 1\r\nPSYNC ? -1\r\n").expect("asked");
        let piece = "b".repeat(16 << 10);
        let mut other = Played::new(terms(), None);
        let mut ended = (other.hears(beginning).err(), it.answers(beginning, true).err());
        for _ in 0..UNREAD / piece.len() + 2 {
            assert!(it.dialogue.unread() <= UNREAD + piece.len());
            assert!(other.dialogue.unread() <= UNREAD + piece.len());
            ended.0 = ended.0.or_else(|| other.hears(&piece).err());
            ended.1 = ended.1.or_else(|| it.answers(&piece, true).err());
        }
        assert!(matches!(ended, (Some(End::Wrong(_)), Some(End::Wrong(_)))), "{ended:?}");
    }
}
