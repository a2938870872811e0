"""What `mkdocs.yml` asks of Python: pages that GitHub shows well are shown well by the site too."""

from __future__ import annotations

import re
from typing import Any

_LIST_ITEM = re.compile(r"([-*]|\d+\.) ")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the empty line before tables and lists that Python-Markdown needs and GitHub does not.

    Args:
        markdown: A page.

    Returns:
        The same page with these lines; fenced blocks are left as they are.
    """
    lines: list[str] = []
    is_fenced = False
    for line in markdown.splitlines():
        before = lines[-1] if lines else ""
        begins_table = line.startswith("|") and not before.startswith("|")
        is_in_list = before.startswith(" ") or _LIST_ITEM.match(before)
        begins_list = _LIST_ITEM.match(line) and not is_in_list
        if not is_fenced and before.strip() and (begins_table or begins_list):
            lines.append("")
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        lines.append(line)
    return "\n".join(lines)
