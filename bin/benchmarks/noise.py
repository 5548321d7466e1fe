"""What a round's noise takes, by mechanism, of a round of the demo's 800 users.

In processor time, since the noise is drawn on as many cores as virtual clients train on.
"""

import measuring

measuring.single_threaded_operations()

import statistics

import tensorflow as tf
import workloads

from dp_fedemb import aggregation
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.engines import runtime

# Of the demo: the population, what is in a round, and the rounds.
NUM_USERS, COHORT, USERS, ROUNDS = 40_000, 400, 2, 100
IMAGES, IDENTITIES, EPOCHS = 16, 4, 2
MOST_BANDS = 50
NUMBERS = (0.1, 5.0)
MECHANISMS = {
    'gaussian': privacy.Gaussian(*NUMBERS),
    'banded16': privacy.Banded(*NUMBERS, strategy_momentum=0.9, bands=16),
    'banded50': privacy.Banded(*NUMBERS, strategy_momentum=0.9, bands=MOST_BANDS),
    'bisr': privacy.Bisr(*NUMBERS, strategy_momentum=0.9),
    'blt': privacy.Blt(*NUMBERS, strategy_momentum=0.9),
}


def main():
    quick = measuring.quick()
    with runtime.LocalRuntime(measuring.cores()) as local:
        results = {'noise_share': lenet(local, 2 if quick else 5)}
        if not quick:
            results['noise_share_resnet50'] = resnet50(local)
    measuring.report(results)


def lenet(local, repetitions):
    """Every mechanism's noise over a whole round that has it, LeNet."""
    # A round of a quarter of the users takes a quarter of the time, but for the noise.
    part = 4
    model = workloads.lenet()
    store = workloads.random_store(1600, IMAGES, identities_per_user=IDENTITIES)
    plan = workloads.build_plan(store, COHORT // part, USERS)
    config = workloads.config(local_epochs=EPOCHS)
    engine = workloads.build_engine(model, config, plan, store, local)
    rounds = workloads.Rounds(engine, plan, store, model)
    return shares(rounds, model, MECHANISMS, repetitions, part, 20)


def resnet50(local):
    """The same for ResNet-50; its round from one of fewer users, in proportion."""
    shape, users = (112, 112, 3), 8
    model = models.build_embedding_model('resnet50', shape, 512)
    store = workloads.random_store(64, IMAGES * EPOCHS, shape)
    rounds = workloads.rounds(model, store, users, 1, local, privacy.FixedSize())
    # Bands of the demo's size would take 10 GB here.
    few = {name: MECHANISMS[name] for name in ('gaussian', 'bisr', 'blt')}
    few['banded8'] = privacy.Banded(*NUMBERS, strategy_momentum=0.9, bands=8)
    return shares(rounds, model, few, 1, COHORT * USERS / users, 1)


def shares(rounds, model, mechanisms, repetitions, factor, times):
    """Noise over round, each with its own noise; the largest is the value.

    Args:
        rounds: does a round with independent noise.
        model: whose weights are noised.
        mechanisms: by name, `gaussian` among them.
        repetitions: of each.
        factor: users of the demo's round over those of `rounds`.
        times: rounds of noise measured together, as processors count hundredths.
    """
    seconds = {'round': measure(lambda: min(rounds(), 1), repetitions)}
    for name, mechanism in mechanisms.items():
        # One after the other: each holds the noise of its last rounds.
        noise = Noise(model, mechanism)
        noise.fill()
        seconds[name] = measure(lambda noise=noise: noise(times), repetitions)
    of_users = factor * (seconds['round'] - seconds['gaussian'])
    figures = {name: seconds[name] / (of_users + seconds[name]) for name in mechanisms}
    times = {f'{name}_cpu_ms': 1000 * value for name, value in seconds.items()}
    return {'value': max(figures.values()), **figures, **times, 'repetitions': repetitions}


def measure(work, repetitions):
    """Median of the processor seconds of a call, after one that does not count."""
    works = {'work': work}
    rates = measuring.interleaved(works, repetitions, measuring.per_processor_second)
    return 1 / statistics.median(rates['work'])


class Noise:
    """The server's sum of a round after the other, without its users."""

    def __init__(self, model, mechanism):
        independent = mechanism.independent_rounds
        sampling = privacy.Poisson() if independent else privacy.MinSeparation()
        plan = privacy.PrivacyPlan(NUM_USERS, COHORT, USERS, ROUNDS, mechanism, sampling)
        run = privacy.PrivateRun(plan, workloads.SEED)
        query = aggregation.build_query(run, model.record_specs())
        self._state = query.initial_global_state()
        self._sum = query.initial_sample_state(model.record_specs())
        self._noised = tf.function(query.get_noised_result)
        self._filled = 1 if independent else len(max(_memories(plan), key=len))

    def fill(self):
        """Takes as many rounds as the noise remembers."""
        for _ in range(self._filled):
            self()

    def __call__(self, times=1):
        for _ in range(times):
            _, self._state, _ = self._noised(self._sum, self._state)
        return times


def _memories(plan):
    strategy = plan.mechanism.resolved_strategy()
    return strategy.numerator, strategy.denominator


if __name__ == '__main__':
    main()
