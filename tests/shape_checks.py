"""Signatures of the package are enforced in tests, but for those of nested functions: beartype checks types, jaxtyping
sizes.

jaxtyping's own decorator binds the arguments of each call and checks them twice, for its messages: small volumes were
decoded three times as slowly with it as without.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

# Within it, the name of a size stands for one number.
_SIZES_OF_A_CALL = jaxtyping.jaxtyped("context")
# An int will do for a float, as everywhere in Python.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeError))


def enforce_signatures() -> None:
    """Check all calls of what is imported of the package from now on."""
    jaxtyping.jaxtyped = _enforced  # which the hook decorates functions and classes with
    jaxtyping.install_import_hook("rankseg_med", "beartype.beartype")


def _enforced(decorated: Any = None, *, typechecker: object = None) -> Any:
    if decorated is None:
        return partial(_enforced, typechecker=typechecker)
    if not isinstance(decorated, type):
        return _enforced_function(decorated)
    if dataclasses.is_dataclass(decorated) and not hasattr(decorated.__init__, "__wrapped__"):
        decorated.__init__ = _enforced_function(decorated.__init__)  # type: ignore[method-assign]
    return decorated


def _enforced_function(function: Callable) -> Callable:
    if "<locals>" in function.__qualname__:
        return function  # made anew, and so to be decorated anew, in each call of the function around it

    @cache
    def checked() -> Callable:
        """When it is first called, its module knows all names."""
        function.__annotations__ = {name: _known(hint, function) for name, hint in function.__annotations__.items()}
        return _checked(_called_at_once(function))

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        with _SIZES_OF_A_CALL:
            return checked()(*args, **kwargs)

    return call


def _known(hint: Any, function: Callable) -> Any:
    """The type that is meant; anything where it is imported for type checkers alone."""
    try:
        return eval(hint, function.__globals__) if isinstance(hint, str) else hint  # noqa: S307 - our own source
    except NameError:
        return Any


def _called_at_once(function: Callable) -> Callable:
    """A plain function that makes the generator: what beartype makes of one checks nothing before the first item."""
    if not inspect.isgeneratorfunction(function):
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call
