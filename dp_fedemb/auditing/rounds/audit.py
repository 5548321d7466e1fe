"""The audit of a real run: two short lives of it, watched, and what they show.

The run is that of `runs.experiment`, in a directory of its own that is gone afterwards, with
its own plan, engine, mechanism and server. It is ended like a crash in its last round, and
goes on with one virtual client less, so that the round has another sum. What is found out
here comes from exact sums: it is as secret as the data, and only verdicts are kept.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import pathlib
import tempfile
from typing import Any, Optional

from dp_fedemb import privacy
from dp_fedemb.auditing import checks
from dp_fedemb.auditing.rounds import noise_checks
from dp_fedemb.auditing.rounds import noise_of
from dp_fedemb.auditing.rounds import recomputed
from dp_fedemb.auditing.rounds import release_checks
from dp_fedemb.auditing.rounds import sum_checks
from dp_fedemb.auditing.rounds import watch as watch_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.models import pretrained
from dp_fedemb.runs import engine_choice
from dp_fedemb.runs import experiment as experiment_lib
from dp_fedemb.runs import settings as settings_lib

# More local steps than there are.
_ALL_STEPS = 10**6
# Rounds whose cohorts are looked through for further virtual clients.
_MOST_ROUNDS = 1000


def audit(
    experiment: experiment_lib.Experiment,
    *,
    rounds: int = 3,
    most_clients: int = 500,
    seed: Optional[int] = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[checks.Check]:
    """Runs a few rounds of an experiment and checks them, one check after another.

    Args:
        experiment: the run, of any engine, server and mechanism; nothing is released.
        rounds: to watch, the first ones of the plan.
        most_clients: virtual clients whose part of a sum is looked at by itself.
        seed: of the first run; the next ones are of others. By default of the operating
            system.
        tell: called with what is being done.

    Raises:
        ValueError: for a plan without noise or simulated, or noise too small to be read off
            the weights.
    """
    plan = experiment.plan
    if not plan.private or plan.hypothetical:
        what = 'noise_cohort_size' if plan.private else f'mechanism={plan.mechanism.name}'
        raise ValueError(
            f'{what}: such a run has no guarantee to audit; choose gaussian or another private'
            ' mechanism, without noise_cohort_size'
        )
    if not 2 <= rounds <= plan.rounds:
        raise ValueError(
            f'watched_rounds={rounds}: expected at least 2, which are compared, and at most'
            f' rounds={plan.rounds}'
        )
    if seed is None:
        seed = privacy.new_secret_seed()
    lives = _Lives(experiment, rounds, most_clients, seed, tell)
    with tempfile.TemporaryDirectory(prefix='audit-') as folder:
        yield from lives.all_checks(pathlib.Path(folder))


@dataclasses.dataclass(frozen=True)
class _Lives:
    experiment: experiment_lib.Experiment
    rounds: int
    most_clients: int
    seed: int
    tell: Callable[[str], None]

    def all_checks(self, folder: pathlib.Path) -> Iterator[checks.Check]:
        plan = self.experiment.plan
        found: list[checks.Check] = []
        noises: list[Any] = []
        hidden: list[Any] = []

        def look(probe: watch_lib.Probe, rounds: list[watch_lib.Round]) -> None:
            self.tell('one virtual client after another')
            # The count of short records, where the clip norm follows it.
            further = int(hasattr(plan.mechanism, 'target_unclipped_quantile'))
            found.extend(sum_checks.shapes(rounds[0], self._fresh_specs(), further))
            found.extend(
                sum_checks.contributions(probe, rounds, self._further(), self.most_clients)
            )
            for each in rounds:
                unit = probe.unit(each.before)
                noises.append(noise_of.noise(each, plan, unit))
                hidden.append(noise_of.hidden(each, plan, unit))

        self.tell(f'{self.rounds} rounds of the run')
        last = self.rounds - 1
        first = watch_lib.Watch(crash_in=last, last=last, look=look)
        self._live(folder / 'run', self.seed, self.rounds, first)
        yield from found
        yield from self._heads(first.rounds[0])
        yield from noise_checks.noise(noises, first.rounds, plan)
        yield self._recomputed(
            'the noise of all rounds together is what seed and accountant make it',
            [each.attempt for each in first.rounds],
            noises,
            hidden,
        )
        done = {each.number: each for each in first.rounds}
        yield from self._second_life(folder / 'run', noises[-1], done)
        every = [done[number] for number in sorted(done)]
        optimizer = engine_choice.server_optimizer(self._settings(self.rounds), plan)
        yield from release_checks.post_processing(
            every, optimizer, self.experiment.settings.ema
        )
        (weights, _), _ = pretrained.load(folder / 'run', self.experiment.model)
        if self.experiment.settings.algorithm == 'fedemb':
            yield from release_checks.published(folder / 'run', weights, every, self.seed)
        if self.experiment.start is not None:
            yield release_checks.counted(folder / 'run', self.experiment.start.origin)
        yield from self._other_seed(folder / 'other', noises[0])

    def _second_life(
        self, path: pathlib.Path, before: Any, done: dict[int, watch_lib.Round]
    ) -> Iterator[checks.Check]:
        """The run goes on where it crashed, and a virtual client is missing."""
        self.tell('the last round again, with another sum')
        plan, last = self.experiment.plan, self.rounds - 1
        noises: list[Any] = []
        hidden: list[Any] = []

        def look(probe: watch_lib.Probe, rounds: list[watch_lib.Round]) -> None:
            unit = probe.unit(rounds[-1].before)
            noises.append(noise_of.noise(rounds[-1], plan, unit))
            hidden.append(noise_of.hidden(rounds[-1], plan, unit))

        again = watch_lib.Watch(leave_out=last, last=last, look=look)
        try:
            self._live(path, self.seed, self.rounds, again)
        except ValueError:
            if plan.mechanism.independent_rounds:
                raise
            # Noise that is correlated over rounds is not drawn twice; the same sum again
            # is the same release.
            again = watch_lib.Watch(last=last)
            self._live(path, self.seed, self.rounds, again)
            yield release_checks.same_release(done[last], again.rounds[-1])
            yield noise_checks.again(before, None)
        else:
            if release_checks.same_sum(done[last], again.rounds[-1]):
                # Of a round in which nobody takes part nobody can stay away.
                yield release_checks.same_release(done[last], again.rounds[-1])
            else:
                yield noise_checks.again(before, noises[0])
        done.update({each.number: each for each in again.rounds})
        if noises:
            yield self._recomputed(
                'the noise of the round that is computed again is what they make it',
                [done[number].attempt for number in range(self.rounds)],
                noises,
                hidden,
            )

    def _recomputed(
        self, name: str, attempts: list[int], noises: list[Any], hidden: list[Any]
    ) -> checks.Check:
        """Of the last rounds, as many as there are noises."""
        plan = self.experiment.plan
        size = sum(part.size for part in noises[0])
        expected = recomputed.noise(plan, self.seed, attempts, size)[-len(noises) :]
        stddev = plan.noise_stddev / plan.mechanism.clip_norm
        return recomputed.check(name, noises, expected, hidden, stddev)

    def _other_seed(self, path: pathlib.Path, first: Any) -> Iterator[checks.Check]:
        self.tell('a run with another secret seed')
        noises: list[Any] = []

        def look(probe: watch_lib.Probe, rounds: list[watch_lib.Round]) -> None:
            state = rounds[0].before
            noises.append(noise_of.noise(rounds[0], self.experiment.plan, probe.unit(state)))

        self._live(path, self.seed + 1, 1, watch_lib.Watch(look=look))
        yield noise_checks.another_seed(first, noises[0])

    def _heads(self, seen: watch_lib.Round) -> Iterator[checks.Check]:
        """With an engine whose steps train heads alone; not where the head is aggregated."""
        settings, plan = self._settings(self.rounds), self.experiment.plan
        model = self.experiment.model
        if settings.algorithm != 'fedemb' or not model.head.weight_shapes(model.embedding_dim):
            return
        self.tell('heads alone')
        client = dataclasses.replace(settings.client, head_only_steps=_ALL_STEPS)
        alone = dataclasses.replace(settings, client=client)
        query = engine_choice.query(alone, privacy.PrivateRun(plan, 0), model.record_specs())
        with engine_choice.engine(
            alone, plan, model, query, self.experiment.train, self.experiment.public
        ) as engine:
            probe = watch_lib.Probe(
                engine, query, model.record_specs(), plan.virtual_clients_per_round
            )
            yield sum_checks.heads_alone(probe, seen)

    def _live(self, path: pathlib.Path, seed: int, rounds: int, watch: watch_lib.Watch) -> None:
        values = {
            field.name: getattr(self.experiment, field.name)
            for field in dataclasses.fields(experiment_lib.Experiment)
        }
        values.update(
            settings=self._settings(rounds),
            test=None,
            validation=None,
            budget_epsilon=None,
            in_ledger=False,
        )
        watched = watch_lib.WatchedExperiment(**values, watch=watch)
        with contextlib.suppress(watch_lib.Crash):
            watched.run(path, seed)

    def _settings(self, rounds: int) -> settings_lib.Settings:
        schedule = settings_lib.TrainingSchedule(rounds, 0, rounds)
        return dataclasses.replace(self.experiment.settings, schedule=schedule)

    def _fresh_specs(self) -> list[Any]:
        """Of a backbone that was built for nothing else; with fedavg of the full model."""
        if self.experiment.settings.algorithm == 'fedavg':
            return self.experiment.trained_model.record_specs()
        return list(self.experiment.model.build_backbone().trainable_variables)

    def _further(self) -> Iterator[Any]:
        """Virtual clients of cohorts of other runs, of which nothing is released."""
        trained = self.experiment.trained_model
        labels = trained.identity_labels(self.experiment.train.identity_names)
        for index in range(_MOST_ROUNDS):
            other, number = divmod(index, self.experiment.plan.rounds)
            run = privacy.PrivateRun(self.experiment.plan, self.seed + 2 + other)
            yield from watch_lib.clients(
                virtual_clients.assemble(self.experiment.train, run, number, 1, labels)
            )
