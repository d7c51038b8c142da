//! The program's own test.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

fn main() {
    let path = std::env::temp_dir().join("somebodys-file");
    let content: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    File::create(&path).and_then(|mut file| file.write_all(&content)).expect("a file");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    let (mut far, _) = listener.accept().expect("a connection");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).map(|_| bytes)
    });
    let file = File::open(&path).expect("the file");
    somebodys_server::send(&file, &near, content.len()).expect("sent");
    drop(near);
    assert!(reader.join().expect("no panic").expect("read") == content, "other bytes came");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    println!("sendfile(2) on Linux {}: {} bytes sent", release.trim(), content.len());
}
