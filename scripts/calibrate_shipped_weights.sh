#!/usr/bin/env bash
# Calibrate what hangs on the weights that ship, in the order in which one enters the next. Some forty minutes on one core.
#   bash scripts/calibrate_shipped_weights.sh DATA FOLDER
# DATA is the folder of labelled spectra, FOLDER one for predictions that a second call finds again. Afterwards copy the
# tables that are printed into docs/metals.md and docs/funnel.md, and look at the figures in README.md.
set -euo pipefail
usage="Give two folders: bash scripts/calibrate_shipped_weights.sh DATA FOLDER"
data=${1:?$usage}
work=${2:?$usage}
python=${PYTHON:-.venv/bin/python}
export OMP_NUM_THREADS=1

"$python" -m benchmarks.trust "$data" --write
"$python" -m benchmarks.trust "$data" --spectrum phdos --write
"$python" -m scripts.calibrate_metals "$data"
"$python" -m scripts.calibrate_gapped_metals "$data"
"$python" -m scripts.calibrate_funnel "$data" --work "$work/funnel"
"$python" -m scripts.textbook_crystals --write
"$python" scripts/readme_figure.py docs/gapped_metals.png
"$python" -m scripts.class_shares "$data" --work "$work/shares" --model tight-binding --n 1000 --write
"$python" -m scripts.class_shares "$data" --work "$work/shares" --write
