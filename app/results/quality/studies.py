"""Blind studies of rationales as they are sent and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.errors import Invalid
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, Name, Page, Resource, Text, page
from app.ledger.data.examples import as_example
from app.ledger.jobs.facts import best_iteration
from app.ledger.jobs.jobs import job_with_texts
from app.ledger.platform.keys import Caller
from app.ledger.quality import studies as ledger
from app.ledger.quality.studies import Wanted
from app.tables.data import Example
from app.tables.jobs import Job
from app.tables.platform import ApiKey
from app.tables.quality import Study, StudyPair
from star_engine.evaluation.preference import Arm, Choice, StudyResult

Rater = Annotated[Text, Field(min_length=1, max_length=200)]


class StudyIn(In):
    """Which rationales raters are to compare: of an iteration, of few-shot prompting, of people."""

    name: Name | None = None
    iteration: Annotated[StrictInt | None, Field(ge=1, description="Left out: the best one.")] = None
    arms: Annotated[tuple[Arm, ...], Field(min_length=2, max_length=3)] = tuple(Arm)
    questions: Annotated[StrictInt, Field(ge=1, le=500)] = 50
    only_right: Annotated[
        StrictBool,
        Field(description="Only questions that all models among the arms answered right, as in the paper."),
    ] = True
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0


class StudyOut(Resource):
    """A study and what its raters prefer so far. A question counts once, by the majority of its raters."""

    object: Literal["study"] = "study"
    job: str
    iteration: int
    name: str
    arms: list[Arm]
    questions: int
    only_right: bool
    pairs: int
    result: StudyResult


class RatedPairOut(BaseModel):
    """Two rationales of one question. Nothing says who wrote which."""

    object: Literal["study_pair"] = "study_pair"
    study: str
    number: Annotated[int, Field(description="What a rating names it by.")]
    question: str
    answer: str
    choices: list[str] | None
    first: str
    second: str


class TurnOut(BaseModel):
    """What a rater sees next; null once all pairs are rated."""

    object: Literal["study_turn"] = "study_turn"
    study: str
    rater: str
    left: Annotated[int, Field(description="Pairs that this rater has not rated, this one included.")]
    pair: RatedPairOut | None


class RatingIn(In):
    """What is preferred: the first rationale, the second, or neither."""

    pair: Annotated[StrictInt, Field(ge=0, lt=2**31, description="Its number.")]
    choice: Choice
    rater: Annotated[Rater | None, Field(description="Left out: whose key it is.")] = None


class RatingOut(Resource):
    object: Literal["study_rating"] = "study_rating"
    study: str
    pair: int
    rater: str
    choice: Choice


def create_study(db: Engine, caller: Caller, job_id: str, sent: StudyIn, once: Once = UNKEYED) -> StudyOut:
    """Raises Invalid where there is nothing to compare."""
    with transaction(db) as session:
        job = job_with_texts(session, caller.project_id, job_id)
        iteration = sent.iteration or _best(session, job)
        wanted = Wanted(
            name=sent.name or f"{job.name}, iteration {iteration}"[:200],
            iteration=iteration,
            arms=tuple(dict.fromkeys(sent.arms)),
            questions=sent.questions,
            only_right=sent.only_right,
            seed=sent.seed,
        )
        study = ledger.create_study(session, job, wanted)
        if study is None:
            raise Invalid.for_field(
                "arms",
                f"No held-out question has rationales of two of {', '.join(wanted.arms)}"
                f"{', answered right by all models' if sent.only_right else ''}.",
                "Few-shot rationales need the baseline few_shot_cot, people's the column solution; or send "
                "only_right: false.",
                code="nothing_to_compare",
            )
        once.remember(session, study.id)
        return _out(session, study)


def read_studies(
    db: Engine, project_id: str, *, limit: int, job: str | None = None, after: str | None = None
) -> Page[StudyOut]:
    with reading(db) as session:
        found = ledger.list_studies(session, project_id, job=job, after=after, limit=limit + 1)
        return page([_out(session, one) for one in found], limit)


def read_study(db: Engine, project_id: str, study_id: str) -> StudyOut:
    with reading(db) as session:
        return _out(session, ledger.get_study(session, project_id, study_id))


def delete_study(db: Engine, project_id: str, study_id: str) -> None:
    """Deletes the study with its pairs and ratings."""
    with transaction(db) as session:
        session.delete(ledger.get_study(session, project_id, study_id))


def read_turn(db: Engine, caller: Caller, study_id: str, rater: str | None = None) -> TurnOut:
    """What a rater sees next, in an order of their own."""
    with reading(db) as session:
        study = _with_texts(session, caller.project_id, study_id)
        name = rater or _rater(session, caller)
        found, left = ledger.next_pair(session, study, name)
        shown = None if found is None else _pair(session, study, found)
        return TurnOut(study=study.id, rater=name, left=left, pair=shown)


def rate_pair(db: Engine, caller: Caller, study_id: str, sent: RatingIn, once: Once = UNKEYED) -> RatingOut:
    """Records what a rater prefers. The newest rating of a rater of a pair counts."""
    with transaction(db) as session:
        study = _with_texts(session, caller.project_id, study_id)
        pair = ledger.find_pair(session, study, sent.pair)
        rating = ledger.rate(session, caller, pair, sent.rater or _rater(session, caller), sent.choice)
        once.remember(session, f"rtg_{rating.id}")
        return RatingOut(
            id=f"rtg_{rating.id}",
            created_at=rating.created_at,
            study=study.id,
            pair=pair.position,
            rater=rating.rater,
            choice=sent.choice,
        )


def read_rating(db: Engine, project_id: str, study_id: str, rating_id: str) -> RatingOut:
    with reading(db) as session:
        study = ledger.get_study(session, project_id, study_id)
        rating, pair = ledger.get_rating(session, study, rating_id)
        return RatingOut(
            id=rating_id,
            created_at=rating.created_at,
            study=study.id,
            pair=pair.position,
            rater=rating.rater,
            choice=Choice(rating.choice),
        )


def _with_texts(session: Session, project_id: str, study_id: str) -> Study:
    """The study; Gone where its rationales were removed with the texts of its job."""
    study = ledger.get_study(session, project_id, study_id)
    job_with_texts(session, project_id, study.job_id)
    return study


def _best(session: Session, job: Job) -> int:
    best = best_iteration(session, job)
    if best is None:
        reason = "No iteration of the job has been evaluated yet."
        raise Invalid.for_field("iteration", reason, "Wait for the first one.", code="nothing_to_compare")
    return int(best["iteration"])


def _rater(session: Session, caller: Caller) -> str:
    return session.get_one(ApiKey, caller.key_id).name


def _pair(session: Session, study: Study, row: StudyPair) -> RatedPairOut:
    example = session.get_one(Example, row.example_id)
    return RatedPairOut(
        study=study.id,
        number=row.position,
        question=as_example(example).whole_question,
        answer=example.answer,
        choices=example.choices,
        first=row.first_text.strip(),
        second=row.second_text.strip(),
    )


def _out(session: Session, row: Study) -> StudyOut:
    return StudyOut(
        id=row.id,
        created_at=row.created_at,
        job=row.job_id,
        iteration=row.iteration_number,
        name=row.name,
        arms=[Arm(arm) for arm in row.settings["arms"]],
        questions=int(row.settings["questions"]),
        only_right=bool(row.settings["only_right"]),
        pairs=ledger.count_pairs(session, row),
        result=ledger.read_result(session, row),
    )
