#!/usr/bin/env bash
# Installs what the virtual machines need: QEMU, the keys of Debian's archive, and a mkfs for each file system. Asks for root where it is not.
set -euo pipefail
bash conformance/scripts/install.sh qemu-system-x86 debian-archive-keyring busybox-static python3-venv \
    e2fsprogs xfsprogs btrfs-progs f2fs-tools dosfstools exfatprogs ntfs-3g squashfs-tools erofs-utils xorriso
