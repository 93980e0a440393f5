"""Expressions, compared in a process that can be killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from star_engine.tasks.reading.math_process import PROCESS, MathCrash, MathProcess, MathTimeout
from star_engine.tasks.verify import check_gold, verify, verify_direct

BOMB = "9^{9^{9^9}}"


def _boxed(text: str) -> str:
    return f"Therefore \\boxed{{{text}}}."


@pytest.mark.parametrize(
    ("stated", "answer", "verdict"),
    [
        ("\\frac{1}{2}", "0.5", "correct"),
        ("x^2+2x+1", "(x+1)^2", "correct"),
        ("2\\sqrt{3}", "\\sqrt{12}", "correct"),
        ("\\sqrt{4}", "2", "correct"),
        ("(1,2)", "(1,2)", "correct"),
        ("\\{2,1\\}", "\\{1,2\\}", "correct"),
        ("x=3", "3", "correct"),
        ("3\\text{ cm}", "3", "correct"),
        ("\\text{Paris}", "\\text{Paris}", "correct"),
        # What math-verify 0.9 alone calls equal.
        ("10\\%", "10", "wrong"),
        ("10", "10\\%", "wrong"),
        ("50\\%", "50", "wrong"),
        ("50\\%", "0.5", "wrong"),
        ("5:45", "5:30", "wrong"),
        ("72 \\text{ or } 73", "72", "wrong"),
        ("y=3", "x=3", "wrong"),
        ("\\frac{1}{2006!}", "\\frac{1}{2004!}", "wrong"),
        ("3x+4y+14=0", "3x-y+13=0", "wrong"),
        ("4\\sqrt{2}", "4", "wrong"),
        ("0.3333333", "1/3", "wrong"),
        ("pairs", "Paris", "wrong"),
        # A layout that says no more than the gold answer, and one that says something else.
        ("x = 2 \\text{ or } x = 3", "2, 3", "correct"),
        ("x \\equiv 7 \\pmod{11}", "7", "correct"),
        ("7 \\pmod{11}", "7 \\pmod{13}", "wrong"),
        ("x = 2 \\text{ or } y = 3", "2", "wrong"),
        # What math-verify 0.9 alone calls different.
        ("1.5", "1 1/2", "correct"),
        ("1000", "1e3", "correct"),
        ("18", "eighteen", "correct"),
        ("0", "zero", "correct"),
        ("(c)", "(c)", "correct"),
        ("\\,\\frac{1}{4}\\,", "\\frac14", "correct"),
        ("~7\\;", "7", "correct"),
        ("\\quad 2x \\!", "2x", "correct"),
        ("4!", "4", "wrong"),
        ("\\foo{", "2", "unparsed"),
        ("", "2", "unparsed"),
        ("+".join(["1"] * 600), "600", "unparsed"),
    ],
)
def test_expressions_are_equal_where_they_are_and_nowhere_else(
    stated: str, answer: str, verdict: str
) -> None:
    completion = _boxed(stated)
    found = verify("math", completion, answer)
    assert found.verdict == verdict, found
    if found.span:
        assert completion[slice(*found.span)] == found.extracted


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("The answer is $\\frac{1}{2}$.", "correct"),
        ("#### 0.5", "correct"),
        ("The answer is 0.5. So \\boxed{\\frac{1}{2}}.", "correct"),
        ("The answer is 1. So \\boxed{\\frac{1}{2}}.", "ambiguous"),
        ("The answer is 0.5. Wait, let me see.", "ambiguous"),
        ("It is \\frac{1}{2}.", "unparsed"),
        ("\\boxed{0.5", "unparsed"),
    ],
)
def test_only_anchored_text_is_compared(completion: str, verdict: str) -> None:
    assert verify("math", completion, "\\frac{1}{2}").verdict == verdict


def test_a_direct_answer_is_the_first_line() -> None:
    assert verify_direct("math", " $(x+1)^2$\nbecause", "x^2+2x+1").verdict == "correct"
    assert verify_direct("math", "x^2", "x^2+2x+1").verdict == "wrong"
    assert verify_direct("math", "", "x^2").verdict == "unparsed"


def test_a_gold_answer_that_is_no_expression_is_refused_with_the_mend() -> None:
    check_gold("math", "\\frac{x}{2}")
    check_gold("math", "$1{,}000$")
    for answer in ("", "\\foo{", "$$"):
        with pytest.raises(ValueError, match=r"is empty|write it in LaTeX"):
            check_gold("math", answer)


@pytest.fixture
def process() -> Iterator[MathProcess]:
    own = MathProcess()
    yield own
    own.close()


def test_a_comparison_that_does_not_end_is_killed_and_the_next_one_answered(process: MathProcess) -> None:
    process.ask("1", ["2"], timeout_s=60)
    stuck = process.pid
    assert stuck is not None
    with pytest.raises(MathTimeout):
        process.ask(BOMB, ["1"], timeout_s=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(stuck, 0)  # dead and waited for
    assert process.ask("\\frac{1}{2}", ["0.5", "x"], timeout_s=60)["equal"] == [True, False]
    assert process.pid != stuck


def test_a_timeout_is_the_verdict_error_and_never_wrong() -> None:
    found = verify("math", _boxed(BOMB), "1", timeout_s=0.5)
    assert (found.verdict, found.rule) == ("error", "timeout")
    assert verify("math", _boxed("x+1"), "1+x").verdict == "correct"


def test_a_killed_process_is_replaced(process: MathProcess) -> None:
    process.ask("1", ["2"], timeout_s=60)
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while True:  # the kill reaches the child before or during the next question
        try:
            assert process.ask("1", ["1"], timeout_s=60)["equal"] == [True]
            break
        except MathCrash:
            assert time.monotonic() < deadline
    assert process.pid != first


def test_threads_share_one_process(process: MathProcess) -> None:
    replies: dict[int, object] = {}

    def ask(number: int) -> None:
        replies[number] = process.ask(f"{number}x", [f"x*{number}", "y"], timeout_s=60)["equal"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
    assert replies == {number: [True, False] for number in range(2, 6)}


def test_a_forked_child_starts_its_own_process() -> None:
    assert verify("math", _boxed("x+1"), "1+x").verdict == "correct"
    mine = PROCESS.pid
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        found = verify("math", _boxed("x+2"), "2+x")
        os.write(writable, f"{found.verdict} {PROCESS.pid}".encode())
        PROCESS.close()
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        verdict, pid = pipe.read().split()
    os.waitpid(child, 0)
    assert verdict == "correct"
    assert int(pid) != mine == PROCESS.pid
    assert verify("math", _boxed("x+3"), "3+x").verdict == "correct"


def test_the_process_ends_with_its_parent_even_in_the_middle_of_a_computation() -> None:
    code = (
        "import sys, threading\n"
        "from star_engine.tasks.reading.math_process import PROCESS\n"
        "PROCESS.ask('1', ['2'], 60)\n"
        "print(PROCESS.pid, flush=True)\n"
        f"threading.Thread(target=PROCESS.ask, args=({BOMB!r}, ['1'], 1.0), daemon=True).start()\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while _is_running(child):
        assert time.monotonic() < deadline, "the math process outlived its parent"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    """Not gone and not a zombie: whoever adopts orphans here may be slow to reap them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_process_has_no_secret_of_its_parent(
    process: MathProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_DATABASE_URL", "of the worker")
    process.ask("1", ["2"], 60)
    assert "of the worker" not in Path(f"/proc/{process.pid}/environ").read_text()
