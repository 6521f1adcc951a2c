"""Many calculations: which are run, by which process, at what cost, and their progress."""
