"""Archive -> shards: decodes every image once, and reports what the data is."""

from coatnet import Params
from coatnet.data import write_shards
from coatnet.machine.files import write_json

from . import ARCHIVE, REPORTS, SHARDS, run


def main(params: Params) -> None:
    write_json(REPORTS / "data.json", write_shards(ARCHIVE, SHARDS))


if __name__ == "__main__":
    run(main)
