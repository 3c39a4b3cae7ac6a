"""A ticket arrives as it was sent, or not at all."""

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import fsspec
import pytest

import tombola
from command_line import Cli
from tombola.base.errors import OutputError, SpecError, TicketError
from tombola.ship.hub import HubRepository
from tombola.ship.local_folder import LocalFolder
from tombola.ship.sharing import place_of, pull, push
from tombola.ship.urls import Remote
from tombola.ticket.ticket import Ticket

NAMES = {"README.md", "mask.safetensors", "ticket.json"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def memory() -> str:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return "memory://bucket/ticket"


@pytest.mark.parametrize("kind", ["memory", "file", "folder"])
def test_a_ticket_pulled_is_the_ticket_pushed(
    kind: str, memory: str, ticket: Ticket, folder: Path, tmp_path: Path
) -> None:
    place = {
        "memory": memory,
        "file": f"file://{tmp_path}/there",
        "folder": str(tmp_path / "there"),
    }[kind]
    push(folder, place)
    arrived = pull(place, tmp_path / "back")
    assert arrived.to_json() == ticket.to_json() == Ticket.load(tmp_path / "back").to_json()
    assert names(tmp_path / "back") == NAMES
    assert Ticket.from_pretrained(place).to_json() == ticket.to_json()


def test_a_folder_may_begin_with_the_home_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    assert push(f"~/{folder.name}", "./there")
    assert pull("./there", "~/back") == Ticket.load(folder)
    assert [each.name for each in tmp_path.iterdir()] == ["there"] or folder.parent == tmp_path


def test_the_card_is_kept_next_to_the_ticket_and_an_edited_one_is_sent_as_it_is(
    folder: Path, tmp_path: Path
) -> None:
    push(folder, tmp_path / "a")
    generated = (folder / "README.md").read_bytes()
    assert (tmp_path / "a" / "README.md").read_bytes() == generated
    edited = generated.replace(b"license: unknown", b"license: mit")
    (folder / "README.md").write_bytes(edited)
    push(folder, tmp_path / "b")
    assert (tmp_path / "b" / "README.md").read_bytes() == edited


def test_pushing_again_sends_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for place in ("a", "b", "a"):
        push(folder, tmp_path / place)
    for name in NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_ticket_in_a_folder_that_may_only_be_read_is_pushed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OutputError("read-only")

    monkeypatch.setattr("tombola.ship.sharing.write_bytes", refuse)
    push(folder, tmp_path / "there")
    assert names(tmp_path / "there") == NAMES
    assert names(folder) == NAMES - {"README.md"}


def test_only_the_files_of_a_ticket_are_fetched(memory: str, folder: Path, tmp_path: Path) -> None:
    push(folder, memory)
    system = fsspec.filesystem("memory")
    for strange in ("evil.py", "../outside", "sub/ticket.json", "pytorch_model.bin"):
        system.pipe_file(f"/bucket/ticket/{strange}", b"x")
    pull(memory, tmp_path / "back")
    assert names(tmp_path / "back") == NAMES
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["ticket.json", "mask.safetensors"])
def test_a_damaged_ticket_is_not_written(
    name: str, memory: str, folder: Path, tmp_path: Path
) -> None:
    push(folder, memory)
    system = fsspec.filesystem("memory")
    content = bytearray(system.cat_file(f"/bucket/ticket/{name}"))
    content[-3] ^= 4
    system.pipe_file(f"/bucket/ticket/{name}", bytes(content))
    with pytest.raises(TicketError):
        pull(memory, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["ticket.json", "mask.safetensors"])
def test_a_missing_file_is_named(name: str, memory: str, folder: Path, tmp_path: Path) -> None:
    push(folder, memory)
    fsspec.filesystem("memory").rm_file(f"/bucket/ticket/{name}")
    with pytest.raises(TicketError, match=f"expected a ticket in .*, got no file {name} there"):
        pull(memory, tmp_path / "back")


def test_the_ticket_next_to_a_trained_network_is_named(folder: Path, tmp_path: Path) -> None:
    network = tmp_path / "network"
    network.mkdir()
    folder.rename(network / "ticket")
    for share in (Ticket.from_pretrained, lambda place: push(place, tmp_path / "there")):
        with pytest.raises(TicketError, match=r"a trained network\. Its ticket is in .*k/ticket"):
            share(network)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_file_that_is_too_large_is_refused(
    name: str, memory: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(folder, memory)
    monkeypatch.setitem(tombola.ship.ticket_files.SIZE_LIMITS, name, 10)
    for place in (memory, str(folder)):
        with pytest.raises(TicketError, match=f"{name} .*(at most 10|bytes)"):
            pull(place, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_links_and_pipes_in_place_of_a_file_are_refused(
    name: str, folder: Path, tmp_path: Path
) -> None:
    push(folder, tmp_path / "there")
    file = tmp_path / "there" / name
    secret = tmp_path / "secret"
    file.rename(secret)
    file.symlink_to(secret)
    for place in (str(file.parent), f"file://{file.parent}", f"local://{file.parent}"):
        with pytest.raises(TicketError, match="link"):
            pull(place, tmp_path / "back")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(TicketError, match="a named pipe"):
        pull(file.parent, tmp_path / "back")
    assert stat.S_ISFIFO(file.stat().st_mode)
    assert not (tmp_path / "back").exists()


def test_a_folder_with_anything_else_is_never_written_to(
    memory: str, folder: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        pull(str(folder), work)
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        push(folder, work)
    fsspec.filesystem("memory").pipe_file("/bucket/ticket/thesis.tex", b"x")
    with pytest.raises(TicketError, match=r"thesis\.tex"):
        push(folder, memory)
    assert names(work) == {"thesis.tex"}
    assert fsspec.filesystem("memory").find("/bucket") == ["/bucket/ticket/thesis.tex"]


def test_a_store_that_keeps_other_bytes_is_noticed(
    memory: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(fsspec.filesystem("memory"))
    whole = kind.pipe_file

    def lossy(self: object, path: str, value: bytes, **more: object) -> None:
        whole(self, path, value[:-1] + b"?", **more)

    monkeypatch.setattr(kind, "pipe_file", lossy)
    with pytest.raises(TicketError, match=r"as it was sent, got other bytes back\. Push it again"):
        push(folder, memory)


def test_a_store_that_never_answers_is_left_in_time(
    memory: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Event()
    kind = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(kind, "info", lambda *_, **__: silent.wait(60))
    monkeypatch.setattr(kind, "makedirs", lambda *_, **__: silent.wait(60))
    monkeypatch.setattr("tombola.ship.deadline.TRANSFER_SECONDS", 0.1)
    for attempt in (lambda: pull(memory, tmp_path / "back"), lambda: push(folder, memory)):
        with pytest.raises(TicketError, match=r"to answer within 0\.1 seconds in all, got no end"):
            attempt()
    silent.set()


def test_a_ticket_that_was_pickled_can_do_everything_before_anything_else_is_imported(
    folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "ticket.pickle"
    kept.write_bytes(pickle.dumps(Ticket.load(folder)))
    code = (
        "import pickle, sys; ticket = pickle.load(open(sys.argv[1], 'rb')); "
        "assert type(ticket).from_pretrained(sys.argv[2]) == ticket; "
        "from tombola.ticket.extensions import FASTER; assert {*FASTER} == {'compile', 'shrink'}"
    )
    subprocess.run([sys.executable, "-c", code, kept, folder], check=True)


@pytest.mark.parametrize(
    ("url", "got"),
    [
        ("nonsense://bucket/x", "Protocol not known"),
        ("simplecache::memory://x", "without `::`"),
        ("memory://a/../b", r"`\.\.`"),
        ("memory://nothing", "there is none, or the server can't be reached"),
        ("http://127.0.0.1:1/x", "there is none, or the server can't be reached"),
        ("gopher://user:secret@host/x?key=secret", "gopher"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line_without_its_password(
    url: str, got: str, tmp_path: Path
) -> None:
    with pytest.raises(TicketError, match=got) as caught:
        pull(url, tmp_path / "back")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_a_place_is_does_not_depend_on_luck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "old").mkdir(parents=True)
    kinds = {
        "owner/name": HubRepository,
        "hf://runs/new": HubRepository,
        "runs/old": LocalFolder,
        "./runs/new": LocalFolder,
        "/somewhere/x": LocalFolder,
        "s3://bucket/x": Remote,
        "file:///somewhere/x": LocalFolder,
    }
    assert {text: type(place_of(text)) for text in kinds} == kinds
    with pytest.raises(TicketError, match=r"Write \./runs/new or hf://runs/new\."):
        place_of("runs/new")
    for wrong in ("name", "a/b/c", "owner/..", "a--b/c", "own er/x", "owner/x\n", ""):
        with pytest.raises(TicketError, match="expected OWNER/NAME"):
            place_of(wrong)


def test_a_place_that_cannot_be_one_is_refused_in_one_line(ticket: Ticket, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"expected OWNER/NAME on the hub, got None\."):
        ticket.push_to_hub(None)  # type: ignore[arg-type]
    for wrong in ("./x", "x", "a" * 300):
        with pytest.raises(
            TicketError, match=r"expected OWNER/NAME on the hub, got .*a repository"
        ):
            ticket.push_to_hub(wrong)
    with pytest.raises(TicketError, match="expected OWNER/NAME on the hub, a URL or a folder"):
        Ticket.from_pretrained("a" * 300)
    with pytest.raises(TicketError, match=r"of a ticket in a{300}, got: File name too long"):
        pull(Path("a" * 300), tmp_path / "back")
    for wrong in ("./a\0b", "file:///a%00b"):
        with pytest.raises(SpecError, match="with a null character"):
            pull(wrong, tmp_path / "back")


@pytest.mark.parametrize("place", ["./x", "memory://x"])
@pytest.mark.parametrize("only", ["revision", "private", "commit_message"])
def test_what_is_for_the_hub_only_is_refused_elsewhere(
    only: str, place: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {only: False if only == "private" else "x"}
    with pytest.raises(SpecError, match=f"^`{only}.*` is for a repository on the hub, got .*x"):
        push(folder, place, **given)
    assert not Path("x").exists()


def test_a_file_url_may_have_escapes() -> None:
    assert str(place_of("file:///some%20where/x")) == "/some where/x"
    assert str(place_of("file:///some%3F/x#1")) == "/some?/x#1"


def test_a_file_url_is_of_this_machine_and_whole() -> None:
    assert str(place_of("file://localhost/some/x")) == "/some/x"
    for wrong in ("file://server/x", "file://x", "file://~/x", "file://", "file://localhost"):
        with pytest.raises(TicketError, match=r"expected a folder on this machine, as file:///"):
            place_of(wrong)


def test_the_command_line_pushes_and_pulls(cli: Cli, memory: str, folder: Path) -> None:
    assert cli("push", folder, memory) == (0, f"pushed    {memory}\n", "")
    status, out, err = cli("pull", memory, "back")
    assert (status, err) == (0, "")
    assert out.startswith("ticket    back\n<Ticket: model google-bert/bert-base-uncased")
    status, out, err = cli("pull", "memory://none", "other")
    assert (status, out) == (2, "")
    assert err.startswith("tombola: expected a ticket in 'memory://none'")
