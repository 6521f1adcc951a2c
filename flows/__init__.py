"""Run the screen: settings, stages, the Prefect flow and the command line; no science."""
