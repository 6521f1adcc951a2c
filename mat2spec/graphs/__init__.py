"""From crystals to graphs: neighbours, merging of equivalent sites, batches.

Nothing is imported here: `mat2spec.graphs.settings` is read by programs that must start without torch.
"""
