"""Every setting of a run, as frozen dataclasses with their rules.

A field made by ``setting`` is also a command-line flag and a YAML key of the same name; see
``arguments.py``. Building a config touches no disk and no device, and imports no paddle.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ofa_bert.errors import nearest
from ofa_bert.model_config import MODEL_TYPES
from ofa_bert.rules import check_path, require
from ofa_bert.widths import check_width, parse_width, width_label

LARGEST = 3.4e38
"""What a float32 holds; where the network is trained, a larger number is infinite."""
MAX_EPOCHS = 1e9
DEVICE_FORMS = ("cpu", "gpu", "gpu:N", "xpu", "xpu:N")


def setting(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: tuple[str, ...] | None = None,
    parse: Callable[[str], Any] | None = None,
    const: Any = None,
) -> Any:
    """Declare a dataclass field that is also a flag; ``const`` is its value when bare."""
    metadata = {"help": help, "choices": choices, "parse": parse, "const": const}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class SourceConfig:
    """Which network to start from."""

    model_name_or_path: str = setting(
        help="directory of a BERT (ours, PaddleNLP's or Hugging Face's) or a hub name: for "
        "finetune any, for run_glue_ofa.py a fine-tuned one, for export_model.py a supernet"
    )
    model_type: str = setting("bert", help=f"kind of network: {', '.join(MODEL_TYPES)}")

    def __post_init__(self) -> None:
        check_path("model_name_or_path", self.model_name_or_path)
        require(
            self.model_type.lower() in MODEL_TYPES,
            f"model_type {self.model_type!r} is unknown; {nearest(self.model_type, MODEL_TYPES)}",
        )


@dataclass(frozen=True)
class DataConfig:
    """Which labelled texts to read, and how."""

    task_name: str = setting(
        "custom", help="a GLUE task in any case (SST-2, QQP, ...), or a name for your own files"
    )
    data_dir: str | None = setting(None, help="directory with the task's original tsv files")
    train_file: str | None = setting(None, help="your own training file: tsv, csv or jsonl")
    dev_file: str | None = setting(None, help="your own development file: tsv, csv or jsonl")
    text_columns: tuple[str, ...] = setting(
        (), help="names (or 0-based numbers, without header) of one or two text columns"
    )
    label_column: str | None = setting(
        None,
        help="name (or number) of the label column; numbers, one of them with a fraction, make a "
        "regression of your own files, else each label is a class, whole numbers too",
    )
    max_seq_length: int = setting(128, help="longest sequence in tokens; longer texts are cut")
    max_train_examples: int = setting(-1, help="use only the first so many training rows; -1: all")
    skip_bad_rows: bool = setting(False, help="count and skip malformed rows instead of stopping")

    def __post_init__(self) -> None:
        for name in ("data_dir", "train_file", "dev_file"):
            if getattr(self, name) is not None:
                check_path(name, getattr(self, name))
        require(
            self.max_seq_length >= 3,
            f"max_seq_length must be at least 3 tokens; got {self.max_seq_length}",
        )
        require(
            len(self.text_columns) <= 2,
            f"text_columns must name one or two columns; got {list(self.text_columns)}",
        )
        require(
            self.max_train_examples == -1 or self.max_train_examples >= 1,
            f"max_train_examples must be at least 1, or -1 for all; got {self.max_train_examples}",
        )


@dataclass(frozen=True)
class TrainConfig:
    """How the one training loop runs."""

    batch_size: int = setting(8, help="examples per device and forward")
    learning_rate: float = setting(5e-5, help="peak learning rate of AdamW")
    num_train_epochs: float = setting(3.0, help="passes over the training rows")
    max_steps: int = setting(-1, help="stop after so many optimizer steps; -1: use the epochs")
    warmup_steps: int = setting(0, help="optimizer steps of linear warm-up")
    warmup_ratio: float = setting(
        0.0, help="warm-up as a fraction of all steps, if warmup_steps is 0"
    )
    weight_decay: float = setting(0.0, help="decoupled decay of weights, not of biases and norms")
    adam_epsilon: float = setting(1e-8, help="epsilon of AdamW")
    max_grad_norm: float = setting(1.0, help="clip the summed gradient to this norm; 0: never")
    dropout: float | None = setting(
        None, help="rate of every dropout while training; default: the checkpoint's"
    )
    gradient_accumulation_steps: int = setting(1, help="batches per optimizer step")
    logging_steps: int = setting(
        500, help="write a line of metrics every so many steps, and at the end"
    )
    save_steps: int = setting(500, help="evaluate and save every so many steps")
    seed: int = setting(42, help="seed of data order, dropout and fresh weights")
    precision: str = setting(
        "fp32",
        help="of the student's matrix products; bf16 needs a GPU, teacher and losses stay in fp32",
        choices=("fp32", "bf16"),
    )

    def __post_init__(self) -> None:
        for name in ("batch_size", "gradient_accumulation_steps", "logging_steps", "save_steps"):
            require(
                getattr(self, name) >= 1, f"{name} must be at least 1; got {getattr(self, name)}"
            )
        for name in ("learning_rate", "num_train_epochs", "adam_epsilon"):
            require(getattr(self, name) > 0, f"{name} must be above 0; got {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay", "max_grad_norm", "seed"):
            require(
                getattr(self, name) >= 0, f"{name} must not be negative; got {getattr(self, name)}"
            )
        for name in ("learning_rate", "adam_epsilon", "weight_decay"):
            _check_finite(name, getattr(self, name))
        _check_finite("max_grad_norm", self.max_grad_norm, "; type 0 to clip never")
        require(
            self.num_train_epochs <= MAX_EPOCHS,
            f"num_train_epochs must be at most {MAX_EPOCHS:g}; got {self.num_train_epochs:g}",
        )
        require(
            0.0 <= self.warmup_ratio < 1.0,
            f"warmup_ratio must be at least 0 and below 1; got {self.warmup_ratio}",
        )
        require(
            self.dropout is None or 0.0 <= self.dropout < 1.0,
            f"dropout must be at least 0 and below 1; got {self.dropout}",
        )
        require(
            self.max_steps == -1 or self.max_steps >= 1,
            f"max_steps must be at least 1, or -1 to use num_train_epochs; got {self.max_steps}",
        )


@dataclass(frozen=True)
class ObjectiveConfig:
    """How hard the teacher pulls (DynaBERT, arXiv:2004.04037 §2.1), and how hard the labels."""

    lambda_logit: float = setting(1.0, help="weight of the loss on the logits")
    lambda_rep: float = setting(0.1, help="weight of the loss on embeddings and hidden states")
    lambda_label: float = setting(0.0, help="weight of the loss on the labels")
    teacher_cache: str = setting(
        "none",
        help="keep the teacher's answers instead of asking at every step: none; logits (needs "
        "lambda_rep 0); memory; disk (also for later runs)",
        choices=("none", "logits", "memory", "disk"),
    )

    def __post_init__(self) -> None:
        for name in ("lambda_logit", "lambda_rep", "lambda_label"):
            require(
                getattr(self, name) >= 0, f"{name} must not be negative; got {getattr(self, name)}"
            )
            _check_finite(name, getattr(self, name))
        require(
            self.lambda_logit + self.lambda_rep + self.lambda_label > 0,
            "lambda_logit, lambda_rep and lambda_label must not all be 0; "
            "there would be nothing to learn",
        )
        require(
            self.teacher_cache != "logits" or not self.lambda_rep,
            "teacher_cache logits keeps no hidden states, which lambda_rep "
            f"{self.lambda_rep} asks for; pass --teacher_cache memory or --lambda_rep 0",
        )


@dataclass(frozen=True)
class SupernetConfig:
    """Which widths to train, and from which examples importance is scored."""

    width_mult_list: tuple[float, ...] = setting(
        (1.0, 5 / 6, 2 / 3, 0.5),
        help="widths to train: 1.0 and others, as decimals or fractions (5/6)",
        parse=parse_width,
    )
    importance_split: str = setting(
        "train", help="rows that score importance: train or dev", choices=("train", "dev")
    )
    importance_examples: int = setting(
        1024, help="how many of those rows, at even distances; -1: all"
    )
    schedule: str = setting(
        "all",
        help="widths of each step: all; sandwich (widest, narrowest, one other); "
        "random-K (K of them)",
    )

    def __post_init__(self) -> None:
        widths = self.width_mult_list
        check_schedule(self.schedule, len(widths))
        for width_mult in widths:
            check_width(width_mult)
        require(
            1.0 in widths,
            f"width_mult_list must contain 1.0, the full supernet; got {list(widths)}; "
            "type e.g. --width_mult_list 1.0 2/3 1/2",
        )
        require(
            self.importance_examples == -1 or self.importance_examples >= 1,
            f"importance_examples must be at least 1, or -1; got {self.importance_examples}",
        )


def _check_finite(name: str, value: float, hint: str = "") -> None:
    require(value <= LARGEST, f"{name} must be finite, at most {LARGEST:g}; got {value:g}{hint}")


def check_schedule(schedule: str, num_widths: int) -> None:
    """Raise ``InputError`` unless ``schedule`` can choose among so many widths."""
    count = random_count(schedule)
    require(
        schedule in ("all", "sandwich") or 1 <= count <= num_widths,
        f"schedule must be all, sandwich or random-K with K from 1 to {num_widths}, the widths "
        f"there are; got {schedule!r}",
    )


def random_count(schedule: str) -> int:
    """Read K of ``random-K``; 0 where ``schedule`` is not of that form."""
    word, _, count = schedule.partition("-")
    return int(count) if word == "random" and count.isascii() and count.isdigit() else 0


@dataclass(frozen=True)
class DeviceConfig:
    """Where to compute."""

    n_gpu: int | None = setting(
        None, help="GPUs to use, 0 for the CPU; default: 1 where there is one, else 0"
    )
    device: str | None = setting(None, help=f"{', '.join(DEVICE_FORMS)}; wins over n_gpu")
    math_library: str = setting(
        "auto",
        help="auto: the fast kernels of the CPU's math library; default: its own choice",
        choices=("auto", "default"),
    )
    log_level: str = setting(
        "info", help="how much to say; debug adds tracebacks", choices=("debug", "info", "warning")
    )

    def __post_init__(self) -> None:
        require(
            self.n_gpu is None or self.n_gpu >= 0, f"n_gpu must not be negative; got {self.n_gpu}"
        )
        if self.device is not None:
            require(
                re.fullmatch(r"cpu|(gpu|xpu)(:[0-9]+)?", self.device) is not None,
                f"device must be one of {', '.join(DEVICE_FORMS)}; got {self.device!r}",
            )


@dataclass(frozen=True)
class OutputConfig:
    """Where a training run writes."""

    output_dir: str = setting(help="directory for the result")
    overwrite_output_dir: bool = setting(False, help="replace a finished run that stands there")
    resume: str | None = setting(
        None, help="continue the run in output_dir from its newest checkpoint (auto)", const="auto"
    )
    keep_checkpoints: int = setting(
        2, help="how many of the newest checkpoints to keep, besides the best"
    )

    def __post_init__(self) -> None:
        check_path("output_dir", self.output_dir)
        require(
            self.keep_checkpoints >= 1,
            f"keep_checkpoints must be at least 1; got {self.keep_checkpoints}",
        )
        require(
            self.resume in (None, "auto"),
            f"resume takes no value or 'auto'; got {self.resume!r}",
        )
        require(
            not (self.resume and self.overwrite_output_dir),
            "resume and overwrite_output_dir must not both be given; leave out --resume to replace "
            "the run that stands there, or add --no-overwrite_output_dir to continue it",
        )


@dataclass(frozen=True)
class ExportConfig:
    """Which widths to cut out, and where to write them."""

    sub_model_output_dir: str = setting(help="directory for the plain smaller model")
    static_sub_model: str | None = setting(
        None, help="directory for the Paddle Inference graph; default: none is written"
    )
    width_mult: tuple[float, ...] = setting(
        (1.0,),
        help="widths to export; several go to folders of their own in the two directories",
        parse=parse_width,
    )
    all_widths: bool = setting(False, help="export every width the supernet was trained for")

    def __post_init__(self) -> None:
        check_path("sub_model_output_dir", self.sub_model_output_dir)
        if self.static_sub_model is not None:
            check_path("static_sub_model", self.static_sub_model)
        for width_mult in self.width_mult:
            check_width(width_mult)
        require(
            not self.all_widths or self.width_mult == (1.0,),
            "all_widths and width_mult must not both be given; "
            f"got width_mult {', '.join(map(width_label, self.width_mult))} too",
        )


COMMANDS_OF: dict[type, str] = {
    SupernetConfig: "run_glue_ofa.py",
    ObjectiveConfig: "run_glue_ofa.py",
    ExportConfig: "export_model.py",
    OutputConfig: "finetune and run_glue_ofa.py",
    TrainConfig: "finetune and run_glue_ofa.py",
    SourceConfig: "finetune, run_glue_ofa.py, evaluate and export_model.py",
    DataConfig: "finetune, run_glue_ofa.py, evaluate and export_model.py",
    DeviceConfig: "finetune, run_glue_ofa.py, evaluate and export_model.py",
}
"""Commands with the settings of each group, for a key that stands in the file of another."""
