"""A page on this computer to try a model: a text, its class, how sure the model is, and the words that mattered.

It listens on the loopback address alone. A page from elsewhere that asks it is refused: by the name of the host that it
asked for, and because a browser sends JSON to another site only after asking. Nothing is kept or sent anywhere.
"""

import json
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

from helpers.careful.influence import why
from helpers.careful.words import in_colours
from helpers.models import open_classifier

LONGEST = 1_000_000  # bytes of a question
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def serve(folder, *, port=None, browser=True):
    """Serve the page of the model in `folder` until Ctrl-C."""
    with server(folder, port or 0) as pages:
        address = f"http://127.0.0.1:{pages.server_port}/"
        print(f"The model of {folder} answers on {address} until you press Ctrl-C here.", flush=True)
        if browser:
            webbrowser.open(address)
        try:
            pages.serve_forever()
        except KeyboardInterrupt:
            print("\nClosed.")


def server(folder, port=0):
    """Return the server of the page, not running yet. Port 0: any that is free."""
    opened, one_at_a_time = open_classifier(folder), threading.Lock()
    template = Template((Path(__file__).parent / "own_page.html").read_text(encoding="utf-8"))
    name = Path(folder).resolve().name.replace("&", "&amp;").replace("<", "&lt;")

    class Answer(Handler):
        page = template.substitute(name=name).encode()

        def answer(self, text):
            with one_at_a_time:
                return answer(opened, text)

    return ThreadingHTTPServer(("127.0.0.1", port), Answer)


def answer(opened, text):
    """Return what the page shows of a text: {label, shares: [[class, share], …], words: HTML}."""
    if not text.strip():
        raise ValueError("Type a text first.")
    label, _, pieces, effects = why(opened, text)
    shares = zip(opened.class_names, map(float, opened.probabilities([text])[0]), strict=True)
    shares = sorted(shares, key=lambda pair: -pair[1])
    return {"label": label, "shares": shares, "words": in_colours(pieces, effects)["text/html"]}


class Handler(BaseHTTPRequestHandler):
    """GET / is the page; POST /answer takes {"text": …}. A subclass has `page` (bytes) and `answer` (text → dict)."""

    def do_GET(self):
        if self.is_ours() and self.path == "/":
            self.reply(200, self.page, "text/html; charset=utf-8")
        elif self.is_ours():
            self.reply(404, b"There is nothing here.", "text/plain")

    def do_POST(self):
        if not self.is_ours():
            return
        try:
            length = int(self.headers.get("Content-Length", 0))
            if self.headers.get_content_type() != "application/json" or not 0 < length <= LONGEST:
                raise ValueError(f"A question is JSON of at most {LONGEST:,} bytes.")
            question = json.loads(self.rfile.read(length))
            if self.path != "/answer" or not isinstance(question, dict) or not isinstance(question.get("text"), str):
                raise ValueError('A question is {"text": "…"}, sent to /answer.')
            said, status = self.answer(question["text"]), 200
        except ValueError as problem:
            said, status = {"problem": str(problem)}, 400
        self.reply(status, json.dumps(said).encode(), "application/json")

    def is_ours(self):
        """Was this computer asked by its own name? Otherwise a page from elsewhere has made its name lead here."""
        port = self.server.server_port
        ours = self.headers.get("Host") in (f"127.0.0.1:{port}", f"localhost:{port}")
        if not ours:
            self.reply(403, b"This page answers on 127.0.0.1 alone.", "text/plain")
        return ours

    def reply(self, status, content, kind):
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass  # what people type is nobody's business
