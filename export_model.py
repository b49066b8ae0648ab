"""Cut widths out of a supernet: each a plain smaller model and a Paddle Inference graph."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import ofa_bert as ofa
from ofa_bert.arguments import parse_args
from ofa_bert.command import run_on_one_device, run_script
from ofa_bert.config import DataConfig, DeviceConfig, ExportConfig, SourceConfig
from ofa_bert.remembered import data_settings
from ofa_bert.widths import width_label

logger = logging.getLogger("export_model")

GROUPS = (SourceConfig, ExportConfig, DataConfig, DeviceConfig)


def main(argv: Sequence[str]) -> int:
    """Read the command line and run on the device it names.

    The texts that parity is checked on are those the supernet was trained for, unless flags say
    otherwise.
    """
    name, about = "export_model.py", __doc__ or ""
    source, _, typed, _ = parse_args(name, about, GROUPS, argv, remembered=[DataConfig])
    defaults = data_settings(source.model_name_or_path, typed)
    configs = parse_args(name, about, GROUPS, argv, defaults)
    required = typed.data_dir is not None or typed.dev_file is not None
    return run_on_one_device(configs[-1], lambda: export(configs, required))


def export(configs: Sequence[Any], rows_required: bool) -> None:
    """Cut out each width, save it, and check what was saved; rows that were typed must be there."""
    source, wanted, data, _ = configs
    supernet = ofa.load_supernet(source.model_name_or_path)
    tokenizer = ofa.load_tokenizer(source.model_name_or_path)
    places = ofa.export_places(wanted, ofa.widths_to_export(supernet, wanted))
    config = supernet.model.config
    rows, rows_are = ofa.parity_rows(data, config, tokenizer, required=rows_required)
    for width_mult, (sub_model_dir, static_dir) in places.items():
        subnet = supernet.subnet(width_mult)
        result = ofa.export_width(
            supernet.model,
            width_mult,
            subnet,
            tokenizer,
            sub_model_dir=sub_model_dir,
            static_dir=static_dir,
            max_seq_length=data.max_seq_length,
            parity_inputs=rows,
            rows_are=rows_are,
            facts=ofa.card_facts(source.model_name_or_path, subnet),
        )
        print(f"width {width_label(width_mult)}: {result.sub_model_dir}")  # noqa: T201
        print(result.parity)  # noqa: T201


if __name__ == "__main__":
    run_script(main)
