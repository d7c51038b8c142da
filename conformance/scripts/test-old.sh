#!/usr/bin/env bash
# Claims and tests as on a kernel before 3.17 (ENOSYS for newer calls), and before 4.14 (no SO_ZEROCOPY).
set -euo pipefail
cargo build --quiet --package conformance --package nocopy-tools --bins
built=$(cargo metadata --no-deps --format-version 1 | grep --only-matching '"target_directory":"[^"]*"' | cut --delimiter='"' --fields=4)
built=$(dirname "$(find "$built" -path '*/debug/conformance' -type f | head -1)")
for option in "" --without-zerocopy; do
    "$built/older" $option "$built/conformance" check --format jsonl --output "$built/old.jsonl"
done
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$built/older"
# The crate mmap and the grids need memfd_create, which came with 3.17, and a route needs copy_file_range, of 4.5. The call of
# the crate tcp-zerocopy-receive came with 4.18. What refuses every call by every errno needs no old kernel.
cargo test --workspace --exclude nocopy-peers --exclude nocopy-mmap --exclude nocopy-copy-file-range --exclude nocopy-tcp-zerocopy-receive --lib --tests -- --skip host_only --skip every_kind_of_descriptor --skip copy_file_range --skip copy_of_a_memfd \
    --skip after_an_errno_of_the_table --skip after_any_other_errno --skip a_copy_that_fails_is_a_failure
cargo test --package nocopy-mmap --test properties
