"""Says which stages' results in this clone are not those of its parameters and code: dvc.lock against the tree.

    python .ci/consistency.py    # exit status 1 where there are any

Data, shards and models that are not here do not count: a clone has none before `dvc pull` or `dvc repro`.
"""

import sys
from collections.abc import Iterator
from typing import Any

from dvc.repo import Repo


def stale(folder: str = ".") -> dict[str, list[str]]:
    """What differs, by stage."""
    found = {}
    for stage, reasons in Repo(folder).status().items():
        changes = [change for reason in reasons if isinstance(reason, dict) for change in _changes(reason)]
        if changes:
            found[stage] = changes
    return found


def _changes(reason: dict[str, Any]) -> Iterator[str]:
    for files in reason.values():  # of "changed deps" or "changed outs"
        for file, change in files.items():
            if isinstance(change, dict):  # the parameters of a file
                yield from (f"{name} ({how})" for name, how in change.items())
            elif change not in ("deleted", "not in cache"):
                yield f"{file} ({change})"


def main() -> None:
    found = stale()
    for stage, changes in found.items():
        print(f"{stage}: {', '.join(changes)}")
    if not found:
        print("dvc.lock, params.yaml, the code and reports/ are of one run")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
