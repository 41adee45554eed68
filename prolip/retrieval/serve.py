"""`prolip serve`: a page on this machine that searches a collection."""

import asyncio
import importlib.util
import ipaddress
import logging
import socket
from pathlib import Path
from typing import Any

from rich.console import Console

from prolip import loading
from prolip.checkpoint.errors import CheckpointError, LeaseHeld
from prolip.data.records import DataError
from prolip.interop.errors import SourceError
from prolip.retrieval.embeddings import read_manifest
from prolip.retrieval.page import layout
from prolip.retrieval.page.asking import MAX_UPLOAD, Desk
from prolip.retrieval.page.guard import Guard
from prolip.retrieval.page.pictures import Pictures

THUMBNAIL = 256  # Pixels a side: a card is 150 to 220 wide, on screens with two dots a pixel too.
HOST, PORT = "127.0.0.1", 7860
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SECONDS_TO_CLOSE = 1  # Each open page holds a connection, which never ends by itself.


class _Closing(logging.Filter):
    """Ctrl-C cuts the connections of open pages; that is no error."""

    def filter(self, record: logging.LogRecord) -> bool:
        cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not cancelled and "graceful shutdown exceeded" not in record.getMessage()


_CLOSING = _Closing()


def serve(
    directory: str | Path,
    *,
    host: str = HOST,
    port: int = PORT,
    checkpoint: str = "",
    column: str = "",
    data_dir: str = "",
    approximate: bool = False,
    console: Console | None = None,
) -> None:
    """Serves the page until the process is told to stop.

    Args:
      directory: of `prolip index`.
      host: to listen at; other machines can reach any but a loopback one.
      port: of it.
      checkpoint: of the model; "" takes the one that the collection names.
      column: where pictures are, for a table or TFDS data set; see `prolip embed`.
      data_dir: of prepared TFDS data.
      approximate: ask the graph for the ranking that it was built for.
      console: where to print.

    Raises:
      DataError: gradio or the index is not there, it is another model, or the port is taken.
      CheckpointError: the model can't be loaded.
    """
    console = console or Console()
    check_installed()
    import uvicorn

    listener = listen(host, port)  # Before the model is loaded: a taken port is soon told.
    with listener:
        app = application(
            directory,
            host=host,
            checkpoint=checkpoint,
            column=column,
            data_dir=data_dir,
            approximate=approximate,
        )
        if not is_loopback(host):
            console.print(
                f"[yellow]Anyone who can reach {host} can search this collection and see its "
                "pictures: there is no password.[/yellow]",
                soft_wrap=True,
            )
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{listener.getsockname()[1]}"
        console.print(f"Serving {directory} at {url} (Ctrl-C stops)", soft_wrap=True, markup=False)
        uvicorn.Server(configuration(app)).run(sockets=[listener])


def application(
    directory: str | Path,
    *,
    host: str = HOST,
    checkpoint: str = "",
    column: str = "",
    data_dir: str = "",
    approximate: bool = False,
) -> Guard:
    """The page of a collection as an ASGI application.

    Args:
      directory: of `prolip index`.
      host: a loopback one lets it answer to the names of this machine alone.
      checkpoint: see `serve`, as the others.
      column: see `serve`.
      data_dir: see `serve`.
      approximate: see `serve`.

    Raises:
      DataError: as `serve`.
      CheckpointError: as `serve`.
    """
    check_installed()
    import fastapi
    import gradio

    directory = Path(directory)
    manifest = read_manifest(directory)
    try:
        model = loading.load(
            checkpoint or manifest.checkpoint, image_form=manifest.model.image_form
        )
    except (CheckpointError, SourceError) as error:
        if checkpoint or isinstance(error, LeaseHeld):
            raise
        raise DataError(
            f"{error}. The collection names {manifest.checkpoint} as the place of its model; "
            "--checkpoint names another one."
        ) from error
    pictures = Pictures(manifest.source, THUMBNAIL, column, data_dir)
    desk = Desk(directory, model, pictures, approximate=approximate)
    page = layout.blocks(gradio, desk)
    app = fastapi.FastAPI(openapi_url=None)
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        show_error=False,
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        allowed_paths=[],
        theme=layout.theme(gradio),
        css=layout.style(),
    )
    # Only then gradio checks which files a question may name; the guard lets none through anyway.
    page.has_launched = True
    names = LOCAL_NAMES | {host} if is_loopback(host) else None
    return Guard(app, names, MAX_UPLOAD * 4 // 3 + 2**16)


def configuration(app: Any) -> Any:
    """Of the server: silent, and no headers of a proxy are believed."""
    import uvicorn

    logging.getLogger("uvicorn.error").addFilter(_CLOSING)
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=SECONDS_TO_CLOSE,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
      DataError: there is no such address, or the port is taken.
    """
    if not 0 <= port < 2**16:  # `getaddrinfo` would take the rest of it.
        raise DataError(f"there is no port {port}: --port is at most 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise DataError(
            f"can't listen at {host}, port {port}: {error}; give another --port or --host"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_installed() -> None:
    """Raises DataError where gradio is not there."""
    if importlib.util.find_spec("gradio") is None:
        raise DataError("the page needs gradio: `pip install 'prolip[serve]'`")
