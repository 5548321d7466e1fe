"""What runs would take: hours and memory, from a local step that is measured here."""

from collections.abc import Mapping, Sequence
import tomllib
from typing import Any, Optional

from flags import ROOT

from dp_fedemb import tables
from dp_fedemb.tuning import cells as cells_lib
from dp_fedemb.tuning import running
from dp_fedemb.tuning import step_time
import tasks
from tasks import synthetic

_SIZES = ROOT / 'tasks' / 'configs' / 'paper' / 'sizes.toml'


def size_of(task: str, found: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
    """Returns sizes of a task, published or as its options say; None where nobody knows.

    Args:
        task: its name.
        found: facts of a run, see `many_runs`.
    """
    given = dict(text.partition('=')[::2] for text in found.get('task_option', ()))
    if task == synthetic.NAME:
        options = tasks.parse_options(synthetic.Options, tasks.TaskConfig(options=given), task)
        examples = options.identities_per_user * options.images_per_identity
        return {'examples_per_user': examples, 'side': options.image_size, 'channels': 1}
    # Users of another kind have other sizes.
    return None if 'user' in given else tomllib.loads(_SIZES.read_text()).get(task)


def dry_run(
    cells: Sequence[cells_lib.Cell],
    facts: Sequence[Mapping[str, Any]],
    programs: running.Programs,
    task: str,
    jobs: int,
) -> None:
    """Prints every command, with hours and memory where a task's sizes are known.

    Args:
        cells: of tables.
        facts: of each, see `many_runs`.
        programs: how they are run.
        task: of all of them.
        jobs: cells at once.
    """
    measured: dict[step_time.Workload, step_time.Measured] = {}
    total, most = 0.0, 0
    for cell, found in zip(cells, facts, strict=True):
        print(programs.published_line(cell))
        size = size_of(task, found)
        if 'rounds' not in found or size is None:
            print('  no estimate: ' + ('not trained in rounds' if size else 'sizes unknown'))
            continue
        shape = (size['side'], size['side'], size['channels'])
        workload = step_time.Workload(
            found['backbone'], found['embedding_dim'], shape, found['batch_size'], found['head']
        )
        if workload not in measured:
            measured[workload] = step_time.measure(workload)
        step = measured[workload]
        examples = size['examples_per_user']
        hours = step_time.hours(
            step,
            rounds=found['rounds'],
            users_per_round=found['virtual_clients_per_round']
            * found['users_per_virtual_client'],
            examples_per_user=min(examples, found['max_examples_per_user'] or examples),
            local_epochs=found['local_epochs'],
            batch_size=found['batch_size'],
            users_per_virtual_client=found['users_per_virtual_client'],
        )
        total += hours
        most = max(most, step.memory_bytes)
        rows = [
            ('a local step', f'{1000 * step.step_seconds:.4g} ms, measured'),
            ('local steps of the run', f'{hours:.3g} hours on one core'),
            ('memory', f'{step.memory_bytes / 2**30:.2f} GB, measured'),
        ]
        print(tables.text(rows, indent=2), flush=True)
    print(
        f'{len(cells)} cells: {total:.3g} core hours of local steps, {total / jobs:.3g}'
        f' hours on {jobs} cores; {jobs * most / 2**30:.2f} GB for {jobs}'
        ' cells at once. Evaluation and conversion come on top.'
    )
