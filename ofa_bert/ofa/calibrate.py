"""BatchNorm's running statistics of a sub-network, measured anew.

What a supernet's BatchNorm layers gathered in training is a mixture of all sub-networks that ran;
each has statistics of its own, and its accuracy needs them (Once-for-All, arXiv:1908.09791, whose
code sets them after each choice; Slimmable networks, arXiv:1812.08928 §3.3, and US-Nets,
arXiv:1903.05134 §3.2, on why).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.nn.mode import evaluating
from ofa_bert.ofa.active import running
from ofa_bert.ofa.choices import DEPTH
from ofa_bert.ofa.outputs import bare
from ofa_bert.ofa.static_mode import not_tracing
from ofa_bert.ofa.trace import call, quiet_norms
from ofa_bert.rules import require

if TYPE_CHECKING:
    from ofa_bert.ofa.ofa import OFA

BATCH_NORMS = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
Batch = TypeVar("Batch")


def recompute_statistics(
    model: nn.Layer, run_batch: Callable[[Batch], Any], batches: Iterable[Batch]
) -> None:
    """Set the running mean and variance of every BatchNorm that runs to averages over batches.

    As in training, each batch is normalised by its own statistics, and what is kept is the average
    of those: ``mean = sum_b n_b mean_b / sum_b n_b``, the same of the (biased) variances, ``n_b``
    the values a channel has in batch ``b``. Each batch counts by its size, and none is forgotten,
    as it would be in a moving average.

    A layer with ``use_global_stats`` is left alone. Where a layer gets fewer channels than it has,
    the statistics of those are set and the others stay. Weights, gradients and modes are left as
    they were, the random state too unless the network draws in eval mode; after an error,
    everything is.

    Args:
        model: a network; what is not BatchNorm runs in eval mode.
        run_batch: runs the network on one batch.
        batches: at least one; typically some hundred training examples in all.

    Raises:
        InputError: if there is no batch, or no BatchNorm runs.
    """
    norms = [
        layer
        for layer in model.sublayers(include_self=True)
        if isinstance(layer, BATCH_NORMS) and not layer._use_global_stats
    ]
    totals = {id(layer): _Total() for layer in norms}

    def note(layer: nn.Layer, inputs: tuple[paddle.Tensor, ...]) -> None:
        require(
            bool(inputs),
            f"calibration sees no input that {layer.full_name()} takes by name; call it as norm(x)",
        )
        totals[id(layer)].add(layer, inputs[0])

    num_batches = 0
    with _normalising_by_batch(model, norms, note), paddle.no_grad():
        for batch in batches:
            run_batch(batch)
            num_batches += 1
    if num_batches == 0:
        raise InputError("calibration needs batches; got none; give at least one")
    if not any(total.count for total in totals.values()):
        raise InputError(
            f"calibration found no BatchNorm that runs in {type(model).__name__}; "
            "leave it out for this network"
        )
    for layer in norms:
        totals[id(layer)].write(layer)


def calibrate(ofa: OFA, config: Mapping[str, Any], batches: Iterable[Any]) -> None:
    """Recompute the BatchNorm statistics of one sub-network of an ``OFA``.

    See ``recompute_statistics``. Statistics belong to the supernet: these hold until another
    configuration is calibrated or trained. A network exported meanwhile has them for good.

    Args:
        ofa: the configuration it is set to stays set. Its teacher does not run.
        config: as for ``set_net_config``.
        batches: inputs of the network: a tuple or list is the arguments of forward, a dict its
            arguments by name, anything else its only argument.

    Raises:
        InputError: as there, or if ``config`` is not of this network; or if which layers are joined
            was not known yet and cannot be found with the first batch.
    """
    require(
        not isinstance(batches, paddle.Tensor),
        "batches must be a list or a loader of batches; got a tensor; type [batch]",
    )
    batches = iter(batches)
    first = list(islice(batches, 1))
    # Without any batch nothing runs.
    joined, network = ofa.joined, bare(ofa.model)
    space = joined.evaluated_space(config, network, first[0], {}) if first else joined.space
    complete = space.complete(config)
    depth = {DEPTH: complete[DEPTH]} if DEPTH in complete else {}

    def run_batch(batch: Any) -> Any:
        return call(ofa.model, batch, **depth)

    with not_tracing(), running(sizes=space.sizes(complete)):
        recompute_statistics(ofa.model, run_batch, chain(first, batches))


@dataclass
class _Total:
    """Sums over the batches of one layer."""

    count: int = 0
    mean: Any = 0.0
    variance: Any = 0.0

    def add(self, layer: nn.Layer, x: paddle.Tensor) -> None:
        layout = getattr(layer, "_data_format", None) or layer._data_layout
        channel = 1 if layout.startswith("NC") else len(x.shape) - 1
        others = [axis for axis in range(len(x.shape)) if axis != channel]
        count = math.prod(x.shape) // x.shape[channel]
        # Sums of float64, for the batches may be many; one batch is summed in its own type.
        self.mean += count * x.mean(others).numpy().astype("float64")
        self.variance += count * x.var(others, unbiased=False).numpy().astype("float64")
        self.count += count

    def write(self, layer: nn.Layer) -> None:
        if self.count == 0:
            return
        for running_statistic, total in (
            (layer._mean, self.mean),
            (layer._variance, self.variance),
        ):
            values = running_statistic.numpy()
            values[: len(total)] = total / self.count
            running_statistic.set_value(values)


@contextmanager
def _normalising_by_batch(
    model: nn.Layer, norms: list[nn.Layer], note: Callable[..., None]
) -> Iterator[None]:
    """Let these layers normalise by the batch, and ``note`` see their inputs; then undo it."""
    before = [(layer, layer._mean.clone(), layer._variance.clone()) for layer in norms]
    with evaluating(model), quiet_norms(), ExitStack() as hooks:
        for layer in norms:
            layer.training = True
            hooks.callback(layer.register_forward_pre_hook(note).remove)
        try:
            yield
        finally:
            for layer, mean, variance in before:
                layer.training = False
                layer._mean.set_value(mean)
                layer._variance.set_value(variance)
