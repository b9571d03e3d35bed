"""What workflows call and what activities implement, compared name by name."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import activities
from workflows.signatures import Activities


def _name(method: Any) -> str | None:
    definition = getattr(method, "__temporal_activity_definition", None)
    return definition.name if definition else None


def _implementations() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in pkgutil.walk_packages(activities.__path__, "activities."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name:
                for method in vars(found).values():
                    if name := _name(method):
                        yield name, method


def _shape(method: Callable[..., Any]) -> tuple[list[str], dict[str, Any]]:
    """The parameters' names and the types of parameters and result."""
    return list(inspect.signature(method).parameters), get_type_hints(method)


SIGNATURES = {name: method for method in vars(Activities).values() if (name := _name(method))}
IMPLEMENTATIONS = list(_implementations())


def test_each_signature_has_one_implementation() -> None:
    """And no activity is without a signature."""
    assert sorted(name for name, _ in IMPLEMENTATIONS) == sorted(SIGNATURES)


def test_parameters_and_results_are_the_same() -> None:
    """What a workflow passes is what the activity takes; what it returns is what is awaited."""
    shapes = {name: _shape(method) for name, method in IMPLEMENTATIONS}
    assert shapes == {name: _shape(method) for name, method in SIGNATURES.items()}


def test_each_takes_one_model_and_returns_one() -> None:
    """So that fields can be added to both."""
    for name, method in SIGNATURES.items():
        parameters, hints = _shape(method)
        assert len(parameters) == 2, name
        assert set(hints) == {parameters[1], "return"}, name
