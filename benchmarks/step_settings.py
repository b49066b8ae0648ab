"""What the settings of ofa_bert/runtime.py do for a training step on this machine.

Times OFA steps of a MiniLM-shaped network with random weights (32 texts of 53 tokens, four widths,
dropout 0.1), each setting in processes of its own, in turn: A B C A B C. Prints medians and the
ratio to our settings.

    python benchmarks/step_settings.py [--steps 4] [--rounds 2]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

SETTINGS = {
    "ours": {},
    "strided views (paddle's default)": {"FLAGS_use_stride_kernel": "1"},
    "MKL's own choice of kernels": {"OFA_BENCHMARK_MATH_LIBRARY": "default"},
    "one thread (paddle's default)": {"MKL_NUM_THREADS": "1"},
}


def main() -> None:
    """Time every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(*step_seconds(options.steps))
        return
    seconds = {name: [] for name in SETTINGS}
    for _ in range(options.rounds):
        for name, environment in SETTINGS.items():
            seconds[name] += run_child(environment, options.steps)
    ours = statistics.median(seconds["ours"])
    print("| setting | median s a step | times ours |\n|---|---:|---:|")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {median / ours:.2f} |")


def run_child(environment: dict[str, str], steps: int) -> list[float]:
    """Time steps in a process of its own."""
    command = [sys.executable, __file__, "--child", "--steps", str(steps)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    return [float(word) for word in done.stdout.split()]


def step_seconds(steps: int) -> list[float]:
    """Time steps in this process."""
    from ofa_bert import runtime

    runtime.prepare(os.environ.get("OFA_BENCHMARK_MATH_LIBRARY", "auto"))
    import numpy as np

    import ofa_bert as ofa
    from ofa_bert.data.encoded import EncodedDataset
    from ofa_bert.nn.bert import init_weights
    from ofa_bert.optimizer import make_optimizer
    from ofa_bert.training import train_step

    config = ofa.ModelConfig(30522, 384, (12,) * 6, (1536,) * 6, 32)
    teacher, student = (ofa.BertForSequenceClassification(config) for _ in range(2))
    init_weights(teacher, 0)
    init_weights(student, 1)
    widths = ofa.resolve_widths(config, (1.0, 5 / 6, 2 / 3, 1 / 2))
    objective = ofa.DistillObjective(ofa.ObjectiveConfig(), regression=False)
    parts = ofa.Parts(ofa.width_student(student, widths), ofa.ModelTeacher(teacher), objective)
    rows, length = 32, 53
    generator = np.random.default_rng(0)
    dataset = EncodedDataset(
        input_ids=generator.integers(1, 30522, rows * length).astype("int32"),
        token_type_ids=np.zeros(rows * length, "int32"),
        offsets=np.arange(rows + 1) * length,
        labels=generator.integers(0, 2, rows),
    )
    (batches,) = ofa.training_steps(dataset, batch_size=rows, seed=0, epoch=0)
    training = ofa.TrainConfig(batch_size=rows)
    optimizer = make_optimizer(student, [], training)
    seconds = []
    for step in range(steps + 1):
        start = time.perf_counter()
        train_step(parts, batches, optimizer, training, step)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]  # the first warms up


if __name__ == "__main__":
    main()
