"""Blind studies of rationales: made of recorded answers, rated by several people, each once per pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import new_id
from app.errors import NotFound
from app.ledger.jobs.outcomes import read_iterations
from app.ledger.platform.keys import Caller
from app.tables.base import JsonObject
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.quality import Study, StudyPair, StudyRating
from app.tables.rationales import Evaluation
from star_engine.data.selection import select_examples
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.preference import Arm, Choice, Pair, Rating, StudyResult, make_pairs, result, turn

MODES = {Arm.FEW_SHOT: EvaluationMode.FEW_SHOT_COT, Arm.STAR: EvaluationMode.ADAPTER}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a study is to be made of."""

    name: str
    iteration: int
    arms: tuple[Arm, ...]
    questions: int
    only_right: bool  # only questions that every model among the arms answered right
    seed: int


def create_study(session: Session, job: Job, wanted: Wanted) -> Study | None:
    """None where no question has rationales of two arms."""
    texts = _texts(session, job, wanted)
    names = sorted(texts, key=int)
    chosen = [names[place] for place in select_examples(len(names), wanted.questions, wanted.seed, 0)]
    pairs = make_pairs({name: texts[name] for name in chosen}, wanted.seed)
    if not pairs:
        return None
    settings: JsonObject = {
        "arms": [str(arm) for arm in wanted.arms],
        "questions": len({pair.example_id for pair in pairs}),
        "only_right": wanted.only_right,
        "seed": wanted.seed,
    }
    study = Study(
        id=new_id("std"),
        project_id=job.project_id,
        job_id=job.id,
        iteration_number=wanted.iteration,
        name=wanted.name,
        settings=settings,
    )
    session.add(study)
    session.flush()
    session.add_all(
        StudyPair(
            study_id=study.id,
            position=position,
            example_id=int(pair.example_id),
            first_arm=pair.first,
            second_arm=pair.second,
            first_text=texts[pair.example_id][pair.first],
            second_text=texts[pair.example_id][pair.second],
        )
        for position, pair in enumerate(pairs)
    )
    session.flush()
    session.refresh(study)
    return study


def _texts(session: Session, job: Job, wanted: Wanted) -> dict[str, dict[Arm, str]]:
    """Rationales by the row id of their question, then arm."""
    found: dict[str, dict[Arm, str]] = defaultdict(dict)
    models = [arm for arm in wanted.arms if arm in MODES]
    wrong: set[str] = set()
    for iteration in read_iterations(session, job):
        for arm in models:
            if iteration.number != (wanted.iteration if arm is Arm.STAR else 0):
                continue
            query = select(Evaluation.example_id, Evaluation.text, Evaluation.verdict).where(
                Evaluation.iteration_id == iteration.id, Evaluation.mode == MODES[arm]
            )
            for example_id, text, verdict in session.execute(query):
                found[str(example_id)][arm] = text
                if verdict != "correct":
                    wrong.add(str(example_id))
    if Arm.HUMAN in wanted.arms:
        ids = [int(name) for name in found]
        solved = select(Example.id, Example.solution).where(
            Example.dataset_id == job.dataset_id,
            Example.split == job.config.evaluation.split,
            Example.solution.is_not(None),
        )
        for example_id, solution in session.execute(solved):
            if example_id in set(ids) and solution:
                found[str(example_id)][Arm.HUMAN] = solution
    return {name: texts for name, texts in found.items() if not (wanted.only_right and name in wrong)}


def get_study(session: Session, project_id: str, study_id: str) -> Study:
    found = session.get(Study, study_id)
    if found is None or found.project_id != project_id or session.get(Job, found.job_id) is None:
        raise NotFound(f"There is no study {study_id}.")
    return found


def list_studies(
    session: Session, project_id: str, *, job: str | None, after: str | None, limit: int
) -> Sequence[Study]:
    """Newest first."""
    query = select(Study).join(Job, Job.id == Study.job_id).where(Study.project_id == project_id)
    if job is not None:
        query = query.where(Study.job_id == job)
    if after is not None:
        query = query.where(Study.id < after)
    return session.scalars(query.order_by(Study.id.desc()).limit(limit)).all()


def pairs_of(session: Session, study: Study) -> Sequence[StudyPair]:
    query = select(StudyPair).where(StudyPair.study_id == study.id)
    return session.scalars(query.order_by(StudyPair.position)).all()


def count_pairs(session: Session, study: Study) -> int:
    query = select(func.count()).select_from(StudyPair).where(StudyPair.study_id == study.id)
    return session.scalar(query) or 0


def next_pair(session: Session, study: Study, rater: str) -> tuple[StudyPair | None, int]:
    """What this rater sees next, in an order of their own, and how many pairs are left to them."""
    pairs = pairs_of(session, study)
    rated = select(StudyRating.pair_id).join(StudyPair, StudyPair.id == StudyRating.pair_id)
    done = set(session.scalars(rated.where(StudyPair.study_id == study.id, StudyRating.rater == rater)))
    seed = int(study.settings["seed"])
    left = [pairs[place] for place in turn(len(pairs), rater, seed) if pairs[place].id not in done]
    return (left[0] if left else None), len(left)


def find_pair(session: Session, study: Study, position: int) -> StudyPair:
    query = select(StudyPair).where(StudyPair.study_id == study.id, StudyPair.position == position)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound(f"The study {study.id} has no pair {position}.")
    return found


def rate(session: Session, caller: Caller, pair: StudyPair, rater: str, choice: Choice) -> StudyRating:
    rating = StudyRating(pair_id=pair.id, rater=rater, key_id=caller.key_id, choice=choice)
    session.add(rating)
    session.flush()
    session.refresh(rating)
    return rating


def read_result(session: Session, study: Study) -> StudyResult:
    """What the raters prefer so far."""
    rows = pairs_of(session, study)
    places: Mapping[int, int] = {row.id: place for place, row in enumerate(rows)}
    pairs = [Pair(str(row.example_id), Arm(row.first_arm), Arm(row.second_arm)) for row in rows]
    query = select(StudyRating).join(StudyPair, StudyPair.id == StudyRating.pair_id)
    found = session.scalars(query.where(StudyPair.study_id == study.id).order_by(StudyRating.id))
    return result(pairs, (Rating(places[one.pair_id], one.rater, Choice(one.choice)) for one in found))


def get_rating(session: Session, study: Study, rating_id: str) -> tuple[StudyRating, StudyPair]:
    number = rating_id.removeprefix("rtg_")
    found = session.get(StudyRating, int(number)) if number.isdecimal() and len(number) < 19 else None
    pair = None if found is None else session.get(StudyPair, found.pair_id)
    if found is None or pair is None or pair.study_id != study.id:
        raise NotFound(f"The study {study.id} has no rating {rating_id}.")
    return found, pair
