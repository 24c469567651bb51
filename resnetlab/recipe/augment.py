"""How training images are varied: the settings, and presets of them by name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from resnetlab.recipe.base import Auto, Fraction, Section
from resnetlab.recipe.faults import did_you_mean


class Augment(Section):
    """How a training image is varied; all off by default. Drawn anew for each epoch."""

    crop_scale: tuple[Fraction, Fraction] | None = None  # share of the area that a crop keeps
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width over height of that crop
    # Chance of a left-right flip; 'alternate' flips every image in every second epoch; auto: 0.5, or 0 where
    # mirrored images look no longer like those of their class, as digits and letters do.
    flip: Fraction | Literal["alternate"] | Auto = 0.0
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 0.0  # drawn from -this to +this
    translate_frac: Fraction = 0.0  # the shift's share of the side, in both directions
    # By whole pixels, where nothing else resamples: sharp, and fewer variations; else by any share.
    whole_pixels: bool = True
    brightness: Fraction = 0.0  # 0.2: times 0.8 to 1.2
    contrast: Fraction = 0.0  # the same about the mean
    saturation: Fraction = 0.0  # the same about grey
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of the colour circle
    # One more change an image, drawn from turn, shift, shear, brightness, contrast, saturation and none,
    # as strong as chance will (Müller and Hutter 2021, TrivialAugment)
    trivial: bool = False
    erase: Fraction = 0.0  # chance that a rectangle of 2 to 33 % is filled with the mean colour

    @model_validator(mode="before")
    @classmethod
    def from_preset(cls, value: Any) -> Any:
        """Accept a preset's name, or a mapping with `preset` and what differs from it."""
        if isinstance(value, str):
            value = {"preset": value}
        if isinstance(value, Mapping) and "preset" in value:
            name = str(value["preset"])
            if name not in AUGMENT_PRESETS:
                names = ", ".join(AUGMENT_PRESETS)
                raise ValueError(f"must be one of {names}{did_you_mean(name, AUGMENT_PRESETS)}")
            rest = {key: item for key, item in value.items() if key != "preset"}
            return {**AUGMENT_PRESETS[name], **rest}
        return value

    @field_validator("crop_scale", "crop_ratio")
    @classmethod
    def range_is_above_zero(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        """Nothing can be drawn from an empty range, and a crop needs an area and a shape."""
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("must be two numbers above 0, the smaller one first")
        return value


# s0, s2 and s3 are the settings of three of the documents; S2's gives
# no angle, 15 degrees is what such tutorials use.
AUGMENT_PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "shift": {"translate_frac": 0.125, "rotation_deg": 10.0},
    "small": {"flip": "auto", "translate_frac": 0.125},
    "photo": {"crop_scale": (0.35, 1.0), "flip": "auto", "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "s0": {"crop_scale": (0.08, 1.0), "flip": 0.5, "rotation_deg": 30.0, "brightness": 0.2, "contrast": 0.2,
           "saturation": 0.2, "hue": 0.2},
    "s2": {"rotation_deg": 15.0},
    "s3": {"flip": 0.5, "rotation_deg": 15.0, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
}  # fmt: skip
