"""A ticket on the hub is what was sent; a hub that fails or lies is one line, soon."""

from pathlib import Path

import pytest

import tombola
from command_line import Cli
from hub_stand_in import Hub
from tombola.base.errors import TicketError
from tombola.ship import deadline
from tombola.ship.sharing import pull, push
from tombola.ticket.ticket import Ticket

REPO = "ada/ticket"


@pytest.fixture
def sent(hub: Hub, folder: Path) -> dict[str, bytes]:
    """The files of a public repository."""
    push(folder, REPO, private=False)
    hub.asked.clear()
    return hub.files(REPO)


def test_a_ticket_goes_to_the_hub_and_comes_back(hub: Hub, ticket: Ticket, tmp_path: Path) -> None:
    address = ticket.push_to_hub(REPO)
    assert address.startswith(f"{hub.endpoint}/{REPO}/commit/")
    assert hub.repositories[REPO].private
    assert f'from_pretrained("{REPO}")' in hub.files(REPO)["README.md"].decode()
    assert Ticket.from_pretrained(REPO).to_json() == ticket.to_json()
    assert tombola.pull(REPO, tmp_path / "back").to_json() == ticket.to_json()
    assert {file.name for file in (tmp_path / "back").iterdir()} == {
        *("README.md", "mask.safetensors", "ticket.json")
    }


def test_a_repository_is_private_unless_asked_otherwise(
    cli: Cli, hub: Hub, folder: Path, ticket: Ticket
) -> None:
    assert cli("push", folder, "ada/hidden")[0] == 0
    assert cli("push", folder, "ada/shown", "--no-private")[0] == 0
    ticket.push_to_hub("ada/shown-too", private=False)
    private = {name: found.private for name, found in hub.repositories.items()}
    assert private == {"ada/hidden": True, "ada/shown": False, "ada/shown-too": False}


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_of_the_other_visibility_is_refused(
    private: bool, hub: Hub, folder: Path
) -> None:
    hub.repository(REPO, {}, private=not private)
    got = "to be private, got a public" if private else "to be public, got a private"
    with pytest.raises(TicketError, match=rf"{got} one\. Push with(out)? `private=False`"):
        push(folder, REPO, private=private)
    assert hub.files(REPO) == {}


def test_a_revision_is_a_branch_of_its_own(hub: Hub, ticket: Ticket, folder: Path) -> None:
    push(folder, REPO)
    ticket.push_to_hub(REPO, revision="seed-1", commit_message="Seed 1")
    assert set(hub.repositories[REPO].heads) == {"main", "seed-1"}
    assert Ticket.from_pretrained(REPO, revision="seed-1").to_json() == ticket.to_json()
    with pytest.raises(TicketError, match=r"got no revision 'seed-2'\. Check the name of the"):
        Ticket.from_pretrained(REPO, revision="seed-2")


def test_only_the_files_of_a_ticket_are_asked_for(
    hub: Hub, sent: dict[str, bytes], tmp_path: Path
) -> None:
    strange = ["evil.py", "../../outside", "/etc/passwd", "sub/ticket.json", "model.pkl"]
    hub.repositories[REPO].commit("main", dict.fromkeys(strange, b"x"))
    pull(REPO, tmp_path / "back")
    fetched = {line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line}
    assert fetched == {"README.md", "mask.safetensors", "ticket.json"}


def test_a_cached_ticket_loads_without_the_hub(
    hub: Hub, ticket: Ticket, sent: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TicketError):
        Ticket.from_pretrained(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    Ticket.from_pretrained(REPO)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Ticket.from_pretrained(REPO).to_json() == ticket.to_json()


def test_a_cache_of_ones_own_is_used_and_heals(
    hub: Hub, ticket: Ticket, sent: dict[str, bytes], tmp_path: Path
) -> None:
    cache = tmp_path / "my-cache"
    Ticket.from_pretrained(REPO, cache_dir=cache)
    (blob,) = {path.resolve() for path in cache.rglob("mask.safetensors")}
    blob.write_bytes(b"damaged")
    assert Ticket.from_pretrained(REPO, cache_dir=cache).to_json() == ticket.to_json()
    tombola.pull(REPO, tmp_path / "other", cache_dir=str(tmp_path / "another-cache"))
    assert [*(tmp_path / "another-cache").rglob("mask.safetensors")]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_hub_that_refuses_is_one_line(
    status: int, hub: Hub, sent: dict[str, bytes], folder: Path, tmp_path: Path
) -> None:
    hub.status = status
    said = {401: "no access", 403: "no access", 404: "none there"}.get(status, f"status {status}")
    for attempt in (lambda: pull(REPO, tmp_path / "back"), lambda: push(folder, REPO)):
        with pytest.raises(TicketError, match=f"^expected the hub's repository .*{said}") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "back").exists()


def test_a_repository_that_does_not_exist_is_named(hub: Hub, cli: Cli) -> None:
    status, out, err = cli("pull", "ada/none", "back")
    assert (status, out) == (2, "")
    assert err == (
        "tombola: expected the hub's repository 'ada/none', got no access (HTTP 401). Check the "
        "name, and log in with `hf auth login` if it is private.\n"
    )


@pytest.mark.parametrize("name", ["README.md", "mask.safetensors", "ticket.json"])
def test_a_body_of_the_same_size_with_other_bytes_is_refused(
    name: str, hub: Hub, sent: dict[str, bytes], tmp_path: Path
) -> None:
    hub.served[name] = sent[name][:-1] + b"?"
    with pytest.raises(TicketError, match=f"{name} of the hub's .*, got other content"):
        pull(REPO, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["README.md", "mask.safetensors", "ticket.json"])
def test_a_body_of_another_size_is_refused(
    name: str, hub: Hub, sent: dict[str, bytes], tmp_path: Path
) -> None:
    for wrong in (sent[name][:-1], sent[name] + b"?", b""):
        hub.served[name] = wrong
        with pytest.raises(TicketError, match=f"{name} of the hub's .*, got [0-9,]+ bytes for"):
            pull(REPO, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_file_that_is_listed_as_too_large_is_not_asked_for(
    hub: Hub, sent: dict[str, bytes], tmp_path: Path
) -> None:
    hub.listed["mask.safetensors"] = 1 << 40
    with pytest.raises(TicketError, match=r"with at most 1,073,741,824 bytes in .*, got 1,099,511"):
        pull(REPO, tmp_path / "back")
    assert not any("/resolve/" in line for line in hub.asked)


def test_a_file_without_an_end_is_left_at_its_limit(
    hub: Hub, sent: dict[str, bytes], tmp_path: Path
) -> None:
    hub.endless = True
    with pytest.raises(TicketError, match="got 'more than 1,048,576 bytes'"):
        pull(REPO, tmp_path / "back")
    assert sum(f.stat().st_size for f in (tmp_path / "cache").rglob("*")) < 1 << 20


@pytest.mark.parametrize("fault", ["delay", "drip"])
def test_a_hub_that_answers_slowly_is_left_in_time(
    fault: str,
    hub: Hub,
    sent: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "TRANSFER_SECONDS", 0.5)
    setattr(hub, fault, 0.2)
    with pytest.raises(TicketError, match=r"to answer within 0\.5 seconds in all"):
        pull(REPO, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_the_hub_holds_after_a_push_is_compared(hub: Hub, folder: Path) -> None:
    hub.stored["mask.safetensors"] = b"x"
    with pytest.raises(
        TicketError,
        match=r"as it was sent, got [0-9,]+ bytes for the 1 listed",
    ):
        push(folder, REPO)


def test_a_damaged_ticket_is_not_sent(hub: Hub, folder: Path) -> None:
    (folder / "mask.safetensors").write_bytes(b"x")
    with pytest.raises(TicketError):
        push(folder, REPO)
    assert hub.asked == []


def test_a_hub_that_is_not_there_is_one_line(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    for attempt in (lambda: pull(REPO, tmp_path / "back"), lambda: push(folder, REPO)):
        with pytest.raises(TicketError, match="Check the connection and HF_ENDPOINT") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["etag", "commit"])
def test_headers_that_are_paths_lead_nowhere(
    what: str,
    hub: Hub,
    sent: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "a/b/c/d/cache"))
    hub.headers = {{"etag": "ETag", "commit": "X-Repo-Commit"}[what]: "../../../../outside"}
    with pytest.raises(TicketError, match=r"expected a hash in the headers of .*outside"):
        pull(REPO, tmp_path / "back")
    assert not [*tmp_path.rglob("outside")]
    assert not (tmp_path / "back").exists()
