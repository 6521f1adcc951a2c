"""Crystals as arrays, read from files and described."""
