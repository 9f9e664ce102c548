"""Inference: a trained model's answers for any picture, and the model in other programs' formats."""

from .classifier import Answer, Classifier, Transform
from .folder import load

__all__ = ["Answer", "Classifier", "Transform", "load"]
