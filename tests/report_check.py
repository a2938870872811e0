"""Opens pages in a headless Chromium: `python -m tests.report_check SCREENSHOTS [PAGE.html ...]`.

The browser is driven through its DevTools protocol over a pipe: nothing but the browser has to be
installed.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTHS = (1280, 400)
_PATIENCE_SECONDS = 120.0

# The browser reads descriptor 3 and writes 4; what stands there is moved away before.
_LAUNCHER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""

_FAULTS_IN_PAGE = """
(async () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  const faults = [...document.images]
    .filter((image) => !image.complete || image.naturalWidth === 0)
    .map((image) => `a picture is not loaded: ${image.alt || image.src.slice(0, 80)}`);
  const page = document.scrollingElement;
  if (page.scrollWidth > page.clientWidth)
    faults.push(`a horizontal scroll bar: ${page.scrollWidth} pixels in ${page.clientWidth}`);
  return faults;
})()
"""


def find_browser() -> str | None:
    """Returns the path of an installed browser, or None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Browser:
    """A headless browser with one page."""

    def __init__(self, to_browser: BinaryIO, from_browser: BinaryIO) -> None:
        """Takes the ends of the two pipes of a started browser."""
        self._out, self._in = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self._events: list[dict[str, Any]] = []
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        attached = self._do("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._do(f"{domain}.enable")

    @classmethod
    @contextlib.contextmanager
    def started(cls, program: str) -> Iterator[Browser]:
        """Starts a browser and ends it.

        Args:
            program: Its path.
        """
        their_in, to_browser = os.pipe()
        from_browser, their_out = os.pipe()
        with (
            os.fdopen(to_browser, "wb") as out,
            os.fdopen(from_browser, "rb") as answers,
            tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as home,
        ):
            flags = ["--headless", "--remote-debugging-pipe", f"--user-data-dir={home}"]
            flags += ["--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
            # Chromium's sandbox refuses to work for root, as whom containers mostly run.
            flags += ["--no-sandbox"] if os.geteuid() == 0 else []
            process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCHER, str(their_in), str(their_out), program, *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(their_in, their_out),
            )
            os.close(their_in)
            os.close(their_out)
            watchdog = threading.Timer(_PATIENCE_SECONDS, process.kill)
            watchdog.start()
            try:
                yield cls(out, answers)
            finally:
                watchdog.cancel()
                process.kill()
                process.wait()

    def faults(self, page: Path, width: int, screenshot: Path) -> list[str]:
        """Opens a page, with all that can be unfolded, and takes a picture of it.

        Args:
            page: The file.
            width: Of the window, in pixels.
            screenshot: The PNG file to write.

        Returns:
            What is wrong with it, a sentence each.
        """
        if trouble := self.open(page, width):
            return [trouble]
        found = self.evaluate(_FAULTS_IN_PAGE)
        self.photograph(screenshot)
        return [*found, *self.complaints()]

    def open(self, page: Path, width: int = WIDTHS[0]) -> str | None:
        """Opens a page, or the same one anew; returns why it cannot be opened."""
        self._events.clear()
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        answer = self._do("Page.navigate", url=page.resolve().as_uri())
        if "errorText" in answer:
            return f"it cannot be opened: {answer['errorText']}"
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next())
        return None

    def complaints(self) -> list[str]:
        """What is wrong with the page since it was opened, as far as the browser says so."""
        return [*filter(None, map(_complaint, self._events))]

    def photograph(self, screenshot: Path) -> None:
        """Takes a picture of the whole page, as a PNG file."""
        taken = self._do("Page.captureScreenshot", captureBeyondViewport=True)
        screenshot.parent.mkdir(parents=True, exist_ok=True)
        screenshot.write_bytes(base64.b64decode(taken["data"]))

    def evaluate(self, expression: str) -> Any:
        """Returns the value of JavaScript in the page, of a promise what it resolves to."""
        found = self._do(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Clicks with the mouse on the middle of an element, which is scrolled to."""
        x, y = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self._do("Input.dispatchMouseEvent", **event)

    def press(self, *keys: str) -> None:
        """Presses keys of the keyboard, one after the other: letters, or names such as Enter."""
        for key in keys:
            event = {"key": key}
            if len(key) == 1:
                event["text"] = key
            elif key == "Enter":
                event |= {"text": "\r", "windowsVirtualKeyCode": 13}
            elif key == "Tab":
                event |= {"code": "Tab", "windowsVirtualKeyCode": 9}
            self._do("Input.dispatchKeyEvent", type="keyDown", **event)
            self._do("Input.dispatchKeyEvent", type="keyUp", key=key)

    def upload(self, selector: str, file: Path) -> None:
        """Chooses a file in an element for files."""
        found = self._do("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        object_id = found["result"]["objectId"]
        self._do("DOM.setFileInputFiles", files=[str(file.resolve())], objectId=object_id)

    def download(self, start: Callable[[], None], folder: Path) -> Path:
        """Does what starts a download and returns the file, once it is whole.

        Args:
            start: What starts it.
            folder: Where the file goes.
        """
        folder.mkdir(exist_ok=True)
        where = {"behavior": "allow", "downloadPath": str(folder.resolve()), "eventsEnabled": True}
        self._do("Browser.setDownloadBehavior", **where)
        before = len(self._events)
        start()
        name = ""
        while True:
            while len(self._events) > before:
                event = self._events.pop(before)
                content = event.get("params", {})
                if event.get("method") == "Browser.downloadWillBegin":
                    name = content["suggestedFilename"]
                elif content.get("state") == "completed":
                    return folder / name
            self._events.append(self._next())

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Gives a command and returns its result; events that come before it are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != number:
            self._events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has ended.")
            message += byte
        return json.loads(message)


def _complaint(event: dict[str, Any]) -> str | None:
    """What an event says of a page that is not as it should be."""
    content = event.get("params", {})
    match event.get("method"):
        case "Runtime.exceptionThrown":
            return f"an error in a script: {content['exceptionDetails']['text']}"
        case "Runtime.consoleAPICalled" if content["type"] in ("error", "assert"):
            return f"an error on the console: {content['args']}"
        case "Log.entryAdded" if content["entry"]["level"] == "error":
            return f"an error on the console: {content['entry']['text']}"
        case "Network.requestWillBeSent":
            url = content["request"]["url"]
            if not url.startswith("data:") and content["type"] != "Document":
                return f"a reference that leads outside: {url}"
    return None


def main(screenshots: str, *pages: str) -> int:
    """Checks pages at both widths.

    Args:
        screenshots: The directory for their pictures.
        *pages: The files.

    Returns:
        0 where nothing is wrong, otherwise 1; 2 where no browser is installed.
    """
    program = find_browser()
    if program is None:
        print(
            f"No browser was found (tried: {', '.join(BROWSERS)}): install one, on Debian and "
            "Ubuntu with apt-get install chromium.",
            file=sys.stderr,
        )
        return 2
    faults = 0
    with Browser.started(program) as browser:
        for page in map(Path, pages):
            for width in WIDTHS:
                picture = Path(screenshots) / f"{page.parent.name}-{page.stem}-{width}.png"
                found = browser.faults(page, width, picture)
                faults += len(found)
                print(f"{page} at {width} pixels: {'; '.join(found) or 'good'} ({picture})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
