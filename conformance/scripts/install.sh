#!/usr/bin/env bash
# Installs Debian packages that are not there: `install.sh PACKAGE..`. Asks for root where it is not.
set -euo pipefail
as_root=$([ "$(id -u)" = 0 ] || echo sudo)
dpkg --status "$@" >/dev/null 2>&1 && exit
$as_root apt-get update --quiet=2
# A server among them is not started by the installation: RUNLEVEL=1.
$as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "$@"
