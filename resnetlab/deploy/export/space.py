"""A Gradio Space: an exported model with a page on the Hugging Face hub, and what it needs to run there."""

import json
from pathlib import Path

import yaml

from resnetlab.deploy.export.exported import DESCRIPTION
from resnetlab.errors import RecipeError

APP = '''"""A page to try the model: python app.py. Needs Gradio and onnxruntime."""
import json
from pathlib import Path

import gradio
import onnxruntime

here = Path(__file__).resolve().parent
facts = json.loads((here / "export.json").read_text())["facts"]
session = onnxruntime.InferenceSession(here / "model.onnx")


def classify(image):
    probs = session.run(["probabilities"], {"images": image[None]})[0][0]
    return dict(zip(facts["classes"], map(float, probs)))


gradio.Interface(
    classify, gradio.Image(type="numpy", image_mode="RGB"), gradio.Label(num_top_classes=5),
    title=here.joinpath("TITLE").read_text().strip(), flagging_mode="never",
).launch()
'''
REQUIREMENTS = "gradio\nonnxruntime\n"


def exported_for_space(bundle: Path, model: Path) -> Path:
    """Return the folder of the ONNX model in a bundle that takes images of any size.

    Raises RecipeError where there is none, with the command that makes it from `model`.
    """
    folder = bundle / "onnx"
    file = folder / DESCRIPTION
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("preparation") != "inside":
        raise RecipeError(
            f"a Space computes by ONNX, which {bundle} doesn't hold; first: resnetlab export {model} --format onnx"
        )
    return folder


def write_space(folder: Path, title: str, repository: str) -> None:
    """Write what a Space holds beside the exported model: its page, requirements, and a card that the hub reads."""
    front = {"title": title, "sdk": "gradio", "app_file": "app.py", "models": [repository]}
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    files = {
        "app.py": APP,
        "requirements.txt": REQUIREMENTS,
        "TITLE": f"{title}\n",
        "README.md": f"---\n{head}---\n\nTo try the model {repository}.\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
