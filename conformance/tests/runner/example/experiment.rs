fn tee_input_left(_lab: &Lab) -> Result<Observation, Stop> {
    let first = aside(|| pipe2(PipeFlags::CLOEXEC)).setup("make a pipe")?;
    let second = aside(|| pipe2(PipeFlags::CLOEXEC)).setup("make a pipe")?;
    aside(|| io::write_all(&first.write, b"bytes")).setup("write to a pipe")?;
    let mut seen = Observation::new();
    seen.call(
        "tee(pipe, other pipe)",
        tee(&first.read, &second.write, 5, SpliceFlags::empty()),
    );
    seen.count("bytes in the first pipe", sockets::readable(&first.read)? as u64);
    seen.count("bytes in the second pipe", sockets::readable(&second.read)? as u64);
    Ok(seen)
}
