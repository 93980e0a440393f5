"""Self-taught reasoning as a library. A run takes a few lines:

    sampler, trainer = load_model("path/to/base-model")
    train, held_out = load_dataset("rows.jsonl", "numeric")
    prompt_set = load_prompt_set("prompts.json", "numeric")
    config = preset_config("star", Kind.NUMERIC, {"iterations": 3})
    for event in run_star(config, train, held_out, prompt_set, sampler, trainer, Path("out")):
        print(event)

Importing the package imports nothing else: a name loads its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from star_engine.config.presets import PRESETS as PRESETS
    from star_engine.config.presets import preset_config as preset_config
    from star_engine.config.star import StarConfig as StarConfig
    from star_engine.load import load_dataset as load_dataset
    from star_engine.load import load_model as load_model
    from star_engine.load import load_prompt_set as load_prompt_set
    from star_engine.run import Event as Event
    from star_engine.run import run_star as run_star
    from star_engine.run_directory import RunDirectory as RunDirectory
    from star_engine.tasks.examples import Example as Example
    from star_engine.tasks.examples import FewShotExample as FewShotExample
    from star_engine.tasks.examples import PromptSet as PromptSet
    from star_engine.tasks.kind import Kind as Kind
    from star_engine.tasks.verify import verify as verify

_HOMES = {
    "Event": "run",
    "Example": "tasks.examples",
    "FewShotExample": "tasks.examples",
    "Kind": "tasks.kind",
    "PRESETS": "config.presets",
    "PromptSet": "tasks.examples",
    "RunDirectory": "run_directory",
    "StarConfig": "config.star",
    "load_dataset": "load",
    "load_model": "load",
    "load_prompt_set": "load",
    "preset_config": "config.presets",
    "run_star": "run",
    "verify": "tasks.verify",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names of one table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'star_engine' has no attribute {name!r}")
    return getattr(import_module(f"star_engine.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
