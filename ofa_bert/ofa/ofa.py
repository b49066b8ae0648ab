"""``OFA``: which sub-network of a converted network runs, is trained, searched and exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ofa_bert.errors import InputError
from ofa_bert.ofa import schedule
from ofa_bert.ofa.active import running
from ofa_bert.ofa.choices import DEPTH, Config, SearchSpace
from ofa_bert.ofa.compiled import check_not_compiled
from ofa_bert.ofa.distillation import distillation_of
from ofa_bert.ofa.export import exported
from ofa_bert.ofa.export_arguments import Inputs, export_arguments
from ofa_bert.ofa.inputs import check_takes_depth
from ofa_bert.ofa.joined import Joined, joined_as_given
from ofa_bert.ofa.layers_base import BaseBlock
from ofa_bert.ofa.outputs import bare, outputs_of
from ofa_bert.ofa.progress import Progress, task_order
from ofa_bert.ofa.search import evolutionary_search
from ofa_bert.ofa.settings import DistillConfig, RunConfig
from ofa_bert.ofa.static_mode import not_tracing
from ofa_bert.ofa.teacher import Teacher
from ofa_bert.ofa.ties import space_of
from ofa_bert.ofa.tokens import Tokens, decode, tokens_of
from ofa_bert.rules import require


class OFA(nn.Layer):
    """A converted network, its search space and its schedule.

    What runs is, in this order: the configuration of ``set_net_config``; the largest, if
    ``train_full``; in training one drawn from the tasks of ``set_task``, or else from those of the
    schedule; in evaluation the last one that ran, or else the largest.

    Several ``OFA`` may own one network. A call that raises changes nothing.

    Args:
        model: a converted network, or one made of elastic layers in ``Block``s.
        run_config: the schedule.
        distill_config: the teacher. It is not among the parameters and in no one's training mode.
        elastic_order: tasks in the order in which they are opened; default those of
            ``schedule.TASKS`` that the network has a choice of.
        train_full: run the largest sub-network only.

    Raises:
        InputError: if the configurations do not fit the network.
    """

    def __init__(
        self,
        model: nn.Layer,
        run_config: RunConfig | None = None,
        distill_config: DistillConfig | None = None,
        elastic_order: Sequence[str] | None = None,
        train_full: bool = False,
    ) -> None:
        super().__init__()
        run = RunConfig() if run_config is None else run_config
        _check_arguments(model, run, distill_config)
        self.model = model
        self.run_config, self.distill_config = run, distill_config
        self.train_full = train_full
        space = space_of(bare(model), run.elastic_depth, run.ofa_layers, run.skip_layers or ())
        self._joined = joined_as_given(space, run.same_search_space)
        if run.elastic_depth:
            check_takes_depth(bare(model))
        self.elastic_order = task_order(elastic_order, space.free(), run)
        self._distillation = distillation_of(model, distill_config)
        self.netAs_param = self._distillation.parameters()
        """Parameters of what ``mapping_op`` put between the layers, for the optimizer."""
        # Drawn from NumPy's own generator, so that numpy.random.seed makes a run repeatable.
        self._generator = np.random.default_rng(np.random.randint(2**31))
        self._progress = Progress()
        self._net_config: Config | None = None
        self._ran: Config | None = None
        self._example: Inputs | None = None
        self._tokens = Tokens({}, [])

    # What is there

    @property
    def ofa_layers(self) -> dict[str, Any]:
        """Choices by layer name; of layers of one width, the first that has its own. A copy."""
        return self._joined.space.free()

    @property
    def layers(self) -> dict[str, Any]:
        """``ofa_layers``, by ``Block.key``: the name of the layer that was converted."""
        keys = {name: key for key, name in self._joined.space.names_by_key.items()}
        return {keys.get(name, name): sizes for name, sizes in self.ofa_layers.items()}

    @property
    def get_current_config(self) -> Config:
        """The configuration set, or else the last that ran, or else the largest. A copy."""
        config = self._ran if self._net_config is None else self._net_config
        return self._joined.space.complete(config or {})

    @property
    def current_config(self) -> Config:
        """``get_current_config``, as scripts call it."""
        return self.get_current_config

    @property
    def joined(self) -> Joined:
        """What is known of which layers are joined."""
        return self._joined

    @property
    def ofa_teacher_model(self) -> Teacher | None:
        """Who answers; its network is ``.model``."""
        return self._distillation.teacher

    @property
    def task(self) -> list[str]:
        """The tasks that are open now."""
        return list(self._stage_now().tasks)

    # What runs next

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, from 0; from then on batches are not counted for it."""
        self._progress = self._progress.at_epoch(epoch)

    def set_task(self, task: str | Sequence[str] | None, phase: int | None = None) -> None:
        """Open some tasks, whatever the epoch; all other choices are at their largest.

        Args:
            task: ``kernel_size``, ``depth``, ``width``, or several of them; None follows the
                schedule again.
            phase: of the last task, open only the ``phase + 2`` largest values; None: all.

        Raises:
            InputError: if the network has no such task.
        """
        self._progress = self._progress.at_task(task, phase, self.ofa_layers)

    def set_net_config(self, config: Mapping[str, Any] | None) -> None:
        """Run one sub-network from now on; None draws again.

        Args:
            config: ``{layer: {"expand_ratio": 0.5, "kernel_size": 3}}`` and ``depth``, with names
                as in ``ofa_layers`` or ``layers``. What it leaves out is at its largest, or as wide
                as what it is tied to. It is copied.

        Raises:
            InputError: if it is not of this network.
        """
        if config is not None:
            self._joined.space.complete(config)  # raises before anything is changed
        # Kept as given: what is tied to it may be found later.
        self._net_config = copy.deepcopy(None if config is None else dict(config))

    def sample_config(self, sample_type: str = "random") -> Config:
        """Give a configuration of the tasks that are open now, without setting it.

        Args:
            sample_type: ``random``, ``largest`` or ``smallest``.

        Raises:
            InputError: if it is none of them, or which layers are joined is not known yet.
        """
        if sample_type != "largest":
            self._learn_joined("sample_config")
        return self._sample(self._joined.space, self._generator, sample_type)

    def trace(self, *inputs: Any, **kwargs: Any) -> None:
        """Find which layers share or lose their choice of width, from the network's own program.

        The first forward that draws, or has a narrower layer, does it with its own inputs. Training
        that cannot be traced is left out, with a warning.

        Args:
            inputs: of the network's forward; tensors or ``paddle.static.InputSpec``.
            kwargs: likewise.

        Raises:
            InputError: if the network cannot be traced with them.
        """
        joined = self._joined.traced(bare(self.model), inputs, kwargs, for_training=True)
        joined.space.complete(self._net_config or {})  # raises before anything is changed
        # What ran before need not be of the space as it is known now.
        self._joined, self._ran = joined, None

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the sub-network that is next.

        Args:
            inputs: of the network's forward.
            kwargs: likewise.

        Returns:
            What the network returns; with a teacher, that and what the teacher returns.

        Raises:
            InputError: if a configuration was set before it was known which layers are joined, and
                does not fit them; or if that cannot be found with these inputs.
        """
        generator = copy.deepcopy(self._generator)
        chosen, joined = self._chosen_config(), self._joined
        if not joined.is_enough(chosen, training=self.training):
            joined = self._traced_now(inputs, kwargs)
        if chosen is None:
            config = self._sample(joined.space, generator)
        else:
            config = joined.space.complete(chosen)
        at_depth = {**kwargs, DEPTH: config[DEPTH]} if DEPTH in config else kwargs
        with not_tracing():
            answer = self._distillation.ask(inputs, kwargs)
            with running(sizes=joined.space.sizes(config)):
                mapped = tuple(self._distillation.ops)
                outputs, output = outputs_of(self.model, mapped, inputs, at_depth)

        if self.training:
            self._progress = self._progress.after_forward(self.run_config, self.elastic_order)
        self._joined, self._generator, self._ran = joined, generator, config
        self._example = (inputs, dict(kwargs))
        self._distillation = self._distillation.comparing(outputs, answer)
        return output if answer is None else (output, answer.output)

    # What it learns, what it becomes

    def calc_distill_loss(self, token_mask: paddle.Tensor | None = None) -> paddle.Tensor:
        """Compare the mapped layers of the last forward with the teacher's.

        The sum over ``mapping_layers`` that ran, times ``lambda_distill``.

        Args:
            token_mask: ``[batch, seq_len]``, 0 for padding, which then counts in no loss.

        Raises:
            InputError: if there is no teacher or no mapped layer, or nothing ran yet.
        """
        return self._distillation.loss(self.distill_config, token_mask)

    def search(
        self,
        eval_func: Callable[[OFA, Config], float],
        condition: Any = None,
        **options: Any,
    ) -> tuple[Config, float]:
        """Search for the best sub-network by evolution; see ``search.evolutionary_search``.

        Args:
            eval_func: ``(ofa, config) -> score``, larger is better; ``config`` is set when called.
            condition: ``config -> bool``, or a budget of ``ofa_bert.ofa.budget``; None: all.
            options: of ``evolutionary_search``: ``seed``, ``population`` and so on.

        Returns:
            The best configuration and its score. What was set before is set again.

        Raises:
            InputError: if which layers are joined is not known yet, or nothing meets the condition.
        """
        self._learn_joined("search")
        for name, function in (("eval_func", eval_func), ("condition", condition)):
            require(
                callable(function) or (function is None and name == "condition"),
                f"{name} must be a function; got {function!r}",
            )
        before = self._net_config

        def evaluate(config: Config) -> float:
            self.set_net_config(config)
            return eval_func(self, self.get_current_config)

        try:
            config, score = evolutionary_search(self.ofa_layers, evaluate, condition, **options)
        finally:
            self._net_config = before
        return self._joined.space.complete(config), score

    def export(self, *args: Any, **kwargs: Any) -> nn.Layer:
        """Give a sub-network as a plain network, in eval mode; this object stays as it is.

        In the order of the published code, ``export(config, input_shapes, input_dtypes,
        origin_model=None, load_weights_from_supernet=True)``, or of its documents,
        ``export(origin_model, config, input_shapes, input_dtypes, ...)``; see ``ExportArguments``.

        Returns:
            ``origin_model``, cut in place, or else a network of its own. At a configuration with a
            ``depth``, that network within an ``AtDepth``.

        Raises:
            InputError: if an argument is wrong, or no inputs are known; or if which layers are
                joined was not known yet and cannot be found with them.
        """
        asked = export_arguments(args, kwargs)
        inputs, named = asked.inputs(self._example)
        network = bare(self.model)
        space = self._joined.evaluated_space(asked.config, network, inputs, named)
        return exported(network, space, asked, inputs, named)

    # Configurations as lists of numbers, for searches from elsewhere

    def tokenize(self) -> None:
        """Number the open choices: see ``token_map`` and ``search_cands``."""
        self._tokens = tokens_of(self.ofa_layers, self._stage_now())

    @property
    def token_map(self) -> dict[str, dict[str, dict[int, Any]]]:
        """``{kind: {layer: {number: value}}}`` of the last ``tokenize``."""
        return self._tokens.token_map

    @property
    def search_cands(self) -> list[list[int]]:
        """The numbers that each place of a token list may hold."""
        return self._tokens.search_cands

    def decode_token(self, token: Sequence[int]) -> Config:
        """Set the configuration that a list of numbers stands for, and give it.

        Raises:
            InputError: if it is not as ``search_cands`` says.
        """
        self.set_net_config(decode(self._tokens, token))
        return self.get_current_config

    # Within

    def _stage_now(self) -> schedule.Stage:
        return self._progress.stage_now(self.run_config, self.elastic_order)

    def _chosen_config(self) -> Config | None:
        """Give the configuration that runs next, or None if one is drawn."""
        if self._net_config is not None:
            return self._net_config
        if self.train_full:
            return {}
        return None if self.training else self._ran or {}

    def _sample(
        self, space: SearchSpace, generator: np.random.Generator, sample_type: str = "random"
    ) -> Config:
        choices = schedule.open_choices(space.free(), self._stage_now())
        return space.complete(schedule.sample(choices, sample_type, generator))

    def _learn_joined(self, who: str) -> None:
        """Find which layers are joined, if any may get narrower, with what ran last.

        Raises:
            InputError: if nothing ran yet, or the network cannot be traced with it.
        """
        if self._joined.is_enough(None, training=self.training):
            return
        if self._example is None:
            raise InputError(
                f"{who} must know which layers are joined; run the network once or call "
                "ofa.trace(x)"
            )
        self._joined, self._ran = self._traced_now(*self._example), None  # as in ``trace``

    def _traced_now(self, inputs: Any, named: Mapping[str, Any]) -> Joined:
        return self._joined.traced(bare(self.model), inputs, named, for_training=self.training)


def _check_arguments(model: Any, run: Any, distill: Any) -> None:
    for argument, kind in ((model, nn.Layer), (run, RunConfig), (distill, DistillConfig)):
        require(
            isinstance(argument, kind) or argument is distill is None,
            "OFA takes a network, a RunConfig and a DistillConfig; "
            f"got a {type(argument).__name__} instead of a {kind.__name__}",
        )
    check_not_compiled(model)
    require(
        any(isinstance(layer, BaseBlock) for layer in model.sublayers()),
        f"{type(bare(model)).__name__} has no elastic layer; convert it first: "
        "Convert(supernet(expand_ratio=[0.5, 1.0])).convert(model)",
    )
