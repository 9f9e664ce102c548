"""Archive -> shards: decodes every image once, and reports what the data is."""

import json

from coatnet import Params
from coatnet.data import write_shards
from coatnet.files import atomic_write

from . import ARCHIVE, REPORTS, SHARDS, run


def main(params: Params) -> None:
    report = write_shards(ARCHIVE, SHARDS)
    with atomic_write(REPORTS / "data.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
