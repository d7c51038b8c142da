//! Static files over HTTP/1.0, and a proxy for everything else, on one thread of `tokio`:
//! `cargo run --features tokio --example tokio_server -- 127.0.0.1:8080 DIR 127.0.0.1:80`, then `curl` a file of DIR.
//!
//! - the file goes from the page cache to the socket, and the program never has its bytes (`copy_range`);
//! - a request for a file that is not there is proxied: the head that was read goes first, then both ways (`copy_bidirectional`).

use nocopy_transfer::Stability;
use nocopy_transfer::tokio::{copy_bidirectional, copy_range};
use std::path::{Component, Path, PathBuf};
use std::{env, io, process};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Prints a line. Nobody has to hear it.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(io::stdout(), $($words)*));
    }};
}

/// The longest request head.
const HEAD_BYTES: usize = 8192;

fn main() {
    let arguments = env::args_os()
        .skip(1)
        .map(|it| it.to_string_lossy().into_owned());
    let arguments: Vec<_> = arguments.collect();
    let [address, root, behind] = &arguments[..] else {
        eprintln!("usage: tokio_server ADDRESS:PORT DIRECTORY BEHIND:PORT");
        process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(address, root, behind)));
    if let Err(error) = served {
        eprintln!("tokio_server: {address}: {error}");
        process::exit(2);
    }
}

async fn serve(address: &str, root: &str, behind: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    say!("listening on {}", listener.local_addr()?);
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                eprintln!("accept: {error}");
                continue;
            }
        };
        let (root, behind) = (PathBuf::from(root), behind.to_owned());
        tokio::spawn(async move {
            match answer(socket, &root, &behind).await {
                Ok(line) => say!("{line}"),
                Err(error) => say!("gave up: {error}"),
            }
        });
    }
}

async fn answer(mut socket: TcpStream, root: &Path, behind: &str) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES || socket.read_buf(&mut head).await? == 0 {
            return Ok("no request".to_owned());
        }
    }
    let line = String::from_utf8_lossy(&head);
    let target = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    let path = below(root, target);
    let file = match path {
        Some(path) => File::open(path).await.ok(),
        None => None,
    };
    let size = match &file {
        Some(file) => Some(file.metadata().await?).filter(std::fs::Metadata::is_file),
        None => None,
    };
    if let (Some(mut file), Some(size)) = (file, size) {
        let size = size.len();
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {size}\r\n\r\n");
        socket.write_all(head.as_bytes()).await?;
        let outcome = copy_range(&mut file, 0, size, &mut socket, Stability::Shared).await?;
        socket.shutdown().await?;
        return Ok(format!("a file: {outcome}"));
    }
    let mut server = TcpStream::connect(behind).await?;
    server.write_all(&head).await?;
    let (there, back) = copy_bidirectional(&mut socket, &mut server, Stability::Shared).await?;
    Ok(format!("to the server: {there}; to the client: {back}"))
}

/// The file below `root` that is asked for, if the path stays below it.
fn below(root: &Path, target: &str) -> Option<PathBuf> {
    let target = Path::new(target.trim_start_matches('/'));
    let is_plain = target
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    is_plain.then(|| root.join(target))
}
