"""Run folders: the record and tables of a screen."""
