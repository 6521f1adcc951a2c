"""The live Materials Project as a source of crystals: queries, cache, and checks that nothing is lost."""
