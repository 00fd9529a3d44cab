"""The server of ``xaibench view``: what it shows, and to whom."""

import shutil
from pathlib import Path

import pytest
from headless import wait_for
from view_server import TOKEN, served

from conftest import TOY
from xaibench import evaluate, open_run
from xaibench_report.view import live_run
from xaibench_report.view.live_run import LiveRun


def toy(folder, limit):
    return evaluate(
        "toy", "demo:identities=8", explainers=["rows"], metrics=["range"], controls=False, isolation=False, threads=1,
        limit=limit, out=folder, plugin=[str(TOY)], maps="keep",
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view") / "run"
    toy(folder, 4)
    return folder


@pytest.fixture(scope="module")
def live(finished):
    return LiveRun(lambda: open_run(finished))


@pytest.fixture(scope="module")
def client(live):
    with served(live, "view <b>run</b>") as asking:
        yield asking


def test_the_first_screen_comes_before_the_boards_and_the_whole_page_after(client, live):
    first = client.own("")
    assert first.status == 200
    assert "The answer and the boards are being computed from 4 pictures" in first.text
    assert 'id="browser-index"' in first.text
    wait_for(lambda: client.own("status").json()["ready"])
    page = client.own("")
    assert "being computed" not in page.text
    assert "Leaderboards" in page.text
    assert "data:image/webp" not in page.text  # pictures are fetched one by one
    assert "view &lt;b&gt;run&lt;/b&gt;" in page.text
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("connect-src 'self'")
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_a_picture_is_read_when_it_is_asked_for(client, live):
    listed = client.own("pictures").json()
    assert listed["total"] == 4
    sample = listed["pictures"][0]["key"]
    entry = client.own(f"data/browser-entry-{sample.replace('/', '%2F')}").json()
    assert entry["sample"] == sample
    assert entry["picture"].startswith("data:image/webp")
    assert entry["detectors"][0]["maps"][0]["explainer"].endswith("rows")


def test_entries_are_forgotten_so_that_memory_stays_flat(live, monkeypatch):
    monkeypatch.setattr(live_run, "ENTRIES", 2)
    for listed in live.state.catalogue.page({})["pictures"]:
        live.entry(listed["key"])
    assert len(live._entries) == 2


@pytest.mark.parametrize("path", ["/", "/wrong/", "/status", f"/{TOKEN}x/", "/%2e%2e/etc/passwd"])
def test_nothing_is_shown_without_the_token(client, path):
    reply = client.get(path)
    assert reply.status == 403
    assert "token" in reply.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:80", "localhost.evil:8000", ""]
)
def test_a_foreign_host_name_is_refused(client, host):
    reply = client.own("", headers={"Host": host})
    assert reply.status == 403
    assert "host" in reply.text
    assert client.own("status", headers={"Host": f"localhost:{client.port}"}).status == 200


def test_another_site_is_refused(client):
    assert client.own("status", headers={"Sec-Fetch-Site": "cross-site"}).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_is_answered(client, method):
    assert client.own("status", method=method).status == 405


@pytest.mark.parametrize(
    "name", ["browser-entry-..%2F..%2Fetc%2Fpasswd", "browser-entry-%2Fetc%2Fpasswd", "run.toml", "..%2Frun.toml"]
)
def test_data_are_named_by_samples_and_never_by_paths(client, name):
    assert client.own(f"data/{name}").status == 404


def test_a_wrong_filter_is_one_line(client):
    reply = client.own("pictures?shape=round")
    assert reply.status == 400
    assert reply.text.startswith("pictures have no 'shape'")


def test_every_answer_forbids_storing_framing_and_sniffing(client):
    for path in (f"/{TOKEN}/status", "/wrong/"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_it_follows_a_run_that_goes_on_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(live_run, "_LEAST_PAUSE", 0.05)
    monkeypatch.setattr(live_run, "_SHARE", 0.0)
    toy(tmp_path / "run", 2)
    live = LiveRun(lambda: open_run(tmp_path / "run"))
    with served(live) as client:
        follow(client, live, tmp_path)


def follow(client, live, tmp_path):
    live.start()
    wait_for(lambda: client.own("status").json()["ready"])
    before = client.own("status").json()["version"]
    toy(tmp_path / "run", 4)
    files = {p: p.stat().st_mtime_ns for p in Path(tmp_path).rglob("*")}
    wait_for(lambda: client.own("pictures").json()["total"] == 4)
    assert client.own("status").json()["version"] != before
    assert {p: p.stat().st_mtime_ns for p in Path(tmp_path).rglob("*")} == files
    shutil.rmtree(tmp_path / "run")
    wait_for(lambda: client.own("status").json()["trouble"])
    assert client.own("").status == 200  # what was read stays


def test_what_is_committed_while_tables_are_read_is_new_to_that_state(tmp_path, monkeypatch):
    toy(tmp_path / "run", 2)
    read = live_run.read_pictures_of

    def read_and_commit(run):
        tables = read(run)
        toy(tmp_path / "run", 4)
        return tables

    monkeypatch.setattr(live_run, "read_pictures_of", read_and_commit)
    live = LiveRun(lambda: open_run(tmp_path / "run"))
    assert len(live.state.catalogue) == 2
    assert live.state.version != live_run.run_version(tmp_path / "run")
