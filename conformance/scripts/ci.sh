#!/usr/bin/env bash
# What a change must pass, step by step, with the seconds of each; needs what `just setup`, `setup-redis` and `setup-site`
# install.
#
# Three sequences of steps run side by side, because each of them waits a lot or uses one processor: the rustc of one crate, guests with
# one processor, servers, experiments that do not end. Debug and release builds have a lock each.
set -euo pipefail
log=target/ci
mkdir -p "$log"
: >"$log/seconds"
guests=$(($(nproc) / 2))
[ "$guests" -gt 0 ] || guests=1

# Runs a command, and notes its seconds by the clock and of the processors.
step() {
    echo "== $*"
    local begun=$SECONDS times=$log/times-$BASHPID
    # The times of a shell are those of its children, and this one has no others.
    ("$@" && times >"$times")
    awk -F '[ ms]+' -v clock=$((SECONDS - begun)) -v what="$*" \
        'NR == 2 { printf "%5d s %5d CPU s  %s\n", clock, $1 * 60 + $2 + $3 * 60 + $4, what }' "$times" >>"$log/seconds"
}

in_guests() {
    step cargo build --quiet --release --package conformance
    step just matrix --strict --jobs "$guests"
    # Another machine makes the recorded grids, on the oldest kernel and the newest one.
    step just fds --kernels 5.10,7.3 --strict
    step just pairs --kernels 5.10,7.3 --strict
    step just fs --kernels 5.10,7.3 --strict
    # The ledger takes most, and the week's job makes it on every kernel.
    step just ledger --kernels 7.3 --strict
    step just site-test
}

# The process groups of what runs beside this script.
beside=()
trap 'for group in "${beside[@]}"; do kill -- "-$group" 2>/dev/null || true; done' EXIT
# Runs a function in the background, with its output in a file. Without job control, a shell's background processes ignore SIGINT,
# which tests send.
begin() {
    set -m
    "$1" >"$log/$1" 2>&1 &
    beside+=($!)
    set +m
}
# Waits for what was begun in this place of the order, and prints its output.
end() {
    echo "== $1"
    if ! wait "${beside[$2]}"; then
        cat "$log/$1"
        echo "$1 has failed" >&2
        exit 1
    fi
}
old() { step just test-old; }

begin in_guests
# Clippy type-checks what `just check` does, and `just test` has the tests of `just vendor-check`.
step just lint
step just doc
# A network card is left alone outside of guests.
step just decide --source seed --strict --expect-untestable zerocopy.copies.network-card
step just reports-check
begin old
tests() { just test 2>&1 | tee "$log/test"; }
step tests
end old 1
end in_guests 0
beside=()
# It edits a claim, so nothing may be built beside it.
step just loop
printf '\nseconds of each step, %d in all:\n' $SECONDS
cat "$log/seconds"
printf '\nthe tests:\n'
grep '^test result: ' "$log/test"
