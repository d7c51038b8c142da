//! Sends files over TLS whose records the kernel makes, and prints what became of them. Ends with 0 if every byte was the right one.
//!
//! The client is rustls in a thread: what it reads was encrypted by the kernel and is decrypted by another implementation.

use ktls::CorkStream;
use nocopy_transfer::tokio::{copy_range, drive};
use nocopy_transfer::{Ended, Outcome, Request, Stability};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use rustls::{SupportedProtocolVersion, version};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// More than one pipe, and no multiple of a record.
const LENGTH: usize = (5 << 20) + 4711;
/// This fits into the buffers of the sockets before the client reads.
const LITTLE: usize = 40_000;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn pattern(length: usize) -> Vec<u8> {
    let words = (0..length as u64).step_by(8);
    let mut bytes: Vec<_> = words
        .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

/// Reads so many bytes, once it is told to.
fn client(config: Arc<ClientConfig>, to: SocketAddr, go: &Receiver<usize>) -> io::Result<Vec<u8>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let socket = std::net::TcpStream::connect(to)?;
    let mut stream = StreamOwned::new(connection, socket);
    // One byte, so that the handshake is done.
    stream.write_all(b"?")?;
    stream.flush()?;
    let mut all = Vec::new();
    while let Ok(length) = go.recv() {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes)?;
        all.extend(bytes);
    }
    Ok(all)
}

/// The handshake, and then the socket of which the kernel makes the records.
async fn accept(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
) -> Result<ktls::KtlsStream<TcpStream>, Failed> {
    let (socket, _) = listener.accept().await?;
    let stream = acceptor.accept(CorkStream::new(socket)).await?;
    Ok(ktls::config_ktls_server(stream).await?)
}

fn file(content: &[u8]) -> io::Result<(std::fs::File, File)> {
    let mut path = std::env::temp_dir();
    path.push(format!("nocopy-ktls-{}", std::process::id()));
    let mut options = std::fs::File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(content)?;
    Ok((file.try_clone()?, File::from_std(file)))
}

fn whole(outcome: &Outcome, length: usize, what: &str) {
    println!("  {what}: {outcome}");
    assert_eq!(
        (outcome.ended, outcome.bytes),
        (Ended::Complete, length as u64),
        "{what}"
    );
}

/// Everything by each stability, and a change right after the call.
async fn serve(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    content: &[u8],
    told: Sender<usize>,
) -> Result<(), Failed> {
    use std::os::unix::fs::FileExt;
    let mut stream = accept(listener, acceptor).await?;
    stream.read_exact(&mut [0]).await?;
    for stability in [Stability::Shared, Stability::Snapshot] {
        let (_, file) = file(content)?;
        let length = content.len() as u64;
        told.send(content.len())?;
        let request = Request::new(stability).range(0, length);
        let mut transfer = request.begin(&file, stream.get_ref())?;
        drive(&mut transfer).await?;
        let outcome = transfer.end()?;
        whole(&outcome, content.len(), &format!("{stability:?}"));
        // The kernel encrypts, so it copies, whatever was asked for.
        assert!(!outcome.is_shared(), "{outcome}");
    }
    // The client reads only after the file has changed: it gets what the file was.
    let (changed, mut file) = file(&content[..LITTLE])?;
    let mut socket = stream.into_raw().1;
    let sent = copy_range(
        &mut file,
        0,
        LITTLE as u64,
        &mut socket,
        Stability::Snapshot,
    )
    .await?;
    whole(&sent, LITTLE, "changed afterwards");
    changed.write_all_at(&vec![0xFF; LITTLE], 0)?;
    told.send(LITTLE)?;
    // Not before the client has read: closing with bytes to come would be a reset.
    drop(told);
    let end = socket.read(&mut [0]).await?;
    assert_eq!(end, 0, "the client has nothing to say");
    Ok(())
}

fn with(version: &'static SupportedProtocolVersion) -> Result<(), Failed> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut server = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    server.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let client_config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let content = pattern(LENGTH);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (told, go) = channel();
        let reader = thread::spawn(move || client(Arc::new(client_config), address, &go));
        serve(
            &listener,
            &TlsAcceptor::from(Arc::new(server)),
            &content,
            told,
        )
        .await?;
        let came = reader.join().expect("the client")?;
        let mut expected = content.repeat(2);
        expected.extend(&content[..LITTLE]);
        assert!(
            came == expected,
            "{} bytes of {} came, or others",
            came.len(),
            expected.len()
        );
        Ok(())
    })
}

fn main() -> Result<(), Failed> {
    for (name, version) in [("TLS 1.2", &version::TLS12), ("TLS 1.3", &version::TLS13)] {
        println!("{name}");
        with(version)?;
    }
    println!("every byte came, by both versions");
    Ok(())
}
