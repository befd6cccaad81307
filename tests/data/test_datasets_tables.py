"""Label tables: what they may look like, and what they say when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nnmed.data import open_dataset
from nnmed.errors import DataError

IMAGES = {
    f"{kind}/{kind} ({i}).png": i * 20 for kind in ("benign", "malignant") for i in (1, 2, 10)
}


def table(root, *rows, name="labels.csv"):
    root.mkdir(exist_ok=True, parents=True)
    (root / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def message(*arguments, **options):
    with pytest.raises(DataError) as caught:
        open_dataset(*arguments, **options)
    return str(caught.value)


def test_a_table_wins_over_folders_and_is_named(tmp_path, png_tree):
    rows = ["benign/benign (1).png,x,p1,train", "malignant/malignant (1).png,y,p2,Training",
            "benign/benign (2).png,y,p1,dev", "malignant/malignant (2).png,x,,testing"]  # fmt: skip
    table(png_tree(tmp_path, IMAGES), "file,label,patient,split", *rows)
    dataset = open_dataset(tmp_path, positive="y")
    assert dataset.labels.tolist() == [0, 1, 1, 0]
    assert dataset.splits == ["train", "train", "val", "test"]
    assert dataset.groups == ["p1", "p2", "p1", "malignant/malignant (2).png"]
    assert dataset.patients == ["p1", "p2", "p1", None]
    assert dataset[0].patient == "p1"
    assert "labels.csv" in dataset.source
    assert "label = 'label'" in dataset.source


def test_an_explicit_table_wins_over_both(tmp_path, png_tree):
    root = png_tree(tmp_path / "data", IMAGES)
    table(root, "file,label", "benign/benign (1).png,0", "benign/benign (2).png,1")
    table(root, "file,label", "benign/benign (1).png,0", "benign/benign (2).png,1", name="b.csv")
    assert "choose one with --labels" in message(root)
    elsewhere = table(tmp_path / "e", "file;label", "benign/benign (1).png;1",
                      "benign/benign (2).png;0") / "labels.csv"  # fmt: skip
    assert open_dataset(root, labels=elsewhere).labels.tolist() == [1, 0]
    assert open_dataset(root, labels="b.csv").labels.tolist() == [0, 1]
    assert open_dataset(root / "b.csv").labels.tolist() == [0, 1]
    assert "does not exist" in message(root, labels="c.csv")


def test_all_that_is_wrong_in_a_table_is_said_at_once(tmp_path, png_tree):
    rows = ["benign/benign (1).png,benign,train", "benign/missing.png,benign,train",
            "benign/benign (2).png,benign,trian", "benign/benign (1).png,benign,train",
            "malignant/malignant (1).png,maglinant,val", "malignant/malignant (2).png,,val",
            "benign/benign (10).png,benign,", ",benign,train"]  # fmt: skip
    rows += [f"malignant/malignant (10){s}.png,malignant,test" for s in ("", *"abcdefghijklmnopqr")]
    png_tree(tmp_path, {**IMAGES, **{r.split(",")[0]: 0 for r in rows[-19:]}})
    table(tmp_path, "file,label,split", *rows)
    text = message(tmp_path, positive="cyst")
    for part in (
        "row 3: the file 'benign/missing.png' does not exist",
        "row 4: unknown split 'trian'",
        "row 5: duplicate of row 2",
        "row 6: unknown class 'maglinant'",
        "row 7: the label is empty",
        "row 8: unknown split ''",
        "row 9: names no image",
        "--positive names 'cyst'",
    ):
        assert part in text


def test_wrong_columns_are_named_all_at_once(tmp_path, png_tree):
    table(png_tree(tmp_path, IMAGES), "file,label", "benign/benign (1).png,0")
    text = message(tmp_path, label_column="labl", group_column="g", split_column="s")
    assert "'labl' (did you mean 'label'?), which --label-column names" in text
    assert "--group-column" in text
    assert "--split-column" in text
    table(tmp_path, "a,b", "1,2")
    assert "call it path, file or image; the columns are a, b" in message(tmp_path)
    table(tmp_path, "file,class,diagnosis", "1,2,3")
    assert "--label-column NAME, one of class, diagnosis" in message(tmp_path)


@pytest.mark.parametrize(
    "name", ["benign/benign (1).png", "benign\\benign (1)", "benign (1).png", "BENIGN (1).PNG",
             "C:\\data\\benign\\benign (1).png", "/else/where/benign/benign (1).png"]
)  # fmt: skip
def test_names_of_images_may_be_written_freely(tmp_path, png_tree, name):
    table(png_tree(tmp_path, IMAGES), "image_id,dx", f"{name},0", "malignant (1),1")
    assert open_dataset(tmp_path).names == ["benign/benign (1).png", "malignant/malignant (1).png"]


def test_a_name_that_fits_two_files_is_an_error(tmp_path, png_tree):
    png_tree(tmp_path, {"a/1.png": 0, "b/1.png": 0, "b/2.png": 0})
    table(tmp_path, "file,label", "1,0", "2,1")
    assert "'1' could mean a/1.png or b/1.png" in message(tmp_path)
    table(tmp_path, "file,label", "x/a/1,0", "2,1")
    assert open_dataset(tmp_path).names == ["a/1.png", "b/2.png"]


def test_several_lesions_of_an_image(tmp_path, png_tree):
    png_tree(tmp_path, {"a.pgm": 0, "b.pgm": 0})
    rows = ["a,B,4,5,2", "a,M,10,9,3", "b,,,,"]
    table(tmp_path, "image,severity,x,y_from_top,radius", *rows)
    dataset = open_dataset(tmp_path, label_column="severity", positive="M")
    assert dataset.names == ["a.pgm", "b.pgm"]
    assert dataset.labels.tolist() == [1, 0]  # one malignant lesion makes the image so
    assert dataset.classes == ("B+none", "M")
    assert dataset.label_names == ["B+M", "none"]
    assert dataset.kinds == ["M", "none"]
    assert dataset[0].boxes.tolist() == [[2, 3, 6, 7], [7, 6, 13, 12]]
    assert dataset[1].boxes.shape == (0, 4)
    table(tmp_path, "image,severity,x,y_from_top,radius", *rows, "a,B,4,5,2")
    assert "row 5: duplicate of row 2" in message(tmp_path, label_column="severity", positive="M")


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("x0,y0,x1,y1", "2,3,6,7"),
        ("xmin,ymin,xmax,ymax", "2,3,6,7"),
        ("x,y,width,height", "2,3,4,4"),
        ("x,y,radius", "4,5,2"),
    ],
)
def test_boxes_and_labels_from_them(tmp_path, png_tree, columns, cells):
    png_tree(tmp_path, {"a.png": 0, "b.png": 0})
    table(tmp_path, f"file,{columns}", f"a.png,{cells}", "b.png" + "," * len(cells.split(",")))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("none", "lesion")
    assert dataset.labels.tolist() == [1, 0]
    assert dataset[0].boxes.dtype == np.float32
    assert dataset[0].boxes.tolist() == [[2, 3, 6, 7]]


def test_bad_boxes(tmp_path, png_tree):
    png_tree(tmp_path, {"a.png": 0, "b.png": 0, "c.png": 0})
    rows = ["a,1,x,3,4,5", "b,0,9,9,9,12", "c,1,1,2,3,"]
    text = message(table(tmp_path, "file,label,x0,y0,x1,y1", *rows))
    assert "row 2: the lesion's place is not all numbers" in text
    assert "row 3: the lesion's box is empty" in text
    assert "row 4: the lesion's place is not all numbers" in text
    table(tmp_path, "file,label,x0,y0,x1,y1", "a,1,-4,3,9,99", "b,0,40,40,50,50")
    dataset = open_dataset(tmp_path)
    assert dataset[0].boxes.tolist() == [[0, 3, 9, 16]]  # cut at the edge of the image
    with pytest.raises(DataError, match="outside of the image of 16 x 16"):
        dataset[1]


def test_masks_from_a_table(tmp_path, png_tree):
    png_tree(tmp_path, {"a.png": 9, "m/a.png": 255, "b.png": 9, "m/b.png": 0})
    table(tmp_path, "file,label,mask", "a.png,1,m/a.png", "b.png,0,m/b.png", "m/a.png,0,")
    dataset = open_dataset(tmp_path)
    assert dataset[0].mask.all()
    assert not dataset[1].mask.any()
    assert dataset[2].mask is None
    Image.new("L", (20, 16)).save(tmp_path / "m" / "b.png")
    with pytest.raises(DataError, match="mask has 20 x 16 pixels"):
        open_dataset(tmp_path)[1]
    table(tmp_path, "file,label,mask", "a.png,1,m/x.png", "b.png,0,")
    assert "mask: the file 'm/x.png' does not exist" in message(tmp_path)


def test_a_threshold_makes_classes_of_numbers(tmp_path, png_tree):
    png_tree(tmp_path, {"a.png": 0, "b.png": 0, "c.png": 0})
    table(tmp_path, "file,pixels", "a.png,0", "b.png,12.5", "c.png,700")
    dataset = open_dataset(tmp_path, label_column="pixels", positive=">0")
    assert dataset.labels.tolist() == [0, 1, 1]
    assert dataset.classes == ("<=0", ">0")


def test_group_and_split_columns(tmp_path, png_tree):
    png_tree(tmp_path, {"a.png": 0, "b.png": 0})
    table(tmp_path, "file,label,patient,film,fold", "a,0,p,f,train", "b,1,p,g,test")
    assert open_dataset(tmp_path).groups == ["p", "p"]
    dataset = open_dataset(tmp_path, group_column="Film", split_column="FOLD")
    assert dataset.groups == ["f", "g"]
    assert dataset.splits == ["train", "test"]


COLUMNS = ("file", "label", "split", "patient", "mask", "x", "y", "radius", "x0", "junk")
CELLS = st.sampled_from(("", "a.png", "b", "0", "1", "train", "val", "-3", "1e9", "nan", "..", "/"))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=8, unique=True),
    st.lists(st.lists(CELLS, min_size=1, max_size=9), max_size=6),
    st.sampled_from((None, "1", ">0", "1,train", "")),
)
def test_any_table_opens_or_is_a_data_error(tmp_path, png_tree, columns, rows, positive):
    png_tree(tmp_path, {"a.png": 0, "b.png": 0})
    table(tmp_path, *(",".join(cells) for cells in (columns, *rows)))
    try:
        dataset = open_dataset(tmp_path, positive=positive)
    except DataError:
        return
    assert set(dataset.labels.tolist()) == {0, 1}
