"""`python -m benchmarks.serve BUNDLE IMAGES`: the server under load from a second process.

Ours with batches, ours with each image alone, and a plain FastAPI and torch script with the same
network, one after the other, on loopback: many connections, one request after another on each, some of
them no image. Prints a table.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

BAD_EVERY = 20  # of so many requests one is no image
HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
BOUNDARY = "loadtest"


@dataclass
class Load:
    """What a client saw: statuses, seconds of those answered, and how far answers were off."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    off: float = 0.0


def main() -> None:
    """Measure each server in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=8230)
    parser.add_argument("--be", choices=SCRIPTS, help="be one of the scripts that are compared")
    options = parser.parse_args()
    if options.be:
        SCRIPTS[options.be](options.bundle, options.port)
        return
    files = sorted(options.images.rglob("*.jpg"))[:64]
    expected, rate = offline(options.bundle, files)
    serve = ["-m", "resnetlab", "serve", str(options.bundle), "--port", str(options.port)]
    script = ["-m", "benchmarks.serve", str(options.bundle), ".", "--port", str(options.port)]
    requests = ["--requests", str(options.connections)]
    print(f"load before {os.getloadavg()[0]:.1f}; offline by predict: {rate:.1f} images/s")
    print(
        "| server | 200s a second | p50, ms | p99, ms | statuses | memory before, after, MB | off |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, words in (
        ("resnetlab serve", [*serve, *requests]),
        ("resnetlab serve --batch 1", [*serve, *requests, "--batch", "1"]),
        ("resnetlab serve --requests 32", [*serve, "--requests", "32"]),
        ("plain FastAPI and torch", [*script, "--be", "fastapi"]),
        ("Gradio and torch", [*script, "--be", "gradio"]),
    ):
        if words[-1] == "gradio" and find_spec("gradio") is None:
            print(f"| {name} | is not installed |")
            continue
        print(measured(name, words, files, expected, options), flush=True)


def offline(bundle: Path, files: list[Path]) -> tuple[list[list[float]], float]:
    """Return the probabilities that `predict` gives, and its images a second."""
    from resnetlab.deploy.predictor import Predictor
    from resnetlab.deploy.server.live import settle

    predictor = Predictor(bundle)
    answers = predictor.predict(files)
    for model in predictor.models:
        settle(model)  # as the server does
    started = time.perf_counter()
    predictor.predict(files * 8)
    rate = 8 * len(files) / (time.perf_counter() - started)
    return [each.probs.tolist() for each in answers], rate


def measured(
    name: str, words: list[str], files: list[Path], expected: list[list[float]], options: Any
) -> str:
    """Start a server, load it from another process, and return a row of the table."""
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr or ():
            if re.search("serving at|running on", line):
                break
        form = words[-1] if "--be" in words else "raw"
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            args = (options.port, files, expected, form)
            pool.apply(loaded, (*args, options.connections, min(5.0, options.seconds)))  # warm
            before = memory(process.pid)
            load = pool.apply(loaded, (*args, options.connections, options.seconds))
        after = memory(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    median, worst = np.quantile(load.seconds, [0.5, 0.99]) * 1000 if load.seconds else (0, 0)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(load.statuses.items()))
    return (
        f"| {name} | {load.statuses[200] / options.seconds:.1f} | {median:.0f} | {worst:.0f} | "
        f"{statuses} | {before / 1e6:.0f}, {after / 1e6:.0f} | {load.off:.1g} |"
    )


def memory(pid: int) -> int:
    """Return the resident memory of a process, bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def loaded(
    port: int,
    files: list[Path],
    expected: list[list[float]],
    form: str,
    connections: int,
    seconds: float,
) -> Load:
    """Ask over many connections at once for some seconds; return what came back.

    `form`: 'raw', an image as the body; 'fastapi', as a form's file; 'gradio', as its API wants it.
    """
    if form == "gradio":
        return asyncio.run(loaded_gradio(port, files, connections, seconds))
    bodies = [
        (request(path.read_bytes(), form == "fastapi"), probs)
        for path, probs in zip(files, expected, strict=True)
    ]
    bad = request(b"no image", form == "fastapi")
    load = Load()

    async def connection(number: int, end: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turn = number
        while time.perf_counter() < end:
            turn += 1
            body, probs = bodies[turn % len(bodies)] if turn % BAD_EVERY else (bad, None)
            started = time.perf_counter()
            try:
                writer.write(body)
                status, answer = await response(reader)
            except (OSError, asyncio.IncompleteReadError, IndexError):
                load.statuses[0] += 1
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            load.statuses[status] += 1
            if status == 200:
                load.seconds.append(time.perf_counter() - started)
                if probs is not None:
                    load.off = max(load.off, np.abs(np.subtract(answer, probs)).max())
            elif status == 503:
                await asyncio.sleep(1)  # as Retry-After says
        writer.close()

    async def all_of_them() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(connection(number, end) for number in range(connections)))

    asyncio.run(all_of_them())
    return load


def request(content: bytes, form: bool) -> bytes:
    """Return a request with an image, as the body itself or as a form's file."""
    kind = "image/jpeg"
    if form:
        start = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n'
        )
        content = start.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
    return HEAD.format(path="/predict", kind=kind, length=len(content)).encode() + content


async def response(reader: asyncio.StreamReader) -> tuple[int, list[float]]:
    """Return an answer's status and its probabilities."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(re.findall(r"content-length: (\d+)", head)[0])
    body = await reader.readexactly(length)
    status = int(head.split()[1])
    if status != 200:
        return status, []
    (row,) = json.loads(body)["predictions"]
    return status, list(row["probabilities"].values())


async def loaded_gradio(port: int, files: list[Path], connections: int, seconds: float) -> Load:
    """Ask as Gradio's documentation shows it: upload the file, call, read the event. Each is an image."""
    import httpx

    load = Load()
    end = time.perf_counter() + seconds

    async def connection(number: int, client: httpx.AsyncClient) -> None:
        turn = number
        while time.perf_counter() < end:
            turn += 1
            started = time.perf_counter()
            try:
                content = files[turn % len(files)].read_bytes()
                upload = {"files": ("x.jpg", content, "image/jpeg")}
                (path,) = (await client.post("upload", files=upload)).json()
                image = {"path": path, "meta": {"_type": "gradio.FileData"}}
                called = await client.post("call/predict", json={"data": [image]})
                event = await client.get(f"call/predict/{called.json()['event_id']}")
                status = 200 if "event: complete" in event.text else 500
            except (httpx.HTTPError, ValueError, KeyError):
                status = 0
            load.statuses[status] += 1
            if status == 200:
                load.seconds.append(time.perf_counter() - started)

    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/gradio_api/",
        timeout=120,
        limits=httpx.Limits(max_connections=None),
    ) as client:
        await asyncio.gather(*(connection(number, client) for number in range(connections)))
    return load


def plain_torch(bundle: Path) -> Callable[[Any], dict[str, float]]:
    """Return what answers an image as a tutorial shows it: torchvision's transforms, one image a time."""
    import torch
    from torchvision import transforms

    from resnetlab.deploy.bundle import load_bundle

    network, facts = load_bundle(bundle)
    size = facts.image_size
    prepare = transforms.Compose(
        [transforms.Resize(facts.short_side), transforms.CenterCrop(size), transforms.PILToTensor()]
    )

    def answer(image: Any) -> dict[str, float]:
        with torch.no_grad():
            probs = torch.softmax(network(prepare(image)[None]) / facts.temperature, dim=1)[0]
        return dict(zip(facts.classes, probs.tolist(), strict=True))

    return answer


def serve_by_gradio(bundle: Path, port: int) -> None:
    """Serve the same network by Gradio's interface for a classifier, with its defaults."""
    import gradio

    answer = plain_torch(bundle)
    shown = gradio.Interface(
        answer,
        gradio.Image(type="pil"),
        gradio.Label(),
        api_name="predict",
        analytics_enabled=False,
    )
    shown.launch(server_port=port, quiet=True, prevent_thread_lock=True)
    print("running on", file=sys.stderr, flush=True)
    shown.block_thread()


def serve_by_fastapi(bundle: Path, port: int) -> None:
    """Serve the same network as a tutorial shows it: FastAPI, Pillow, torch."""
    import io

    import uvicorn
    from fastapi import FastAPI, HTTPException, UploadFile
    from PIL import Image

    answer = plain_torch(bundle)
    app = FastAPI()

    @app.post("/predict")
    def predict(file: UploadFile) -> dict[str, Any]:
        try:
            image = Image.open(io.BytesIO(file.file.read())).convert("RGB")
        except OSError as error:
            raise HTTPException(400, "no image") from error
        return {"predictions": [{"probabilities": answer(image)}]}

    uvicorn.run(app, port=port, log_level="info", access_log=False)


SCRIPTS = {"fastapi": serve_by_fastapi, "gradio": serve_by_gradio}

if __name__ == "__main__":
    main()
