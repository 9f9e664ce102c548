"""Files appear whole or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import pandas as pd  # half a second to import, and most writers have no table


# What the system says where a path cannot be: no permission, read-only, a file in a folder's place, too long a name;
# and of a file larger than a file system or a limit allows, or a disk that fails.
_REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.EFBIG, errno.EIO),
}


@contextmanager
def atomic_write(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there takes the name `path` at the end.

    On any exception the temporary file is removed and a former `path` stays as it was.

    Args:
        durable: waits for the disk, else a power cut can leave the new name on an empty file.

    Raises:
        UserError: no space is left, or `path` cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")  # a fixed name: what a kill left there is written over
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with open(temporary, "r+b") as file:  # Windows flushes only what may be written
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if _is_disk_full(error, path.parent):
            raise UserError(f"no space is left to write {path}: free some and run again") from error
        if isinstance(error, OSError) and error.errno in _REFUSED:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        raise
    finally:
        with suppress(OSError):  # it would hide the first one
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` whole or not at all: UTF-8 with Unix line ends, the same bytes on every system.

    Raises:
        UserError: as `atomic_write`.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_csv(path: str | Path, table: "pd.DataFrame") -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _is_disk_full(error: Exception, folder: Path) -> bool:
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return True
    # torch.save's error does not name the cause.
    return isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2**20
