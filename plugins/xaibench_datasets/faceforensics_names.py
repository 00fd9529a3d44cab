"""Names of the official download of FaceForensics++: methods, folders and videos.

============================  ==========================================  ==========================================
folder                        an original is called                       a fake is called
============================  ==========================================  ==========================================
``youtube``, five methods     ``VIDEO`` (``000``)                         ``TARGET_SOURCE`` (``000_003``)
``actors``,                   ``ACTOR__SCENE`` (``03__hugging_happy``)    ``TARGET_SOURCE__SCENE__CODE``
``DeepFakeDetection``                                                     (``03_09__hugging_happy__ABCDEFGH``)
============================  ==========================================  ==========================================

A folder of frames may keep the suffix of its video: ``000_003.mp4``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEEP_FAKE_DETECTION: Final = "DeepFakeDetection"
METHODS: Final = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter", DEEP_FAKE_DETECTION)
ACTORS: Final = "actors"
ORIGINALS: Final = ("youtube", ACTORS)
LEVELS: Final = {"c23": ("c23",), "raw": ("raw", "c0"), "c40": ("c40",)}
"""Folders of each level of compression, in the order in which a level is chosen. ``c0`` is an older name of ``raw``."""

_SUFFIX = re.compile(r"\.(mp4|avi|mov|mkv|webm)$", re.IGNORECASE)
_ORIGINAL = re.compile(r"(?P<target>\d+)(__(?P<scene>.+))?")
_FAKE = re.compile(r"(?P<target>\d+)_(?P<source>\d+)(__(?P<scene>.+?)(__[^_]+)?)?")


@dataclass(frozen=True, slots=True)
class VideoName:
    """A video. ``target`` and ``source`` are the videos, or the actors, that it was made from; an original has no
    source. ``original`` is the name of the original that a fake was made from, and an original's own name. ``actors``:
    whether it shows an actor in a scene."""

    name: str
    target: str
    source: str | None
    original: str
    actors: bool


def form(method: str | None, actors: bool) -> str:
    """How videos of a method (None: of originals) are named.

    >>> form(None, actors=True), form("FaceSwap", actors=False)
    ('ACTOR__SCENE', 'TARGET_SOURCE')
    """
    if actors:
        return "TARGET_SOURCE__SCENE__CODE" if method else "ACTOR__SCENE"
    return "TARGET_SOURCE" if method else "VIDEO"


def is_video_file(name: str) -> bool:
    """Whether a file is a video by its suffix."""
    return _SUFFIX.search(name) is not None


def without_suffix(folder: str) -> str:
    """The name of a video without the suffix of its file."""
    return _SUFFIX.sub("", folder)


def video_name(folder: str, fake: bool) -> VideoName | None:
    """The video that a folder of frames is named after; None where it is named in another form.

    >>> video_name("000_003.mp4", fake=True)
    VideoName(name='000_003', target='000', source='003', original='000', actors=False)
    >>> name = video_name("03_09__hugging_happy__ABC", fake=True)
    >>> name.target, name.source, name.original
    ('actor 03', 'actor 09', '03__hugging_happy')
    """
    name = without_suffix(folder)
    match = (_FAKE if fake else _ORIGINAL).fullmatch(name)
    if match is None:
        return None
    target, scene, source = match["target"], match["scene"], match["source"] if fake else None
    person = "actor " if scene else ""  # actor 01 is not who is seen in video 01
    original = f"{target}__{scene}" if scene else target
    return VideoName(name, person + target, person + source if source else None, original, bool(scene))
