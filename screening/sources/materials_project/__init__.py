"""The live Materials Project as a source of crystals: what is asked, how it is kept, and that nothing is lost."""
