"""ONNX: one file for the runtimes of other languages and makers."""

import pathlib
from typing import Any

import numpy as np

from dp_fedemb.export import runtime

# Read by every onnxruntime since 1.14 (2023).
_OPSET = 17


def write(saved_model: pathlib.Path, path: pathlib.Path, calibration: np.ndarray) -> None:
    """Converts the SavedModel; see `runtime.Format`."""
    del calibration
    import tensorflow as tf
    import tf2onnx

    function, name, spec = runtime.signature(saved_model)
    spec = tf.TensorSpec([None, *spec.shape[1:]], spec.dtype, name=name)

    @tf.function(input_signature=[spec], autograph=False)
    def embed(examples: Any) -> dict[str, Any]:
        return {'embeddings': function(**{name: examples})['embeddings']}

    converted, _ = tf2onnx.convert.from_function(
        embed, input_signature=embed.input_signature, opset=_OPSET
    )
    for tensor in (*converted.graph.input, *converted.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = 'n'
    path.write_bytes(converted.SerializeToString())


def load(path: pathlib.Path) -> runtime.Embed:
    """Loads it with onnxruntime; see `runtime.Format`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    (taken,) = session.get_inputs()
    return lambda examples: session.run(['embeddings'], {taken.name: examples})[0]
