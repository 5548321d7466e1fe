"""TensorFlow Lite: one file for telephones and small machines."""

from collections.abc import Iterator
import functools
import pathlib
from typing import Any

import numpy as np

from dp_fedemb.export import runtime


def _write(
    kind: str, saved_model: pathlib.Path, path: pathlib.Path, calibration: np.ndarray
) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if kind != 'float32':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == 'float16':
        converter.target_spec.supported_types = [tf.float16]
    if kind == 'int8':
        # Ranges of activations are measured on these, one by one.
        def representative() -> Iterator[list[np.ndarray]]:
            for row in range(len(calibration)):
                yield [calibration[row : row + 1]]

        converter.representative_dataset = representative
    path.write_bytes(converter.convert())


# See `runtime.Format`: weights and arithmetic in float32; weights in float16; weights and
# arithmetic in 8-bit integers.
write_float32 = functools.partial(_write, 'float32')
write_float16 = functools.partial(_write, 'float16')
write_int8 = functools.partial(_write, 'int8')


def load(path: pathlib.Path) -> runtime.Embed:
    """Loads it with the TFLite interpreter; see `runtime.Format`."""
    import tensorflow as tf

    interpreter: Any = tf.lite.Interpreter(model_path=str(path))
    run = interpreter.get_signature_runner('serving_default')
    (name,) = run.get_input_details()
    return lambda examples: run(**{name: examples})['embeddings']
