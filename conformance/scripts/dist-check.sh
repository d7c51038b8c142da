#!/usr/bin/env bash
# Makes `just dist` in two clones with other names, and compares the bytes. Then the Debian package is unpacked, and what is in it runs.
set -euo pipefail
work=$(mktemp --directory)
trap 'rm --recursive --force "$work"' EXIT
for clone in one another-one; do
    git clone --quiet . "$work/$clone"
    (cd "$work/$clone" && bash conformance/scripts/dist.sh "$work/out-$clone" >/dev/null)
    rm --recursive --force "$work/$clone"
done
diff --recursive "$work/out-one" "$work/out-another-one"
mkdir "$work/tar" "$work/deb"
tar --extract --gzip --directory "$work/tar" --strip-components=1 --file "$work"/out-one/*.tar.gz
dpkg-deb --extract "$work"/out-one/*.deb "$work/deb"
for programs in "$work/tar" "$work/deb/usr/bin"; do
    "$programs/conformance" --version
    "$programs/on-kernel" --version
done
test -s "$work/tar/site/index.html"
test -s "$work/deb/usr/share/man/man1/conformance-check.1.gz"
echo "the same bytes twice: $(cut -c1-16 "$work/out-one/SHA256SUMS" | tr '\n' ' ')"
