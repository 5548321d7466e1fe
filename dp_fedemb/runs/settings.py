"""How a run trains, as frozen values; needs no TensorFlow, so wrong ones show at once."""

import dataclasses
from typing import Optional

from dp_fedemb import validate
from dp_fedemb.learning import client_config

ALGORITHMS = ('fedemb', 'fedavg')
ENGINES = ('tff', 'in_process')


@dataclasses.dataclass(frozen=True)
class TrainingSchedule:
    """When a run evaluates and saves.

    Attributes:
        rounds: total number of rounds.
        rounds_per_eval: rounds between evaluations; 0 for only before and after.
        rounds_per_checkpoint: rounds between checkpoints; the last round has one.
    """

    rounds: int
    rounds_per_eval: int = 10
    rounds_per_checkpoint: int = 10

    def __post_init__(self):
        validate.positive(rounds=self.rounds, rounds_per_checkpoint=self.rounds_per_checkpoint)
        validate.non_negative(rounds_per_eval=self.rounds_per_eval)

    def evaluates_after(self, round_num: int) -> bool:
        """Whether the model is evaluated after that many rounds."""
        if round_num in (0, self.rounds):
            return True
        return self.rounds_per_eval > 0 and round_num % self.rounds_per_eval == 0

    def saves_after(self, round_num: int) -> bool:
        """Whether there is a checkpoint after that many rounds."""
        return round_num == self.rounds or round_num % self.rounds_per_checkpoint == 0


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a run trains, beside its model, its data and its privacy plan.

    Attributes:
        client: local fine-tuning.
        schedule: rounds, evaluations, checkpoints.
        client_lr_schedule: one of `client_config.LR_SCHEDULES`, over the rounds.
        server_lr: of the server's SGD.
        server_momentum: of the server's SGD.
        algorithm: 'fedemb' (local heads, backbone aggregated) or 'fedavg' (one head
            over all labels, aggregated and noised with the backbone).
        label_buckets: public number of labels of fedavg's head, among which a hash of
            its name divides each identity; without it there is a label for each
            identity of the training users, and no guarantee.
        engine: 'tff' or 'in_process'; by default tff, or in_process where a GPU is
            visible, which TFF's runtime cannot use.
        workers: host:port of each `bin/worker.py` to train on, instead of this machine.
        worker_timeout_s: how long a worker may be silent.
        client_parallelism: virtual clients trained at the same time; the cores by
            default.
        intra_op_threads: threads inside one operation.
        raw_metrics: writes training loss and update norms without noise, outside the
            guarantee.
    """

    client: client_config.ClientConfig
    schedule: TrainingSchedule
    client_lr_schedule: str = 'constant'
    server_lr: float = 1.0
    server_momentum: float = 0.0
    algorithm: str = 'fedemb'
    label_buckets: Optional[int] = None
    engine: Optional[str] = None
    workers: tuple[str, ...] = ()
    worker_timeout_s: float = 60.0
    client_parallelism: Optional[int] = None
    intra_op_threads: int = 1
    raw_metrics: bool = False

    def __post_init__(self):
        validate.positive(server_lr=self.server_lr)
        validate.one_of(
            'client_lr_schedule', self.client_lr_schedule, client_config.LR_SCHEDULES
        )
        validate.one_of('algorithm', self.algorithm, ALGORITHMS)
        if self.label_buckets is not None:
            validate.positive(label_buckets=self.label_buckets)
            if self.algorithm != 'fedavg':
                raise ValueError(
                    f'label_buckets={self.label_buckets} with algorithm={self.algorithm}:'
                    ' only fedavg has a head that all share; leave it out'
                )
        if self.engine is not None:
            validate.one_of('engine', self.engine, ENGINES)
        if self.workers and self.engine == 'in_process':
            raise ValueError(
                f'engine=in_process with workers={",".join(self.workers)}: those run TFF;'
                ' leave one of the two out'
            )
        if not 0 <= self.server_momentum < 1:
            raise ValueError(f'server_momentum={self.server_momentum}: expected within [0, 1)')
