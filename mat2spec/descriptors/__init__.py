"""What frozen interatomic potentials say of the atoms of a crystal, from which models learn with few spectra.

Nothing is imported here: `mat2spec.descriptors.kinds` is read by programs that must start without torch.
"""
