"""The code of docs/: snippets and commands run, excerpts stand in the files that they name."""

from __future__ import annotations

import re
import textwrap

import pytest

import mkdocs_hooks
from tests import documentation

DOCS = documentation.ROOT / "docs"
# Written for readers, and run here; the other pages report what was measured.
GUIDES = [
    "index.md",
    "method.md",
    *sorted(f"guides/{one.name}" for one in DOCS.glob("guides/*.md")),
]
PAGES = sorted(
    str(one.relative_to(DOCS)) for one in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]
)
# Pages with code that is not run here, and why.
RUN_ELSEWHERE = {
    "distributed.md": "needs several devices; tests/reweighting/test_replicas.py has them made up",
}
# Commands that are not run here, by a part of them, and why.
NOT_RUN = {
    "pip install": "needs the network; `make compat` installs the wheel and trains with it",
    "keras.applications:MobileNetV2": "downloads weights; tests/networks/ has it without",
}
HAVE_COMMANDS = [one for one in GUIDES if documentation.commands(DOCS / one)]
HAVE_SNIPPETS = [one for one in GUIDES if documentation.has_snippets(DOCS / one)]


@pytest.mark.slow
@pytest.mark.parametrize("page", [one for one in HAVE_COMMANDS if one != "guides/gpu.md"])
def test_commands_run_in_their_order(page, tmp_path, monkeypatch):
    documentation.go_to_data(tmp_path, monkeypatch)
    for words in documentation.commands(DOCS / page):
        if not any(part in " ".join(words) for part in NOT_RUN):
            assert documentation.run(words, tmp_path) == 0, words
    if page == "guides/command_line.md":
        # Its snippet takes the network that its first command has trained.
        names = documentation.run_snippets(DOCS / page)
        assert names["probabilities"].shape == (len(names["x_test"]), 10)
    if page == "guides/images.md":
        assert {one.name for one in (tmp_path / "photos_clean").iterdir()} == set("abc")


@pytest.mark.slow
@pytest.mark.parametrize("page", [one for one in HAVE_SNIPPETS if one not in HAVE_COMMANDS])
def test_snippets_run_in_their_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = documentation.run_snippets(DOCS / page)
    if "w" in names:
        assert names["w"].shape[0] in (50, 100)


@pytest.mark.slow
def test_the_snippets_of_the_first_page_find_suspects():
    names = documentation.run_snippets(DOCS / "index.md")
    assert len(names["suspects"]) == 20
    truth = documentation.true_labels()
    assert (names["y"] != truth)[names["suspects"]].mean() > (names["y"] != truth).mean() + 0.2


@pytest.mark.parametrize("page", PAGES)
def test_excerpts_stand_in_their_files(page):
    for one in documentation.blocks(DOCS / page):
        if one.title:
            text = (documentation.ROOT / one.title).read_text("utf-8")
            # An excerpt begins at the margin.
            indented = [textwrap.indent(one.text, " " * depth) for depth in range(0, 20, 4)]
            assert any(f"\n{lines}" in text for lines in indented), one.text


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_code_that_nobody_runs(page):
    has_code = documentation.has_snippets(DOCS / page) or documentation.commands(DOCS / page)
    assert page in GUIDES or page in RUN_ELSEWHERE or not has_code


def test_every_page_is_in_the_navigation_and_no_other():
    pages = re.findall(r": ([\w/]+\.md)$", (DOCS.parent / "mkdocs.yml").read_text("utf-8"), re.M)
    studies = [f"studies/{one.name}" for one in DOCS.glob("studies/*.md")]
    assert sorted(pages) == sorted([*PAGES, *studies])


def test_files_outside_of_a_page_exist():
    """`mkdocs build --strict` knows links, and no names in prose."""
    for page in GUIDES:
        text = (DOCS / page).read_text("utf-8")
        for name in re.findall(r"`(?:python )?((?:examples|tests|l2rw_tf)/[\w/.]+)`", text):
            assert (DOCS.parent / name).exists(), f"{page}: {name}"


def test_tables_and_lists_get_the_empty_line_before_them():
    page = "Text:\n- one\n  more\n- two\n```\nx\n- y\n| z |\n```\n| a |\n|---|\n| b |\n\n1. c"
    assert mkdocs_hooks.on_page_markdown(page) == page.replace(":\n", ":\n\n").replace(
        "\n| a", "\n\n| a"
    )
