"""Draws are functions of the seed and a key."""

from __future__ import annotations

import json

import numpy as np
import pytest

import nnmed
from nnmed.backend import random
from nnmed.errors import UsageError


def test_a_generator_depends_on_seed_and_key_alone():
    first = random.generator("augment", 3, 7).random(4)
    random.generator("augment", 3, 8).random(100)
    np.testing.assert_array_equal(random.generator("augment", 3, 7).random(4), first)
    assert not np.array_equal(random.generator("augment", 37).random(4), first)
    nnmed.seed(1)
    assert not np.array_equal(random.generator("augment", 3, 7).random(4), first)


def test_words_can_be_computed_from_any_start():
    whole = random.philox_uint32((12, 34), 0, 64)
    np.testing.assert_array_equal(random.philox_uint32((12, 34), 24, 13), whole[24:37])
    assert whole.dtype == np.uint32
    with pytest.raises(ValueError, match="multiple of 8"):
        random.philox_uint32((12, 34), 4, 4)


def test_philox_words_are_those_of_the_paper():
    # Known answers of Philox4x64-10 (Random123, kat_vectors): counter and key all zero,
    # whose first block is the one before counter 1; numpy counts up before each block.
    words = np.random.Philox(key=[0, 0], counter=[2**64 - 1] * 4).random_raw(4)
    expected = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert [int(w) for w in words] == expected


def test_streams_start_again_with_the_seed():
    def draws():
        nnmed.seed(5)
        stream = random.new_stream()
        return [random.draw_key(stream) for _ in range(3)]

    first = draws()
    assert draws() == first
    assert len(set(first)) == 3


def test_state_round_trips_through_json():
    stream = random.new_stream()
    random.draw_key(stream)
    state = json.loads(json.dumps(random.get_state()))
    expected = random.draw_key(stream), random.new_stream()
    random.set_state(state)
    assert (random.draw_key(stream), random.new_stream()) == expected


def test_places_of_keys_are_given_again_and_filled_with_the_next_keys():
    first, second = random.new_stream(), random.new_stream()
    expected = [random.draw_key(stream) for stream in (second, first, second)]
    nnmed.seed(0)
    with random.KeyPlaces("abc") as places:
        assert random.draw_key(second) == "a"
        tape = random.Tape()
        for _ in range(2):  # the second time from the tape
            with tape:
                assert [random.draw_key(stream) for stream in (first, second)] == ["b", "c"]
        with pytest.raises(UsageError, match="more random numbers"):
            random.draw_key(first)
    assert len(tape) == 2
    assert places.next_keys() == expected


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, "1", True])
def test_bad_seeds_are_refused(value):
    with pytest.raises(UsageError, match="seed"):
        nnmed.seed(value)


def test_numpy_integers_name_the_same_stream():
    same = random.generator("augment", np.int64(3)).random()
    assert random.generator("augment", 3).random() == same
