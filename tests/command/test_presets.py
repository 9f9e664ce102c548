import shutil

import pytest
import yaml
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides

from coatnet import load_params
from coatnet.command.presets import main, read_preset, set_params
from coatnet.command.summary import summarise
from tests.conftest import PARAMS, ROOT

NAMES = list(yaml.safe_load((ROOT / "presets.yaml").read_text()))


def printed(capsys, *arguments: str) -> list[str]:
    """The words that a shell makes of what the command prints."""
    main(list(arguments))
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


@pytest.mark.parametrize("before", NAMES)
def test_a_preset_run_before_leaves_nothing(before, tmp_path):
    """DVC leaves an experiment's values in params.yaml."""
    applied(tmp_path, set_params(read_preset(before)))
    left = (tmp_path / "params.yaml").read_text()
    for name in NAMES:
        (tmp_path / "params.yaml").write_text(left)
        values = read_preset(name)
        apply_overrides(str(tmp_path / "params.yaml"), set_params(values)[1::2])
        assert load_params(tmp_path / "params.yaml") == load_params(overrides=values), name


def test_a_preset_stands_over_the_committed_values(monkeypatch):
    monkeypatch.setattr("coatnet.command.presets._committed", lambda: {"train.epochs": 3, "train.lr": 0.5, "seed": 7})
    flagship = read_preset("flagship")
    assert (flagship["train.epochs"], flagship["train.lr"]) == (100, 2e-3)
    assert read_preset("paper-coatnet-0")["train.epochs"] == 3
    assert "seed" not in flagship  # no preset sets it, so the user's own stays


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
    words = set_params({name: value})
    assert " ".join(words).split() == words
    assert applied(tmp_path, words) == load_params(overrides={name: value})


def test_an_unknown_preset_prints_what_dvc_refuses(tmp_path, capsys):
    with pytest.raises(SystemExit, match=r"did you mean flagship\?"):
        main(["flagshp"])
    with pytest.raises(InvalidArgumentError):
        applied(tmp_path, capsys.readouterr().out.split())


def test_without_a_name_all_are_listed(capsys):
    assert printed(capsys) == NAMES


@pytest.mark.parametrize(
    ("name", "least", "most"), [("seed-published", 3_373_280, 3_373_280), ("flagship", 3e6, 3.5e6)]
)
def test_sizes(name, least, most):
    assert least <= summarise(load_params(overrides=read_preset(name)).model, 200)[-1][2] <= most


def test_seed_published_is_four_passes_over_crops_of_256():
    params = load_params(overrides=read_preset("seed-published"))
    assert params.augment.passes == ("plain", "mixup", "cutmix", "erase")
    assert params.augment.policy == "none"
    assert params.augment.crop_scale == ((224 / 256) ** 2,) * 2
