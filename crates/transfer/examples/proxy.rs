//! A TCP proxy: `cargo run --example proxy -- 127.0.0.1:8080 127.0.0.1:80`. Two threads for each client, which sleep in the calls.
//!
//! The same over `tokio` is one call: see the example `tokio_server`. What is here to see:
//! - the bytes go through a pipe and never into this program, unless a kernel or a filter refuses `splice`;
//! - one direction can end while the other goes on: the end is handed on (`shutdown`), and no more;
//! - what was read from one side and not taken by the other is reported (`held`).

use nocopy_transfer::{Error, Stability, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::{env, process, thread};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($words)*));
    }};
}

fn main() {
    let mut arguments = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let (Some(address), Some(target), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: proxy ADDRESS:PORT TARGET:PORT");
        process::exit(2);
    };
    let listener = TcpListener::bind(&address).unwrap_or_else(|error| {
        eprintln!("proxy: cannot listen on {address}: {error}");
        process::exit(2);
    });
    match listener.local_addr() {
        Ok(here) => say!("listening on {here}"),
        Err(error) => eprintln!("proxy: {error}"),
    }
    for client in listener.incoming() {
        let client = match client {
            Ok(client) => client,
            // Out of descriptors, or the client has gone already: the next one may do better.
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
        };
        let target = target.clone();
        thread::spawn(move || match TcpStream::connect(&target) {
            Ok(server) => both_ways(&client, &server),
            Err(error) => say!("{target}: {error}"),
        });
    }
}

fn both_ways(client: &TcpStream, server: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| say!("to the server: {}", one_way(client, server)));
        say!("to the client: {}", one_way(server, client));
    });
}

/// Copies until the source ends, and hands the end on. Returns a line for the log.
fn one_way(source: &TcpStream, sink: &TcpStream) -> String {
    let copied = copy(source, sink, Stability::Shared);
    let (line, ends) = match copied {
        Ok(outcome) => (outcome.to_string(), Shutdown::Write),
        Err(Error::Stopped(stopped)) => {
            let rest = stopped.held.len();
            (
                format!("{}; {rest} bytes were not taken", stopped.outcome),
                Shutdown::Both,
            )
        }
        Err(error) => (error.to_string(), Shutdown::Both),
    };
    // A peer that is gone already needs not be told; after an error neither direction goes on.
    drop(sink.shutdown(ends));
    if ends == Shutdown::Both {
        drop(source.shutdown(ends));
    }
    line
}
