#!/usr/bin/env bash
# Makes fixtures/man-pages.toml from the manual pages that Debian has: needs apt, dpkg-deb and gzip, and no root.
set -euo pipefail
cd "$(dirname "$0")/../.."
release=6.20
suite=${1:-sid}
place=$(mktemp --directory)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place"/{lists/partial,cache/archives/partial,etc/preferences.d,etc/apt.conf.d,tree}
sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true)
mirror=$(awk '/^URIs:/ || /^deb / { print $2; exit }' <<<"$sources")
printf 'deb %s %s main\n' "${mirror:?no mirror in the sources of apt}" "$suite" >"$place/sources.list"
cat >"$place/apt.conf" <<EOF
Dir::State "$place"; Dir::State::status "/dev/null"; Dir::Cache "$place/cache"; Dir::Etc "$place/etc";
Dir::Etc::sourcelist "$place/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::trustedparts "/etc/apt/trusted.gpg.d"; APT::Sandbox::User ""; Acquire::Check-Valid-Until "false";
EOF
export APT_CONFIG="$place/apt.conf"
apt-get --quiet --quiet update
for package in manpages manpages-dev; do
    (cd "$place" && apt-get --quiet --quiet download "$package")
    file=$(echo "$place/$package"_*.deb)
    case $file in
        *_"$release"-*) ;;
        *) echo "$suite has $(basename "$file"): read the pages again, then change the release here and in claim/source.rs" >&2 && exit 2 ;;
    esac
    dpkg-deb --extract "$file" "$place/tree"
done
find "$place/tree" -type f -name '*.gz' -exec gzip --decompress --force --quiet {} +
find "$place/tree" -type l -name '*.gz' | while read -r link; do
    ln -s "$(basename "$(readlink "$link")" .gz)" "${link%.gz}"
done
cargo run --quiet --package nocopy-tools --bin man-pages -- "$place/tree" >"$place/table"
mv "$place/table" fixtures/man-pages.toml
