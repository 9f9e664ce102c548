"""Nothing that README, docs and params.yaml name leads nowhere: links, paths, parameters, commands."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from coatnet.command import COMMANDS
from coatnet.params import Params, parameter_names
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]
TEXTS = [*PAGES, ROOT / "params.yaml", ROOT / "presets.yaml", ROOT / "study.yaml", ROOT / "dvc.yaml"]
# What a command makes, what a recipe tells its reader to add, and names that stand for others.
MADE = ("reports/study.",)
EXAMPLES = {
    "docs/extend.md": {
        "coatnet/reporting/figures/confidence.py",
        "coatnet/models/plain.py",
        "stages/rank.py",
        "tests/stages/test_rank.py",
        "reports/rank.csv",
        "reports/figures/confidence.png",
        "reports/figures/confidence.csv",
        "train.beta2",
        "augment.greyscale",
    }
}


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code(page: Path) -> list[str]:
    """What stands between backticks, and each line of the blocks."""
    blocks = re.findall(r"```\w*\n(.*?)```", read(page), re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL))
    return spans + [line for block in blocks for line in block.splitlines()]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)]+)\)", read(page))
    assert links
    for link in links:
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_paths_exist(page):
    for path in re.findall(
        r"(?<![\w/.~-])(?:coatnet|stages|tests|docs|benchmarks|reports|\.ci)/[\w./-]*\w/?", read(page)
    ):
        known = path.startswith(MADE) or path in EXAMPLES.get(name(page), ())
        assert known or (ROOT / path).exists() or list(ROOT.glob(f"{path}*")), path


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_parameters_exist(page):
    names = parameter_names()
    sections = "|".join(Params.model_fields)
    for found in re.findall(rf"(?<![\w./-])((?:{sections})(?:\.[a-z_0-9]+)+)(?![\w/(])", read(page)):
        if found.endswith((".py", ".yaml", ".csv", ".json", ".md", ".onnx", ".torchscript", ".safetensors")):
            continue
        assert found in names or found in EXAMPLES.get(name(page), ()), found


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_commands_exist(page):
    presets = yaml.safe_load(read(ROOT / "presets.yaml"))
    targets = re.findall(r"^(\w+):", read(ROOT / "Makefile"), re.MULTILINE)
    text = read(page) if page.suffix == ".yaml" else "\n".join(code(page))
    for command in re.findall(r"(?:^|[`$(] ?|python -m )coatnet ([a-z]+)", text, re.MULTILINE):
        assert command in COMMANDS, command
    for preset in re.findall(r"(?:coatnet preset|--preset) ([a-z][\w-]*)", text):
        assert preset in presets, preset
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets, target
    for package, module in re.findall(r"python -m (benchmarks|stages|coatnet)\.?([a-z_]*)", text):
        assert (ROOT / package / f"{module or '__main__'}.py").exists(), module
    assert not re.search(r"python -m stages\.(summary|presets|study)", text)


def test_no_seed_but_a_random_one():
    """The published reproduction is called the original."""
    words = r"SEED\.md\|the seed's\|seed-published"
    command = ["git", "grep", "-iwn", words, "--", ":!tests/test_docs.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")  # 1: nothing was found


def test_the_front_page_is_one_page():
    assert len(read(ROOT / "README.md").splitlines()) <= 150
