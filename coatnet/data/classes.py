"""Names of classes."""

from collections import Counter
from collections.abc import Iterable


def class_names(classes: Iterable[tuple[str, str]]) -> list[str]:
    """A short, unique name a class from (WordNet id, "name, synonym, ...") pairs.

    A class that has only the name of its folder keeps it whole.
    """
    classes = list(classes)
    short = [wnid if name == wnid else name.partition(",")[0].strip() or wnid for wnid, name in classes]
    counts = Counter(short)
    return [name if counts[name] == 1 else f"{name} ({wnid})" for name, (wnid, _) in zip(short, classes, strict=True)]
