"""A bundle alone answers as evaluation did, for every file it is given, in order."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnetlab.data.batches import View, samples_of
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.pixels import read_images
from resnetlab.deploy import choice
from resnetlab.deploy.bundle import save_bundle
from resnetlab.deploy.model import FEW
from resnetlab.deploy.predictor import AHEAD, Predictor, prepared_ahead, spread
from resnetlab.deploy.runtimes import BACKENDS, installed
from resnetlab.errors import RecipeError
from resnetlab.training.predict import predict

CLASSES = ("cat", "dog", '猫, "quoted"')


def scene(width: int, height: int, seed: int) -> Image.Image:
    """Make a smooth image with a dark corner, so that up and down differ."""
    rough = np.random.default_rng(seed).integers(60, 256, (6, 5, 3), dtype=np.uint8)
    rough[:2, :2] = 10
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def files_of(tmp_path):
    """Write two class folders of three images, of various shapes; return folder and files."""

    def write(kind: str, side: int):
        root = tmp_path / "images"
        for label, name in enumerate(("cat", "dog")):
            (root / name).mkdir(parents=True)
            for count in range(3):
                image = scene(side + 7 * count, side + 5 * label, seed=10 * label + count)
                image.save(root / name / f"{count}.{kind}")
        return root, sorted(root.rglob(f"*.{kind}"))

    return write


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize(("kind", "side"), [("png", 12), ("png", 40), ("jpg", 150)])
def test_the_answers_are_those_of_evaluation(
    tmp_path, classifier, facts, files_of, kind, side, fit
):
    facts = replace(facts, fit=fit)
    save_bundle(tmp_path / "bundle", classifier, facts, "")
    root, files = files_of(kind, side)
    catalog, store = read_images(
        class_folders(list_folder(root)), facts.short_side, facts.max_pixels, 1
    )
    view = View(facts.image_size, fit)
    found = predict(classifier, samples_of(catalog, store, "all"), view, CLASSES, 0, 0)
    by_id = dict(zip(found.ids, found.probs, strict=True))

    answers = Predictor(tmp_path / "bundle").predict(files)

    expected = [by_id[str(path.relative_to(root))] for path in files]
    np.testing.assert_allclose([each.probs for each in answers], expected, atol=1e-6, rtol=0)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the images are told apart at all


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_file_that_is_no_image_has_a_problem_and_the_others_keep_answers_and_order(
    bundle, files_of, batch_size, workers
):
    _, files = files_of("png", 20)
    predictor = Predictor(bundle)
    alone = [predictor.predict([path])[0] for path in files]
    broken = files[0].parent / "broken.jpg"
    broken.write_bytes(files[0].read_bytes()[:60])
    text = files[0].parent / "note.png"
    text.write_text("no image")
    missing = files[0].parent / "missing.png"
    mixed = [text, *files[:2], broken, *files[2:], missing]

    answers = predictor.predict(mixed, batch_size, workers)

    assert [each.path for each in answers] == mixed
    assert [each.path for each in answers if each.probs is None] == [text, broken, missing]
    assert answers[0].problem == "not an image"
    assert answers[-1].problem == "can't be read (No such file or directory)"
    for each, expected in zip([a for a in answers if a.probs is not None], alone, strict=True):
        assert each.problem == ""
        np.testing.assert_allclose(each.probs, expected.probs, atol=1e-6)


def test_nothing_but_broken_files_is_answered_too(bundle, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")

    answers = Predictor(bundle).predict([tmp_path / "empty.png"])

    assert [(each.probs, each.problem) for each in answers] == [(None, "empty")]


def test_no_file_gets_no_answer(bundle):
    assert Predictor(bundle).predict([]) == []


def test_an_image_too_large_to_decode_has_a_problem(tmp_path, classifier, facts):
    save_bundle(tmp_path / "bundle", classifier, replace(facts, max_pixels=100), "")
    scene(20, 20, seed=1).save(tmp_path / "large.png")

    answer = Predictor(tmp_path / "bundle").predict([tmp_path / "large.png"])[0]

    assert answer.problem == "too many pixels"


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(("side", "tolerance"), [(17, 0.0), (60, 2e-3)])
def test_a_rotated_photograph_gets_the_answer_of_its_upright_twin(
    bundle, tmp_path, orientation, side, tolerance
):
    """Exactly where nothing is reduced; reducing rounds in another order along the other side."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    scene(side, side + 5, seed=3).save(buffer, "PNG", exif=exif)
    (tmp_path / "rotated.png").write_bytes(buffer.getvalue())
    with Image.open(buffer) as stored:
        ImageOps.exif_transpose(stored).save(tmp_path / "upright.png", exif=b"")
        stored.save(tmp_path / "as-stored.png", exif=b"")
    names = ("rotated.png", "upright.png", "as-stored.png")

    answers = Predictor(bundle).predict([tmp_path / name for name in names])

    rotated, upright, stored = (each.probs for each in answers)
    np.testing.assert_allclose(rotated, upright, rtol=0, atol=tolerance)
    assert np.abs(rotated - stored).max() > 5 * max(tolerance, 1e-6)


def test_a_rotated_jpeg_gets_the_answer_of_its_upright_twin(bundle, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(18, 17, seed=3).save(tmp_path / "rotated.jpg", exif=exif)
    with Image.open(tmp_path / "rotated.jpg") as stored:
        stored.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png", exif=b"")

    rotated, upright = Predictor(bundle).predict(
        [tmp_path / "rotated.jpg", tmp_path / "upright.png"]
    )

    assert np.array_equal(rotated.probs, upright.probs)


def test_probabilities_add_up_to_one_in_double_precision(bundle, files_of):
    _, files = files_of("png", 20)

    for answer in Predictor(bundle).predict(files):
        assert answer.probs.dtype == np.float64
        assert answer.probs.shape == (3,)
        assert answer.probs.sum() == pytest.approx(1, abs=1e-12)


def test_an_image_gets_the_same_answer_every_time(bundle, files_of):
    _, files = files_of("jpg", 40)
    predictor = Predictor(bundle)

    first, second = predictor.predict(files), predictor.predict(files)

    assert all(np.array_equal(a.probs, b.probs) for a, b in zip(first, second, strict=True))


@pytest.fixture
def many(tmp_path):
    """Write FEW small images; return their files."""
    (tmp_path / "many").mkdir()
    files = [tmp_path / "many" / f"{number:03}.png" for number in range(FEW)]
    for number, file in enumerate(files):
        scene(17, 16, seed=number).save(file)
    return files


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages behind
@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_every_backend_names_the_same_classes(bundle, many, backend):
    if not installed(backend):
        pytest.skip(f"what {backend} needs is not here")
    expected = np.stack([each.probs for each in Predictor(bundle, backend="torch").predict(many)])
    asked = Predictor(bundle, backend=backend)

    found = np.stack([each.probs for each in asked.predict(many)])

    assert backend in ("auto", asked.models[0].runtime.name)
    assert np.abs(found - expected).max() < 0.05  # int8; the others are held to less elsewhere
    sure = np.sort(expected)[:, -1] - np.sort(expected)[:, -2] > 0.1
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    assert same.all() if backend == "auto" else same[sure].all()
    assert sure.any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages behind
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_speaks_calibrated_probabilities(
    bundle, tmp_path, classifier, facts, many, backend
):
    if not installed(backend):
        pytest.skip(f"what {backend} needs is not here")
    save_bundle(tmp_path / "calibrated", classifier, replace(facts, temperature=2.5), "")
    plain = np.stack([each.probs for each in Predictor(bundle, backend="torch").predict(many)])
    expected = plain ** (1 / 2.5) / (plain ** (1 / 2.5)).sum(axis=1, keepdims=True)

    answers = Predictor(tmp_path / "calibrated", backend=backend).predict(many)

    found = np.stack([each.probs for each in answers])
    assert np.abs(found - expected).max() < (0.03 if backend.endswith(("bf16", "int8")) else 1e-5)


@pytest.mark.parametrize(("max_error", "below"), [(0.02, 0.9), (0.03, 0.9), (0.5, 0.6)])
def test_a_wanted_error_rate_takes_the_threshold_that_was_promised_for_it(
    tmp_path, classifier, facts, max_error, below
):
    promised = replace(facts, thresholds={"0.02": 0.9, "0.05": 0.6})
    save_bundle(tmp_path / "bundle", classifier, promised, "")

    assert Predictor(tmp_path / "bundle").threshold(None, max_error) == below


def test_an_error_rate_that_was_not_promised_is_refused_with_those_that_were(
    tmp_path, classifier, facts
):
    promised = replace(facts, thresholds={"0.02": 0.9, "0.05": 0.6})
    save_bundle(tmp_path / "bundle", classifier, promised, "")
    with pytest.raises(RecipeError, match=r"0\.01 can't be promised .* that can be: 0\.02, 0\.05"):
        Predictor(tmp_path / "bundle").threshold(None, 0.01)
    save_bundle(tmp_path / "silent", classifier, facts, "")
    with pytest.raises(RecipeError, match="that can be: none"):
        Predictor(tmp_path / "silent").threshold(None, 0.01)
    with pytest.raises(RecipeError, match="goes with one model"):
        Predictor([tmp_path / "bundle", tmp_path / "silent"]).threshold(None, 0.05)


def test_8_bits_promise_nothing(tmp_path, classifier, facts):
    if not installed("openvino-int8"):
        pytest.skip("what openvino-int8 needs is not here")
    save_bundle(tmp_path, classifier, replace(facts, thresholds={"0.05": 0.6}), "")
    with pytest.raises(RecipeError, match="leave --backend openvino-int8 out"):
        Predictor(tmp_path, backend="openvino-int8").threshold(None, 0.05)


def test_few_images_are_answered_at_once_in_fp32(bundle, many, monkeypatch):
    monkeypatch.setattr(choice, "choose", pytest.fail)
    asked = Predictor(bundle)

    asked.predict(many[:-1])

    assert str(asked.runtime) == "torch in fp32"


def test_what_was_chosen_for_many_images_is_kept_for_the_next_many(bundle, many, monkeypatch):
    calls, choose = [], choice.choose
    monkeypatch.setattr(choice, "choose", lambda *rest: calls.append(rest) or choose(*rest))
    asked = Predictor(bundle)

    first, second = asked.predict(many), asked.predict(many)

    assert len(calls) == 1
    assert all(np.array_equal(a.probs, b.probs) for a, b in zip(first, second, strict=True))


def test_the_choice_is_made_on_images_from_all_places(bundle, many, monkeypatch):
    seen, choose = [], choice.choose
    monkeypatch.setattr(choice, "choose", lambda *rest: seen.append(rest[1:]) or choose(*rest))

    Predictor(bundle).predict(many)

    samples, count = seen[0]
    assert (len(samples), count) == (16, FEW)
    assert spread(many, 16) == many[::4]


def test_many_files_without_a_sound_image_are_answered(bundle, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")

    answers = Predictor(bundle, backend="auto").predict([tmp_path / "empty.png"] * FEW)

    assert {each.problem for each in answers} == {"empty"}


def test_an_unknown_backend_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(RecipeError, match="backend must be one of auto, torch"):
        Predictor(tmp_path / "no bundle", backend="fast")


def test_the_next_batches_are_prepared_while_one_is_used_but_no_more(tmp_path):
    paths = [tmp_path / str(number) for number in range(40)]
    prepared: list[str] = []
    full = threading.Event()

    def prepare(path):
        prepared.append(path.name)
        if len(prepared) == 4 * (1 + AHEAD):
            full.set()
        return np.zeros(1)

    with ThreadPoolExecutor(2) as pool:
        batches = prepared_ahead(paths, 4, pool, prepare)
        first, _ = next(batches)

        assert full.wait(10)  # nobody has asked for the second batch
        pool.submit(int).result()  # and nothing else was left to do
        assert len(prepared) == 4 * (1 + AHEAD)
        rest = [path for chunk, _ in batches for path in chunk]

    assert [*first, *rest] == paths


@pytest.mark.parametrize(
    ("count", "wanted", "found"), [(0, 16, 0), (5, 16, 5), (17, 16, 9), (64, 16, 16)]
)
def test_a_spread_of_files_is_no_more_than_wanted(tmp_path, count, wanted, found):
    assert len(spread([tmp_path] * count, wanted)) == found
