import math
from collections import deque
from pathlib import Path

import pytest

from star_engine.adapters.layout import WEIGHTS, check_weights
from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.data.prompts import render_prompt
from star_engine.protocols import (
    BadAdapter,
    Sampler,
    SampleRequest,
    SamplingParams,
    ScoreRequest,
    Trainer,
    TrainingJob,
    TrainingText,
)
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.verify import verify
from star_engine.testing.fakes import (
    LIKELY,
    UNLIKELY,
    RecordingTrainer,
    ScriptedSampler,
    addition_pupil,
    addition_scratchpad,
    make_adapter_bytes,
    write_adapter,
)
from tests.star_engine.addition import ADDITION

TRAINING = Training(checkpoint_every=2, lora=Lora(rank=2))
TWO_DIGITS = Example("x", "2 7 + 3 5", "6 2", group="2")
ROWS = (
    TrainingText(
        render_prompt(Kind.SCRATCHPAD, ADDITION, TWO_DIGITS, few_shot=False),
        "\n" + addition_scratchpad((2, 7), (3, 5)),
    ),
)


def ask(sampler: Sampler, prompts: list[str], **params: int | tuple[str, ...]) -> dict[str, str]:
    queue = deque(SampleRequest(str(n), prompt) for n, prompt in enumerate(prompts))
    settings = SamplingParams(**params)  # type: ignore[arg-type]
    return {completion.key: completion.text for completion in sampler.stream(queue, settings)}


def test_the_scratchpad_is_that_of_the_paper() -> None:
    assert addition_scratchpad((6, 2, 4), (2, 5, 9)) == (
        "<scratch>\n6 2 4 + 2 5 9 , C: 0\n2 + 5 , 3 C: 1\n6 + 2 , 8 3 C: 0\n, 8 8 3 C: 0\n0 8 8 3\n"
        "</scratch>\n8 8 3"
    )
    assert addition_scratchpad((9, 9), (0, 1)).endswith("\n1 0 0\n</scratch>\n1 0 0")
    assert addition_scratchpad((9, 9), (0, 1), carries=False).endswith("\n</scratch>\n9 0")


def test_the_queue_may_grow_while_it_is_streamed() -> None:
    sampler = ScriptedSampler(lambda request, _: request.prompt.upper(), batch=2)
    queue = deque([SampleRequest("a", "a")])
    seen = []
    for completion in sampler.stream(queue, SamplingParams()):
        seen.append(completion.text)
        if len(seen) < 4:
            queue.extend([SampleRequest(f"{completion.key}x", f"{completion.key}x")])
    assert seen == ["A", "AX", "AXX", "AXXX"]


def test_stops_and_token_limits_are_kept() -> None:
    sampler = ScriptedSampler({"p": "one two three\nQ: four"})
    (whole,) = sampler.stream(deque([SampleRequest("0", "p")]), SamplingParams(stop=("\nQ:",)))
    assert (whole.text, whole.finish_reason, whole.tokens) == ("one two three", "stop", 3)
    assert whole.stopped_by == "\nQ:"
    (short,) = sampler.stream(deque([SampleRequest("0", "p")]), SamplingParams(max_tokens=2))
    assert (short.text, short.finish_reason, short.tokens) == ("one two", "length", 2)
    assert short.stopped_by is None
    assert sampler.count_tokens(["one two", ""]) == [2, 0]
    assert [len(ids) for ids in sampler.token_ids(["one two", ""])] == [2, 0]
    texts = ["one two", "two one"]
    assert sampler.token_ids(texts) == RecordingTrainer().training_token_ids(texts)


def test_limits_and_stops_may_be_those_of_a_request() -> None:
    sampler = ScriptedSampler({"p": "one two three four"})
    asked = [
        SampleRequest("plain", "p"),
        SampleRequest("short", "p", max_tokens=1),
        SampleRequest("stopped", "p", stop=(" three",)),
        SampleRequest("unstopped", "p", max_tokens=9, stop=()),
    ]
    done = sampler.stream(deque(asked), SamplingParams(max_tokens=3, stop=(" four",)))
    found = {one.key: (one.text, one.finish_reason, one.stopped_by) for one in done}
    assert found == {
        "plain": ("one two three", "stop", " four"),
        "short": ("one", "length", None),
        "stopped": ("one two", "stop", " three"),
        "unstopped": ("one two three four", "stop", None),
    }


def test_what_the_script_would_write_is_likelier_than_anything_else() -> None:
    sampler = ScriptedSampler({"p": " one two"})
    texts = [
        TrainingText("p", " one two"),
        TrainingText("p", " one three"),
        TrainingText("p", " one two three"),
        TrainingText("p", " one three", ((4, 10),)),
    ]
    scores = [*sampler.score([ScoreRequest(str(n), text) for n, text in enumerate(texts)])]
    assert [score.key for score in scores] == ["0", "1", "2", "3"]
    assert [len(score.logprobs) for score in scores] == [3, 3, 4, 2]
    assert scores[0].total == pytest.approx(3 * math.log(LIKELY))
    assert scores[0].total > max(score.total for score in scores[1:3])
    [short] = sampler.score([ScoreRequest("0", texts[2], eos=False)])
    assert short.logprobs == pytest.approx((math.log(LIKELY), math.log(LIKELY), math.log(UNLIKELY)))
    with pytest.raises(ValueError, match="Text a has no token that is learned"):
        list(sampler.score([ScoreRequest("a", TrainingText("p", " one", ((0, 4),)))]))


def test_the_pupil_learns_from_an_adapter_what_its_rows_teach(tmp_path: Path) -> None:
    script = addition_pupil()
    sampler, trainer = ScriptedSampler(script), RecordingTrainer(script)
    prompts = [render_prompt(Kind.SCRATCHPAD, ADDITION, TWO_DIGITS, hint=hint) for hint in (False, True)]

    def verdicts() -> list[bool]:
        texts = ask(sampler, prompts)
        return [verify("scratchpad", texts[key], TWO_DIGITS.answer).is_correct for key in ("0", "1")]

    assert verdicts() == [False, True]
    list(trainer.train(TrainingJob(ROWS, TRAINING, 3, 0, tmp_path / "out", tmp_path / "checkpoints")))
    sampler.use(tmp_path / "out")
    assert verdicts() == [True, True]
    sampler.use(None)
    assert verdicts() == [False, True]


def test_lessons_are_forgotten_from_base_and_kept_from_a_previous_adapter(tmp_path: Path) -> None:
    script = addition_pupil()
    sampler, trainer = ScriptedSampler(script), RecordingTrainer(script)
    list(trainer.train(TrainingJob(ROWS, TRAINING, 1, 0, tmp_path / "first", tmp_path / "c1")))
    for name, start in (("base", None), ("previous", tmp_path / "first")):
        list(trainer.train(TrainingJob((), TRAINING, 1, 0, tmp_path / name, tmp_path / name / "c", start)))
    prompt = ROWS[0].prompt
    right = {}
    for name in ("base", "previous"):
        sampler.use(tmp_path / name)
        right[name] = "6 2\n" in ask(sampler, [prompt])["0"]
    assert right == {"base": False, "previous": True}


def test_training_resumes_from_a_checkpoint_of_the_same_input_only(tmp_path: Path) -> None:
    trainer: Trainer = RecordingTrainer()
    out, checkpoints = tmp_path / "out", tmp_path / "checkpoints"
    steps = trainer.train(TrainingJob(ROWS, TRAINING, 9, 0, out, checkpoints))
    for progress in steps:
        if progress.step == 5:
            break
    assert not out.exists()
    again = list(trainer.train(TrainingJob(ROWS, TRAINING, 9, 0, out, checkpoints)))
    assert [progress.step for progress in again] == [5, 6, 7, 8, 9]
    other = list(trainer.train(TrainingJob(ROWS, TRAINING, 9, 1, out, checkpoints)))
    assert len(other) == 9
    assert check_weights(out / WEIGHTS, rank=2) == 1


def test_the_probe_sees_what_the_sampler_writes(tmp_path: Path) -> None:
    script = addition_pupil()
    trainer, sampler = RecordingTrainer(script), ScriptedSampler(script)
    list(trainer.train(TrainingJob(ROWS, TRAINING, 1, 0, tmp_path / "out", tmp_path / "c")))
    probe = trainer.probe(tmp_path / "out", [ROWS[0].prompt], max_tokens=20)
    sampler.use(tmp_path / "out")
    assert probe.texts == (ask(sampler, [ROWS[0].prompt], max_tokens=20)["0"],)
    assert probe.texts != probe.base_texts
    assert probe.finite
    assert probe.weight_norm > 0


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_bad_adapters_are_probed_as_bad(value: float, tmp_path: Path) -> None:
    write_adapter(tmp_path, value=value)
    probe = RecordingTrainer().probe(tmp_path, ["p"], max_tokens=1)
    assert not (probe.finite and probe.weight_norm > 0)


def test_an_adapter_that_does_not_load_is_a_bad_adapter(tmp_path: Path) -> None:
    with pytest.raises(BadAdapter, match="cannot be read"):
        ScriptedSampler({}).use(tmp_path)
    write_adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(make_adapter_bytes()[:-1])
    with pytest.raises(BadAdapter, match="truncated"):
        ScriptedSampler({}).use(tmp_path)


def test_the_tiny_adapter_is_a_real_safetensors_file(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    write_adapter(tmp_path, rank=2, value=0.5)
    tensors = numpy.load_file(tmp_path / WEIGHTS)
    assert sorted(t.shape for t in tensors.values()) == [(2, 4), (4, 2)]
    assert all((t == 0.5).all() for t in tensors.values())
