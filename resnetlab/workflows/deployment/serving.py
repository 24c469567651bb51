"""Serve a model over HTTP until a signal asks for the end."""

import os
import socket
from pathlib import Path

from resnetlab.errors import MachineError, RecipeError
from resnetlab.system import interruption
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_package, require_writable
from resnetlab.workflows.deployment.predicting import check_threshold, models_of, say_what_is_told

KEY = "RESNETLAB_API_KEY"  # the environment variable: a command line is there for all to read
BACKLOG = 2048  # connections that wait to be taken, as uvicorn has it
PACKAGES = ("fastapi", "uvicorn", "python_multipart")


def serve(
    model: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    backend: str = "auto",
    uncertain_below: float | None = None,
    batch: int = 16,
    requests: int = 64,
    corrections: Path | None = None,
    max_error: float | None = None,
) -> None:
    """Answer images over HTTP by a run, a bundle or the mean of several, until SIGTERM or SIGINT.

    `batch` images at most are computed together, `requests` are at work at once; others get 503. A bundle
    replaced on disk is taken over. Raises StoppedError at the end, MachineError where the port can't
    be had or a package is missing, CheckpointError, DataError, RecipeError. Into `corrections`, a CSV, go
    wrong answers that somebody marks, their images beside it.
    """
    for package in PACKAGES:
        require_package(package, "serve", "serve")
    check_threshold(uncertain_below, max_error)
    key = os.environ.get(KEY)
    if key is not None and len(key) < 8:
        raise RecipeError(f"{KEY} must have 8 characters at least. Got {len(key)}")
    if corrections is not None:
        if corrections.suffix.lower() != ".csv":
            raise RecipeError(f"--corrections must be a .csv. Got '{corrections.name}'")
        require_writable(corrections.parent, "choose another --corrections")
    folders = models_of(model)
    listening = bound(host, port)

    import uvicorn

    from resnetlab.deploy.server.answering import Service
    from resnetlab.deploy.server.app import make_app
    from resnetlab.deploy.server.limits import Limits

    limits = Limits(requests=requests, batch=batch)
    service = Service(folders, backend, limits, uncertain_below, corrections, max_error)
    say_what_is_told(service.live.predictor)
    interruption.raise_if_requested()
    config = uvicorn.Config(
        make_app(service, key),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=int(limits.seconds),
        server_header=False,
    )
    place = f"http://{host}:{listening.getsockname()[1]}"
    if key is None and host not in ("127.0.0.1", "::1", "localhost"):
        log(f"note: whoever reaches {host} may ask; set {KEY} to want a key")
    listening.listen(BACKLOG)  # from here on whoever connects is answered
    log(f"serving at {place}  (Ctrl-C ends it)")
    uvicorn.Server(config).run([listening])
    interruption.raise_if_requested()  # uvicorn gives the signal on, once all is answered


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at an address, before the model is loaded. Raises MachineError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise MachineError(
            f"{host}:{port} can't be listened on ({error.strerror}); choose another --port"
        ) from error
    return listening
