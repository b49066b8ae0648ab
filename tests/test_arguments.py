import dataclasses

import pytest

import export_model
import run_glue_ofa
from ofa_bert.arguments import build, flags_of, parse_args, resolved
from ofa_bert.commands import evaluate, finetune
from ofa_bert.config import COMMANDS_OF, ExportConfig, OutputConfig, SupernetConfig, TrainConfig
from ofa_bert.errors import InputError

GROUPS = (TrainConfig, SupernetConfig, OutputConfig)


def parse(*argv):
    return parse_args("prog", "What it does.", GROUPS, ["--output_dir", "o", *argv])


def test_flags_fill_their_dataclasses():
    train, supernet, output = parse(
        *"--batch_size 32 --learning_rate 2e-5 --width_mult_list 1.0 5/6 --resume".split()
    )
    assert (train.batch_size, train.learning_rate) == (32, 2e-5)
    assert supernet.width_mult_list == (1.0, 5 / 6)
    assert (output.output_dir, output.resume, output.overwrite_output_dir) == ("o", "auto", False)


def test_yaml_gives_values_that_flags_override(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("batch_size: 16\nlearning_rate: 2e-5\nwidth_mult_list: [1.0, 1/2]\n")
    train, supernet, _ = parse("--config", str(path), "--batch_size", "4")
    assert (train.batch_size, train.learning_rate) == (4, 2e-5)
    assert supernet.width_mult_list == (1.0, 0.5)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batchsize", "3"], "unknown argument '--batchsize'; did you mean --batch_size"),
        (["stray"], "unknown argument 'stray'; type prog --help"),
        (["--batch_size", "many"], "batch_size: invalid int value: 'many'"),
        (["--seed", "9223372036854775808"], r"--seed: must be from .* 9223372036854775807; got '9"),
        (["--seed", "-9223372036854775808"], r"--seed: must be from -9223372036854775807 to .*'-9"),
        (["--seed", "9" * 5000], r"--seed: invalid int value: '9+\.\.\.9+'"),
        (["--importance_split", "tset"], "importance_split: invalid choice"),
        (["--batch_size", "0"], "batch_size must be at least 1; got 0"),
        (["--config", "missing.yaml"], "config missing.yaml cannot be read"),
        (["--config", ""], r"config \. must be a file"),
    ],
)
def test_mistakes_on_the_command_line(argv, message):
    with pytest.raises(InputError, match=message):
        parse(*argv)


def test_a_missing_required_flag_is_named():
    with pytest.raises(InputError, match="missing --output_dir"):
        parse_args("prog", "", GROUPS, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_sise: 3", "unknown key 'batch_sise'; did you mean 'batch_size'"),
        ("batch_size: three", "batch_size must be one int; got 'three'"),
        ("batch_size: 2.5", "batch_size must be one int; got 2.5"),
        ("batch_size: true", "batch_size must be one int; got True"),
        ("width_mult_list: 0.5", r"width_mult_list must be a list of float; got 0.5; type \[0.5\]"),
        ("width_mult_list: 1.0 0.5", r"got '1.0 0.5'; type \[1.0, 0.5\]$"),
        ("width_mult_list: 1.0, 1/2", r"got '1.0, 1/2'; type \[1.0, 1/2\]$"),
        ("resume: true", "resume must be one str; got True; type auto, or leave it out$"),
        ("lambda_rep: 1", "unknown key 'lambda_rep'; it is a setting of run_glue_ofa.py, not of "),
        ("all_widths: true", "unknown key 'all_widths'; it is a setting of export_model.py, not"),
        ("overwrite_output_dir: 1", "overwrite_output_dir must be one bool; got 1"),
        ("importance_split: tset", "importance_split must be one of train, dev"),
        ("- a", "must hold lines of 'name: value'"),
        ("a: [", "cannot be read"),
    ],
)
def test_mistakes_in_yaml(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        parse("--config", str(path))


def test_a_setting_of_another_command_may_be_a_near_one_here(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("width_mult_list: [0.5]")
    argv = ["--sub_model_output_dir", "x", "--config", str(path)]
    message = "it is a setting of run_glue_ofa.py, not of this command; did you mean 'width_mult'"
    with pytest.raises(InputError, match=message):
        parse_args("prog", "", [ExportConfig], argv)


def test_help_groups_the_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "How the one training loop runs" in shown
    assert "peak learning rate of AdamW (default: 5e-05)" in shown


def test_help_tells_every_default_but_nothing_empty_and_no(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "optimizer steps of linear warm-up (default: 0)" in shown
    assert "not of biases and norms (default: 0.0)" in shown
    assert "run that stands there --resume" in shown
    assert "newest checkpoint (auto) --keep" in shown


def test_help_says_which_defaults_a_run_gives(capsys):
    with pytest.raises(SystemExit):
        parse_args("prog", "", GROUPS, ["--help"], remembered=[TrainConfig])
    shown = " ".join(capsys.readouterr().out.split())
    assert "peak learning rate of AdamW (default: the run's)" in shown
    assert "besides the best (default: 2)" in shown


def test_every_group_of_a_command_says_whose_it_is():
    settings = {name for group in COMMANDS_OF for name in flags_of(group)}
    for module in (run_glue_ofa, export_model, evaluate, finetune):
        assert settings.issuperset(name for group in module.GROUPS for name in flags_of(group))
        name = module.__name__.rpartition(".")[2]
        assert all(name in COMMANDS_OF[group] for group in module.GROUPS)


def test_resolved_settings_build_the_same_configs():
    configs = [TrainConfig(batch_size=3), SupernetConfig((1.0, 0.3)), OutputConfig("o")]
    values = resolved(configs)
    values["width_mult_list"] = tuple(values["width_mult_list"])
    assert build(GROUPS, values) == configs


def test_no_flag_stands_in_two_groups():
    # parse_args gives each its own dataclass by name.
    names = [f.name for group in GROUPS for f in dataclasses.fields(group)]
    assert len(names) == len(set(names))
