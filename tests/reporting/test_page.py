"""The page as a browser's parser reads it: what is in it, what is left out, and that names cannot break it."""

import base64
import io
import itertools
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

from coatnet import load_params
from coatnet.params import dotted
from coatnet.reporting import original
from coatnet.reporting.groups import GROUP_OF
from coatnet.reporting.page import facts, report
from tests.conftest import PARAMS

ALWAYS = ["curves", "gap", "classes", "pairs", "mistakes", "confusion", "calibration"]
ALWAYS_LAST = ["augmented", "model", "parameters", "machine"]
WHOLE = [(wnid, f"class {wnid}, with a synonym") for wnid in GROUP_OF]  # all of Tiny ImageNet's
ODD = [("n1", '<b>&"'), ("n2", "Übergröße 你好 $x_1$"), ("n3", "'; {{ 7 * 7 }} </script>")]


class Page(HTMLParser):
    """Sections, images, and all text but that of scripts and styles."""

    def __init__(self, html: str):
        super().__init__()
        self.sections: list[str] = []
        self.images: list[dict[str, str]] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = self.cells = ""
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        if tag == "section" and "id" in found:
            self.sections.append(found["id"])
        if tag == "img":
            self.images.append(found)
        self.inside = found.get("id", tag) if tag in ("script", "style") else ""

    def handle_data(self, data):
        if self.inside == "cells":
            self.cells += data
        elif not self.inside:
            self.text += data

    def handle_endtag(self, tag):
        self.inside = ""


@pytest.fixture(scope="module")
def whole(make_run):
    """All of Tiny ImageNet's classes and a model with both kinds of stage."""
    run = make_run(WHOLE, model__variant="paper")
    return run, *report(run)


@pytest.fixture(scope="module")
def odd(make_run):
    """Three classes with names to break a page, one epoch, no evaluation meanwhile, held-out images, no attention."""
    history = pd.DataFrame({"epoch": [1], "train_loss": [2.0], "train_top1": [10.0]})
    run = make_run(ODD, history=history, split="holdout", model__layout="CCCC")
    return run, *report(run)


def test_every_section_in_its_order(whole):
    _, figures, html = whole
    page = Page(html)
    assert page.sections == [*ALWAYS, "groups", "augmented", "attention", "gradcam", *ALWAYS_LAST[1:]]
    named = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert named == set(page.sections)
    numbers = {link for link in page.links if not link.startswith("#")}
    assert numbers == {f"figures/{name}.csv" for name in figures.keys() - {"examples"}}
    assert len(page.ids) == len(set(page.ids))
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_first_sentence_says_how_good_it_is_beside_the_original(whole):
    run, _, html = whole
    text = " ".join(Page(html).text.split())
    sentence = text[text.index("With ") :].partition(" images. ")[0]
    for number in ("top1", "top1_low", "top1_high", "train_top1"):
        assert f"{run.metrics[number]:.2f}" in sentence
    assert f"{run.training['parameters']:,} parameters" in sentence
    assert "95.89% on training and 44.80% on test" in sentence


def test_images_have_a_size_and_words_and_lie_inside(whole):
    _, _, html = whole
    page = Page(html)
    assert len(page.images) > 100
    for image in page.images:
        assert int(image["width"]) > 0 and int(image["height"]) > 0 and image["alt"]
        assert image["src"].startswith("data:image/")
    charts = html.count('<figure class="chart')
    assert charts >= 5 and len(re.findall("<svg role=.img. aria-label=.[^'\"]+", html)) == charts
    assert not re.search(r"(src|href)=.(https?:)?//", html)
    assert len(html) < 5e6


def test_what_does_not_apply_is_left_out(odd, make_run):
    _, figures, html = odd
    page = Page(html)
    assert page.sections == [*ALWAYS, "augmented", "gradcam", *ALWAYS_LAST[1:]]
    assert not {"groups", "attention", "positions"} & figures.keys()
    assert "held-out" in page.text and "not evaluated between epochs" in page.text
    assert "diamond" not in page.text and "so nothing here is set beside them" in " ".join(page.text.split())
    assert list(figures["gap"].numbers.columns) == ["epoch", "train_top1", "eval_top1", "gap"]


def test_a_model_without_convolutions_or_mistakes_has_a_page(make_run):
    run = make_run([("a", "x"), ("b", "y")], model__layout="TTTT")
    run.answers["predicted"] = run.answers.actual
    figures, html = report(run)
    page = Page(html)
    assert not {"gradcam", "pairs", "mistakes"} & {*figures, *page.sections}
    assert "attention" in page.sections


def test_names_are_text_whatever_they_hold(odd):
    run, _, html = odd
    page = Page(html)
    for name in run.names:
        assert name in page.text
    assert '<b>&"' not in html and html.count("</script>") == page.tags.count("script")
    assert json.loads(page.cells)["names"] == list(report(run)[0]["confusion"].numbers.actual)


def test_the_cells_are_the_answers(whole):
    run, _, html = whole
    data = json.loads(Page(html).cells)
    rows, columns, images = data["cells"][::3], data["cells"][1::3], data["cells"][2::3]
    assert sum(images) == len(run.answers) and data["images"] == [4] * 200
    right = sum(n for row, column, n in zip(rows, columns, images, strict=True) if row == column)
    assert right == (run.answers.actual == run.answers.predicted).sum()
    shown = {(data["names"][row], data["names"][column]) for row, column in zip(rows, columns, strict=True)}
    assert shown == set(zip(run.answers.actual, run.answers.predicted, strict=True))


def test_the_matrix_is_drawn_cell_by_cell():
    table = pd.DataFrame([[4, 0], [1, 3]], index=["a", "b"], columns=["a", "b"])
    drawn = {}
    for theme, address in facts.confusion_images(table).items():
        image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("L")
        drawn[theme] = [[image.getpixel((x, y)) for x in range(2)] for y in range(2)]
    (a, b), (c, d) = drawn["light"]
    assert a < d < c < b == 255
    (a, b), (c, d) = drawn["dark"]
    assert a > d > c > b


def test_equal_runs_give_equal_pages(odd):
    run, _, html = odd
    assert report(run)[1] == html


def test_parameters_that_differ_from_the_original(make_run):
    run = make_run(ODD, model__layout="CCCT", train__lr=1e-3)
    rows = {row["name"]: row for row in facts.parameters(run)}
    assert rows["train.lr"] == {"name": "train.lr", "value": "0.001", "original": "0.0005", "differs": True}
    assert rows["model.layout"]["original"] == "CCTT" and rows["model.layout"]["differs"]
    assert not rows["augment.flip"]["differs"]
    assert rows["seed"] == {"name": "seed", "value": "0", "original": "", "differs": False}
    assert "model.paper.pool" not in rows


def test_what_the_size_of_the_images_means_where_it_alone_differs(make_run, whole):
    theirs = {name.replace(".", "__"): value for name, value in original.RECIPE.items()}
    said = "Model and recipe are the original's by its text, but images have 64 pixels here"
    text = " ".join(Page(report(make_run(WHOLE, **theirs | {"model__image_size": 64}))[1]).text.split())
    assert said in text and "64 and 16 here, 784 and 196 there" in text
    assert said not in " ".join(Page(whole[2]).text.split())


def test_curves_of_growing_images_are_explained(make_run, whole):
    said = (
        "The evaluated images have 96 pixels while it trains, those of training 32 up to epoch 3 and 64 up to epoch 5;"
    )
    sizes = {"train__image_size": [[0, 32], [3, 64], [5, 96]], "model__image_size": 96, "train__epochs": 8}
    page = Page(report(make_run(ODD, **sizes))[1])
    assert page.text.count(f"{said} up to there the test line lies too low.") == 1
    assert page.text.count(said) == 3
    assert "while it trains, those" not in Page(whole[2]).text


def test_the_page_says_how_the_model_was_evaluated_where_the_curve_was_not(make_run, whole):
    run = make_run(ODD, evaluate__image_size=64, evaluate__flip=True)
    said = "The dots are at 64 pixels, averaged over each image and its mirror image; the test line is plainly at 32"
    assert said in Page(report(run)[1]).text
    assert "The dots are" not in Page(whole[2]).text


def test_the_recipe_is_the_originals():
    values = dotted(load_params(PARAMS).model_dump(mode="json"))
    assert {name: values[name] for name in original.RECIPE} == original.RECIPE
