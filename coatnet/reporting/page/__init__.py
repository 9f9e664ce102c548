"""The report: every figure of a run with its numbers, and the page that shows them."""

from pathlib import Path
from typing import NamedTuple

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from .. import original
from ..figures.calibration import reliability
from ..figures.classes import by_group, classes, groups
from ..figures.confusion import by_similarity, confusion, counts
from ..figures.curves import accuracy_curve, gap_curve, gaps, loss_curve, losses
from ..figures.pictures import Row, augmented, named_targets, sheet
from ..figures.style import inline_svg
from ..metrics import calibration
from ..summary import summarise
from . import examples, facts, looks
from .run import Run

__all__ = ["Drawn", "Run", "report"]


class Drawn(NamedTuple):
    figure: Figure
    numbers: pd.DataFrame


def report(run: Run) -> tuple[dict[str, Drawn], str]:
    """Every figure by name, and the page, one HTML file that needs nothing else.

    What does not apply to the run's model or data is left out of both.
    """
    charts = _charts(run)
    worst, best, of_classes = examples.worst_and_best(run)
    targets = named_targets(run.targets, run.params.augment.label_smoothing, run.names)
    rows = {
        "examples": (worst + best, of_classes),
        "pairs": examples.confused(run),
        "mistakes": examples.surest_mistakes(run),
        "augmented": (augmented(run.augmented, targets), pd.DataFrame(targets).rename_axis("image").reset_index()),
        "positions": looks.position_tables(run),
        "attention": looks.attended(run),
        "gradcam": looks.grad_cams(run),
    }
    sheets = {
        name: Drawn(sheet(found, across=2 if name in ("examples", "pairs") else 1), numbers)
        for name, (found, numbers) in rows.items()
        if found
    }
    page = _page(run, charts, {name: found for name, (found, _) in rows.items()}, worst, best)
    return charts | sheets, page


def _charts(run: Run) -> dict[str, Drawn]:
    history, metrics = run.history, run.metrics
    bins = calibration(run.answers)
    table = counts(run.answers, run.names)
    order = by_similarity(table)
    table = table.loc[order, order]
    charts = {
        "loss": Drawn(loss_curve(history, metrics["split"], run.compared), losses(history, run.compared)),
        "accuracy": Drawn(
            accuracy_curve(history, metrics, run.compared), history.filter(["epoch", "train_top1", "eval_top1"])
        ),
        "gap": Drawn(gap_curve(history, metrics, run.compared), gaps(history)),
        "classes": Drawn(classes(run.classes), run.classes),
        "confusion": Drawn(confusion(table), table.rename_axis("actual").reset_index()),
        "calibration": Drawn(reliability(bins, metrics["ece"]), bins),
    }
    if run.groups:
        of_groups = by_group(run.answers, run.groups)
        charts["groups"] = Drawn(groups(of_groups, metrics["top1"]), of_groups)
    return charts


def _page(run: Run, charts: dict[str, Drawn], rows: dict[str, list[Row]], worst: list[Row], best: list[Row]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["source"] = facts.source
    matrix = charts["confusion"].numbers.set_index("actual")
    return environment.get_template("page.html").render(
        run=run,
        metrics=run.metrics,
        training=run.training,
        original=original,
        model_name=facts.model_name(run),
        evaluated_as=facts.evaluated_as(run),
        growing=facts.growing_images(run.checkpoint.params["train"]),
        svg=lambda name, alt: inline_svg(charts[name].figure, name, alt),
        history=run.history,
        groups=charts["groups"].numbers if run.groups else None,
        bins=charts["calibration"].numbers,
        worst=worst,
        best=best,
        rows=rows,
        matrix=facts.confusion_images(matrix),
        cells=facts.confusion_cells(matrix),
        summary=summarise(run.checkpoint.model_params, len(run.names)),
        parameters=facts.parameters(run),
        machine=facts.machine(run),
    )
