"""Before gradio: the requests that the page makes pass, all others are refused."""

import asyncio
import json

import pytest

from prolip.retrieval.page.guard import QUESTION, Guard

NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
LIMIT = 10_000


def ask(method, path, body=b"", names=NAMES, pieces=1, **headers):
    """Status, headers and body of the answer, and the body that was let through or None."""
    seen, sent = [], []

    async def app(scope, receive, send):
        assert not [name for name, _ in scope["headers"] if b"forwarded" in name]
        message = await receive()
        seen.append(message["body"])
        if scope["method"] == "POST":
            lengths = [value for name, value in scope["headers"] if name == b"content-length"]
            assert lengths == [str(len(message["body"])).encode()] or scope["path"] != QUESTION
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"passed"})

    size = -(-max(1, len(body)) // pieces)
    parts = [body[i : i + size] for i in range(0, max(1, len(body)), size)]
    messages = [
        {"type": "http.request", "body": part, "more_body": i + 1 < len(parts)}
        for i, part in enumerate(parts)
    ]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    named = {"host": "127.0.0.1:7860", "content-length": str(len(body))} | headers
    raw = [(name.encode(), value.encode("latin1")) for name, value in named.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    asyncio.run(Guard(app, names, LIMIT)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"], next(iter(seen), None)


def question(**fields):
    values = {"data": ["a cat", "csd", False, 20, 0.5, None], "fn_index": 0, "session_hash": "s"}
    return json.dumps(values | fields).encode()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/theme.css"),
        ("GET", "/assets/index-DphvyggB.js"),
        ("GET", "/static/js/iframeResizer.contentWindow.min.js"),
        ("GET", "/gradio_api/queue/data"),
        ("GET", "/gradio_api/heartbeat/abc123"),
    ],
)
def test_what_the_page_asks_for_passes(method, path):
    status, headers, body, seen = ask(method, path)
    assert (status, body, seen) == (200, b"passed", b"")
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_what_a_proxy_is_said_to_have_said_does_not_reach_the_page():
    forwarded = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}
    forwarded |= {"forwarded": "host=evil.example", "x-forwarded-prefix": "/evil"}
    assert ask("GET", "/", **forwarded)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/proxy=https://example.org",
        "/gradio_api/upload",
        "/gradio_api/upload_progress",
        "/gradio_api/stream/a/b/c/playlist.m3u8",
        "/gradio_api/custom_component/a/client/component/x.js",
        "/gradio_api/run/search",
        "/gradio_api/call/search",
        "/gradio_api/vibe-code",
        "/gradio_api/process_recording",
        "/gradio_api/runs",
        "/gradio_api/info",
        "/gradio_api/deep_link",
        "/config",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/assets/../../../etc/passwd",
        "/assets/..",
        "/assets/.hidden",
        "/assets//etc/passwd",
        "/static/a\\..\\b",
        "/static/",
        "//",
        "/\n",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_nothing_else_passes(method, path):
    status, headers, _, seen = ask(method, path)
    assert (status, seen) == (404, None)
    assert b"content-security-policy" in headers


def test_other_methods_do_not_pass():
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"):
        assert ask(method, "/")[::3] == (405, None)
    assert ask("POST", "/")[::3] == (404, None)
    assert ask("GET", QUESTION)[::3] == (404, None)


def test_a_question_passes_with_the_fields_that_it_needs():
    status, _, _, seen = ask(
        "POST", QUESTION, question(event_data={"a": 1}, batched=True), pieces=3
    )
    assert status == 200
    assert json.loads(seen) == json.loads(question()) | {"trigger_id": None}


@pytest.mark.parametrize(
    "body",
    [
        question(data=[{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]),
        question(data=[["/etc/passwd"]]),
        question(data={"path": "/etc/passwd"}),
        question(data="text"),
        question(data=None),
        question(session_hash={"a": 1}),
        question(fn_index=[0]),
        b"[]",
        b"3",
        b"{",
        b"\xff",
        b"",
        b"[" * 5000,
    ],
)
def test_gradio_gets_no_objects_which_it_might_take_for_files(body):
    assert ask("POST", QUESTION, body)[::3] == (400, None)


def test_a_large_question_does_not_pass_whatever_length_it_says():
    long = question(data=["x" * LIMIT])
    assert ask("POST", QUESTION, long)[::3] == (413, None)
    assert ask("POST", QUESTION, long, pieces=50, **{"content-length": "10"})[::3] == (413, None)
    assert ask("POST", "/gradio_api/cancel", b"x" * 5000)[::3] == (413, None)
    assert ask("POST", "/gradio_api/cancel", b"{}")[::3] == (200, b"{}")


def test_another_name_does_not_lead_to_this_machine():
    """A page anywhere could point its own name here, and read the answers as its own."""
    for host in ("127.0.0.1", "localhost:7860", "LOCALHOST", "[::1]:7860"):
        assert ask("GET", "/", host=host)[0] == 200
    for host in ("example.org", "127.0.0.1.example.org:7860", "localhost.example.org", ""):
        assert ask("GET", "/", host=host)[::3] == (421, None)
    assert ask("GET", "/", host="search.example.org", names=None)[0] == 200


def test_another_page_may_not_ask():
    own = {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}
    assert ask("POST", QUESTION, question(), **own)[0] == 200
    for origin in ("https://example.org", "null", "http://127.0.0.1:8000", "http://localhost:7860"):
        assert ask("POST", QUESTION, question(), origin=origin)[::3] == (403, None)
