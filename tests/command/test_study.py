import json
import math
import shutil
from collections import Counter
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
import yaml

from coatnet import UserError, load_params
from coatnet.command import main, study
from coatnet.command.study import GRID, finished, plan
from tests.conftest import ROOT

STUDY = yaml.safe_load((ROOT / "study.yaml").read_text())


@pytest.mark.parametrize("scale", [1, 0.25, 0.05])
def test_every_run_is_valid_and_has_a_name_of_its_own(scale):
    runs = plan(STUDY, scale, {})  # raises where a run's parameters are wrong
    assert len({run.experiment for run in runs}) == len(runs) == 3 * len(STUDY["runs"])
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_every_question_names_runs_and_every_run_answers_one():
    assert {name for names in STUDY["questions"].values() for name in names} == set(STUDY["runs"])


def test_runs_of_a_question_differ_and_one_is_the_default():
    for names in STUDY["questions"].values():
        values = [str(sorted(STUDY["runs"][name].items())) for name in names]
        assert Counter(values).most_common(1)[0][1] == 1
    assert STUDY["runs"]["table-CCTT"] == {}


def test_a_name_changes_with_a_parameter_of_the_result_alone():
    def names(**common):
        return {run.experiment for run in plan(STUDY, 1, {k.replace("__", "."): v for k, v in common.items()})}

    assert names(plot__dpi=60) == names()
    assert not names(train__weight_decay=0.01) & names()


def test_scale_shrinks_epochs_and_the_image_s_area():
    (run,) = plan({"seeds": [1], "runs": {"one": {"train.warmup_epochs": 8.0}}}, 0.25, {})
    full, small = load_params(), load_params(overrides=run.values)
    assert small.train.epochs == full.train.epochs / 4
    assert small.train.warmup_epochs == 2.0
    assert small.model.image_size % GRID == 0
    assert (small.model.image_size / full.model.image_size) ** 2 == pytest.approx(0.25, rel=0.35)


def test_a_run_s_own_values_come_over_those_of_all():
    (run,) = plan({"seeds": [1], "runs": {"one": {"model.layout": "CCCT"}}}, 1, {"model.layout": "CCCC"})
    assert (run.values["model.layout"], run.seed, run.values["seed"]) == ("CCCT", 1, 1)


def test_what_all_runs_get_comes_over_a_preset_and_a_run_s_own_over_both():
    study = {"seeds": [1], "runs": {"one": {"preset": "flagship", "train.ema": 0.5}}}
    (run,) = plan(study, 1, {"train.ema": 0.4, "train.epochs": 30})
    assert (run.values["train.ema"], run.values["train.epochs"], run.values["train.batch_size"]) == (0.5, 30, 1024)
    with pytest.raises(UserError, match="flagshp is no preset"):
        plan({"seeds": [1], "runs": {"one": {"preset": "flagshp"}}}, 1, {})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "study.yaml: it: Input should be"),
        ("seeds: [1]\nruns: {plain: {}}\n", "study.yaml: questions: Field required"),
        ("seeds: [1]\nruns:\n  plain:\nquestions: {}\n", "study.yaml: runs.plain: Input should be"),
        ("seeds: 1\nruns: {plain: {}}\nquestions: {}\n", "study.yaml: seeds: Input should be"),
    ],
)
def test_a_slip_in_the_file_is_one_sentence(tmp_path, monkeypatch, text, sentence):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(text)
    with pytest.raises(SystemExit) as exit:
        main(["study"])
    assert sentence in exit.value.code and "\n" not in exit.value.code


def test_a_commit_of_digits_stays_as_it_is(tmp_path, monkeypatch):
    (run,) = plan({"seeds": [1], "runs": {"one": {}}}, 1, {})
    monkeypatch.chdir(tmp_path)
    Path("reports").mkdir()
    Path("reports/study.csv").write_text(f"run,seed,top1,commit,experiment\none,1,50.0,0123456,{run.experiment}\n")
    monkeypatch.setattr(study.subprocess, "run", lambda *_, **__: CompletedProcess([], 0, stdout="[]"))
    assert finished([run]).commit.tolist() == ["0123456"]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the tests' parameters, a study of two runs, the report of another plan, and no experiment."""
    for file in ("params.yaml", "presets.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text("seeds: [1]\nruns: {one: {}, two: {train.lr: 0.5}}\nquestions: {Which: [one, two]}\n")
    Path("reports").mkdir()
    monkeypatch.setattr(study.subprocess, "run", lambda *_, **__: CompletedProcess([], 0, stdout="[]"))
    monkeypatch.setattr(study, "uncommitted", dict)  # it asks git, by the same function


FACTS = {
    "top1": 50.12, "top1_low": 49.0, "top1_high": 51.0, "top5": 75.0, "loss": 2.0, "train_top1": 60.0,
    "gap": 9.9, "images": 10000, "split": "holdout", "parameters": 3_000_000, "images_per_second": 400.0,
    "minutes": 80.0, "commit": "0123456",
}  # fmt: skip


def report(*runs: study.Run) -> list[str]:
    """Writes reports/study.csv; returns its lines."""
    rows = [{"run": run.name, "seed": run.seed, **FACTS, "experiment": run.experiment} for run in runs]
    pd.DataFrame(rows).to_csv("reports/study.csv", index=False)
    return Path("reports/study.csv").read_text().splitlines()


def test_runs_of_another_plan_stay_recorded_and_off_the_page(clone, monkeypatch, capsys):
    former, (run, _) = plan(study.read_study(), 1, {}), plan(study.read_study(), 0.05, {})
    lines = report(*former, run)
    monkeypatch.setattr(study, "execute", lambda run: pytest.fail("it is done") if run.name == "one" else False)
    with pytest.raises(SystemExit, match="1 runs failed"):
        main(["study", "--scale", "0.05"])
    assert Path("reports/study.csv").read_text().splitlines() == lines
    assert "| two | 0 |" in Path("reports/study.md").read_text()
    assert "1 of 2 runs are done, 1 to go" in capsys.readouterr().out
    main(["study"])
    assert sorted(Path("reports/study.csv").read_text().splitlines()) == sorted(lines)
    assert "| two | 1 |" in Path("reports/study.md").read_text()


def test_an_empty_report_is_none(clone):
    Path("reports/study.csv").touch()
    assert finished(plan(study.read_study(), 1, {})).empty


def test_a_report_that_is_no_table_is_not_written_over(clone):
    (line,) = report(plan(study.read_study(), 1, {})[0])[1:]
    for broken in (f"{line}\n", f"<<<<<<< HEAD\n{line}\n", f"run,experiment\none,{'a'}\n=======\n", "a,b\n1,2,3\n"):
        Path("reports/study.csv").write_text(broken)
        with pytest.raises(SystemExit, match=r"study\.csv is no table of runs: mend it, or restore it from Git"):
            main(["study"])
        assert Path("reports/study.csv").read_text() == broken


def test_an_experiment_of_other_metrics_is_passed_by(clone, monkeypatch):
    metrics = {"reports/metrics.json": {"data": {"top1": 50.0}}, "reports/train.json": {"data": FACTS}}
    found = {"name": "mine", "revs": [{"data": {"metrics": metrics}}]}
    shown = json.dumps([{"rev": "0123456", "experiments": [found]}])
    monkeypatch.setattr(study.subprocess, "run", lambda *_, **__: CompletedProcess([], 0, stdout=shown))
    assert finished(plan(study.read_study(), 1, {})).empty


def test_uncommitted_values_are_named_since_runs_have_them(clone, monkeypatch, capsys):
    monkeypatch.setattr(study, "uncommitted", lambda: {"train.lr": 0.1, "data.holdout": 0.0})
    monkeypatch.setattr(study, "execute", lambda run: True)
    main(["study"])
    said = "not committed in params.yaml, so in all runs without a preset: train.lr, data.holdout\n"
    assert capsys.readouterr().err == said


def test_all_runs_can_have_the_original_s_image_size():
    common = {"model.image_size": 224, "train.image_size": None, "evaluate.image_size": None}  # docs/experiments.md
    assert len(plan(STUDY, 1, common)) == 3 * len(STUDY["runs"])


def test_a_wrong_value_stops_before_any_run():
    with pytest.raises(UserError, match=r"did you mean train\.lr"):
        plan(STUDY, 1, {"train.l": 1})
    with pytest.raises(UserError, match=r"-S seed does nothing in a study: its seeds are those of study\.yaml"):
        plan(STUDY, 1, {"seed": 7})
    for scale in (0, -1, math.nan, math.inf):
        with pytest.raises(UserError, match=f"--scale {scale} is not above 0 and finite"):
            plan(STUDY, scale, {})
    with pytest.raises(SystemExit, match=r"^error: table-CCTX: no such run; study\.yaml has table-CCTT, "):
        main(["study", "table-CCTX"])
