#!/usr/bin/env bash
# How long an author waits: seconds from an edited statement, and from a new claim, to the verdict.
# It edits a file of this tree and puts it back. A file with changes that are not committed is left alone.
set -euo pipefail
file=conformance/src/claims/tee/input.rs
if ! git diff --quiet HEAD -- $file; then
    echo "$file has changes that are not committed: commit them first" >&2
    exit 2
fi
work=$(mktemp --directory)
cp $file "$work/saved"
trap 'cat "$work/saved" >$file; rm --recursive "$work"' EXIT
trap 'exit 130' INT TERM HUP

# Decides a claim, and prints what that took with its goal.
decide() {
    local what=$1 id=$2 goal=$3 TIMEFORMAT='%U %S %R'
    { time just decide --filter "=$id" >"$work/said" 2>&1; } 2>"$work/times" || { cat "$work/said"; exit 1; }
    grep --quiet "^1 claim: 1 hold" "$work/said" || { cat "$work/said"; exit 1; }
    awk -v what="$what" -v goal="$goal" \
        '{ printf "%-16s %4.1f CPU s of %s, %4.1f s by the clock\n", what, $1 + $2, goal, $3 }' "$work/times"
}

# What was built before is not what an author waits for.
just decide --filter =tee.input.left >"$work/said" 2>&1 || { cat "$work/said"; exit 1; }
sed --in-place '0,/"tee() leaves/s//"Edited: tee() leaves/' $file
decide "edited statement" tee.input.left 10
cat "$work/saved" >$file

# The example of docs/claims.md, with an id of its own.
sed --in-place '0,/^pub const CLAIMS: &\[Claim\] = &\[/s//&EXAMPLE, /' $file
{
    echo 'const EXAMPLE: Claim ='
    sed 's/"tee\.input\.left"/"tee.input.example"/' conformance/tests/runner/example/claim.rs
    echo ';'
} >>$file
decide "new claim" tee.input.example 12
