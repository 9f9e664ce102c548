"""Which images a container holds, of which classes: Tiny ImageNet's layout, or a folder for each class.

Tiny ImageNet's, under any one folder or none:

    wnids.txt                       class ids, one a line; their order numbers the classes
    words.txt                       class id TAB names
    train/ID/images/*               of any format; so in val
    val/images/*
    val/val_annotations.txt         file name TAB class id [TAB anything]

A folder for each class, under any one folder or none, with images of any format at any depth:

    train/CLASS/*                   or training; so in capitals
    val/CLASS/*                     or valid, validation; or test, testing where there is none of these; or neither
    words.txt                       may name the classes, as above

or CLASS/* alone, all of it for training. The classes are numbered in the order of their folders' names.

Whatever else there is (boxes, unlabelled images) is left alone.
"""

import posixpath
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath

from PIL import Image

from ..errors import UserError
from .container import Container

WNIDS, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
_TRAIN = re.compile(r"train/([^/]+)/images/[^/]+")
_TEST = re.compile(r"val/images/[^/]+")
_SPLIT = re.compile(r"(.*?/)??train/[^/]+/.", re.DOTALL)  # the folder above train/CLASS/*
# What splits are called, in capitals or not (so in Hugging Face's imagefolder); of test sets the first is used.
_TRAINING, _TESTING = ("train", "training"), ("val", "valid", "validation", "test", "testing")
KNOWN = (
    "train/CLASS/* with val/CLASS/* or test/CLASS/*, CLASS/* alone, or train/ID/images/* and val/images/* with "
    f"{WNIDS}, {WORDS} and {ANNOTATIONS}"
)

Item = tuple[str, int]  # file, label


@dataclass
class Layout:
    """What `read_layout` and `tiny_imagenet` found; files are named from the folder above `train`."""

    classes: list[tuple[str, str]]  # (id, names), by label
    train: list[Item]  # by label, then by name
    test: list[Item]  # the same of the images that are never trained on
    by_folder: bool = False  # a folder for each class
    left_out: Counter[str] = field(default_factory=Counter)  # files among the images that are none, by extension


def read_layout(files: Container, holdout: float) -> Layout:
    """Finds the layout, and enters the folder that it begins in.

    Args:
        holdout: fraction of each class's training images that is held out; it must not be 0 where no test images are.

    Raises:
        UserError: no layout is known, or several could be meant, or the one that is found is broken, or a class has
            fewer than two training images: one could not be both trained on and held out.
    """
    lists = _above(files, WNIDS) + _above(files, ANNOTATIONS)
    root = min(lists, key=len, default="")
    # Many sort Tiny ImageNet's val images into folders and leave the lists where they were.
    is_sorted = _folders(files.names, f"{root}train/") & _folders(files.names, f"{root}val/")
    layout = tiny_imagenet(files) if lists and not is_sorted else class_folders(files)
    count = Counter(label for _, label in layout.train)
    if few := next((name for label, (name, _) in enumerate(layout.classes) if count[label] < 2), None):
        raise UserError(f"{files.path}: class {few} has fewer than 2 training images: add some or remove it")
    if not layout.test and not holdout:
        raise UserError(
            f"{files.path} has no val/CLASS/* or test/CLASS/*: have some training images held out for evaluation, such "
            "as by -S data.holdout=0.1"
        )
    return layout


def tiny_imagenet(files: Container) -> Layout:
    """Reads Tiny ImageNet's layout; checks that lists and images agree, not the images.

    Raises:
        UserError: a list or a class's images are missing, or lists and images disagree.
    """
    files.enter(min(_above(files, WNIDS), key=len, default=""))
    wnids = [row[0] for row in _rows(files, WNIDS)]
    words = {wnid: text for wnid, text, *_ in _rows(files, WORDS, columns=2)}
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    if len(wnids) < 2 or len(labels) < len(wnids):
        raise UserError(f"{files.path}: {WNIDS} must name at least two classes, and none twice")
    annotated: dict[str, str] = {}
    for file, wnid, *_ in _rows(files, ANNOTATIONS, columns=2):
        if (other := annotated.setdefault(f"val/images/{file}", wnid)) != wnid:
            raise UserError(f"{files.path}: {ANNOTATIONS} lists {file} as of {other} and of {wnid}: keep one of them")

    train: dict[str, str] = {}
    tested: list[str] = []
    left_out: Counter[str] = Counter()
    for name in files.names:
        trained = _TRAIN.fullmatch(name)
        if not trained and not _TEST.fullmatch(name):
            continue
        if not _is_image(name):
            left_out[_extension(name)] += 1
        elif trained:
            train[name] = trained[1]
        else:
            tested.append(name)
    if lost := annotated.keys() - tested:
        raise UserError(f"{files.path}: {ANNOTATIONS} lists {min(lost)}, which is not there")
    if unlisted := next((name for name in tested if name not in annotated), None):
        raise UserError(f"{files.path}: {ANNOTATIONS} does not list {unlisted}")
    test = {name: annotated[name] for name in tested}
    for name, wnid in (train | test).items():
        if wnid not in labels:
            raise UserError(f"{files.path}: {name} is of class {wnid}, which {WNIDS} does not list")
    for where, found in (("train/{}/images/*.JPEG", train), ("val/images/*.JPEG", test)):
        if found is test and not test:
            break  # the canonical archive of data that have no test images
        if empty := labels.keys() - found.values():
            raise UserError(f"{files.path}: class {min(empty)} has no images in {where.format(min(empty))}")
    train_items, test_items = (
        sorted(((name, labels[wnid]) for name, wnid in found.items()), key=lambda item: (item[1], item[0]))
        for found in (train, test)
    )
    classes = [(wnid, words.get(wnid, wnid)) for wnid in wnids]
    return Layout(classes, train_items, test_items, left_out=left_out)


def class_folders(files: Container) -> Layout:
    """Reads a folder for each class; checks names and numbers, not the images.

    Raises:
        UserError: there are no such folders or several places that could be meant, an image is in none, or a class is
            on one side only or has no images.
    """
    train, test = _enter_splits(files)
    left_out: Counter[str] = Counter()
    trained = _by_class(files, train, left_out)
    tested = _by_class(files, test, left_out) if test else {}
    classes = sorted(trained.keys() | tested.keys())
    if len(classes) < 2:
        raise UserError(f"{files.path}: {classes[0]} is the only class, but at least two are needed")
    for name in classes:
        if name != name.strip() or re.search(r"[^\S ]", name):  # lists have a class a line and tabs between columns
            raise UserError(f"{files.path}: the class folder {name!r} has odd white space in its name: rename it")
        here, there = trained.get(name), tested.get(name)
        if not here and not there:
            raise UserError(f"{files.path}: class folder {name} holds no image that is known: add some or remove it")
        if test and not (here and there):
            has, lacks = (train, test) if here else (test, train)
            raise UserError(f"{files.path}: class {name} is in {has} but has no images in {lacks}: add or remove it")
    words = {wnid: text for wnid, text, *_ in _rows(files, WORDS, columns=2)} if WORDS in files.names else {}
    train_items, test_items = (
        [(file, label) for label, name in enumerate(classes) for file in found.get(name, ())]
        for found in (trained, tested)
    )
    return Layout([(name, words.get(name, name)) for name in classes], train_items, test_items, True, left_out)


def _enter_splits(files: Container) -> tuple[str, str]:
    """Enters the folder that the layout begins in; returns the folders of training and of test images ("": none)."""
    images = [name for name in files.names if _is_image(name)]
    if not images:
        raise UserError(f"{files.path} holds no images; the layouts known are {KNOWN}")
    roots = {match[1] or "" for name in images if (match := _SPLIT.match(name))}
    if roots:
        depth = min(root.count("/") for root in roots)
        root, *others = sorted(root for root in roots if root.count("/") == depth)
        if others:
            raise UserError(
                f"{files.path}: {root}train and {others[0]}train could both be meant; the layouts known are {KNOWN}, "
                "in one place"
            )
        files.enter(root)
        return "train/", _test_folder(_inside([name.removeprefix(root) for name in images if name.startswith(root)]))
    common = posixpath.commonpath([posixpath.dirname(name) for name in images])
    root = f"{common}/" if common else ""
    files.enter(root)
    images = [name.removeprefix(root) for name in images]
    inside = _inside(images)
    # The other spellings count only here, and without images of their own: "Training" may be a class, or a part of one.
    called = [folder for folder in inside if folder.casefold() in _TRAINING]
    train = sorted(folder for folder in called if "" not in inside[folder])
    if len(train) > 1:
        raise UserError(f"{files.path}: {' and '.join(train)} could both be meant: keep one of them")
    if train:
        return f"{train[0]}/", _test_folder(inside)
    for folder in sorted(_folders(files.names, ""), key=_rank):
        is_split = folder in ("val", "test") or called or "" not in inside.get(folder, {""})
        if folder.casefold() in _TESTING and is_split:
            raise UserError(f"{files.path}: {folder}/ is there, but no train/CLASS/*; the layouts known are {KNOWN}")
    _check_no_splits(files, inside, images)
    return "", ""


def _inside(images: list[str]) -> dict[str, set[str]]:
    """For each folder the folders in it that hold images, and "" where images lie directly in it."""
    inside: dict[str, set[str]] = {}
    for folder, *deeper, _ in (name.split("/", 2) for name in images if "/" in name):
        inside.setdefault(folder, set()).add(deeper[0] if deeper else "")
    return inside


def _test_folder(inside: dict[str, set[str]]) -> str:
    """The folder of test images, of those that `_inside` found beside the training images; "" for none."""
    found = [folder for folder, within in inside.items() if folder.casefold() in _TESTING and within != {""}]
    return f"{min(found, key=_rank)}/" if found else ""


def _rank(folder: str) -> tuple[int, bool, str]:
    """Orders folders by `_TESTING`, lower case first."""
    name = folder.casefold()
    return _TESTING.index(name) if name in _TESTING else len(_TESTING), folder != name, folder


def _check_no_splits(files: Container, inside: dict[str, set[str]], images: list[str]) -> None:
    """Refuses folders as those of classes where all hold the same two or more folders and no image beside them."""
    within = next(iter(inside.values()), set())
    if len(inside) > 1 and len(within) > 1 and "" not in within and all(other == within for other in inside.values()):
        count = Counter(name.partition("/")[0] for name in images)
        names = sorted(inside, key=lambda folder: (-count[folder], folder))
        listed = " and ".join(names) if len(names) == 2 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
        raise UserError(
            f"{files.path}: {listed} look like splits: call them train and val, or, where they are classes, put the "
            "images directly in them"
        )


def _by_class(files: Container, folder: str, left_out: Counter[str]) -> dict[str, list[str]]:
    """The images in each of the folders in `folder`; counts the files that are none."""
    inside = (name.removeprefix(folder) for name in files.folders if name.startswith(folder))
    found: dict[str, list[str]] = {name: [] for name in inside if "/" not in name}
    for name in files.names:
        if name.startswith(folder):
            of_class, slash, _ = name.removeprefix(folder).partition("/")
            if slash and _is_image(name):
                found[of_class].append(name)
            elif slash:
                left_out[_extension(name)] += 1
            elif _is_image(name):
                raise UserError(f"{files.path}: {name} lies in no class folder; the layouts known are {KNOWN}")
    return found


def _folders(names: list[str], above: str) -> set[str]:
    """The folders in the folder `above`."""
    inside = (name.removeprefix(above).partition("/") for name in names if name.startswith(above))
    return {folder for folder, slash, _ in inside if slash}


def _above(files: Container, name: str) -> list[str]:
    """The folders that hold `name`."""
    return [found.removesuffix(name) for found in files.names if f"/{found}".endswith(f"/{name}")]


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _extensions()


def _extension(name: str) -> str:
    """As the count of what is left out calls it."""
    return PurePosixPath(name).suffix or "no extension"


@cache
def _extensions() -> frozenset[str]:
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _rows(files: Container, name: str, columns: int = 1) -> list[list[str]]:
    """The tab-separated rows of a list."""
    if name not in files.names:
        raise UserError(f"{files.path}: {name} is missing; the layouts known are {KNOWN}")
    lines = files.read(name).decode("utf-8-sig", errors="replace").splitlines()
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip()]
    if short := next((row for row in rows if len(row) < columns), None):
        raise UserError(f"{files.path}: {name} has the row {short[0]!r}, but {columns} columns belong there")
    return rows
