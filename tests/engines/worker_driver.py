"""Starts a worker and ends in the way the first argument says; for test_workers.py."""

import os
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from dp_fedemb.engines import worker_process
from dp_fedemb.runs import signals


def main(way: str) -> None:
    if way == 'killed during start-up':
        worker_process.WorkerProcess(1)
        os.kill(os.getpid(), signal.SIGKILL)
    with signals.end_cleanly():
        worker = worker_process.WorkerProcess(1)
        worker.wait_until_listening(240)
        if way == 'forgotten':
            print('ready', flush=True)
            return
        if way == 'busy thread':
            threading.Thread(target=time.sleep, args=[0.5]).start()
        try:
            print('ready', flush=True)
            if way == 'exception':
                raise RuntimeError('on purpose')
            if way == 'sys.exit':
                sys.exit(3)
            if way == 'wait':
                time.sleep(600)
        finally:
            worker.stop()
            print('finally', flush=True)


if __name__ == '__main__':
    main(sys.argv[1])
