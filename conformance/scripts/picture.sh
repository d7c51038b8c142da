#!/usr/bin/env bash
# Draws the modules of the suite for the guide, without the arrows that follow from others; needs Graphviz. The graph itself is a
# comment in the picture: a test compares it with the source.
set -euo pipefail
graph=$(cargo run --quiet --package nocopy-tools --bin modules -- conformance/src/lib.rs 1)
{
    echo "$graph" | tred | dot -Tsvg -Grankdir=TB -Nshape=box -Nfontname=sans-serif
    # Two hyphens must not stand in a comment.
    printf '<!--\n%s\n-->\n' "${graph//->/to}"
} > conformance/docs/modules.svg
