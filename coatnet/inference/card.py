"""The model card, in the Hugging Face Hub's form: what a model is, how good, trained on what, and its limits."""

from typing import Any

import yaml

from .classifier import Classifier

DATA = {
    "tiny-imagenet": (
        "Tiny ImageNet",
        "Tiny ImageNet (Le and Yang, 2015; [Stanford's CS231n](http://cs231n.stanford.edu/tiny-imagenet-200.zip)) is a "
        "part of ImageNet in 64 x 64 pixels: 200 classes, 100,000 training and 10,000 labelled validation images, the "
        "test images here. The photographs belong to whoever took them; ImageNet gives them out for non-commercial "
        "research and education only ([terms](https://www.image-net.org/download.php)). Whether such terms bind a "
        "model is not settled: ask before you use it commercially.",
    ),
    "synthetic": (
        "the project's synthetic set",
        "The images were drawn by the project itself: coloured, textured shapes on noise. They have no terms, and a "
        "model of them knows no photographs.",
    ),
    "archive": (
        "data of its trainer's own",
        "The model was trained on data of its trainer's own. Their terms are not known here: ask whoever trained it.",
    ),
}
LIMITS = """\
- It knows the classes of `labels.json` alone and always answers with one of them, also for pictures of none. A
  probability says how the model's own answers compare; it is no promise.
- It was trained on pictures brought to {size} x {size} pixels. It does not see what is smaller than a few pixels there,
  and of a long picture only the middle square.
- Mistakes and bias of its pictures and labels (places, people, what is photographed at all) are the model's. Decide
  nothing about people by it."""


def card(classifier: Classifier, metrics: dict[str, Any] | None, name: str, *, timm: bool) -> str:
    """The text of README.md.

    Args:
        metrics: what the evaluate stage reported of this model; None: unknown.
        name: the model's.
        timm: whether timm opens the folder.
    """
    data_name, terms = DATA[_data(classifier)]
    params, transform = classifier.params, classifier.transform
    model, train = params["model"], params["train"]
    size = transform.evaluate.image_size
    structure = model["name"]
    if structure == "coatnet":
        sizes = f"{model['layout']}, blocks {model['blocks']}, widths {model['dims']}"
        structure = f"CoAtNet (variant {model['variant']}, {sizes})"
    if origin := _origin(model, train):
        terms += " The weights that it started from have an origin and terms of their own."
    weights = sum(parameter.numel() for parameter in classifier.model.parameters())
    parts = [
        f"# {name}",
        f"{structure}, {weights:,} parameters, trained {origin or 'from scratch'} on {data_name} by this project's "
        "pipeline: "
        f"{train['epochs']} epochs, batches of {train['batch_size']}, random seed {params['seed']}. The metadata of "
        "`model.safetensors` hold all parameters of the run.",
        "## Results",
        _results(metrics),
        "## Use",
        _use(name, timm, classifier.flip),
        f"A picture is resized to {transform.size} pixels on its short side (bicubic) and cut to its middle square. "
        f"The middle {100 * transform.crop:g}% of that is resized to {size} x {size} (bilinear) and normalised by the "
        "mean and standard deviation in `config.json`. Classes by logit: `labels.json`."
        + (" The logits of an image and of its mirror image are averaged." if classifier.flip else ""),
        "## Data",
        terms,
        "## Limits",
        LIMITS.format(size=transform.size),
    ]
    facts = yaml.safe_dump(_facts(classifier, metrics, name, timm), sort_keys=False, allow_unicode=True)
    return f"---\n{facts}---\n\n" + "\n\n".join(parts) + "\n"


def _origin(model: dict[str, Any], train: dict[str, Any]) -> str:
    """The weights before the first step, in words; none for random ones. Older files lack both parameters."""
    if model.get("pretrained"):
        return f"from timm's weights of {model['name'].removeprefix('timm/')}"
    init = train.get("init", "scratch")
    return "" if init == "scratch" else f"from the checkpoint {init}"


def _data(classifier: Classifier) -> str:
    data = classifier.params["data"]
    return "archive" if data["archive"] else data["source"]


def _facts(classifier: Classifier, metrics: dict[str, Any] | None, name: str, timm: bool) -> dict[str, Any]:
    """The head of the card, as the Hub reads it."""
    facts: dict[str, Any] = {"library_name": "timm"} if timm else {}
    family = ["coatnet"] if classifier.params["model"]["name"] == "coatnet" else []
    facts |= {"pipeline_tag": "image-classification", "tags": ["image-classification", *family]}
    data = _data(classifier)
    if data == "tiny-imagenet":
        link = "https://www.image-net.org/download.php"
        facts |= {"license": "other", "license_name": "imagenet-terms-of-access", "license_link": link}
    if metrics:
        results = [{"type": "accuracy", "name": f"top-{k}, %", "value": metrics[f"top{k}"]} for k in (1, 5)]
        dataset = {"name": DATA[data][0], "type": data, "split": metrics["split"]}
        task = {"type": "image-classification", "name": "Image Classification"}
        entry = {"task": task, "dataset": dataset, "metrics": results}
        facts |= {"metrics": ["accuracy"], "model-index": [{"name": name, "results": [entry]}]}
    return facts


def _results(metrics: dict[str, Any] | None) -> str:
    if not metrics:
        return "None are known here: no report of this very file was found when it was exported."
    images = "test images" if metrics["split"] == "test" else "training images that were held out"
    text = (
        f"On {metrics['images']:,} {images}: top-1 {metrics['top1']:.2f}% (95% interval, Wilson: "
        f"{metrics['top1_low']:.2f} to {metrics['top1_high']:.2f}), top-5 {metrics['top5']:.2f}%, cross-entropy "
        f"{metrics['loss']:.4f} nats. One random seed.\n\n"
        f"On clean training images: top-1 {metrics['train_top1']:.2f}%. The gap, what it knows by heart and not in "
        f"general, is {metrics['gap']:.2f} points."
    )
    if "ece" in metrics:
        text += f" Expected calibration error: {metrics['ece']}."
    return text


def _use(name: str, timm: bool, flip: bool) -> str:
    code = f"""\
import coatnet  # this project
from PIL import Image

classifier = coatnet.load("{name}")
for answer in classifier.answers(classifier(Image.open("cat.jpg")))[0]:
    print(answer.name, answer.probability)"""
    if timm:
        same = "as above, but of the image alone" if flip else "the same"
        code += f"""

import timm

model = timm.create_model("local-dir:{name}", pretrained=True).eval()
logits = model(classifier.transform(Image.open("cat.jpg"))[None])  # {same}"""
    text = f"```python\n{code}\n```\n\n"
    if timm:
        return text + (
            "timm's own transform goes from the picture straight to the model's size, without this model's way over "
            "the data's size: its pictures are sharper than those that the model was trained on."
        )
    return text + "timm has no model of this structure and does not open the folder."
