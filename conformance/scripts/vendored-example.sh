#!/usr/bin/env bash
# The recipe of docs/ci.md for other repositories, in a scratch one with a crate copied in and a test of its own.
set -euo pipefail
export NOCOPY=$PWD
kernels=${NOCOPY_KERNELS:-$PWD/target/kernels}
scratch=$(mktemp --directory)
trap 'rm --recursive --force "$scratch"' EXIT
# What is run is what the page says.
awk '/^```$/ { inside = 0 } inside { print } /^<!-- just vendored-example runs this -->$/ { marked = 1 }
     marked && /^```sh$/ { inside = 1; marked = 0 }' conformance/docs/ci.md > "$scratch/recipe.sh"
grep --quiet "cargo test" "$scratch/recipe.sh" || { echo "docs/ci.md has no recipe any more" >&2; exit 1; }
cp --recursive conformance/tests/vendored "$scratch/repository"
mkdir "$scratch/repository/vendor"
cp --recursive crates/sendfile "$scratch/repository/vendor/"
cd "$scratch/repository"
mkdir target
# Kernels that are here already are not fetched again.
mkdir --parents "$kernels"
ln --symbolic "$(realpath "$kernels")" target/kernels
unset NOCOPY_KERNELS CARGO_TARGET_DIR
bash -euo pipefail "$scratch/recipe.sh" 2>&1 | tee "$scratch/log"
for kernel in 5.10 6.12 7.3; do
    grep --quiet "^sendfile(2) on Linux ${kernel//./\\.}[.-]" "$scratch/log" || { echo "no test ran on $kernel" >&2; exit 1; }
done
# The crate's own tests, once per kernel.
count=$(grep --count "^test an_offset_is_advanced_and_the_position_stays .* ok$" "$scratch/log" || true)
[ "$count" = 3 ] || { echo "the crate's tests ran on $count kernels of 3" >&2; exit 1; }
