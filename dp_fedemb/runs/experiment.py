"""One run from data and settings to a private model in a directory."""

from collections.abc import Callable
import contextlib
import dataclasses
from typing import Optional

import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import in_process
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import runtime as runtime_lib
from dp_fedemb.engines import tff_engine as engine_lib
from dp_fedemb.learning import schedules
from dp_fedemb.models import embedding_model
from dp_fedemb.models import full_model
from dp_fedemb.models import label_spaces
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import evaluator as evaluator_lib
from dp_fedemb.runs import program as program_lib
from dp_fedemb.runs import settings as settings_lib

# Makes (trainable, non_trainable) start weights of the backbone.
_Start = Callable[[], tuple[list, list]]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run: what is trained on what, under which plan.

    Attributes:
        model: backbone and local head.
        plan: the privacy plan, `plan.num_users` = `train.num_users`.
        settings: of the training.
        train: the training users.
        test: identities that no training user holds.
    """

    model: embedding_model.EmbeddingModel
    plan: privacy.PrivacyPlan
    settings: settings_lib.Settings
    train: store_lib.UserStore
    test: store_lib.UserStore

    @property
    def trained_model(self) -> embedding_model.EmbeddingModel:
        """What is aggregated: the backbone, or with 'fedavg' the full model."""
        if self.settings.algorithm == 'fedavg':
            labels = label_spaces.AllIdentities(self.train.num_identities)
            if self.settings.label_buckets:
                labels = label_spaces.HashBuckets(self.settings.label_buckets)
            return full_model.build_full_model(self.model, labels)
        return self.model

    def __post_init__(self):
        if self.plan.private and not self.trained_model.public_labels:
            raise ValueError(
                'algorithm=fedavg with a label for each of the training identities: the'
                " head's size and everybody's softmax would tell of private users, so no"
                ' epsilon holds; set label_buckets to a public number, or mechanism=none'
            )

    def run(
        self,
        directory: run_directory_lib.RunDirectory,
        seed: Optional[int] = None,
        pretrained: Optional[_Start] = None,
        origin: Optional[str] = None,
        profile: bool = False,
    ) -> dict[str, dict[str, float]]:
        """Trains, or goes on with training, to the last round.

        Args:
            directory: begun already, with this configuration.
            seed: secret seed; from the operating system by default.
            pretrained: makes the start weights; called only if there is no checkpoint.
            origin: whose images those have seen, for the statement.
            profile: whether to trace one round and print where its time goes.

        Returns:
            Metrics of the unseen identities: 'untrained', 'pretrained' if there is
            such a start, and 'trained'.

        Raises:
            ValueError: for another seed than that of the run to go on with.
        """
        known_seed = program_lib.checkpointed_seed(directory)
        if known_seed is not None and seed not in (None, known_seed):
            raise ValueError(
                f'seed: the run in {str(directory.path)!r} began with another one; leave it out'
                ' to go on'
            )
        run_seed = next(
            s for s in (known_seed, seed, privacy.new_secret_seed()) if s is not None
        )
        evaluate = evaluator_lib.Evaluator(self.model, self.test)
        scores = directory.read_json('evaluation.json') or {}
        start = fresh = self.model.initial_weights(run_seed)
        if 'untrained' not in scores:
            scores['untrained'] = evaluate(*fresh)
        if pretrained is not None and known_seed is None:
            start = pretrained()
            scores['pretrained'] = evaluate(*start)
        directory.write_json('evaluation.json', scores)
        given = _seed_was_given(directory, seed, resumed=known_seed is not None)
        facts = {'seed_given': given, 'start': origin}
        weights = self._train(directory, run_seed, facts, evaluate, start, profile)
        scores['trained'] = evaluate(*weights)
        directory.write_json('evaluation.json', scores)
        return scores

    def _train(self, directory, seed, facts, evaluate, start, profile):
        trained = self.trained_model
        run = privacy.PrivateRun(self.plan, seed)
        start = trained.start(start, run.weights_seed)

        def export(trainable, non_trainable, path):
            evaluate.set_weights(*trained.released((trainable, non_trainable)))
            evaluate.serving_model.save(path)

        facts = {
            **facts,
            'noised_weights': sum(weight.size for weight in start[0]),
            'raw_metrics': self.settings.raw_metrics,
        }
        query = aggregation.build_query(run, trained.record_specs())
        with self._engine(trained, query) as engine:
            program = program_lib.TrainingProgram(
                engine,
                run,
                self.train,
                self.settings.schedule,
                directory,
                lambda *weights: evaluate(*trained.released(weights)),
                export,
                local_epochs=self.settings.client.local_epochs,
                identity_labels=trained.identity_labels(self.train.identity_names),
                statement_facts=facts,
                profile=profile,
            )
            final = program.run(tff.learning.models.ModelWeights(*start))
        return trained.released((final.trainable, final.non_trainable))

    @contextlib.contextmanager
    def _engine(self, model, query):
        settings = self.settings
        options = {
            'query': query,
            'server_optimizer': tff.learning.optimizers.build_sgdm(
                settings.server_lr, settings.server_momentum
            ),
            'learning_rate_schedule': schedules.build(
                settings.client_lr_schedule, settings.schedule.rounds
            ),
            'raw_metrics': settings.raw_metrics,
        }
        parallelism = settings.client_parallelism or runtime_lib.default_parallelism()
        reader = virtual_clients.build_reader(self.train)
        if settings.workers:
            runtime = remote_engine.RemoteRuntime(settings.workers, settings.worker_timeout_s)
            with runtime:
                yield remote_engine.RemoteEngine(
                    runtime,
                    model,
                    settings.client,
                    self.train,
                    num_shards=settings.client_parallelism or runtime.client_parallelism,
                    **options,
                )
        elif (settings.engine or _default_engine()) == 'in_process':
            yield in_process.InProcessEngine(
                model,
                settings.client,
                reader=reader,
                num_shards=parallelism,
                **options,
            )
        else:
            with runtime_lib.LocalRuntime(parallelism, settings.intra_op_threads) as runtime:
                yield engine_lib.TffEngine(
                    runtime, model, settings.client, reader=reader, **options
                )


def _default_engine():
    return 'in_process' if tf.config.list_physical_devices('GPU') else 'tff'


def _seed_was_given(directory, seed, resumed):
    """Whether the run's seed came from a command line: this one's, or an earlier one's."""
    if seed is not None or not resumed:
        return seed is not None
    statement = directory.read_json('privacy.json')
    # Interrupted before its first statement, a run may have been given one.
    return statement is None or statement['seed_given']
