from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris

from l2rw_tf.data.tables import load_csv, load_npz
from l2rw_tf.errors import UsageError

ROWS = "a,b,label\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n"


def write(directory, text: str, name: str = "data.csv", encoding: str = "utf-8") -> str:
    path = directory / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def test_a_csv_file_is_read_as_it_stands(tmp_path):
    iris = load_iris()
    lines = ["sepal length,sepal width,species,petal length,petal width"]
    for row, label in zip(iris.data, iris.target, strict=True):
        cells = [f"{row[0]}", f"{row[1]}", iris.target_names[label], f"{row[2]}", f"{row[3]}"]
        lines.append(",".join(cells))
    path = write(tmp_path, "\n".join(lines))
    source = load_csv(path, label_column="species")
    assert source.class_names == ("setosa", "versicolor", "virginica")
    assert (source.kind, source.name, source.input_shape) == ("table", path, (4,))
    assert source.feature_names == ("sepal length", "sepal width", "petal length", "petal width")
    assert source.test is None and source.train.true_y is None
    assert source.train.x.dtype == np.float32 and source.train.y.dtype == np.int64
    np.testing.assert_array_equal(source.train.x, iris.data.astype(np.float32))
    np.testing.assert_array_equal(source.train.y, iris.target)
    np.testing.assert_array_equal(source.train.ids, np.arange(150))


@pytest.mark.parametrize(
    "text",
    [
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace("\n", "\r\n"),
        "\ufeff" + ROWS,
        ROWS.replace("\n", "\n\n"),
        ROWS.replace(",", " , "),
        '"a","b","label"\n"1","2","x"\n3,4,y\n5,6,x\n7,8,"y"',
    ],
)
def test_other_ways_of_writing_the_same_table(tmp_path, text):
    source = load_csv(write(tmp_path, text))
    np.testing.assert_array_equal(source.train.x, [[1, 2], [3, 4], [5, 6], [7, 8]])
    np.testing.assert_array_equal(source.train.y, [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("labels", "names", "y"),
    [
        (["10", "9", "10", "9"], ("9", "10"), [1, 0, 1, 0]),
        (["-1", "1", "1", "-1"], ("-1", "1"), [0, 1, 1, 0]),
        (["b", "a", "b", "a"], ("a", "b"), [1, 0, 1, 0]),
        (["1", "no", "1", "no"], ("1", "no"), [0, 1, 0, 1]),
        (["höher", "tiefer", "tiefer", "höher"], ("höher", "tiefer"), [0, 1, 1, 0]),
    ],
)
def test_labels_are_whole_numbers_in_their_order_or_names(tmp_path, labels, names, y):
    text = "v,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))
    source = load_csv(write(tmp_path, text))
    assert source.class_names == names
    np.testing.assert_array_equal(source.train.y, y)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a,label\n", "no rows"),
        ("a,b\n1,2\n", "line 1: there is no column 'label'; label_column must name one of a, b"),
        ("a,label,b,a\n", "line 1: columns 1 and 4 are both named 'a'"),
        ("label,label,a\n", "line 1: 2 columns have the name 'label'"),
        ("label\nx\n", "no column of inputs, only labels"),
        ("a,label\n1,x\ntwo,y\n", r"line 3: column 'a' must hold a number, got 'two'"),
        ("a,label\n1,x\n\n1_0,y\n", "line 4: column 'a' must hold a number, got '1_0'"),
        ('a,label\n1,x\n"1,5",y\n', "line 3: column 'a' must .* '1,5' .write a point"),
        ("a\0b,label\n1,x\n", "nor marked as UTF-16; save it as CSV in UTF-8"),
        ("a,label\n1,x\x07\n2,y\n3,y\n4,x\x07", r"the label .x\\x07.: it holds control"),
        (
            "a,label\n-inf,x\n",
            "line 2: column 'a' must hold a finite number, got '-inf'. Write numbers there.$",
        ),
        ("a,label\n1e39,x\n", "line 2: column 'a' must hold a number that fits float32"),
        ("a,label\n1,x\n2\n", "line 3: 1 cells, but the first line names 2 columns"),
        ("a,label\n1,x\n2,x,3\n", "line 3: 3 cells"),
        ("a,label\n1,x\n2,\n", r"line 3: the label \(column 'label'\) is missing"),
        ("a,label\n1,NA\n2,\n3,x\n4,", "line 2: .* holds 'NA', and 2 more such .*; fill them in"),
        ("a,label\n1,x\n2,x\n", "holds only the class 'x'; at least 2 classes"),
        ("a,label\n1,.1\n2,.2\n3,.3\n", "holds 3 different labels in 3 rows"),
        ('a,label\n1,"x\n', r"line \d: unexpected end of data"),
    ],
)
def test_a_broken_csv_file_is_named_with_its_line(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        load_csv(path)
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)


def test_a_csv_file_that_is_missing_or_no_text_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.csv cannot be read: No such file"):
        load_csv(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UsageError, match=r"data\.csv is not text in UTF-8: .* 0xfc, as Latin-1"):
        load_csv(write(tmp_path, "a,label\nü,ü\n", encoding="latin-1"))


def save(directory, **arrays) -> str:
    path = directory / "data.npz"
    np.savez(path, **arrays)
    return str(path)


def test_an_npz_file_of_rows(tmp_path):
    x = np.arange(12.0).reshape(6, 2)
    path = save(tmp_path, x=x, kind=np.array(["b", "a", "b", "a", "a", "a"]))
    source = load_npz(path, label_column="kind")
    assert (source.kind, source.class_names, source.test) == ("table", ("a", "b"), None)
    assert source.train.x.dtype == np.float32
    np.testing.assert_array_equal(source.train.x, x)
    np.testing.assert_array_equal(source.train.y, [1, 0, 1, 0, 0, 0])


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float64", "bool", "S1", "U1"])
def test_labels_of_any_type_that_can_name_a_class(tmp_path, dtype):
    y = np.array([1, 0, 0, 1]).astype(dtype)
    source = load_npz(save(tmp_path, x=np.eye(4), y=y[:, None]))
    np.testing.assert_array_equal(source.train.y, [1, 0, 0, 1])


def test_an_npz_file_of_images_with_a_test_part_as_keras_saves_them(tmp_path):
    images = np.arange(10 * 5 * 4, dtype=np.uint8).reshape(10, 5, 4)
    y = np.array([3, 7] * 5)
    path = save(tmp_path, x_train=images, y_train=y, x_test=images[:4], y_test=y[1:5])
    source = load_npz(path)
    assert (source.kind, source.input_shape) == ("image", (5, 4, 1))
    assert source.class_names == ("3", "7")
    np.testing.assert_array_equal(source.train.x[..., 0], images)
    np.testing.assert_array_equal(source.train.y, [0, 1] * 5)
    np.testing.assert_array_equal(source.test.y, [1, 0, 1, 0])


X, Y = np.ones((4, 3)), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"must hold the arrays x and 'y' \(label_column\), or .* it holds x"),
        ({}, "it holds nothing"),
        ({"x": X[:0], "y": Y[:0]}, r"'x' is empty, its shape is \(0, 3\)"),
        ({"x": X[:, 0], "y": Y}, r"'x' must be numbers .* got float64 \(4,\)"),
        ({"x": X.astype(str), "y": Y}, "'x' must be numbers"),
        ({"x": X * 1j, "y": Y}, "'x' must be numbers"),
        (
            {"x": np.where(np.eye(4, 3) * [0, 0, 1], np.nan, X), "y": Y},
            "got nan in row 2, column 2",
        ),
        ({"x": X * 1e39, "y": Y}, "got 1e.39 in row 0, column 0"),
        ({"x": X, "y": Y[:3]}, r"'y' must hold one label for each of the 4 rows, .* \(3,\)"),
        ({"x": X, "y": np.eye(4)}, r"one label for each of the 4 rows, its shape is \(4, 4\)"),
        ({"x": X, "y": Y + [0, 0, 0.5, 0]}, "whole numbers or names of classes, got 0.5 in row 2"),
        ({"x": X, "y": Y * np.nan}, "got nan in row 0"),
        ({"x": X, "y": Y * 1j}, "its dtype is complex128"),
        ({"x": X, "y": Y * 0}, "holds only the class '0'"),
        ({"x": X, "y": Y.astype(object)}, "holds Python objects"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, r"\(3,\) in x_train but"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y * 2}, "class '2' is in y_test"),
    ],
)
def test_a_broken_npz_file_is_named_with_its_array(tmp_path, arrays, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(UsageError, match=message) as caught:
        load_npz(path)
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_what_is_no_npz_file_is_named(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"data\.npz is not a \.npz file"):
        load_npz(str(path))


def test_an_npz_file_that_is_missing_cut_or_a_npy_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_npz(str(tmp_path / "data.npz"))
    whole = save(tmp_path, x=np.random.default_rng(0).random((99, 9)), y=np.arange(99) % 2)
    content = (tmp_path / "data.npz").read_bytes()
    for end in (len(content) // 2, len(content) - 1):
        (tmp_path / "data.npz").write_bytes(content[:end])
        with pytest.raises(UsageError, match=r"data\.npz"):
            load_npz(whole)
    middle = len(content) // 3
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    (tmp_path / "data.npz").write_bytes(changed)
    with pytest.raises(UsageError, match="is damaged"):
        load_npz(whole)
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(UsageError, match=r"is not a \.npz file"):
        load_npz(whole)


def test_lines_are_counted_as_an_editor_does(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('a,label\n1,x\n\n2,"x"\n3,"y\nz"\n  \n4,x\n5,"y\nz"\n', newline="")
    origins = load_csv(path).train.origins
    assert origins.tolist() == [f"./rows.csv:{line}" for line in (2, 4, 5, 8, 9)]


def test_true_labels_stand_beside_the_given_ones_and_are_no_features(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,truth,seen,label\n1,x,y,9\n2,y,y,8\n3,z,y,7\n4,z,x,9\n")
    source = load_csv(path, "seen", "truth", ["label"])
    assert source.feature_names == ("a",) and source.class_names == ("x", "y", "z")
    assert source.train.y.tolist() == [1, 1, 1, 0] and source.train.true_y.tolist() == [0, 1, 2, 2]
    for arguments, message in [
        (("seen", "seen"), "both name the column 'seen'"),
        (("seen", "tru"), "no column 'tru'; true_label_column must name one of a, truth"),
        (("seen", "", ["b"]), "no column 'b'; ignore_columns must"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_csv(path, *arguments)
    arrays = save(tmp_path, x=X, seen=Y, truth=1 - Y)
    source = load_npz(arrays, "seen", "truth")
    assert source.train.true_y.tolist() == (1 - Y).tolist()
    with pytest.raises(UsageError, match="no array 'tru'.* seen, truth"):
        load_npz(arrays, "seen", "tru")
    arrays = save(tmp_path, x_train=X, y_train=Y, noisy=1 - Y, x_test=X, y_test=Y)
    source = load_npz(arrays, "noisy", "y_train")
    assert source.train.true_y.tolist() == source.test.y.tolist() == Y.tolist()


@pytest.mark.parametrize("missing", ["nan", "NaN", "NA", "n/a", "<NA>", "NULL", "#N/A", "None"])
def test_a_label_that_says_that_it_is_missing(tmp_path, missing):
    path = tmp_path / "rows.csv"
    path.write_text(f"a,label\n1,x\n2,y\n3,{missing}\n4,x\n")
    with pytest.raises(UsageError, match=f"line 4: the label .* missing: .*{missing}"):
        load_csv(path)
    with pytest.raises(UsageError, match=f"a label for each row, got '{missing}' in row 2"):
        load_npz(save(tmp_path, x=X, y=np.array(["x", "y", missing, "x"])))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_if_it_is_marked(tmp_path, encoding):
    mark = "" if encoding == "utf-16" else "\ufeff"
    path = write(tmp_path, mark + "größe\tlabel\n1\tx\n2\ty\n3\tx\n4\ty\n", encoding=encoding)
    source = load_csv(path)
    assert source.feature_names == ("größe",) and source.train.x.tolist() == [[1], [2], [3], [4]]
    assert source.train.origins[1] == "./data.csv:3"


def test_columns_of_text_and_dates_are_refused_together_with_the_way_out(tmp_path):
    rows = "".join(f"{i},red,2026-01-{i:02},{i}.5,{i % 2}\n" for i in range(1, 9))
    path = write(tmp_path, "n,colour,day,size,label\n" + rows.replace("5.5", "big"))
    with pytest.raises(UsageError) as caught:
        load_csv(path)
    assert str(caught.value) == (
        f"{path}, line 2: column 'colour' must hold a number, got 'red', and 7 more such cells; "
        "line 2: column 'day' must hold a number, got '2026-01-01', and 7 more such cells; "
        "line 6: column 'size' must hold a number, got 'big'. Write numbers there (for a "
        "category, one column of 0 and 1 per value), or ignore columns: "
        "--ignore_columns=colour,day,size"
    )
    assert load_csv(path, ignore_columns=["colour", "day", "size"]).feature_names == ("n",)
    with pytest.raises(UsageError, match=r"--ignore_columns=day,\{n\},colour,size$"):
        load_csv(
            write(tmp_path, (tmp_path / "data.csv").read_text().replace("n,", "{n},", 1)),
            ignore_columns=["day", "{n}"],
        )


def test_missing_numbers_are_left_open_and_said(tmp_path):
    path = write(tmp_path, "a,b,c,label\n1,,5,x\nNA,2,7,y\n3, nan ,1,x\n4,5,?,y\n")
    source = load_csv(path)
    nan = np.nan
    np.testing.assert_array_equal(
        source.train.x, [[1, nan, 5], [nan, 2, 7], [3, nan, 1], [4, 5, nan]]
    )
    (note,) = source.notes
    assert "4 cells without a number (columns 'b', 'a', 'c')" in note and "mean" in note


def test_a_column_that_numbers_the_rows_is_pointed_out(tmp_path):
    path = write(tmp_path, "id,a,label\n7,1,x\n8,3,y\n9,2,x\n10,9,y\n")
    assert "'id' numbers the rows" in load_csv(path).notes[0]
    assert load_csv(path, ignore_columns=["id"]).notes == ()


def test_a_column_with_one_number_is_pointed_out(tmp_path):
    source = load_csv(write(tmp_path, "a,b,label\n7,1,x\n7,3,y\n7,2,x\n7,9,y\n"))
    assert "the same number in all rows: column 'a'" in source.notes[0]


def test_one_number_in_two_spellings_is_one_class(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,label\n1,1.0\n2,1\n3,10\n4,9\n5,9.0\n6,10\n")
    source = load_csv(path)
    assert source.class_names == ("1", "9", "10")
    assert source.train.y.tolist() == [0, 0, 2, 1, 1, 2]
    path.write_text("a,label\n1,1.0\n2,1\n3,no\n4,1_0\n5,10\n6,1_0\n7,no\n8,10.0\n")
    source = load_csv(path)
    assert source.class_names == ("1", "10", "1_0", "no")
    assert source.train.y.tolist() == [0, 0, 3, 2, 1, 2, 3, 1]


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_index_is_passed_over_and_said(tmp_path, name):
    path = tmp_path / "rows.csv"
    path.write_text(f"{name},a,label\n3,1,x\n1,2,y\n2,3,x\n5,4,y\n")
    source = load_csv(path)
    assert source.feature_names == ("a",)
    assert "ignored" in source.notes[0]
    path.write_text("a,,label\n3,1,x\n1,2,y\n2,3,x\n5,4,y\n")
    with pytest.raises(UsageError, match="column 2 has no name"):
        load_csv(path)
    path.write_text(f"{name},a,label\n3.5,1,x\n1,2,y\n2,3,x\n5,4,y\n")
    with pytest.raises(UsageError, match="has no name, and does not number the rows"):
        load_csv(path)


def test_quotes_in_the_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('"w, x, y";b;label\n1;2;x\n3;4;y\n5;6;x\n7;8;y\n')
    assert load_csv(path).feature_names == ("w, x, y", "b")
    for header in ('"height" (cm),b,label', '"height,b,label'):
        path.write_text(f"{header}\n1,2,x\n3,4,y\n")
        with pytest.raises(UsageError, match="rows.csv, line 1: .* quotation marks"):
            load_csv(path)
