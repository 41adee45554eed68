"""What stands before gradio: the few requests that the page makes, and none of the others.

gradio answers requests for files, for other addresses in the server's name, for uploads and for
code. The page needs nothing of that, so nothing of it can be reached: pictures are part of the
answers, and a query's image comes as text in the question.
"""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

NAME = r"(?!\.)[\w.\-]+"
QUESTION = "/gradio_api/queue/join"
ALLOWED = {
    "GET": re.compile(
        r"/|/favicon\.ico|/manifest\.json|(/gradio_api)?/theme\.css|/gradio_api/startup-events"
        rf"|/gradio_api/queue/data|/gradio_api/heartbeat/\w+|/(assets|static)(/{NAME})+"
    ),
    "POST": re.compile(rf"{QUESTION}|/gradio_api/(cancel|reset)"),
}
ALLOWED["HEAD"] = ALLOWED["GET"]
FIELDS = ("data", "fn_index", "trigger_id", "session_hash")
MAX_SMALL = 4096  # Bytes of a body that is no question.
# Templates of gradio's page are compiled in the browser, hence `unsafe-eval`.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """An ASGI application before another one.

    Args:
      app: that is guarded.
      names: of the host, that a request may ask; None allows any. Without them, a page anywhere
        could have its own name lead to 127.0.0.1 and read the collection.
      max_bytes: of a question.
    """

    def __init__(self, app: App, names: frozenset[str] | None, max_bytes: int):
        self._app, self._names, self._max_bytes = app, names, max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Lets pass or refuses."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        status, reason = self._judge(scope)
        if status != 200:
            await _refuse(send, status, reason)
            return
        if scope["method"] == "POST":
            question = scope["path"] == QUESTION
            body = await _body(receive, self._max_bytes if question else MAX_SMALL)
            if body is None:
                await _refuse(send, 413, "The request is too large.")
                return
            if question:
                body = _question(body)
                if body is None:
                    await _refuse(send, 400, "A question is a list of texts and numbers.")
                    return
                kept = [header for header in scope["headers"] if header[0] != b"content-length"]
                length = (b"content-length", str(len(body)).encode())
                scope = {**scope, "headers": [*kept, length]}
            receive = _replay(body, receive)
        # gradio builds addresses in the page from what a proxy says, which anybody can say.
        kept = [header for header in scope["headers"] if not _is_forwarded(header[0])]
        await self._app({**scope, "headers": kept}, receive, _with_headers(send))

    def _judge(self, scope: Message) -> tuple[int, str]:
        headers = {name: value.decode("latin1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if self._names is not None and _name(host) not in self._names:
            return 421, f"Ask for {' or '.join(sorted(self._names))}."
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "Another page may not ask."
        allowed = ALLOWED.get(scope["method"])
        if allowed is None:
            return 405, "Not a request of the page."
        if not allowed.fullmatch(scope["path"]):
            return 404, "Not a part of the page."
        return 200, ""


def _is_forwarded(name: bytes) -> bool:
    return name.lower() == b"forwarded" or name.lower().startswith((b"x-forwarded-", b"x-real-"))


def _name(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()


def _question(body: bytes) -> bytes | None:
    """The question with texts and numbers only, or None: gradio takes objects for files."""
    try:
        values = json.loads(body)
        fields = {name: values.get(name) for name in FIELDS}
        data = fields["data"]
        flat = [*data, *(fields[name] for name in FIELDS[1:])]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(data, list):
        return None
    if not all(value is None or isinstance(value, str | int | float) for value in flat):
        return None
    return json.dumps(fields).encode()


async def _body(receive: Receive, most: int) -> bytes | None:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > most:
            return None
        if not message.get("more_body"):
            return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    own = {name for name, _ in HEADERS}

    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [h for h in message.get("headers", []) if h[0].lower() not in own]
            message = {**message, "headers": [*others, *HEADERS]}
        await send(message)

    return add


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
