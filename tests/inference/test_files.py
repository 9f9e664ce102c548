import io
import threading

import torch
from torchvision.transforms.v2 import functional as F

from coatnet import UserError
from coatnet.inference import files

from .models import some_images


def png(image_chw: torch.Tensor) -> bytes:
    out = io.BytesIO()
    F.to_pil_image(image_chw).save(out, "PNG")
    return out.getvalue()


def test_answers_come_in_order_with_what_is_broken_between_them(classifier, monkeypatch):
    monkeypatch.setattr(files, "BATCH", 4)
    images = some_images(11)
    sources = [(f"{i}", b"broken" if i in (0, 5, 6, 7, 10) else png(image)) for i, image in enumerate(images)]
    found = list(files.classify(classifier, sources))
    assert [name for name, _ in found] == [name for name, _ in sources]
    for (name, content), (_, result), expected in zip(sources, found, classifier(images), strict=True):
        if content == b"broken":
            assert isinstance(result, UserError) and str(result) == f"{name} is no image that Pillow reads"
        else:
            assert torch.allclose(result, expected, atol=1e-5)


def test_memory_holds_two_batches_however_many_files_there_are(classifier, monkeypatch):
    monkeypatch.setattr(files, "BATCH", 4)
    content, given = png(some_images(1)[0]), []

    def sources():
        for i in range(40):
            given.append(i)
            yield "cat.png", content

    for answered, _ in enumerate(files.classify(classifier, sources())):
        assert len(given) - answered <= 8
    assert len(given) == 40


def test_who_stops_does_not_wait_until_the_rest_is_decoded(classifier, monkeypatch):
    monkeypatch.setattr(files, "BATCH", 4)
    read, stopped = [], threading.Event()

    def slow(transform, name, source):
        read.append(name)
        if len(read) > 4:
            stopped.wait(1)
        return UserError(name)

    monkeypatch.setattr(files, "_read", slow)
    before = set(threading.enumerate())
    found = files.classify(classifier, ((str(i), b"") for i in range(8)))
    next(found)
    found.close()
    stopped.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert len(read) < 8
