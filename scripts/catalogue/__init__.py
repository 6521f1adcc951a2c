"""The embedded catalogue: crystals that we computed ourselves, and the command that computes them."""

from scripts.catalogue.settings import CatalogueSettings

__all__ = ["CatalogueSettings"]
