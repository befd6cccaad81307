"""Weight files: both ways with PyTorch, whole or not at all, ModelError for anything bad."""

from __future__ import annotations

import contextlib
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ModelError
from nnmed.nn import load_arrays, load_weights, save_arrays, save_weights


def make():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_weights_and_metadata_come_back(tmp_path):
    model, other = make(), make()
    model[1].num_batches_tracked.data = 7
    path = tmp_path / "model.safetensors"
    save_weights(model, path, {"classes": "a,b"})
    assert load_weights(other, path) == {"classes": "a,b"}
    assert int(other[1].num_batches_tracked) == 7
    for ours, expected in zip(other.parameters(), model.parameters()):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy())
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_of_any_layout(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {
        "plain": base,
        "transposed": base.transpose(2, 0, 1),
        "sliced": base[:, ::2, 1:],
        "reversed": base[::-1],
        "scalar": np.array(2.5),
        "broadcast": np.broadcast_to(np.float32(3), (2, 2)),
        "empty": np.zeros((0, 3), np.float32),
        "big endian": np.arange(3, dtype=">f4"),
        "numbers": np.arange(3),
        "flags": np.array([True, False]),
        "tensor": Tensor(base.transpose(2, 0, 1)),
    }
    save_arrays(arrays, tmp_path / "a.safetensors")
    back, metadata = load_arrays(tmp_path / "a.safetensors")
    assert metadata == {}
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        array = array.numpy() if isinstance(array, Tensor) else array
        assert back[name].shape == array.shape, name
        assert back[name].dtype == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(back[name], array)
        assert not back[name].flags.writeable


@pytest.mark.oracle
def test_both_ways_with_pytorch(torch, tmp_path):
    from safetensors.torch import load_file, save_file

    theirs = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
    )
    theirs(torch.randn(5, 3))  # moves the running statistics
    theirs.eval()
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()

    ours = make().eval()
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    load_weights(ours, tmp_path / "theirs.safetensors")
    np.testing.assert_allclose(ours(Tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)

    save_weights(ours, tmp_path / "ours.safetensors")
    back = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
    ).eval()
    back.load_state_dict(load_file(tmp_path / "ours.safetensors"))
    np.testing.assert_array_equal(back(torch.from_numpy(x)).detach().numpy(), expected)


@pytest.mark.oracle
def test_bfloat16_is_named(torch, tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="BF16"):
        load_arrays(tmp_path / "b.safetensors")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "good.safetensors"
    save_arrays({"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2)}, path)
    return path.read_bytes()


def with_header(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD = {
    "empty": b"",
    "short": b"abc",
    "text": b"this is no weights file, whatever its name says",
    "header too long": (10**9).to_bytes(8, "little") + b"{}",
    "header enormous": b"\xff" * 8 + b"{}",
    "header no json": with_header(b"{oops"),
    "header no utf-8": with_header(b'{"\xff": 1}'),
    "header a list": with_header([1, 2]),
    "header a number": with_header(3),
    "entry a number": with_header({"w": 3}),
    "no shape": with_header({"w": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "unknown dtype": with_header({"w": entry("F99")}, bytes(8)),
    "negative shape": with_header({"w": entry(shape=(-2,))}, bytes(8)),
    "huge shape": with_header({"w": entry(shape=(2**62, 2**62))}, bytes(8)),
    "wrong size": with_header({"w": entry(shape=(3,))}, bytes(8)),
    "beyond the end": with_header({"w": entry()}, bytes(4)),
    "rest at the end": with_header({"w": entry()}, bytes(12)),
    "offsets crossed": with_header({"w": entry(offsets=(8, 0))}, bytes(8)),
    "overlap": with_header({"w": entry(), "v": entry()}, bytes(8)),
    "hole": with_header({"w": entry(), "v": entry(offsets=(12, 20))}, bytes(20)),
    "metadata no text": with_header({"__metadata__": {"a": 1}, "w": entry()}, bytes(8)),
    "deeply nested": with_header(b'{"w":' + b"[" * 5000 + b"]" * 5000 + b"}"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(BAD[name])
    with pytest.raises(ModelError, match=r"bad\.safetensors"):
        load_arrays(path)


def test_every_truncation(good, tmp_path):
    path = tmp_path / "cut.safetensors"
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(ModelError, match=r"cut\.safetensors"):
            load_arrays(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_bytes_raise_nothing_else(good, tmp_path, data):
    bytes_ = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        bytes_[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(bytes_)
    with contextlib.suppress(ModelError):
        load_weights(nn.Linear(3, 2), path)


def test_paths_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "absent", tmp_path, "nul\0byte"):
        with pytest.raises(ModelError, match="cannot be read"):
            load_arrays(path)


def test_a_file_of_another_model(tmp_path):
    save_weights(nn.Linear(2, 2), tmp_path / "other.safetensors")
    model = nn.Linear(3, 2)
    before = model.weight.numpy().copy()
    with pytest.raises(ModelError, match=r"other\.safetensors(.|\n)*expected \(2, 3\)"):
        load_weights(model, tmp_path / "other.safetensors")
    np.testing.assert_array_equal(model.weight.numpy(), before)


def test_what_cannot_be_stored(tmp_path):
    path = tmp_path / "x.safetensors"
    for array in (np.array(["text"]), np.array([None]), np.zeros(2, np.complex128)):
        with pytest.raises(ModelError, match=r"x\.safetensors"):
            save_arrays({"a": array}, path)
    with pytest.raises(ModelError, match=r"x\.safetensors"):
        save_arrays({"a": np.zeros(2)}, path, {"epoch": 3})
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_arrays({"a": np.zeros(2)}, path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="No space left"):
        save_arrays({"a": np.ones(2)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ModelError, match="cannot be written"):
        save_arrays({"a": np.ones(2)}, tmp_path / "no folder" / "model.safetensors")
