claim("tee.input.left", "tee() leaves its input in the pipe: it can be duplicated again.")
    .published(&[man("tee(2)", "DESCRIPTION")])
    .about(&[Sysno::tee])
    // A kernel that contradicts it, as data: what is read is not what was written, or tee() is refused.
    .turned_by(&[Lie::about(Sysno::read, What::Garbled), Lie::refused(Sysno::tee, libc::EINVAL)])
    .tried(|_lab, see| {
        let from = filled(b"bytes")?;
        for copy in ["first", "second"] {
            let to = pipe()?;
            let teed = io::again(|| tee(&from.read, &to.write, 5, SpliceFlags::NONBLOCK));
            see.call(format!("{copy} tee(pipe, other pipe, 5)"), teed).at_least(1); // a short count is no refutation
            see.holds(&format!("{copy} copy"), &to.read, &b"bytes"[..teed.unwrap_or(0)])?.says(AS_SENT);
        }
        see.holds("the input", &from.read, b"bytes")?.says(AS_SENT);
        Ok(())
    })
