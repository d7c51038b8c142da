//! The wrappers cost what the system call by hand costs: read from the machine code, not from a clock.
//!
//! The package `codegen/` has each wrapper beside the same call as inline assembly; both are built by the same rustc in
//! release mode and disassembled here. `cargo test --test suite codegen:: -- --nocapture` prints the tables.
mod host_only {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fmt::Write as _;
    use std::path::Path;
    use std::sync::LazyLock;

    use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};
    use object::read::archive::ArchiveFile;
    use object::{
        File, Object as _, ObjectSection as _, ObjectSymbol as _, Relocation, RelocationTarget,
        SymbolKind,
    };
    use rstest::rstest;

    use crate::nested_cargo::{artifacts, cargo};

    /// Wrappers that are the system call and nothing else: see [`complaints`].
    const THIN: &[&str] = &[
        "sendfile",
        "splice",
        "tee",
        "copy_file_range",
        "ficlone",
        "ficlonerange",
        "vmsplice_to_pipe",
        "vmsplice_from_pipe",
        "fcntl_getpipe_size",
        "fcntl_setpipe_size",
        "mmap",
        "munmap",
        "msync",
        "madvise",
        "mremap",
        "memfd_create",
        "fcntl_add_seals",
        "fcntl_get_seals",
        "send_zerocopy",
        "send_copied",
        "sendmmsg_zerocopy",
        "getsockopt_tcp_zerocopy_receive",
    ];

    /// What needs a stack slot, a check or several calls, with the `syscall` instructions that it can reach.
    const COUNTED: &[(&str, usize)] = &[
        ("pipe2", 1),
        ("drop_pipe", 2),
        ("vmsplice_static", 1),
        ("pipe_writer_check", 2), // F_GETPIPE_SZ, F_GETFL
        ("drop_owned_fd", 1),
        ("mapping_of_file", 1),
        ("drop_mapping", 1),
        ("private_anonymous", 1),
        ("sealed_mapping", 3), // F_GET_SEALS, statx, mmap
        ("enable", 1),
        ("is_enabled", 1),
        ("enabled_check", 1),
        ("sendmsg_zerocopy", 1),
        ("recv_error_queue", 1),
        ("recvmmsg_error_queue", 1),
        ("window_new", 1),
        ("window_receive", 1),
        ("window_receive_pages", 1),
        ("window_release", 1),
        ("drop_window", 1),
    ];

    /// How many instructions a thin wrapper may have above its reference: an `int` widened, for two descriptors.
    const ABOVE_REFERENCE: usize = 2;

    /// What one function consists of.
    #[derive(Debug, Default)]
    struct Function {
        instructions: usize,
        system_calls: usize,
        /// Calls and jumps that leave the function, by the name of their target (empty if there is none).
        leaves_to: Vec<String>,
    }

    type Functions = BTreeMap<String, Function>;

    static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/codegen");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codegen");
        let arguments = [
            "build",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
        ];
        let mut functions = Functions::new();
        for artifact in artifacts(&cargo(&package, &target, &arguments, Some(""))) {
            if artifact.extension().is_some_and(|name| name == "rlib") {
                let archive = std::fs::read(&artifact).expect("the library that cargo has built");
                read_archive(&archive, &mut functions);
            }
        }
        functions
    });

    /// Adds all functions of the objects in a static library.
    fn read_archive(archive: &[u8], functions: &mut Functions) {
        let members = ArchiveFile::parse(archive).expect("an rlib is an archive");
        for member in members.members() {
            let member = member.expect("a member of the archive");
            if !member.name().ends_with(b".o") {
                continue; // the metadata of rustc
            }
            let data = member.data(archive).expect("the content of a member");
            let object = File::parse(data).expect("an object file");
            for symbol in object.symbols() {
                if symbol.kind() == SymbolKind::Text
                    && let Some(section) = symbol.section_index()
                {
                    let section = object.section_by_index(section).expect("its section");
                    let range = symbol.address()..symbol.address() + symbol.size();
                    let code = section.data_range(range.start, symbol.size());
                    let code = code.ok().flatten().expect("the code of a function");
                    let relocations: Vec<_> = section.relocations().collect();
                    let function = disassemble(code, range.start, |from, to| {
                        name_at(&object, &relocations, from, to)
                    });
                    let name = symbol.name().expect("the name of a function").to_owned();
                    functions.insert(name, function);
                }
            }
        }
    }

    /// The symbol that the linker is asked to put between these two offsets.
    fn name_at(
        object: &File<'_>,
        relocations: &[(u64, Relocation)],
        from: u64,
        to: u64,
    ) -> Option<String> {
        let (_, relocation) = relocations.iter().find(|(at, _)| (from..to).contains(at))?;
        let RelocationTarget::Symbol(index) = relocation.target() else {
            return Some(String::new());
        };
        let mut symbol = object.symbol_by_index(index).expect("its symbol");
        if symbol.kind() == SymbolKind::Section {
            // A function that is not exported: rustc gives each a section of its own.
            let section = symbol.section_index();
            let mut functions = object.symbols().filter(|symbol| {
                symbol.kind() == SymbolKind::Text && symbol.section_index() == section
            });
            symbol = functions.next().unwrap_or(symbol);
        }
        Some(symbol.name().unwrap_or_default().to_owned())
    }

    fn disassemble(
        code: &[u8],
        start: u64,
        name_at: impl Fn(u64, u64) -> Option<String>,
    ) -> Function {
        let range = start..start + code.len() as u64;
        let mut function = Function::default();
        for instruction in &mut Decoder::with_ip(64, code, start, DecoderOptions::NONE) {
            function.instructions += 1;
            let name = || name_at(instruction.ip(), instruction.next_ip());
            match instruction.flow_control() {
                _ if instruction.mnemonic() == Mnemonic::Syscall => function.system_calls += 1,
                FlowControl::Next | FlowControl::Return | FlowControl::Exception => {}
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
                    if name().is_none() && range.contains(&instruction.near_branch_target()) => {}
                // `int 0x80` and `sysenter` too: another way into the kernel is no better than a call.
                _ => function.leaves_to.push(name().unwrap_or_default()),
            }
        }
        function
    }

    fn function(name: &str) -> &'static Function {
        FUNCTIONS
            .get(name)
            .unwrap_or_else(|| panic!("no function {name} in the machine code"))
    }

    /// Why `function` is not as thin as `reference`.
    fn complaints(function: &Function, reference: &Function) -> Vec<String> {
        let mut complaints = Vec::new();
        if function.system_calls != 1 {
            complaints.push(format!("{} syscall instructions", function.system_calls));
        }
        for name in &function.leaves_to {
            complaints.push(format!("leaves to `{name}`"));
        }
        if function.instructions > reference.instructions + ABOVE_REFERENCE {
            let (has, may) = (function.instructions, reference.instructions);
            complaints.push(format!("{has} instructions against {may}"));
        }
        complaints
    }

    /// The `syscall` instructions that can be reached, through calls as well; `Err` is a call out of our sight.
    fn reachable(name: &str) -> Result<usize, String> {
        let Some(function) = FUNCTIONS.get(name) else {
            // What `core` does is no system call: it has no way to make one.
            return if name.contains("4core") {
                Ok(0)
            } else {
                Err(name.to_owned())
            };
        };
        let called = function.leaves_to.iter().map(|name| reachable(name));
        called
            .chain([Ok(function.system_calls)])
            .try_fold(0, |sum, count| Ok(sum + count?))
    }

    fn names_with(prefix: &str) -> BTreeSet<&str> {
        FUNCTIONS
            .keys()
            .filter_map(|name| name.strip_prefix(prefix))
            .collect()
    }

    #[test]
    fn thin_calls_are_one_system_call_and_at_most_two_instructions_above_the_reference() {
        let mut table = format!(
            "{:20} {:>12} {:>9} {:>8}\n",
            "call", "instructions", "reference", "syscalls"
        );
        let mut failed = false;
        for name in THIN {
            let thin = function(&format!("thin_{name}"));
            let reference = function(&format!("asm_{name}"));
            let complaints = complaints(thin, reference);
            failed |= !complaints.is_empty();
            writeln!(
                table,
                "{name:20} {:12} {:9} {:8}  {}",
                thin.instructions,
                reference.instructions,
                thin.system_calls,
                complaints.join(", ")
            )
            .expect("a String takes it");
        }
        println!("{table}");
        assert!(!failed, "not thin:\n{table}");
        assert_eq!(names_with("thin_"), THIN.iter().copied().collect());
    }

    #[test]
    fn a_reference_is_one_system_call_and_stays_within_itself() {
        for name in THIN {
            let reference = function(&format!("asm_{name}"));
            assert_eq!(
                complaints(reference, reference),
                [""; 0],
                "the reference of {name}"
            );
        }
    }

    #[test]
    fn calls_that_need_more_make_the_system_calls_that_are_listed() {
        let mut table = format!(
            "{:20} {:>12} {:>8} {:>8}\n",
            "call", "instructions", "syscalls", "expected"
        );
        let mut failed = false;
        for (name, expected) in COUNTED {
            let symbol = format!("counted_{name}");
            let (count, complaint) = match reachable(&symbol) {
                Ok(count) if count == *expected => (count.to_string(), ""),
                Ok(count) => (count.to_string(), "another count"),
                Err(name) => (format!("calls {name}"), "out of sight"),
            };
            failed |= !complaint.is_empty();
            let instructions = function(&symbol).instructions;
            writeln!(
                table,
                "{name:20} {instructions:12} {count:>8} {expected:8}  {complaint}"
            )
            .expect("a String takes it");
        }
        println!("{table}");
        assert!(!failed, "other system calls than listed:\n{table}");
        let listed = COUNTED.iter().map(|(name, _)| *name).collect();
        assert_eq!(names_with("counted_"), listed);
    }

    /// Without this a checker that accepts everything would pass.
    #[rstest]
    #[case::two_system_calls("fat_two_system_calls", "2 syscall instructions")]
    #[case::no_system_call("fat_no_system_call", "0 syscall instructions")]
    #[case::call("fat_call", "out_of_line")]
    #[case::jump_away("fat_jump_away", "out_of_line")]
    #[case::instructions("fat_instructions", "instructions against")]
    fn the_checker_refuses(#[case] name: &str, #[case] reason: &str) {
        let complaints = complaints(function(name), function("asm_tee"));
        assert!(
            complaints
                .iter()
                .any(|complaint| complaint.contains(reason)),
            "{name} must be refused for {reason}: {complaints:?}"
        );
    }

    #[test]
    fn the_checker_follows_calls_and_names_what_it_cannot_see() {
        assert_eq!(reachable("fat_call"), Ok(2));
        assert_eq!(reachable("fat_jump_away"), Ok(2));
        assert_eq!(reachable("write"), Err("write".to_owned()));
    }
}
