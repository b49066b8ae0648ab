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


class DecayingAdam:
    """AdamW whose learning rate falls to 0 over the epochs."""

    def __init__(self, network, rate, epochs, data) -> None:
        steps = epochs * -(-len(data[1]) // BATCH_SIZE)
        self.rate = paddle.optimizer.lr.PolynomialDecay(rate, steps, end_lr=0.0)
        parameters = network.parameters()
        self.optimizer = paddle.optimizer.AdamW(self.rate, parameters=parameters, weight_decay=1e-2)

    def step(self) -> None:
        """Move the weights, then the learning rate."""
        self.optimizer.step()
        self.optimizer.clear_grad()
        self.rate.step()


def train_full(network, data, generator) -> None:
    """Train the network as it is, on the labels."""
    optimizer = DecayingAdam(network, 2e-3, FULL_EPOCHS, data)
    network.train()
    with quiet_norms():
        for _ in range(FULL_EPOCHS):
            for images, labels in batches(data, generator):
                F.cross_entropy(network(images), labels).backward()
                optimizer.step()


def train_epoch(ofa, data, generator, optimizer) -> None:
    """Train one or two drawn sub-networks on each batch, on the labels and on the teacher."""
    ofa.train()
    per_batch = ofa.run_config.dynamic_batch_size[len(ofa.task) - 1]
    for images, labels in batches(data, generator):
        for _ in range(per_batch):
            logits, teacher_logits = ofa(images)
            soft = F.softmax(teacher_logits)
            loss = F.cross_entropy(logits, labels)
            loss += F.cross_entropy(logits, soft, soft_label=True)
            (loss / per_batch).backward()
        optimizer.step()


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


def accuracy_at(ofa, config, data, *, statistics_of=None) -> float:
    """Measure a sub-network on ``data``, with its own BatchNorm statistics or another's."""
    calibrate(ofa, statistics_of or config, [data["train"][0]])
    ofa.set_net_config(config)
    found = accuracy(ofa, data["test"])
    ofa.set_net_config(None)
    return found


def network_at(ofa, config):
    """Cut a sub-network out."""
    return ofa.export(config, [[1, 1, 8, 8]], ["float32"])


def row(stage, what, score, macs) -> None:
    """Print a line of the table."""
    print(f"| {stage} | {what} | {100 * score:.1f} % | {macs:,} |", flush=True)


def report(ofa, stage, tasks, data) -> None:
    """Print the largest sub-network and the smallest one of some tasks."""
    for what, opened in (("largest", ()), (f"smallest {' and '.join(tasks)}", tasks)):
        config = smallest(ofa.ofa_layers, opened)
        macs = count_macs(network_at(ofa, config), IMAGE)
        row(stage, what, accuracy_at(ofa, config, data), macs)


def shrink(ofa, data, generator) -> None:
    """Train sub-networks of more and more kinds, each task with a learning rate of its own."""
    report(ofa, "before shrinking", ofa.elastic_order, data)
    start = 0
    for *_, end in N_EPOCHS:
        optimizer = DecayingAdam(ofa, 2e-3, end - start, data["train"])
        for epoch in range(start, end):
            ofa.set_epoch(epoch)
            train_epoch(ofa, data["train"], generator, optimizer)
        report(ofa, f"epoch {end}", ofa.task, data)
        start = end


def search(ofa, limit, data) -> None:
    """Find the best sub-network within ``limit`` MACs, and cut it out."""
    valid = {**data, "test": data["valid"]}
    config, _ = ofa.search(
        lambda ofa, config: accuracy_at(ofa, config, valid),
        within_macs(limit, lambda config: network_at(ofa, config), IMAGE),
        population=12,
        generations=5,
    )
    largest = smallest(ofa.ofa_layers, ())
    exported_macs = count_macs(network_at(ofa, config), IMAGE)
    stage = f"search, at most {limit:,.0f} MACs"
    score = accuracy_at(ofa, config, data, statistics_of=largest)
    row(stage, "best, with the statistics of the largest", score, exported_macs)
    row("calibrated", "best", accuracy_at(ofa, config, data), exported_macs)
    score = accuracy(network_at(ofa, config), data["test"])
    row("exported", "best, a plain network", score, exported_macs)
    print(config)


def main() -> None:
    """Run all stages and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--macs", type=float, default=0.25, help="budget, of the full network's")
    options = parser.parse_args()
    start = time.perf_counter()
    paddle.seed(options.seed)
    np.random.seed(options.seed)  # from which OFA seeds its own generator
    generator = np.random.default_rng(options.seed)
    data = digits(options.seed)

    network = DigitsNet()
    train_full(network, data["train"], generator)
    macs = count_macs(network, IMAGE)
    print("| stage | sub-network | accuracy | MACs |\n|---|---|---:|---:|")
    row("trained as one network", "full", accuracy(network, data["test"]), macs)

    teacher = copy.deepcopy(network)
    choices = supernet(kernel_size=[3, 5], expand_ratio=[0.5, 0.75, 1.0])
    schedule = RunConfig(n_epochs=N_EPOCHS, elastic_depth=[1, 2], dynamic_batch_size=[1, 1, 2])
    converted = Convert(choices).convert(network)
    ofa = OFA(converted, schedule, DistillConfig(teacher_model=teacher))
    ofa.trace(IMAGE)
    shrink(ofa, data, generator)
    search(ofa, options.macs * macs, data)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
