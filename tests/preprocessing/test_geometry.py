from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.data.sample import Sample
from nnmed.preprocessing import RandomAffine, RandomFlip, Resize
from nnmed.preprocessing.warp import MIN_VISIBLE, affine_map, clip_boxes, warp_affine
from tests.preprocessing.strategies import bounds, lesion, same, samples, seeds

angles = st.floats(-180, 180)
scales = st.floats(0.7, 1.4)
shifts = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15)).map(list)


@settings(max_examples=200, deadline=None)
@given(angles, scales, shifts, st.integers(1, 3))
def test_affine_keeps_image_mask_and_box_together(degrees, scale, shift, channels):
    sample = lesion(channels=channels)
    parameters = {"degrees": degrees, "scale": scale, "shift": shift}
    result = RandomAffine(fill=0.0).replay(sample, parameters)
    # The image was equal to the mask: where interpolation is past half, the mask is set, except
    # where a corner lets the two kinds of interpolation disagree by less than a pixel.
    disagree = (result.image[0] > 0.5) != (result.mask > 0)
    assert not (disagree & (np.abs(result.image[0] - 0.5) > 0.3)).any()
    assert (result.mask[result.image[0] > 0.999] == 1).all()
    assert (result.mask[result.image[0] < 0.001] == 0).all()
    if result.mask.any() and len(result.boxes):
        (box,) = result.boxes
        found = bounds(result.mask)
        assert (found[:2] >= box[:2] - 0.51).all()
        assert (found[2:] <= box[2:] + 0.51).all()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([0, 90, 180, -90]), st.floats(0.8, 1.2))
def test_right_angles_keep_the_box_tight(degrees, scale):
    parameters = {"degrees": degrees, "scale": scale, "shift": [0.0, 0.0]}
    result = RandomAffine().replay(lesion(), parameters)
    np.testing.assert_allclose(result.boxes[0], bounds(result.mask), atol=0.51)


@settings(max_examples=100, deadline=None)
@given(samples(smallest=1, largest=20), st.booleans(), st.booleans())
def test_flip_twice_is_the_identity(sample, horizontal, vertical):
    parameters = {"horizontal": horizontal, "vertical": vertical}
    twice = RandomFlip().replay(RandomFlip().replay(sample, parameters), parameters)
    assert twice.image.tobytes() == sample.image.tobytes()
    assert twice.mask.tobytes() == sample.mask.tobytes()
    assert twice.boxes.tobytes() == sample.boxes.tobytes()


@settings(max_examples=100, deadline=None)
@given(samples(smallest=2), st.booleans(), st.booleans())
def test_flip_moves_boxes_with_the_pixels(sample, horizontal, vertical):
    result = RandomFlip().replay(sample, {"horizontal": horizontal, "vertical": vertical})
    for box, moved in zip(sample.boxes.astype(int), result.boxes.astype(int)):
        inside = sample.image[:, box[1] : box[3], box[0] : box[2]]
        still = result.image[:, moved[1] : moved[3], moved[0] : moved[2]]
        flip = inside[:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
        np.testing.assert_array_equal(still, flip)


def test_flip_probabilities():
    sample = lesion(4, (0, 0, 1, 1))
    rng = np.random.default_rng(0)
    drawn = [RandomFlip(0.3, 0.9).draw(sample, rng) for _ in range(2000)]
    assert np.isclose(np.mean([d["horizontal"] for d in drawn]), 0.3, atol=0.04)
    assert np.isclose(np.mean([d["vertical"] for d in drawn]), 0.9, atol=0.04)


@settings(max_examples=50, deadline=None)
@given(samples())
def test_no_motion_is_the_identity(sample):
    parameters = {"degrees": 0.0, "scale": 1.0, "shift": [0.0, 0.0]}
    for fill in (0.0, "edge"):
        result = RandomAffine(fill=fill).replay(sample, parameters)
        np.testing.assert_array_equal(result.image, sample.image)
        np.testing.assert_array_equal(result.mask, sample.mask)
        np.testing.assert_array_equal(result.boxes, sample.boxes)


@settings(max_examples=80, deadline=None)
@given(samples(smallest=2), angles, scales, shifts)
def test_bilinear_is_scipys(sample, degrees, scale, shift):
    from scipy.ndimage import affine_transform

    matrix, offset = affine_map(sample.mask.shape, degrees, scale, shift)
    inverse = np.linalg.inv(matrix)[::-1, ::-1]  # SciPy wants (row, column)
    start = inverse @ (0.5 - offset[::-1]) - 0.5
    for fill, mode in ((2.0, "grid-constant"), ("edge", "nearest")):
        moved, _ = warp_affine(sample.image, None, matrix, offset, fill)
        for channel, result in zip(sample.image.astype(np.float64), moved):
            expected = affine_transform(channel, inverse, start, order=1, mode=mode, cval=2.0)
            np.testing.assert_allclose(result, expected, atol=1e-4)


def test_a_quarter_turn_is_counter_clockwise():
    sample = lesion(8, (7, 0, 8, 1))  # the upper right corner
    turned = RandomAffine().replay(sample, {"degrees": 90.0, "scale": 1.0, "shift": [0.0, 0.0]})
    np.testing.assert_allclose(turned.image[0], np.rot90(sample.image[0]), atol=1e-5)
    np.testing.assert_allclose(turned.boxes, [[0, 0, 1, 1]], atol=1e-5)


def test_shift_is_down_and_right():
    sample = lesion(10, (2, 3, 4, 5))
    moved = RandomAffine().replay(sample, {"degrees": 0.0, "scale": 1.0, "shift": [0.1, 0.3]})
    np.testing.assert_allclose(moved.boxes, [[5, 4, 7, 6]], atol=1e-5)
    np.testing.assert_array_equal(bounds(moved.mask), [5, 4, 7, 6])


def test_scale_magnifies_and_changes_the_spacing():
    sample = lesion(20, (8, 8, 12, 12))
    larger = RandomAffine().replay(sample, {"degrees": 0.0, "scale": 2.0, "shift": [0.0, 0.0]})
    np.testing.assert_allclose(larger.boxes, [[6, 6, 14, 14]], atol=1e-5)
    assert larger.spacing == pytest.approx((0.1, 0.1))


def test_rotation_is_one_of_the_body_where_pixels_are_oblong():
    sample = lesion(40, (16, 18, 24, 22))  # 8 x 4 pixels, at 2 mm a row: a square of 8 mm
    sample.spacing = (2.0, 1.0)
    turned = RandomAffine().replay(sample, {"degrees": 90.0, "scale": 1.0, "shift": [0.0, 0.0]})
    np.testing.assert_allclose(turned.boxes, sample.boxes, atol=1e-4)
    np.testing.assert_array_equal(turned.mask, sample.mask)


def test_outside_is_the_fill_and_no_mask():
    sample = Sample(np.ones((1, 6, 6), np.float32), mask=np.ones((6, 6), np.uint8))
    parameters = {"degrees": 0.0, "scale": 1.0, "shift": [0.0, 0.5]}
    for fill, value in ((-3.0, -3), ("edge", 1)):
        moved = RandomAffine(fill=fill).replay(sample, parameters)
        assert (moved.image[0, :, :3] == value).all()
        assert (moved.mask[:, :3] == 0).all()
        assert (moved.mask[:, 3:] == 1).all()


def test_boxes_that_leave_the_image_are_dropped():
    boxes = np.array([[-9, 0, 1.1, 10], [-9, 0, 0.9, 10], [20, 20, 30, 30], [2, 2, 4, 4]])
    assert MIN_VISIBLE == 0.1
    np.testing.assert_allclose(clip_boxes(boxes, (10, 10)), [[0, 0, 1.1, 10], [2, 2, 4, 4]])
    gone = RandomAffine().replay(lesion(), {"degrees": 0.0, "scale": 1.0, "shift": [0.9, 0.9]})
    assert gone.boxes.shape == (0, 4)
    assert not gone.mask.any()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_resize_keeps_the_aspect_ratio(height, width, new_height, new_width):
    sample = Sample(
        np.ones((2, height, width), np.float32),
        mask=np.ones((height, width), np.uint8),
        boxes=np.array([[0, 0, width, height]], np.float32),
        spacing=(1.0, 2.0),
    )
    result = Resize((new_height, new_width), fill=-1.0)(sample)
    assert result.image.shape == (2, new_height, new_width)
    place = result.history[-1][1]
    x0, y0, x1, y1 = bounds(result.mask)
    assert (y0, x0, y1 - y0, x1 - x0) == tuple(place[k] for k in ("top", "left", "height", "width"))
    np.testing.assert_allclose(result.boxes, [[x0, y0, x1, y1]], rtol=1e-6)
    np.testing.assert_allclose(result.image[:, result.mask == 1], 1, rtol=1e-6)
    assert (result.image[:, result.mask == 0] == -1).all()
    assert abs(y0 - (new_height - y1)) <= 1
    assert abs(x0 - (new_width - x1)) <= 1
    factor = min(new_height / height, new_width / width)
    assert abs((y1 - y0) - height * factor) <= max(0.5, 1 - height * factor) + 1e-9
    assert result.spacing[0] * (y1 - y0) == pytest.approx(1.0 * height)
    assert result.spacing[1] * (x1 - x0) == pytest.approx(2.0 * width)


def test_resize_to_the_same_size_changes_nothing():
    sample = lesion(16, (2, 3, 5, 9), channels=3)
    result = Resize(16)(sample)
    sample.history = result.history
    assert same(result, sample)


def test_shrinking_does_not_alias():
    stripes = Sample(np.tile(np.array([0, 1], np.float32), (1, 64, 32)))
    small = Resize(16)(stripes).image
    np.testing.assert_allclose(small[..., 1:-1], 0.5, atol=0.01)


def test_resize_is_pytorchs(torch):
    rng = np.random.default_rng(0)
    for old, new in (((40, 64), (20, 32)), ((33, 33), (12, 12)), ((7, 9), (21, 27))):
        image = rng.standard_normal((3, *old), np.float32)
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(image)[None], size=new, mode="bilinear", antialias=True
        )[0]
        result = Resize(new)(Sample(image)).image
        np.testing.assert_allclose(result, expected.numpy(), atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(10, 40))
def test_resized_lesion_stays_in_its_box(rng, size):
    x0, y0 = rng.integers(0, 40, 2)
    sample = lesion(64, (x0, y0, x0 + rng.integers(4, 24), y0 + rng.integers(4, 24)))
    result = Resize(size)(sample)
    if result.mask.any():
        np.testing.assert_allclose(result.boxes[0], bounds(result.mask), atol=0.51)
    assert (result.mask[result.image[0] > 0.999] == 1).all()


def test_a_large_image_is_warped_in_blocks_without_seams():
    rows = np.arange(300, dtype=np.float32)
    ramp = Sample((rows[:, None] + rows)[None].copy())
    matrix, offset = affine_map((300, 300), 0, 1.0, (0.01, 0.02))
    moved, _ = warp_affine(ramp.image, None, matrix, offset, "edge")
    np.testing.assert_allclose(moved[0, 10:, 10:], ramp.image[0, 10:, 10:] - 9, atol=1e-3)
