"""Runs what is missing of the study in study.yaml; writes reports/study.csv, study.md and study.png.

Each run is a DVC experiment in a workspace of its own (`dvc exp run --temp`), so the user's stays as it is. Its name
ends in a digest of all its parameters: a changed parameter makes it another run, and what has run is not run again,
whatever happened to the code since.
After a stop the same command goes on, a run half done from its last epoch.
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..errors import UserError
from ..machine.files import atomic_write, write_csv, write_text
from ..params import Section, load_params, read_yaml
from .experiments import run_experiment
from .presets import PARAMS, add_overrides, as_dvc_arguments, as_hydra, read_overrides, read_preset, uncommitted

if TYPE_CHECKING:
    import pandas as pd  # with torch's and matplotlib's, a second that other commands need not wait

STUDY = Path("study.yaml")
REPORTS = Path("reports")
GRID = 32  # pixels that scaled image sizes are multiples of: the total stride of each model in the study divides it
RESULTS = ["top1", "top1_low", "top1_high", "top5", "loss", "train_top1", "gap", "images", "split"]
COSTS = ["parameters", "images_per_second", "minutes"]


class Study(Section):
    """What study.yaml may say."""

    seeds: list[int]
    runs: dict[str, dict[str, Any]]  # changes of parameters, and a `preset`
    questions: dict[str, list[str]]  # the runs that answer each


@dataclass(frozen=True)
class Run:
    name: str
    seed: int
    values: dict[str, Any]  # over params.yaml's
    experiment: str  # its name in DVC


def read_study() -> dict[str, Any]:
    """What study.yaml says.

    Raises:
        UserError: it is missing, no YAML, or not of the form of `Study`.
    """
    try:
        return Study.model_validate(read_yaml(STUDY)).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{STUDY}: {'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from None


def plan(study: dict[str, Any], scale: float, common: dict[str, Any]) -> list[Run]:
    """Every run of every seed, the first seed's first.

    Args:
        study: a run in it may name a `preset`.
        scale: factor on epochs and on the image's area, which then does not grow.
        common: values for all runs; they come over a preset's, and a run's own over both.

    Raises:
        UserError: a parameter is wrong, or there is no such preset.
    """
    if not 0 < scale < math.inf:  # nor NaN
        raise UserError(f"--scale {scale} is not above 0 and finite")
    if "seed" in common:
        raise UserError(f"-S seed does nothing in a study: its seeds are those of {STUDY}")
    names = {changes["preset"] for changes in study["runs"].values() if "preset" in changes}
    presets = {name: read_preset(name) for name in names}
    runs = []
    for seed in study["seeds"]:
        for name, changes in study["runs"].items():
            own = {key: value for key, value in changes.items() if key != "preset"}
            values = {**presets.get(changes.get("preset"), {}), **common, **own, "seed": seed}
            if scale != 1:
                full = load_params(overrides=values)
                side = GRID * max(1, round(full.model.image_size * math.sqrt(scale) / GRID))
                values |= {
                    "train.epochs": max(1, round(full.train.epochs * scale)),
                    "train.warmup_epochs": full.train.warmup_epochs * scale,
                    "model.image_size": side,
                    "train.image_size": None,
                    "evaluate.image_size": None,
                }
            params = load_params(overrides=values).model_dump(mode="json", exclude={"plot": True, "data": {"urls"}})
            digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:6]
            runs.append(Run(name, seed, values, f"{name}-s{seed}-{digest}"))
    return runs


def recorded() -> "pd.DataFrame":
    """The last report's rows, of whatever plan; none where there is no report.

    Raises:
        UserError: somebody's edit left no table.
    """
    import pandas as pd

    try:
        table = pd.read_csv(REPORTS / "study.csv", dtype={"commit": str})  # some are all digits
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame({"experiment": []})
    except pd.errors.ParserError:
        table = pd.DataFrame()
    if "experiment" not in table or table.experiment.isna().any():
        raise UserError(f"{REPORTS / 'study.csv'} is no table of runs: mend it, or restore it from Git")
    return table


def finished(runs: list[Run]) -> "pd.DataFrame":
    """One row a run that has its metrics, in an experiment of this clone or in the last report."""
    import pandas as pd

    rows = {row["experiment"]: row for row in recorded().to_dict("records")}
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json", "--all-commits"], capture_output=True, text=True
    )
    if shown.returncode:
        raise UserError(f"`dvc exp show` failed: {shown.stderr.strip()}")
    for commit in json.loads(shown.stdout):
        for experiment in commit["experiments"] or []:
            files = ((experiment["revs"] or [{}])[-1].get("data") or {}).get("metrics", {})
            results = files.get("reports/metrics.json", {}).get("data", {})
            costs = {key: value for file in files.values() for key, value in file.get("data", {}).items()}
            if results.keys() >= set(RESULTS) and costs.keys() >= set(COSTS):
                row = {key: results[key] for key in RESULTS} | {key: costs[key] for key in COSTS}
                rows[experiment["name"]] = row | {"commit": commit["rev"][:7]}
    return pd.DataFrame(
        {"run": run.name, "seed": run.seed, **rows[run.experiment], "experiment": run.experiment}
        for run in runs
        if run.experiment in rows
    )


def write_report(table: "pd.DataFrame", study: dict[str, Any]) -> None:
    """Page and figure of the runs in `table`; the CSV keeps those of other plans too, which else would run again."""
    import pandas as pd

    from ..reporting import study as report

    others = recorded()
    others = others[~others.experiment.isin(table.experiment)]

    changes = {
        name: ", ".join(f"`{key}={as_hydra(value)}`" for key, value in values.items()) or "nothing"
        for name, values in study["runs"].items()
    }
    text = report.page(table, study["questions"], changes, "study.png")
    write_csv(REPORTS / "study.csv", table if others.empty else pd.concat([others, table]))
    write_text(REPORTS / "study.md", text)
    with atomic_write(REPORTS / "study.png") as path:
        report.scatter(table).savefig(path, dpi=120, format="png")


def execute(run: Run) -> bool:
    """Runs one experiment; False where it failed.

    Raises:
        KeyboardInterrupt: as `run_experiment`.
    """
    target = "evaluate"  # the study needs no figures of each run
    return run_experiment("--temp", "--name", run.experiment, target, *as_dvc_arguments(run.values)) == 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", help=f"some of the runs in {STUDY} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on epochs and on the image's area")
    add_overrides(parser, "a value for all runs")


def run(options: argparse.Namespace) -> None:
    study = read_study()
    if unknown := set(options.runs) - set(study["runs"]):
        raise UserError(f"{', '.join(sorted(unknown))}: no such run; {STUDY} has {', '.join(study['runs'])}")
    runs = plan(study, options.scale, read_overrides(options.set))
    if edits := uncommitted():
        print(f"not committed in {PARAMS}, so in all runs without a preset: {', '.join(edits)}", file=sys.stderr)
    try:
        _run_missing(runs, options.runs or list(study["runs"]), study)
    except KeyboardInterrupt:
        sys.exit("stopped: the same command goes on")


def _run_missing(runs: list[Run], wanted: list[str], study: dict[str, Any]) -> None:
    table, failed = finished(runs), []
    done = set() if table.empty else set(table.experiment)
    missing = [run for run in runs if run.name in wanted and run.experiment not in done]
    print(f"study: {len(done)} of {len(runs)} runs are done, {len(missing)} to go", flush=True)
    try:
        for i, run in enumerate(missing, 1):
            print(f"study: {i} of {len(missing)}, {run.experiment}", flush=True)
            if not execute(run):
                failed.append(run.experiment)
    finally:
        table = finished(runs)
        if not table.empty:
            write_report(table, study)
            print(f"study: {len(table)} of {len(runs)} runs are in {REPORTS / 'study.md'}")
    if failed:
        raise UserError(f"{len(failed)} runs failed (see above; the same command tries again): {', '.join(failed)}")
