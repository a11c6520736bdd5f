"""docs/api.md names all that is public, and all of it has a docstring, which the site puts there."""

import inspect
import re

import pytest
from paths import ROOT

import fedtp_jax
from fedtp_jax import export, methods, trackers

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (fedtp_jax, methods, trackers, export)
    for name in module.__all__
    if name != "config"  # its sections are docs/reference.md
}


def test_every_public_name_is_on_the_page():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: (\S+)$", page, re.M)) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring(name):
    assert not without_docstring(PUBLIC[name])


def test_what_has_no_docstring_is_found():
    class Bare:
        pass

    class Member:
        """Said."""

        def told(self):
            """Said."""

        @property
        def silent(self):
            return 1

    assert without_docstring(Bare) == ["Bare"]
    assert without_docstring(methods.make_method) == []
    assert without_docstring(Member) == ["Member.silent"]


def without_docstring(thing):
    """The names of what says nothing: the thing itself, and a class's public functions and properties."""
    made_up = f"{thing.__name__}("  # so begins what dataclasses and named tuples say when nobody else does
    found = [thing.__name__] if (thing.__doc__ or made_up).startswith(made_up) else []
    members = vars(thing).items() if inspect.isclass(thing) else ()
    for name, member in members:
        function = getattr(member, "__func__", member)
        is_code = inspect.isfunction(function) or hasattr(member, "fget") or hasattr(member, "func")
        if is_code and not name.startswith("_") and not member.__doc__:
            found.append(f"{thing.__name__}.{name}")
    return found
