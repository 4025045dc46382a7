"""The sandbox: what it sets and puts back, what it counts, and what it breaks on purpose."""

from __future__ import annotations

import gc
import importlib.util
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import s3fs
import urllib3

from aind_session import context
from aind_session.errors import MissingExtraError
from aind_session.sandbox import Catalogue, Sandbox, sandbox
from cli_calls import call
from serving import NAME, asset_url, get, invented, python


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with sandbox(invented()) as serving:
        yield serving


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if "sandbox" in t.name}


# Environment


def test_close_drops_clients() -> None:
    before = context.current().client("a", object)
    with sandbox(invented()):
        inside = context.current().client("a", object)
        assert inside is not before
    assert context.current().client("a", object) not in (before, inside)


def test_start_and_close_set_and_restore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "mine")
    monkeypatch.setenv("CUSTOM_KEY", "cop_mine0000000000000000")
    monkeypatch.setenv("ANY_NAME", "cop_mine0000000000000000")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("NO_PROXY", "elsewhere")
    monkeypatch.delenv("AIND_SESSION_DOCDB_HOST", raising=False)
    before = dict(os.environ)
    with sandbox(invented()) as box:
        assert os.environ["CODE_OCEAN_API_TOKEN"] == box.token
        assert os.environ["CODE_OCEAN_DOMAIN"] == box.urls["codeocean"]
        assert os.environ["AIND_SESSION_DOCDB_HOST"] == box.urls["docdb"]
        assert os.environ["AWS_ENDPOINT_URL_S3"] == box.urls["s3"]
        assert os.environ["AIND_SESSION_SANDBOX_ACTIVE"].startswith(str(os.getpid()))
        assert os.environ["NO_PROXY"] == "elsewhere,127.0.0.1"
        assert not {"AWS_PROFILE", "CUSTOM_KEY", "ANY_NAME"} & set(os.environ)
        assert all(url.startswith("http://127.0.0.1:") for url in box.urls.values())
    assert dict(os.environ) == before


def test_without_token_and_without_aws_remove_credentials(box: Sandbox) -> None:
    from aind_session import settings

    assert settings.current().has_token
    with box.without_token():
        assert "CODE_OCEAN_API_TOKEN" not in os.environ
        assert not settings.current().has_token
    assert settings.current().has_token
    with box.without_aws():
        assert "AWS_ACCESS_KEY_ID" not in os.environ
        assert "AWS_SECRET_ACCESS_KEY" not in os.environ
    assert "AWS_ACCESS_KEY_ID" in os.environ


def test_nested_sandboxes_the_inner_one_answers(box: Sandbox) -> None:
    with sandbox(Catalogue()) as inner:
        assert os.environ["CODE_OCEAN_DOMAIN"] == inner.urls["codeocean"]
        assert get(inner).status_code == 404
        assert get(box).status_code == 200
    assert os.environ["CODE_OCEAN_DOMAIN"] == box.urls["codeocean"]
    assert (inner.count(), box.count()) == (1, 1)


def test_start_reset_and_close_clear_caches() -> None:
    def known() -> object:
        return context.current().cache.get(("test", "sandbox"), lambda: "fetched again")

    context.current().cache.put(("test", "sandbox"), "old")
    with sandbox(invented()) as box:
        assert known() == "fetched again"
        context.current().cache.put(("test", "sandbox"), "old")
        box.reset()
        assert known() == "fetched again"
        context.current().cache.put(("test", "sandbox"), "old")
    assert known() == "fetched again"
    context.current().cache.clear()


def test_close_drops_s3fs_instances() -> None:
    for text in ("one", "two"):
        catalogue = Catalogue()
        catalogue.add_object("aind-open-data", "key", text)
        with sandbox(catalogue):
            assert s3fs.S3FileSystem().cat("aind-open-data/key") == text.encode()


# Life


def test_close_leaves_no_thread_or_socket() -> None:
    before = threads()
    with sandbox(invented()) as box:
        with requests.Session() as session:
            session.get(asset_url(box), timeout=5)
            assert len(threads() - before) == 2
        url = asset_url(box)
    assert threads() == before
    del box
    gc.collect()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_start_twice_raises_and_close_twice_does_not(box: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="serving already"):
        box.__enter__()
    box.close()
    box.close()
    assert "not serving" in repr(box)


def test_start_and_close_are_fast() -> None:
    catalogue = invented()
    with sandbox(catalogue):
        pass
    started = time.process_time()
    for _ in range(20):
        with sandbox(catalogue) as box:
            get(box)
    assert time.process_time() - started < 2


def test_connection_is_reused_without_delay(box: Sandbox) -> None:
    with requests.Session() as session:
        session.get(asset_url(box), timeout=5)
        started = time.perf_counter()
        for _ in range(20):
            session.get(asset_url(box), timeout=5)
        # An acknowledgement that is waited for takes 40 ms each time.
        assert time.perf_counter() - started < 0.6
    assert len([name for name in threads() if name.endswith("codeocean")]) <= 1


def test_sandbox_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mongomock" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"aind-session\[sandbox\]"):
        sandbox(invented())


def test_sandbox_of_a_folder_serves_it(tmp_path: Path) -> None:
    invented().save(tmp_path)
    with sandbox(tmp_path) as box:
        assert get(box).json()["name"] == NAME
    with sandbox(str(tmp_path)) as box:
        assert get(box).json()["name"] == NAME


# Counting


def test_count_and_requests_record_each_request(box: Sandbox) -> None:
    get(box)
    requests.get(f"{box.urls['docdb']}/v1/metadata_index/data_assets/find?limit=1", timeout=5)
    requests.get(asset_url(box), timeout=5)
    counts = [box.count(service) for service in (None, "codeocean", "docdb", "s3")]
    assert counts == [3, 2, 1, 0]
    first, second, third = box.requests
    assert [first.service, first.method] == ["codeocean", "GET"]
    assert first.path == "/api/v1/data_assets/raw"
    assert [r.status for r in box.requests] == [200, 200, 401]
    assert (second.query, second.params) == ("limit=1", {"limit": "1"})
    # What is kept holds no credentials.
    assert not first.headers
    assert first.started <= first.ended <= second.started <= second.ended <= third.started
    box.reset()
    assert box.count() == 0


def test_request_json_returns_the_body(box: Sandbox) -> None:
    requests.post(asset_url(box, "search"), json={"limit": 1}, timeout=5)
    assert box.requests[0].json() == {"limit": 1}


def test_latency_of_parallel_requests_overlaps(box: Sandbox) -> None:
    box.latency = 0.1
    with ThreadPoolExecutor(8) as pool:
        started = time.perf_counter()
        answers = list(pool.map(lambda _: get(box), range(8)))
        taken = time.perf_counter() - started
    assert [a.status_code for a in answers] == [200] * 8
    assert 0.1 <= taken < 0.7
    assert box.longest_chain() < 8
    box.reset()
    get(box)
    get(box)
    assert box.longest_chain() == 2


def test_close_during_latency_returns_at_once() -> None:
    with ThreadPoolExecutor(1) as pool:
        with sandbox(invented(), latency=60) as box:
            held = pool.submit(get, box)
            while not box.requests:
                time.sleep(0.001)
        # Answered or cut, but not a minute later.
        assert held.exception(5) is None or isinstance(held.exception(), requests.RequestException)


# Breaking


def test_fail_times_counts_down(box: Sandbox) -> None:
    box.fail("codeocean", times=2, headers={"Retry-After": "7"})
    first = get(box)
    assert (first.status_code, first.headers["Retry-After"]) == (503, "7")
    assert first.json() == {"message": "broken on purpose: 503"}
    assert [get(box).status_code for _ in range(2)] == [503, 200]
    assert [r.status for r in box.requests] == [503, 503, 200]


def test_fail_selects_by_path_method_and_number(box: Sandbox) -> None:
    box.fail("docdb")
    box.fail(path=r"data_assets/(other|raw)$", method="post", status=500)
    box.fail("codeocean", path="raw", status=404, after=1, body="<html>")
    assert [get(box).status_code for _ in range(3)] == [200, 404, 200]
    url = f"{box.urls['docdb']}/v1/metadata_index/data_assets/find"
    assert [requests.get(url, timeout=5).status_code for _ in range(2)] == [503, 200]
    assert requests.post(asset_url(box), timeout=5).status_code == 500


@pytest.mark.parametrize(
    ("body", "result"),
    [(None, b'{"message": "broken on purpose: 502"}'), ("<html>", b"<html>"), (b"\xff", b"\xff")],
)
def test_fail_body_is_sent(box: Sandbox, body: Any, result: bytes) -> None:
    box.fail(status=502, body=body)
    assert get(box).content == result


def test_fail_reset_cuts_the_connection(box: Sandbox) -> None:
    box.fail(kind="reset")
    with pytest.raises(requests.ConnectionError):
        get(box)
    assert get(box).status_code == 200
    assert [r.status for r in box.requests] == [0, 200]


def test_fail_truncate_cuts_the_body(box: Sandbox) -> None:
    box.fail(kind="truncate")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(box)
    box.fail(kind="truncate")
    with get(box, stream=True) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        result = int(answer.headers["Content-Length"])
        assert len(answer.raw.read(result // 2, decode_content=False)) == result // 2
        with pytest.raises(urllib3.exceptions.ProtocolError):
            answer.raw.read(decode_content=False)
    assert get(box).json()["name"] == NAME


def test_fail_slow_delays_the_response(box: Sandbox) -> None:
    box.fail(kind="slow", seconds=0.05)
    assert get(box).json()["name"] == NAME
    assert box.requests[0].ended - box.requests[0].started >= 0.05


def test_fail_hang_ends_by_client_heal_or_close() -> None:
    with sandbox(invented()) as box:
        box.fail(kind="hang", times=None)
        with pytest.raises(requests.Timeout):
            requests.get(asset_url(box), timeout=0.05)
        with ThreadPoolExecutor(2) as pool:
            held = pool.submit(get, box)
            while box.count() < 2:
                time.sleep(0.001)
            box.heal()
            assert isinstance(held.exception(5), requests.ConnectionError)
            assert get(box).status_code == 200
            box.fail(kind="hang")
            held = pool.submit(get, box)
            while box.count() < 4:
                time.sleep(0.001)
            box.close()
            assert isinstance(held.exception(5), requests.ConnectionError)
    assert not threads()


def test_down_fails_until_the_block_ends(box: Sandbox) -> None:
    with box.down("codeocean"):
        assert [get(box).status_code for _ in range(3)] == [503] * 3
        requests.get(f"{box.urls['docdb']}/v1/metadata_index/data_assets", timeout=5)
    assert get(box).status_code == 200
    assert [r.status for r in box.requests] == [503, 503, 503, 200, 200]
    with box.down("codeocean", kind="reset"), pytest.raises(requests.ConnectionError):
        get(box)


def test_fail_unknown_kind_or_service_raises(box: Sandbox) -> None:
    kinds = "^Unknown kind 'explode': use status, reset, hang, truncate or slow.$"
    with pytest.raises(ValueError, match=kinds):
        box.fail(kind="explode")
    services = "^Unknown service 'docbd': use codeocean, docdb, s3 or files.$"
    for breaks in (lambda: box.fail("docbd"), lambda: box.down("docbd").__enter__()):
        with pytest.raises(ValueError, match=services):
            breaks()


def test_request_that_breaks_the_fake_returns_400(box: Sandbox) -> None:
    url, body = f"{box.urls['codeocean']}/api/v1/computations", {"capsule_id": ["odd"]}
    answer = requests.post(url, json=body, auth=(box.token, ""), timeout=5)
    assert answer.status_code == 400
    assert get(box).status_code == 200


# Other processes

ASK = """
import os, urllib.request
from aind_session import sandbox as serving
box = serving.autostart()
url = os.environ["AIND_SESSION_DOCDB_HOST"] + "/v1/metadata_index/data_assets/find"
print(box is None, urllib.request.urlopen(url).read().decode())
"""


def test_child_process_uses_its_parents_sandbox(box: Sandbox) -> None:
    result = python(ASK, AIND_SESSION_SANDBOX="1")
    assert result.startswith("True [")
    assert NAME in result
    assert box.count("docdb") == 1


def test_autostart_by_environment_serves_a_folder(tmp_path: Path) -> None:
    invented().save(tmp_path)
    result = python(ASK, AIND_SESSION_SANDBOX=str(tmp_path))
    assert result.startswith("False [")
    assert NAME in result


def test_autostart_in_threads_and_children_happens_once(tmp_path: Path) -> None:
    invented().save(tmp_path)
    code = """
    import os, subprocess, sys
    from concurrent.futures import ThreadPoolExecutor
    from aind_session import settings
    with ThreadPoolExecutor(8) as pool:
        domains = {d.domain.value for d in pool.map(lambda _: settings.current(), range(16))}
    print(len(domains), domains.pop().startswith("http://127.0.0.1:"))
    child = "from aind_session import settings; print(settings.current().domain.value)"
    result = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True)
    print(result.stdout.strip() == settings.current().domain.value)
    """
    assert python(code, AIND_SESSION_SANDBOX=str(tmp_path)) == "1 True\nTrue\n"


def test_autostart_by_env_file_unless_environment_refuses(tmp_path: Path) -> None:
    invented().save(tmp_path / "study")
    (tmp_path / ".env").write_text("AIND_SESSION_SANDBOX=study\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "below").mkdir()
    code = f"""
    import os
    os.chdir({str(tmp_path / "below")!r})
    import aind_session
    from aind_session import settings
    print(settings.current().domain.value.split(":")[1])
    if os.environ["AIND_SESSION_SANDBOX"] != "0":
        print([session.id for session in aind_session.get_sessions(start_date="2000")])
    """
    assert python(code, AIND_SESSION_SANDBOX="") == f"//127.0.0.1\n['{NAME}']\n"
    assert python(code, AIND_SESSION_SANDBOX="0") == "//codeocean.allenneuraldynamics.org\n"


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_autostart_without_request_returns_none(value: str) -> None:
    code = "from aind_session import sandbox as serving; print(serving.autostart())"
    assert python(code, AIND_SESSION_SANDBOX=value) == "None\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_uses_its_parents_sandbox(tmp_path: Path) -> None:
    invented().save(tmp_path)
    code = """
    import http.client, os, stat, sys, urllib.parse, urllib.request, warnings
    from aind_session.sandbox import sandbox
    # Python 3.12 warns of every fork of a process with threads.
    warnings.simplefilter("ignore", DeprecationWarning)
    with sandbox(os.environ["FOLDER"]) as box:
        url = box.urls["docdb"] + "/v1/metadata_index/data_assets/find"
        ask = lambda: urllib.request.urlopen(url, timeout=5).read()
        first = ask()
        # A connection that stays open, served by a thread that the child will not have.
        kept = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(url).port)
        kept.request("GET", urllib.parse.urlsplit(url).path)
        kept.getresponse().read()
        child = os.fork()
        if not child:
            kept.close()
            # None of the parent's sockets is held on to.
            held = []
            for number in range(3, 64):
                try:
                    held.append(stat.S_ISSOCK(os.fstat(number).st_mode))
                except OSError:
                    pass
            assert not any(held), held
            # An ordinary end: the block is left, and exit handlers run.
            assert ask() == first
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        # The parent goes on serving after the child has left the block.
        print(status, ask() == first, box.count())
        kept.close()
    """
    assert python(code, FOLDER=str(tmp_path)) == "0 True 4\n"


def test_sandbox_in_a_process_that_reads_no_files_closes_silently_at_exit() -> None:
    # `show SUBJECT` uses no path in S3: fsspec cannot be imported any more when Python exits.
    assert call("--sandbox", "show", "717381").stderr == ""
