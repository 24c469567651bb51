"""Which image a row means, and what it says: nothing is guessed, nothing is lost unnoticed."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.data.catalog import new_catalog
from resnetlab.data.sources.listing import list_folder, list_names
from resnetlab.data.sources.tables.image_index import ImageIndex, slashed
from resnetlab.data.sources.tables.split_tables import find_split_tables
from resnetlab.data.sources.tables.table import find_label_table, read_label_table
from resnetlab.data.sources.tables.text_table import read_rows, read_table_file
from resnetlab.data.sources.tables.write import write_label_table
from resnetlab.errors import DataError
from resnetlab.recipe import Columns, Data

FOUR = ("a.png", "b.png", "c.png", "d.png")


def plant(root, *names):
    """Make empty files: no image is opened."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listing_of(tmp_path, *names, contents=()):
    """Return the listing of a folder that exists in name only; `contents` are its tables' bytes."""
    read = dict(contents).__getitem__
    return list_names(tmp_path / "photos", tmp_path / "photos", "", [*names, *dict(contents)], read)


@pytest.fixture
def read(tmp_path):
    """Read a table's text beside images, which are there in name only."""

    def reading(text, *names, **settings):
        listing = listing_of(tmp_path, *(names or FOUR))
        rows = read_rows(text.encode(), "t.csv")
        return read_label_table(rows, tmp_path / "t.csv", listing, Data(**settings))

    return reading


def said(catalog):
    """Return {path: class} of a catalog."""
    return {
        path: catalog.classes[label]
        for path, label in zip(catalog.paths, catalog.labels, strict=True)
    }


# Columns


@pytest.mark.parametrize(
    "image", ["image", "Path", "FILE", "file name", "image_path", "id", "Image-ID", "name"]
)
@pytest.mark.parametrize("label", ["label", "Class", "TARGET", "category", "y", "class_name"])
def test_customary_columns_are_recognised(read, image, label):
    catalog = read(f"{label},{image},more\ncat,a.png,1\ndog,b.png,2\n", "a.png", "b.png")

    assert said(catalog) == {"a.png": "cat", "b.png": "dog"}
    assert set(catalog.split) == {""}
    assert set(catalog.fold) == {-1}


def test_an_id_is_just_a_number_beside_a_column_of_files(read):
    catalog = read("id,filename,class_id,class\n1,a.png,0,cat\n2,b.png,1,dog\n", "a.png", "b.png")

    assert said(catalog) == {"a.png": "cat", "b.png": "dog"}


def test_the_users_columns_come_before_the_customary_ones(read):
    columns = Columns(image="shot", label="animal", split="when", group="farm", fold="k")
    text = "image,label,shot,animal,when,farm,k\nx,1,a.png,cat,train,F,0\ny,2,b.png,dog,train,F,1\n"
    catalog = read(text, "a.png", "b.png", columns=columns)

    assert said(catalog) == {"a.png": "cat", "b.png": "dog"}
    assert list(catalog.split) == ["train", "train"]
    assert list(catalog.fold) == [0, 1]
    assert catalog.group[0] == catalog.group[1]


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("shot,label", {}, "no column is known to name the images; its columns are 'shot', 'label'"),
        ("image,animal,colour", {}, "no column is known to hold labels, nor is there one of 0 and 1"),
        ("image,path,label", {}, "'image' and 'path' could both be the image column"),
        ("image,label,class", {}, "'label' and 'class' could both be the label column"),
        ("image,animal", {"label": "animals"},
         r"no column 'animals' \(data.columns.label\), did you mean 'animal'\?"),
    ],
)  # fmt: skip
def test_columns_that_are_not_clear_are_refused_with_the_way_to_name_them(
    read, header, columns, message
):
    text = f"{header}\n{','.join('x' for _ in header.split(','))}\n"
    with pytest.raises(DataError, match=message) as caught:
        read(text, columns=Columns(**columns))

    assert "--set data.columns.image=... --set data.columns.label=..." in str(caught.value)
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize(("no", "yes"), [("0", "1"), ("0.0", "1.0"), ("False", "True")])
def test_a_column_of_0_and_1_for_each_class_is_a_label_in_the_order_of_the_columns(read, no, yes):
    text = f"image,dog,cat\na.png,{yes},{no}\nb.png,{no},{yes}\n"
    catalog = read(text, "a.png", "b.png")

    assert catalog.classes == ("dog", "cat")
    assert said(catalog) == {"a.png": "dog", "b.png": "cat"}


@pytest.mark.parametrize(
    ("cells", "message"),
    [("1,1", r"2 classes have a 1 \(dog, cat\)"), ("0,0", "0 classes have a 1;")],
)
def test_a_row_with_no_or_several_classes_is_refused_with_its_line(read, cells, message):
    with pytest.raises(DataError, match=f"t.csv, line 3: {message}.*multi-label"):
        read(f"image,dog,cat\na.png,1,0\nb.png,{cells}\n", "a.png", "b.png")


# Which image a cell means


@pytest.mark.parametrize(
    ("cell", "image"),
    [
        ("top/a/1.png", "top/a/1.png"),
        ("top/a/1", "top/a/1.png"),
        ("./top/a/1.png", "top/a/1.png"),
        ("top\\a\\1.png", "top/a/1.png"),
        (".\\top\\a\\1.png", "top/a/1.png"),
        (" top/a/1.png ", "top/a/1.png"),
        ("top/b/../a/1.png", "top/a/1.png"),
        ("a/1.png", "top/a/1.png"),
        ("a/1", "top/a/1.png"),
        ("cat.7.jpg", "top/b/cat.7.jpg"),
        ("cat.7", "top/b/cat.7.jpg"),
        ("photos/top/a/1.png", "top/a/1.png"),
        ("../photos/top/a/1.png", "top/a/1.png"),
        ("1.jpg", None),
        ("other/cat.7.jpg", None),
        ("nothing", None),
    ],
)
def test_a_cell_names_an_image_in_any_of_the_customary_ways(tmp_path, cell, image):
    index = ImageIndex(listing_of(tmp_path, "top/a/1.png", "top/b/1.png", "top/b/cat.7.jpg"))

    assert index.find(cell, "here") == image


def test_the_strictest_reading_wins(tmp_path):
    index = ImageIndex(
        listing_of(tmp_path, "1.png", "a/1.png", "a/1.png.jpg", "x\\y.png", "x/y.png")
    )

    assert index.find("1.png", "here") == "1.png"
    assert index.find("x\\y.png", "here") == "x\\y.png"
    assert index.find("x/y.png", "here") == "x/y.png"


def test_an_absolute_path_inside_the_images_folder_is_as_good_as_one_below_it(tmp_path):
    root = plant(tmp_path / "real", "cat/1.png", "dog/2.png")
    (tmp_path / "link").symlink_to("real")
    index = ImageIndex(list_folder(root))

    assert index.find(str(root / "cat" / "1.png"), "here") == "cat/1.png"
    assert index.find(str(tmp_path / "link" / "dog" / "2.png"), "here") == "dog/2.png"


@pytest.mark.parametrize(
    "cell",
    ["../secret.png", "a/../../secret.png", "..\\secret.png", "/etc/passwd", "/", "C:\\a.png", "c:/a.png",
     "\\\\server\\a.png", "..", "{}/../secret.png", "{}-evil/a.png", " ../secret.png"],
)  # fmt: skip
@pytest.mark.parametrize("unmatched", ["error", "drop"])
def test_a_row_that_leads_out_of_the_images_folder_is_refused(read, tmp_path, cell, unmatched):
    cell = cell.format(tmp_path / "photos")
    plant(tmp_path, "secret.png", "photos-evil/a.png")
    with pytest.raises(DataError, match=r"t.csv, line 3: .* leads out of .*photos; name images by"):
        read(f"image,label\na.png,cat\n{cell},dog\n", unmatched=unmatched)


def test_a_cell_that_could_mean_several_images_is_refused_with_their_names(read):
    names = ("a/1.png", "b/1.png", "b/2.png", "b/2.jpg")
    with pytest.raises(
        DataError, match=r"line 2: '1' could be any of 2 images \(a/1.png, b/1.png\); give"
    ):
        read("image,label\n1,cat\n", *names)
    with pytest.raises(
        DataError, match=r"line 2: 'b/2' could be any of 2 images \(b/2.jpg, b/2.png\)"
    ):
        read("image,label\nb/2,cat\n", *names)


def test_twins_of_composed_letters_are_told_apart_and_a_single_one_is_found(tmp_path):
    composed, apart = "caf\u00e9.png", "cafe\u0301.png"
    both = ImageIndex(listing_of(tmp_path, composed, apart))
    one = ImageIndex(listing_of(tmp_path, apart))

    assert both.find(composed, "here") == composed
    assert both.find(apart[:-4], "here") == apart
    assert one.find(composed, "here") == apart
    assert one.find(composed[:-4], "here") == apart


folder_names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/\\\r"), min_size=1, max_size=8
).filter(lambda name: not name.startswith(".") and name == name.strip())


@given(st.sets(st.tuples(folder_names, folder_names), min_size=1, max_size=8), st.data())
def test_every_listed_name_is_found_by_its_path_whatever_else_there_is(pairs, data):
    names = [f"{folder}/{name}.png" for folder, name in pairs]
    listing = listing_of(Path("/nowhere"), *names)
    index = ImageIndex(listing)
    name = data.draw(st.sampled_from(listing.files))

    ways = (name, f"./{name}", f"{listing.where}/{name}")
    assert [index.find(way, "here") for way in ways] == [name] * 3
    assert index.find(name[:-4], "here") == name


@given(
    st.text(st.sampled_from("./\\ax:"), max_size=12),
    st.lists(st.sampled_from(["a", "x.png", ".."])),
)
def test_whatever_a_cell_holds_it_gives_a_listed_image_nothing_or_an_error(cell, pieces):
    names = ["x.png", "a/x.png", "a/a.png"]
    index = ImageIndex(listing_of(Path("/nowhere"), *names))
    try:
        found = index.find(cell + "/".join(pieces), "here")
    except DataError as error:
        assert str(error).startswith("here: ")
    else:
        assert found in [*names, None]


# Rows and images


def test_rows_and_images_that_do_not_match_are_refused_with_the_first_five(read):
    lines = "".join(f"gone{number}.png,cat\n" for number in range(7))
    with pytest.raises(DataError) as caught:
        read(f"image,label\na.png,cat\nb.png,dog\n{lines}")

    assert str(caught.value).endswith(
        "t.csv: 7 rows without an image ('gone0.png' in line 4, 'gone1.png' in line 5, 'gone2.png' in "
        "line 6, 'gone3.png' in line 7, 'gone4.png' in line 8, ...), 2 images without a row (c.png, "
        "d.png); mend the table, or leave them out with --set data.unmatched=drop"
    )


def test_rows_and_images_that_do_not_match_are_left_out_on_request_with_notes(read):
    catalog = read("image,label\na.png,cat\nb.png,dog\ngone,cat\n", unmatched="drop")

    assert said(catalog) == {"a.png": "cat", "b.png": "dog"}
    assert catalog.notes == (
        "1 rows have no image and were left out, the first is 'gone' in line 4",
        "2 images have no row and were left out, the first is c.png",
    )


def test_a_table_that_names_no_image_at_all_is_refused_even_so(read):
    with pytest.raises(
        DataError, match=r"no row names an image of .*photos, the first is 'x' in line 2"
    ):
        read("image,label\nx,cat\ny,dog\n", unmatched="drop")


def test_a_row_without_a_name_is_refused(read):
    with pytest.raises(DataError, match=r"line 3: names no image; fill the cell or remove the row"):
        read("image,label\na.png,cat\n ,dog\n")


def test_an_image_with_an_empty_label_is_left_out_with_a_note(read):
    catalog = read("image,label\na.png,cat\nb.png,dog\nc.png,\nd.png, \n")

    assert said(catalog) == {"a.png": "cat", "b.png": "dog"}
    assert catalog.notes == (
        "2 images have no label in the table and were left out, the first is c.png",
    )


def test_a_file_that_a_row_names_needs_no_images_ending(read):
    assert said(read("image,label\nscan,cat\nb.png,dog\n", "scan", "b.png")) == {
        "scan": "cat",
        "b.png": "dog",
    }


def test_rows_that_repeat_an_image_are_merged_with_a_note(read):
    catalog = read("image,label\na.png,cat\nb.png,dog\na, cat \n./a.png,cat\n", "a.png", "b.png")

    assert said(catalog) == {"a.png": "cat", "b.png": "dog"}
    assert catalog.notes == ("2 rows repeat an image and say the same, the first is a.png",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,cat,train\nb.png,dog,train\na,dog,train", "label 'cat' and 'dog'"),
        ("a.png,cat,train\nb.png,dog,train\na,,train", "label 'cat' and ''"),
        ("a.png,cat,train\nb.png,dog,train\na,cat,val", "split 'train' and 'val'"),
    ],
)
def test_rows_of_one_image_that_differ_are_refused_with_both_lines(read, rows, message):
    with pytest.raises(
        DataError, match=rf"t.csv, lines 2 and 4: image 'a.png' has {message}; keep one"
    ):
        read(f"image,label,split\n{rows}\n", "a.png", "b.png")


# Classes


def test_classes_are_the_labels_stripped_in_natural_order(read):
    catalog = read("image,label\na.png, 10\nb.png,9 \nc.png,Cat\nd.png,cat\n")

    assert catalog.classes == ("9", "10", "Cat", "cat")


def test_given_classes_are_the_only_ones_in_their_order(read):
    text = "image,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n"

    assert read(text, classes=("dog", "cat", "cow")).classes == ("dog", "cat", "cow")
    with pytest.raises(
        DataError,
        match=r"line 3: label 'dog' is none of the 2 in data.classes, did you mean 'dogs'",
    ):
        read(text, classes=("dogs", "cat"))


# Splits, groups, folds


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Training", "VALID", "TEST"), (" train ", "validation", "test")],
)
def test_a_split_column_decides_the_splits(read, train, val, test):
    names = [f"{number}.png" for number in range(6)]
    splits = [train, train, val, val, test, test]
    lines = [
        f"{n},{'cat' if row % 2 else 'dog'},{p}\n"
        for row, (n, p) in enumerate(zip(names, splits, strict=True))
    ]
    catalog = read("image,label,split\n" + "".join(lines), *names)

    assert list(catalog.split) == ["train", "train", "val", "val", "test", "test"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            ("train", "train", "holdout", "test"),
            "line 4: split 'holdout' is none of train, val, test",
        ),
        (("train", "train", "tets", "test"), "split 'tets' .*did you mean 'test'"),
        (("train", "train", "", "test"), "line 4: has no split, other rows have one"),
        (("test", "test", "val", "val"), "t.csv: the split has test, val but no train"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(read, splits, message):
    labels = ("cat", "dog", "cat", "dog")
    lines = [",".join(row) + "\n" for row in zip(FOUR, labels, splits, strict=True)]
    with pytest.raises(DataError, match=message):
        read("image,label,split\n" + "".join(lines))


@pytest.mark.parametrize("name", ["dataset", "set", "part", "subset"])
def test_a_column_whose_name_is_vague_is_a_split_only_where_its_cells_say_so(read, name):
    """As HAM10000's: its 'dataset' is where an image comes from."""
    ham = f"image_id,dx,{name}\na,nv,vidir\nb,mel,rosendahl\nc,nv,vidir\nd,mel,vidir\n"
    assert set(read(ham, columns=Columns(label="dx")).split) == {""}

    said = f"image,label,{name}\na,x,train\nb,y,train\nc,x,test\nd,y,test\n"
    assert list(read(said).split) == ["train", "train", "test", "test"]
    with pytest.raises(DataError, match=r"'tset' is none of train, .*data.columns.split=''"):
        read(said.replace("d,y,test", "d,y,tset"))


@pytest.mark.parametrize("words", [("Training Set", "Test Set"), ("TRAIN", "test_data")])
def test_a_cell_of_several_words_may_say_a_split(read, words):
    train, test = words
    rows = f"a,x,{train}\nb,y,{train}\nc,x,{test}\nd,y,{test}\n"

    for name in ("set", "split"):
        assert list(read(f"image,label,{name}\n{rows}").split) == ["train"] * 2 + ["test"] * 2


@pytest.mark.parametrize("cells", [("tr", "te"), ("1", "2"), ("vidir", "rosendahl")])
def test_a_column_that_is_perhaps_a_split_is_passed_over_with_a_note(read, cells):
    one, other = cells
    text = f"image,label,set\na,x,{one}\nb,y,{one}\nc,x,{other}\nd,y,{other}\n"
    catalog = read(text)

    assert set(catalog.split) == {""}
    said = f"column 'set' holds no split ({one}, {other}) and was passed over"
    assert [said in note for note in catalog.notes] == [True]
    assert not read(text, columns=Columns(split="")).notes
    with pytest.raises(DataError, match=f"split '{one}' is none of train, val, test"):
        read(text, columns=Columns(split="set"))


def test_the_user_can_say_that_no_column_is_the_split(read):
    rows = "image,label,split\na,x,1\nb,y,2\nc,x,1\nd,y,2\n"

    assert set(read(rows, columns=Columns(split="")).split) == {""}


def test_an_empty_split_column_leaves_the_splits_open(read):
    assert set(read("image,label,split\na.png,cat,\nb.png,dog,\n", "a.png", "b.png").split) == {""}


def test_a_group_column_keeps_images_together_an_empty_cell_stands_alone(read):
    catalog = read("image,label,group\na.png,cat,X\nb.png,dog,\nc.png,cat,X\nd.png,dog,\n")

    assert list(catalog.group) == [0, 1, 0, 3]


def test_a_fold_column_is_taken_as_it_stands(read):
    catalog = read("image,label,fold\na.png,cat,0\nb.png,dog,1\n", "a.png", "b.png")

    assert list(catalog.fold) == [0, 1]
    for fold in ("-1", "x", "1.5", "", "9" * 30):
        with pytest.raises(DataError, match=f"line 3: fold '{fold}' must be a whole number"):
            read(f"image,label,fold\na.png,cat,0\nb.png,dog,{fold}\n", "a.png", "b.png")


# Which table


def test_the_table_beside_the_images_is_found(tmp_path):
    root = plant(tmp_path, "images/a.png", "images/b.png", "images/labels.csv")
    (root / "readme.csv").write_text("question,answer\nwhy,because\n")
    (root / "damaged.csv").write_bytes(b"\x00\x01")
    (root / "sample_submission.csv").write_text("id,label\na,cat\nb,cat\n")
    (root / "other.csv").write_text("id,label\nx,cat\ny,dog\n")
    assert find_label_table(list_folder(root)) is None

    (root / "train.tsv").write_text("id\tlabel\na\tcat\nb\tdog\n")
    assert find_label_table(list_folder(root)) == "train.tsv"

    (root / "train.tsv").unlink()
    pq.write_table(pa.table({"id": ["a", "b"], "label": [0, 1]}), root / "train.parquet")
    assert find_label_table(list_folder(root)) == "train.parquet"


def test_a_table_of_parquet_or_of_0_and_1_is_found_and_one_damaged_further_down(tmp_path):
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["a", "b"], "label": ["cat", "dog"]}), table)
    forms = {
        "t.parquet": table.getvalue().to_pybytes(),
        "t.csv": b"image;dog;cat\na.png;1;0\nb.png;0;1\n",
        "T.CSV": b"image,label\na.png,cat\nb.png\n",
    }
    for name, content in forms.items():
        assert find_label_table(listing_of(tmp_path, *FOUR, contents={name: content})) == name


def test_plain_text_is_a_table_where_it_labels_images_and_no_other_file_does(tmp_path):
    labels = {"labels.txt": b"a.png 0\nb.png 1\nc.png 0\nd.png 1\n"}
    assert find_label_table(listing_of(tmp_path, *FOUR, contents=labels)) == "labels.txt"
    prose = {"README.txt": b"Photographs of cats.\na.png is the first, b.png the second.\n"}
    assert find_label_table(listing_of(tmp_path, *FOUR, contents=prose)) is None
    names_alone = {"files.txt": b"a.png\nb.png\n"}
    assert find_label_table(listing_of(tmp_path, *FOUR, contents=names_alone)) is None
    both = labels | {"labels.csv": b"image,label\na.png,cat\nb.png,dog\n"}
    assert find_label_table(listing_of(tmp_path, *FOUR, contents=both)) == "labels.csv"


def test_plain_text_for_each_split_is_joined(tmp_path):
    tables = {"train.txt": b"a.png 0\nb.png 1\n", "test.txt": b"c.png 0\nd.png 1\n"}
    listing = listing_of(tmp_path, *FOUR, contents=tables)
    assert find_split_tables(listing) == {"train.txt": "train", "test.txt": "test"}


def test_two_tables_that_would_do_are_refused_by_name(tmp_path):
    content = b"id,label\na,cat\nb,dog\n"
    tables = {"mine.csv": content, "yours.csv": content}
    with pytest.raises(
        DataError, match=r"photos: both 'mine.csv' and 'yours.csv' are tables with labels"
    ):
        find_label_table(listing_of(tmp_path, *FOUR, contents=tables))


# Writing


def round_trip(catalog, listing, path):
    """Return the catalog that comes of a written table."""
    write_label_table(path, catalog)
    return read_label_table(read_table_file(path), path, listing, Data())


def same(one, other):
    """Return whether two catalogs say the same about the same images."""
    columns = ("ids", "paths", "labels", "split", "group")
    return one.classes == other.classes and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in columns
    )


ODD = [
    "🐈.png", "line\nbreak.png", "return\r.png", "a,b.png", 'say "x".png', "it's.png", "קטן.png", "tab\t.png",
    "e\u0301.png", "\u00e9.png", "-rf.png", " blank .png", "back\\slash.png", "x;y|z.png",
    "n" * 251 + ".png", os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"\xff.png"), os.fsdecode(b"\xfe.png"),
]  # fmt: skip


def test_odd_names_round_trip_through_a_table(tmp_path):
    root = plant(
        tmp_path / "photos", *(f"{split}/{name}" for split in ("ç, 1", "dog") for name in ODD)
    )
    listing = list_folder(root)
    labels = [number % 2 for number in range(len(listing.files))]
    catalog = new_catalog(
        listing.root, ("cat", 'd"o,g'), list(listing.files), labels, [""] * len(labels)
    )
    again = round_trip(catalog, listing, tmp_path / "t.csv")

    assert same(again, catalog)
    assert again.notes == ()
    (tmp_path / "t.csv").read_text(encoding="utf-8")


@given(
    st.dictionaries(
        st.tuples(folder_names, folder_names).map(lambda pair: f"{pair[0]}/{pair[1]}.png"),
        st.tuples(st.integers(0, 1), st.sampled_from("xyz")),
        min_size=2,
        max_size=8,
    ),
    st.booleans(),
    st.sampled_from(["", "photos.zip\0"]),
)
def test_a_written_table_gives_the_same_catalog(tmp_path_factory, images, split, prefix):
    path = tmp_path_factory.getbasetemp() / "round.csv"
    root = Path("/nowhere")
    listing = list_names(root / "photos", root, prefix, images, lambda name: b"")
    labels = [label for label, _ in images.values()]
    labels[:2] = 0, 1
    splits = ["train" if split else ""] * len(labels)
    groups = [group for _, group in images.values()]
    paths = [prefix + name for name in images]
    catalog = new_catalog(root, ("cat", "dog"), paths, labels, splits, groups=groups)

    assert same(round_trip(catalog, listing, path), catalog)


def test_a_written_table_labels_the_sound_samples_and_has_the_columns_it_needs(tmp_path):
    catalog = new_catalog(tmp_path, ("cat", "dog"), list(FOUR), [0, 1, 0, -1], [""] * 4)
    problem = catalog.problem.copy()
    problem[2] = "no image"
    write_label_table(tmp_path / "t.csv", catalog.with_columns(problem=problem))
    assert (tmp_path / "t.csv").read_text() == "path,label\na.png,cat\nb.png,dog\nc.png,\n"

    catalog = new_catalog(
        tmp_path,
        ("cat", "dog"),
        list(FOUR),
        [0, 1, 0, 1],
        ["train"] * 4,
        groups=["x", "", "x", "y"],
    )
    write_label_table(tmp_path / "t.csv", catalog)
    assert (tmp_path / "t.csv").read_text() == (
        "path,label,split,group\na.png,cat,train,0\nb.png,dog,train,\nc.png,cat,train,0\nd.png,dog,train,\n"
    )


@pytest.mark.parametrize("classes", [("cat", "cat "), ("cat", " ")])
def test_classes_that_a_table_cannot_tell_apart_are_not_written(tmp_path, classes):
    catalog = new_catalog(tmp_path, classes, ["a.png", "b.png"], [0, 1], ["", ""])
    with pytest.raises(DataError, match="can't be told from another in a table"):
        write_label_table(tmp_path / "t.csv", catalog)
    assert not (tmp_path / "t.csv").exists()


# Tables of other people's programs


@pytest.fixture
def read_bare(tmp_path):
    """Read a table's text as `resnetlab train TABLE` does: its first line may be a row already."""

    def reading(text, *names, **settings):
        listing = listing_of(tmp_path, *(names or FOUR))
        rows = read_rows(text.encode(), "t.csv", ImageIndex(listing).is_image)
        return read_label_table(rows, tmp_path / "t.csv", listing, Data(**settings))

    return reading


@pytest.mark.parametrize("delimiter", [",", "\t", ";", " ", "   "])
def test_a_table_without_header_is_read_from_its_first_line(read_bare, delimiter):
    rows = [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat"), ("d.png", "dog")]
    catalog = read_bare("".join(f"{name}{delimiter}{label}\n" for name, label in rows))

    assert said(catalog) == dict(rows)


@pytest.mark.parametrize("delimiter", [",", " "])
def test_without_header_columns_of_0_and_1_are_classes_by_number(read_bare, delimiter):
    cells = [("a.png", "1", "0", "0"), ("b.png", "0", "0", "1"), ("c.png", "0", "1", "0")]
    catalog = read_bare("\n".join(map(delimiter.join, cells)), "a.png", "b.png", "c.png")

    assert catalog.classes == ("0", "1", "2")
    assert said(catalog) == {"a.png": "0", "b.png": "2", "c.png": "1"}


def test_names_with_blanks_are_whole_in_a_table_that_blanks_divide(read_bare):
    catalog = read_bare("my cat.png 0\nthe dog.png 1\n", "my cat.png", "the dog.png")

    assert said(catalog) == {"my cat.png": "0", "the dog.png": "1"}


def test_a_header_counts_as_one_though_an_image_has_its_name(read_bare):
    catalog = read_bare("image,label\nimage,cat\nlabel,dog\n", "image.png", "label.png")

    assert said(catalog) == {"image.png": "cat", "label.png": "dog"}


def test_lines_are_counted_as_an_editor_does_without_header_and_with_blank_lines(read_bare):
    with pytest.raises(DataError, match=r"lines 1 and 4: image 'a.png' has label 'cat' and 'dog'"):
        read_bare("a.png,cat\n\nb.png,dog\na.png,dog\n", "a.png", "b.png")


def test_of_two_columns_with_unknown_names_one_names_files_and_the_other_is_the_label(read_bare):
    catalog = read_bare("animal,shot\ncat,a\ndog,b\ncat,c\ndog,d\n")

    assert said(catalog) == {"a.png": "cat", "b.png": "dog", "c.png": "cat", "d.png": "dog"}


def test_a_table_of_unknown_columns_is_found_beside_a_folder_of_images_not_class_folders(tmp_path):
    table = {"notes.csv": b"shot,animal\na.png,cat\nb.png,dog\n"}
    flat = listing_of(tmp_path, "all/a.png", "all/b.png", contents=table)
    assert find_label_table(flat) == "notes.csv"

    classes = listing_of(tmp_path, "cat/a.png", "dog/b.png", contents=table)
    assert find_label_table(classes) is None


@pytest.mark.parametrize(
    "prefix",
    [
        "/home/anna/data/photos/",
        "C:\\data\\photos\\",
        "\\\\server\\photos\\",
        "old/place/",
        "/x/photos/",
    ],
)
def test_a_prefix_from_another_machine_is_left_away_and_said(read, prefix):
    catalog = read(
        f"image,label\n{prefix}cat/1.png,cat\n{prefix}dog/1.png,dog\n{prefix}dog/2.png,dog\n",
        "cat/1.png", "dog/1.png", "dog/2.png",
    )  # fmt: skip

    assert said(catalog) == {"cat/1.png": "cat", "dog/1.png": "dog", "dog/2.png": "dog"}
    assert any(slashed(prefix) in each for each in catalog.notes)


@pytest.mark.parametrize(
    "cells",
    [
        ("/x/cats/5.png", "/x/cats/6.png"),  # of another folder
        ("/x/dogs/5.png", "dogs/6.png"),  # one is right as it stands
        ("/x/dogs/5.png", "/y/dogs/6.png"),  # nothing shared
        ("/x/../dogs/5.png", "/x/../dogs/6.png"),
        ("/x/dogs/5.png",),
    ],
)
def test_no_part_of_a_path_is_left_away_that_could_mean_something(read, cells):
    rows = "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))
    with pytest.raises(DataError, match=r"leads out of|no row names an image"):
        read(f"image,label\n{rows}", "dogs/5.png", "dogs/6.png", "wolves/5.png")


def test_whole_numbers_that_a_program_wrote_with_a_point_are_whole_again(read):
    catalog = read("image,label\na.png,0.0\nb.png,1.0\nc.png,10.0\nd.png,1.0\n")
    assert catalog.classes == ("0", "1", "10")

    catalog = read("image,label\na.png,1.0\nb.png,1.5\nc.png,1.0\nd.png,1.5\n")
    assert catalog.classes == ("1.0", "1.5")


def test_without_header_and_with_paths_of_another_machine(read_bare):
    catalog = read_bare("D:\\data\\a.png 0.0\nD:\\data\\b.png 1.0\n", "a.png", "b.png")

    assert said(catalog) == {"a.png": "0", "b.png": "1"}
