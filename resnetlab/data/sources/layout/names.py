"""What a folder's name says by itself: a split, a fold, images without labels, or nothing of the kind."""

import re
from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Literal

from resnetlab.data.catalog import Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val", "eval": "val",
    "evaluation": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
UNLABELLED_NAMES = {"unlabeled", "unlabelled", "unsup", "unsupervised", "pred", "predict"}
# Folders that say what kind of file lies in them, never what an image shows.
PLAIN = {
    "image", "images", "img", "imgs", "jpg", "jpeg", "jpegs", "jpegimages", "png", "pngs", "pic", "pics",
    "picture", "pictures", "photo", "photos", "data", "dataset", "files", "folder", "set", "sample", "samples",
    "split", "cropped",
}  # fmt: skip
# What lies beside the images and says something about them.
BESIDE = {
    "mask", "masks", "annotation", "annotations", "label", "labels", "segmentation", "segmentations",
    "trimap", "trimaps", "bbox", "bboxes", "imagesets", "groundtruth", "gt", "doc", "docs", "code", "scripts",
    "src", "notebooks", "metadata", "meta", "devkit", "splits", "models", "weights",
}  # fmt: skip

WORD = re.compile(r"[^\W\d_]+")
INNER = "\0"  # between the words of 'trainCats', where a name itself can't hold it
GAP = rf"(?:\s*[_.{INNER}-]\s*|\s+)?"  # what parts a split's word from the class
Kind = Literal["train", "val", "test", "unlabelled", "fold", ""]


@dataclass(frozen=True)
class FolderName:
    """What the words of a folder's name say; `rest` are those that say neither split nor file kind.

    `text` is the name as it is written, without the word that says so: 'C++' of 'train_C++'.
    """

    kind: Kind
    word: str  # that says so: 'valid'
    rest: tuple[str, ...]
    text: str


def parse(name: str) -> FolderName:
    """Read a folder's name: 'TRAIN_IMAGES', 'trainset', 'Testing-Data', 'val2017', 'seg_train', 'fold 3'."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", INNER, name)
    words = [bare(word) for word in WORD.findall(apart)]
    if "fold" in words and re.search(r"\d", name) and set(words) <= {"fold", "k", "cv"}:
        return FolderName("fold", "fold", (), "")
    said = {word for word in words if word in SPLIT_NAMES or word in UNLABELLED_NAMES}
    rest = tuple(word for word in words if word not in said and word not in PLAIN)
    if said == {"train", "val"}:
        return FolderName("train", "trainval", rest, without(said, apart))
    if len(said) != 1:
        return FolderName("", "", tuple(words), name)
    text = without(said, apart)
    word = said.pop()
    return FolderName(SPLIT_NAMES.get(word, "unlabelled"), word, rest, text)


def without(said: Set[str], apart: str) -> str:
    """Return a name, INNER between its words, without those words, their numbers and what parted them.

    'type1' of 'train_type1', 'C++' of 'C++ (Test)', 'birds' of 'birds-train2017'.
    """
    for found in reversed(list(WORD.finditer(apart))):
        if bare(found[0]) in said:
            before = re.sub(r"[(\[]$", "", apart[: found.start()])
            after = re.sub(r"^\d*[)\]]?", "", apart[found.end() :])
            apart = (
                re.sub(f"{GAP}$", "", before) + after if before else re.sub(f"^{GAP}", "", after)
            )
    return apart.replace(INNER, "")


def bare(word: str) -> str:
    """Return a word in small letters, 'train' for 'trainset' and 'TrainingData'."""
    word = word.lower()
    for ending in ("dataset", "images", "set", "data"):
        if word.removesuffix(ending) in SPLIT_NAMES:
            return word.removesuffix(ending)
    return word


def split_kinds(names: Iterable[str]) -> dict[str, Kind]:
    """Return what each of some sibling folders is, for those whose names say a split, fold or the like.

    A name with other words in it, such as 'seg_train', counts where a sibling has the same words with
    another split, 'seg_test': 'test_tube' alone is a class.
    """
    parsed = {name: parse(name) for name in names}
    kinds: dict[str, Kind] = {
        name: each.kind for name, each in parsed.items() if each.kind and not each.rest
    }
    by_rest = defaultdict(list)
    for name, each in parsed.items():
        if each.kind and each.rest:
            by_rest[each.rest].append(name)
    for alike in by_rest.values():
        found = {parsed[name].kind for name in alike}
        if len(found) > 1 and "train" in found:
            kinds |= {name: parsed[name].kind for name in alike}
    return settle_eval(kinds, parsed)


def all_splits(names: Set[str]) -> dict[str, Kind]:
    """Return what each of some sibling folders is, where they are splits or folds and nothing else.

    That is nothing where none of them is trained on.
    """
    kinds = split_kinds(names)
    trained = not {"train", "fold"}.isdisjoint(kinds.values())
    return kinds if trained and kinds.keys() == names else {}


def settle_eval(kinds: dict[str, Kind], parsed: dict[str, FolderName]) -> dict[str, Kind]:
    """Return the kinds with 'eval' as the test split where another folder validates and none tests."""
    if "test" in kinds.values():
        return kinds
    late = [name for name in kinds if parsed[name].word in ("eval", "evaluation")]
    others = [name for name, kind in kinds.items() if kind == "val" and name not in late]
    return kinds | dict.fromkeys(late, "test") if others else kinds


def is_plain(name: str) -> bool:
    """Return whether a folder's name says no more than that images lie in it."""
    words = WORD.findall(name.lower())
    return bool(words) and all(word in PLAIN for word in words)


def is_beside(name: str) -> bool:
    """Return whether a folder's whole name says that what lies in it is about the images: 'Ground_Truth'."""
    return "".join(WORD.findall(name.lower())) in BESIDE


def ends_beside(name: str) -> bool:
    """Return whether a name's last word, or all of it, says so: 'lung_masks', but 'with_mask' too, a class."""
    return is_beside(name) or not BESIDE.isdisjoint(WORD.findall(name.lower())[-1:])
