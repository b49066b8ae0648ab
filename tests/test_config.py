import pytest

from ofa_bert.commands.demo import DemoConfig
from ofa_bert.commands.predict import PredictConfig
from ofa_bert.commands.rerun import RerunConfig
from ofa_bert.config import (
    DataConfig,
    DeviceConfig,
    ExportConfig,
    ObjectiveConfig,
    OutputConfig,
    SourceConfig,
    SupernetConfig,
    TrainConfig,
)
from ofa_bert.errors import InputError
from ofa_bert.model_config import ModelConfig

INF = float("inf")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ModelConfig(9, 8, (2,), (16, 16), 4), "must name every layer once"),
        (lambda: ModelConfig(9, 8, (0,), (16,), 4), "num_attention_heads must be at least 1"),
        (lambda: ModelConfig(9, 8, (2,), (16,), 4, hidden_act="gleu"), "did you mean 'gelu'"),
        (lambda: ModelConfig(9, 8, (2,), (16,), 4, labels=("a",)), "labels must name each"),
        (lambda: SourceConfig("x", model_type="brt"), "model_type 'brt' .*did you mean 'bert'"),
        (lambda: DataConfig(max_seq_length=2), "max_seq_length must be at least 3 tokens; got 2"),
        (lambda: DataConfig(text_columns=("a", "b", "c")), "must name one or two columns"),
        (lambda: DataConfig(max_train_examples=0), "max_train_examples must be at least 1"),
        (lambda: TrainConfig(batch_size=0), "batch_size must be at least 1; got 0"),
        (lambda: TrainConfig(learning_rate=0.0), "learning_rate must be above 0"),
        (lambda: TrainConfig(weight_decay=-1.0), "weight_decay must not be negative"),
        (lambda: TrainConfig(learning_rate=INF), r"learning_rate must be finite, .*; got inf"),
        (lambda: TrainConfig(adam_epsilon=INF), "adam_epsilon must be finite"),
        (lambda: TrainConfig(weight_decay=INF), "weight_decay must be finite"),
        (lambda: TrainConfig(max_grad_norm=INF), "max_grad_norm .*; got inf; type 0 to clip never"),
        # The largest float32 is (2 - 2**-23) * 2**127 = 3.4028e38.
        (lambda: TrainConfig(max_grad_norm=3.41e38), r"max_grad_norm must .*; got 3\.41e\+38"),
        (lambda: TrainConfig(num_train_epochs=INF), r"num_train_epochs .* 1e\+09; got inf"),
        (lambda: TrainConfig(num_train_epochs=1e308), "num_train_epochs must be at most"),
        (lambda: ObjectiveConfig(lambda_rep=INF), "lambda_rep must be finite"),
        (lambda: ObjectiveConfig(lambda_label=float("nan")), "lambda_label must not be negative"),
        (lambda: TrainConfig(warmup_ratio=1.0), "warmup_ratio must be at least 0 and below 1"),
        (lambda: TrainConfig(dropout=1.0), "dropout must be at least 0 and below 1; got 1.0"),
        (lambda: TrainConfig(dropout=-0.1), "dropout must be at least 0 and below 1; got -0.1"),
        (lambda: TrainConfig(max_steps=0), "max_steps must be at least 1, or -1"),
        (lambda: ObjectiveConfig(0.0, 0.0), "must not all be 0"),
        (lambda: SupernetConfig((0.5,)), "width_mult_list must contain 1.0"),
        (lambda: SupernetConfig((1.0, 1.5)), "width_mult must be above 0 and at most 1"),
        (lambda: SupernetConfig(importance_examples=0), "importance_examples must be"),
        (lambda: DeviceConfig(n_gpu=-1), "n_gpu must not be negative"),
        (lambda: DeviceConfig(device="tpu"), "device must be one of cpu, gpu"),
        (lambda: DeviceConfig(device="cpu:0"), r"one of cpu, gpu, gpu:N, .*; got 'cpu:0'"),
        (lambda: DeviceConfig(device="gpu:"), "device must be one of cpu, gpu"),
        (lambda: DeviceConfig(device="gpu:²"), "device must be one of cpu, gpu"),
        (lambda: OutputConfig("x", resume="yes"), "resume takes no value or 'auto'"),
        (lambda: OutputConfig("x", keep_checkpoints=0), "keep_checkpoints must be at least 1; got"),
        (
            lambda: OutputConfig("x", True, "auto"),
            "resume and overwrite_output_dir must not both be given; leave out --resume to replace "
            "the run that stands there, or add --no-overwrite_output_dir to continue it",
        ),
        (lambda: SourceConfig(""), "model_name_or_path must not be empty; is the shell variable"),
        (lambda: DataConfig(data_dir=""), "data_dir must not be empty; is the shell variable set?"),
        (lambda: DataConfig(train_file=""), "train_file must not be empty"),
        (lambda: DataConfig(dev_file="caf\udce9"), r"dev_file must be UTF-8, .*; got 'caf\\udce9'"),
        (lambda: OutputConfig(""), "output_dir must not be empty; is the shell variable set?"),
        (lambda: OutputConfig("\udce9/o"), "output_dir must be UTF-8, in which the settings are"),
        (lambda: ExportConfig(""), "sub_model_output_dir must not be empty"),
        (lambda: ExportConfig("x", ""), "static_sub_model must not be empty"),
        (lambda: PredictConfig(""), "model must not be empty; is the shell variable set?"),
        (lambda: PredictConfig("x", ""), "input must not be empty"),
        (lambda: DemoConfig(""), "output_dir must not be empty"),
        (lambda: RerunConfig(""), "output_dir must not be empty"),
        (
            lambda: ExportConfig("x", width_mult=(0.3,), all_widths=True),
            "all_widths and width_mult must not both be given; got width_mult 0.3 too",
        ),
    ],
)
def test_broken_rules_are_named(build, message):
    with pytest.raises(InputError, match=message):
        build()


@pytest.mark.parametrize("device", ["cpu", "gpu", "gpu:12", "xpu", "xpu:0"])
def test_devices(device):
    assert DeviceConfig(device=device).device == device
