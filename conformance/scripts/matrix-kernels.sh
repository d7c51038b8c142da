#!/usr/bin/env bash
# The names of the matrix's kernels as a JSON array, for the workflow, which starts a job for each before the program is built.
set -euo pipefail
kernels=conformance/on-kernel/kernels.toml
# A paragraph per kernel. Optional ones run only where they are named.
awk -v RS= '
    /\[\[(kernel|foreign)\]\]/ && !/\noptional = true/ && match($0, /\nname = "[^"]+"/) {
        name = substr($0, RSTART + 8, RLENGTH - 8)
        names = names (names == "" ? "" : ",") name
    }
    END { if (names == "") exit 1; print "[" names "]" }
' "$kernels"
