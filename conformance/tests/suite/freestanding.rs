//! A program with `nocopy-sendfile` and without std, libc and start files: it links, it runs, and it is small.
mod host_only {
    use std::fs::File;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::sync::LazyLock;

    use object::elf::{PT_DYNAMIC, PT_INTERP};
    use object::read::elf::{ElfFile64, ProgramHeader as _};
    use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
    use object::{SymbolKind, SymbolSection};
    use rstest::rstest;

    use crate::nested_cargo::{artifacts, cargo};

    /// What the program may have of machine code, in bytes. 102 were measured, 145 with a larger program.
    const MOST_TEXT: u64 = 256;

    /// Where the functions of the program may come from.
    const OURS: &[&str] = &["freestanding", "nocopy_sendfile", "syscalls", "4core"];

    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/freestanding");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("freestanding");
        let arguments = [
            "build",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
        ];
        let flags = Some("-Ctarget-feature=+crt-static");
        let files = artifacts(&cargo(&package, &target, &arguments, flags));
        let program = files
            .into_iter()
            .find(|file| file.ends_with("freestanding"));
        program.expect("cargo names the program")
    });

    /// Whatever is in an executable that is not from us, or too much.
    fn complaints(executable: &Path) -> Vec<String> {
        let data = std::fs::read(executable).expect("the executable");
        let elf = ElfFile64::<Endianness>::parse(&*data).expect("an ELF executable");
        let mut complaints = Vec::new();

        for header in elf.elf_program_headers() {
            match header.p_type(elf.endian()) {
                PT_DYNAMIC => complaints.push("a dynamic section".to_owned()),
                PT_INTERP => complaints.push("an interpreter".to_owned()),
                _ => {}
            }
        }
        // The first symbol is the null symbol, and `symbols` leaves it out.
        for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
            let name = symbol.name().unwrap_or("?");
            let content = matches!(
                symbol.kind(),
                SymbolKind::Text | SymbolKind::Data | SymbolKind::Tls
            );
            if symbol.section() == SymbolSection::Undefined {
                complaints.push(format!("undefined symbol {name}"));
            } else if content && name != "_start" && !OURS.iter().any(|ours| name.contains(ours)) {
                complaints.push(format!("foreign symbol {name}"));
            }
        }
        if elf.symbol_by_name("_start").is_none() {
            complaints.push("no symbols to look at".to_owned());
        }
        let text: u64 = elf
            .sections()
            .filter(|section| section.kind() == SectionKind::Text)
            .map(|section| section.size())
            .sum();
        println!("{text} bytes of text, at most {MOST_TEXT}");
        if !(1..=MOST_TEXT).contains(&text) {
            complaints.push(format!("{text} bytes of text"));
        }
        complaints
    }

    #[test]
    fn the_program_is_the_crate_and_nothing_else() {
        assert_eq!(complaints(&PROGRAM), [""; 0]);
    }

    /// Without this a checker that accepts everything would pass.
    #[test]
    fn the_checker_refuses_a_program_with_std() {
        let complaints = complaints(&std::env::current_exe().expect("this test"));
        for reason in ["foreign symbol", "bytes of text"] {
            assert!(
                complaints
                    .iter()
                    .any(|complaint| complaint.contains(reason)),
                "{reason}"
            );
        }
    }

    #[derive(Clone, Copy)]
    enum Input {
        Argument,
        Stdin,
    }

    #[derive(Clone, Copy)]
    enum Output {
        Pipe,
        File,
    }

    #[rstest]
    fn it_copies_every_byte(
        #[values(Input::Argument, Input::Stdin)] input: Input,
        #[values(Output::Pipe, Output::File)] output: Output,
        #[values(0, 1, 4096, 1_000_003)] size: u32,
    ) {
        let content: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let source = directory.path().join("source");
        let target = directory.path().join("target");
        std::fs::write(&source, &content).expect("the source");

        let mut command = Command::new(&*PROGRAM);
        match input {
            Input::Argument => command.arg(&source).stdin(Stdio::null()),
            Input::Stdin => command.stdin(File::open(&source).expect("the source")),
        };
        let copied = match output {
            Output::Pipe => {
                let output = command.output().expect("it starts");
                assert!(output.status.success(), "{}", output.status);
                output.stdout
            }
            Output::File => {
                let target_file = File::create(&target).expect("the target");
                let status = command.stdout(target_file).status().expect("it starts");
                assert!(status.success(), "{status}");
                std::fs::read(&target).expect("the target")
            }
        };
        assert!(copied == content, "{} of {size} bytes", copied.len());
    }

    #[test]
    fn it_exits_with_the_errno() {
        let mut command = Command::new(&*PROGRAM);
        let status = command.arg("/no/such/file").status().expect("it starts");
        assert_eq!(status.code(), Some(2), "ENOENT");
    }
}
