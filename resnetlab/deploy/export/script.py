"""The stand-alone script that lies beside an exported model: what else it needs is its runtime, NumPy and Pillow."""

HEAD = '''"""Classify images: python predict.py photo.jpg ... Needs {package}, NumPy and Pillow alone."""
import json, math, sys
from pathlib import Path

import numpy as np
{imports}
from PIL import Image, ImageOps

here = Path(__file__).resolve().parent
facts = json.loads((here / "export.json").read_text())["facts"]
{opening}
for name in sys.argv[1:]:
    image = ImageOps.exif_transpose(Image.open(name)).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
{preparing}    probs = {computing}[0]
    print(name, *(f"{{facts['classes'][k]}} {{probs[k]:.1%}}" for k in np.argsort(-probs)[:3]), sep="  ")
'''
IMPORTS = {"onnx": "import onnxruntime", "openvino": "import openvino", "torch": "import torch"}
OPENING = {
    "onnx": 'session = onnxruntime.InferenceSession(here / "model.onnx")',
    "openvino": 'settings = {"INFERENCE_PRECISION_HINT": "f32"}\n'
    'model = openvino.Core().compile_model(here / "model.xml", "CPU", settings)',
    "torch": 'model = torch.export.load(here / "model.pt2").module()',
}
COMPUTING = {
    "onnx": 'session.run(["probabilities"], {"images": np.asarray(image)[None]})[0]',
    "openvino": 'model({"images": np.asarray(image)[None]})["probabilities"]',
    "torch": "model(torch.from_numpy(np.array(image))[None])[0].detach().numpy()",
}
# As near to OpenCV's steps as Pillow comes: means over areas, then the square.
REDUCE = """    ratio = facts["short_side"] / min(image.size)
    if ratio < 1:
        image = image.resize([math.ceil(side * ratio) for side in image.size], Image.Resampling.BOX)
"""
SQUARE = {
    "crop": '    image = ImageOps.fit(image, [facts["image_size"]] * 2, Image.Resampling.BILINEAR)\n',
    "stretch": '    image = image.resize([facts["image_size"]] * 2, Image.Resampling.BILINEAR)\n',
}


def script_for(runtime: str, fit: str, inside: bool) -> str:
    """Return a script that classifies files by an exported model."""
    imports = IMPORTS[runtime]
    return HEAD.format(
        package=imports.removeprefix("import "),
        imports=imports,
        opening=OPENING[runtime],
        preparing="" if inside else REDUCE + SQUARE[fit],
        computing=COMPUTING[runtime],
    )
