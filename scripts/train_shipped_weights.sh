#!/usr/bin/env bash
# Train the weights that ship, from nothing, and put them into mat2spec/weights. About an hour on one core.
#   bash scripts/train_shipped_weights.sh DATA
# DATA is the folder of labelled spectra. What is finished is kept: call it again after an interruption.
set -euo pipefail
data=${1:?"Give the folder of labelled spectra: bash scripts/train_shipped_weights.sh DATA"}
train="${MAT2SPEC:-.venv/bin/mat2spec} train"
weights=mat2spec/weights

# Encoder first, on phonon spectra; then shape and scale of the eDOS from that encoder.
train_model() { # model, epochs and highest learning rate of the encoder training
    $train phdos --data "$data" --set model="$1" --set epochs="$2" --set learning_rate="$3" --set schedule=cosine
    local encoder=runs/$1-phdos-sumnorm-kl/$1-phdos-sumnorm-kl.safetensors
    for setting in sumnorm-kl standard-mae; do
        $train edos --data "$data" --encoder "$encoder" --set model="$1" --set setting=$setting \
            --set epochs=60 --set batch_size=32 --set schedule=cosine
    done
    cp runs/"$1"-*/"$1"-*.{safetensors,md} $weights/
}

train_model mat2spec 24 0.001
train_model gatgnn 20 0.002
