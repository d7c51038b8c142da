# The crates' tests under AddressSanitizer, which only a nightly toolchain has.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! cargo +nightly --version > /dev/null 2>&1; then
    echo "asan: no nightly toolchain is installed: rustup toolchain install nightly" >&2
    exit 2
fi
export CARGO_TARGET_DIR=target/asan
# A static program has no room for the sanitizer's runtime. `handle_sigbus`: a test looks at the signal.
export RUSTFLAGS="-Zsanitizer=address -Ctarget-feature=-crt-static"
export RUSTDOCFLAGS="-Zsanitizer=address -Ctarget-feature=-crt-static"
# What rings leak on purpose, with sends in flight, is not reported: leaks are not looked for.
export ASAN_OPTIONS=detect_leaks=0:handle_sigbus=0
packages=()
for crate in crates/*; do
    packages+=(--package "nocopy-$(basename "$crate")")
done
cargo +nightly test --target x86_64-unknown-linux-gnu "${packages[@]}" --lib --tests
