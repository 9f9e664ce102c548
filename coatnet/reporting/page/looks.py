"""Pictures of what the model has learned to look at. A model without the layer in question has none."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from ...data.transform import EvalTransform
from ..figures.pictures import Picture, Row, diverging, heat, to_pixels
from ..inside import attention, grad_cam, last_attentions, last_convolution
from .examples import surest
from .run import Run

RIGHT, WRONG = 4, 4  # images: the surest answers of each kind
HEADS = 12  # of a layer, at most
PIXELS = 112  # a side
BRIGHT = 4  # times its even share: what a map's brightest token has at least, so that attention to all alike is dim
# Of the tokens whose attention is shown: fractions of height and width.
PLACES = {"upper left": (0.25, 0.25), "middle": (0.5, 0.5), "lower right": (0.75, 0.75)}


def position_tables(run: Run) -> tuple[list[Row], pd.DataFrame]:
    """The learned bias for each relative position, a map for each head of the last attention of each stage."""
    rows, numbers = [], []
    for stage, layer in last_attentions(run.checkpoint.model).items():
        table_kyx = layer.position_table.detach()[:HEADS]
        limit = float(table_kyx.abs().max())
        pictures = []
        for head, map_yx in enumerate(table_kyx, 1):
            y, x = divmod(int(map_yx.argmax()), map_yx.shape[1])
            dy, dx = y - map_yx.shape[0] // 2, x - map_yx.shape[1] // 2
            alt = f"Position table of head {head} of {stage}: highest {dy} down and {dx} right of the token itself"
            pictures.append(Picture(diverging(map_yx, limit), f"head {head}", alt, is_map=True))
            least, greatest = round(float(map_yx.min()), 4), round(float(map_yx.max()), 4)
            numbers.append((stage, head, least, greatest, dy, dx))
        height, width = table_kyx.shape[1:]
        text = f"offsets of up to {height // 2} down and {width // 2} across; full colour at ±{limit:.2f}"
        rows.append(Row(stage, pictures, text))
    columns = ["layer", "head", "least", "greatest", "greatest_at_down", "greatest_at_right"]
    return rows, pd.DataFrame(numbers, columns=columns)


def attended(run: Run) -> tuple[list[Row], pd.DataFrame]:
    """Where three tokens of some images look, in the last attention of each stage, the mean over its heads."""
    layers = last_attentions(run.checkpoint.model)
    if not layers:
        return [], pd.DataFrame()
    chosen = _chosen(run)[:RIGHT]
    x_bchw, images_bchw = _inputs(run, chosen)
    maps = attention(run.checkpoint.model, layers, x_bchw, list(PLACES.values()))
    rows, numbers = [], []
    for i, image in enumerate(chosen):
        name = run.answers.actual[image]
        pictures = [Picture(_marked(images_bchw[i]), "the tokens", f"{name}, with the three tokens marked")]
        for stage, map_bkthw in maps.items():
            for place, map_hw in zip(PLACES, map_bkthw[i].mean(0), strict=True):
                largest = float(map_hw.max())
                pixels = heat(images_bchw[i], map_hw / max(largest, BRIGHT / map_hw.numel()), PIXELS)
                alt = f"{name}: attention of the token at the {place} in {stage}"
                pictures.append(Picture(pixels, f"{stage}\n{place}", alt))
                numbers.append((image, name, stage, place, round(largest, 4), round(_reach(map_hw, place), 2)))
        rows.append(Row(name, pictures))
    columns = ["image", "actual", "layer", "token", "largest_share", "mean_distance"]
    return rows, pd.DataFrame(numbers, columns=columns)


def grad_cams(run: Run) -> tuple[list[Row], pd.DataFrame]:
    """Where the last convolutions found what spoke for the answer: the surest right answers, then the surest wrong."""
    layer = last_convolution(run.checkpoint.model, run.checkpoint.model_params)
    if layer is None:
        return [], pd.DataFrame()
    chosen = _chosen(run)
    x_bchw, images_bchw = _inputs(run, chosen)
    answers = run.answers.loc[chosen]
    classes_b = torch.tensor([run.names.index(name) for name in answers.predicted])
    cams = grad_cam(run.checkpoint.model, layer, x_bchw, classes_b)
    rows = []
    for title, right in (("Right answers", True), ("Wrong answers", False)):
        pictures = []
        for image_chw, cam_hw, actual, said in zip(images_bchw, cams, answers.actual, answers.predicted, strict=True):
            if (actual == said) == right:
                text = actual if right else f"is {actual}\nsaid {said}"
                pictures.append(Picture(_shown(image_chw), text, actual, right))
                pixels = heat(image_chw, cam_hw, PIXELS, "bilinear")
                pictures.append(Picture(pixels, f"for {said}", f"{actual}: what in it spoke for {said}"))
        if pictures:
            rows.append(Row(title, pictures))
    return rows, answers.rename_axis("image").reset_index()


def _chosen(run: Run) -> list[int]:
    """The surest right answers, of one class each, then the surest wrong ones."""
    right = run.answers.actual[surest(run, right=True)].drop_duplicates().index
    return [*right[:RIGHT], *surest(run, right=False)[:WRONG]]


def _inputs(run: Run, chosen: list[int]) -> tuple[Tensor, Tensor]:
    """What the evaluation showed the model, and the same as floats in 0..1."""
    checkpoint, evaluate = run.checkpoint, run.params.evaluate
    transform = EvalTransform(
        image_size=evaluate.image_size or checkpoint.model_params.image_size,
        crop=evaluate.crop,
        mean=checkpoint.mean,
        std=checkpoint.std,
    )
    x_bchw = transform(run.images[chosen])
    std, mean = (torch.tensor(values).view(3, 1, 1) for values in (checkpoint.std, checkpoint.mean))
    return x_bchw, x_bchw * std + mean


def _shown(image_chw: Tensor) -> np.ndarray:
    return to_pixels(F.interpolate(image_chw[None], (PIXELS, PIXELS), mode="bilinear", antialias=True)[0])


def _marked(image_chw: Tensor) -> np.ndarray:
    """The image with a square, white in black, where each of the tokens begins."""
    pixels_hwc = _shown(image_chw)
    for place in PLACES.values():
        y, x = (int(fraction * PIXELS) for fraction in place)
        pixels_hwc[y : y + 10, x : x + 10] = 0
        pixels_hwc[y + 2 : y + 8, x + 2 : x + 8] = 255
    return pixels_hwc


def _reach(map_hw: Tensor, place: str) -> float:
    """How far from its token attention lies on average, in positions of the feature map."""
    h, w = map_hw.shape
    y, x = (int(fraction * size) for fraction, size in zip(PLACES[place], (h, w), strict=True))
    distance_hw = torch.hypot(torch.arange(h)[:, None] - float(y), torch.arange(w)[None] - float(x))
    return float((map_hw * distance_hw).sum())
