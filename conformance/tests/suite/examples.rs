//! The crates' examples as programs: what their first lines promise, over loopback. Needs cargo, so it is for the host only.

#[cfg(test)]
mod host_only {
    use std::fs;
    use std::io::{self, BufRead, BufReader, Read, Write};
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
        if package == "nocopy-transfer" {
            cargo.arg("--all-features");
        }
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

    /// A name for which an ordinary open would wait, as long as nobody opens its other end.
    fn fifo(directory: &Path) -> PathBuf {
        let path = directory.join("fifo");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        path
    }

    /// Status line, `Content-Range` and body of a request for a part.
    fn get_part(server: &Server, target: &str, range: &str) -> (String, Option<String>, Vec<u8>) {
        let mut socket = server.connect();
        write!(socket, "GET {target} HTTP/1.1\r\nrAnge: {range}\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).expect("text");
        let about = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Range: "));
        let status = head.lines().next().unwrap_or_default();
        let status = status.trim_start_matches("HTTP/1.1 ").to_owned();
        (status, about.map(str::to_owned), answer[end + 4..].to_vec())
    }

    #[test]
    fn file_server_serves_the_parts_that_are_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let all = content(3 << 20);
        fs::write(directory.path().join("large"), &all).expect("write");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", directory.path().to_str().expect("UTF-8")],
        );
        let size = all.len();
        for (range, bytes) in [
            ("bytes=0-0", 0..1),
            ("bytes=100-199", 100..200),
            ("bytes=1048577-", (1 << 20) + 1..size),
            ("bytes=-5", size - 5..size),
            ("bytes=0-18446744073709551615", 0..size),
        ] {
            let (status, about, body) = get_part(&server, "/large", range);
            let wanted = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
            assert_eq!(
                (status.as_str(), about),
                ("206 Partial Content", Some(wanted)),
                "{range}"
            );
            assert!(body == all[bytes], "{range}");
        }
        for range in ["bytes=3145728-", "bytes=-0", "bytes=18446744073709551615-"] {
            let (status, about, body) = get_part(&server, "/large", range);
            assert_eq!(status, "416 Range Not Satisfiable", "{range}");
            assert_eq!(
                (about, body.len()),
                (Some(format!("bytes */{size}")), 0),
                "{range}"
            );
        }
        for range in [
            "bytes=5-2",
            "bytes=-",
            "bytes=0-1,4-5",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=x-2",
        ] {
            let (status, about, body) = get_part(&server, "/large", range);
            assert_eq!(
                (status.as_str(), about, body.len()),
                ("200 OK", None, size),
                "{range}"
            );
        }
    }

    #[test]
    fn file_server_does_not_wait_for_a_fifo() {
        let directory = tempfile::tempdir().expect("a directory");
        fifo(directory.path());
        let root = directory.path().to_str().expect("UTF-8");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", root],
        );
        assert_eq!(get(&server, "/fifo").0, "HTTP/1.1 404 Not Found");
    }

    #[test]
    fn file_server_refuses_a_head_that_is_too_long() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), content(100)).expect("write");
        let root = directory.path().to_str().expect("UTF-8");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", root],
        );
        let long = format!("/file HTTP/1.1\r\nX: {}", "x".repeat(20_000));
        assert_eq!(
            get(&server, &long).0,
            "HTTP/1.1 431 Request Header Fields Too Large"
        );
        // Its end falls into the last byte that is read, and after it.
        for (length, expected) in [
            (8192, "200 OK"),
            (8193, "431 Request Header Fields Too Large"),
        ] {
            let rest = "GET /file HTTP/1.1\r\nX: \r\n\r\n HTTP/1.1".len();
            let long = format!("/file HTTP/1.1\r\nX: {}", "x".repeat(length - rest));
            let asked = format!("GET {long} HTTP/1.1\r\n\r\n");
            assert_eq!(asked.len(), length);
            assert_eq!(
                get(&server, &long).0,
                format!("HTTP/1.1 {expected}"),
                "{length}"
            );
        }
    }

    /// What the server reports as sent reaches a client that has sent more than its head.
    #[test]
    fn file_server_does_not_reset_what_it_has_sent() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("large"), content(8 << 20)).expect("write");
        let root = directory.path().to_str().expect("UTF-8");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", root],
        );
        let mut socket = server.connect();
        let body = vec![b'x'; 20_000];
        let request = [b"GET /large HTTP/1.1\r\n\r\n", &body[..]].concat();
        socket.write_all(&request).expect("a request");
        // The server has sent all that the sockets take, and only then is it read.
        thread::sleep(std::time::Duration::from_millis(100));
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("all of the answer");
        assert!(
            answer.ends_with(&content(8 << 20)),
            "{} bytes",
            answer.len()
        );
    }

    /// Head and body are one segment.
    #[test]
    fn file_server_sends_a_small_answer_as_one_segment() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("small"), content(100)).expect("write");
        let root = directory.path().to_str().expect("UTF-8");
        let server = Server::start(
            &example("nocopy-sendfile", "file_server"),
            &["127.0.0.1:0", root],
        );
        let mut socket = server.connect();
        socket
            .write_all(b"GET /small HTTP/1.1\r\n\r\n")
            .expect("a request");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("an answer");
        assert!(answer.ends_with(&content(100)));
        assert_eq!(data_segments_in(&socket), 1);
    }

    /// `tcpi_data_segs_in` of `TCP_INFO`: at byte 152 of its structure (linux/tcp.h).
    fn data_segments_in(socket: &TcpStream) -> u32 {
        use std::os::fd::AsRawFd;
        let mut info = [0_u32; 64];
        let mut length = libc::socklen_t::try_from(size_of_val(&info)).expect("small");
        // SAFETY: the kernel writes at most `length` bytes to `info`, and their number to `length`, during the call.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        assert!(done == 0 && length >= 156, "TCP_INFO has {length} bytes");
        info[152 / 4]
    }

    /// One thread, and clients of every pace: those that read get everything, whatever the others do.
    #[test]
    fn serve_file_serves_fast_and_slow_clients_from_one_thread() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, content(16 << 20)).expect("write");
        let server = Server::start(
            &example("nocopy-transfer", "serve_file"),
            &["127.0.0.1:0", file.to_str().expect("UTF-8")],
        );
        let stalled: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
        drop(server.connect());
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let mut socket = server.connect();
                thread::spawn(move || {
                    let mut bytes = Vec::new();
                    socket.read_to_end(&mut bytes).map(|_| bytes)
                })
            })
            .collect();
        for reader in readers {
            let bytes = reader.join().expect("the reader").expect("bytes");
            assert!(bytes == content(16 << 20));
        }
        for mut socket in stalled {
            let mut bytes = Vec::new();
            socket.read_to_end(&mut bytes).expect("bytes");
            assert!(bytes == content(16 << 20));
        }
    }

    /// The target answers when it has read all: the way back is used after the way there has ended.
    #[test]
    fn proxy_passes_both_ways() {
        let target = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = target.local_addr().expect("bound").to_string();
        let answers = thread::spawn(move || {
            let (mut socket, _) = target.accept().expect("accept");
            let mut request = Vec::new();
            socket.read_to_end(&mut request).expect("bytes");
            request.reverse();
            socket.write_all(&request).expect("an answer");
        });
        let server = Server::start(
            &example("nocopy-transfer", "proxy"),
            &["127.0.0.1:0", &address],
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
    }

    #[test]
    fn tokio_server_serves_files_and_proxies_the_rest() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        fs::create_dir(&root).expect("mkdir");
        fs::write(root.join("large"), content(5 << 20)).expect("write");
        fs::write(directory.path().join("secret"), "secret").expect("write");
        let behind = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = behind.local_addr().expect("bound").to_string();
        let server = Server::start(
            &example("nocopy-transfer", "tokio_server"),
            &["127.0.0.1:0", root.to_str().expect("UTF-8"), &address],
        );
        let (status, body) = get(&server, "/large");
        assert_eq!(status, "HTTP/1.0 200 OK");
        assert!(body == content(5 << 20));
        for target in ["/none", "/../secret"] {
            let asked = thread::scope(|scope| {
                let asked = scope.spawn(|| get(&server, target));
                let (mut socket, _) = behind.accept().expect("it is proxied");
                let mut request = [0; 4096];
                let count = socket.read(&mut request).expect("a request");
                assert!(String::from_utf8_lossy(&request[..count]).contains(target));
                let answer = [
                    b"HTTP/1.0 200 Proxied\r\n\r\n".as_slice(),
                    &content(300_000),
                ]
                .concat();
                socket.write_all(&answer).expect("an answer");
                drop(socket);
                asked.join().expect("the client")
            });
            assert_eq!(asked.0, "HTTP/1.0 200 Proxied");
            assert!(asked.1 == content(300_000));
        }
    }

    /// An urgent byte ends nothing: it is passed on, and so is what follows.
    #[test]
    fn tcp_proxy_goes_on_after_an_urgent_byte() {
        use std::os::fd::AsRawFd;
        let target = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = target.local_addr().expect("bound").to_string();
        let server = Server::start(
            &example("nocopy-splice", "tcp_proxy"),
            &["127.0.0.1:0", &address],
        );
        let mut client = server.connect();
        let (mut peer, _) = target.accept().expect("accept");
        let mut expect = |text: &[u8]| {
            let mut bytes = vec![0; text.len()];
            peer.read_exact(&mut bytes).expect("what was sent");
            assert_eq!(bytes, text);
        };
        client.write_all(b"before").expect("send");
        expect(b"before");
        for round in [b"after", b"again"] {
            // SAFETY: the kernel reads one byte, during the call.
            let sent =
                unsafe { libc::send(client.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!(sent, 1);
            // The proxy is at the mark, and nothing follows yet.
            thread::sleep(std::time::Duration::from_millis(50));
            client.write_all(round).expect("the proxy is there");
            expect(round);
        }
        // Urgent as the last byte: then the end comes.
        // SAFETY: as above.
        let sent =
            unsafe { libc::send(client.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        client.shutdown(Shutdown::Write).expect("half close");
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).expect("the end");
        assert!(rest.is_empty(), "{rest:?}");
        peer.write_all(b"reply").expect("the way back is open");
        drop(peer);
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).expect("the reply");
        assert_eq!(reply, b"reply");
    }

    #[test]
    fn mmap_send_does_not_wait_for_a_fifo() {
        let directory = tempfile::tempdir().expect("a directory");
        let output = Command::new(example("nocopy-mmap", "mmap_send"))
            .arg(fifo(directory.path()))
            .arg("127.0.0.1:9")
            .output()
            .expect("the example starts");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains("not a regular file"), "{complaint}");
    }

    /// What a child has printed by its end. One that does not end is killed after a minute, far beyond every limit of its own.
    fn ended(child: Child) -> std::process::Output {
        let pid = child.id().cast_signed();
        let (done, waits) = std::sync::mpsc::channel::<()>();
        let guard = thread::spawn(move || {
            if waits
                .recv_timeout(std::time::Duration::from_mins(1))
                .is_err()
            {
                // SAFETY: signals a child that has not been waited for.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        });
        let output = child.wait_with_output().expect("a child");
        let _ = done.send(());
        guard.join().expect("the guard");
        output
    }

    /// A peer that closes its half and reads no more is given up, and not waited for at full speed.
    #[test]
    fn bulk_sender_gives_up_a_peer_that_has_closed_its_half() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("bound").to_string();
        let peer = thread::spawn(move || {
            let (socket, _) = listener.accept().expect("accept");
            socket.shutdown(Shutdown::Write).expect("half close");
            socket
        });
        let child = Command::new(example("nocopy-msg-zerocopy", "bulk_sender"))
            // Less than the socket takes: all is sent, and not all is acknowledged.
            .args([address.as_str(), "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let _socket = peer.join().expect("the peer");
        let output = ended(child);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(
            complaint.contains("nothing was sent or completed within the limit"),
            "{complaint}"
        );
    }

    /// One that never reads is given up after a while, and the memory comes back; one that resets is at once.
    #[test]
    fn bulk_sender_gets_its_memory_back_from_a_peer_that_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("bound").to_string();
        for resets in [true, false] {
            let child = Command::new(example("nocopy-msg-zerocopy", "bulk_sender"))
                .args([address.as_str(), "64"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the example starts");
            let (mut socket, _) = listener.accept().expect("accept");
            socket.read_exact(&mut [0; 1]).expect("it sends");
            let mut silent = Some(socket);
            if resets {
                // With unread bytes the close is a reset.
                silent = None;
            }
            let output = ended(child);
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{complaint}");
            if resets {
                assert!(
                    complaint.contains("reset") || complaint.contains("Broken pipe"),
                    "{complaint}"
                );
            } else {
                assert!(
                    complaint.contains("memory still in flight: 0"),
                    "{complaint}"
                );
                assert!(complaint.contains("within the limit"), "{complaint}");
            }
            drop(silent);
        }
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

    /// Its tests in the crate are of its functions; these are of the program.
    #[test]
    fn copy_file_copies_and_reports_how() {
        let directory = tempfile::tempdir().expect("a directory");
        let [source, target] = ["source", "target"].map(|name| directory.path().join(name));
        fs::write(&source, content(1_234_567)).expect("write");
        fs::write(&target, "old").expect("write");
        let program = example("nocopy-copy-file-range", "copy_file");
        let copy = |source: &Path| {
            let output = Command::new(&program)
                .arg(source)
                .arg(&target)
                .output()
                .expect("the example starts");
            let said =
                [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("UTF-8"));
            (output.status.code(), said.concat())
        };
        let (status, said) = copy(&source);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("1234567 "), "{said}");
        assert!(said.ends_with(", 0 read and written\n"), "{said}");
        assert!(fs::read(&target).expect("read") == content(1_234_567));
        let (status, said) = copy(Path::new("/proc/version"));
        assert_eq!(status, Some(0), "{said}");
        let version = fs::read("/proc/version").expect("read");
        assert_eq!(fs::read(&target).expect("read"), version);
        let by_hand = format!(
            "0 bytes shared, 0 copied, {} read and written\n",
            version.len()
        );
        assert_eq!(said, by_hand);
        let (status, said) = copy(&fifo(directory.path()));
        assert_eq!(status, Some(2), "{said}");
        assert!(
            said.ends_with(": the source is a FIFO, not a regular file\n"),
            "{said}"
        );
        assert_eq!(fs::read(&target).expect("read"), version);
    }

    /// Of four peers at once, one never reads and one goes away: the others get all, and the memory comes back from each.
    #[test]
    fn broadcaster_serves_the_others_while_a_peer_stalls_or_resets() {
        let mut child = Command::new(example("nocopy-msg-zerocopy", "broadcaster"))
            .args(["127.0.0.1:0", "64"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || said.next().expect("a line").expect("readable");
        let address = line().replace("listening on ", "");
        let connect = || TcpStream::connect(&address).expect("connect");

        let mut silent = connect();
        silent.read_exact(&mut [0; 1]).expect("it sends");
        let mut gone = connect();
        gone.read_exact(&mut [0; 1]).expect("it sends");
        let names = [&silent, &gone].map(|socket| socket.local_addr().expect("bound"));
        drop(gone);
        let readers = [false, true].map(|half_closes| {
            let mut socket = connect();
            if half_closes {
                socket.shutdown(Shutdown::Write).expect("half close");
            }
            thread::spawn(move || {
                let name = socket.local_addr().expect("bound");
                let got = io::copy(&mut socket, &mut io::sink()).expect("read");
                (name, got)
            })
        });
        let mut expected = readers.map(|reader| {
            let (name, got) = reader.join().expect("no panic");
            assert_eq!(got, 64_000_000);
            format!("{name}: all 64000000 bytes are acknowledged")
        });
        let mut told: Vec<String> = (0..4).map(|_| line()).collect();
        child.kill().expect("ours");
        child.wait().expect("a child");
        drop(silent);

        told.sort_by_key(|line| line.contains("given up"));
        let given_up = told.split_off(2);
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
        for (name, why) in names.iter().zip(["within the limit", "reset"]) {
            let named = |line: &&String| line.starts_with(&format!("{name}: "));
            let line = given_up.iter().find(named).expect("it is told");
            assert!(
                line.contains(why) || (why == "reset" && line.contains("Broken pipe")),
                "{line}"
            );
            assert!(line.ends_with("memory still in flight: 0"), "{line}");
        }
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

    /// A receiver that takes one connection; ends with the test.
    struct Receiver(Option<Child>, BufReader<ChildStdout>);

    impl Receiver {
        /// Starts one, and connects to it.
        fn start(file: Option<&Path>) -> (Self, TcpStream) {
            let mut command = Command::new(example("nocopy-tcp-zerocopy-receive", "receiver"));
            command.arg("127.0.0.1:0").args(file);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("the example starts");
            let output = BufReader::new(child.stdout.take().expect("piped"));
            let mut receiver = Self(Some(child), output);
            let mut line = String::new();
            receiver.1.read_line(&mut line).expect("a line");
            let address = line.trim().strip_prefix("listening on ");
            let socket = TcpStream::connect(address.expect("the address")).expect("connect");
            // Far beyond every limit of its own.
            let limit = Some(std::time::Duration::from_mins(1));
            socket.set_read_timeout(limit).expect("SO_RCVTIMEO");
            socket.set_write_timeout(limit).expect("SO_SNDTIMEO");
            (receiver, socket)
        }

        /// Its exit status, and what it has printed.
        fn end(mut self) -> (Option<i32>, String) {
            let ended = ended(self.0.take().expect("running"));
            let mut said = String::from_utf8_lossy(&ended.stderr).into_owned();
            self.1.read_to_string(&mut said).expect("the rest");
            (ended.status.code(), said)
        }
    }

    impl Drop for Receiver {
        fn drop(&mut self) {
            if let Some(mut child) = self.0.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    /// The numbers of a line of the receiver: bytes received, and bytes not mapped.
    fn tally(line: &str) -> (u64, u64) {
        let number = |before: &str| {
            let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{line}"));
            let digits = rest.split(|it: char| !it.is_ascii_digit()).next();
            digits
                .and_then(|digits| digits.parse().ok())
                .expect("a number")
        };
        (number("received "), number("not mapped: "))
    }

    #[test]
    fn receiver_maps_what_was_sent_by_reference_and_says_how_much_not() {
        let output = Command::new(example("nocopy-tcp-zerocopy-receive", "receiver"))
            .output()
            .expect("the example starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        let (received, not_mapped) = tally(lines[0]);
        assert!(lines[0].starts_with("MSG_ZEROCOPY: "), "{said}");
        assert_eq!(received, 16 << 20);
        assert!(not_mapped < received / 2, "{said}");
        let (received, not_mapped) = tally(lines[1]);
        assert!(lines[1].starts_with("sendfile: "), "{said}");
        assert_eq!(received, 16 << 20);
        assert!(not_mapped <= received, "{said}");
    }

    /// Whole pages, odd pieces and an urgent byte: all but the last is in the file, in order.
    #[test]
    fn receiver_writes_the_stream_to_a_file_and_sees_a_half_close() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        let (receiver, mut socket) = Receiver::start(Some(&file));
        let sent = content(5_000_001);
        let (before, after) = sent.split_at(1_234_567);
        socket.write_all(before).expect("send");
        // SAFETY: the kernel reads one byte during the call.
        let urgent =
            unsafe { libc::send(socket.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(urgent, 1);
        socket.write_all(after).expect("send");
        socket.shutdown(Shutdown::Write).expect("half close");
        // It closes its end, although ours is still open for reading.
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).expect("the end");
        assert!(rest.is_empty());
        let (code, said) = receiver.end();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(tally(&said).0, 5_000_001, "{said}");
        assert!(
            fs::read(file).expect("the file") == sent,
            "other bytes arrived"
        );
    }

    /// A page that is spliced by reference reaches the file from the mapping.
    #[test]
    fn receiver_writes_mapped_pages_to_a_file() {
        use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, splice};
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        let (receiver, mut socket) = Receiver::start(Some(&file));
        let sent = content(64 << 10);
        // What is written to a pipe has pages of its own. Few at a time, so that a segment has whole ones.
        for piece in sent.chunks(16 << 10) {
            let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe2");
            let mut write = fs::File::from(std::os::fd::OwnedFd::from(pipe.write));
            write.write_all(piece).expect("write");
            let moved = splice(
                &pipe.read,
                None,
                &socket,
                None,
                piece.len(),
                SpliceFlags::empty(),
            );
            assert_eq!(moved, Ok(piece.len()));
        }
        socket.write_all(b"tail").expect("send");
        drop(socket);
        let (code, said) = receiver.end();
        assert_eq!(code, Some(0), "{said}");
        let (received, not_mapped) = tally(&said);
        assert_eq!(received, (64 << 10) + 4, "{said}");
        assert!(not_mapped < received, "nothing was mapped: {said}");
        let expected = [&sent[..], b"tail"].concat();
        assert!(
            fs::read(file).expect("the file") == expected,
            "other bytes arrived"
        );
    }

    /// A file that is there is not touched, whatever else is wrong.
    #[test]
    fn receiver_overwrites_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "kept").expect("write");
        for address in ["bogus", "127.0.0.1:x", "192.0.2.1:0", "127.0.0.1:0"] {
            let output = Command::new(example("nocopy-tcp-zerocopy-receive", "receiver"))
                .arg(address)
                .arg(&file)
                .output()
                .expect("the example starts");
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{complaint}");
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
            let what = if address == "127.0.0.1:0" {
                "/file: "
            } else {
                address
            };
            assert!(complaint.contains(what), "{complaint}");
        }
        assert_eq!(fs::read(&file).expect("read"), b"kept");
    }

    #[test]
    fn receiver_gives_up_a_peer_that_stalls() {
        let (receiver, mut socket) = Receiver::start(None);
        socket.write_all(&content(10_000)).expect("send");
        let (code, said) = receiver.end();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("the peer is too slow"), "{said}");
        drop(socket);
    }

    #[test]
    fn receiver_reports_a_peer_that_is_killed() {
        use std::os::fd::AsRawFd;
        let (receiver, mut socket) = Receiver::start(None);
        socket.write_all(&content(10_000)).expect("send");
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let size = libc::socklen_t::try_from(size_of_val(&linger)).expect("8");
        // SAFETY: the kernel reads a `linger` during the call.
        let done = unsafe {
            let linger = (&raw const linger).cast();
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                linger,
                size,
            )
        };
        assert_eq!(done, 0);
        drop(socket);
        let (code, said) = receiver.end();
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("ECONNRESET") || said.contains("reset"),
            "{said}"
        );
    }

    /// Neither a word that is not UTF-8 nor an output that takes nothing is a reason to panic.
    #[test]
    fn they_do_not_panic() {
        use std::os::unix::ffi::OsStrExt;
        for (package, name) in [
            ("nocopy-sendfile", "file_server"),
            ("nocopy-splice", "tcp_proxy"),
            ("nocopy-mmap", "mmap_send"),
            ("nocopy-msg-zerocopy", "bulk_sender"),
            ("nocopy-msg-zerocopy", "broadcaster"),
            ("nocopy-msg-zerocopy", "capture"),
            ("nocopy-copy-file-range", "copy_file"),
            ("nocopy-tcp-zerocopy-receive", "receiver"),
            ("nocopy-transfer", "serve_file"),
            ("nocopy-transfer", "proxy"),
            ("nocopy-transfer", "tokio_server"),
        ] {
            let odd = std::ffi::OsStr::from_bytes(b"\xff");
            for arguments in [vec![], vec![odd], vec![odd, odd]] {
                let full = fs::File::options().write(true).open("/dev/full");
                let child = Command::new(example(package, name))
                    .args(&arguments)
                    .stdout(full.expect("/dev/full"))
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("the example starts");
                let output = ended(child);
                let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!complaint.contains("panicked"), "{name}: {complaint}");
                assert_ne!(output.status.code(), Some(101), "{name}: {complaint}");
            }
        }
    }

    /// One line that says how to call it, and exit status 2.
    #[test]
    fn without_arguments_they_say_how_to_call_them() {
        for (package, name) in [
            ("nocopy-sendfile", "file_server"),
            ("nocopy-splice", "tcp_proxy"),
            ("nocopy-mmap", "mmap_send"),
            ("nocopy-copy-file-range", "copy_file"),
            ("nocopy-transfer", "serve_file"),
            ("nocopy-transfer", "proxy"),
            ("nocopy-transfer", "tokio_server"),
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
