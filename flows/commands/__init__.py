"""What the commands of `mat2spec` do; imported when a command runs, so that `--help` stays fast."""
