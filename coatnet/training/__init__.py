"""Training: one loop (engine), its optimizers and schedule, progress; checkpoints and predictions.

Nothing is gathered here: the evaluate stage uses `checkpoint` and `evaluation`, and must not import the loop.
"""
