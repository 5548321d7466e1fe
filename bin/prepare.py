#!/usr/bin/env python3
"""Converts a task's data, once, and prints what was found.

    bin/prepare.py --task=omniglot --data_dir=DIR

Training does the same at its start where it has not been done yet.
"""

import common
import flag_groups


def main(unused_arguments):
    task = flag_groups.task()
    print(task.summary())
    for name, store in task.stores.items():
        print(f'  {name}: {store.path}')


if __name__ == '__main__':
    flag_groups.define_task()
    common.run(main)
