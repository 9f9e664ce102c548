"""Answers for files, as many as there are: some are decoded in threads while the model computes others."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from ..data.pictures import open_picture
from ..errors import UserError
from .classifier import Classifier, Transform

BATCH = 64  # images; twice as many are in memory at a time


def classify(
    classifier: Classifier, sources: Iterable[tuple[str, bytes | Path]]
) -> Generator[tuple[str, Tensor | UserError], None, None]:
    """Each source's name with its logits, K, or with the reason why it is no picture; in order.

    Args:
        sources: a name, and a file's path or its content.
    """
    waiting: deque[tuple[str, Future[Tensor | UserError]]] = deque()
    threads = ThreadPoolExecutor(torch.get_num_threads())
    try:
        for name, source in sources:
            waiting.append((name, threads.submit(_read, classifier.transform, name, source)))
            if len(waiting) == 2 * BATCH:
                yield from _answer(classifier, [waiting.popleft() for _ in range(BATCH)])
        while waiting:
            yield from _answer(classifier, [waiting.popleft() for _ in range(min(BATCH, len(waiting)))])
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # who stops does not wait until the rest is decoded


def _read(transform: Transform, name: str, source: bytes | Path) -> Tensor | UserError:
    try:
        return transform.pixels(open_picture(source, name))[0]
    except UserError as error:
        return error


def _answer(
    classifier: Classifier, batch: list[tuple[str, Future[Tensor | UserError]]]
) -> Iterator[tuple[str, Tensor | UserError]]:
    read = [future.result() for _, future in batch]
    images = [image for image in read if isinstance(image, Tensor)]
    logits = iter(classifier.logits(torch.stack(images)) if images else ())
    for (name, _), image in zip(batch, read, strict=True):
        yield name, image if isinstance(image, UserError) else next(logits)
