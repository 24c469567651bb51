"""What every section of a recipe is made of."""

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

Fraction = Annotated[float, Field(ge=0, le=1)]

Positive = Annotated[int, Field(ge=1)]

Auto = Literal["auto"]

Monitor = Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"]


class Section(BaseModel):
    """A section of the recipe. Unknown keys are refused, values don't change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def no_yes_or_no(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse True and False where a word or a number belongs: pydantic would take them for 1 and 0."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (wanted, *get_args(wanted)):
            raise ValueError(
                "must not be true or false, which is also how YAML reads yes, no, on and off; "
                "put such a word in quotes"
            )
        return value
