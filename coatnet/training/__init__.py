"""Training: one loop (engine), its optimizer and schedule, progress, processes; checkpoints and predictions.

Nothing is gathered here: the evaluate stage uses `checkpoint` and `evaluation`, and must not import the loop.
"""
