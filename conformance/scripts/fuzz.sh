#!/usr/bin/env bash
# Fuzzes every target, or the named ones, for some seconds each: `fuzz.sh SECONDS [TARGET..]`.
set -euo pipefail
# The committed corpus is where it starts; what it finds goes below target/.
work=$PWD/target/fuzz
cargo run --quiet --package nocopy-tools --bin corpus -- unpack "$work/committed"
cd conformance
export RUSTC_BOOTSTRAP=1
seconds=$1
shift
for target in ${*:-$(cargo fuzz list)}; do
    mkdir -p "$work/corpus/$target" "$work/artifacts/$target"
    cargo fuzz run --sanitizer none --target-dir "$work/build" "$target" "$work/corpus/$target" "$work/committed/$target" \
        -- -max_total_time=$seconds -max_len=2048 -artifact_prefix="$work/artifacts/$target/" -print_final_stats=1
done
