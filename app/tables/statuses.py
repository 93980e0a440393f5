"""The closed sets of codes that columns of jobs and steps hold."""

from __future__ import annotations

from enum import StrEnum


class JobStatus(StrEnum):
    VALIDATING = "validating"  # being checked, before any GPU time
    QUEUED = "queued"  # waits for its first worker
    RUNNING = "running"
    PAUSING = "pausing"  # a pause was asked for; running steps hand back
    PAUSED = "paused"  # by the user, or by itself with a diagnosis in status_reason
    CANCELLING = "cancelling"  # a cancel was asked for; running steps stop
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class StepStatus(StrEnum):
    QUEUED = "queued"
    HELD = "held"  # its job is paused
    RUNNING = "running"  # claimed, under a lease
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STEPS = (StepStatus.QUEUED, StepStatus.HELD, StepStatus.RUNNING)  # those that have not ended


class Purpose(StrEnum):
    STAR = "star"
    EVALUATION = "evaluation"  # one adapter on one dataset
    TRIAL = "trial"  # a few questions put to one adapter
    DRAFT = "draft"  # the base model reasons about a few rows, for a prompt set
    PROBE = "probe"  # the base model is asked a sample of the train questions, before a job


class BaseModelTaskKind(StrEnum):
    ADD = "add"  # download or read a base model, try it, and put it on the allow-list
    CHECK = "check"  # ask one that is offered a few questions


class BaseModelTaskStatus(StrEnum):
    QUEUED = "queued"  # waits for a worker that may fetch
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
