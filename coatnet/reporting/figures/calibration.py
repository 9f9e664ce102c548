"""Whether the model's probabilities can be taken at their word."""

import pandas as pd
from matplotlib.figure import Figure

from .style import EVAL, LINE, MUTED, styled


@styled
def reliability(bins: pd.DataFrame, ece: float) -> Figure:
    """Accuracy against probability (`metrics.calibration`) with 95% intervals; below, how many images have which.

    A reliability diagram (DeGroot and Fienberg 1983; Guo et al. 2017, figure 1).
    """
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 100], [0, 100], color=MUTED, linestyle=":", linewidth=1, label="perfectly calibrated")
    spread = [bins.top1 - bins.top1_low, bins.top1_high - bins.top1]
    upper.errorbar(bins.confidence, bins.top1, spread, fmt="o-", color=EVAL, capsize=3, elinewidth=1.2, label="model")
    upper.set(ylabel="right answers, %", ylim=(0, 100), title=f"Calibration; ECE {ece:.2f} points")
    upper.legend(loc="upper left")
    width = bins.high - bins.low
    share = 100 * bins.images / bins.images.sum()
    lower.bar(bins.low, share, width, align="edge", color=MUTED, edgecolor=LINE, linewidth=0.8)
    lower.set(xlabel="probability given to the answer, %", ylabel="images, %", xlim=(0, 100))
    return figure
