#!/usr/bin/env bash
# Train the weights that ship, from nothing, and put them into mat2spec/weights. About two and a half hours on one core.
#   bash scripts/train_shipped_weights.sh DATA [MODEL ...]
# DATA is the folder of labelled spectra; the labels in data/ are trained on too. MODEL is mat2spec, gatgnn, e3nn,
# sitedos or tight-binding (without spin, and with it); all by default. What is finished is kept: call it again after an
# interruption. Afterwards: bash scripts/calibrate_shipped_weights.sh DATA
set -euo pipefail
data=${1:?"Give the folder of labelled spectra: bash scripts/train_shipped_weights.sh DATA"}
shift
models=("${@:-mat2spec gatgnn e3nn sitedos tight-binding}")
program=${MAT2SPEC:-.venv/bin/mat2spec}
weights=mat2spec/weights
cosine=(--set schedule=cosine)

phdos() { # model, then options: spectra of phonons, pre-trained on the finite-displacement set
    "$program" train phdos --data "$data" --set model="$1" "${cosine[@]}" "${@:2}"
}

edos() { # model, then options: shape and scale of electronic spectra
    "$program" train edos --data "$data" --set model="$1" "${cosine[@]}" --set batch_size=32 "${@:2}"
}

# Epochs and rates are the better of those tried for each setting, by validation loss: benchmarks/experiments.md.
train() {
    local encoder=(--encoder-weights "runs/$1-phdos-sumnorm-kl/$1-phdos-sumnorm-kl.safetensors")
    case $1 in
        mat2spec | gatgnn)
            if [ "$1" = mat2spec ]; then phdos mat2spec --set epochs=24; else phdos gatgnn --set epochs=20 --set learning_rate=0.002; fi
            edos "$1" --set setting=sumnorm-kl --set epochs=150 --set learning_rate=0.0005 "${encoder[@]}"
            edos "$1" --set setting=standard-mae --set epochs=60 "${encoder[@]}"
            ;;
        e3nn)
            local rate=(--set epochs=60 --set learning_rate=0.005 --set weight_decay=0.05)
            phdos e3nn --no-pretraining "${rate[@]}"
            edos e3nn --set setting=sumnorm-kl "${rate[@]}"
            edos e3nn --set setting=standard-mae "${rate[@]}"
            ;;
        sitedos)
            phdos sitedos --set epochs=40 --set 'model_settings={site_shares: equal, n_members: 4}'
            edos sitedos --set setting=sumnorm-kl --set epochs=40 --set 'model_settings={width: 256, dropout: 0.5, n_members: 4}'
            edos sitedos --set setting=standard-mae --set epochs=40 --set 'model_settings={width: 256, dropout: 0.5, n_members: 4}'
            ;;
        tight-binding)
            "$program" train tight-binding --data "$data" --folder runs/tight-binding-edos-sumnorm-kl
            "$program" train tight-binding --data "$data" --level mp --folder runs/tight-binding-mp-edos-sumnorm-kl
            ;;
        *)
            echo "There is no recipe for '$1'; known are mat2spec, gatgnn, e3nn, sitedos and tight-binding." >&2
            exit 1
            ;;
    esac
    cp runs/"$1"-*/"$1"-*.{safetensors,md} $weights/
}

for model in ${models[*]}; do
    train "$model"
done
