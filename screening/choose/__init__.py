"""Which crystals are screened, and which of them are computed."""
