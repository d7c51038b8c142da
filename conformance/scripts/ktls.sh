#!/usr/bin/env bash
# nocopy-transfer sends files over TLS whose records the kernel makes: in a guest of the kernel named, which has the module.
set -euo pipefail
target=$PWD/target/ktls
(cd conformance/tests/ktls && cargo build --quiet --locked --target-dir "$target")
program=$(find "$target" -path '*/debug/ktls-server' -type f | head -1)
on_kernel() { cargo run --quiet --package on-kernel -- "$1" "${@:2}"; }
on_kernel "$1" --fetch >/dev/null
# What encrypts is a module of its own on some kernels.
load=(--load tls)
for module in gcm ctr ghash-generic ghash_generic aes_generic; do
    if [ -n "$(find -L "${NOCOPY_KERNELS:-target/kernels}/$1" -name "$module.ko*" -print -quit)" ]; then
        load+=(--load "$module")
    fi
done
on_kernel "$1" "${load[@]}" --timeout 120 -- "$program"
