"""The HTTP interface: images in, classes out; nothing is kept but corrections, where they are taken."""

import asyncio
import base64
import hashlib
import hmac
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnetlab.deploy.server.answering import Service
from resnetlab.deploy.server.body import read_form
from resnetlab.deploy.server.limits import Refusal
from resnetlab.deploy.server.metrics import Metrics
from resnetlab.system.progress import log

PAGE = Path(__file__).with_name("page.html")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
OPEN = {"/", "/healthz", "/readyz", "/openapi.json"}  # without a key
IMAGES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@dataclass
class Door:
    """Who may come in: by a key, from pages of this server only."""

    key: str | None

    def check(self, request: Request) -> None:
        """Raise Refusal for a request without the key, or from another site's page."""
        origin = request.headers.get("origin")
        if origin and origin.partition("://")[2] != request.headers.get("host"):
            raise Refusal(403, "requests from pages of other sites are refused")
        if self.key is None or request.url.path in OPEN:
            return
        given = request.headers.get("x-api-key", "")
        given = given or request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            raise Refusal(401, "send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")


class Guarded:
    """Lets a request in or refuses it, adds headers to the answer, and counts it.

    Starlette's own way for this starts tasks for every piece of a body.
    """

    def __init__(self, app: ASGIApp, door: Door, metrics: Metrics, headers: dict[str, str]) -> None:
        self.app, self.door, self.metrics, self.headers = app, door, metrics, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is none goes by."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        try:
            self.door.check(Request(scope))
            await self.app(scope, receive, counted)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, counted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.request(path, status, time.perf_counter() - started)


def make_app(service: Service, key: str | None = None) -> FastAPI:
    """Return the application that answers by a service; with `key` only to who sends it."""

    @asynccontextmanager
    async def life(app: FastAPI) -> Any:
        yield
        await service.end()

    kept = "" if service.corrections is None else " but the images and labels of /corrections"
    app = FastAPI(
        title="resnetlab", lifespan=life, docs_url=None, redoc_url=None,
        description=f"Names the class of images. Nothing that is sent is kept{kept}.",
    )  # fmt: skip
    page = PAGE.read_text(encoding="utf-8")
    headers = HEADERS | {"Content-Security-Policy": policy_for(page)}

    app.add_middleware(Guarded, door=Door(key), metrics=service.metrics, headers=headers)
    add_routes(app, service, page)
    return app


def policy_for(page: str) -> str:
    """Return a policy that lets a page run its own script and styles, by their hashes, and ask this server alone."""

    def hashes(tag: str) -> str:
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (hashlib.sha256(part.encode()).digest() for part in parts)
        return " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src 'self' blob: data:; connect-src 'self'; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def add_routes(app: FastAPI, service: Service, page: str) -> None:
    """Add what can be asked."""

    @app.post("/predict", openapi_extra=IMAGES)
    async def predict(request: Request) -> Response:
        """Name the classes of one image (the body itself) or of many (files of a multipart form)."""
        return await guard(service, request, lambda form: service.answer(form.files))

    @app.post("/explain", openapi_extra=IMAGES)
    async def explain(request: Request) -> Response:
        """Tell where the network looked in one image; for a class where the form has a field `label`."""
        return await guard(
            service,
            request,
            lambda form: service.explain(form.files[0][1], form.fields.get("label", "")),
        )

    @app.post("/nearest", openapi_extra=IMAGES)
    async def nearest(request: Request) -> Response:
        """Show the training images nearest to one image; only where the bundle holds small pictures of them."""
        return await guard(service, request, lambda form: service.nearest(form.files[0][1]))

    @app.post("/corrections", openapi_extra=IMAGES)
    async def corrections(request: Request) -> Response:
        """Keep one image with the form's field `label`, to train from next; only with --corrections."""
        return await guard(
            service,
            request,
            lambda form: service.correct(form.files[0][1], form.fields.get("label", "")),
        )

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Tell whether images are answered now: 503 where as many requests as are taken are at work."""
        ready = not service.full
        return JSONResponse(
            {"status": "ready" if ready else "busy"}, status_code=200 if ready else 503
        )

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Give counters in Prometheus's form."""
        return service.metrics.text()

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Describe the model that answers now."""
        return service.description()

    @app.get("/", response_class=HTMLResponse)
    async def shown() -> str:
        """Give a page to try it."""
        return page


async def guard(
    service: Service, request: Request, work: Callable[[Any], Awaitable[dict[str, Any]]]
) -> Response:
    """Read a request's images and answer, within the limits; whatever happens, the place is free again."""
    if service.full:
        return refused(Refusal(503, "as many requests are at work as are taken; try again"))
    service.metrics.active += 1
    try:
        form = await read_form(request, service.limits)
        async with asyncio.timeout(service.limits.seconds):
            return JSONResponse(await work(form))
    except Refusal as refusal:
        return refused(refusal)
    except TimeoutError:  # the client was in time, this server was not
        return refused(Refusal(503, f"no answer within {service.limits.seconds:g} s; try again"))
    except ClientDisconnect:
        return Response(status_code=499)  # nobody is there to read it
    except Exception as error:  # one request must not end the server; its log has the rest
        log(traceback.format_exc())
        return refused(Refusal(500, f"a fault in resnetlab ({type(error).__name__})"))
    finally:
        service.metrics.active -= 1


def refused(refusal: Refusal) -> JSONResponse:
    """Return a refusal as JSON; where it helps to come again, it says when."""
    headers = {"Retry-After": "1"} if refusal.status == 503 else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.status in (408, 413):  # what is left of the body is not read
        headers["Connection"] = "close"
    return JSONResponse({"error": refusal.why}, status_code=refusal.status, headers=headers)
