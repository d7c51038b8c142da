#!/usr/bin/env bash
# nocopy-transfer sends files over TLS whose records the kernel makes: in a guest of the kernel named, which has the module.
set -euo pipefail
target=$PWD/target/ktls
(cd conformance/tests/ktls && cargo build --quiet --locked --target-dir "$target")
program=$(find "$target" -path '*/debug/ktls-server' -type f | head -1)
cargo run --quiet --package on-kernel -- "$1" --load tls --timeout 120 -- "$program"
