"""Crystals to graphs: neighbours, merging of equivalent sites, and the batch that carries them.

Nothing is imported here: `mat2spec.graphs.settings` is read by programs that must start without torch.
"""
