#!/usr/bin/env bash
# What a change must pass, step by step, with the seconds of each; needs what `just setup` and `just setup-redis` install.
set -euo pipefail
log=target/ci
mkdir -p "$log"
: >"$log/seconds"
step() {
    echo "== $*"
    local begun=$SECONDS
    "$@"
    printf '%5d s  %s\n' $((SECONDS - begun)) "$*" >>"$log/seconds"
}
# Clippy type-checks what `just check` does, and `just test` has the tests of `just vendor-check`.
step just lint
step just doc
step just decide --source seed --strict
step just matrix --strict
# Another machine makes the recorded grids, on the oldest kernel and the newest one.
step just fds --kernels 5.10,7.3 --strict
step just fs --kernels 5.10,7.3 --strict
step just ledger --kernels 5.10,7.3 --strict
step just loop
step just reports-check
# Side by side: both wait a lot, for servers, guests and experiments that do not end. Without job control, a shell's background
# processes ignore SIGINT, which tests send.
set -m
step just test-old >"$log/test-old" 2>&1 &
old=$!
set +m
trap 'kill -- -$old 2>/dev/null' EXIT
echo "== just test"
begun=$SECONDS
just test 2>&1 | tee "$log/test"
printf '%5d s  just test\n' $((SECONDS - begun)) >>"$log/seconds"
echo "== just test-old"
if ! wait $old; then
    cat "$log/test-old"
    exit 1
fi
trap - EXIT
printf '\nseconds of each step, %d in all:\n' $SECONDS
cat "$log/seconds"
printf '\nthe tests:\n'
grep '^test result: ' "$log/test"
