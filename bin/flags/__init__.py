"""Flags that several binaries share, and how a binary starts."""

import os
import pathlib
import sys
from types import TracebackType

# The checkout, so that the modules of this package and those after them find it.
ROOT = pathlib.Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def _in_one_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """What is shown of an end before `program.run`, while modules are still loaded."""
    if isinstance(error, KeyboardInterrupt):
        print('error: stopped by SIGINT; run the same command again', file=sys.stderr)
        return
    try:
        from flags import host

        text = host.trouble(error)
    except Exception:
        text = None
    if text is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(f'error: {" ".join(text.split())}', file=sys.stderr, flush=True)
    os._exit(os.EX_TEMPFAIL)


sys.excepthook = _in_one_line
