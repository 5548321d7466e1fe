"""The door of one screen: private training from a store to embeddings.

    import dp_fedemb

    private = dp_fedemb.DPFedEmb(target_epsilon=8, output_dir='runs/mine')
    private.fit(dp_fedemb.UserStore.open('store/train'))
    print(private.headline)
    embeddings = private.embed(images)

`bin/train.py` and `Experiment` have every option; this has those that differ from one
collection to the next.
"""

import os
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import inference
from dp_fedemb.learning import client_config
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings as settings_lib
from dp_fedemb.runs import starts


class DPFedEmb:
    """Image embeddings with user-level differential privacy, trained by `fit`.

    Attributes:
        directory: of the run: SavedModel, statement, metrics, and the checkpoints, which
            are secret. An interrupted `fit` goes on there.
        plan: of the last `fit`: what is sampled, clipped and noised.
    """

    def __init__(
        self,
        output_dir: Union[str, 'os.PathLike[str]'],
        *,
        target_epsilon: float,
        delta: Optional[float] = None,
        rounds: int = 100,
        virtual_clients_per_round: int = 32,
        users_per_virtual_client: int = 8,
        clip_norm: float = 0.5,
        model: settings_lib.ModelSettings = settings_lib.ModelSettings(),
        client: client_config.ClientConfig = client_config.ClientConfig(
            learning_rate=0.05, head_lr_scale=10.0
        ),
        server_lr: float = 1.0,
        server_momentum: float = 0.9,
        pretrained: Union[str, 'os.PathLike[str]', None] = None,
        pretrained_is_public: bool = False,
        **training: Any,
    ) -> None:
        """Keeps the settings; `fit` checks them against the users.

        Args:
            output_dir: directory of the run, new or of the same run.
            target_epsilon: of a user, after all rounds; the least noise for it is found.
            delta: of the guarantee; num_users**-1.1 by default.
            rounds: of training.
            virtual_clients_per_round: m; the more, the better at the same epsilon.
            users_per_virtual_client: k.
            clip_norm: C, in units of the weights.
            model: by names; LeNet with 128 dimensions by default.
            client: local fine-tuning.
            server_lr: of the server's SGD.
            server_momentum: of the server's SGD.
            pretrained: SavedModel or run to start from, best one that has seen public
                images alone; fresh weights by default.
            pretrained_is_public: your word that it has seen no private user, where no
                statement beside it says what it has seen.
            **training: further fields of `runs.settings.Settings`, and
                `rounds_per_eval` or `rounds_per_checkpoint`.
        """
        self.directory = run_directory_lib.RunDirectory(output_dir)
        self.plan: Optional[privacy.PrivacyPlan] = None
        self._target_epsilon = target_epsilon
        self._delta = delta
        self._virtual_clients_per_round = virtual_clients_per_round
        self._users_per_virtual_client = users_per_virtual_client
        self._clip_norm = clip_norm
        self._model = model
        self._pretrained = pretrained
        self._pretrained_is_public = pretrained_is_public
        often = {
            name: training.pop(name)
            for name in ('rounds_per_eval', 'rounds_per_checkpoint')
            if name in training
        }
        self._settings = settings_lib.Settings(
            client=client,
            schedule=settings_lib.TrainingSchedule(rounds, **often),
            server_lr=server_lr,
            server_momentum=server_momentum,
            **training,
        )

    def fit(
        self, store: store_lib.UserStore, test: Optional[store_lib.UserStore] = None
    ) -> 'DPFedEmb':
        """Trains to the last round, or goes on with that; returns itself.

        Args:
            store: the users who are protected.
            test: identities that no user of `store` holds, to measure recall on.

        Raises:
            ValueError: for settings that these users are too few for, or a directory of
                another run; in one line that says what to do.
        """
        first = privacy.PrivacyPlan(
            num_users=store.num_users,
            virtual_clients_per_round=self._virtual_clients_per_round,
            users_per_virtual_client=self._users_per_virtual_client,
            rounds=self._settings.schedule.rounds,
            mechanism=privacy.Gaussian(self._clip_norm, noise_multiplier=1.0),
            delta=self._delta,
        )
        self.plan = privacy.calibrate(first, self._target_epsilon)
        model = self._model.build(store)
        start = name = None
        if self._pretrained is not None:
            name = self.directory.name_of_start(str(self._pretrained))
            start = starts.Start.from_saved_model(
                self._pretrained, model, public=self._pretrained_is_public
            )
        experiment.Experiment(
            model,
            self.plan,
            self._settings,
            store,
            test,
            start=start,
            facts={'pretrained': name},
            require_private=True,
        ).run(self.directory)
        return self

    def embed(self, examples: np.ndarray) -> np.ndarray:
        """Returns float32 [n, D] of norm 1.

        Args:
            examples: [n, *shape], as a store holds them: uint8 images [n, H, W, C].

        Raises:
            FileNotFoundError: before `fit`.
            ValueError: for examples that the model does not take.
        """
        return inference.embed(inference.load_model(self.directory.path), examples)

    @property
    def statement(self) -> dict[str, Any]:
        """The privacy statement: what was released so far, and what it cost.

        Raises:
            ValueError: before `fit`.
        """
        statement = self.directory.read_json('privacy.json')
        if statement is None:
            raise ValueError(f'{self.directory.path}: holds no statement yet; call fit first')
        return statement

    @property
    def headline(self) -> str:
        """The statement in a few lines."""
        return '\n'.join(privacy.statement_headline(self.statement))
