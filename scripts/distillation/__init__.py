"""A fast student of tight binding, and the site metal head: both learn from crystals of the Materials Project.

Five steps, each a command, in this order; all but the first and the last run on a machine without the data, a GPU is used
where there is one. All of it takes two hours on two cores; a first student and the metal head took 8 minutes on an H200 with 16 cores.

    python -m scripts.distillation.population DATA population.npz
    python -m scripts.distillation.sites population.npz WORK
    python -m scripts.distillation.teacher population.npz WORK taught.npz --seconds 215
    python -m scripts.distillation.metal_head population.npz WORK mat2spec/weights/heads/site-metal-head.safetensors
    python -m scripts.distillation.student DATA population.npz WORK taught.npz

No label that we computed enters the training, and no formula and no prototype of a test set: the split of every crystal is
that of `mat2spec.labels.splits` for a random label of a plan. Reserved ids and formulas take no part.
"""
