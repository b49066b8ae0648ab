"""Once-for-all on real pixels: scikit-learn's digits, from training to an exported sub-network.

A small residual network is trained on 1,000 of the 1,797 handwritten digits (8 x 8 pixels), then
shrunk as arXiv:1908.09791 §3.3 says: kernel size, depth, width, with the network it was as teacher.
A search on 297 digits looks for the best sub-network within a part of the full network's
multiply-accumulates; 500 digits that nothing saw before give every accuracy that is printed.

    python benchmarks/digits_ofa.py [--seed 0] [--macs 0.25]
"""

import argparse
import copy
import time

from ofa_bert.ofa import OFA, Convert, DistillConfig, RunConfig, supernet  # isort: skip
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.static import InputSpec
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ofa_bert.ofa.budget import count_macs, within_macs
from ofa_bert.ofa.calibrate import calibrate
from ofa_bert.ofa.trace import quiet_norms

BATCH_SIZE = 50
FULL_EPOCHS = 8
N_EPOCHS = [[4], [8], [12, 18]]
"""Ends of the phases: kernel 3 and 5; depth 1 and 2; width 0.75 and 1; width 0.5, 0.75 and 1."""
IMAGE = InputSpec([1, 1, 8, 8], "float32")


class Block(nn.Layer):
    """Two convolutions and what they were given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2D(width, width, 5, padding=2), nn.BatchNorm2D(width)
        self.conv2, self.norm2 = nn.Conv2D(width, width, 5, padding=2), nn.BatchNorm2D(width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Keep the shape ``[batch, width, height, width]``."""
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


class DigitsNet(nn.Layer):
    """A stem, two stages of up to two blocks, a classifier."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2D(1, width, 5, padding=2), nn.BatchNorm2D(width)
        self.stage1 = nn.LayerList([Block(width) for _ in range(2)])
        self.widen, self.widen_norm = nn.Conv2D(width, 2 * width, 1), nn.BatchNorm2D(2 * width)
        self.stage2 = nn.LayerList([Block(2 * width) for _ in range(2)])
        self.out = nn.Linear(2 * width, 10)

    def forward(self, x: paddle.Tensor, depth: int = 2) -> paddle.Tensor:
        """Map ``[batch, 1, 8, 8]`` to logits ``[batch, 10]`` through ``depth`` blocks a stage."""
        x = F.relu(self.norm(self.stem(x)))
        for block in self.stage1[:depth]:
            x = block(x)
        x = F.relu(self.widen_norm(self.widen(F.max_pool2d(x, 2))))
        for block in self.stage2[:depth]:
            x = block(x)
        return self.out(x.mean([2, 3]))


def digits(seed: int) -> dict[str, tuple[paddle.Tensor, paddle.Tensor]]:
    """Split the digits: 1,000 to train, 297 to search, 500 to report."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16 - 0.5).astype("float32").reshape(-1, 1, 8, 8)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=500, stratify=labels, random_state=seed
    )
    train, valid = train_test_split(rest, train_size=1000, stratify=labels[rest], random_state=seed)
    return {
        name: (paddle.to_tensor(images[rows]), paddle.to_tensor(labels[rows]))
        for name, rows in {"train": train, "valid": valid, "test": test}.items()
    }


def batches(data, generator):
    """Give the training digits once, in random order."""
    images, labels = data
    order = generator.permutation(len(labels))
    for start in range(0, len(order), BATCH_SIZE):
        rows = paddle.to_tensor(order[start : start + BATCH_SIZE])
        yield images[rows], labels[rows]


def accuracy(network, data) -> float:
    """Give the fraction of digits read right, in eval mode."""
    images, labels = data
    network.eval()
    with paddle.no_grad():
        logits = network(images)
    logits = logits[0] if isinstance(logits, tuple) else logits  # the teacher's are beside
    return (logits.argmax(-1) == labels).astype("float32").mean().item()


def decaying_adam(network, rate, epochs, num_images):
    """Give an optimizer whose rate falls to 0 over the epochs."""
    steps = epochs * -(-num_images // BATCH_SIZE)
    schedule = paddle.optimizer.lr.PolynomialDecay(rate, steps, end_lr=0.0)
    return paddle.optimizer.AdamW(schedule, parameters=network.parameters(), weight_decay=1e-2)


def step(optimizer) -> None:
    """Move the weights, and the learning rate."""
    optimizer.step()
    optimizer.clear_grad()
    optimizer._learning_rate.step()


def train_full(network, data, generator) -> None:
    """Train the network as it is, on the labels."""
    optimizer = decaying_adam(network, 2e-3, FULL_EPOCHS, len(data[1]))
    network.train()
    with quiet_norms():
        for _ in range(FULL_EPOCHS):
            for images, labels in batches(data, generator):
                F.cross_entropy(network(images), labels).backward()
                step(optimizer)


def train_epoch(ofa, data, generator, optimizer, per_batch: int) -> None:
    """Train as many drawn sub-networks on each batch, on the labels and on the teacher."""
    ofa.train()
    for images, labels in batches(data, generator):
        for _ in range(per_batch):
            logits, teacher_logits = ofa(images)
            soft = F.softmax(teacher_logits)
            loss = F.cross_entropy(logits, labels)
            loss += F.cross_entropy(logits, soft, soft_label=True)
            (loss / per_batch).backward()
        step(optimizer)


def smallest(space, tasks):
    """Give the configuration that is smallest in what ``tasks`` open and largest otherwise."""
    task_of = {"kernel_size": "kernel_size", "depth": "depth", "expand_ratio": "width"}

    def pick(kind, values):
        return min(values) if task_of[kind] in tasks else max(values)

    return {
        name: {kind: pick(kind, values) for kind, values in part.items()}
        if isinstance(part, dict)
        else pick(name, part)
        for name, part in space.items()
    }


def calibrated_accuracy(ofa, config, train, data) -> float:
    """Measure a sub-network with statistics of its own."""
    calibrate(ofa, config, [train[0]])
    ofa.set_net_config(config)
    found = accuracy(ofa, data)
    ofa.set_net_config(None)
    return found


def uncalibrated_accuracy(ofa, other, config, data) -> float:
    """Measure a sub-network with the statistics of another."""
    calibrate(ofa, other, [data["train"][0]])
    ofa.set_net_config(config)
    found = accuracy(ofa, data["test"])
    ofa.set_net_config(None)
    return found


def main() -> None:
    """Run all stages and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--macs", type=float, default=0.25, help="budget, of the full network's")
    options = parser.parse_args()
    start = time.perf_counter()
    paddle.seed(options.seed)
    np.random.seed(options.seed)  # ofa_bert.ofa draws its own generator's seed from NumPy's
    generator = np.random.default_rng(options.seed)
    data = digits(options.seed)

    network = DigitsNet()
    train_full(network, data["train"], generator)
    full_macs = count_macs(network, IMAGE)
    print("| stage | sub-network | accuracy | MACs |\n|---|---|---:|---:|")

    def row(stage, what, score, macs) -> None:
        print(f"| {stage} | {what} | {100 * score:.1f} % | {macs:,} |", flush=True)

    row("trained as one network", "full", accuracy(network, data["test"]), full_macs)
    teacher = copy.deepcopy(network)
    converted = Convert(supernet(kernel_size=[3, 5], expand_ratio=[0.5, 0.75, 1.0])).convert(
        network
    )
    schedule = RunConfig(n_epochs=N_EPOCHS, elastic_depth=[1, 2], dynamic_batch_size=[1, 1, 2])
    ofa = OFA(converted, schedule, DistillConfig(teacher_model=teacher))
    ofa.trace(IMAGE)
    optimizer = decaying_adam(ofa, 2e-3, N_EPOCHS[-1][-1], len(data["train"][1]))
    largest = smallest(ofa.ofa_layers, tasks=())

    def network_at(config):
        return ofa.export(config, [[1, 1, 8, 8]], ["float32"])

    def macs_at(config) -> int:
        return count_macs(network_at(config), IMAGE)

    def report(stage, tasks) -> None:
        of_tasks = smallest(ofa.ofa_layers, tasks)
        for what, config in (("largest", largest), (f"smallest {' and '.join(tasks)}", of_tasks)):
            score = calibrated_accuracy(ofa, config, data["train"], data["test"])
            row(stage, what, score, macs_at(config))

    report("before shrinking", ofa.elastic_order)
    ends = [task[-1] for task in N_EPOCHS]
    for epoch in range(ends[-1]):
        ofa.set_epoch(epoch)
        per_batch = schedule.dynamic_batch_size[len(ofa.task) - 1]
        train_epoch(ofa, data["train"], generator, optimizer, per_batch)
        if epoch + 1 in ends:
            report(f"epoch {epoch + 1}", ofa.task)
    print(f"trained in {time.perf_counter() - start:.0f} s", flush=True)

    def valid_accuracy(ofa, config):
        return calibrated_accuracy(ofa, config, data["train"], data["valid"])

    limit = options.macs * full_macs
    config, _ = ofa.search(
        valid_accuracy, within_macs(limit, network_at, IMAGE), population=12, generations=5
    )
    row(
        f"search, at most {limit:,.0f} MACs",
        "best, with the statistics of the largest",
        uncalibrated_accuracy(ofa, largest, config, data),
        macs_at(config),
    )
    score = calibrated_accuracy(ofa, config, data["train"], data["test"])
    exported = network_at(config)
    row("calibrated", "best", score, macs_at(config))
    row(
        "exported",
        "best, a plain network",
        accuracy(exported, data["test"]),
        count_macs(exported, IMAGE),
    )
    print(config)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
