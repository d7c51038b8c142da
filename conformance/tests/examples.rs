//! The crates' examples as programs: what their first lines promise, over loopback. Needs cargo, so it is for the host only.

#[cfg(test)]
mod host_only {
    use std::fs;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStdout, Command, Stdio};
    use std::thread;

    /// Builds an example of a crate (a no-op in most runs) and returns its path.
    fn example(package: &str, name: &str) -> PathBuf {
        // Beside the program under test, which is of the same profile and target directory.
        let program = Path::new(env!("CARGO_BIN_EXE_conformance"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", package, "--example", name]);
        if program
            .parent()
            .is_some_and(|directory| directory.ends_with("release"))
        {
            cargo.arg("--release");
        }
        let built = cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo starts");
        assert!(built.success());
        program.with_file_name("examples").join(name)
    }

    /// A running example; ends with the test.
    struct Server {
        child: Child,
        address: SocketAddr,
        _output: BufReader<ChildStdout>,
    }

    impl Server {
        /// Starts one that says `listening on ADDRESS` first.
        fn start(program: &Path, arguments: &[&str]) -> Self {
            let mut command = Command::new(program);
            command
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let mut child = command.spawn().expect("the example starts");
            let mut output = BufReader::new(child.stdout.take().expect("piped"));
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            let address = line
                .trim()
                .strip_prefix("listening on ")
                .expect("the address")
                .parse()
                .expect("an address");
            Self {
                child,
                address,
                _output: output,
            }
        }

        fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).expect("the server accepts")
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Bytes that no shorter pattern repeats.
    fn content(length: usize) -> Vec<u8> {
        conformance::lab::pattern(length)
    }

    /// Status line and body of a request for `target`.
    fn get(server: &Server, target: &str) -> (String, Vec<u8>) {
        let mut socket = server.connect();
        write!(socket, "GET {target} HTTP/1.1\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("an answer");
        let end = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).expect("text");
        (
            head.lines().next().unwrap_or_default().to_owned(),
            answer[end + 4..].to_vec(),
        )
    }

    #[test]
    fn file_server_serves_files_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        fs::create_dir(&root).expect("mkdir");
        fs::write(directory.path().join("secret"), "secret").expect("write");
        fs::write(root.join("large"), content(5 << 20)).expect("write");
        fs::write(root.join("empty"), "").expect("write");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", root.to_str().expect("UTF-8")],
        );
        assert_eq!(
            get(&server, "/large"),
            ("HTTP/1.1 200 OK".into(), content(5 << 20))
        );
        assert_eq!(get(&server, "/empty"), ("HTTP/1.1 200 OK".into(), vec![]));
        for target in ["/none", "/../secret", "/", "/large/../../secret"] {
            assert_eq!(get(&server, target).0, "HTTP/1.1 404 Not Found", "{target}");
        }
    }

    #[test]
    fn file_server_survives_slow_and_vanishing_clients() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("large"), content(16 << 20)).expect("write");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", directory.path().to_str().expect("UTF-8")],
        );
        // Eight clients ask and read nothing: the server is stuck in each of them.
        let mut slow: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
        for socket in &mut slow {
            socket
                .write_all(b"GET /large HTTP/1.1\r\n\r\n")
                .expect("a request");
            let mut first = [0; 1];
            socket.read_exact(&mut first).expect("the answer has begun");
        }
        // Others vanish with the answer unread, which resets the connection.
        for _ in 0..8 {
            let mut socket = server.connect();
            socket
                .write_all(b"GET /large HTTP/1.1\r\n\r\n")
                .expect("a request");
            let mut first = [0; 1];
            socket.read_exact(&mut first).expect("the answer has begun");
        }
        assert_eq!(get(&server, "/large").1, content(16 << 20));
        drop(slow);
        assert_eq!(get(&server, "/large").1, content(16 << 20));
    }

    #[test]
    fn tcp_proxy_passes_both_ways_and_copies_what_clients_send() {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = directory.path().join("copy");
        let target = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = target.local_addr().expect("bound").to_string();
        // The target answers when it has read all: the way back is used after the way there has ended.
        let answers = thread::spawn(move || {
            let (mut socket, _) = target.accept().expect("accept");
            let mut request = Vec::new();
            socket
                .read_to_end(&mut request)
                .expect("the client's bytes");
            request.reverse();
            socket.write_all(&request).expect("an answer");
        });
        let server = Server::start(
            &example("nocopy-splice", "tcp_proxy"),
            &["127.0.0.1:0", &address, copy.to_str().expect("UTF-8")],
        );
        let sent = content(3 << 20);
        let mut client = server.connect();
        client.write_all(&sent).expect("send");
        client.shutdown(Shutdown::Write).expect("half close");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the answer");
        answers.join().expect("the target is content");
        answer.reverse();
        assert!(answer == sent, "the answer is not what was sent");
        drop(server);
        assert!(
            fs::read(copy).expect("the copy") == sent,
            "the copy is not what was sent"
        );
    }

    #[test]
    fn mmap_send_sends_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, content(1_234_567)).expect("write");
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("bound").to_string();
        let receiver = thread::spawn(move || {
            let mut received = Vec::new();
            listener
                .accept()
                .expect("accept")
                .0
                .read_to_end(&mut received)
                .expect("the file");
            received
        });
        let status = Command::new(example("nocopy-mmap", "mmap_send"))
            .arg(&path)
            .arg(address)
            .stdout(Stdio::null())
            .status()
            .expect("the example starts");
        assert!(status.success());
        assert!(
            receiver.join().expect("received") == content(1_234_567),
            "other bytes arrived"
        );
    }

    #[test]
    fn bulk_sender_says_that_loopback_copies() {
        let output = Command::new(example("nocopy-msg-zerocopy", "bulk_sender"))
            .output()
            .expect("the example starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("not copied: 0 of "), "{said}");
    }

    /// One line that says how to call it, and exit status 2.
    #[test]
    fn without_arguments_they_say_how_to_call_them() {
        for (package, name) in [
            ("nocopy-sendfile", "file_server"),
            ("nocopy-splice", "tcp_proxy"),
            ("nocopy-mmap", "mmap_send"),
        ] {
            let output = Command::new(example(package, name))
                .output()
                .expect("the example starts");
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{name}: {complaint}");
            assert!(
                complaint.starts_with("usage: ") && complaint.lines().count() == 1,
                "{name}: {complaint}"
            );
        }
    }
}
