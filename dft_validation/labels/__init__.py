"""The label factory: choose crystals, compute their electronic densities of states, keep them to train on."""
