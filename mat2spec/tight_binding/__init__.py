"""Slater-Koster tight binding: from a crystal to bands, filling and projected densities of states.

The tables are made from first principles by `scripts/tight_binding_parameters`; `docs/tight_binding.md` describes the
method.
"""
