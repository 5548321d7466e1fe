#!/usr/bin/env python3
"""Converts a task's data, once, and prints what was found.

    bin/prepare.py --task=omniglot --data_dir=DIR

Training does the same at its start where it has not been done yet.
"""

from flags import groups
from flags import program


def main(unused_arguments):
    task = groups.task()
    print(task.summary())
    for name, store in task.stores.items():
        print(f'  {name}: {store.path}')


if __name__ == '__main__':
    groups.define_task()
    program.run(main)
