"""The label factory: choose crystals, compute their electronic densities of states, store them for training."""
