Claim {
    statement: "tee() leaves its input in the pipe.", // as the source asserts it: a false one is refuted
    method: "Tees five bytes into another pipe and counts both.",
    sources: &[Source::Man("tee(2), man-pages 6.20")],
    finds: always(true), // what was measured, and on which kernels
    about: &[Sysno::tee],
    // A kernel that contradicts it: FIONREAD counts nothing.
    lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 })],
    ..Claim::new("tee.input.left", tee_input_left, |seen| {
        let teed = seen.returned("tee(pipe, other pipe)"); // it may be less than was asked for
        Verdict::holds_if(
            seen.counted("bytes in the first pipe") == 5
                && teed == Some(seen.counted("bytes in the second pipe")),
        )
    })
}
