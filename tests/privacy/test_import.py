"""The package that decides about privacy can be read, and loaded, by itself."""

import subprocess
import sys

SCRIPT = """
import sys
import dp_fedemb.privacy
import dp_fedemb.privacy.reporting.extrapolation
import dp_fedemb.privacy.reporting.signal_to_noise
print(*sorted(sys.modules))
"""


def test_privacy_loads_nothing_heavy_and_nothing_else_of_ours():
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()
    heavy = ('tensorflow', 'jax', 'jaxlib', 'keras', 'matplotlib', 'PIL')
    assert [name for name in modules if name.startswith(heavy)] == []
    ground = [
        'environment',
        'files',
        'progress',
        'randomness',
        'settings',
        'tables',
        'validate',
        'version',
    ]
    allowed = {'dp_fedemb', *(f'dp_fedemb.{name}' for name in ground)}
    ours = {name for name in modules if name.startswith('dp_fedemb')}
    foreign = {name for name in ours - allowed if not name.startswith('dp_fedemb.privacy')}
    assert foreign == set()
    assert 'dp_fedemb.privacy.plan' in ours
