"""The phonon benchmark: trainings, figures of merit, report."""
