"""The page as gradio serves it: over HTTP, and in a browser. Both need the extra `serve`."""

import contextlib
import gc
import http.client
import json
import re
import socket
import threading
import time
import warnings
from pathlib import Path

import pytest
from chromium import PATH, Chromium
from served import COUNT, address, make
from small_model import picture, png, small_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of packages that gradio imports.
    pytest.importorskip("gradio", reason="needs gradio: pip install 'prolip[serve]'")

import uvicorn

import prolip
from prolip.retrieval import serve

# Of gradio's own code: pandas as it was, event loops that stay open.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SECONDS = 60
EVIL = "<img src=x onerror='window.hacked=1'>${window.hacked=2}{{value}}`.png"


@contextlib.contextmanager
def running(directory):
    """Port of a page."""
    listener = serve.listen(serve.HOST, 0)
    server = uvicorn.Server(serve.configuration(serve.application(directory)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()
        gc.collect()  # gradio leaves event loops open; here it is known whose they are.


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    return make(model, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def port(directory):
    with running(directory) as number:
        yield number


def ask(port, method, path, body=None, **headers):
    """Status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def functions(port):
    """Number of the function behind each element that can be used."""
    page = ask(port, "GET", "/")[2].decode()
    config = json.JSONDecoder().raw_decode(page.partition("window.gradio_config = ")[2])[0]
    names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
    return {
        names[target]: dependency["id"]
        for dependency in config["dependencies"]
        for target, _ in dependency["targets"]
    }


def search(port, function, *data):
    """HTML that the page shows after a question."""
    session = f"test{time.monotonic_ns()}"
    body = json.dumps({"data": data, "fn_index": function, "session_hash": session})
    kind = {"Content-Type": "application/json"}
    status, _, text = ask(port, "POST", "/gradio_api/queue/join", body, **kind)
    assert status == 200, text
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        for line in connection.getresponse():
            message = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                assert message["success"], message
                return message["output"]["data"][-1]
    raise AssertionError("no answer")


SETTINGS = ("csd", False, 5, 1e9, 1e9)


def settings(port, **changes):
    """Values of the settings as the page starts, with the sliders at their right ends."""
    page = ask(port, "GET", "/")[2].decode()
    config = json.JSONDecoder().raw_decode(page.partition("window.gradio_config = ")[2])[0]
    props = {part["props"].get("elem_id"): part["props"] for part in config["components"]}
    values = {name: props[name]["value"] for name in ("by", "k", "items", "queries")}
    return list((values | changes).values())


def test_a_search_over_http_finds_what_the_index_finds(port, directory, model):
    number = functions(port)
    index = prolip.Index.open(directory)
    for by in ("csd", "mean"):
        html = search(port, number["search"], "thing number 5", *settings(port, by=by, k=7))
        [answer] = index.search("thing number 5", 7, by=by, model=model)
        assert re.findall(r'class="name">([^<]*)<', html) == answer.ids
        assert html.count("data:image/jpeg;base64,") == 7
    html = search(port, number["well"], address(png(4)), *settings(port, k=1, by="mean"))
    assert 'class="name">04.png<' in html


def test_errors_are_sentences_in_the_page(port):
    number = functions(port)
    assert "Type a caption first." in search(port, number["search"], " ", *settings(port))
    html = search(port, number["well"], address(b"root:x:0:0"), *settings(port))
    assert "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image" in html and "Traceback" not in html


def test_no_file_can_be_asked_for(port, directory, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    names = [str(secret), "/etc/passwd", str(directory / "manifest.json"), str(Path(__file__))]
    for name in names:
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/"):
            for path in (name, f"../../../../../../../..{name}", name.replace("/", "%2f")):
                status, headers, body = ask(port, "GET", route + path)
                assert status == 404 and b"secret" not in body and b"root:" not in body
                assert "default-src 'self'" in headers["content-security-policy"]
    for route in ("/config", "/gradio_api/info", "/gradio_api/proxy=http://127.0.0.1", "/docs"):
        assert ask(port, "GET", route)[0] == 404
    assert ask(port, "POST", "/gradio_api/upload", b"x")[0] == 404


def test_a_question_can_not_name_a_file(port):
    """gradio copies a file that an input names to where it serves files from."""
    named = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [named, *SETTINGS], "fn_index": 0, "session_hash": "abc"})
    kind = {"Content-Type": "application/json"}
    assert ask(port, "POST", "/gradio_api/queue/join", body, **kind)[0] == 400


def test_other_names_and_other_pages_are_refused(port):
    assert ask(port, "GET", "/", Host="example.org")[0] == 421
    assert ask(port, "GET", "/", Origin="https://example.org")[0] == 403


def test_other_machines_do_not_reach_the_page(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # Sends nothing; tells which address would be used.
        except OSError:
            pytest.skip("this machine has no network")
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own, port), timeout=5)


@pytest.fixture
def browser(tmp_path):
    if not Path(PATH).exists():
        pytest.skip(f"needs Chromium at {PATH}")
    with Chromium(tmp_path / "profile") as chromium:
        yield chromium


def opened(browser, port):
    browser.window(1280, 900)
    browser.open(f"http://127.0.0.1:{port}/")
    browser.wait_for(
        "!!document.querySelector('#words textarea') && !!document.querySelector('#search')"
    )


def cards(browser):
    return browser.run("[...document.querySelectorAll('.card .name')].map(e => e.textContent)")


def test_in_a_browser_a_caption_finds_pictures(port, browser, directory, model, tmp_path):
    opened(browser, port)
    browser.type("#words textarea", "thing number 5")
    browser.click("#search")
    browser.wait_for("document.querySelectorAll('.card img').length == 20")
    [answer] = prolip.Index.open(directory).search("thing number 5", 20, model=model)
    assert cards(browser) == answer.ids
    widths = "[...document.querySelectorAll('.card img')].every(e => e.complete && e.naturalWidth)"
    browser.wait_for(widths)
    browser.run("document.querySelectorAll('#by input')[1].click()")
    [answer] = prolip.Index.open(directory).search("thing number 5", 20, by="mean", model=model)
    browser.wait_for("document.querySelector('.answer').textContent.includes('means alone')")
    assert cards(browser) == answer.ids
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
    # Pictures and icons are addresses too, of themselves.
    asked = [url for url in browser.requests if not url.startswith("data:")]
    assert len(asked) > 20 and all(url.startswith(f"http://127.0.0.1:{port}/") for url in asked)
    assert browser.errors == []


DROP = """(() => {
  const bytes = Uint8Array.from(atob(%s), (letter) => letter.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], "x.png", {type: "image/png"}));
  const event = new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true});
  document.querySelector(".well").dispatchEvent(event);
})()"""


def test_in_a_browser_an_image_is_dropped_and_removed(port, browser, directory, model):
    opened(browser, port)
    browser.run(DROP % json.dumps(address(png(6)).partition(",")[2]))
    browser.wait_for("document.querySelectorAll('.card img').length == 20")
    [answer] = prolip.Index.open(directory).search(picture(6), 20, model=model)
    assert cards(browser) == answer.ids
    browser.click(".well .remove")
    browser.wait_for("document.querySelector('#answer').textContent.includes('Nothing asked yet')")
    browser.run(DROP % json.dumps(address(b"no image").partition(",")[2]))
    browser.wait_for("document.querySelector('#answer').textContent.includes('not a JPEG')")
    assert browser.errors == []


def test_in_a_browser_a_hostile_collection_is_text(model, browser, tmp_path):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / EVIL).write_bytes(png(0))
    with running(make(model, tmp_path, data=tmp_path / "evil")) as port:
        opened(browser, port)
        browser.type("#words textarea", EVIL)
        browser.click("#search")
        browser.wait_for("document.querySelectorAll('.card').length == 1")
        assert cards(browser) == [EVIL]
        assert browser.run("document.querySelector('.asked .words').textContent") == EVIL
        assert browser.run("window.hacked === undefined")


def test_in_a_narrow_window_nothing_is_cut_off(port, browser):
    opened(browser, port)
    browser.window(360, 700, dark=True)
    browser.type("#words textarea", "thing")
    browser.press("Enter", 13)
    browser.wait_for("document.querySelectorAll('.card').length == 20")
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert COUNT > 20
