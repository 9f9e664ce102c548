from collections import Counter
from pathlib import Path
from subprocess import CompletedProcess

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
    (run,) = plan({"seeds": [1], "runs": {"one": {"model.layout": "CCCT"}}}, 1, {"model.layout": "CCCC", "seed": 5})
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


def test_all_runs_can_have_the_original_s_image_size():
    common = {"model.image_size": 224, "train.image_size": None, "evaluate.image_size": None}  # docs/experiments.md
    assert len(plan(STUDY, 1, common)) == 3 * len(STUDY["runs"])


def test_a_wrong_value_stops_before_any_run():
    with pytest.raises(UserError, match=r"did you mean train\.lr"):
        plan(STUDY, 1, {"train.l": 1})
    with pytest.raises(UserError, match="--scale 0 is not above 0"):
        plan(STUDY, 0, {})
    with pytest.raises(SystemExit, match=r"^error: table-CCTX: no such run; study\.yaml has table-CCTT, "):
        main(["study", "table-CCTX"])
