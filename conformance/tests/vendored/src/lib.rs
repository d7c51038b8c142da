//! Sends a file with the vendored crate.

use std::fs::File;
use std::io;
use std::net::TcpStream;

/// Sends the first `length` bytes of a file.
pub fn send(file: &File, socket: &TcpStream, length: usize) -> io::Result<()> {
    let mut offset = 0;
    while offset < length as u64 {
        let rest = length - usize::try_from(offset).map_err(io::Error::other)?;
        if nocopy_sendfile::sendfile(socket, file, Some(&mut offset), rest)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
