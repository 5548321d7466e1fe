"""The formats by name."""

from collections.abc import Sequence

from dp_fedemb import known_names
from dp_fedemb.export import keras_file
from dp_fedemb.export import onnx_file
from dp_fedemb.export import runtime
from dp_fedemb.export import saved_model_copy
from dp_fedemb.export import tflite

# Name (as in --formats) -> format; what is exact comes first.
FORMATS: dict[str, runtime.Format] = {
    'saved_model': runtime.Format(
        'saved_model',
        'TensorFlow SavedModel, signature serving_default',
        saved_model_copy.write,
        saved_model_copy.load,
    ),
    'keras': runtime.Format(
        'model.keras',
        'Keras file of plain Keras layers',
        keras_file.write,
        keras_file.load,
    ),
    'onnx': runtime.Format(
        'model.onnx',
        'ONNX, opset 17',
        onnx_file.write,
        onnx_file.load,
        needs='tf2onnx',
    ),
    'tflite': runtime.Format(
        'model.tflite',
        'TensorFlow Lite, float32',
        tflite.write_float32,
        tflite.load,
    ),
    'tflite_float16': runtime.Format(
        'model_float16.tflite',
        'TensorFlow Lite, weights in float16',
        tflite.write_float16,
        tflite.load,
        exact=False,
    ),
    'tflite_int8': runtime.Format(
        'model_int8.tflite',
        'TensorFlow Lite, weights and arithmetic in 8-bit integers',
        tflite.write_int8,
        tflite.load,
        exact=False,
    ),
}


def check(names: Sequence[str]) -> None:
    """Raises ValueError for an unknown format, none, or one whose package is missing."""
    needs = {name: of_format.needs for name, of_format in FORMATS.items()}
    known_names.check_export_formats(names, needs)
