"""Reading pytorch_model.bin: archives built by hand as torch.save builds them."""

import collections
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.checkpoint.torch_file import read_torch
from ofa_bert.errors import InputError
from tests.torch_archives import Call, Storage, archive, tensor

FLAT = np.arange(12, dtype="float32") / 7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pytorch_model.bin"


def test_views_of_a_shared_storage(path: Path) -> None:
    shared = Storage("FloatStorage", "0", 12)
    values = collections.OrderedDict(
        whole=tensor(shared, 0, (3, 4), (4, 1)),
        transposed=tensor(shared, 0, (4, 3), (1, 4)),
        part=tensor(shared, 5, (2, 3), (4, 1)),
        number=tensor(shared, 3, (), ()),
        empty=tensor(shared, 0, (0, 4), (4, 1)),
    )
    arrays = read_torch(archive(path, values, {"0": FLAT.tobytes()}))
    square = FLAT.reshape(3, 4)
    np.testing.assert_array_equal(arrays["whole"], square)
    np.testing.assert_array_equal(arrays["transposed"], square.T)
    np.testing.assert_array_equal(arrays["part"], [square[1, 1:4], square[2, 1:4]])
    np.testing.assert_array_equal(arrays["number"], np.float32(3 / 7))
    assert arrays["empty"].shape == (0, 4)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("HalfStorage", np.float16([1.5, -2.0]).tobytes(), np.float16([1.5, -2.0])),
        ("BFloat16Storage", np.uint16([0x3F80, 0xC020]).tobytes(), np.float32([1.0, -2.5])),
        ("LongStorage", np.int64([7, -1]).tobytes(), np.int64([7, -1])),
    ],
)
def test_storages_of_other_dtypes(path: Path, kind: str, data: bytes, expected: np.ndarray) -> None:
    values = {"w": tensor(Storage(kind, "0", 2), 0, (2,), (1,))}
    array = read_torch(archive(path, values, {"0": data}))["w"]
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


def test_parameters_and_metadata(path: Path) -> None:
    inner = tensor(Storage("FloatStorage", "0", 12), 0, (12,), (1,))
    parameter = Call("torch._utils", "_rebuild_parameter", inner, True, collections.OrderedDict())
    values = collections.OrderedDict(w=parameter)
    values._metadata = {"version": 1}  # type: ignore[attr-defined]
    arrays = read_torch(archive(path, values, {"0": FLAT.tobytes()}))
    assert list(arrays) == ["w"]
    np.testing.assert_array_equal(arrays["w"], FLAT)


@pytest.mark.parametrize(
    ("offset", "sizes", "strides", "message"),
    [
        (9, (2, 2), (2, 1), "ends at 12 of 12 numbers"),
        (-1, (2,), (1,), r"sizes \(2,\) on 12 numbers"),
        (0, (2,), (-1,), r"sizes \(2,\) on 12 numbers"),
        (0, (10**6, 10**6), (0, 0), "on 12 numbers"),
        (0, (2, 2), (1,), r"sizes \(2, 2\) and strides \(1,\)"),
        (0, (2,), (2**62,), "ends at 4611686018427387904 of 12"),
    ],
)
def test_a_tensor_stays_inside_its_storage(
    path: Path, offset: int, sizes: tuple, strides: tuple, message: str
) -> None:
    values = {"w": tensor(Storage("FloatStorage", "0", 12), offset, sizes, strides)}
    with pytest.raises(InputError, match=message):
        read_torch(archive(path, values, {"0": FLAT.tobytes()}))


def test_runs_no_code(path: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    values = {"w": Call("os", "system", f"touch {canary}")}
    with pytest.raises(InputError, match=r"it asks for 'os\.system', and a file of weights"):
        read_torch(archive(path, values, {}))
    assert not canary.exists()


def test_storages_are_not_called(path: Path) -> None:
    with pytest.raises(InputError, match="makes a storage outside its archive"):
        read_torch(archive(path, {"w": Call("torch", "FloatStorage", 10**12)}, {}))


@pytest.mark.parametrize(
    ("count", "storages", "message"),
    [
        (12, {}, "lacks its entry 'data/0'; copy it again"),
        (10**12, {"0": FLAT.tobytes()}, "of 1000000000000 numbers has 48 bytes"),
        (11, {"0": FLAT.tobytes()}, "of 11 numbers has 48 bytes"),
    ],
)
def test_storages_have_the_size_they_claim(
    path: Path, count: int, storages: dict[str, bytes], message: str
) -> None:
    values = {"w": tensor(Storage("FloatStorage", "0", count), 0, (2,), (1,))}
    with pytest.raises(InputError, match=message):
        read_torch(archive(path, values, storages))


def test_refuses_compressed_entries(path: Path) -> None:
    values = {"w": tensor(Storage("FloatStorage", "0", 12), 0, (12,), (1,))}
    archive(path, values, {"0": FLAT.tobytes()}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="entry 'byteorder' must not be compressed"):
        read_torch(path)


def test_entries_that_overlap_do_not_multiply_the_file(path: Path) -> None:
    data = np.zeros(1000, "float32").tobytes()
    storages = {str(key): b"" for key in range(1, 9)}
    values = {
        f"w{key}": tensor(Storage("FloatStorage", str(key), 1000), 0, (1000,), (1,))
        for key in range(9)
    }
    archive(path, values, {"0": data, **storages})
    with zipfile.ZipFile(path, "a") as file:
        first = file.getinfo("archive/data/0")
        for info in file.infolist():
            if info.filename.startswith("archive/data/"):
                info.header_offset, info.CRC = first.header_offset, first.CRC
                info.file_size = info.compress_size = len(data)
        file._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"damaged or cut short|unfolds to more bytes"):
        read_torch(path)


def test_refuses_big_endian_numbers(path: Path) -> None:
    values = {"w": tensor(Storage("FloatStorage", "0", 12), 0, (12,), (1,))}
    archive(path, values, {"0": FLAT.tobytes()}, order=b"big")
    with pytest.raises(InputError, match="byte order must be little; got b'big'"):
        read_torch(path)


def test_says_how_to_convert_the_format_before_zip(path: Path) -> None:
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))
    with pytest.raises(InputError, match=r"PyTorch before 1\.6, .*convert it with: torch\.save\("):
        read_torch(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing else", b"\x00" * 100])
def test_a_file_that_is_no_archive(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged or cut short .*copy or download it again"):
        read_torch(path)


def test_a_truncated_archive(path: Path) -> None:
    values = {"w": tensor(Storage("FloatStorage", "0", 12), 0, (12,), (1,))}
    archive(path, values, {"0": FLAT.tobytes()})
    content = path.read_bytes()
    for cut in range(1, len(content), 37):
        path.write_bytes(content[:-cut])
        with pytest.raises(InputError, match="is damaged or cut short"):
            read_torch(path)


def test_an_archive_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("document.xml", b"<a/>")
    with pytest.raises(InputError, match=r"must hold one data\.pkl, as torch\.save writes; got 0"):
        read_torch(path)
