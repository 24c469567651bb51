"""The formats of images: which are read, which need an extra, and which can't be read here."""

from importlib.util import find_spec
from pathlib import PurePath

# By the names that Pillow gives them; each with the endings that its files customarily have.
READ = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
}
# With a package more: what it is called here, its extra, and its module.
WITH_EXTRA = {
    "HEIC": ((".heic", ".heif", ".hif"), "heif", "pillow_heif"),
    "DICOM": ((".dcm", ".dicom"), "dicom", "pydicom"),
}
NOT_READ = {
    "JPEG XL": (".jxl",),
    # Many are TIFF files too, which would give their small preview.
    "camera raw": (
        *(".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2"),
        *(".raf", ".pef", ".srw", ".x3f", ".3fr", ".raw"),
    ),
    "OpenEXR": (".exr",),
    "Radiance HDR": (".hdr",),
    "Photoshop": (".psd",),
}
# Names of formats in a catalog, where they are not Pillow's. An MPO is a JPEG with another behind it.
SHORT = {"MPO": "JPEG", "JPEG2000": "JP2", "HEIF": "HEIC"}
ENDINGS = {SHORT.get(kind, kind): endings for kind, endings in READ.items()} | {
    kind: endings for kind, (endings, _, _) in WITH_EXTRA.items()
}
IMAGE_ENDINGS = frozenset(
    ending
    for endings in (
        *ENDINGS.values(),
        *NOT_READ.values(),
    )
    for ending in endings
)
NEEDS = "needs: pip install 'resnetlab["  # which begins what a missing extra is told by
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
JPEG_XL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
DICOM_MARK, DICOM_PLACE = b"DICM", 128


def kind_of(content: bytes) -> str:
    """Return which format other than Pillow's own the first bytes of a file tell of, or ''."""
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS and b"avif" not in content[8:40]:
        return "HEIC"
    if content.startswith(JPEG_XL_STARTS):
        return "JPEG XL"
    if content[DICOM_PLACE : DICOM_PLACE + 4] == DICOM_MARK:
        return "DICOM"
    return ""


def why_not(kind: str) -> str:
    """Return why images of a format can't be read here and what helps, '' where they can."""
    if kind in WITH_EXTRA:
        _, extra, module = WITH_EXTRA[kind]
        return "" if find_spec(module) else f"{kind} {NEEDS}{extra}]'"
    return f"{kind} can't be read here; convert it to PNG or JPEG" if kind in NOT_READ else ""


def why_not_by_name(name: str) -> str:
    """Return why a file of this name can't be read, as far as its ending tells; else ''."""
    ending = PurePath(name).suffix.lower()
    kinds = [kind for kind, endings in NOT_READ.items() if ending in endings]
    return why_not(kinds[0]) if kinds else ""
