#!/usr/bin/env bash
# Minimises what the fuzzers have found together with the committed corpus, and makes that the committed one.
set -euo pipefail
work=$PWD/target/fuzz
rm -rf "$work/committed" "$work/merged"
cargo run --quiet --package nocopy-tools --bin corpus -- unpack "$work/committed"
cd conformance
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
    mkdir -p "$work/corpus/$target" "$work/merged/$target"
    # Of the ways through decoders that are not ours, and through dialogues, one input for each edge is enough, however often it is taken.
    counters=$([[ $target =~ ^(dialogue|image|report_line)$ ]] && echo 0 || echo 1)
    cargo fuzz run --sanitizer none --target-dir "$work/build" "$target" \
        "$work/merged/$target" "$work/committed/$target" "$work/corpus/$target" \
        -- -set_cover_merge=1 -use_counters=$counters -max_len=2048
done
cargo run --quiet --package nocopy-tools --bin corpus -- pack "$work/merged"
