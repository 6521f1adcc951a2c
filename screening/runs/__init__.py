"""Run folders: what a screen keeps."""
