"""What the graph of a SavedModel could do when it is loaded or called, without doing it.

A SavedModel is a program. TensorFlow runs some of it while it loads, as the user who loads
it, and among its ops are some that read and write files, open connections and call Python.
All of those are told by a name what to reach, and keep state outside of the graph. So an
op passes here that is registered as stateless, and gets no text, resource or container,
neither as an input nor as an attribute that is free; and beside those a few that are known:
constants, variables of the model, calls and conditions, whose bodies are looked at too.
"""

from collections.abc import Collection, Iterable, Iterator
import pathlib
from typing import Any

from dp_fedemb import host_error

FLAG = 'accept_ops'
_PLAIN = ('Const', 'Placeholder', 'NoOp', 'Identity', 'IdentityN', '_Arg', '_Retval', 'Assert')
_VARIABLES = ('VarHandleOp', 'ReadVariableOp', 'AssignVariableOp')
# Of functions of the same graph.
_CALLS = ('PartitionedCall', 'StatefulPartitionedCall', 'If', 'StatelessIf', 'While')
_KNOWN = frozenset((*_PLAIN, *_VARIABLES, *_CALLS, 'StatelessWhile', 'Case', 'StatelessCase'))
# What TensorFlow restores with, and what it saves with, which nobody calls here.
_RESTORES = frozenset((*_PLAIN, 'AssignVariableOp', 'RestoreV2'))
_SAVES = _RESTORES | {
    *('ReadVariableOp', 'DisableCopyOnRead', 'SaveV2', 'MergeV2Checkpoints', 'Pack'),
    *('ShardedFilename', 'StringJoin', 'StaticRegexFullMatch', 'Select', 'SelectV2'),
}
# What saves and restores variables.
_SAVER = frozenset(
    (
        *('SaveV2', 'RestoreV2', 'MergeV2Checkpoints', 'ShardedFilename', 'StringJoin'),
        *('Pack', 'Select', 'StaticRegexFullMatch', 'DisableCopyOnRead'),
    )
)
_STANDS_IN = 'api_implements'
# What restoring may be given: the file's name, variables, and nothing that is computed.
_GIVEN = ('Placeholder', 'VarHandleOp', 'ReadVariableOp', 'NoOp')
# Free text that decides how numbers are summed, and nothing else.
_FREE_TEXT = ('equation',)


def unsafe(path: pathlib.Path) -> list[str]:
    """Returns the names of a SavedModel's ops that could do more than compute, sorted.

    What saves and restores the model's variables for programs that know no object graph may
    hold the ops that it takes, and no others: loading here does not run it, but TFLite's
    converter and TensorFlow Serving do.

    Args:
        path: the SavedModel's directory.

    Raises:
        ValueError: if it cannot be read.
    """
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / 'saved_model.pb').read_bytes())
    except (OSError, message.DecodeError) as error:
        if host_error.of_the_host(error):
            raise
        raise ValueError(f'model={str(path)!r}: damaged SavedModel ({error})') from None
    by_objects = len(model.meta_graphs) == 1 and model.meta_graphs[0].HasField(
        'object_graph_def'
    )
    found: set[str] = set()
    for graph in model.meta_graphs:
        found.update(node.op for node in _reachable(graph, by_objects) if not _passes(node))
        if by_objects:
            found.update(node.op for node in _strange_in_saver(graph))
    return sorted(found)


def check(path: pathlib.Path, accepted: Collection[str] = ()) -> None:
    """Refuses a SavedModel whose ops could do more than compute; runs nothing of it.

    Args:
        path: the SavedModel's directory.
        accepted: names of ops that may be there all the same.

    Raises:
        ValueError: in one line with their names.
    """
    names = [name for name in unsafe(path) if name not in accepted]
    if names:
        raise ValueError(
            f'model={str(path)!r}: a SavedModel is a program, and the ops {", ".join(names)} of'
            ' this one could read or write files, use the network or run Python, or are not'
            f' known; if you trust who made it, accept them: {FLAG}={",".join(names)}'
        )


def _reachable(graph: Any, by_objects: bool) -> Iterator[Any]:
    """Nodes that may run: all, but those that only save and restore."""
    functions = _functions(graph)
    saver = set(_saver(graph)) if by_objects else set()
    nodes = list(graph.graph_def.node)
    begin = [node for node in nodes if node.name not in saver]
    called = {name for node in nodes if node.name in saver for name in _called(node)}
    of_saver = _closure(called, functions)
    # Whatever is not called by the saver alone may be called by an object of the model.
    named = functions.keys() - of_saver
    named |= {name for node in begin for name in _called(node)} | _of_objects(graph)
    named |= {gradient.gradient_func for gradient in graph.graph_def.library.gradient}
    # TensorFlow may call one function for another that is said to compute the same.
    named |= {name for name, function in functions.items() if _STANDS_IN in function.attr}
    yield from begin
    looked_at = _closure(named, functions)
    for name in looked_at:
        yield from functions[name].node_def
    for name in of_saver - looked_at:
        yield from (node for node in functions[name].node_def if node.op not in _SAVER)


def _of_objects(graph: Any) -> set[str]:
    """The functions that the objects of a model are said to have."""
    named = set(graph.object_graph_def.concrete_functions)
    for node in graph.object_graph_def.nodes:
        named.update(node.function.concrete_functions)
        named.add(node.bare_concrete_function.concrete_function_name)
    return named


def _strange_in_saver(graph: Any) -> Iterator[Any]:
    """Nodes of the saver that are not what TensorFlow makes.

    A file is named by what is asked for alone: restoring begins with a placeholder, which
    goes straight into the op that reads.
    """
    functions = _functions(graph)
    nodes = {node.name: node for node in graph.graph_def.node}
    filename, _, restore = _saver(graph)
    for name in _saver(graph):
        node = nodes.get(name)
        if node is None:
            continue
        if name == filename:
            if node.op != 'Placeholder':
                yield node
            continue
        inputs = [nodes.get(each.lstrip('^').split(':')[0]) for each in node.input]
        made = all(each is not None and each.op in _GIVEN for each in inputs)
        # A save is given what it writes too, but nobody who loads a model saves it.
        made = made or name != restore
        if node.op not in ('PartitionedCall', 'StatefulPartitionedCall') or not made:
            yield node
        allowed = _RESTORES if name == restore else _SAVES
        for body in _closure(_called(node), functions):
            for inner in functions[body].node_def:
                # An argument's name has no colon, as that of an op's output has.
                computed = inner.op == 'RestoreV2' and ':' in inner.input[0]
                if inner.op not in allowed or computed:
                    yield inner


def _saver(graph: Any) -> tuple[str, str, str]:
    """Names of the nodes that take a file's name, save and restore."""
    known = graph.saver_def
    names = (known.filename_tensor_name, known.save_tensor_name, known.restore_op_name)
    filename, save, restore = (name.split(':')[0] for name in names)
    return filename, save, restore


def _functions(graph: Any) -> dict[str, Any]:
    return {each.signature.name: each for each in graph.graph_def.library.function}


def _closure(names: Iterable[str], functions: Any) -> set[str]:
    """The functions of these names, and all that they call."""
    seen: set[str] = set()
    waiting = [name for name in names if name in functions]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            for node in functions[name].node_def:
                waiting.extend(each for each in _called(node) if each in functions)
    return seen


def _called(node: Any) -> Iterator[str]:
    # An op may also be the name of a function.
    yield node.op
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name


def _passes(node: Any) -> bool:
    from tensorflow.core.framework import types_pb2
    from tensorflow.python.framework import op_def_registry

    if node.op in _KNOWN:
        return True
    definition = op_def_registry.get(node.op)
    if definition is None or definition.is_stateful:
        return False
    refused = (types_pb2.DT_STRING, types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)
    for argument in (*definition.input_arg, *definition.output_arg):
        attribute = node.attr[argument.type_attr or argument.type_list_attr]
        if {argument.type, attribute.type, *attribute.list.type} & set(refused):
            return False
    return all(
        attribute.HasField('allowed_values') or attribute.name in _FREE_TEXT
        for attribute in definition.attr
        if attribute.type in ('string', 'list(string)')
    )
