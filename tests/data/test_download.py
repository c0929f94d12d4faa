"""Fetching: a local server that serves, lies, cuts off and refuses; nothing outside this machine is asked."""

from __future__ import annotations

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from unigen.data.download import DataFile, DataFileError, data_directory, fetch
from unigen.errors import UnigenError

CONTENT = b"to be, or not to be\n" * 100
SHA = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/none":
            self.send_error(404)
            return
        body = {"/lies": b"something else", "/packed": gzip.compress(CONTENT, 1)}.get(self.path, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (7 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_downloads_once_and_then_needs_no_server(server, tmp_path):
    file = DataFile("folder/x.txt", SHA, (f"{server}/none", f"{server}/right"))
    path = fetch(file, tmp_path)
    assert path == tmp_path / "folder/x.txt" and path.read_bytes() == CONTENT
    assert fetch(DataFile("folder/x.txt", SHA, ()), str(tmp_path)) == path
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]  # no temporary file is left


def test_the_checksum_is_of_the_uncompressed_content(server, tmp_path):
    path = fetch(DataFile("x.gz", SHA, (f"{server}/packed",)), tmp_path)
    path.write_bytes(gzip.compress(CONTENT, 9))
    assert gzip.decompress(fetch(DataFile("x.gz", SHA, ()), tmp_path).read_bytes()) == CONTENT


def test_a_wrong_download_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(DataFileError, match=r"not the published file.*got sha256"):
        fetch(DataFile("x.txt", SHA, (f"{server}/lies",)), tmp_path)
    assert not (tmp_path / "x.txt").exists()


def test_a_wrong_local_file_is_refused_and_left_alone(tmp_path):
    (tmp_path / "x.txt").write_bytes(CONTENT + b"!")
    with pytest.raises(DataFileError, match="delete"):
        fetch(DataFile("x.txt", SHA, ()), tmp_path)
    assert (tmp_path / "x.txt").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(CONTENT, mtime=0)[:-9]],
    ids=["empty", "no gzip", "cut off"],
)
def test_a_damaged_gzip_file_is_refused(content, tmp_path):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DataFileError):
        fetch(DataFile("x.gz", SHA, ()), tmp_path)


def test_offline_the_message_says_where_to_put_the_file(server, tmp_path):
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = closed.server_port
    closed.server_close()
    urls = (f"http://127.0.0.1:{port}/x", f"{server}/none", f"{server}/short", "no url")
    with pytest.raises(DataFileError) as caught:
        fetch(DataFile("folder/x.txt", SHA, urls), tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "folder/x.txt") in message and "data_dir" in message
    assert all(url in message for url in urls) and "bytes came" in message
    assert isinstance(caught.value, UnigenError) and isinstance(caught.value, OSError)
    assert not list(tmp_path.rglob("*.*"))


def test_an_unwritable_folder_is_a_typed_error(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataFileError, match="cannot be written"):
        fetch(DataFile("x.txt", SHA, (f"{server}/right",)), tmp_path / "file")


def test_the_default_directory_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_directory() == tmp_path / "unigen" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_directory() == tmp_path / ".cache/unigen/data"
    assert data_directory("~/x") == Path(tmp_path) / "x"
