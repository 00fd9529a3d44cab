"""What object stores and other remote file systems answer, as errors that a user can mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from xaibench.api.errors import StoreError, XaibenchError

_MENDS = {
    "credentials": "give credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile for s3://, or what "
    "fsspec's configuration holds; FSSPEC_S3_ANON=true reads a public bucket",
    "permission": "check that your credentials may do that there",
    "connection": "check the network and the address of the store: AWS_ENDPOINT_URL for s3://",
    "missing": "make the bucket, or give another address",
    "": "check the address, the network and your credentials",
}
_WORDS = {"credential": "credentials", "connect": "connection", "endpoint": "connection", "timeout": "connection"}


def mend_of_answer(error: BaseException) -> str:
    """What a user can do about an answer of a file system, whose client is known by the names of its errors alone."""
    if isinstance(error, PermissionError):
        return _MENDS["permission"]
    if isinstance(error, FileNotFoundError):
        return _MENDS["missing"]
    name = type(error).__name__.lower()
    return _MENDS[next((kind for word, kind in _WORDS.items() if word in name), "")]


def text_of_answer(error: BaseException) -> str:
    """An answer in one line of 160 characters at most."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def put_was_refused(error: BaseException) -> bool:
    """Whether a conditional put was refused because the object is there, or is being put by another."""
    if isinstance(error, FileExistsError):
        return True
    told = f"{type(error).__name__} {error} {error.__cause__}".lower()
    conflict = any(word in told for word in ("precondition", "conditionalrequestconflict", "already exists"))
    return conflict or (isinstance(error, OSError) and error.errno == errno.EINVAL and "condition" in told)


@contextmanager
def store_answers(place: object, doing: str = "read") -> Iterator[None]:
    """What a file system raises inside becomes a :class:`StoreError`: ``PLACE cannot be DOING: why``.

    Errors of xaibench and ``FileNotFoundError`` pass when something is read: the caller knows what is missing.
    """
    try:
        yield
    except XaibenchError:
        raise
    except Exception as error:  # file systems raise what their clients raise
        if doing == "read" and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise
        raise StoreError(f"{place} cannot be {doing}: {text_of_answer(error)}", mend_of_answer(error)) from error
