#!/usr/bin/env bash
# How long an author waits: seconds from an edited statement, and from a new claim, to the verdict.
# It edits a file of this tree and puts it back. A file with changes that are not committed is left alone.
set -euo pipefail
file=conformance/src/claims/tee.rs
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
sed --in-place '0,/statement: "/s//statement: "Edited: /' $file
decide "edited statement" tee.input.left 10
cat "$work/saved" >$file

# The example of docs/claims.md, with an id of its own.
example=conformance/tests/runner/example
sed --in-place '0,/^pub const CLAIMS: &\[Claim\] = &\[/s//&\n    example::CLAIM,/' $file
{
    echo 'mod example {'
    echo 'use crate::claim::{Claim, Source, always}; use crate::interpose::lie::{Lie, What}; use crate::interpose::record::aside;'
    echo 'use crate::lab::{Lab, io, sockets}; use crate::verdict::{Observation, Setup, Stop, Verdict};'
    echo 'use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, tee}; use syscalls::Sysno;'
    echo 'pub const CLAIM: Claim ='
    sed 's/"tee\.input\.left"/"tee.example.left"/' $example/claim.rs
    echo ';'
    cat $example/experiment.rs
    echo '}'
} >>$file
decide "new claim" tee.example.left 12
