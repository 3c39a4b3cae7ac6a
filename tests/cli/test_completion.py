"""The script for a shell is valid there, and knows verbs, flags and names."""

import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from command_line import Cli, refusal
from tombola.base.specs import SCOPE_NAMES
from tombola.cli.completion import SHELLS, completion_script
from tombola.cli.main import VERBS
from tombola.cli.parser import Parser
from tombola.finders.finder import FINDERS
from tombola.lab.planfile.plan_file import plan_names
from tombola.models.embedded import EMBEDDED
from tombola.tasks.task import task_names

ASK = r"""
source "$1"; shift
function=$(complete -p tombola | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$function tombola "${@: -1}" "${@: -2:1}"
printf '%s\n' "${COMPREPLY[@]}"
"""
"""What bash does when a command line with these words is completed."""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "tombola"
    path.write_text(completion_script("bash"))
    return path


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words after `tombola`."""
    command = ["bash", "-c", ASK, "bash", str(script), "tombola", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_reads_the_script(shell: str, cli: Cli, tmp_path: Path) -> None:
    status, shown, errors = cli("completion", shell)
    assert (status, errors) == (0, "")
    assert shown == completion_script(shell)
    for name in (*VERBS, *task_names(), *FINDERS, *SCOPE_NAMES, *plan_names(), "learning-rate"):
        assert name in shown
    (tmp_path / "script").write_text(shown)
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


def test_bash_completes_verbs_and_every_flag_of_every_verb(script: Path) -> None:
    assert completed(script, "") == [*VERBS]
    assert completed(script, "me") == ["merge"]
    for verb, (file, _) in VERBS.items():
        parser = Parser(verb, "")
        import_module(f"tombola.cli.verbs.{file}").VERBS[verb].flags(parser)
        assert {*parser.flags()} <= {*completed(script, verb, "--")}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["find", "--task", ""], task_names()),
        (["evaluate", "ticket", "--task", "glue/m"], ["glue/mnli", "glue/mrpc"]),
        (["find", "--finder", ""], [*FINDERS]),
        (["find", "--scope", ""], SCOPE_NAMES),
        (["find", "--model", ""], [*EMBEDDED, "folder"]),
        (["merge", "--rule", ""], ["union", "intersection", "majority"]),
        (["merge", "f"], ["folder"]),
        (["run", ""], [*plan_names(), "file", "folder"]),
        (["plans", ""], plan_names()),
        (["import", "fi"], ["file"]),
        (["store", ""], ["list", "show", "verify", "gc", "forget"]),
        (["completion", ""], SHELLS),
        (["--v"], ["--version"]),
    ],
    ids=" ".join,
)
def test_bash_completes_names_and_paths(
    words: list[str],
    names: list[str],
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert sorted(completed(script, *words)) == sorted(names)


def test_the_flags_of_every_finder_are_completed(script: Path) -> None:
    assert completed(script, "find", "--finder", "snip", "--batche") == ["--batches"]
    assert "--schedule" in completed(script, "find", "--s")


def test_another_shell_is_refused(cli: Cli) -> None:
    said = refusal(cli("completion", "fihs"))
    assert said == "there is no completion for the shell 'fihs'. Did you mean 'fish'?"
