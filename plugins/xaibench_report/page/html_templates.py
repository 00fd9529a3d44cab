"""The templates of the page, filled in: every value is escaped, unless a template says that it is HTML already."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from xaibench_report.boards import wording
from xaibench_report.values.run_values import score_name, short

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """The text of ``templates/TEMPLATE`` with these values. A name that it does not find raises."""
    return _environment().get_template(template).render(values)


def asset(name: str) -> str:
    """The text of ``templates/assets/NAME``, CSS or JavaScript, as it is."""
    return (files("xaibench_report.page") / "templates" / "assets" / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("xaibench_report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers: dict[str, Any] = {"w": wording, "short": short, "score_name": score_name, "asset": asset}
    environment.globals.update(helpers)
    return environment
