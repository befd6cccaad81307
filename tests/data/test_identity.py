"""Pseudonyms: one key, made once, readable by nobody else."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nnmed.data import identity


def test_the_key_is_made_once_and_is_private():
    first = identity.patient_pseudonym("12345")
    path = identity.key_path()
    assert path.is_relative_to(os.environ["XDG_DATA_HOME"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_bytes()
    assert len(key) == identity.KEY_BYTES
    identity._key.cache_clear()
    assert identity.patient_pseudonym("12345") == first
    assert path.read_bytes() == key
    assert list(path.parent.iterdir()) == [path]


def test_another_key_gives_other_pseudonyms(monkeypatch, tmp_path):
    first = identity.patient_pseudonym("12345")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    identity._key.cache_clear()
    assert identity.patient_pseudonym("12345") != first


def test_processes_that_start_together_agree():
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: identity._key.__wrapped__(), range(32)))
    assert len(keys) == 1


def test_a_damaged_key_is_replaced():
    identity.patient_pseudonym("12345")
    identity.key_path().write_bytes(b"short")
    identity._key.cache_clear()
    identity.patient_pseudonym("12345")
    assert len(identity.key_path().read_bytes()) == identity.KEY_BYTES


def test_without_a_place_for_the_key_it_lives_in_memory(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(blocked))
    identity._key.cache_clear()
    assert identity.patient_pseudonym("a") == identity.patient_pseudonym("a")
    assert blocked.stat().st_size == 0


@pytest.mark.parametrize("value", ["", "relative/path"])
def test_the_default_place(monkeypatch, value):
    monkeypatch.setenv("XDG_DATA_HOME", value)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert identity.key_path() == Path("/home/somebody/.local/share/nnmed/patient.key")
