"""Tables of numbers from files: what NumPy wrote comes back, everything else is refused with a typed error."""

from __future__ import annotations

import numpy as np
import pytest

from unigen.data.table import read_table
from unigen.errors import ArgumentError, DTypeError, EmptyDataError

X = np.array([[1.0, -2.5, 3e-7], [4.0, 5.0, 6.125]])


@pytest.mark.parametrize("header", ["", "a,b,c\n", "\n", "\ufeff", "\ufeffa,b,c\n"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_separated_text(tmp_path, header, delimiter):
    path = tmp_path / ("x.csv" if delimiter == "," else "x.TSV")
    rows = "\n".join(delimiter.join(repr(float(v)) for v in row) for row in X)
    path.write_text(header.replace(",", delimiter) + rows + "\n\n", encoding="utf-8")
    np.testing.assert_array_equal(read_table(path), X)


def test_one_row_and_one_column_stay_tables(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1\n2\n3")
    assert read_table(path).shape == (3, 1)
    path.write_text("1,2,3")
    assert read_table(str(path)).shape == (1, 3)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "bool"])
def test_arrays(tmp_path, dtype):
    x = X.astype(dtype)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", anything=x)
    for name in ("x.npy", "x.npz"):
        found = read_table(tmp_path / name)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("x.csv", b"", EmptyDataError),
        ("x.csv", b"\n\n", EmptyDataError),
        ("x.csv", b"a,b\n", EmptyDataError),
        ("x.csv", b"a,b\n1,two\n", DTypeError),
        ("x.csv", b"1,red\n2,3\n", DTypeError),  # not a header: no row may be lost in silence
        ("x.csv", b"1,\n2,3\n", DTypeError),
        ("x.csv", b"1,2\n3\n", DTypeError),
        ("x.csv", b"1,2\n#3,4\n", DTypeError),
        ("x.csv", b"\xff\xfe1,2\n", DTypeError),
        ("x.npy", b"", DTypeError),
        ("x.npy", b"not an array", DTypeError),
        ("x.npz", b"PK\x03\x04 cut short", DTypeError),
        ("x.parquet", b"1", ArgumentError),
        ("x", b"1", ArgumentError),
    ],
)
def test_refusals(tmp_path, name, content, error):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        read_table(tmp_path / name)


def test_missing_several_objects_scalars_complex(tmp_path):
    with pytest.raises(ArgumentError, match="no such file"):
        read_table(tmp_path / "none.csv")
    np.savez(tmp_path / "two.npz", a=X, b=X)
    with pytest.raises(ArgumentError, match="one array"):
        read_table(tmp_path / "two.npz")
    np.save(tmp_path / "scalar.npy", np.float64(3))
    with pytest.raises(EmptyDataError):
        read_table(tmp_path / "scalar.npy")
    np.save(tmp_path / "complex.npy", X + 1j)
    with pytest.raises(DTypeError):
        read_table(tmp_path / "complex.npy")
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(DTypeError):
        read_table(tmp_path / "text.npy")


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_nothing_is_unpickled(tmp_path, ending):
    mark = tmp_path / "mark"

    class Trap:
        def __reduce__(self):
            return mark.touch, ()

    trap = np.array([Trap()], dtype=object)
    path = tmp_path / f"x.{ending}"
    np.save(path, trap, allow_pickle=True) if ending == "npy" else np.savez(path, x=trap)
    with pytest.raises(DTypeError):
        read_table(path)
    assert not mark.exists()


def test_a_file_is_closed_after_reading(tmp_path):
    np.savez(tmp_path / "x.npz", x=X)
    read_table(tmp_path / "x.npz")  # an open file would be a ResourceWarning, an error in tests


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "a,b\n1,2\n\n3,\n", r"line 4, column 2 \('b'\) is empty.*write nan"),
        ("x.csv", "1,,3\n4,5,6\n", r"line 1, column 2 is empty"),
        (
            "x.csv",
            "a,species\n1,setosa\n",
            r"line 2, column 2 \('species'\) is no number; got 'setosa'.*get_dummies",
        ),
        ("x.csv", "1,2\n3,red\n", "line 2, column 2 is no number; got 'red'"),
        ("x.csv", "1;2\n3;4\n", r"separated by another character; got line 1: '1;2'.*sep=';'"),
        ("x.csv", "1,5;2,5\n3,5;4,5\n", r"sep=';'.*decimal=','"),
        ("x.csv", "a;b\n1;2\n", "sep=';'"),
        ("x.csv", "1\t2\n3\t4\n", "rename it to .tsv"),
        ("x.tsv", "1,2\n3,4\n", "rename it to .csv"),
        ("x.csv", "1,2\n3,4,5\n", "line 2 has another number of cells than line 1; got 3, expected 2"),
        ("x.csv", "a,b\n1,2\n\n3\n", "line 4 has another number of cells than line 1; got 1, expected 2"),
    ],
)
def test_messages_name_the_line_and_a_remedy(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DTypeError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"file '{name}': ")


def test_nan_is_a_number(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,nan\n")
    np.testing.assert_array_equal(read_table(path), [[1.0, np.nan]])
