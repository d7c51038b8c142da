//! One file for every client that connects, from one thread: `cargo run --features mio --example serve_file -- 127.0.0.1:8080 FILE`,
//! then `nc 127.0.0.1 8080 | wc -c`, as many at once as you like.
//!
//! What an event loop over transfers has to get right, and where it is below:
//! - a fast client must not hold the others: a budget for each turn, and a queue of those that could go on (`turn`);
//! - a slow one must hold nothing: between two turns it has no pipe and no buffer, because the file still has its bytes;
//! - edges, not levels: an event is forgotten only when a call has said that it would block (`State::Waits`);
//! - the last byte in the socket is not the last byte at the peer: the end is said, and the peer's own end waited for (`Client::end`).

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nocopy_transfer::{Ended, Request, Stability, State, Transfer};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::{env, process};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(io::stdout(), $($words)*));
    }};
}

/// The bytes that a client gets in one turn.
const BUDGET: u64 = 256 << 10;
const LISTENER: Token = Token(0);

struct Client {
    peer: SocketAddr,
    /// None: everything is in the socket, and the peer's end is waited for.
    transfer: Option<Transfer<Rc<File>, Rc<TcpStream>>>,
    socket: Rc<TcpStream>,
}

fn main() {
    let mut arguments = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let (Some(address), Some(path), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: serve_file ADDRESS:PORT FILE");
        process::exit(2);
    };
    if let Err(why) = serve(&address, &path) {
        eprintln!("serve_file: {why}");
        process::exit(2);
    }
}

fn serve(address: &str, path: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let size = file
        .metadata()
        .map_err(|error| format!("{path}: {error}"))?
        .len();
    let address = address
        .parse()
        .map_err(|_| format!("{address} is no address and port"))?;
    let mut listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let here = listener.local_addr().map_err(|error| error.to_string())?;
    say!("listening on {here}");
    let mut events = Poll::new().map_err(|error| error.to_string())?;
    events
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .map_err(|error| error.to_string())?;

    let file = Rc::new(file);
    let mut clients = HashMap::new();
    let mut happened = Events::with_capacity(256);
    // Those that could go on, in turn.
    let mut ready = VecDeque::new();
    let mut next = 1;
    loop {
        let now = (!ready.is_empty()).then_some(std::time::Duration::ZERO);
        match events.poll(&mut happened, now) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.map_err(|error| error.to_string())?,
        }
        for event in &happened {
            match event.token() {
                LISTENER => accept(
                    &listener,
                    &events,
                    &file,
                    size,
                    &mut next,
                    &mut clients,
                    &mut ready,
                ),
                token if !ready.contains(&token) => ready.push_back(token),
                _ => {}
            }
        }
        for _ in 0..ready.len() {
            let Some(token) = ready.pop_front() else {
                break;
            };
            let Some(client) = clients.get_mut(&token) else {
                continue;
            };
            match client.turn() {
                Turn::Again => ready.push_back(token),
                Turn::Later => {}
                Turn::Over(line) => {
                    say!("{} {line}", client.peer);
                    clients.remove(&token);
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    events: &Poll,
    file: &Rc<File>,
    size: u64,
    next: &mut usize,
    clients: &mut HashMap<Token, Client>,
    ready: &mut VecDeque<Token>,
) {
    loop {
        let (mut socket, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    eprintln!("accept: {error}");
                }
                return;
            }
        };
        let token = Token(*next);
        *next += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = events.registry().register(&mut socket, token, interest) {
            eprintln!("{peer}: {error}");
            continue;
        }
        let socket = Rc::new(socket);
        let request = Request::new(Stability::Shared).range(0, size).look_back();
        match request.begin(Rc::clone(file), Rc::clone(&socket)) {
            Ok(transfer) => {
                let transfer = Some(transfer);
                clients.insert(
                    token,
                    Client {
                        peer,
                        transfer,
                        socket,
                    },
                );
                ready.push_back(token);
            }
            Err(error) => eprintln!("{peer}: {error}"),
        }
    }
}

enum Turn {
    /// It could go on.
    Again,
    /// It waits for an event.
    Later,
    /// It has ended, with a line for the log.
    Over(String),
}

impl Client {
    fn turn(&mut self) -> Turn {
        let Some(transfer) = &mut self.transfer else {
            return self.end();
        };
        match transfer.advance(BUDGET) {
            State::Budget => Turn::Again,
            State::Waits(_) => Turn::Later,
            State::Ended => {
                let Some(transfer) = self.transfer.take() else {
                    return Turn::Later;
                };
                let outcome = transfer.outcome();
                if outcome.ended != Ended::Complete || outcome.shrank_to.is_some() {
                    // An honest end would make the peer believe that it has everything.
                    return Turn::Over(format!("cut off: {outcome}"));
                }
                say!("{} has to read: {outcome}", self.peer);
                match self.socket.shutdown(Shutdown::Write) {
                    Ok(()) => Turn::Again,
                    Err(error) => Turn::Over(format!("gone: {error}")),
                }
            }
        }
    }

    /// Reads until the peer's end.
    fn end(&self) -> Turn {
        let mut bytes = [0; 4096];
        loop {
            match (&*self.socket).read(&mut bytes) {
                Ok(0) => return Turn::Over("has everything".to_owned()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Later,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Turn::Over(format!("gone before its end: {error}")),
            }
        }
    }
}
