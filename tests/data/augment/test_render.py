"""Augmentation: what is drawn depends on an address alone, what is rendered is what the numbers say."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from resnetlab.data.augment.draw import PLAIN, Variations, draw, draw_boxes
from resnetlab.data.augment.render import GREY, affine, colour_matrices, render, render_all
from resnetlab.recipe import Augment

quick = settings(max_examples=60)
KEYS = st.integers(0, 2**64 - 1)
SEEDS = st.integers(0, 2**32 - 1)
EPOCHS = st.integers(0, 10**6)

# Each setting with the field of the Variations that it decides.
ALONE = {
    "crop_scale": ((0.2, 0.9), "box"),
    "flip": (1.0, "flip"),
    "rotation_deg": (30.0, "angle_deg"),
    "translate_frac": (0.2, "shift"),
    "brightness": (0.4, "brightness"),
    "contrast": (0.4, "contrast"),
    "saturation": (0.4, "saturation"),
    "hue": (0.3, "hue"),
    "erase": (1.0, "erase"),
}
EVERYTHING = {name: value for name, (value, _) in ALONE.items()}


def one(variations: Variations, row: int) -> Variations:
    """Return what happens to one of the images."""
    fields = dataclasses.fields(Variations)
    values = {field.name: getattr(variations, field.name) for field in fields}
    return Variations(**{k: v[row] for k, v in values.items() if isinstance(v, np.ndarray)})


def fields_that_differ(first: Variations, second: Variations) -> set[str]:
    def differ(mine: object, other: object) -> bool:
        if mine is None or other is None:
            return mine is not other
        return not np.all(np.equal(mine, other))

    names = [field.name for field in dataclasses.fields(Variations)]
    return {name for name in names if differ(getattr(first, name), getattr(second, name))}


def many(augment: Augment, count: int = 2000, aspect: float = 1.0, epoch: int = 0) -> Variations:
    keys = np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)
    return draw(augment, 0, epoch, keys, np.full(count, aspect))


def draw_one(augment: Augment, seed: int, epoch: int, key: int, aspect: float) -> Variations:
    keys = np.array([key], dtype=np.uint64)
    return one(draw(augment, seed, epoch, keys, np.array([aspect])), 0)


def rendered(
    image: np.ndarray, variation: Variations, size: int | None = None, fit: str = "crop"
) -> np.ndarray:
    out = np.empty((size or image.shape[0],) * 2 + (3,), dtype=np.uint8)
    render(image, variation, image.reshape(-1, 3).mean(axis=0), fit, out)
    return out


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def muted() -> np.ndarray:
    """Colours so far from black and white that moderate changes are not cut off."""
    return np.random.default_rng(1).integers(90, 160, (32, 32, 3), dtype=np.uint8)


# Drawing


@quick
@given(SEEDS, EPOCHS, KEYS)
def test_a_draw_is_a_function_of_its_address(seed, epoch, key):
    augment = Augment(**EVERYTHING)
    first = draw_one(augment, seed, epoch, key, 1.5)
    draw_one(augment, seed, epoch + 1, key ^ 1, 1.5)  # others in between leave no trace
    np.random.seed(seed % 100)  # nor does the global generator

    assert not fields_that_differ(draw_one(augment, seed, epoch, key, 1.5), first)


@quick
@given(SEEDS, EPOCHS, KEYS)
def test_any_other_address_is_another_draw(seed, epoch, key):
    augment = Augment(rotation_deg=180)
    angles = {
        float(draw_one(augment, *address, 1.0).angle_deg)
        for address in (
            (seed, epoch, key), (seed ^ 1, epoch, key), (seed, epoch + 1, key),
            (seed, epoch, key ^ 1), (seed, epoch, key ^ 2**63),
        )
    }  # fmt: skip

    assert len(angles) == 5


@pytest.mark.parametrize("flip", [0.5, "alternate"])
def test_an_image_draws_the_same_in_whatever_company(flip):
    augment = Augment(**EVERYTHING | {"flip": flip})
    keys = np.random.default_rng(1).integers(0, 2**64, 50, dtype=np.uint64)
    aspects = np.linspace(0.5, 2, 50)
    together = draw(augment, 3, 1, keys, aspects)

    for row in range(50):
        alone = draw(augment, 3, 1, keys[row : row + 1], aspects[row : row + 1])
        assert not fields_that_differ(one(alone, 0), one(together, row))


def test_large_keys_are_told_apart_in_every_bit():
    # In float64, these would all be the same number.
    keys = [2**64 - 1, 2**64 - 2, 2**64 - 500, 2**63 + 1, 2**63 + 2]
    augment = Augment(rotation_deg=180)
    drawn = draw(augment, 0, 0, np.array(keys, dtype=np.uint64), np.ones(len(keys)))

    assert len(set(drawn.angle_deg)) == len(keys)


def test_the_numbers_are_these():
    """Golden: another NumPy, another machine, must draw the same."""
    drawn = draw_one(Augment(rotation_deg=10, brightness=0.5), 7, 3, 2**64 - 1, 1.0)

    assert (drawn.angle_deg, drawn.brightness) == (-0.1504020097338321, 0.5986209265336347)


def test_nothing_set_is_the_plain_view():
    assert not fields_that_differ(many(Augment(), 20), PLAIN)


@pytest.mark.parametrize(("setting", "value", "field"), [(k, *v) for k, v in ALONE.items()])
def test_each_setting_alone_changes_its_own_field(setting, value, field):
    drawn = many(Augment(**{setting: value}), 20)
    for row in range(20):
        assert fields_that_differ(one(drawn, row), PLAIN) == {field}


@pytest.mark.parametrize(("setting", "field"), [(k, v[1]) for k, v in ALONE.items()])
def test_switching_one_setting_off_leaves_the_others_as_they_were(setting, field):
    without = {name: value for name, value in EVERYTHING.items() if name != setting}
    full, reduced = many(Augment(**EVERYTHING), 20), many(Augment(**without), 20)

    for row in range(20):
        assert fields_that_differ(one(full, row), one(reduced, row)) == {field}


@quick
@given(
    st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.1, 1), st.floats(1, 10),
    st.floats(0.02, 50), KEYS,
)  # fmt: skip
def test_boxes_lie_in_the_image_and_keep_to_area_and_shape(a, b, low, high, aspect, key):
    scale = (min(a, b), max(a, b))
    augment = Augment(crop_scale=scale, crop_ratio=(low, high))
    left, top, width, height = draw_one(augment, 0, 0, key, aspect).box

    assert 0 <= left <= left + width <= 1 + 1e-12
    assert 0 <= top <= top + height <= 1 + 1e-12
    assert 0 < width * height <= scale[1] + 1e-12
    if width < 1 and height < 1:
        assert scale[0] - 1e-12 <= width * height
        assert low - 1e-9 <= width * aspect / height <= high + 1e-9


def test_draws_fill_their_ranges_evenly():
    augment = Augment(
        rotation_deg=30, translate_frac=0.2, brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1
    )
    drawn = many(augment)
    ranges = {
        "rotation": (drawn.angle_deg, -30, 30),
        "right": (drawn.shift[:, 0], -0.2, 0.2),
        "down": (drawn.shift[:, 1], -0.2, 0.2),
        "brightness": (drawn.brightness, 0.8, 1.2),
        "contrast": (drawn.contrast, 0.7, 1.3),
        "saturation": (drawn.saturation, 0.6, 1.4),
        "hue": (drawn.hue, -0.1, 0.1),
    }
    columns = []
    for values, low, high in ranges.values():
        count = len(values)
        uniform = (np.sort(values) - low) / (high - low)
        assert uniform[0] >= 0
        assert uniform[-1] <= 1
        # Kolmogorov and Smirnov's distance; 1.95 / √n is exceeded once in a thousand.
        assert np.abs(uniform - np.linspace(0, 1, count)).max() < 1.95 / count**0.5
        columns.append(values)
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 0.1, "each from numbers of its own"


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5, 1.0])
def test_chances_come_true(chance):
    drawn = many(Augment(flip=chance, erase=chance))
    flips = drawn.flip.mean()
    erasures = 0.0 if drawn.erase is None else (drawn.erase[:, 2] > 0).mean()

    assert flips == pytest.approx(chance, abs=0.04)
    assert erasures == pytest.approx(chance, abs=0.04)
    if chance in {0.0, 1.0}:
        assert flips == erasures == chance


def test_alternating_every_image_is_flipped_in_every_second_epoch():
    first, second, third = (many(Augment(flip="alternate"), epoch=n).flip for n in range(3))

    np.testing.assert_array_equal(first, ~second)
    np.testing.assert_array_equal(first, third)
    assert first.mean() == pytest.approx(0.5, abs=0.04), "half of them begin flipped"


def test_alternating_begins_as_a_chance_of_one_half_does():
    np.testing.assert_array_equal(
        many(Augment(flip="alternate")).flip, many(Augment(flip=0.5)).flip
    )


def test_alternating_leaves_the_other_settings_as_they_were():
    chance, alternating = (
        many(Augment(**EVERYTHING | {"flip": f}), 20) for f in (0.0, "alternate")
    )

    assert fields_that_differ(chance, alternating) == {"flip"}


def test_boxes_are_drawn_evenly_by_area_and_shape():
    boxes = many(Augment(crop_scale=(0.1, 0.5), crop_ratio=(0.5, 2))).box
    area = boxes[:, 2] * boxes[:, 3]
    shape = np.log2(boxes[:, 2] / boxes[:, 3])

    assert area.mean() == pytest.approx(0.3, abs=0.01)
    assert shape.mean() == pytest.approx(0, abs=0.05)
    assert (boxes[:, 0] / (1 - boxes[:, 2])).mean() == pytest.approx(0.5, abs=0.03)
    assert (boxes[:, 1] / (1 - boxes[:, 3])).mean() == pytest.approx(0.5, abs=0.03)


def test_a_box_that_does_not_fit_is_cut_to_the_image():
    boxes = draw_boxes((1.0, 1.0), (2.0, 2.0), np.ones(1), np.full((4, 1), 0.5))
    left, _, width, height = boxes[0]

    assert (left, width) == (0.0, 1.0)
    assert height == pytest.approx(0.5**0.5)


def test_erased_boxes_have_the_areas_of_the_paper():
    boxes = many(Augment(erase=1.0), 500).erase
    shares = boxes[:, 2] * boxes[:, 3]

    assert 0.02 <= shares.min() < 0.05
    assert 0.28 < shares.max() <= 0.33


# Rendering: place


@pytest.mark.parametrize("size", [1, 2, 7, 32, 33, 224])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_the_plain_view_of_an_image_of_the_right_size_is_the_image(size, fit):
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)

    np.testing.assert_array_equal(rendered(image, PLAIN, fit=fit), image)


@pytest.mark.parametrize("size", [2, 7, 32, 33, 224])
def test_a_flip_mirrors_left_and_right_and_two_undo_each_other(size):
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    flipped = rendered(image, Variations(flip=True))

    np.testing.assert_array_equal(flipped, np.fliplr(image))
    np.testing.assert_array_equal(rendered(flipped, Variations(flip=True)), image)


@pytest.mark.parametrize(("angle", "turns"), [(90, -1), (180, 2), (-90, 1), (270, 1)])
def test_angles_turn_clockwise(noise, angle, turns):
    turned = rendered(noise, Variations(angle_deg=angle)).astype(int)

    assert np.abs(turned - np.rot90(noise, turns)).max() <= 1


def test_a_small_turn_equals_pillows(muted):
    smooth = cv2.GaussianBlur(muted, (0, 0), 3)
    turned = rendered(smooth, Variations(angle_deg=20)).astype(int)
    expected = np.asarray(Image.fromarray(smooth).rotate(-20, Image.Resampling.BILINEAR))
    middle = slice(8, 24)

    assert np.abs(turned - expected)[middle, middle].max() <= 1


def test_a_flip_comes_before_the_turn(noise):
    both = rendered(noise, Variations(flip=True, angle_deg=90)).astype(int)

    assert np.abs(both - np.rot90(np.fliplr(noise), -1)).max() <= 1


def test_shifts_move_right_and_down_and_edges_are_reflected(noise):
    whole = (0, 0, 1, 1)  # with a box, an image is resampled
    right = rendered(noise, Variations(box=whole, shift=(3 / 32, 0)))
    np.testing.assert_array_equal(right[:, 3:], noise[:, :-3])
    np.testing.assert_array_equal(right[:, :3], noise[:, 2::-1])

    down = rendered(noise, Variations(box=whole, shift=(0, 5 / 32)))
    np.testing.assert_array_equal(down[5:], noise[:-5])
    np.testing.assert_array_equal(down[:5], noise[4::-1])


def test_resampling_is_opencvs_of_three_channels(noise):
    turned = Variations(angle_deg=17, shift=(0.11, 0.07))
    matrix = affine(np.array([32]), np.array([32]), 24, turned, "crop")[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(noise, matrix, (24, 24), flags=flags, borderMode=cv2.BORDER_REFLECT)

    np.testing.assert_array_equal(rendered(noise, turned, 24), expected)


# Rendering: images that have the output's size


def reference(image: np.ndarray, flip: bool, right: int, down: int) -> np.ndarray:
    """Flip and shift by NumPy's own means: pad on all sides by reflection, then cut."""
    size = len(image)
    padded = np.pad(image[:, ::-1] if flip else image, [(size, size)] * 2 + [(0, 0)], "reflect")
    return padded[size - down : 2 * size - down, size - right : 2 * size - right]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (0, 5), (-4, 2), (31, -32), (32, 32)])
def test_whole_pixels_are_moved_and_the_edge_is_not_doubled(noise, flip, right, down):
    view = rendered(noise, Variations(flip=flip, shift=(right / 32, down / 32)))

    np.testing.assert_array_equal(view, reference(noise, flip, right, down))


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_shifts_are_rounded_to_whole_pixels_where_nothing_else_resamples(noise, fit):
    view = rendered(noise, Variations(flip=True, shift=(2.4 / 32, -3.4 / 32)), fit=fit)

    np.testing.assert_array_equal(view, reference(noise, True, 2, -3))


def test_shifts_by_parts_of_a_pixel_are_a_setting(noise):
    shifted = Variations(shift=(0.5 / 32, 0), whole_pixels=False)
    between = (noise[:, :-1].astype(float) + noise[:, 1:]) / 2

    assert np.abs(rendered(noise, shifted)[:, 1:] - between).max() <= 1


@given(SEEDS, EPOCHS, KEYS, st.booleans())
@quick
def test_without_a_shift_that_setting_changes_nothing(seed, epoch, key, flip):
    settings = {"flip": float(flip), "brightness": 0.3}
    whole, parts = (
        draw_one(Augment(**settings, whole_pixels=each), seed, epoch, key, 1.0)
        for each in (True, False)
    )

    assert not fields_that_differ(whole, parts)
    assert draw(
        Augment(**settings, whole_pixels=False), 0, 0, np.array([1], "u8"), np.ones(1)
    ).whole_pixels


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_smallest_images_are_moved_too(size):
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    view = rendered(image, Variations(shift=(1.0, -1.0)))

    np.testing.assert_array_equal(view, reference(image, False, size, -size))


@pytest.mark.parametrize("turned", [{"angle_deg": 1e-9}, {"box": (0, 0, 1, 1)}])
def test_what_is_turned_or_cropped_is_shifted_by_parts_of_a_pixel(noise, turned):
    shifted = Variations(shift=(0.5 / 32, 0), **turned)
    between = (noise[:, :-1].astype(float) + noise[:, 1:]) / 2

    assert np.abs(rendered(noise, shifted)[:, 1:] - between).max() <= 1


# Rendering: many images


def test_each_of_many_images_is_rendered_as_if_alone():
    """Of various shapes, so that some are moved by whole pixels and some resampled."""
    generator = np.random.default_rng(2)
    shapes = [(32, 32), (32, 40), (50, 32), (32, 32), (100, 90), (12, 12)]
    images = [generator.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    means = np.array([image.reshape(-1, 3).mean(axis=0) for image in images])
    keys = np.arange(len(images), dtype=np.uint64)
    aspects = np.array([width / height for height, width in shapes])
    alone = np.empty((32, 32, 3), np.uint8)
    for settings_of_case in ({"flip": 0.5, "translate_frac": 0.3}, EVERYTHING, {}):
        for fit in ("crop", "stretch"):
            drawn = draw(Augment(**settings_of_case), 0, 0, keys, aspects)
            together = np.empty((len(images), 32, 32, 3), np.uint8)
            render_all(images, drawn, means, fit, together)
            for row, image in enumerate(images):
                render(image, one(drawn, row), means[row], fit, alone)
                np.testing.assert_array_equal(together[row], alone)


def test_one_value_goes_for_all_images(noise):
    images, means = [noise, noise[::-1].copy()], np.zeros((2, 3))
    variation = Variations(flip=True, shift=(0.25, 0.0), brightness=0.5, erase=(0.5, 0.5, 0.5, 0.5))
    out = np.empty((2, 32, 32, 3), np.uint8)
    render_all(images, variation, means, "crop", out)

    for image, view in zip(images, out, strict=True):
        expected = np.empty_like(view)
        render(image, variation, np.zeros(3), "crop", expected)
        np.testing.assert_array_equal(view, expected)


def test_the_matrix_leads_from_output_pixels_to_image_pixels():
    shifted = Variations(shift=(2 / 32, -3 / 32))
    matrices = affine(np.array([32, 64]), np.array([32, 64]), 32, shifted, "crop")

    np.testing.assert_array_equal(matrices[0], [[1, 0, -2], [0, 1, 3]])
    np.testing.assert_array_equal(matrices[1], [[2, 0, -3.5], [0, 2, 6.5]])


def test_a_box_of_the_outputs_size_is_cut_out(noise):
    box = (8 / 32, 4 / 32, 16 / 32, 16 / 32)

    np.testing.assert_array_equal(rendered(noise, Variations(box=box), 16), noise[4:20, 8:24])


@pytest.mark.parametrize("size", [11, 20, 40])
def test_a_box_is_cut_out_and_resized(size, noise):
    # Ten wide, fourteen high; at the edges the image around the box is seen, which a cut lacks.
    box = (8 / 32, 4 / 32, 10 / 32, 14 / 32)
    view = rendered(noise, Variations(box=box), size).astype(int)
    expected = cv2.resize(noise[4:18, 8:18], (size, size), interpolation=cv2.INTER_LINEAR)
    inside = slice(size // 8 + 1, -size // 8 - 1)

    assert np.abs(view - expected)[inside, inside].max() <= 6  # fixed point, 1/32 px
    assert np.abs(view - expected)[inside, inside].mean() < 1.5


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32), (32, 400)])
def test_crop_takes_the_middle_and_stretch_takes_all(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    top, left = (height - 32) // 2, (width - 32) // 2

    np.testing.assert_array_equal(
        rendered(image, PLAIN, 32, "crop"), image[top : top + 32, left : left + 32]
    )
    ramp = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (height, width, 3))
    view = rendered(np.rint(ramp).astype(np.uint8), PLAIN, 32, "stretch").astype(int)
    assert view[0, 0, 0] < 10
    assert view[0, -1, 0] > 245


def test_a_small_image_is_enlarged():
    view = rendered(np.array([[[0] * 3, [200] * 3]] * 2, dtype=np.uint8), PLAIN, 8)

    assert view[:, 0].max() == 0
    assert view[:, -1].min() == 200
    assert (np.diff(view[..., 0].astype(int), axis=1) >= 0).all()


@pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 2), (1, 1)])
def test_extreme_shapes_render(shape):
    image = np.full((*shape, 3), 77, np.uint8)
    for fit in ("crop", "stretch"):
        assert (rendered(image, Variations(angle_deg=10, shift=(0.1, 0)), 16, fit) == 77).all()


# Rendering: colour


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
@pytest.mark.parametrize(
    ("field", "pillow"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_brightness_contrast_and_saturation_equal_pillows(muted, field, pillow, factor):
    view = rendered(muted, Variations(**{field: factor})).astype(int)
    expected = np.asarray(pillow(Image.fromarray(muted)).enhance(factor))

    assert np.abs(view - expected).max() <= 2  # Pillow rounds grey before it blends


def test_colours_are_changed_in_the_order_that_is_promised(muted):
    variation = Variations(brightness=1.1, contrast=0.8, saturation=1.2)
    bright = muted * 1.1
    contrasty = 0.8 * bright + 0.2 * (bright @ GREY).mean()
    expected = 1.2 * contrasty + (1 - 1.2) * (contrasty @ GREY)[..., None]

    assert np.abs(rendered(muted, variation) - expected).max() < 1  # fixed point, rounded


def test_contrast_is_about_the_whole_image_not_the_part_that_is_shown(noise):
    mean = noise.reshape(-1, 3).mean(axis=0)
    part = Variations(box=(0, 0, 0.25, 0.25), contrast=0.0)

    assert np.abs(rendered(noise, part).astype(int) - round(GREY @ mean)).max() <= 1


def test_a_whole_turn_of_the_colour_circle_changes_nothing(noise):
    for turns in (-1.0, 1.0, 2.0):
        np.testing.assert_array_equal(rendered(noise, Variations(hue=turns)), noise)


def test_a_turn_and_a_turn_back_undo_each_other():
    there, back = colour_matrices(Variations(hue=np.array([0.2, -0.2])), np.zeros((2, 3)))[..., :3]

    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-12)


def test_hue_turns_from_red_to_green_to_blue():
    red = np.full((2, 2, 3), [150, 90, 90], np.uint8)

    assert [rendered(red, Variations(hue=hue))[0, 0].argmax() for hue in (0, 1 / 3, 2 / 3)] == [
        0,
        1,
        2,
    ]


@quick
@given(st.integers(0, 255), st.floats(-0.5, 0.5), st.floats(0, 2))
def test_grey_stays_grey_whatever_hue_and_saturation(value, hue, saturation):
    grey = np.full((3, 3, 3), value, np.uint8)

    np.testing.assert_array_equal(rendered(grey, Variations(hue=hue, saturation=saturation)), grey)


@quick
@given(st.floats(-0.5, 0.5), st.floats(0, 1.2))
def test_hue_and_saturation_keep_the_brightness(hue, saturation):
    muted = np.random.default_rng(1).integers(110, 146, (8, 8, 3), dtype=np.uint8)
    view = rendered(muted, Variations(hue=hue, saturation=saturation))

    assert np.abs(view @ GREY - muted @ GREY).max() <= 1


def test_no_change_of_colour_is_no_matrix():
    assert colour_matrices(PLAIN, np.zeros((2, 3))) is None
    assert colour_matrices(Variations(flip=True, angle_deg=5), np.zeros((2, 3))) is None
    assert colour_matrices(Variations(brightness=0.5, contrast=2.0), np.zeros((2, 3))) is not None


def test_what_leaves_the_range_is_cut_off_not_wrapped():
    bright = np.full((2, 2, 3), 200, np.uint8)

    assert (rendered(bright, Variations(brightness=2.0)) == 255).all()
    assert (rendered(bright, Variations(brightness=0.0)) == 0).all()


# Rendering: erasing


def test_erasing_fills_the_box_with_the_mean_and_leaves_the_rest(noise):
    view = rendered(noise, Variations(erase=(4 / 32, 8 / 32, 10 / 32, 6 / 32)))
    outside = np.ones((32, 32), dtype=bool)
    outside[8:14, 4:14] = False

    np.testing.assert_array_equal(view[outside], noise[outside])
    mean = np.rint(noise.reshape(-1, 3).mean(axis=0))
    np.testing.assert_array_equal(view[8:14, 4:14], np.broadcast_to(mean, (6, 10, 3)))


def test_only_the_output_is_written(noise):
    before = noise.copy()
    everything = draw_one(Augment(**EVERYTHING), 0, 0, 1, 1.0)
    images = np.full((3, 16, 16, 3), 9, dtype=np.uint8)
    render(noise, everything, np.zeros(3), "crop", images[1])

    np.testing.assert_array_equal(noise, before)
    assert (images[[0, 2]] == 9).all()
    assert (images[1] != 9).any()


# Presets


def test_presets_are_the_settings_of_the_documents():
    off = Augment()
    expected = {
        "none": off,
        "s0": off.model_copy(
            update={
                "crop_scale": (0.08, 1.0), "flip": 0.5, "rotation_deg": 30.0,
                "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.2,
            }
        ),
        "s2": off.model_copy(update={"rotation_deg": 15.0}),
    }  # fmt: skip
    for name, augment in expected.items():
        assert Augment.model_validate(name) == augment

    s3 = Augment.model_validate("s3")
    assert s3.rotation_deg == 15
    assert s3.flip == 0.5
    assert min(s3.brightness, s3.contrast, s3.saturation, s3.hue) > 0
    assert s3.crop_scale is None
    assert s3.translate_frac == s3.erase == 0


# One change more an image


def test_each_image_gets_one_trivial_change_at_most_and_none_too_strong():
    keys = np.arange(4000, dtype=np.uint64) * np.uint64(2**50 + 7)

    drawn = draw(Augment(trivial=True), 0, 0, keys, np.ones(len(keys)))

    shift, shear = np.asarray(drawn.shift), np.asarray(drawn.shear)
    changes = {
        "angle": (np.asarray(drawn.angle_deg), 30),
        "right": (shift[:, 0], 0.45),
        "down": (shift[:, 1], 0.45),
        "rows": (shear[:, 0], 0.3),
        "columns": (shear[:, 1], 0.3),
        "brightness": (np.asarray(drawn.brightness) - 1, 0.9),
        "contrast": (np.asarray(drawn.contrast) - 1, 0.9),
        "saturation": (np.asarray(drawn.saturation) - 1, 0.9),
    }
    changed = np.stack([values != 0 for values, _ in changes.values()])
    assert changed.sum(axis=0).max() == 1
    np.testing.assert_allclose(changed.mean(axis=1), 1 / 9, atol=0.03)  # and as often none
    for values, strongest in changes.values():
        assert 0.9 * strongest < np.abs(values).max() <= strongest


def test_a_trivial_change_leaves_the_other_numbers_as_they_were():
    keys = np.arange(50, dtype=np.uint64)
    others = Augment(crop_scale=(0.3, 1.0), flip=0.5, erase=0.5)

    plain = draw(others, 3, 1, keys, np.ones(50))
    more = draw(others.model_copy(update={"trivial": True}), 3, 1, keys, np.ones(50))

    for name in ("box", "flip", "erase"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(more, name))


def test_shear_moves_lower_rows_to_the_right():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20] = 255  # an upright line
    out = np.empty_like(image)

    render(image, Variations(shear=(0.5, 0.0)), np.zeros(3), "crop", out)

    top, bottom = (int(out[row, :, 0].argmax()) for row in (5, 35))
    assert abs(top - bottom) == pytest.approx(15, abs=1)
    assert out[20, :, 0].argmax() == pytest.approx(20, abs=1)
