"""Says what is on pictures: files, folders, or one image on standard input.

    coatnet predict cat.jpg
    coatnet predict photos --csv --out answers.csv
    curl --silent https://example.com/cat.jpg | coatnet predict -

Takes any format that Pillow reads, any size. A file that is no image is named on standard error, the others go on, and
the exit status is then 1.
"""

import argparse
import csv
import json
import os
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

from ..errors import UserError
from ..machine.files import atomic_write
from .models import add_model, find_model

if TYPE_CHECKING:
    from ..inference import Answer, Classifier  # imports torch: seconds, after which a wrong path would be named

    Answers = Iterable[tuple[str, list[Answer]]]

STDIN = "standard input"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a file; a folder: all files below it but hidden ones, in order of their names; -: one image on standard "
        "input (for a list of files there is xargs)",
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="answers a picture (default: 5)")
    add_model(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="a list, an entry a picture")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="a row an answer")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to, whole or not at all (default: standard output)"
    )


def run(options: argparse.Namespace) -> None:
    if options.top < 1:
        raise UserError(f"--top {options.top} is less than 1")
    if options.out and options.out.is_dir():
        raise UserError(f"--out {options.out} is a folder: name a file")
    model, total = find_model(options.model), _count(options.paths)
    from ..inference import load

    classifier = load(model)
    warnings.filterwarnings("ignore", module="PIL")  # about oddities of files that it reads all the same
    write = {"json": _write_json, "csv": _write_csv, None: _write_text}[options.form]
    failed: list[str] = []
    try:
        with _output(options.out) as out:
            # On a terminal the answers themselves show how far it is.
            bar = tqdm(total=total, unit=" images", disable=True if out.isatty() else None)
            # Closed where it is left, or the pictures that wait would be decoded before Python ends.
            with bar, closing(_answers(classifier, options.paths, options.top, bar, failed)) as answers:
                write(out, answers)
    except BrokenPipeError:  # as of `| head`; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if failed:
        sys.exit(1)


def files_below(folder: str) -> Iterator[Path]:
    """Every file in `folder` and below it but hidden ones: a folder's own files by name, then those of its folders.

    Raises:
        UserError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(files) if not name.startswith("."))


def _count(paths: list[str]) -> int:
    """How many pictures are asked for.

    Raises:
        UserError: a folder has none, or cannot be read.
    """
    if "-" in paths and sys.stdin.isatty():
        raise UserError("- reads an image from standard input, which is the terminal here: coatnet predict - < cat.jpg")
    total = 0
    for path in paths:
        files = sum(1 for _ in files_below(path)) if path != "-" and Path(path).is_dir() else 1
        if not files:
            raise UserError(f"{path} has no files in it")
        total += files
    return total


def _sources(paths: list[str]) -> Iterator[tuple[str, bytes | Path]]:
    for path in paths:
        if path == "-":
            yield STDIN, sys.stdin.buffer.read()
        elif Path(path).is_dir():
            yield from ((str(file), file) for file in files_below(path))
        else:
            yield path, Path(path)


def _answers(
    classifier: "Classifier", paths: list[str], top: int, bar: tqdm, failed: list[str]
) -> Generator[tuple[str, "list[Answer]"], None, None]:
    """Each picture's answers; what is no picture is named, and entered in `failed`."""
    from ..inference.files import classify

    with closing(classify(classifier, _sources(paths))) as pictures:
        for name, found in pictures:
            bar.update()
            if isinstance(found, UserError):
                failed.append(name)
                tqdm.write(f"error: {found}", file=sys.stderr)
            else:
                yield name, classifier.answers(found[None], top)[0]


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        for stream in (sys.stdout, sys.stderr):  # a file's name may be none in the terminal's encoding
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        yield sys.stdout
        sys.stdout.flush()
        return
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as out,
    ):
        yield out


def _write_text(out: TextIO, answers: "Answers") -> None:
    for file, found in answers:
        print(file, file=out)
        for answer in found:
            print(f"{100 * answer.probability:7.2f}%  {answer.name}", file=out)


def _write_csv(out: TextIO, answers: "Answers") -> None:
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["file", "rank", "id", "name", "probability"])
    for file, found in answers:
        rows.writerows([file, rank, *answer] for rank, answer in enumerate(found, 1))


def _write_json(out: TextIO, answers: "Answers") -> None:
    """An entry at a time, since there may be a million."""
    separator = "[\n"
    for file, found in answers:
        entry = {"file": file, "answers": [answer._asdict() for answer in found]}
        out.write(separator + json.dumps(entry))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")
