"""DP-FedAvg rounds of pfl-research, one for every line on stdin; run by its own Python.

usage: rounds.py THREADS VIRTUAL_CLIENTS EXAMPLES_OF_EACH NUM_LABELS

Prints ROUND, its examples and its seconds for each; pfl prints metrics in between. In a
folder of its own: beside the others, `pfl` would be the benchmark of that name.
"""

import sys
import time

import numpy as np
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from pfl.privacy.gaussian_mechanism import GaussianMechanism
from pfl.privacy.privacy_mechanism import CentrallyAppliedPrivacyMechanism
import torch
from torch import nn

POPULATION = 64


class LeNet(nn.Sequential):
    """The LeNet of `dp_fedemb.models.backbones.lenet`, with a linear head."""

    def __init__(self, num_labels):
        super().__init__(
            nn.Conv2d(1, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128),
            nn.Linear(128, num_labels),
        )

    def loss(self, images, labels):
        self.train()
        return nn.functional.cross_entropy(self(images.float() / 255), labels)

    def metrics(self, images, labels):
        return {}


class OnRequest(TrainingProcessCallback):
    """Ends a round by printing its time, and begins the next when a line comes."""

    def __init__(self, examples):
        self._examples = examples
        self._start = None

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        if self._start is not None:
            print('ROUND', self._examples, time.perf_counter() - self._start, flush=True)
        stop = not sys.stdin.readline()
        self._start = time.perf_counter()
        return stop, Metrics()


def main(threads, clients, examples, num_labels):
    torch.set_num_threads(threads)
    generator = np.random.default_rng(0)
    shape = (examples, 1, 28, 28)
    users = [
        PyTorchTensorDataset(
            (
                torch.from_numpy(generator.integers(0, 256, shape, np.uint8)),
                torch.from_numpy(generator.integers(0, num_labels, examples)),
            )
        )
        for _ in range(POPULATION)
    ]
    data = FederatedDataset(users.__getitem__, get_user_sampler('random', range(POPULATION)))
    network = LeNet(num_labels)
    model = PyTorchModel(
        network, torch.optim.SGD, torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9)
    )
    noise = CentrallyAppliedPrivacyMechanism(GaussianMechanism(1.0, 0.5))
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=10**6,
            evaluation_frequency=10**6,
            train_cohort_size=clients,
            val_cohort_size=0,
        ),
        SimulatedBackend(training_data=data, val_data=data, postprocessors=[noise]),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=1e-3, local_batch_size=32),
        callbacks=[OnRequest(clients * examples)],
    )


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
