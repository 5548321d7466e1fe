"""What has failed is the machine, and neither the input nor the code.

Binaries end with one line then, and a search of many runs ends with its first run that
met it, since the next ones would too and none of them tells anything of its settings.
"""


class HostError(RuntimeError):
    """Its text says in one line what happened; the same command goes on later."""
