"""The identity of code: it follows every change of the code, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
from pathlib import Path

import pytest

from xaibench.discovery import code_identity
from xaibench.discovery.registry import Origin, load_registry

INFO = "acme_plugin-1.0.dist-info"
ORIGIN = Origin("acme-plugin", "1.0", "acme")
TARGET = "acme_plugin.maps:Map"
FILES = {
    "acme_plugin/__init__.py": "",
    "acme_plugin/maps.py": "class Map: sign = 1",
    "acme_plugin/masks.npy": "some numbers",
    "acme_plugin/table.toml": "steps = 1",
}


def sha256(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def record_of(files: dict[str, str]) -> list[str]:
    return [f"{name},{sha256(text)},{len(text)}" for name, text in files.items()]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The digest of the code, with the distribution laid out in a new folder, as a new process finds it."""
    folders = (tmp_path / str(number) / "site-packages" for number in range(99))

    def digest(files=FILES, record=(), target=TARGET, editable=False, top_level="", beside=None):
        root = next(folders)
        write(root, {**files, **(beside or {})})
        metadata = {
            "METADATA": "Metadata-Version: 2.1\nName: acme-plugin\nVersion: 1.0\n",
            "entry_points.txt": "[xaibench]\nacme = acme_plugin\n",
            "top_level.txt": top_level,
        }
        if record is not None:
            metadata["RECORD"] = "\n".join(record or record_of(files))
        if editable:
            metadata["direct_url.json"] = json.dumps({"url": "file:///acme", "dir_info": {"editable": True}})
        write(root / INFO, metadata)
        for function in vars(code_identity).values():
            getattr(function, "cache_clear", lambda: None)()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(root)
            importlib.invalidate_caches()
            return code_identity.code_digest(ORIGIN, target)

    return digest


def test_a_rebuilt_wheel_of_the_same_version_is_other_code(code):
    assert code() != code({**FILES, "acme_plugin/maps.py": "class Map: sign = -1"})


def test_a_data_file_of_a_wheel_is_part_of_its_code(code):
    assert code() != code({**FILES, "acme_plugin/masks.npy": "other numbers"})


def test_two_installations_of_one_wheel_are_the_same_code(code):
    def installed(python: str, installer: str) -> list[str]:
        pycache = f"acme_plugin/__pycache__/maps.{python}.pyc"
        return [
            f"../../../bin/acme,{sha256(python)},5",
            f"{INFO}/INSTALLER,{sha256(installer)},3",
            f"{INFO}/RECORD,,",
            f"{pycache},,",
            *record_of(FILES),
        ]

    one, other = installed("cpython-311", "pip"), installed("cpython-312", "uv")
    assert code(record=one) == code(record=list(reversed(other))) == code()


def test_the_record_is_read_and_not_the_files(code):
    """Hashing a large wheel at every start would cost more than reading what its installer has checked."""
    assert code(record=record_of(FILES)) == code({**FILES, "acme_plugin/maps.py": "edited"}, record=record_of(FILES))


def test_byte_code_that_a_wheel_brings_in_place_of_sources_is_code(code):
    one, other = ({"acme_plugin/__init__.pyc": "", "acme_plugin/maps.pyc": text} for text in ("one", "other"))
    assert code(one) != code(other)
    assert code(one, record=None) != code(other, record=None)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [f"{name},,{len(text)}" for name, text in FILES.items()],
        list(FILES),
        [line for line in record_of(FILES) if "maps.py" not in line] + ["acme_plugin/maps.py,,"],
        [line for line in record_of(FILES) if "maps.py" not in line],
        [f"acme.pth,{sha256('elsewhere')},9", f"{INFO}/RECORD,,"],
    ],
    ids=["missing", "no hashes", "no columns", "a hash missing", "the target missing", "a path file"],
)
def test_a_record_that_does_not_cover_the_component_gives_way_to_the_sources(code, record):
    changed = {**FILES, "acme_plugin/maps.py": "class Map: sign = -1"}
    assert code(record=record) == code(record=record)
    assert code(record=record) != code(changed, record=record)


def test_the_target_in_a_package_of_another_distribution_is_covered(code):
    """A thin plugin may register what an ordinary package computes."""
    one, other = ({"acme_core/__init__.py": f"class Map: sign = {sign}"} for sign in (1, -1))
    target, record = "acme_core:Map", record_of(FILES)
    assert code(record=record, target=target, beside=one) != code(record=record, target=target, beside=other)


def test_what_lies_beside_an_installed_package_is_another_distribution(code):
    beside = {"stranger/__init__.py": "x = 1"}
    assert code(record=None) == code(record=None, beside=beside)
    assert code(record=None, top_level="acme_plugin\nstranger\n", beside=beside) != code(record=None)


@pytest.mark.parametrize(
    "file", ["maps.py", "inner/new.py", "table.toml", "inner/run.toml", "kernel.cu", "fast.cpython-311-linux.so"]
)
def test_an_editable_installation_follows_its_sources_and_settings(code, file):
    changed = {**FILES, f"acme_plugin/{file}": "another"}
    assert code(editable=True) != code(changed, editable=True)


@pytest.mark.parametrize(
    "file",
    ["masks.npy", "log.txt", "face.png", "__pycache__/maps.pyc", ".cache/seen.json", "out/run.toml", "out/a/b.json"],
)
def test_what_a_program_writes_into_an_editable_installation_is_not_its_code(code, file):
    run = {"acme_plugin/out/run.toml": "[record]", "acme_plugin/out/a/b.json": ""} if file.startswith("out/") else {}
    assert code(editable=True) == code({**FILES, **run, f"acme_plugin/{file}": "[record]\nanother = 1"}, editable=True)


def test_moving_text_from_one_file_to_the_next_is_a_change(code):
    one = {**FILES, "acme_plugin/a.py": "ab.py", "acme_plugin/b.py": ""}
    other = {**FILES, "acme_plugin/a.py": "a", "acme_plugin/b.py": "b.py"}
    assert code(one, editable=True) != code(other, editable=True)


def test_every_built_in_component_has_a_digest_of_its_code():
    for component in load_registry().components:
        assert len(code_identity.component_identity(component)["code"]) >= 12, component.name
