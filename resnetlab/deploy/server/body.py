"""From a request's body to images in memory; nothing is written to disk, nothing is fetched."""

import asyncio
from dataclasses import dataclass, field
from io import BytesIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from resnetlab.deploy.server.limits import Limits, Refusal

RAW = ("application/octet-stream", "")  # beside image/...
FIELDS = 16  # of a form, beside its images
FIELD_BYTES = 1000  # of a form's field that is no file
DRAINED = 4  # times the largest body that are read of one that is larger


@dataclass
class Form:
    """What a form holds: files as (name, bytes), and its other fields."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


async def read_form(request: Request, limits: Limits) -> Form:
    """Return a request's images: a form's files, or the body itself as one.

    Raises Refusal: 408 for a body that comes too slowly, 413 for a body, a number of images or of fields above
    the limits, 415 for what is neither an image nor a form of images, 400 for a broken form. Raises
    TimeoutError for a form that takes too long to parse.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    name = kind.decode("latin-1").lower()
    is_form = name == "multipart/form-data"
    if not (is_form or name in RAW or name.startswith("image/")):
        raise Refusal(
            415, "send images: as the body itself (image/jpeg), or as files of a multipart form"
        )
    content = await read_body(request, limits)
    if not is_form:
        return Form([("", content)])
    boundary = options.get(b"boundary", b"")
    parsing = asyncio.to_thread(parse_form, content, boundary, limits.images)
    form = await asyncio.wait_for(parsing, limits.seconds)
    if not form.files:
        raise Refusal(400, "the form holds no file")
    return form


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return a body that comes within the limits of bytes and seconds. Raises Refusal.

    Of a larger one some more is read and thrown away: who still sends would not see the answer.
    """
    body, size, most = BytesIO(), 0, limits.body  # whose bytes are given out without a copy
    try:
        async with asyncio.timeout(limits.seconds):
            async for piece in request.stream():
                size += len(piece)
                if size <= most:
                    body.write(piece)
                elif size > DRAINED * most:
                    break
                else:
                    body = BytesIO()
    except TimeoutError as error:
        raise Refusal(408, f"the body took longer than {limits.seconds:g} s to arrive") from error
    if size > most:
        raise Refusal(413, f"the body is larger than {most} bytes, which are taken at most")
    return body.getvalue()


def parse_form(content: bytes, boundary: bytes, most: int) -> Form:
    """Return what a form holds. Raises Refusal where it is broken or has too many files or fields."""
    # Before any is parsed: the parser takes microseconds for each, also for one that turns out to be none.
    if content.count(b"\r\n--" + boundary) > most + FIELDS:
        raise Refusal(
            413,
            f"the form has more than {most + FIELDS} parts; send at most {most} images and {FIELDS} "
            "fields at once",
        )
    collector = Collector(most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin,
                "on_header_field": collector.header_name,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_part_data": collector.data,
                "on_part_end": collector.end,
            },
        )
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, f"the form is broken ({error})") from error
    return collector.form


class Collector:
    """Takes the pieces of a form as the parser finds them."""

    def __init__(self, most: int) -> None:
        self.most, self.form = most, Form()

    def begin(self) -> None:
        """Begin a part."""
        self.name, self.value, self.disposition, self.content = b"", b"", b"", BytesIO()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's name."""
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a header's value."""
        self.value += data[start:end]

    def header_end(self) -> None:
        """End a header."""
        if self.name.lower() == b"content-disposition":
            self.disposition = self.value
        self.name, self.value = b"", b""

    def data(self, data: bytes, start: int, end: int) -> None:
        """Take a piece of a part's content."""
        self.content.write(memoryview(data)[start:end])

    def end(self) -> None:
        """End a part: it is a file where it has a file's name."""
        _, options = parse_options_header(self.disposition)
        content = self.content.getvalue()
        if b"filename" in options:
            if len(self.form.files) == self.most:
                raise Refusal(413, f"more than {self.most} images, which are taken at once at most")
            name = options[b"filename"].decode("utf-8", "replace")
            self.form.files.append((name, content))
        elif len(content) > FIELD_BYTES:
            raise Refusal(413, f"a field of the form has more than {FIELD_BYTES} bytes")
        else:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            self.form.fields[name] = content.decode("utf-8", "replace")
