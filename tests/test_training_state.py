import numpy as np
import paddle
import pytest

from ofa_bert.durable import DamagedError
from ofa_bert.errors import InputError
from ofa_bert.scores import Best
from ofa_bert.training_state import (
    capture,
    model_arrays,
    optimizer_arrays,
    put_back,
    read_description,
    read_state,
    set_optimizer_arrays,
)
from tests.trained import trained_for


def test_a_state_read_back_goes_on_as_the_one_that_was_written(tmp_path):
    best = Best().update(2, {"full": {"score": 0.25}})
    first = trained_for(3)
    first.metrics_log.add({"full": {"label": 1 / 3}}, 7, 0.1)
    capture(3, best, first, {"id": "x"}).write(tmp_path)
    files = {"state.json", "model.safetensors", "optimizer.safetensors", "objective.safetensors"}
    assert {path.name for path in tmp_path.iterdir()} == files

    second = trained_for(0, value=0.7)
    state = read_state(tmp_path)
    assert (state.step, state.best, state.run) == (3, best, {"id": "x"})
    put_back(state, second)
    assert second.metrics_log.pending() == first.metrics_log.pending()
    for trained in (first, second):
        for parameter in [*trained.model.parameters(), *trained.objective.parameters()]:
            parameter.grad = paddle.full_like(parameter, 0.01)
        trained.optimizer.step()
    for name, values in model_arrays(first.model).items():
        np.testing.assert_array_equal(model_arrays(second.model)[name], values, err_msg=name)
    np.testing.assert_array_equal(second.objective.weight.numpy(), first.objective.weight.numpy())
    assert not np.array_equal(second.objective.weight.numpy(), np.full([2, 3], 0.7, "float32"))


def test_moments_stand_under_the_parameters_own_names_by_hand():
    parameter = paddle.create_parameter([1], "float32")
    optimizer = paddle.optimizer.AdamW(0.1, parameters=[parameter])
    for grad in (3.0, -1.0):
        parameter.grad = paddle.to_tensor([grad])
        optimizer.step()
    arrays = optimizer_arrays({"p": parameter}, optimizer)
    assert {name: values.item() for name, values in arrays.items()} == {
        "p//_moment1_0": pytest.approx(0.9 * 0.1 * 3 - 0.1 * 1),
        "p//_moment2_0": pytest.approx(
            0.999 * 0.001 * 9 + 0.001 * 1, rel=1e-4
        ),  # float32: 1 - beta2
        # Paddle keeps the power that the next step needs.
        "p//_beta1_pow_acc_0": pytest.approx(0.9**3),
        "p//_beta2_pow_acc_0": pytest.approx(0.999**3),
    }


def test_a_name_that_begins_another_is_not_taken_for_it():
    first = paddle.create_parameter([1], "float32", name="proj")
    second = paddle.create_parameter([1], "float32", name="proj_2")
    optimizer = paddle.optimizer.AdamW(0.1, parameters=[first, second])
    for parameter, grad in [(first, 1.0), (second, 5.0)]:
        parameter.grad = paddle.to_tensor([grad])
    optimizer.step()
    arrays = optimizer_arrays({"a": first, "b": second}, optimizer)
    assert arrays["a//_moment1_0"] == pytest.approx(0.1)
    assert arrays["b//_moment1_0"] == pytest.approx(0.5)
    assert len(arrays) == 8
    set_optimizer_arrays({"a": second, "b": first}, optimizer, arrays)
    swapped = optimizer_arrays({"a": first, "b": second}, optimizer)
    assert swapped["a//_moment1_0"] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_captured(value):
    trained = trained_for(0, value=0.5)
    trained.objective.weight.set_value(np.full([2, 3], value, "float32"))
    with pytest.raises(InputError, match=r"weights weight hold NaN or infinity after step 7; what"):
        capture(7, Best(), trained, {})


def test_without_an_evaluation_there_is_no_best(tmp_path):
    capture(1, Best(), trained_for(0), {}).write(tmp_path)
    assert '"best": null' in (tmp_path / "state.json").read_text()
    assert read_description(tmp_path)[1] == Best()


@pytest.mark.parametrize("text", ["{", "[]", '{"step": 1}', '{"best": {"x": 1}}'])
def test_a_description_of_another_form_is_told(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(DamagedError, match=r"state\.json is not as this version writes it"):
        read_description(tmp_path)
