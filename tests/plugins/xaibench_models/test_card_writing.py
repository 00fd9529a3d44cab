"""Cards on disk: keys are changed where they stand, and nothing else is."""

import pytest

from xaibench.api import ModelError, parse_toml
from xaibench_models.card import OnnxKeys
from xaibench_models.card_writing import write_keys
from xaibench_models.onnx_model import OnnxModel, OnnxParameters
from xaibench_models.torch_model import TorchModel, TorchParameters

CARD = """# the card of our third model
classes = ["real", "fake"]  # order of the head
colour = "BGR" # as it is read

[resize]
# as in training
mode = "squash"  # no crop
"""


def write(path, keys, **parameters):
    return write_keys(path, keys, OnnxKeys, OnnxKeys.model_validate(parameters))


def test_comments_order_and_other_keys_stay(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(CARD)
    assert write(path, {"colour": "RGB", "mean": (0.5, 0.4, 0.3)}) == str(path)
    assert path.read_text() == CARD.replace('"BGR"', '"RGB"').replace("\n\n[", "\nmean = [0.5, 0.4, 0.3]\n\n[")
    assert [p.name for p in tmp_path.iterdir()] == ["m.toml"]


@pytest.mark.parametrize(
    "old",
    [
        "",
        CARD,
        CARD.replace("\n", "\r\n"),
        "resize.mode = 'squash'\n",
        'resize = {mode = "squash", antialias = true} # one line',
        "mean = [\n  1, # red\n  2,\n  3,\n]\n[batch]\nmax = 4",
        '"range" = [0, 1]',
    ],
)
def test_every_spelling_of_a_card_is_changed_to_the_keys_asked_for(tmp_path, old):
    path = tmp_path / "m.toml"
    path.write_bytes(old.encode())
    keys = {"range": (0, 255), "mean": (1.5, 2.5, 3.5), "resize": {"mode": "crop", "interpolation": "area"}}
    write(path, keys)
    text = path.read_bytes().decode()
    wanted = {"range": [0, 255], "mean": [1.5, 2.5, 3.5], "resize": keys["resize"]}
    assert parse_toml(text) == {**parse_toml(old), **wanted}
    assert ("\r\n" in old) == ("\r\n" in text) and (("\n" in text.replace("\r\n", "")) != ("\r\n" in text))


def test_a_card_is_made_where_there_is_none(tmp_path):
    model = OnnxModel(OnnxParameters(path=str(tmp_path / "net.onnx")))
    assert model.write_card("net", {"colour": "BGR"}) == str(tmp_path / "net.toml")
    assert parse_toml((tmp_path / "net.toml").read_text()) == {"colour": "BGR"}
    described = tmp_path / "torch.toml"
    described.write_text('factory = "a:b"\n')
    TorchModel(TorchParameters(path=str(described))).write_card("torch", {"fake_index": 1})
    assert parse_toml(described.read_text()) == {"factory": "a:b", "fake_index": 1}
    with pytest.raises(ModelError, match="no file that a card could stand beside"):
        TorchModel(TorchParameters(factory="a:b")).write_card("a:b", {"fake_index": 1})


def test_what_cannot_or_should_not_be_written_is_refused_and_nothing_changes(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(CARD)
    with pytest.raises(ModelError, match="given as a parameter"):
        write(path, {"colour": "RGB"}, colour="BGR")
    with pytest.raises(ModelError, match="range must be"):
        write(path, {"range": (1, 0)})
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with pytest.raises(ModelError, match="symbolic link"):
        write(link, {"colour": "RGB"})
    path.chmod(0o444)
    with pytest.raises(ModelError, match="read-only") as raised:
        write(path, {"colour": "RGB"})
    assert 'colour = "RGB"' in raised.value.mend
    assert path.read_text() == CARD
    with pytest.raises(ModelError, match="no such|cannot write"):
        write(tmp_path / "missing" / "m.toml", {"colour": "RGB"})
