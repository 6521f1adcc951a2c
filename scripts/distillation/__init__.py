"""A fast student of tight binding, and the site metal head: both learn from crystals of the Materials Project.

Six steps, each a command, in this order; all but the first two and the last run on a machine without the data, a GPU is used
where there is one. All of it takes four hours on two cores; a first student and the metal head took 8 minutes on an H200 with 16 cores.

    python -m scripts.distillation.population DATA population.npz
    python -m scripts.distillation.substitution DATA population.npz hypothetical.npz
    python -m scripts.distillation.sites population.npz WORK                # and hypothetical.npz WORK_H
    python -m scripts.distillation.teacher population.npz WORK taught.npz   # and hypothetical.npz WORK_H taught_h.npz
    python -m scripts.distillation.metal_head population.npz WORK mat2spec/weights/heads/site-metal-head.safetensors
    python -m scripts.distillation.student DATA population.npz WORK taught.npz --hypothetical hypothetical.npz WORK_H taught_h.npz
    python -m scripts.distillation.student DATA population.npz WORK taught.npz --continue --settings sumnorm-kl
        --epochs 14 --learning-rate 6e-4

No formula and no prototype of a test set enters a training: the split of every crystal is that of
`mat2spec.labels.splits` for a random label of a plan. Computed labels enter the student's, those of the training split alone, from
which its teacher learned too. Reserved ids and formulas take no part.
"""
