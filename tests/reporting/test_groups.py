"""The groups are those that WordNet and the rule give."""

from collections import Counter
from pathlib import Path

import pytest

from coatnet.reporting.groups import GROUP_OF, HYPERNYMS, MEMBERS

WORDNET = Path("/usr/share/wordnet/data.noun")


def hypernyms(wordnet: dict[str, str], offset: str) -> set[str]:
    """Of a synset at any distance, itself included: `@` and `@i` in WordNet's data files (wndb(5))."""
    found, fields = {offset}, wordnet[offset].partition("|")[0].split()
    first = 4 + 2 * int(fields[3], 16)  # after the words
    for i in range(int(fields[first])):
        symbol, target, part_of_speech, _ = fields[first + 1 + 4 * i :][:4]
        if symbol in ("@", "@i") and part_of_speech == "n":
            found |= hypernyms(wordnet, target)
    return found


@pytest.mark.skipif(not WORDNET.exists(), reason="needs WordNet 3.0: Debian's package wordnet-base")
def test_wordnet_gives_these_groups():
    lines = WORDNET.read_text(encoding="latin-1").splitlines()
    wordnet = {line[:8]: line for line in lines if not line.startswith(" ")}
    for wnid, group in GROUP_OF.items():
        above = {f"n{offset}" for offset in hypernyms(wordnet, wnid[1:])}
        assert group == next(name for name, synsets in HYPERNYMS.items() if above & set(synsets.split())), wnid


def test_each_class_of_tiny_imagenet_has_one_group():
    assert len(GROUP_OF) == 200 == sum(len(members.split()) for members in MEMBERS.values())
    assert list(MEMBERS) == list(HYPERNYMS)
    assert min(Counter(GROUP_OF.values()).values()) >= 4
