"""Labels in the JSON of annotation tools, as the rows of a table."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from resnetlab.data.sources.tables.cell import to_text
from resnetlab.data.sources.tables.columns import Row
from resnetlab.errors import DataError

LOCAL_FILE = "?d="  # before the path of a file that Label Studio didn't copy


def json_rows(
    text: str, where: str, is_image: Callable[[str], bool] = lambda name: False
) -> list[Row]:
    """Return a row for each image: of COCO's form, of Label Studio's tasks, or of a list of flat objects.

    An image with several boxes of one category has that label, one without any has none. Raises
    DataError that names `where` for another form and for an image with several labels.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no JSON that can be read ({error})") from error
    read: Callable[[Any, str], list[Row]]
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        read = coco_rows
    elif isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        read = task_rows if isinstance(content[0].get("data"), dict) else flat_rows
    else:
        raise unknown_form(where)
    try:
        rows = read(content, where)
        for row in rows:
            if "image" in row:
                row["image"] = path_at(row["image"], is_image)
        return rows
    except (LookupError, TypeError, AttributeError) as error:
        raise unknown_form(where) from error


def path_at(address: str, is_image: Callable[[str], bool]) -> str:
    """Return the path in an address of Label Studio, '%20' as a blank where only that is an image."""
    path = address.partition(LOCAL_FILE)[2] or address
    return unquote(path) if not is_image(path) and is_image(unquote(path)) else path


def coco_rows(content: dict[str, Any], where: str) -> list[Row]:
    """Return the rows of COCO's form: the categories of an image's annotations must be one."""
    names = {each["id"]: str(each["name"]) for each in content["categories"]}
    labels: dict[Any, list[str]] = {}
    for each in content["annotations"]:
        labels.setdefault(each["image_id"], []).append(names[each["category_id"]])
    return [
        row_of(number, image["file_name"], labels.get(image["id"], []), where)
        for number, image in enumerate(content["images"], 1)
    ]


def task_rows(content: list[dict[str, Any]], where: str) -> list[Row]:
    """Return the rows of Label Studio's tasks: the choices of all who annotated one must agree."""
    rows = []
    for number, task in enumerate(content, 1):
        data = task["data"]
        texts = (each for each in data.values() if isinstance(each, str))
        image = data.get("image") or next(texts, "")
        labels = [
            choice
            for annotation in task.get("annotations", ())
            if not annotation.get("was_cancelled")
            for result in annotation["result"]
            for choice in result["value"].get("choices", ())
        ]
        rows.append(row_of(number, image, labels, where))
    return rows


def flat_rows(content: list[dict[str, Any]], where: str) -> list[Row]:
    """Return the rows of a list of objects: their texts and numbers, '' for what isn't there."""
    columns = dict.fromkeys(
        key
        for item in content
        for key, value in item.items()
        if isinstance(value, str | int | float)
    )
    rows = []
    for number, item in enumerate(content, 1):
        for key, value in item.items():
            if key in columns and isinstance(value, list | dict):
                raise several(f"{where}, entry {number}", list(value))
        cells = ((key, to_text(item.get(key))) for key in columns)
        rows.append(Row(f"entry {number}", cells))
    return rows


def row_of(number: int, image: str, labels: list[str], where: str) -> Row:
    """Return the row of an image. Raises DataError where its labels differ."""
    found = list(dict.fromkeys(labels))
    if len(found) > 1:
        raise several(f"{where}, entry {number}", found)
    return Row(f"entry {number}", (("image", image), ("label", found[0] if found else "")))


def several(spot: str, labels: list[Any]) -> DataError:
    """Return the error for an image with several labels."""
    return DataError(
        f"{spot}: has the labels {', '.join(map(str, labels[:5]))}; each image needs exactly one, "
        "several labels for an image (multi-label) are not supported"
    )


def unknown_form(where: str) -> DataError:
    """Return the error for JSON that says nothing of images and their labels."""
    return DataError(
        f"{where}: this JSON is neither COCO's form (images, annotations, categories), nor Label Studio's "
        "tasks, nor a list of objects with an image and a label each; save it as CSV"
    )
