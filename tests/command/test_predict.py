import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

import coatnet
from coatnet.command import main, predict
from coatnet.data import Shards, write_shards, write_synthetic
from coatnet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stages import ARCHIVE, CHECKPOINT, REPORTS, SHARDS, evaluate
from tests.conftest import ROOT
from tests.data.test_pictures import BROKEN, ODD, picture, saved
from tests.inference.models import CLASSES, save_model


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "model.safetensors", tiny())


@pytest.fixture(autouse=True)
def clone(model, tmp_path, monkeypatch):
    """A folder with a trained model and some pictures."""
    monkeypatch.chdir(tmp_path)
    CHECKPOINT.parent.mkdir()
    CHECKPOINT.symlink_to(model)
    Path("pictures/below").mkdir(parents=True)
    for name in ("pictures/b.png", "pictures/a.png", "pictures/below/c.png", "pictures/.hidden"):
        Path(name).write_bytes(saved(picture(), "PNG"))
    return tmp_path


def failing(*arguments) -> object:
    """What the command exits with."""
    with pytest.raises(SystemExit) as exit:
        main(["predict", *map(str, arguments)])
    return exit.value.code


def named(*names: str) -> list[str]:
    """Pictures of the fixture as the command names them."""
    return [str(Path("pictures", f"{name}.png")) for name in names]


def table(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def expected(top: int = 4) -> list:
    classifier = coatnet.load(CHECKPOINT)
    return classifier.answers(classifier(picture()), top)[0]


def test_a_person_reads_names_and_percentages(capsys):
    main(["predict", "pictures/a.png", "--top", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pictures/a.png" and len(lines) == 3
    assert lines[1].split("%  ")[1] == expected()[0].name
    assert float(lines[1].split("%")[0]) == pytest.approx(100 * expected()[0].probability)


def test_rows_for_a_program(capsys):
    main(["predict", "--csv", "pictures/a.png"])
    rows = table(capsys.readouterr().out)
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    found = [(row["id"], row["name"], float(row["probability"])) for row in rows]
    assert found == [tuple(answer) for answer in expected()]


def test_one_list_for_a_program(capsys):
    main(["predict", "--json", "pictures", "--top", "1"])
    entries = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in entries] == named("a", "b", "below/c")
    assert all(entry["answers"] == [expected()[0]._asdict()] for entry in entries)


def test_a_folder_is_walked_in_order_without_hidden_files(capsys):
    main(["predict", "--csv", "--top", "1", "pictures/b.png", "pictures"])
    files = [row["file"] for row in table(capsys.readouterr().out)]
    assert files == ["pictures/b.png", *named("a", "b", "below/c")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system's folders have no named pipes")
def test_a_named_pipe_in_a_folder_is_no_picture():
    os.mkfifo("pictures/pipe.png")  # who opens it waits for ever
    Path("pictures/nowhere.png").symlink_to("gone.png")  # to be named
    assert [str(file) for file in predict.files_below("pictures")] == named("a", "b", "nowhere", "below/c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_written_to_and_stays():
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)  # else the writer would wait for one
    main(["predict", "--csv", "--top", "1", "--out", "pipe", "pictures"])
    assert [row["file"] for row in table(os.read(reader, 10_000).decode())] == named("a", "b", "below/c")
    os.close(reader)
    assert Path("pipe").is_fifo()


def test_a_link_stays_and_what_it_names_is_written():
    Path("below").mkdir()
    Path("answers.json").symlink_to("below/answers.json")
    main(["predict", "--json", "--out", "answers.json", "pictures/a.png"])
    assert Path("answers.json").is_symlink() and len(json.loads(Path("below/answers.json").read_text())) == 1


@pytest.mark.parametrize("option", ["--out", "--model", "picture"])
def test_too_long_a_name_is_one_sentence(option, capsys):
    long = 300 * "x"
    said = failing("pictures", option, long) if option.startswith("--") else failing(long)
    sentence = capsys.readouterr().err if said == 1 else said
    assert re.search(f"{long} cannot be (read|written): File name too long$", sentence.strip())


def test_a_model_that_cannot_be_read_is_not_called_absent(model, monkeypatch):
    def refuse(path, *arguments, **options):
        if str(path) == str(CHECKPOINT):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    opened = open
    monkeypatch.setattr("builtins.open", refuse)
    assert failing("pictures") == f"error: {CHECKPOINT} cannot be read: Permission denied"


@pytest.mark.parametrize("out", ["pictures/answers.csv", "answers"])
def test_former_answers_are_no_picture(out):
    Path("answers").symlink_to("pictures/answers.csv")
    for _ in range(2):
        main(["predict", "--csv", "--top", "1", "--out", out, "pictures"])
        rows = table(Path("pictures/answers.csv").read_text())
        assert [row["file"] for row in rows] == named("a", "b", "below/c")


def test_standard_input(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(saved(picture(), "PNG"))))
    main(["predict", "--csv", "--top", "1", "-"])
    (row,) = table(capsys.readouterr().out)
    assert (row["file"], row["name"]) == ("standard input", expected()[0].name)


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_stream_that_the_shell_closed_is_empty_or_goes_nowhere(stream, capsys, monkeypatch):
    """As by `>&-`, for which Python has None."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    monkeypatch.setattr(sys, stream, None)
    assert failing("-", "pictures/a.png", "nowhere.png") == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: standard input is empty",
        "error: nowhere.png cannot be read: No such file or directory",
    ]


def test_a_file_appears_whole_or_not_at_all(capsys, monkeypatch):
    Path("answers.json").write_text("former")
    main(["predict", "--json", "--out", "answers.json", "pictures"])
    assert capsys.readouterr().out == "" and len(json.loads(Path("answers.json").read_text())) == 3

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "_answers", interrupt)
    before = sorted(Path().rglob("*"))
    assert failing("--csv", "--out", "answers.json", "pictures") == 130
    assert len(json.loads(Path("answers.json").read_text())) == 3 and sorted(Path().rglob("*")) == before


def test_ctrl_c_leaves_no_picture_waiting(monkeypatch):
    closed = []

    def answers(*_):
        try:
            yield "a.png", []
        finally:
            closed.append(True)

    def interrupt(out, found):
        next(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "_answers", answers)
    monkeypatch.setattr(predict, "_write_text", interrupt)
    with pytest.raises(KeyboardInterrupt) as kept:  # with its frames, as until Python has ended
        predict.run(Namespace(top=5, out=None, model=None, paths=["pictures"], form=None))
    assert closed and kept


def test_twenty_odd_pictures_each_get_the_answer_of_what_they_show(capsys):
    Path("odd").mkdir()
    pictures = []
    for number, (kind, make) in enumerate(list(ODD.items())[:20]):
        content, shown = make()
        Path("odd", f"{number:02}-{kind}").write_bytes(content)
        pictures.append(shown)
    main(["predict", "--csv", "--top", "1", "odd"])
    captured = capsys.readouterr()
    found = [float(row["probability"]) for row in table(captured.out)]
    classifier = coatnet.load(CHECKPOINT)
    best = [answers[0].probability for answers in classifier.answers(classifier(pictures))]
    assert found == pytest.approx(best, abs=0.02) and "error" not in captured.err


def test_twenty_broken_ones_are_named_and_the_others_go_on(capsys):
    for kind, make in list(BROKEN.items())[:20]:
        Path("pictures", f"{kind}.jpg").write_bytes(make())
    assert failing("--csv", "--top", "1", "pictures", "nowhere.png") == 1
    captured = capsys.readouterr()
    assert [row["file"] for row in table(captured.out)] == named("a", "b", "below/c")
    sentences = [line.split(" ")[1] for line in captured.err.splitlines()]
    assert sentences == [*sorted(str(Path("pictures", f"{kind}.jpg")) for kind in list(BROKEN)[:20]), "nowhere.png"]


def test_if_all_are_broken_the_list_is_empty(capsys):
    Path("broken.jpg").write_text("no picture")
    assert failing("--json", "broken.jpg") == 1
    assert json.loads(capsys.readouterr().out) == []


def test_a_name_cannot_command_the_terminal(capsys):
    name = "a\x1b[31m\nb.png"
    try:
        Path(name).write_bytes(saved(picture(), "PNG"))
        Path(f"broken {name}").touch()
    except OSError:
        pytest.skip("this system's file names hold no such characters")
    assert failing("--top=1", name, f"broken {name}") == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == r"a\x1b[31m\nb.png"
    assert r"error: broken a\x1b[31m\nb.png" in said.err


@pytest.mark.parametrize("form", ["--json", "--csv", "--top=1"])
def test_a_name_in_no_encoding_is_no_trouble(form, capfdbinary):
    name = b"caf\xe9.png"
    try:
        Path(name.decode("utf-8", "surrogateescape")).write_bytes(saved(picture(), "PNG"))
    except OSError:
        pytest.skip("this system's file names are always text")
    main(["predict", form, name.decode("utf-8", "surrogateescape")])
    assert b"caf" in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--top", "0", "pictures"], "--top 0 is less than 1"),
        (["--out", "pictures", "pictures"], "--out pictures is a folder: name a file"),
        (["empty"], "empty has no files in it"),
        (["--model", "other.safetensors", "pictures"], "there is no model other.safetensors: `make repro` trains one"),
        (["--model", "pictures/a.png", "pictures"], "pictures/a.png is no checkpoint"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, sentence):
    Path("empty").mkdir()
    said = failing(*arguments)
    assert sentence in said and "\n" not in said


def test_the_model_trained_here_comes_first_then_the_best_then_the_only_released_one(model, capsys):
    released = Path("released/two-cores.safetensors")
    released.parent.mkdir()
    other = load_checkpoint(model)
    with torch.no_grad():
        other.model.head.weight.mul_(-1)
        other.model.head.bias.mul_(-1)
    save_checkpoint(released, other)

    def answer() -> str:
        main(["predict", "pictures/a.png", "--csv", "--top", "1"])
        return table(capsys.readouterr().out)[0]["id"]

    best, *_, worst = expected()
    assert answer() == best.id
    CHECKPOINT.unlink()
    assert answer() == worst.id
    Path("released/a.safetensors").symlink_to(model)
    assert answer() == worst.id
    released.unlink()
    assert answer() == best.id
    Path("released/b.safetensors").symlink_to(model)
    assert "name one by --model, released/a.safetensors or released/b.safetensors" in failing("pictures")
    for file in Path("released").iterdir():
        file.unlink()
    assert failing("pictures") == "error: there is no model here: `make repro` trains one"
    for name in ("a", "two-cores"):
        Path(f"released/{name}.safetensors.dvc").write_text("outs:")
    pull = "`dvc pull released/two-cores.safetensors` brings one, `make repro` trains one"
    assert failing("pictures") == f"error: there is no model here: {pull}"
    given = "released/two-cores.safetensors"
    assert failing("pictures", "--model", given) == f"error: there is no model {given}: {pull}"


@pytest.mark.parametrize("settings", [{}, {"evaluate__flip": True, "evaluate__crop": 0.75, "evaluate__image_size": 64}])
def test_files_get_the_answers_of_the_evaluate_stage(settings, tiny, tmp_path, monkeypatch):
    params = tiny(data__synthetic__test_per_class=20, **settings)
    CHECKPOINT.unlink()
    write_synthetic(params.data.synthetic, ARCHIVE)
    write_shards(ARCHIVE, SHARDS)
    shards = Shards(SHARDS)
    random = load_checkpoint(save_model(tmp_path / "random.safetensors", params)).model
    values = params.model_dump(mode="json")
    save_checkpoint(CHECKPOINT, Checkpoint(random, values, shards.classes, shards.mean, shards.std))
    evaluate.main(params)
    with zipfile.ZipFile(ARCHIVE) as archive:
        files = sorted(name for name in archive.namelist() if name.startswith("val/images"))
        archive.extractall("extracted", files)
    main(["predict", "--csv", "--top", "1", "--out", "answers.csv", "extracted"])
    stage = pd.read_csv(REPORTS / "predictions.csv")
    found = pd.read_csv("answers.csv")
    assert list(found.file) == [str(Path("extracted", file)) for file in files]  # by class, as the shards
    assert list(found.name) == list(stage.predicted)
    assert list(found.probability) == pytest.approx(list(stage.probability), abs=2e-4)
    assert found.name.nunique() > 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no head")
def test_it_ends_quietly_where_nobody_reads_on():
    command = f"{sys.executable} -m coatnet predict {'pictures ' * 300} | head -n 1"  # more than a pipe holds
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("pictures/a.png\n", "")


def test_classes_of_one_name_are_told_apart(capsys):
    main(["predict", "pictures/a.png", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)
    assert {answer["id"] for answer in entry["answers"]} == {wnid for wnid, _ in CLASSES}
    assert {answer["name"] for answer in entry["answers"]} == {"goldfish", "crane (n02)", "crane (n03)", "n04"}


def test_a_picture_of_a_million_pixels(capsys):
    Image.new("RGB", (2000, 1500), "red").save("large.jpg")
    main(["predict", "large.jpg"])
    assert "%" in capsys.readouterr().out
