#!/usr/bin/env bash
# What is handed out, below the first argument (default target/dist): a tarball of static programs with completions, manual pages and the
# site, a Debian package of the same, and their checksums. The same commit makes the same bytes, in any directory.
set -euo pipefail
out=${1:-target/dist}
mkdir -p "$out"
out=$(realpath "$out")
top=$PWD
[ -z "$(git status --porcelain)" ] || { echo "dist: there are changes that are not committed" >&2; exit 2; }
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022
version=$(sed -n 's/^version = "\(.*\)"/\1/p' conformance/Cargo.toml | head -1)
host=$(rustc -vV | sed -n 's/^host: //p')
machine=${host%%-*}
case $machine in
x86_64) debian=amd64 ;;
aarch64) debian=arm64 ;;
*) debian=$machine ;;
esac

# No path of this machine is in the programs, and none decides their bytes: with several codegen units, names of functions have a hash
# that differs by directory.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
flags="'--remap-path-prefix=$top=/nocopy', '--remap-path-prefix=$cargo_home=/cargo'"
cargo build --quiet --locked --release --package conformance --package on-kernel \
    --config "target.$host.rustflags = [$flags]" --config "profile.release.package.conformance.codegen-units = 1" --target-dir "$top/target/dist-build"
built=$top/target/dist-build/$host/release

work=$(mktemp --directory)
trap 'rm --recursive --force "$work"' EXIT
name=nocopy-$version-$machine-linux
tree=$work/$name
mkdir -p "$tree/completions"
cp "$built/conformance" "$built/on-kernel" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$tree/"
"$tree/conformance" man --output "$tree/man"
"$tree/conformance" completions bash >"$tree/completions/conformance"
"$tree/conformance" completions zsh >"$tree/completions/_conformance"
"$tree/conformance" completions fish >"$tree/completions/conformance.fish"
"$tree/conformance" site --output "$tree/site" >/dev/null
for program in conformance on-kernel; do
    if grep --quiet --text --fixed-strings -e "$top" -e "$cargo_home" "$tree/$program"; then
        echo "dist: $program has a path of this machine" >&2
        exit 1
    fi
done

tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --directory "$work" "$name" |
    gzip --no-name --best >"$out/$name.tar.gz"

root=$work/package
share=$root/usr/share
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$share/man/man1" "$share/doc/nocopy" \
    "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
cp "$tree/conformance" "$tree/on-kernel" "$root/usr/bin/"
for page in "$tree"/man/*; do gzip --no-name --best --stdout "$page" >"$share/man/man1/$(basename "$page").gz"; done
cp "$tree/completions/conformance" "$share/bash-completion/completions/"
cp "$tree/completions/_conformance" "$share/zsh/vendor-completions/"
cp "$tree/completions/conformance.fish" "$share/fish/vendor_completions.d/"
cp -r "$tree/site" "$tree/README.md" "$share/doc/nocopy/"
cat LICENSE-MIT LICENSE-APACHE >"$share/doc/nocopy/copyright"
gzip --no-name --best --stdout CHANGELOG.md >"$share/doc/nocopy/changelog.gz"
cat >"$root/DEBIAN/control" <<CONTROL
Package: nocopy
Version: $version
Architecture: $debian
Maintainer: the nocopy authors <nocopy@localhost>
Installed-Size: $(du --summarize --apparent-size --block-size=1024 "$root/usr" | cut -f1)
Recommends: qemu-system-x86
Section: utils
Priority: optional
Description: claims about Linux zero-copy I/O, decided on the running kernel
 conformance decides by experiment what manual pages, tests and articles say
 of sendfile, splice, mmap, copy_file_range and MSG_ZEROCOPY. on-kernel runs
 any program on another kernel. Static: it depends on no library.
CONTROL
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --build --root-owner-group -Zgzip "$root" "$out/nocopy_${version}_$debian.deb" >/dev/null
cd "$out"
sha256sum "$name.tar.gz" "nocopy_${version}_$debian.deb" | tee SHA256SUMS
