import shutil
from pathlib import Path

import pytest
import yaml
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides

from coatnet import UserError, load_params
from coatnet.command import main, presets
from coatnet.command.presets import as_dvc_arguments, read_preset, uncommitted
from coatnet.params import dotted
from coatnet.reporting import original
from coatnet.reporting.summary import summarise
from tests.conftest import PARAMS, ROOT

NAMES = list(yaml.safe_load((ROOT / "presets.yaml").read_text()))


def printed(capsys, *arguments: str) -> list[str]:
    """The words that a shell makes of what the command prints."""
    main(["preset", *arguments])
    return capsys.readouterr().out.split()


def applied(tmp_path, words: list[str]):
    """The parameters after `dvc exp run WORDS`, by DVC's own code."""
    path = tmp_path / "params.yaml"
    shutil.copy(PARAMS, path)
    assert set(words[::2]) == {"-S"}
    apply_overrides(str(path), words[1::2])
    return load_params(path)


@pytest.mark.parametrize("name", NAMES)
def test_dvc_reads_what_the_file_says(name, tmp_path, capsys):
    assert applied(tmp_path, printed(capsys, name)) == load_params(overrides=read_preset(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid_over_the_parameters_of_the_repository(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    load_params(overrides=read_preset(name))


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A clone of the tests' own, with the committed params.yaml."""
    shutil.copytree(Path.cwd(), tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


@pytest.mark.parametrize("path", ["/my data/Bob's", "C:\\data\\", "\\'", "7", "a,b", "~/x"])
def test_dvc_reads_any_path(path, tmp_path):
    assert applied(tmp_path, as_dvc_arguments({"data.archive": path})).data.archive == path


def test_dvc_reads_an_empty_path_as_it_is(tmp_path):
    with pytest.raises(UserError, match=r"data\.archive='' is not valid"):
        applied(tmp_path, as_dvc_arguments({"data.archive": ""}))


@pytest.mark.parametrize("before", NAMES)
def test_a_preset_run_before_leaves_nothing(before, clone):
    """DVC leaves an experiment's values in params.yaml."""
    committed = load_params()
    apply_overrides("params.yaml", as_dvc_arguments(read_preset(before))[1::2])
    left = Path("params.yaml").read_text()
    presets_file = yaml.safe_load(Path("presets.yaml").read_text())
    for name in NAMES:
        Path("params.yaml").write_text(left)
        apply_overrides("params.yaml", as_dvc_arguments(read_preset(name))[1::2])
        assert load_params() == load_params(PARAMS, presets_file[name]), name
    assert committed == load_params(PARAMS)


def test_uncommitted_edits_are_set_aside_and_named(clone, capsys):
    apply_overrides("params.yaml", ["train.epochs=3", "data.holdout=0.1"])
    main(["preset", "paper-coatnet-0"])
    printed = capsys.readouterr()
    assert "-S train.epochs=80" in printed.out and "-S data.holdout=0.0" in printed.out
    assert printed.err == "set aside, since not committed in params.yaml: data.holdout, train.epochs\n"
    assert "train.epochs=100" in as_dvc_arguments(read_preset("flagship"))  # the preset's own


def test_without_the_program_git_a_preset_is_its_own_values(clone, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert read_preset("overnight")["train.epochs"] == 100


def test_without_edits_a_preset_is_its_own_values_alone(clone, capsys):
    main(["preset", "paper-coatnet-0"])
    printed = capsys.readouterr()
    own = yaml.safe_load(Path("presets.yaml").read_text())["paper-coatnet-0"]
    assert (printed.out.split(), printed.err) == (as_dvc_arguments(own), "")


def test_it_runs_without_a_shell_that_substitutes(monkeypatch):
    called = []
    monkeypatch.setattr(presets, "run_experiment", lambda *arguments: called.append(arguments) or 3)
    with pytest.raises(SystemExit) as ended:
        main(["preset", "smoke", "--run", "--temp", "-S", "seed=1"])
    assert called == [(*as_dvc_arguments(read_preset("smoke")), "--temp", "-S", "seed=1")]
    assert ended.value.code == 3


def test_what_follows_a_preset_comes_over_it(tmp_path, capsys):
    params = applied(tmp_path, [*printed(capsys, "flagship"), "-S", "train.epochs=7"])
    assert (params.train.epochs, params.model.layout) == (7, "CCCT")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.archive", "a,b.zip"),
        ("data.archive", "[a].zip"),
        ("data.archive", "12"),
        ("data.archive", None),
        ("model.name", "timm/convnext_atto"),
        ("train.lr", 1e-05),
        ("evaluate.flip", True),
        ("train.image_size", [[0, 128], [40, 224]]),
        ("augment.passes", ["plain", "mixup"]),
    ],
)
def test_values_reach_dvc_as_they_are(name, value, tmp_path):
    words = as_dvc_arguments({name: value})
    assert " ".join(words).split() == words
    assert applied(tmp_path, words) == load_params(overrides={name: value})


@pytest.mark.parametrize(
    "words", [["flagshp"], ["two-cores", "-S", "seed=1"], ["two-cores", "--seed"], ["flagship", "smoke"]]
)
def test_of_whatever_fails_dvc_gets_what_it_refuses(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["preset", *words])
    assert ended.value.code
    with pytest.raises(InvalidArgumentError):
        applied(tmp_path, capsys.readouterr().out.split())


@pytest.mark.parametrize("text", ["", "mine:\n", "mine: 3\n", "- mine\n", "a: {train.lr: 1}\nmine: [1]\n"])
def test_a_slip_in_the_file_is_one_sentence(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("presets.yaml").write_text(text)
    for words in ([], ["mine"]):
        with pytest.raises(SystemExit, match=r"presets\.yaml: each preset must be a name with parameters"):
            main(["preset", *words])


def test_a_preset_may_be_nested_as_the_parameters_are(clone, capsys):
    Path("presets.yaml").write_text("mine: {model: {layout: CCCT}, train: {lr: 0.5}}\n")
    assert printed(capsys, "mine") == ["-S", "model.layout=CCCT", "-S", "train.lr=0.5"]


def test_an_unknown_preset_is_told_the_nearest():
    with pytest.raises(SystemExit, match=r"did you mean flagship\?"):
        main(["preset", "flagshp"])


@pytest.mark.parametrize("words", [["--run"], ["--run", "smoke"]])
def test_run_needs_a_name(words, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="--run needs a preset before it"):
        main(["preset", *words])
    assert capsys.readouterr().out == ""


def test_without_a_name_all_are_listed(capsys):
    assert printed(capsys) == NAMES


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("original-224", 3_373_280, 3_373_280),
        ("original-published", 3_373_280, 3_373_280),
        ("flagship", 3e6, 3.5e6),
        ("two-cores", 3e6, 3.5e6),
    ],
)
def test_sizes(name, least, most):
    assert least <= summarise(load_params(overrides=read_preset(name)).model, 200)[-1][2] <= most


def test_the_defaults_are_the_original_at_64_pixels_and_original_224_is_its_recipe(monkeypatch):
    monkeypatch.chdir(ROOT)
    committed = load_params(overrides=uncommitted())
    full = load_params(overrides=read_preset("original-224"))
    values = dotted(full.model_dump(mode="json"))
    assert {name: values[name] for name in original.RECIPE} == original.RECIPE
    assert committed.model.image_size == 64
    assert full.model_copy(update={"model": full.model.model_copy(update={"image_size": 64})}) == committed


def test_original_published_is_four_passes_over_crops_of_256():
    params = load_params(overrides=read_preset("original-published"))
    assert params.augment.passes == ("plain", "mixup", "cutmix", "erase")
    assert params.augment.policy == "none"
    assert params.augment.crop_scale == ((224 / 256) ** 2,) * 2
