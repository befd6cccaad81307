"""Tables as people save them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.data import tables
from nnmed.data.tables import Problems, read_table
from nnmed.errors import DataError


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiters_ends_and_encodings(tmp_path, sign, end, encoding):
    lines = [sign.join(("file", "label", "note")), sign.join((" a.png", "gut ", f'"x{sign}ü"'))]
    table = read_table(written(tmp_path, end.join(lines) + end, encoding))
    assert table.columns == ["file", "label", "note"]
    assert table.rows == [(2, ["a.png", "gut", f"x{sign}ü"])]
    assert not table.notes


def test_chinese_tables_from_a_spreadsheet(tmp_path):
    table = read_table(written(tmp_path, "file,标签\n图.png,恶性\n", "gb18030"))
    assert table.columns[1] == "标签"
    assert table.rows == [(2, ["图.png", "恶性"])]
    assert "GB 18030" in table.notes[0]


def test_row_numbers_are_those_of_a_spreadsheet(tmp_path):
    table = read_table(written(tmp_path, 'file,label\n\na,"two\nlines"\n,\nb,x\n'))
    assert [number for number, _ in table.rows] == [3, 5]


def test_short_rows_are_filled_and_long_ones_are_reported_all_at_once(tmp_path):
    table = read_table(written(tmp_path, "file,label,group\na\nb,x,,,\n"))
    assert table.rows == [(2, ["a", "", ""]), (3, ["b", "x", ""])]
    with pytest.raises(DataError) as caught:
        read_table(written(tmp_path, "file,label\na,b,c\nd,e\nf,g,h,i\n"))
    assert "row 2: has 3 cells" in str(caught.value)
    assert "row 4: has 4 cells" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"file,label\n", b"file,file\na,b\n", b"\0\1\2"])
def test_what_is_no_table(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.csv"):
        read_table(path)


def test_an_unclosed_quote_does_not_swallow_rows(tmp_path):
    with pytest.raises(DataError, match="not a table"):
        read_table(written(tmp_path, 'file,label\na,"x\nb,y\n'))


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_TABLE_BYTES", 10)
    with pytest.raises(DataError, match="MAX_TABLE_BYTES"):
        read_table(written(tmp_path, "file,label\na,b\n"))


def test_columns_are_found_loosely_but_exactly_first(tmp_path):
    table = read_table(written(tmp_path, "Image-ID,image id,x\na,b,c\n"))
    assert table.index("image_id") == 0
    assert table.index("image id") == 1
    assert table.index("X") == 2
    assert table.index("y") is None


def test_problems_come_in_the_order_of_rows_and_are_bounded():
    problems = Problems("t.csv")
    problems.add("no row")
    for row in range(100, 0, -1):
        problems.add("bad", row)
    with pytest.raises(DataError) as caught:
        problems.raise_if_any()
    lines = str(caught.value).splitlines()
    assert lines[0] == "t.csv: 101 problems:"
    assert lines[1].strip() == "row 1: bad"
    assert lines[-1].strip() == "... and 71 more"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except DataError:
        return
    assert all(len(cells) == len(table.columns) for _, cells in table.rows)
