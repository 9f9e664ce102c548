import pytest

from coatnet import load_params
from coatnet.command import main
from coatnet.command.presets import read_overrides
from coatnet.reporting.summary import summarise


def test_rows_of_the_defaults():
    rows = summarise(load_params().model, 200)
    assert [name for name, *_ in rows[:4]] == ["stem", "stem_norm", "stage1.0", "down1"]
    assert rows[0] == ("stem", (64, 112, 112), 1_728, 112 * 112 * 64 * 27)
    assert rows[-1] == ("total", (200,), 3_373_280, 2_211_339_264)
    for column in (2, 3):  # the rows are the whole model
        assert sum(row[column] for row in rows[:-1]) == rows[-1][column]


@pytest.mark.parametrize("preset", [None, "paper-coatnet-0"])
def test_rows_add_up_to_the_model(preset):
    rows = summarise(load_params(overrides=read_overrides(["model.layout=CCCT"], preset)).model, 200)
    for column in (2, 3):
        assert sum(row[column] for row in rows[:-1]) == rows[-1][column]


def test_overrides_of_a_preset_come_first_and_values_are_yaml():
    overrides = read_overrides(["model.blocks=[1,1,3,1]", "train.lr=1e-3", "model.layout=CCCT"], "paper-coatnet-0")
    assert overrides["model.blocks"] == [1, 1, 3, 1]
    assert overrides["train.lr"] == 1e-3
    assert overrides["model.layout"] == "CCCT"
    assert overrides["model.variant"] == "paper"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--preset", "paper-coatnet0"], "did you mean paper-coatnet-0?"),
        (["-S", "model.layout"], "-S model.layout is not of the form NAME=VALUE"),
        (["-S", "model.blocks=[1"], "the value is not valid YAML"),
        (["-S", "seed=2024-13-45"], "the value is not valid YAML"),
        (["--classes", "-1"], "--classes -1 is less than 1"),
        (["--classes", "0"], "--classes 0 is less than 1"),
        (["-S", "model.laiout=CCCT"], "did you mean model.layout?"),
        (["-S", "model.image_size=100"], "not divisible"),
        (["-S", "model.name=timm/resnet19"], "did you mean timm/resnet18?"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, sentence):
    with pytest.raises(SystemExit) as exit:
        main(["summary", *arguments])
    assert sentence in str(exit.value) and "\n" not in str(exit.value)


def test_the_command_prints_a_table(capsys):
    main(["summary", "-S", "model.variant=paper", "--classes", "10"])
    lines = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[-1].strip("|").split("|")][:2] == ["total", "10"]
