"""Reading .pdparams: what paddle writes comes back, and nothing a stranger writes is run."""

import _codecs
import collections
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from ofa_bert.checkpoint.safe_pickle import read_pdparams, widen_bfloat16
from ofa_bert.errors import InputError
from tests.tiny import paddle, tiny_model

ARRAY = np.arange(6, dtype="float32").reshape(2, 3) / 7


def written(tmp_path: Path, content: bytes | object, protocol: int = 4) -> Path:
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: object, *args: object) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> tuple:
        return self.reduced


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_what_paddle_saves(tmp_path: Path, protocol: int) -> None:
    model = tiny_model()
    path = tmp_path / "model_state.pdparams"
    paddle.save(model.state_dict(), str(path), protocol=protocol)
    arrays = read_pdparams(path)
    assert list(arrays) == list(model.state_dict())
    for name, parameter in model.state_dict().items():
        np.testing.assert_array_equal(arrays[name], parameter.numpy())


@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_pairs_of_parameter_name_and_array(tmp_path: Path, protocol: int) -> None:
    values = collections.OrderedDict(a=("linear_0.w_0", ARRAY), b=np.asfortranarray(ARRAY))
    arrays = read_pdparams(written(tmp_path, values, protocol))
    np.testing.assert_array_equal(arrays["a"], ARRAY)
    np.testing.assert_array_equal(arrays["b"], ARRAY)


def test_paddle_writes_bfloat16_as_uint16(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    paddle.save({"w": paddle.to_tensor([1.0, -2.5]).astype("bfloat16")}, str(path))
    np.testing.assert_array_equal(read_pdparams(path)["w"], np.float32([1.0, -2.5]))


def test_widen_bfloat16() -> None:
    # 1.0 is 0x3f800000 in float32 and -2.5 is 0xc0200000.
    halves = np.array([0x3F80, 0xC020], "uint16")
    np.testing.assert_array_equal(widen_bfloat16(halves), np.float32([1.0, -2.5]))


def test_joins_arrays_that_paddle_split(tmp_path: Path) -> None:
    values = {
        "w@@.0": ARRAY.ravel()[:4],
        "w@@.1": ARRAY.ravel()[4:],
        "UnpackBigParamInfor@@": {"w": {"OriginShape": (2, 3), "slices": ["w@@.0", "w@@.1"]}},
        "StructuredToParameterName@@": {"w": "linear_0.w_0"},
    }
    arrays = read_pdparams(written(tmp_path, values, 2))
    assert list(arrays) == ["w"]
    np.testing.assert_array_equal(arrays["w"], ARRAY)


def test_reports_split_arrays_that_do_not_fit(tmp_path: Path) -> None:
    info = {"UnpackBigParamInfor@@": {"w": {"OriginShape": (2, 3), "slices": ["gone"]}}}
    with pytest.raises(InputError, match="its split arrays do not fit together: 'gone'"):
        read_pdparams(written(tmp_path, info))


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("touch {canary}",), r"'posix\.system'"),
        (eval, ("open('{canary}', 'w')",), r"'builtins\.eval'"),
        (exec, ("open('{canary}', 'w')",), r"'builtins\.exec'"),
        (getattr, ("x", "__class__"), r"'builtins\.getattr'"),
        (np.memmap, ("{canary}",), r"'numpy\.memmap'"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_runs_no_code(
    tmp_path: Path, function: object, args: tuple[str, ...], name: str, protocol: int
) -> None:
    canary = tmp_path / "canary"
    call = Calls(function, *(arg.format(canary=canary) for arg in args))
    path = written(tmp_path, {"w": call}, protocol)
    with pytest.raises(InputError, match=f"is refused: it asks for {name}, and a file of weights"):
        read_pdparams(path)
    assert not canary.exists()


def test_a_message_is_one_line_whatever_the_file_says(tmp_path: Path) -> None:
    path = written(tmp_path, b"\x80\x04\x8c\x03a\nb\x8c\x04\x1b[2J\x93.")
    with pytest.raises(InputError) as caught:
        read_pdparams(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged or cut short"),
        (b"not a pickle", "instruction 0x6e does not belong"),
        (b"\x80\x04N.", "must hold named arrays; got a NoneType"),
        (pickle.dumps({"a": 1}, 4), r"must hold named arrays; got only \['a'\]"),
        (pickle.dumps({1: ARRAY}, 4), "dict entry that is named by a int"),
        (pickle.dumps({"a": np.array([object()])}, 4), "dtype 'O8' must be a plain number"),
        (pickle.dumps({"a": np.array(["text"])}, 4), "dtype 'U4' must be a plain number"),
        (pickle.dumps({"a": {1, 2}}, 4), "instruction 0x8f does not belong"),
        # a byte string of 2**40 bytes
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "1099511627776 bytes are announced"),
        # a frame of as many
        (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.", "1099511627776 bytes are announced"),
        # remember None as number 2**31: a list of that length in the C machine
        (b"\x80\x04Nr\x00\x00\x00\x80.", "got a NoneType"),
        (b"\x80\x04}\x8c\x01aNs\x8c\x01aNs.", "holds the name 'a' twice"),
        (b"\x80\x04}" + b"N0" * 10, "instruction 0x30 does not belong"),
        (b"\x80\x04" + b"N" * 1_000_001, "more than 1000000 instructions"),
        # a tuple nested 200,000 deep as a name
        (b"\x80\x04})" + b"\x85" * 200_000 + b"Ns.", "named by a tuple"),
    ],
)
def test_refuses_what_is_no_file_of_weights(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pdparams(written(tmp_path, content))


@pytest.mark.parametrize("shape", [(10**12,), (2**62, 4), (-2, -3), (6.0,), (1,) * 9])
def test_refuses_an_array_whose_shape_is_not_that_of_its_bytes(
    tmp_path: Path, shape: tuple
) -> None:
    array = Calls(*ARRAY.__reduce__()[:1], np.ndarray, (0,), b"b")
    state = (1, shape, np.dtype("float32"), False, ARRAY.tobytes())
    array.reduced = (*array.reduced, state)
    with pytest.raises(InputError, match=r"does not hold 24 bytes|is damaged or cut short"):
        read_pdparams(written(tmp_path, {"w": array}))


def test_a_copied_text_cannot_multiply_the_file(tmp_path: Path) -> None:
    text = "x" * 10_000
    values = [Calls(_codecs.encode, text, "latin1") for _ in range(10)]
    with pytest.raises(InputError, match="unfolds to more bytes than it has"):
        read_pdparams(written(tmp_path, values, 2))


def test_a_list_is_not_copied_again_and_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="copies a list of 9 items; a named array has 2"):
        read_pdparams(written(tmp_path, {"w": Calls(tuple, [0] * 9)}))


@pytest.mark.parametrize("cut", [1, 10, 500, 3000])
def test_a_truncated_file_says_so(tmp_path: Path, cut: int) -> None:
    content = pickle.dumps({"a": ARRAY, "b": np.zeros([30, 30])}, 4)
    with pytest.raises(InputError, match=r"is damaged or cut short .* copy or download it again"):
        read_pdparams(written(tmp_path, content[:-cut]))


def test_the_state_of_a_function_cannot_be_set(tmp_path: Path) -> None:
    setting = b"\x80\x02c_codecs\nencode\n}U\x0c__defaults__)sb."
    with pytest.raises(InputError, match="it sets the state of a method"):
        read_pdparams(written(tmp_path, setting))
