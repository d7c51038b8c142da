# Recipes of nocopy. `just` lists them. Nothing needs root; what needs more than cargo says so.

# Tests with several processes that wait for each other must not be starved on a small machine.
export RUST_BACKTRACE := "0"

[private]
default:
    @just --list --unsorted

# Decide every claim on the running kernel (arguments go to `conformance check`)
claims *arguments:
    cargo run --quiet --release --package conformance -- check {{ arguments }}

# All tests: the crates, the conformance suite, every claim
test *arguments:
    cargo test --workspace {{ arguments }}

# Type-check everything, with and without std
check:
    cargo check --workspace --all-targets
    for crate in sendfile splice mmap msg-zerocopy; do \
        cargo check --quiet --package nocopy-$crate --no-default-features --lib || exit 1; \
    done

# Formatting and clippy, warnings are errors
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    for package in codegen freestanding; do \
        (cd conformance/tests/$package && cargo fmt --check) || exit 1; \
    done
    for crate in sendfile splice mmap msg-zerocopy; do \
        cargo clippy --quiet --package nocopy-$crate --no-default-features --lib -- --deny warnings || exit 1; \
    done

# The documentation, warnings are errors
doc:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps

# Each crate's folder copied away: it builds with and without std, passes its tests, and is as the rules say
vendor-check:
    cargo test --package conformance --test vendoring

# The machine code of the wrappers beside hand-written assembly, as tables
codegen:
    cargo test --package conformance --test codegen -- --nocapture

# Instructions per call, counted by valgrind where it is installed
callgrind:
    cd conformance/tests/codegen && cargo run --quiet --profile callgrind --example callgrind

# What a submission must pass
ci: lint doc check test

# Fuzz nocopy-msg-zerocopy: `error_queue` or `tracker`, for some seconds (needs `cargo install --locked cargo-fuzz`)
fuzz target="error_queue" seconds="60":
    cd crates/msg-zerocopy && RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none {{ target }} -- -max_total_time={{ seconds }}
