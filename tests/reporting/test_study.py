from itertools import pairwise

import pandas as pd
import pytest

from coatnet.reporting.study import HEADER, page, scatter


@pytest.fixture
def runs() -> pd.DataFrame:
    common = {"images": 10_000, "split": "test", "parameters": 3_373_280, "minutes": 20.0}
    return pd.DataFrame(
        {"run": run, "seed": seed, "top1": top1, "top1_low": top1 - 1, "top1_high": top1 + 1, "gap": gap, **common}
        | {"train_top1": top1 + gap}
        for run, seed, top1, gap in [("a", 0, 44.0, 20.0), ("a", 1, 46.0, 18.0), ("b", 0, 60.0, 5.0)]
    )


def test_the_page_has_a_table_a_question(runs):
    text = page(runs, {"Which?": ["a", "b"], "And then?": ["c"]}, {"a": "nothing", "b": "`x=1`"}, "study.png")
    lines = text.splitlines()
    which = lines.index("## Which?")
    assert lines[which + 2] == HEADER
    # Mean and sample deviation over seeds; Wilson's interval of 45% of 10,000 images.
    assert (
        lines[which + 4] == "| a | 2 | 45.00 ± 1.41 | 44.03 to 45.98 | 64.00 ± 0.00 | 19.00 ± 1.41 | 3,373,280 | 20.0 |"
    )
    assert lines[which + 5].startswith("| b | 1 | 60.00 | 59.04 to 60.96 | 65.00 | 5.00 |")
    assert "| c | 0 | | | | | | |" in lines
    assert "![Top-1 against gap](study.png)" in lines
    tables = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in tables[:7]} == {HEADER.count("|")}


def test_the_figure_has_a_point_a_run(runs):
    (axes,) = scatter(runs).axes
    points = [container.lines[0].get_xydata().tolist() for container in axes.containers]
    assert points == [[[20.0, 44.0], [18.0, 46.0]], [[5.0, 60.0]]]
    assert [container.get_label() for container in axes.containers] == ["a", "b"]
    assert axes.containers[0].has_yerr


def test_no_two_runs_look_alike_and_neighbours_differ_without_colour(runs):
    many = pd.concat([runs[runs.run == "b"].assign(run=f"run {i}") for i in range(25)])
    (axes,) = scatter(many).axes
    looks = [(container.lines[0].get_marker(), container.lines[0].get_color()) for container in axes.containers]
    assert len(set(looks)) == 25
    assert all(a != b for (a, _), (b, _) in pairwise(looks))
