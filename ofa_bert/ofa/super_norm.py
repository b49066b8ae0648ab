"""Norms over any prefix of their features: their width is their input's."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.nn.layer_norm import elastic_layer_norm
from ofa_bert.nn.prefix import prefix


def elastic_batch_norm(layer: nn.Layer, x: paddle.Tensor, data_format: str) -> paddle.Tensor:
    """Normalise by the batch in training and by the running statistics in evaluation.

    With ``use_global_stats`` True it is the running ones in both, with False the batch's.

    The mode is the layer's at this very call. In training the statistics of the features present
    move; those of the others stay.
    """
    size = x.shape[1 if data_format.startswith("NC") else -1]
    use_global_stats = layer._use_global_stats
    if isinstance(layer, nn.BatchNorm):
        # The older one says False where the newer ones say None, and for their False this:
        use_global_stats = use_global_stats or (False if layer._trainable_statistics else None)
    mean, variance = _copied(layer._mean, size), _copied(layer._variance, size)
    normed = F.batch_norm(
        x,
        mean,
        variance,
        weight=prefix(layer.weight, size),
        bias=prefix(layer.bias, size),
        training=layer.training,
        momentum=layer._momentum,
        epsilon=layer._epsilon,
        data_format=data_format,
        use_global_stats=use_global_stats,
    )
    by_batch = layer.training or use_global_stats is False
    if by_batch and mean is not layer._mean and paddle.in_dynamic_mode():
        with paddle.no_grad():
            layer._mean[:size], layer._variance[:size] = mean, variance
    return normed


def _copied(statistic: paddle.Tensor, size: int) -> paddle.Tensor:
    """Give the first entries apart from the rest, or the statistic itself where that is all of it.

    With paddle's strided views a slice is a part of the statistic itself: writing what moved back
    would change what the backward of ``F.batch_norm`` has saved, and paddle refuses to run it.
    """
    return statistic if statistic.shape[0] == size else statistic[:size].clone()


class SuperBatchNorm1D(nn.BatchNorm1D):
    """``paddle.nn.BatchNorm1D`` over the features of its input."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise ``[batch, features]`` or ``[batch, features, length]``."""
        return elastic_batch_norm(self, input, self._data_format)


class SuperBatchNorm2D(nn.BatchNorm2D):
    """``paddle.nn.BatchNorm2D`` over the features of its input."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise ``[batch, features, height, width]``."""
        return elastic_batch_norm(self, input, self._data_format)


class SuperBatchNorm(nn.BatchNorm):
    """The older ``paddle.nn.BatchNorm`` over the features of its input."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise ``[batch, features, ...]``."""
        normed = elastic_batch_norm(self, input, self._data_layout)
        return normed if self._act is None else getattr(F, self._act)(normed)


class SuperSyncBatchNorm(nn.SyncBatchNorm):
    """``paddle.nn.SyncBatchNorm`` over the features of its input.

    On one device, or without any GPU, it is a ``SuperBatchNorm2D``. Across GPUs statistics are
    shared at full width only.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Normalise ``[batch, features, ...]``.

        Raises:
            InputError: if only a part of the features is given, in training across GPUs.
        """
        shared = (
            self.training
            and paddle.in_dynamic_mode()  # nothing has a place while it is traced
            and x.place.is_gpu_place()
            and paddle.distributed.get_world_size() > 1
        )
        if not shared:
            return elastic_batch_norm(self, x, self._data_format)
        if x.shape[1 if self._data_format.startswith("NC") else -1] != self._mean.shape[0]:
            raise InputError(
                "SyncBatchNorm must run at full width across GPUs; for smaller widths use "
                "BatchNorm2D there"
            )
        return super().forward(x)


class SuperInstanceNorm2D(nn.InstanceNorm2D):
    """``paddle.nn.InstanceNorm2D`` over the features of its input."""

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise each image's each feature of ``[batch, features, height, width]``."""
        size = input.shape[1]
        return F.instance_norm(
            input,
            weight=prefix(self.scale, size),
            bias=prefix(self.bias, size),
            momentum=self._momentum,
            eps=self._epsilon,
            data_format=self._data_format,
        )


class SuperLayerNorm(nn.LayerNorm):
    """``paddle.nn.LayerNorm`` over the features of its input.

    Args:
        normalized_shape: largest size of each normalised axis.
        epsilon: added to the variance.
        weight_attr: as in ``paddle.nn.LayerNorm``.
        bias_attr: likewise.
        name: likewise.
    """

    def __init__(
        self,
        normalized_shape: Any,
        epsilon: float = 1e-5,
        weight_attr: Any = None,
        bias_attr: Any = None,
        name: str | None = None,
    ) -> None:
        # By keyword: paddle 3.2 made everything after epsilon so.
        super().__init__(
            normalized_shape, epsilon, weight_attr=weight_attr, bias_attr=bias_attr, name=name
        )

    def forward(self, input: paddle.Tensor) -> paddle.Tensor:
        """Normalise over the last axes of ``input``, as many as ``normalized_shape`` has."""
        if len(self._normalized_shape) == 1:
            return elastic_layer_norm(input, self.weight, self.bias, self._epsilon)
        shape = input.shape[-len(self._normalized_shape) :]
        weight, bias = self.part(self.weight, shape), self.part(self.bias, shape)
        return F.layer_norm(input, shape, weight, bias, self._epsilon)

    def part(self, flat: Any, shape: list[int]) -> Any:
        """Cut a parameter, which paddle keeps flat, along each of its axes."""
        if flat is None or list(shape) == self._normalized_shape:
            return flat
        return flat.reshape(self._normalized_shape)[tuple(map(slice, shape))].flatten()
