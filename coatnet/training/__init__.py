"""Training: the loop, its schedule and averaging, checkpoints, progress, processes, and predictions."""

from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .engine import Trained, Trainer
from .evaluation import predict
from .processes import World, join_world, launch

__all__ = [
    "Checkpoint",
    "Trained",
    "Trainer",
    "World",
    "join_world",
    "launch",
    "load_checkpoint",
    "predict",
    "save_checkpoint",
]
