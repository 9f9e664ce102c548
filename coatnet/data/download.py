"""The download: several addresses, tried in turn; a file that was cut off goes on where it stopped."""

import time
from collections.abc import Sequence
from pathlib import Path

import requests
from tqdm import tqdm

from ..errors import UserError
from .archive import sha256_of

TRIES = 4  # of an address, in a row without a byte
BACKOFF = 1.0  # seconds before the second try, doubled before each further one
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
_PIECE = 1 << 16  # bytes; a broken connection loses the piece that it breaks
_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def fetch(urls: Sequence[str], sha256: str, path: str | Path, hint: str = "") -> None:
    """Brings the file with this SHA-256 to `path`, going on with what an earlier call left there.

    Args:
        urls: addresses of the same file, tried in turn.
        sha256: of the whole file; one that differs is deleted.
        path: of the file, also while it grows: it is whole only when this returns.
        hint: what else the user could do, to end the error message with.

    Raises:
        UserError: no address gave the file, or it cannot be written.
    """
    path = Path(path)
    reasons = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            if reason := _fetch_from(url, path):
                reasons.append(f"{url}: {reason}")
            elif (found := sha256_of(path)) == sha256:
                return
            else:
                path.unlink()  # it may have begun as another file: the next address starts afresh
                reasons.append(f"{url}: its SHA-256 is {found}, not {sha256}")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): put this right and run again") from error
    raise UserError(f"the download failed ({'; '.join(reasons)}): try again later{hint}")


def _fetch_from(url: str, path: Path) -> str | None:
    """Fetches what `path` lacks; returns why it could not, or None."""
    tries = 0
    while True:
        start = _size(path)
        # Never compressed on the way, else ranges would count other bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                if response.status_code == 416:  # nothing lies behind `start`: the hash will tell if that is right
                    return None
                response.raise_for_status()
                _save(response, path, start if response.status_code == 206 else 0)
                return None
        except requests.RequestException as error:
            tries = 1 if _size(path) > start else tries + 1
            passing = isinstance(error, _PASSING) and not _is_distrust(error)
            refused = not passing and getattr(error.response, "status_code", 0) < 500
            if refused or tries == TRIES:
                return _reason(error)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None):  # the system's, such as a full disk
                raise
            return str(error)  # of requests: certificates that are not there; of urllib3: no address
        time.sleep(BACKOFF * 2 ** (tries - 1))


def _save(response: requests.Response, path: Path, start: int) -> None:
    total = start + int(response.headers.get("Content-Length", 0))
    bar = tqdm(desc="download", initial=start, total=total or None, unit="B", unit_scale=True, disable=None)
    with bar, open(path, "ab" if start else "wb") as file:
        for piece in response.iter_content(_PIECE):
            file.write(piece)
            bar.update(len(piece))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_distrust(error: requests.RequestException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _reason(error: requests.RequestException) -> str:
    match error:
        case requests.Timeout():
            return "no answer"
        case requests.ConnectionError() if _is_distrust(error):
            return "its certificate is not trusted here"
        case requests.exceptions.ProxyError():
            return "the proxy does not answer"
        case requests.ConnectionError():
            return "no connection"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke off"
        case requests.HTTPError():
            return f"{error.response.status_code} {error.response.reason}"
    return str(error)
