"""Examples of the OpenAPI document: of every parameter and of every body, as a person would send them."""

from __future__ import annotations

from typing import Any

JSON = "application/json"
PARAMETERS: dict[str, Any] = {
    "adapter_id": "job_01m7ywcm5xde8kpaacajcgqt7f:best",
    "api_key_id": "key_fDULo2FF",
    "dataset_id": "ds_01m7ywck2a1mt4knmr1jb1zqvw",
    "delivery_id": "msg_01m7ywck2a1mt4knmr1jb1zqvw",
    "example_id": "row-12",
    "file_id": "file_01m7ywck2a1mt4knmr1jb1zqvw",
    "job_id": "job_01m7ywcm5xde8kpaacajcgqt7f",
    "model_id": "SmolLM2-135M-Instruct",
    "number": 2,
    "path": "adapter_model.safetensors",
    "probe_id": "job_01m7ywcwdb4epq43ff61528663",
    "promotion_id": "prm_01m7ywck2a1mt4knmr1jb1zqvw",
    "project_id": "proj_01m7ywck2a1mt4knmr1jb1zqvw",
    "prompt_set_id": "ps_01m7ywck2a1mt4knmr1jb1zqvw",
    "rationale_id": "rat_4711",
    "share_id": "shr_01m7ywcwdb4epq43ff61528663",
    "study_id": "std_01m7ywcwdb4epq43ff61528663",
    "draft_id": "job_01m7ywcwdb4epq43ff61528664",
    "trial_id": "job_01m7ywcwdb4epq43ff61528663",
    "webhook_id": "wh_01m7ywck2a1mt4knmr1jb1zqvw",
    "worker_id": "gpu-host-1:4711",
}
_QUESTION = {"question": "A pen costs 3 dollars. What do 14 pens cost?", "answer": "42"}
_FEW_SHOT = {
    "question": "Tom has 2 apples and buys 3. How many has he?",
    "rationale": "He had 2 and bought 3: 2 + 3 = 5.\n#### 5",
    "answer": "5",
}
_TEXT = {"kind": "numeric", "completion": "14 pens at 3 dollars are 14 * 3 = 42.\n#### 42", "answer": "42"}
_JOB: dict[str, Any] = {
    "name": "pens",
    "model": PARAMETERS["model_id"],
    "dataset": PARAMETERS["dataset_id"],
    "prompt_set": PARAMETERS["prompt_set_id"],
    "preset": "star",
    "config": {"iterations": 5, "generation": {"max_tokens": 200}},
    "metadata": {"team": "maths"},
}
BODIES: dict[str, dict[str, Any]] = {
    "datasets_upload": {
        "application/x-ndjson": '{"question": "What do 14 pens at 3 dollars cost?", "answer": "42"}\n',
        "text/csv": "question,answer\nWhat do 14 pens at 3 dollars cost?,42\n",
    },
    "dataset_previews_preview": {
        "text/csv": "Question;Result\nWhat do 14 pens at 3 dollars cost?;42\n",
    },
    "prompt_drafts_create": {
        JSON: {"dataset": PARAMETERS["dataset_id"], "model": PARAMETERS["model_id"], "rows": 5}
    },
    "prompt_sets_create": {JSON: {"name": "pens", "kind": "numeric", "examples": [_FEW_SHOT]}},
    "verifiers_run": {JSON: {"rows": [_TEXT]}},
    "jobs_create": {JSON: _JOB},
    "job_verbs_fork": {JSON: {"from_iteration": 2, "config": {"generation": {"temperature": 0.7}}}},
    "job_verbs_regrade": {JSON: {"iteration": "all", "verifier": {"fallback": "last_number"}}},
    "prompt_preview_preview": {JSON: {"example": _QUESTION, "model": PARAMETERS["model_id"]}},
    "overrides_create": {JSON: {"verdict": "wrong", "reason": "The second step is false."}},
    "exports_derive": {JSON: {"name": "never solved", "held_out": True}},
    "data_retention_put": {JSON: {"text_days": 365, "event_days": 90, "file_days": 30}},
    "shares_create": {JSON: {"expires_in_days": 30, "note": "for the review on Friday"}},
    "shares_put_sharing": {JSON: {"allowed": True}},
    "quotas_put": {JSON: {"running_jobs": 4, "queued_jobs": 20, "gpu_hours": 100}},
    "openai_completions_create": {
        JSON: {
            "model": "job_01m8j6wkfa5tv8f1ka5avy68e3:best",
            "prompt": "Q: What is 14 * 3?\nA:",
            "max_tokens": 100,
        }
    },
    "openai_completions_chat": {
        JSON: {
            "model": "adp_01m8j6wkfa5tv8f1ka5avy68e3",
            "messages": [{"role": "user", "content": "What is 14 * 3?"}],
        }
    },
    "sign_in_token": {
        JSON: {"device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS", "project": "research"}
    },
    "jobs_resume": {JSON: {"accept": "no_spark"}},
    "studies_create": {JSON: {"arms": ["few_shot", "star"], "questions": 50, "only_right": False}},
    "studies_rate": {JSON: {"pair": 0, "choice": "first", "rater": "Ann"}},
    "promotions_create": {JSON: {"name": "pens", "stage": "production"}},
    "adapters_change": {JSON: {"pinned": True}},
    "retention_put": {JSON: {"keep_last": 1, "keep_best": True, "days": 90}},
    "trials_generate": {JSON: {"questions": [_QUESTION], "beside_base": True}},
    "trials_evaluate": {JSON: {"dataset": PARAMETERS["dataset_id"], "split": "test", "max_examples": 200}},
    "openai_fine_tuning_create": {
        JSON: {
            "model": PARAMETERS["model_id"],
            "training_file": PARAMETERS["file_id"],
            "prompt_set": PARAMETERS["prompt_set_id"],
            "validation": 200,
        }
    },
    "webhooks_create": {JSON: {"url": "https://hooks.example.com/star", "events": ["job.succeeded"]}},
    "webhooks_rotate_secret": {JSON: {"grace_seconds": 86400}},
    "api_keys_rotate": {JSON: {"grace_seconds": 86400}},
    "webhooks_update": {JSON: {"events": ["job.succeeded", "job.failed"]}},
    "job_verbs_update": {JSON: {"name": "sums", "metadata": {"team": "reasoning"}}},
    "api_keys_create": {JSON: {"name": "ci", "scopes": ["read", "submit"]}},
    "base_models_add": {JSON: {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}},
    "base_models_check": {
        JSON: {
            "model": PARAMETERS["model_id"],
            "dataset": PARAMETERS["dataset_id"],
            "prompt_set": PARAMETERS["prompt_set_id"],
        }
    },
    "projects_create": {JSON: {"name": "maths"}},
}
PROBLEM: dict[str, Any] = {
    "type": "urn:star:problem:invalid_config",
    "title": "Invalid request",
    "status": 422,
    "detail": "The configuration is not valid: config.iterations.",
    "instance": "/v1/jobs",
    "code": "invalid_config",
    "request_id": "req_de3d4b50b4a8f5b70ed0d3e2",
    "errors": [
        {
            "field": "config.iterations",
            "reason": "Input should be greater than or equal to 1.",
            "fix": "Send a value that fits.",
            "mend": "Send a value that fits.",
        }
    ],
    "error": {
        "type": "invalid_request_error",
        "code": "invalid_config",
        "message": "The configuration is not valid: config.iterations.",
        "param": "config.iterations",
    },
}
