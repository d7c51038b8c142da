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
step just lint
step just doc
step just check
step just vendor-check
step just decide --source seed --strict
step just matrix --strict
# Another machine makes the recorded grids, on the oldest kernel and the newest one.
step just fds --kernels 5.10,7.3 --strict
step just fs --kernels 5.10,7.3 --strict
step just ledger --kernels 5.10,7.3 --strict
step just loop
step just reports-check
step just test-old
echo "== just test"
begun=$SECONDS
just test 2>&1 | tee "$log/test"
printf '%5d s  just test\n' $((SECONDS - begun)) >>"$log/seconds"
printf '\nseconds of each step, %d in all:\n' $SECONDS
cat "$log/seconds"
printf '\nthe tests:\n'
grep '^test result: ' "$log/test"
