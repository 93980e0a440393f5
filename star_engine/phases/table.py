"""The phases that there are, by name."""

from __future__ import annotations

from collections.abc import Mapping

from star_engine.config.quiet_star import OuterLoop
from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName
from star_engine.phases.build import BUILD
from star_engine.phases.control import CONTROL
from star_engine.phases.evaluate import BASELINES, EVALUATE
from star_engine.phases.faithfulness import FAITHFULNESS
from star_engine.phases.pairs import PAIRS
from star_engine.phases.phase import Phase
from star_engine.phases.probe import PROBE
from star_engine.phases.quiet_star import QUIET_PHASES
from star_engine.phases.sample import SAMPLE
from star_engine.phases.test_time import TEST_TIME
from star_engine.phases.train import TRAIN
from star_engine.phases.train_verifier import TRAIN_VERIFIER
from star_engine.phases.trial import TRIAL
from star_engine.phases.verify_adapter import VERIFY_ADAPTER
from star_engine.phases.verify_verifier import VERIFY_VERIFIER

PHASES: Mapping[PhaseName, Phase] = {
    phase.name: phase
    for phase in (
        *(BASELINES, CONTROL, SAMPLE, BUILD, TRAIN, VERIFY_ADAPTER, EVALUATE, FAITHFULNESS),
        *(PAIRS, TRAIN_VERIFIER, VERIFY_VERIFIER),
        *(TEST_TIME, TRIAL, PROBE),
    )
}


def phase_of(config: StarConfig, name: PhaseName) -> Phase:
    """The phase of this name, as the job's method has it."""
    if config.method is OuterLoop.QUIET_STAR and name in QUIET_PHASES:
        return QUIET_PHASES[name]
    return PHASES[name]
