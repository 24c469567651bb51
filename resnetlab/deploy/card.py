"""The text that goes with a model."""

from typing import TYPE_CHECKING

from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run

if TYPE_CHECKING:
    pass


def card(run: Run, recipe: Recipe) -> str:
    """Return the text that goes with a model: what it is for, and where its figures stand."""
    facts = run.metrics
    data, model = facts["dataset"], facts["model"]
    classes = ", ".join(data["classes"])
    went_on = [entry["changes"] for entry in run.environment.get("went_on_anyway", [])]
    changed = "".join(
        f"\nIt went on although this had changed: {'; '.join(each)}.\n" for each in went_on
    )
    return f"""# {data["name"]}: {model["name"]}

Names the class of an image: {classes}.

Trained on {sum(data["counts"]["train"])} images by resnetlab, seed {recipe.seed}; images reach it at
{model["image_size"]} × {model["image_size"]} px. How good it is, and how sure that is, stands in the
report of the run it came from. It knows these classes only and will name one of them for any image.
{changed}
    resnetlab predict . images/
"""
