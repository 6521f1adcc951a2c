#!/usr/bin/env bash
# Refuse files above 12 MB, which no weights file reaches: data and results do not belong into the repository.
set -euo pipefail

limit_bytes=$((12 * 1024 * 1024))
status=0
for file in "$@"; do
    if [[ -f "$file" && $(wc -c <"$file") -gt $limit_bytes ]]; then
        echo "$file is larger than 12 MB; keep data and results out of the repository." >&2
        status=1
    fi
done
exit $status
