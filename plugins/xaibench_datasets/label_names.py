"""Folder names that say what is in them, held against the labels of their pictures."""

from __future__ import annotations

from collections.abc import Iterable

from xaibench.api import Label

NAMES: dict[Label, frozenset[str]] = {
    "real": frozenset(
        (
            "real", "reals", "original", "originals", "original_sequences", "genuine", "authentic", "pristine",
            "bonafide", "bona_fide", "bona-fide", "celeb-real", "youtube-real", "real_images", "real_faces",
        )
    ),
    "fake": frozenset(
        (
            "fake", "fakes", "forged", "forgery", "manipulated", "manipulated_sequences", "deepfake", "deepfakes",
            "synthetic", "synthesis", "celeb-synthesis", "spoof", "tampered", "fake_images", "fake_faces",
        )
    ),
}  # fmt: skip
"""Folder names, in lower case, that stand for a label alone. Names that hold such a word (``real-esrgan``) say
nothing."""


def label_doubt(folders: Iterable[str], label: Label) -> str:
    """The finding about a picture in these folders; empty where one agrees with the label and where none speaks.

    >>> label_doubt(("test", "Real"), "fake")
    'label: a folder that says the other label (it lies in Real/ and is labelled fake)'
    """
    folders = tuple(folders)
    other: Label = "real" if label == "fake" else "fake"
    against = [f for f in folders if f.lower() in NAMES[other]]
    if not against or any(f.lower() in NAMES[label] for f in folders):
        return ""
    name = against[-1].replace(";", ",")
    return f"label: a folder that says the other label (it lies in {name}/ and is labelled {label})"
