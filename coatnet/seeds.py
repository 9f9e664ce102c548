"""One way to derive a random seed, so that no two uses of randomness share one."""

import hashlib


def derive_seed(purpose: str, *numbers: int) -> int:
    """A signed 64-bit seed from what it is for and the numbers that it depends on, such as seed, epoch and step.

    It is the same on every machine and in every version of Python. Its low 32 bits, all that torch's CPU generator
    keeps, are as well mixed as the rest.
    """
    digest = hashlib.blake2b(repr((purpose, *numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
