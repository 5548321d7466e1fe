"""From settings to the engine of a run: mechanism, server optimizer, where shards run."""

from collections.abc import Iterator
import contextlib
from typing import Optional, Union

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from dp_fedemb import aggregation
from dp_fedemb import privacy
from dp_fedemb.aggregation import centred
from dp_fedemb.aggregation import sum_query
from dp_fedemb.data import store as store_lib
from dp_fedemb.data import virtual_clients
from dp_fedemb.engines import engine as engine_lib
from dp_fedemb.engines import in_process
from dp_fedemb.engines import remote_engine
from dp_fedemb.engines import runtime as runtime_lib
from dp_fedemb.engines import tff_engine
from dp_fedemb.learning import public_centre
from dp_fedemb.learning import schedules
from dp_fedemb.learning import server_optimizers
from dp_fedemb.models import embedding_model
from dp_fedemb.runs import settings as settings_lib


def name(settings: settings_lib.Settings) -> str:
    """Returns where the shards run: 'workers', 'tff' or 'in_process'."""
    if settings.workers:
        return 'workers'
    if settings.engine is not None:
        return settings.engine
    return 'in_process' if tf.config.list_physical_devices('GPU') else 'tff'


def query(
    settings: settings_lib.Settings,
    run: privacy.PrivateRun,
    record_specs: sum_query.RecordSpecs,
) -> Union[sum_query.MeanQuery, centred.CentredQuery]:
    """Returns the run's mechanism, clipping around public updates where that is asked."""
    mechanism = aggregation.build_query(run, record_specs)
    if settings.centre_clients:
        return centred.CentredQuery(mechanism, record_specs)
    return mechanism


def check(
    settings: settings_lib.Settings,
    plan: privacy.PrivacyPlan,
    public: Optional[store_lib.UserStore],
) -> None:
    """Raises ValueError for an optimizer or a centre that plan or data do not allow."""
    if settings.server_optimizer == 'adam' and (
        plan.mean_noise_stddevs(settings.schedule.rounds) is None
    ):
        raise ValueError(
            f'server_optimizer=adam with mechanism={plan.mechanism.name}: the variance'
            " of its rounds' noise, which Adam takes out, is not known before the run;"
            ' choose sgd, or another mechanism'
        )
    if settings.centre_clients and public is None:
        raise ValueError(
            f'centre_clients={settings.centre_clients}: expected public users to clip'
            ' around, and this task has no public part; leave it at 0'
        )


@contextlib.contextmanager
def engine(
    settings: settings_lib.Settings,
    plan: privacy.PrivacyPlan,
    model: embedding_model.EmbeddingModel,
    mechanism: Union[sum_query.MeanQuery, centred.CentredQuery],
    train: store_lib.UserStore,
    public: Optional[store_lib.UserStore] = None,
) -> Iterator[engine_lib.Engine]:
    """Yields the engine of a run; what it started ends with the context.

    Args:
        settings: of the training.
        plan: of the run.
        model: what is aggregated.
        mechanism: of `query`.
        train: the training users.
        public: public users, where updates are clipped around theirs.
    """
    options = {
        'query': mechanism,
        'centre': _centre(settings, plan, model, public),
        'server_optimizer': server_optimizer(settings, plan),
        'learning_rate_schedule': schedules.build(
            settings.client_lr_schedule, settings.schedule.rounds
        ),
        # Without a guarantee there is nothing outside of it.
        'raw_metrics': settings.raw_metrics or not plan.private,
    }
    parallelism = settings.client_parallelism or runtime_lib.default_parallelism()
    reader = virtual_clients.build_reader(train)
    where = name(settings)
    if where == 'workers':
        remote = remote_engine.RemoteRuntime(settings.workers, settings.worker_timeout_s)
        with remote:
            yield remote_engine.RemoteEngine(
                remote,
                model,
                settings.client,
                train,
                num_shards=settings.client_parallelism or remote.client_parallelism,
                **options,
            )
    elif where == 'in_process':
        yield in_process.InProcessEngine(
            model, settings.client, reader=reader, num_shards=parallelism, **options
        )
    else:
        local_runtime = runtime_lib.LocalRuntime(
            parallelism, settings.intra_op_threads, settings.worker_timeout_s
        )
        with local_runtime as local:
            yield tff_engine.TffEngine(local, model, settings.client, reader=reader, **options)


def server_optimizer(
    settings: settings_lib.Settings, plan: privacy.PrivacyPlan
) -> tff.learning.optimizers.Optimizer:
    """Returns the server's optimizer of a run."""
    schedule = None
    if settings.server_lr_schedule != 'constant':
        schedule = schedules.build(settings.server_lr_schedule, settings.schedule.rounds)
    noise = plan.mean_noise_stddevs(settings.schedule.rounds)
    return server_optimizers.build(
        settings.server_optimizer,
        settings.server_lr,
        settings.server_momentum,
        schedule=schedule,
        noise_stddevs=None if noise is None else np.array(noise),
        adam_floor=settings.server_adam_floor,
        ema=settings.ema,
    )


def _centre(
    settings: settings_lib.Settings,
    plan: privacy.PrivacyPlan,
    model: embedding_model.EmbeddingModel,
    public: Optional[store_lib.UserStore],
) -> Optional[public_centre.PublicCentre]:
    if not settings.centre_clients or public is None:
        return None
    return public_centre.PublicCentre(
        model,
        settings.client,
        public,
        clients=settings.centre_clients,
        users_per_virtual_client=plan.users_per_virtual_client,
        rounds=settings.schedule.rounds,
        # Which public users: no secret.
        seed=0,
    )
