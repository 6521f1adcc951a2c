"""Many calculations: which are run, by whom, at what cost, and how far they are."""
