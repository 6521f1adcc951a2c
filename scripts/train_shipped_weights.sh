#!/usr/bin/env bash
# Train the weights that ship, from nothing, and put them into mat2spec/weights. About an hour on one core.
#   bash scripts/train_shipped_weights.sh DATA
# DATA is the folder of labelled spectra. What is finished is kept: call it again after an interruption.
set -euo pipefail
data=${1:?"Give the folder of labelled spectra: bash scripts/train_shipped_weights.sh DATA"}
train="${MAT2SPEC:-.venv/bin/mat2spec} train"
weights=mat2spec/weights

# Epochs and rates of the eDOS are the better of two tried for each setting, by validation loss.
train_edos() { # model, setting, epochs, highest learning rate, encoder
    $train edos --data "$data" --encoder "$5" --set model="$1" --set setting="$2" --set epochs="$3" \
        --set learning_rate="$4" --set batch_size=32 --set schedule=cosine
}

# Encoder first, on phonon spectra; then shape and scale of the eDOS from that encoder.
train_model() { # model, epochs and highest learning rate of the encoder training
    $train phdos --data "$data" --set model="$1" --set epochs="$2" --set learning_rate="$3" --set schedule=cosine
    local encoder=runs/$1-phdos-sumnorm-kl/$1-phdos-sumnorm-kl.safetensors
    train_edos "$1" sumnorm-kl 150 0.0005 "$encoder"
    train_edos "$1" standard-mae 60 0.001 "$encoder"
    cp runs/"$1"-*/"$1"-*.{safetensors,md} $weights/
}

train_model mat2spec 24 0.001
train_model gatgnn 20 0.002
