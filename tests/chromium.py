"""A page in headless Chromium, spoken to by its debugging protocol over two pipes."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT = 60  # seconds
AS_3_AND_4 = """
import os, sys
for number, pipe in enumerate(sys.argv[1:3]): os.dup2(int(pipe), 203 + number)
for number in (3, 4): os.dup2(200 + number, number)
os.execv(sys.argv[3], sys.argv[3:])
"""  # where Chromium listens and answers


class Browser:
    """One page; `errors` are all that its console was told of as errors, its policy's refusals among them."""

    def __init__(self, send, receive):
        self.send, self.receive, self.left, self.number, self.errors = send, receive, b"", 0, []
        self.session = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """The protocol's answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self):
        while b"\0" not in self.left:
            self.left += os.read(self.receive, 1 << 20)
        text, _, self.left = self.left.partition(b"\0")
        message = json.loads(text)
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        if message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        if message.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(params["args"])
        return message

    def open(self, path, width=1280, height=900, scripts=True):
        """Show a file, and wait until its charts are drawn."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=path.resolve().as_uri())
        if scripts:
            self.wait("document.documentElement?.dataset.explored === 'yes'")

    def js(self, expression):
        """What it evaluates to, as JSON can hold it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression):
        """Until it is true."""
        until = time.monotonic() + WAIT
        while not self.js(expression):
            assert time.monotonic() < until, (expression, self.errors)
            time.sleep(0.05)

    def picture(self, path):
        """The whole page as a PNG file."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser(profile):
    """A browser that keeps what it must in the folder `profile`."""
    (theirs, send), (receive, ours) = os.pipe(), os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    options += [f"--user-data-dir={profile}", "--no-first-run", "--disable-dev-shm-usage"]
    process = subprocess.Popen(
        [sys.executable, "-c", AS_3_AND_4, str(theirs), str(ours), CHROMIUM, *options],
        pass_fds=(theirs, ours),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs), os.close(ours)
    try:
        yield Browser(send, receive)
    finally:
        process.kill()
        process.wait()
        os.close(send), os.close(receive)
