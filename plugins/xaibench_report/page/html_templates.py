"""The templates of the page, filled in: every value is escaped, unless a template says that it is HTML already."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from xaibench_report.boards import wording
from xaibench_report.page.page_assets import json_script
from xaibench_report.values.run_values import score_name, short

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """The text of ``templates/TEMPLATE`` with these values. A name that it does not find raises."""
    return _environment().get_template(template).render(values)


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
    helpers: dict[str, Any] = {"w": wording, "short": short, "score_name": score_name, "json_script": json_script}
    environment.globals.update(helpers)
    return environment
