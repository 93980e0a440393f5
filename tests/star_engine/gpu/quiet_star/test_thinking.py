"""Thoughts of all positions at once are those of one position after the other, and weigh what they should."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from star_engine.gpu.quiet_star.objective import Counts, advantages, loss_of, policy_loss, predict
from star_engine.gpu.quiet_star.thinking import Policy, Thinker, refuse_scaled_logits
from star_engine.gpu.quiet_star.writing import write
from tests.star_engine.gpu.quiet_star.conftest import NONE_BANNED, Make, policy

IDS = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def one_by_one(
    model: Any, thinker: Thinker, row: torch.Tensor, at: int
) -> tuple[list[int], list[torch.Tensor]]:
    """The greedy thought at one position, by plain forward passes over the text up to there, and the logits
    after it and after each true token."""
    embed, thought = model.get_input_embeddings(), list[int]()
    sequence = torch.cat([embed(row[: at + 1]), thinker.head.start_row[None]])
    for _ in range(thinker.settings.thought_tokens):
        thought.append(int(model(inputs_embeds=sequence[None]).logits[0, -1].argmax()))
        sequence = torch.cat([sequence, embed(torch.tensor(thought[-1:]))])
    sequence = torch.cat([sequence, thinker.head.end_row[None]])
    logits = [model(inputs_embeds=sequence[None]).logits[0, -1]]
    for ahead in range(1, thinker.settings.ahead_tokens):
        if at + ahead < len(row):
            sequence = torch.cat([sequence, embed(row[at + ahead : at + ahead + 1])])
            logits.append(model(inputs_embeds=sequence[None]).logits[0, -1])
    return thought, logits


@torch.no_grad()
def test_thoughts_of_all_positions_at_once_are_those_of_one_after_the_other(model: Any, make: Make) -> None:
    thinker = make(temperature=0, ahead_tokens=3)
    thinking = thinker.think(IDS, policy(thinker))
    for row in range(2):
        for at in range(IDS.shape[1]):
            thought, logits = one_by_one(model, thinker, IDS[row], at)
            assert thinking.tokens[row, at].tolist() == thought
            for after, expected in zip(thinking.after, logits, strict=False):
                torch.testing.assert_close(thinker.unembed(after[row, at]), expected, atol=2e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("mix", ["logits", "hidden"])
def test_a_thought_without_weight_leaves_the_base_models_prediction(model: Any, make: Make, mix: str) -> None:
    thinker = make(mix=mix)
    found = predict(thinker, thinker.think(IDS, policy(thinker)), IDS, weight=0.0)
    plain = model(input_ids=IDS).logits.log_softmax(-1)
    for ahead in range(2):
        wanted = IDS[:, ahead + 1 :]
        expected = -plain[:, ahead : IDS.shape[1] - 1].gather(-1, wanted[..., None])[..., 0]
        known = found.known[:, ahead]
        torch.testing.assert_close(found.mixed[:, known, ahead], expected, atol=1e-5, rtol=0)
        assert torch.equal(found.mixed[:, known, ahead], found.without[:, known, ahead])


@torch.no_grad()
def test_a_thought_with_all_the_weight_replaces_the_prediction(model: Any, make: Make) -> None:
    thinker = make(temperature=0)
    found = predict(thinker, thinker.think(IDS, policy(thinker)), IDS, weight=1.0)
    _, [logits, _] = one_by_one(model, thinker, IDS[0], 2)
    assert found.mixed[0, 2, 0].item() == pytest.approx(-logits.log_softmax(-1)[IDS[0, 3]].item(), abs=1e-4)


def test_the_text_is_not_changed_by_what_is_thought_beside_it(make: Make) -> None:
    thinker = make()
    with torch.no_grad():
        thinking = thinker.think(IDS, policy(thinker))
        torch.testing.assert_close(thinking.without, thinker.read(IDS), atol=1e-5, rtol=0)


def test_controls_think_nothing_or_at_random(make: Make) -> None:
    pause, random = make(thoughts="pause"), make(thoughts="random")
    assert pause.think(IDS, policy(pause)).tokens.shape == (2, 7, 0)
    thinking = random.think(IDS, policy(random))
    assert thinking.entropy.item() == pytest.approx(torch.tensor(50.0).log().item(), abs=1e-4)


def test_no_thought_holds_a_banned_token(make: Make) -> None:
    thinker = make(thought_tokens=8, temperature=5.0)
    allowed = Policy(thinker.settings, torch.arange(1, 50), torch.Generator().manual_seed(0))
    thinking = thinker.think(IDS, allowed)
    assert set(thinking.tokens.flatten().tolist()) == {0}
    assert thinking.logprobs.abs().max().item() < 1e-4


def test_positions_behind_the_end_of_a_window_count_for_nothing(make: Make) -> None:
    thinker = make(ahead_tokens=3)
    found = predict(thinker, thinker.think(IDS, policy(thinker)), IDS)
    assert found.known.sum(0).tolist() == [6, 5, 4]
    assert found.whole.sum().item() == 4


def test_reinforce_on_two_tokens_has_the_analytic_gradient() -> None:
    """d/dz of -A log softmax(z)[a] is -A (one_hot(a) - softmax(z)), for positive A alone."""
    scores = torch.tensor([0.3, -0.2], requires_grad=True)
    rewards = torch.tensor([[[1.0]], [[-0.5]]])
    logprobs = scores.log_softmax(-1)[torch.tensor([[[0]], [[1]]])]
    policy_loss(advantages(rewards), logprobs).sum().backward()  # type: ignore[no-untyped-call]
    expected = -0.75 * (torch.tensor([1.0, 0.0]) - scores.detach().softmax(-1))
    torch.testing.assert_close(scores.grad, expected)


def test_what_the_text_alone_predicts_cancels_in_the_advantage() -> None:
    rewards = torch.randn(3, 2, 5)
    torch.testing.assert_close(advantages(rewards + torch.randn(1, 2, 5)), advantages(rewards))


def test_parts_of_a_batch_add_up_to_its_loss(make: Make) -> None:
    thinker = make(temperature=0, rationales=2)
    counts = Counts.of(4, 7, 2)

    def loss(ids: torch.Tensor) -> torch.Tensor:
        repeated = ids.repeat(2, 1)
        return loss_of(thinker, repeated, thinker.think(repeated, policy(thinker)), counts).total

    torch.testing.assert_close(loss(IDS), loss(IDS[:1]) + loss(IDS[1:]))


def test_gradients_reach_the_soft_tokens_and_the_head(make: Make) -> None:
    thinker = make(rationales=2)
    repeated = IDS.repeat(2, 1)
    loss = loss_of(thinker, repeated, thinker.think(repeated, policy(thinker)), Counts.of(4, 7, 2))
    loss.total.backward()  # type: ignore[no-untyped-call]
    for weight in (thinker.head.start, thinker.head.end, *thinker.head.mixing[4].parameters()):
        assert weight.grad is not None
        assert weight.grad.norm().item() > 0


def learned_from(thinker: Thinker) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients of a step's loss by weight, and bytes that are kept for the backward pass, weights aside."""
    repeated, kept = IDS.repeat(2, 1), dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        thinking = thinker.think(repeated, policy(thinker))
        loss = loss_of(thinker, repeated, thinking, Counts.of(4, 7, 2))
    loss.total.backward()  # type: ignore[no-untyped-call]
    weights = dict(thinker.model.named_parameters()) | dict(thinker.head.named_parameters())
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    for weight in weights.values():
        weight.grad = None
        kept.pop(weight.untyped_storage().data_ptr(), None)
    return gradients, sum(kept.values())


@pytest.mark.parametrize("thoughts", ["sampled", "pause"])
def test_passes_that_are_computed_twice_have_the_same_gradients_and_keep_a_fraction(
    make: Make, thoughts: str
) -> None:
    thinker = make(thoughts=thoughts)
    plain, most = learned_from(thinker)
    thinker.checkpointed = True
    twice, least = learned_from(thinker)
    torch.testing.assert_close(twice, plain, rtol=0, atol=0)
    assert len(plain) > 20
    assert least < most / 3


@torch.no_grad()
def test_writing_thinks_behind_the_last_token_as_training_does(model: Any, make: Make) -> None:
    thinker = make(temperature=0, initial_weight=0.999999)
    prompt = IDS[0].tolist()
    [written] = write(thinker, prompt, NONE_BANNED, max_tokens=1, seed=0)
    thought, [logits, *_] = one_by_one(model, thinker, IDS[0], len(prompt) - 1)
    assert (written.token, list(written.thought)) == (int(logits.argmax()), thought)
    assert (
        list(write(thinker, prompt, NONE_BANNED, max_tokens=5, seed=0, stop=frozenset({written.token}))) == []
    )


def test_a_model_that_changes_its_logits_is_refused() -> None:
    class Capped:
        final_logit_softcapping = 30.0

    with pytest.raises(ValueError, match="final_logit_softcapping"):
        refuse_scaled_logits(Capped())
