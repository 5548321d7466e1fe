"""How a run trains, as frozen values; needs no TensorFlow, so wrong ones show at once."""

import dataclasses
import typing
from typing import Optional

from dp_fedemb import known_names
from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.engines import worker_addresses
from dp_fedemb.learning import client_config

if typing.TYPE_CHECKING:
    from dp_fedemb import data
    from dp_fedemb import models

ALGORITHMS = ('fedemb', 'fedavg')
ENGINES = ('tff', 'in_process')
SERVER_OPTIMIZERS = ('sgd', 'adam')
# Rounds that are released at once, at most.
MOST_ROUNDS_TOGETHER = 100
# That every backbone takes.
_ANY_IMAGES = (64, 64, 3)


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The model by names; `build` makes it for the examples of a store.

    Attributes:
        backbone: a key of `models.BACKBONES`.
        embedding_dim: D.
        head: a key of `models.HEADS`.
        head_scale: factor of the cosines; None for the head's default.
        head_margin: margin, for heads that have it; None for the head's default.
        freeze: layers that are not trained, see `models.freezing`.
        precision: of local steps.
    """

    backbone: Optional[str] = settings.setting(None, "Backbone; the task's by default.")
    embedding_dim: Optional[int] = settings.setting(
        None, "Size of the embedding; the task's by default.", within='[1, 1e4]'
    )
    head: str = settings.setting(
        'linear',
        'Head of a virtual client: linear, normalized, cosface or arcface; or a loss over the'
        ' pairs of a batch, without weights: supcon or prototype.',
    )
    head_scale: Optional[float] = settings.setting(
        None, "Factor of the cosines; the head's by default.", within='[1e-3, 1e4]'
    )
    head_margin: Optional[float] = settings.setting(
        None, "Margin of cosface and arcface; the head's by default.", within='[0, 2]'
    )
    freeze: str = settings.setting(
        '', 'Layers that are not trained: "conv", or patterns of layer names.'
    )
    precision: str = settings.setting('float32', 'Of local steps: float32 or bfloat16.')

    def __post_init__(self) -> None:
        settings.check(self)

    def check_names(self) -> None:
        """Raises ValueError for names that no model has; takes neither data nor TensorFlow."""
        if self.backbone is not None:
            validate.one_of('backbone', self.backbone, known_names.backbones())
        validate.one_of('precision', self.precision, known_names.PRECISIONS)
        known_names.check_head(self.head, self.head_scale, self.head_margin)

    def check_layers(self) -> None:
        """Raises ValueError where `freeze` names no layer of `backbone`; takes TensorFlow.

        The layers of a backbone have the same names whatever it embeds.
        """
        if self.freeze and self.backbone in known_names.BACKBONES:
            from dp_fedemb import models

            models.build_embedding_model(self.backbone, _ANY_IMAGES, 1, freeze=self.freeze)

    def build(
        self, store: 'data.UserStore', backbone: str = 'lenet', embedding_dim: int = 128
    ) -> 'models.EmbeddingModel':
        """Returns the model for the examples of a store.

        Args:
            store: what it embeds.
            backbone: where none is set.
            embedding_dim: where none is set.
        """
        from dp_fedemb import models  # Takes seconds: TensorFlow.

        own = dataclasses.asdict(self)
        own['backbone'] = backbone if self.backbone is None else self.backbone
        own['embedding_dim'] = (
            embedding_dim if self.embedding_dim is None else self.embedding_dim
        )
        return models.build_embedding_model(example_spec=store.example_spec, **own)


@dataclasses.dataclass(frozen=True)
class TrainingSchedule:
    """When a run evaluates and saves.

    Attributes:
        rounds: total number of rounds.
        rounds_per_eval: rounds between evaluations; 0 for only before and after.
        rounds_per_checkpoint: rounds between models; the last round has one.
    """

    rounds: int
    rounds_per_eval: int = settings.setting(
        10,
        'Rounds between evaluations; 0 for before and after only.',
        decides=False,
        within='[0, 1e8]',
    )
    rounds_per_checkpoint: int = settings.setting(
        10,
        'Rounds between checkpoints, with a model each.',
        decides=False,
        within='[1, 1e8]',
    )

    def __post_init__(self) -> None:
        validate.whole('[1, 1e8]', rounds=self.rounds)
        settings.check(self)

    def evaluates_after(self, round_num: int) -> bool:
        """Whether the model is evaluated after that many rounds."""
        if round_num in (0, self.rounds):
            return True
        return self.rounds_per_eval > 0 and round_num % self.rounds_per_eval == 0

    def saves_after(self, round_num: int) -> bool:
        """Whether there is a model after that many rounds."""
        return round_num == self.rounds or round_num % self.rounds_per_checkpoint == 0

    def releases_after(self, round_num: int) -> bool:
        """Whether the rounds since the last release get their rows and a statement then."""
        return (
            self.evaluates_after(round_num)
            or self.saves_after(round_num)
            or round_num % MOST_ROUNDS_TOGETHER == 0
        )


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a run trains, beside its model, its data and its privacy plan.

    Attributes:
        client: local fine-tuning.
        schedule: rounds, evaluations, checkpoints.
        client_lr_schedule: one of `client_config.LR_SCHEDULES`, over the rounds.
        server_lr: of the server's optimizer, before its schedule.
        server_momentum: of the server's SGD.
        server_optimizer: one of `SERVER_OPTIMIZERS`, see `learning.server_optimizers`.
        server_adam_floor: of Adam.
        server_lr_schedule: one of `client_config.LR_SCHEDULES`, over the rounds.
        ema: decay of the average of the iterates; 0 for none.
        centre_clients: public virtual clients whose mean update is clipped around; 0 for
            clipping around zero.
        algorithm: 'fedemb' (local heads, backbone aggregated) or 'fedavg' (one head
            over all identities, aggregated and noised with the backbone).
        label_buckets: public number of labels of fedavg's head, among which identities
            are divided by a hash of their names; without it the head has a label for
            each identity, and the run no epsilon.
        engine: 'tff' or 'in_process'; by default tff, or in_process where a GPU is
            visible, which TFF's runtime cannot use.
        workers: host:port or unix:PATH of each `bin/worker.py` to train on, instead of this
            machine.
        worker_timeout_s: how long a worker may be silent.
        client_parallelism: virtual clients trained at the same time; the cores by
            default.
        intra_op_threads: threads inside one operation.
        raw_metrics: writes training loss and update norms without noise, outside the
            guarantee.
    """

    client: client_config.ClientConfig
    schedule: TrainingSchedule
    client_lr_schedule: str = settings.setting(
        'constant', 'Over rounds.', choices=client_config.LR_SCHEDULES
    )
    server_lr: float = settings.setting(
        1.0, "Of the server's optimizer.", within='[1e-12, 1e6]'
    )
    server_momentum: float = settings.setting(
        0.0, "Of the server's SGD.", within='[0, 0.999999]'
    )
    server_optimizer: str = settings.setting(
        'sgd',
        "Of the server. adam: the noise's variance is taken out of its second moment.",
        choices=SERVER_OPTIMIZERS,
    )
    server_adam_floor: float = settings.setting(
        1e-3, "Least root of the second moment of the server's Adam.", within='[1e-12, 1e6]'
    )
    server_lr_schedule: str = settings.setting(
        'constant', "Of the server's rate, over rounds.", choices=client_config.LR_SCHEDULES
    )
    ema: float = settings.setting(
        0.0,
        'Decay, below 1, of a moving average of the models of the rounds. It is evaluated'
        " too, and the better on the task's validation part is released; the average where"
        ' there is no such part. 0 for none.',
        within='[0, 0.999999]',
    )
    centre_clients: int = settings.setting(
        0,
        'Public virtual clients of a round, of the public part of the task; their mean update'
        " is taken off a virtual client's before the clip, and added back once. 0 for none.",
        within='[0, 1e6]',
    )
    algorithm: str = settings.setting(
        'fedemb',
        'fedemb: local heads, backbone aggregated. fedavg: baseline with one head over all'
        ' identities, aggregated and noised with the backbone.',
        choices=ALGORITHMS,
    )
    label_buckets: Optional[int] = settings.setting(
        None,
        "Public number of labels of fedavg's head; required for an epsilon. Identities are"
        ' divided among them by a hash of their names.',
        within='[2, 1e7]',
    )
    engine: Optional[str] = settings.setting(
        None,
        "TFF's runtime, or plain TensorFlow in this process, which can use a GPU. By default"
        ' tff, or in_process where a GPU is visible.',
        choices=ENGINES,
        decides=False,
    )
    workers: tuple[str, ...] = settings.setting(
        (),
        'host:port or unix:PATH of each bin/worker.py to train on, instead of this machine.',
        decides=False,
    )
    worker_timeout_s: float = settings.setting(
        60.0, 'How long a worker may be silent.', decides=False, within='[0.01, 1e6]'
    )
    client_parallelism: Optional[int] = settings.setting(
        None,
        'Virtual clients trained at once; the cores by default.',
        decides=False,
        within='[1, 1024]',
    )
    intra_op_threads: int = settings.setting(
        1, 'Threads inside one operation.', decides=False, within='[1, 1024]'
    )
    raw_metrics: bool = settings.setting(
        False, 'Write training loss and update norms WITHOUT noise, outside the guarantee.'
    )

    def __post_init__(self) -> None:
        settings.check(self)
        if self.server_optimizer == 'adam' and self.server_momentum:
            raise ValueError(
                f'server_momentum={self.server_momentum} with server_optimizer=adam, which has'
                ' moments of its own; leave it at 0'
            )
        if self.centre_clients and self.algorithm == 'fedavg':
            raise ValueError(
                f'centre_clients={self.centre_clients} with algorithm=fedavg: public users have'
                ' no labels in the head that all share; leave it at 0'
            )
        if self.label_buckets is not None and self.algorithm != 'fedavg':
            raise ValueError(
                f'label_buckets={self.label_buckets} with algorithm={self.algorithm}: only'
                ' fedavg has a head that all share; leave it out'
            )
        for address in self.workers:
            worker_addresses.check_address(address)
        if len(set(self.workers)) != len(self.workers):
            raise ValueError(f'workers={",".join(self.workers)}: expected each of them once')
        if self.server_adam_floor != type(self).server_adam_floor and (
            self.server_optimizer != 'adam'
        ):
            raise ValueError(
                f'server_adam_floor={self.server_adam_floor} with server_optimizer='
                f'{self.server_optimizer}: only adam has one; leave it out'
            )
        if self.workers and self.engine == 'in_process':
            raise ValueError(
                f'engine=in_process with workers={",".join(self.workers)}: those run TFF;'
                ' leave one of the two out'
            )
