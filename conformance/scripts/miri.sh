# What is computed without a system call, under Miri: the parser, the tracker, and the ring against a kernel of our own.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! cargo +nightly miri --version > /dev/null 2>&1; then
    echo "miri: no nightly toolchain with Miri is installed: rustup +nightly component add miri rust-src" >&2
    exit 2
fi
# Pointers go to the kernel as numbers; and what is dropped in flight is leaked on purpose.
export MIRIFLAGS="-Zmiri-permissive-provenance -Zmiri-ignore-leaks"
export CARGO_TARGET_DIR=target/miri
cargo +nightly miri test --package nocopy-msg-zerocopy --lib --test parser --test tracker
