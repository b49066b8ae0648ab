"""ofa_bert: train one supernet, ship every width.

Importing it sets threads and math library for paddle, unless ``OFA_BERT_PREPARE=0`` (see
``runtime``). The public names live in the modules below and are imported on first use, because
importing paddle takes seconds.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from ofa_bert import runtime

__version__ = "0.1.0"

_HOME = {
    "ofa_bert.config": (
        "DataConfig",
        "ObjectiveConfig",
        "OutputConfig",
        "SourceConfig",
        "SupernetConfig",
        "TrainConfig",
    ),
    "ofa_bert.errors": ("InputError",),
    "ofa_bert.model_config": ("ModelConfig",),
    "ofa_bert.subnet": (
        "Subnet",
        "count_macs",
        "count_params",
        "full_subnet",
        "resolve_widths",
        "subnet_at_width",
    ),
    "ofa_bert.nn.bert": ("BertForSequenceClassification", "ModelOutput"),
    "ofa_bert.checkpoint.load": ("load_model",),
    "ofa_bert.checkpoint.save": ("save_model",),
    "ofa_bert.data.batches": ("Batch", "evaluation_batches", "training_steps"),
    "ofa_bert.data.tokenizer": ("Tokenizer", "load_tokenizer"),
    "ofa_bert.task": (
        "EncodedTask",
        "encode_task",
        "fingerprints",
        "importance_rows",
        "load_model_and_task",
        "warn_of_poor_teacher",
    ),
    "ofa_bert.precision": ("check_training_precision",),
    "ofa_bert.run_folder": ("RunFolder", "check_output", "open_run_folder"),
    "ofa_bert.importance": ("Importance", "score_importance"),
    "ofa_bert.run_importance": ("score_importance_once",),
    "ofa_bert.reordering": ("Permutation", "importance_order", "reorder"),
    "ofa_bert.supernet": (
        "Supernet",
        "is_supernet",
        "load_supernet",
        "make_supernet",
        "save_supernet",
        "trained_widths",
    ),
    "ofa_bert.scores": ("Best", "Scores", "format_metrics"),
    "ofa_bert.results": (
        "format_schedule",
        "format_widths",
        "report_widths",
        "rows_as_dicts",
        "training_results",
    ),
    "ofa_bert.report": ("ReportRow", "format_table"),
    "ofa_bert.export.export": ("ExportResult", "export_width"),
    "ofa_bert.export.source": ("card_facts", "export_places", "parity_rows", "widths_to_export"),
    "ofa_bert.distill.objective": ("DistillObjective", "LabelObjective"),
    "ofa_bert.distill.student": ("SubnetStudent", "named_widths", "width_student"),
    "ofa_bert.distill.recorded": ("make_teacher",),
    "ofa_bert.distill.teacher": ("ModelTeacher", "NoTeacher"),
    "ofa_bert.training": ("Parts", "plan_training", "train"),
    "ofa_bert.evaluate": ("evaluate_model", "evaluate_subnets", "predict_logits"),
    "ofa_bert.extraction": ("extract",),
    "ofa_bert.export.static": ("export_static",),
    "ofa_bert.predictor": ("Prediction", "Predictor"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)

if os.environ.get(runtime.PREPARE) != "0":
    runtime.prepare()


def __getattr__(name: str) -> Any:
    """Import a public name's module when it is first asked for (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ofa_bert' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
