#!/usr/bin/env bash
# Say in one sentence what a set-up would miss, before anything is downloaded.
# Reads VENV, STAMPS, CXX and DFT from the environment (see Makefile).
set -euo pipefail

stop() {
    echo "Cannot set up: $1" >&2
    exit 1
}

if [[ ! -e "$STAMPS/venv" ]]; then
    python=$(bash scripts/find_python.sh) ||
        stop "no Python 3.11 or newer was found; install python3.11 or name yours with PYTHON=/path/to/python."
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "$python has no venv module; install it (on Debian: apt-get install python3-venv)."
fi
if [[ "$DFT" != no && ! -e "$STAMPS/gpaw" ]] && ! command -v "${CXX%% *}" >/dev/null; then
    stop "no C++ compiler '$CXX' was found, which the embedded DFT engine needs; install g++, or add DFT=no to do all but the embedded DFT."
fi
