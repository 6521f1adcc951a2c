"""Training: data in, weights with their card out."""

from mat2spec.training.runs import train_edos, train_phdos
from mat2spec.training.settings import TrainingSettings

__all__ = ["TrainingSettings", "train_edos", "train_phdos"]
