"""Write the page of all studies: reports/studies/index.html.

    facestill study-page

It has a section for every study that left a report. A study is a folder eval/studies/NAME whose
report.py has a TITLE and `section(found)`, the content of page.html.jinja beside it. The page
follows from the reports alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from eval import studies
from eval.reporting.page import render_page
from eval.reporting.style import COLOURS
from manifests.core import layout
from manifests.core.backends import find_backend
from manifests.core.errors import InputError, Parser, conclude, run_command, to_open
from manifests.core.files import write_text
from manifests.settings.study import StudyReport, read_report

TEMPLATE = "studies.html.jinja"
PAGE = layout.STUDY_REPORTS / "index.html"


def study_content(report: StudyReport) -> dict[str, Any]:
    """What the page shows of one study."""
    module = find_backend(studies, "study", report.study, part="report")
    return {
        "name": report.study,
        "title": module.TITLE,
        "template": f"studies/{report.study.replace('-', '_')}/page.html.jinja",
        "content": module.section(report.found),
        "not_measured": report.not_measured,
        "made_from": report.made_from,
        "params": yaml.safe_dump(report.params, sort_keys=False),
    }


def page_content(reports: Sequence[StudyReport]) -> Mapping[str, Any]:
    contents = [study_content(report) for report in reports]
    titles = {each["name"]: each["title"] for each in contents}
    return {"studies": contents, "titles": titles, "colours": COLOURS}


def main() -> None:
    Parser(__doc__).parse_args()
    names = sorted(path.stem for path in layout.STUDY_REPORTS.glob("*.json"))
    if not names:
        raise InputError(f"{layout.STUDY_REPORTS}: no reports; run `make study NAME=…` first")
    page = render_page(page_content([read_report(name) for name in names]), TEMPLATE)
    write_text(PAGE, page)
    conclude(PAGE, ", ".join(names), to_open(PAGE))


if __name__ == "__main__":
    run_command(main)
