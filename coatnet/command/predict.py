"""Says what is on pictures: files, folders, or one image on standard input.

    coatnet predict cat.jpg
    coatnet predict photos --csv --out answers.csv
    curl --silent https://example.com/cat.jpg | coatnet predict -

Takes any format that Pillow reads, any size up to 178 megapixels. A file that is no image is named on standard error,
the others go on, and the exit status is then 1.
"""

import argparse
import csv
import json
import os
import stat
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
        help="a file; a folder: all files below it but hidden ones and --out, in order of their names; -: one image on "
        "standard input (for a list of files there is xargs)",
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
    if options.out and os.path.isdir(options.out):
        raise UserError(f"--out {options.out} is a folder: name a file")
    model, total = find_model(options.model), _count(options.paths, options.out)
    from ..inference import load

    classifier = load(model)
    warnings.filterwarnings("ignore", module="PIL")  # about oddities of files that it reads all the same
    write = {"json": _write_json, "csv": _write_csv, None: _write_text}[options.form]
    failed: list[str] = []
    with _output(options.out) as out:
        # On a terminal the answers themselves show how far it is.
        bar = tqdm(total=total, unit=" images", disable=True if out.isatty() else None)
        sources = _sources(options.paths, options.out)
        # Closed where it is left, or the pictures that wait would be decoded before Python ends.
        with bar, closing(_answers(classifier, sources, options.top, bar, failed)) as answers:
            write(out, answers)
    if failed:
        sys.exit(1)


def files_below(folder: str, out: Path | None = None) -> Iterator[Path]:
    """Every file in `folder` and below it but hidden ones: a folder's own files by name, then those of its folders.

    Links to files are followed, those to folders are not. What is no regular file, such as a named pipe, on which a
    reader would wait for ever, is left out.

    Args:
        out: a file to leave out as well: the answers of a former call.

    Raises:
        UserError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}")

    def counts(file: Path) -> bool:
        try:
            found = os.stat(file)
        except OSError:  # a link that leads nowhere, say: it will be named
            return True
        return stat.S_ISREG(found.st_mode) and not (former and os.path.samestat(found, former))

    former = os.stat(out) if out and os.path.exists(out) else None
    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from filter(counts, (Path(where, name) for name in sorted(files) if not name.startswith(".")))


def _count(paths: list[str], out: Path | None) -> int:
    """How many pictures are asked for.

    Raises:
        UserError: a folder has none, or cannot be read.
    """
    if "-" in paths and sys.stdin.isatty():
        raise UserError("- reads an image from standard input, which is the terminal here: coatnet predict - < cat.jpg")
    total = 0
    for path in paths:
        files = sum(1 for _ in files_below(path, out)) if path != "-" and os.path.isdir(path) else 1
        if not files:
            raise UserError(f"{path} has no files in it")
        total += files
    return total


def _sources(paths: list[str], out: Path | None) -> Iterator[tuple[str, bytes | Path]]:
    for path in paths:
        if path == "-":
            yield STDIN, sys.stdin.buffer.read()
        elif os.path.isdir(path):
            yield from ((str(file), file) for file in files_below(path, out))
        else:
            yield path, Path(path)


def _answers(
    classifier: "Classifier", sources: Iterable[tuple[str, bytes | Path]], top: int, bar: tqdm, failed: list[str]
) -> Generator[tuple[str, "list[Answer]"], None, None]:
    """Each picture's answers; what is no picture is named, and entered in `failed`."""
    from ..inference.files import classify

    with closing(classify(classifier, sources)) as pictures:
        for name, found in pictures:
            bar.update()
            if isinstance(found, UserError):
                failed.append(name)
                tqdm.write(f"error: {_printable(str(found))}", file=sys.stderr)
            else:
                yield name, classifier.answers(found[None], top)[0]


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        for stream in (sys.stdout, sys.stderr):  # a file's name may be none in the terminal's encoding
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a named pipe, a device: a file must not take its place
        try:
            out = _open(path)
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None
        with out:
            yield out
        return
    with (
        atomic_write(os.path.realpath(path)) as temporary,
        _open(temporary) as out,
    ):  # a link stays, what it names changes
        yield out


def _open(path: Path) -> TextIO:
    return open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n")


def _write_text(out: TextIO, answers: "Answers") -> None:
    for file, found in answers:
        print(_printable(file), file=out)
        for answer in found:
            print(f"{100 * answer.probability:7.2f}%  {answer.name}", file=out)


def _printable(text: str) -> str:
    """With escapes for what could command a terminal: a file's name may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
