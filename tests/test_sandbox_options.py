"""Options of the sandbox: TLS, old servers, retired endpoints, secrets, and every way to close."""

from __future__ import annotations

import gc
import itertools
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import certifi
import pytest
import requests
import s3fs

import aind_session
from aind_session.sandbox import Catalogue, sandbox
from aind_session.services import s3
from serving import NAME, asset_url, get, invented, python

FIND = "v1/metadata_index/data_assets/find"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


# Closing


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "mine")
    monkeypatch.setenv("ANY_NAME", "cop_mine0000000000000000")
    monkeypatch.setenv("AWS_CA_BUNDLE", "mine.pem")
    monkeypatch.setenv("NO_PROXY", "elsewhere")
    return environment()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_close_in_any_order_restores_the_environment(
    order: tuple[int, ...], before: dict[str, str]
) -> None:
    boxes = [sandbox(Catalogue(), tls=n == 1).start() for n in range(3)]
    left = boxes.copy()
    for number in order:
        boxes[number].close()
        left.remove(boxes[number])
        if left:
            # The newest that is open answers.
            assert os.environ["CODE_OCEAN_DOMAIN"] == left[-1].urls["codeocean"]
            assert os.environ["CODE_OCEAN_API_TOKEN"] == left[-1].token
    assert environment() == before


def test_close_in_threads_restores_the_environment(before: dict[str, str]) -> None:
    def serve(_: int) -> int:
        with sandbox(invented()) as box:
            return get(box).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(serve, range(24))) == [200] * 24
    assert environment() == before


def test_close_after_errors_restores_the_environment(
    before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = sandbox(Catalogue()).start()

    def use() -> None:
        with sandbox(Catalogue()) as inner, inner.without_token():
            outer.close()
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        use()
    assert environment() == before

    def refuse(*_: object) -> None:
        raise OSError("no certificate")

    monkeypatch.setattr("aind_session.sandbox.make_certificate", refuse)
    box = sandbox(Catalogue(), tls=True)
    with pytest.raises(OSError, match="no certificate"):
        box.start()
    assert environment() == before


def test_start_failing_late_leaves_no_thread(
    before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    def refuse(*_: object) -> None:
        raise OSError("no environment")

    threads = threading.active_count()
    monkeypatch.setattr("aind_session.sandbox.server.sandbox_changes", refuse)
    with pytest.raises(OSError, match="no environment"):
        sandbox(Catalogue()).start()
    assert threading.active_count() == threads
    assert environment() == before


def test_sandbox_never_started_warns() -> None:
    def forget() -> None:
        sandbox(Catalogue())
        gc.collect()

    with pytest.warns(ResourceWarning, match="never started"):
        forget()


def test_sandbox_started_in_a_cell_serves_until_closed() -> None:
    sandbox(invented()).start()
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [s.id for s in aind_session.get_sessions("000001")] == [NAME]
    from aind_session.sandbox.server import process

    (box,) = process.sandboxes
    box.close()
    assert not process.sandboxes


def test_sandbox_left_open_is_closed_at_exit(tmp_path: Path) -> None:
    code = "import aind_session; aind_session.sandbox(tls=True).start()"
    assert python(code, TMPDIR=str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []


# Secrets


@pytest.mark.parametrize("path", [FIND, f"0123456789abcdef/{FIND}", ""])
def test_docdb_without_the_secret_answers_nothing(path: str) -> None:
    with sandbox(invented()) as box:
        origin = "/".join(box.urls["docdb"].split("/")[:3])
        answer = requests.get(f"{origin}/{path}", timeout=5)
        assert (answer.status_code, answer.json()) == (404, {"message": "not found"})
        assert requests.get(f"{box.urls['docdb']}/{FIND}", timeout=5).json()[0]["name"] == NAME
        assert [r.path for r in box.requests] == [f"/{FIND}"]


def test_secrets_differ_between_sandboxes() -> None:
    with sandbox(invented()) as outer, sandbox(invented()) as inner:
        assert outer.token != inner.token
        assert get(outer, headers={"X": "1"}).status_code == 200
        assert get(outer, auth=(inner.token, "")).status_code == 401
        assert outer.urls["docdb"].split("/")[-1] != inner.urls["docdb"].split("/")[-1]


def test_child_process_reads_its_parents_sandbox() -> None:
    code = (
        f"import aind_session; s = aind_session.Session({NAME!r});"
        "print(s.docdb.name, s.is_uploaded, s.docdb.v2 is not None)"
    )
    for tls in (False, True):
        with sandbox(invented(), tls=tls) as box:
            assert python(code) == f"{NAME} True True\n"
            assert box.count("docdb")
            assert box.count("codeocean")


# Old servers and retired endpoints


@pytest.mark.parametrize(
    ("wanted", "status"),
    [(None, 200), ("3.6.0", 200), ("4.0.0", 200), ("4.0.1", 400), ("4.8.0", 400), ("10.0", 400)],
)
def test_server_version_refuses_newer_clients(wanted: str | None, status: int) -> None:
    with sandbox(invented(), server_version="4.0.0") as box:
        answer = get(box, headers={"Min-Server-Version": wanted} if wanted else {})
        assert answer.status_code == status
        if status == 400:
            assert answer.json()["message"].split("version ")[1].startswith("4.0.0 ")
            assert f"minimum version {wanted}" in answer.json()["message"]


def test_server_version_is_checked_on_request_only() -> None:
    with sandbox(invented()) as box:
        assert get(box, headers={"Min-Server-Version": "99.0"}).status_code == 200


@pytest.mark.parametrize(
    ("version", "status"), [("v1", 403), ("v2", 403), ("v1", 404), ("v2", 410)]
)
def test_retire_switches_one_version_off(version: str, status: int) -> None:
    other = "v2" if version == "v1" else "v1"
    with sandbox(invented()) as box:
        options = {} if status == 403 else {"status": status}
        box.retire("docdb", version, **options)
        url = f"{box.urls['docdb']}/{version}/metadata_index/data_assets"
        for answer in (
            requests.get(f"{url}/find", timeout=5),
            requests.post(f"{url}/aggregate", json=[], timeout=5),
        ):
            assert answer.status_code == status
            assert answer.json() == {"message": "Missing Authentication Token"}
        assert requests.get(url.replace(version, other), timeout=5).status_code == 200


@pytest.mark.parametrize(("service", "version"), [("codeocean", "v1"), ("docdb", "v3")])
def test_retire_of_something_else_raises(service: str, version: str) -> None:
    with sandbox(invented()) as box, pytest.raises(ValueError, match="only docdb v1 and v2"):
        box.retire(service, version)


# TLS and counts


def test_tls_serves_all_three_clients(before: dict[str, str]) -> None:
    with sandbox(invented(), tls=True) as box:
        assert all(url.startswith("https://127.0.0.1:") for url in box.urls.values())
        assert get(box).json()["name"] == NAME
        assert s3fs.S3FileSystem().cat(f"aind-open-data/{NAME}/subject.json") == b"{}"
        bundle = os.environ["AWS_CA_BUNDLE"]
        assert os.path.isfile(bundle)
        session = aind_session.Session(NAME)
        assert session.raw_data_asset.id == "raw"
        assert session.docdb.name == NAME
        assert session.raw_data_dir.as_posix() == f"s3://aind-open-data/{NAME}"
        assert {r.status for r in box.requests} <= {200, 404}
    assert environment() == before
    assert not os.path.exists(os.path.dirname(bundle))


def test_tls_file_system_after_a_path_with_other_certificates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    s3.path("aind-open-data")
    with sandbox(invented(), tls=True):
        assert s3fs.S3FileSystem().cat(f"aind-open-data/{NAME}/subject.json") == b"{}"


def test_tls_refuses_clients_that_do_not_trust_it() -> None:
    with sandbox(invented(), tls=True) as box, requests.Session() as session:
        session.trust_env = False
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"{box.urls['docdb']}/{FIND}", timeout=5)
        assert get(box).status_code == 200


@pytest.mark.parametrize("tls", [False, True])
def test_tls_faults_behave_as_without(tls: bool) -> None:
    with sandbox(invented(), tls=tls) as box:
        for kind in ("reset", "truncate"):
            box.fail(kind=kind)
            with pytest.raises(requests.RequestException):
                get(box)
        box.fail(kind="hang")
        with pytest.raises(requests.Timeout):
            get(box, timeout=0.2)
        box.fail(kind="hang", times=None)
        with ThreadPoolExecutor(1) as pool:
            held = pool.submit(get, box)
            while box.count() < 4:
                pass
            assert not held.done()
            box.heal()
            assert isinstance(held.exception(5), requests.ConnectionError)
        assert get(box).status_code == 200


@pytest.mark.parametrize("tls", [False, True])
def test_counts_connections_and_bytes(tls: bool) -> None:
    with sandbox(invented(), tls=tls) as box:
        with requests.Session() as session:
            session.auth = (box.token, "")
            size = sum(len(session.get(asset_url(box), timeout=5).content) for _ in range(3))
        counts = box.counts
        assert (counts.requests, counts.in_sequence, counts.connections) == (3, 3, 1)
        assert size < counts.sent < size + 3 * 400
        assert 300 < counts.received < 3000
        box.reset()
        assert box.counts == type(counts)(0, 0, 0, 0, 0)
        get(box)
        get(box)
        assert box.counts.connections == 2


# The name that a function and the sub-package share


# Each piece of code finds the package not imported yet, as in a new process.
ANEW = """
import sys, warnings
def run(code):
    for name in [name for name in sys.modules if name.partition(".")[0] == "aind_session"]:
        del sys.modules[name]
    names = {}
    exec(code, names)
    return names
"""


def test_sandbox_is_function_and_subpackage_in_any_order() -> None:
    uses = [
        "import aind_session; aind_session.sandbox().start().close()",
        "from aind_session import sandbox; sandbox().start().close()",
        "from aind_session.sandbox import sandbox; sandbox().start().close()",
        "from aind_session import Catalogue; Catalogue.bundled()",
        "import aind_session.sandbox.factory as f; f.invent_session",
    ]
    orders = ["\n".join(order) for order in itertools.permutations(uses, 2)]
    assert python(f"{ANEW}\nfor code in {orders!r}: run(code)") == ""


def test_catalogue_alias_warns_and_works() -> None:
    new = {
        "aind_session.catalogue:Catalogue": "aind_session",
        "aind_session.catalogue:Sandbox": "aind_session",
        "aind_session.catalogue:sandbox": "aind_session.sandbox",
        "aind_session.catalogue:record": "aind_session.sandbox",
        "aind_session.catalogue.invent:invent_session": "aind_session.sandbox.factory",
    }
    code = f"""{ANEW}
for old, new in {new!r}.items():
    module, _, name = old.partition(":")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run(f"from {{module}} import {{name}} as old; from {{new}} import {{name}} as new")
    what = [w.category.__name__ for w in caught]
    print(found["old"] is found["new"], what, caught[0].filename)
"""
    assert python(code) == "True ['DeprecationWarning'] <string>\n" * len(new)
