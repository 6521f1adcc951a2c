#!/usr/bin/env bash
# Print the Python that the environment is made with: $PYTHON if set, else the oldest supported one on the PATH.
set -euo pipefail

supported='import sys; sys.exit(sys.version_info < (3, 11))'
# The versions of constraints.txt were tried with 3.11, so that one comes first.
for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    if command -v "$candidate" >/dev/null && "$candidate" -c "$supported" 2>/dev/null; then
        command -v "$candidate"
        exit 0
    fi
done
exit 1
