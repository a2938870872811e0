from __future__ import annotations

import shutil

import pytest

from tests import report_check

PAGE = '<!DOCTYPE html><html lang="en"><head><link rel="icon" href="data:,"></head><body>{}</body>'
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.mark.process
@pytest.mark.skipif(
    not any(map(shutil.which, report_check.BROWSERS)), reason="needs a Chromium or Chrome"
)
def test_the_check_finds_what_is_wrong_with_a_page(tmp_path):
    contents = {
        f'<p>good</p><img src="{DOT}" alt="a dot">': "",
        '<script>console.error("broken")</script>': "an error on the console",
        "<script>nothing.here</script>": "an error in a script",
        '<img src="data:image/png;base64,AAAA" alt="a cat">': "not loaded: a cat",
        '<div style="width: 600px">wide</div>': "a horizontal scroll bar: 6",
        '<details><p style="width: 500px">wide</p></details>': "a horizontal scroll bar: 5",
        '<img src="http://127.0.0.1:9/cat.png" alt="a cat">': "leads outside: http://127.0.0.1:9/",
    }
    with report_check.Browser.started(report_check.find_browser()) as browser:
        for number, (content, fault) in enumerate(contents.items()):
            page = tmp_path / f"{number}.html"
            page.write_text(PAGE.format(content), encoding="utf-8")
            screenshot = tmp_path / "shots" / f"{number}.png"
            found = browser.faults(page, 400, screenshot)
            assert any(fault in one for one in found) if fault else not found
            assert screenshot.stat().st_size > 100
        wide = browser.faults(tmp_path / "4.html", 1280, tmp_path / "wide.png")
        assert not wide
        missing = browser.faults(tmp_path / "missing.html", 400, tmp_path / "missing.png")
        assert any("cannot be opened" in one for one in missing)


def test_a_missing_browser_is_said_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert report_check.main(str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "apt-get install chromium" in said
