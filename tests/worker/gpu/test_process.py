"""The process contract, with a fake GPU in a real child process: what calls do."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.protocols import (
    BadAdapter,
    Completion,
    SampleRequest,
    SamplingParams,
    ScoreRequest,
    Trainer,
    TrainingJob,
    TrainingText,
)
from star_engine.testing.fakes import ScriptedSampler
from tests.worker.gpu_scripts import REPLY_LIKE, obey
from tests.worker.gpus import LONG, OPTIONS, SPEC, requests, sample, wait_until
from worker.gpu.calls import Call, stream
from worker.gpu.process import GpuProcess, GpuSpec


def test_completions_are_those_of_the_sampler_in_the_child(gpu: GpuProcess) -> None:
    prompts = [f"echo {'word ' * n}" for n in range(200)]
    params = SamplingParams(max_tokens=100, stop=("\n",))
    here = ScriptedSampler(obey())
    key: Callable[[Completion], str] = lambda one: one.key  # noqa: E731
    expected = sorted(here.stream(requests(*prompts), params), key=key)
    assert sorted(gpu.stream(requests(*prompts), params), key=key) == expected
    assert gpu.count_tokens(["one", "two words", ""]) == [1, 2, 0]
    assert gpu.token_ids(["one", "two words"]) == gpu.training_token_ids(["one", "two words"])


def test_scores_are_those_of_the_sampler_in_the_child(gpu: GpuProcess) -> None:
    texts = [TrainingText("echo one two", f"one{' two' * n}", ((0, 1),) * (n > 1)) for n in range(100)]
    requests = [ScoreRequest(f"{n}", text, eos=n % 2 == 0) for n, text in enumerate(texts)]
    assert list(gpu.score(requests)) == list(ScriptedSampler(obey()).score(requests))
    assert list(gpu.score([])) == []
    with pytest.raises(ValueError, match="Text none has no token that is learned"):
        list(gpu.score([ScoreRequest("none", TrainingText("echo one", "one", ((0, 3),)))]))
    assert sample(gpu, "echo still here") == ["still here"]


def test_scores_that_are_left_early_do_not_disturb_the_next_call(gpu: GpuProcess) -> None:
    requests = [ScoreRequest(f"{n}", TrainingText("echo one", "one")) for n in range(1000)]
    for _ in gpu.score(requests):
        break
    assert sample(gpu, "echo new") == ["new"]


def test_an_empty_queue_ends_at_once(gpu: GpuProcess) -> None:
    assert list(gpu.stream(deque(), LONG)) == []


def test_requests_added_while_iterating_are_sampled_in_the_same_call(gpu: GpuProcess) -> None:
    queue = requests(*[f"echo {n}" for n in range(50)])
    texts = []
    for completion in gpu.stream(queue, LONG):
        texts.append(completion.text)
        if not completion.key.startswith("again"):
            queue.append(SampleRequest(f"again {completion.key}", f"echo second {completion.text}"))
    assert sorted(texts) == sorted([f"{n}" for n in range(50)] + [f"second {n}" for n in range(50)])


def test_requests_that_arrive_join_the_running_batch() -> None:
    """In the child, without the pipe: what arrives with the first completion is sampled before the last."""
    call = Call({"params": {"max_tokens": 10, "stop": []}}, SimpleQueue())
    first, last = SampleRequest("first", "echo 1"), SampleRequest("last", "echo 2")
    call.arrivals.put({"requests": [first.to_json(), last.to_json()]})
    order: list[str] = []

    def emit(event: dict[str, Any]) -> None:
        order.append(event["key"])
        if event["key"] == "first":
            call.arrivals.put({"requests": [SampleRequest("joins", "echo 3").to_json()]})
        if event["key"] == "last":
            call.arrivals.put({"end": True})

    sampler = ScriptedSampler(obey(), batch=2)
    stream(sampler.stream, call, emit)
    assert [one.key for one in sampler.requests] == ["first", "last", "joins"]
    assert sampler.largest_batch == 2
    assert order[:2] == ["first", "last"]


def test_what_a_request_says_of_its_own_limit_and_stop_reaches_the_child(gpu: GpuProcess) -> None:
    asked = deque(
        [
            SampleRequest("short", "echo one two three", max_tokens=2, stop=()),
            SampleRequest("stopped", "echo one two three", stop=(" three",)),
            SampleRequest("plain", "echo one two three"),
        ]
    )
    done = {one.key: one for one in gpu.stream(asked, SamplingParams(max_tokens=9, stop=(" two",)))}
    assert (done["short"].text, done["short"].finish_reason) == ("one two", "length")
    assert (done["stopped"].text, done["stopped"].stopped_by) == ("one two", " three")
    assert (done["plain"].text, done["plain"].stopped_by) == ("one", " two")


def test_ten_megabytes_of_prompts_and_of_completions_do_not_deadlock(gpu: GpuProcess) -> None:
    text = "x" * 50_000
    assert sample(gpu, *[f"echo {text}{n}" for n in range(200)]) == [f"{text}{n}" for n in range(200)]


def test_a_slow_reader_does_not_hold_up_the_child(gpu: GpuProcess, tmp_path: Path) -> None:
    """It finishes all it has while the worker looks at the first completion: 2 MB fit in no pipe."""
    log = tmp_path / "gpu.log"
    queue = requests(*["echo " + "x" * 50_000] * 40, "print")
    completions = gpu.stream(queue, LONG)
    next(completions)
    wait_until(lambda: REPLY_LIKE in log.read_text(), "the last request was not reached")
    assert len(list(completions)) == 40


def test_an_adapter_is_used_until_the_next_one(gpu: GpuProcess, tmp_path: Path) -> None:
    adapter = train(gpu, tmp_path)
    gpu.use(adapter)
    assert sample(gpu, "adapter") == [str(adapter)]
    gpu.use(None)
    assert sample(gpu, "adapter") == ["None"]


def train(trainer: Trainer, folder: Path) -> Path:
    rows = tuple(TrainingText("prompt", f"completion {n}") for n in range(3))
    training = Training(lora=Lora(rank=4, alpha=8))
    job = TrainingJob(rows, training, 5, 0, folder / "adapter", folder / "checkpoints")
    progress = list(trainer.train(job))
    assert [one.step for one in progress] == [1, 2, 3, 4, 5]
    return folder / "adapter"


def test_training_reports_each_step_and_leaves_an_adapter_that_loads(gpu: GpuProcess, tmp_path: Path) -> None:
    adapter = train(gpu, tmp_path)
    assert {path.name for path in adapter.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    probe = gpu.probe(adapter, ["echo one", "echo two"], 4)
    assert probe.texts == ("one", "two")
    assert probe.finite
    assert probe.weight_norm > 0


def test_a_bad_adapter_is_refused_and_the_process_goes_on(gpu: GpuProcess, tmp_path: Path) -> None:
    pid = gpu.pid
    with pytest.raises(BadAdapter):
        gpu.use(tmp_path / "nothing-here")
    assert (sample(gpu, "echo still here"), gpu.pid) == (["still here"], pid)


def test_an_error_of_the_user_is_told_and_the_process_goes_on(gpu: GpuProcess) -> None:
    with pytest.raises(ValueError, match="this prompt is too long"):
        sample(gpu, "echo fine", "refuse")
    assert sample(gpu, "echo still here") == ["still here"]


def test_one_process_serves_many_calls_and_only_its_own_spec(gpu: GpuProcess) -> None:
    pid = gpu.pid
    assert [sample(gpu, f"echo {n}") for n in range(3)] == [["0"], ["1"], ["2"]]
    assert gpu.pid == pid
    assert gpu.matches(GpuSpec(Path("no-model"), "scripted", options=dict(OPTIONS)))
    assert not gpu.matches(GpuSpec(Path("another-model"), "scripted", options=OPTIONS))


def test_a_stream_that_is_left_early_does_not_disturb_the_next_call(gpu: GpuProcess) -> None:
    queue = requests(*[f"echo old {n}" for n in range(1000)])
    for _ in gpu.stream(queue, LONG):
        break
    assert sample(gpu, "echo new") == ["new"]


def test_a_call_inside_a_stream_gives_the_stream_up(gpu: GpuProcess) -> None:
    completions = gpu.stream(requests("echo 1", "echo 2"), LONG)
    next(completions)
    assert gpu.count_tokens(["one"]) == [1]
    with pytest.raises(RuntimeError, match="given up"):
        next(completions)
    assert sample(gpu, "echo new") == ["new"]


def test_training_that_is_left_early_stops_and_frees_the_process(gpu: GpuProcess, tmp_path: Path) -> None:
    rows = (TrainingText("prompt", "completion"),)
    job = TrainingJob(rows, Training(), 10**9, 0, tmp_path / "adapter", tmp_path / "checkpoints")
    for progress in gpu.train(job):
        if progress.step == 3:
            break
    assert sample(gpu, "echo new") == ["new"]


def test_what_libraries_print_is_in_the_log_and_never_taken_for_a_reply(gpu: GpuProcess) -> None:
    stdin_was_empty = sample(gpu, "print", "echo fine")
    assert stdin_was_empty == ["True", "fine"]
    printed = [line for line in gpu.log_tail().splitlines() if '"gpu_call"' not in line]  # its own notes
    assert printed == [REPLY_LIKE, "from a program that it started"]
    assert len(gpu.log_tail(lines=1).splitlines()) == 1


def test_the_workers_side_imports_no_torch() -> None:
    code = "import sys, worker.gpu.process; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_child_has_no_secret_of_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("STAR_DATABASE_URL", "STAR_BROKER_URL", "STAR_WEBHOOK_SECRET", "AWS_SECRET_ACCESS_KEY")
    for name in (*secrets, "HF_TOKEN", "PGPASSWORD", "WANDB_API_KEY", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "of the worker")
    gpu = GpuProcess(SPEC, tmp_path / "gpu.log")
    try:
        assert sample(gpu, "echo 1") == ["1"]
        inherited = Path(f"/proc/{gpu.pid}/environ").read_text().split("\0")
    finally:
        gpu.kill()
    assert [one for one in inherited if "of the worker" in one] == ["CUDA_VISIBLE_DEVICES=of the worker"]


def test_a_process_says_for_how_long_it_loads_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, seen = tmp_path / "loaded", list[float | None]()
    monkeypatch.setenv("LOADED_WHEN_THERE", str(there))
    spec = replace(SPEC, options={"script": "tests.worker.gpu_scripts:loads_for_long"})

    def look() -> None:
        seen.append(gpu.loading_seconds)
        if (seen[-1] or 0) > 1:
            there.touch()

    gpu = GpuProcess(spec, tmp_path / "gpu.log", look)
    try:
        assert sample(gpu, "echo one") == ["one"]
        assert None not in seen
        assert gpu.loading_seconds is None
    finally:
        gpu.kill()


def test_a_process_whose_call_is_given_up_comes_to_rest_and_serves_the_next(gpu: GpuProcess) -> None:
    left = gpu.stream(requests(*["echo old"] * 1000), LONG)
    next(left)
    assert gpu.comes_to_rest(30)
    assert gpu.comes_to_rest(0)  # it is at rest
    with pytest.raises(RuntimeError, match="given up"):
        next(left)
    assert sample(gpu, "echo new") == ["new"]


def test_a_process_that_hangs_or_is_gone_does_not_come_to_rest(gpu: GpuProcess) -> None:
    assert sample(gpu, "echo ready") == ["ready"]
    call = gpu._begin("stream", params=asdict(LONG))
    gpu._send_requests(call, requests("hang"))
    assert not gpu.comes_to_rest(0.3)
    gpu.kill()
    assert not gpu.comes_to_rest(0.3)


def test_a_process_that_failed_the_call_that_is_given_up_does_not_come_to_rest(gpu: GpuProcess) -> None:
    call = gpu._begin("stream", params=asdict(LONG))
    gpu._send_requests(call, requests("overflow"))
    assert not gpu.comes_to_rest(30)
