"""One run from data and settings to a private model in a directory."""

from collections.abc import Mapping
import contextlib
import dataclasses
import os
from typing import Any, Optional, Union

import tensorflow_federated as tff

from dp_fedemb import json_files
from dp_fedemb import privacy
from dp_fedemb import settings as settings_of
from dp_fedemb.aggregation import noise as noise_lib
from dp_fedemb.data import store as store_lib
from dp_fedemb.engines import engine as engine_lib
from dp_fedemb.learning import local_fine_tuning
from dp_fedemb.models import embedding_model
from dp_fedemb.models import full_model
from dp_fedemb.models import label_spaces
from dp_fedemb.models import saved_model
from dp_fedemb.models import weight_values
from dp_fedemb.pretraining import pretrain
from dp_fedemb.privacy import ledger
from dp_fedemb.runs import candidates as candidates_lib
from dp_fedemb.runs import checkpoints
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import engine_choice
from dp_fedemb.runs import evaluator as evaluator_lib
from dp_fedemb.runs import garbage
from dp_fedemb.runs import guarantee
from dp_fedemb.runs import program as program_lib
from dp_fedemb.runs import resumption
from dp_fedemb.runs import settings as settings_lib
from dp_fedemb.runs import spending
from dp_fedemb.runs import starts

_EVALUATION = run_directory_lib.EVALUATION
_Scores = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run: what is trained on what, under which plan.

    Attributes:
        model: backbone and local head.
        plan: the privacy plan, `plan.num_users` = `train.num_users`.
        settings: of the training.
        train: the training users.
        test: identities that no training user holds; None for no evaluation.
        start: where the backbone begins; None for fresh weights.
        facts: further JSON values that decide what is computed, for config.json.
        require_private: refuses whatever would have no epsilon to state.
        budget_epsilon: most that all runs on these users may cost together, by the ledger
            beside the store; None for any.
        in_ledger: whether the ledger notes what the run releases. A trial of a private
            selection releases nothing: the selection does, and notes itself.
        tuning: how the settings were chosen, for the statement; see `privacy.statement`.
        validation: identities that neither `train` nor `test` holds, to choose with whether
            the last model or the average is released; None for the average.
        public: public users, for `settings.centre_clients`.

    Raises:
        ValueError: where the plan's epsilon would not hold: a start that has seen users
            without privacy, a head that private users size.
    """

    model: embedding_model.EmbeddingModel
    plan: privacy.PrivacyPlan
    settings: settings_lib.Settings
    train: store_lib.UserStore
    test: Optional[store_lib.UserStore]
    start: Optional[starts.Start] = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    require_private: bool = False
    budget_epsilon: Optional[float] = None
    in_ledger: bool = True
    tuning: Optional[str] = None
    validation: Optional[store_lib.UserStore] = None
    public: Optional[store_lib.UserStore] = None

    def __post_init__(self) -> None:
        local_fine_tuning.check(self.trained_model, self.settings.client)
        engine_choice.check(self.settings, self.plan, self.public)
        guarantee.check(self.plan, self.trained_model, self.start, self.require_private)

    @property
    def trained_model(self) -> embedding_model.EmbeddingModel:
        """What is aggregated: the backbone, or with 'fedavg' the full model."""
        if self.settings.algorithm == 'fedavg':
            labels: label_spaces.LabelSpace = label_spaces.AllIdentities(
                self.train.num_identities
            )
            if self.settings.label_buckets:
                labels = label_spaces.HashBuckets(self.settings.label_buckets)
            return full_model.build_full_model(self.model, labels)
        return self.model

    def config(self) -> dict[str, Any]:
        """Returns what decides what the run computes, without secrets, as JSON values."""
        parts = {'train': self.train, 'test': self.test}
        if self.settings.ema:
            parts['validation'] = self.validation
        data = {
            part: [store.num_users, store.num_identities, store.num_examples]
            for part, store in parts.items()
            if store is not None
        }
        return {
            'data': data,
            'model': pretrain.describe(self.model),
            **self.facts,
            'plan': self.plan.to_json(),
            'training': settings_of.record(self.settings),
        }

    def absent(self) -> dict[str, Any]:
        """Returns what a config.json from before some of the names means; see `config`."""
        plan = settings_of.absent(type(self.plan))
        for part in ('mechanism', 'sampling'):
            plan[part] = settings_of.absent(type(getattr(self.plan, part)))
        return {
            # Older runs did not note it; their checkpoints hold its shapes.
            'model': pretrain.describe(self.model),
            'plan': plan,
            'training': settings_of.absent(settings_lib.Settings),
        }

    def run(
        self,
        directory: Union[str, os.PathLike, run_directory_lib.RunDirectory],
        seed: Optional[int] = None,
        profile: bool = False,
    ) -> _Scores:
        """Trains, goes on with training, or finds that all rounds are done.

        Args:
            directory: of the run: new, empty, or of this very experiment.
            seed: secret seed; from the operating system by default.
            profile: whether to trace one round and print where its time goes.

        Returns:
            What evaluation.json holds of the unseen identities: recalls 'untrained',
            'pretrained' if there is a start, and 'trained'; with thresholds, counts and
            intervals of the model, see `collection.collect`.

        Raises:
            NotADirectoryError, FileExistsError: if something else is at the path.
            ValueError: if the directory belongs to another configuration, seed or store, or
                is damaged.
            HostError: if another process is writing there, or it is moved away meanwhile.
        """
        if not isinstance(directory, run_directory_lib.RunDirectory):
            directory = run_directory_lib.RunDirectory(directory)
        rounds = self.settings.schedule.rounds
        directory.check(self.config(), self.absent())
        if not directory.path.exists():
            # Before anything is written.
            self._check_spending(privacy.PrivateRun.start(self.plan, seed), directory)
        with directory.locked():
            directory.begin(self.config(), self.absent())
            if directory.was_finished_before(rounds):
                return directory.read_json(_EVALUATION) or {}
            directory.give_up_changed_results()
            directory.mend_copies()
            directory.give_up_damaged_model()
            ledger.remove_drafts(self.train.path)
            saved = directory.checkpoints.load()
            run = resumption.private_run(directory, self.plan, saved, seed)
            self._check_spending(run, directory)
            record = resumption.record(
                run, self.train, self.settings, saved, seed_given=seed is not None
            )
            if directory.is_finished(rounds, saved):
                directory.note_results()
                return directory.read_json(_EVALUATION) or {}
            return self._train(directory, run, record, saved, profile)

    def _check_spending(
        self, run: privacy.PrivateRun, directory: run_directory_lib.RunDirectory
    ) -> None:
        """Refuses a seed that can be found or was used, and a plan that overspends."""
        if self.require_private:
            guarantee.check_seed(run)
        self._account(run, directory).check()

    def _account(
        self, run: privacy.PrivateRun, directory: run_directory_lib.RunDirectory
    ) -> spending.Account:
        of_run = (self.train.path, run, directory, self.config())
        return spending.Account(*of_run, self.budget_epsilon, self.in_ledger)

    def is_finished(self, directory: run_directory_lib.RunDirectory) -> bool:
        """Whether all rounds are done and all of their results are there.

        Raises:
            HostError: if another process is writing there.
        """
        if not directory.path.is_dir():
            return False
        with directory.locked():
            rounds = self.settings.schedule.rounds
            return directory.was_finished_before(rounds) or directory.is_finished(
                rounds, directory.checkpoints.load()
            )

    def _train(
        self,
        directory: run_directory_lib.RunDirectory,
        run: privacy.PrivateRun,
        record: dict[str, Any],
        saved: Optional[checkpoints.Checkpoint],
        profile: bool,
    ) -> _Scores:
        account = self._account(run, directory)
        # Of a finished run there may be copies, and of a seed that somebody gave.
        goes_on = saved is None or saved.round_num < self.settings.schedule.rounds
        alone = goes_on and not record['seed_given']
        if alone:
            account.check_alone(self.settings.schedule)
        trained = self.trained_model
        evaluate = evaluator_lib.Evaluator(self.model, self.test)
        begin = self.model.initial_weights(run.weights_seed)
        if saved is None:
            record['scores'] = {'untrained': json_files.finite(evaluate(*begin))}
            if self.start is not None:
                begin = self.start.load()
                record['scores']['pretrained'] = json_files.finite(evaluate(*begin))
        begin = trained.start(begin, run.weights_seed)

        candidates = candidates_lib.Candidates(
            self.settings.ema, self.model, self.validation, trained.released, directory
        )

        def export(models: candidates_lib.Models, path: str) -> None:
            evaluate.set_weights(*trained.released(candidates.choose(models)))
            evaluate.serving_model.save(path, self.train.preprocessing)

        query = engine_choice.query(self.settings, run, trained.record_specs())
        with self._engine(trained, query) as engine, garbage.only_new():
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
                statement_facts=self._statement_facts(record, begin, query.noise),
                statistical_distance=query.statistical_distance,
                record=record,
                spend=lambda statement: account.note(statement, record['store'], alone),
                profile=profile,
            )
            final = program.run(tff.learning.models.ModelWeights(*begin), saved)
        scores = dict(record['scores'])
        about = {
            'task': self.facts.get('task'),
            'part': self.facts.get('evaluation_part', 'test'),
            'model_fingerprint': saved_model.fingerprint(directory.saved_model),
        }
        scores['trained'], values = evaluate.in_full(
            *trained.released(candidates.choose(final)), about
        )
        if self.settings.ema:
            for name, weights in final.items():
                scores[name] = json_files.finite(evaluate(*trained.released(weights)))
        scores.update(values)
        directory.write_json(_EVALUATION, scores)
        directory.note_results()
        return scores

    def _statement_facts(
        self,
        record: Mapping[str, Any],
        begin: weight_values.WeightValues,
        noise: noise_lib.NoiseSource,
    ) -> dict[str, Any]:
        return {
            'seed_given': record['seed_given'],
            'start': None if self.start is None else self.start.origin.text,
            'noised_weights': sum(weight.size for weight in begin[0]),
            'raw_metrics': self.settings.raw_metrics,
            'tuning': self.tuning,
            'ancestors': () if self.start is None else self.start.origin.ancestors,
            'noise_bits': noise.generator,
            'algorithm': 'fedavg' if self.settings.algorithm == 'fedavg' else 'dp_fedemb',
        }

    def _engine(
        self, model: embedding_model.EmbeddingModel, query: Any
    ) -> contextlib.AbstractContextManager[engine_lib.Engine]:
        return engine_choice.engine(
            self.settings, self.plan, model, query, self.train, self.public
        )
