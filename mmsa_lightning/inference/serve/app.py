"""The page and the JSON API of a trained model."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files as resources
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mmsa_lightning.errors import UserError
from mmsa_lightning.inference.inputs import Utterance
from mmsa_lightning.inference.predictor import Predictor
from mmsa_lightning.inference.serve.answers import Answers
from mmsa_lightning.inference.serve.batching import Batcher, Full, Job
from mmsa_lightning.inference.serve.bounds import CLIP, LATER, Bounded
from mmsa_lightning.inference.serve.clips import Clips
from mmsa_lightning.inference.serve.description import describe
from mmsa_lightning.inference.serve.limits import Limits
from mmsa_lightning.inference.serve.metrics import Counted, Metrics
from mmsa_lightning.inference.serve.schema import Answer, Given, Health, Model, Problem, Question

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]  # what a Host header may name; another name is that of a page elsewhere
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not JSON."},
    408: {"model": Problem, "description": "The body did not come in time."},
    413: {"model": Problem, "description": "The body is too long."},
    422: {"model": Problem, "description": "The model cannot read what is given."},
    503: {"model": Problem, "description": "Too many requests wait, or the server is stopping."},
    504: {"model": Problem, "description": "The answer was not there in time."},
}
# A page of elsewhere cannot make a browser send these without asking the server first, which does not let it.
OF_A_VIDEO = re.compile(r"(video|audio)/|application/octet-stream", re.IGNORECASE)
A_VIDEO: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}}
}


def create_app(
    predictor: Predictor,
    limits: Limits | None = None,
    *,
    draining: Callable[[], bool] = lambda: False,
    any_host: bool = False,
) -> FastAPI:
    """An ASGI application.

    Args:
        predictor: with the model.
        limits: bounds of what it takes.
        draining: whether the server stops.
        any_host: take requests under any name of this machine, and not only those of the loopback interface.
    """
    limits = limits or Limits()
    metrics = Metrics()
    batcher = Batcher(Answers(predictor), limits, metrics)
    clips = Clips(predictor.about, limits)
    page, policy = _page()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await asyncio.to_thread(batcher.close)

    described = describe(predictor, limits)
    app = FastAPI(
        title=f"{described.name} on {described.dataset}",
        version=described.version,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts over the network
        redoc_url=None,
    )

    @app.get("/", include_in_schema=False)
    async def root() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})

    @app.get("/v1/model")
    async def model() -> Model:
        """What the model reads, and what it scores."""
        return described

    @app.get("/health")
    async def health(response: Response) -> Health:
        """Whether the server takes requests; 503 when it does not."""
        if draining():
            response.status_code = 503
            return Health(status="draining")
        return Health(status="ready")

    @app.get("/metrics", include_in_schema=False)
    async def measured() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def answered(job: Job) -> Answer:
        try:
            batcher.put(job)
            async with asyncio.timeout(limits.answer_s):
                answer: Answer = await asyncio.wrap_future(job.answer)
                return answer
        except Full:
            raise HTTPException(503, "too many requests wait; try again in a second", LATER) from None
        except TimeoutError:
            raise HTTPException(504, f"no answer after {limits.answer_s:g} s; send fewer utterances") from None
        except UserError as error:
            raise HTTPException(422, " ".join(str(error).split())) from error

    @app.post("/v1/predict", responses=PROBLEMS)
    async def predict(question: Question) -> Answer:
        """Predict the sentiment of utterances."""
        if len(question.utterances) > limits.utterances:
            raise HTTPException(422, f"{len(question.utterances)} utterances: send {limits.utterances} at most")
        if question.attention and not predictor.attends:
            raise HTTPException(422, f"{described.name} has no attention weights to tell of")
        utterances = [_utterance(given, i, limits.characters) for i, given in enumerate(question.utterances)]
        answer = await answered(Job(utterances, question.attention, question.contributions))
        metrics.utterances.inc(len(utterances))
        for i, (given, prediction) in enumerate(zip(question.utterances, answer.predictions, strict=True)):
            prediction.id = given.id if given.id is not None else str(i + 1)
        return answer

    @app.post(CLIP, responses=PROBLEMS, openapi_extra=A_VIDEO)
    async def clip(request: Request) -> Answer:
        """Predict the sentiment of a video: its words are heard, its sound and its face are read."""
        if not OF_A_VIDEO.match(request.headers.get("content-type", "")):
            raise HTTPException(415, "send the video with its Content-Type, such as video/mp4")
        try:
            utterance = await clips.read(request.stream())
        except Full:
            raise HTTPException(503, "too many clips wait; try again in a second", LATER) from None
        except UserError as error:
            raise HTTPException(422, " ".join(str(error).split())) from error
        answer = await answered(Job([utterance], predictor.attends, True))
        metrics.utterances.inc(1)
        answer.predictions[0].heard = utterance.text
        return answer

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": _first(error)}, 400 if error.errors()[0]["type"] == "json_invalid" else 422)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the server met a fault of its own, which its log tells of"}, 500)

    app.add_middleware(Bounded, limits=limits, draining=draining)
    if not any_host:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK, www_redirect=False)
    app.add_middleware(Counted, metrics=metrics)
    return app


def _utterance(given: Given, i: int, characters: int) -> Utterance:
    name = f"utterance {i + 1}" + (f" ({given.id})" if given.id is not None else "")
    if given.text is not None and len(given.text) > characters:
        raise HTTPException(422, f"{name} has {len(given.text)} characters: {characters} are taken at most")
    features: dict[str, np.ndarray] = {}
    for m, steps in given.features.items():
        if len({len(step) for step in steps}) != 1:
            raise HTTPException(422, f"{m} of {name} has no steps, or steps of different widths")
        features[m] = np.array(steps, np.float64)
    return Utterance(name, given.text, features=features)


def _first(error: RequestValidationError) -> str:
    """The first thing that is wrong with a body, in one line."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON ({first['ctx']['error']} at character {first['loc'][-1]})"
    where = [str(part) for part in first["loc"] if part != "body"]
    if where[:1] == ["utterances"] and len(where) > 1:
        where[:2] = [f"utterance {int(where[1]) + 1}"]
    if not where:
        return "the body is no JSON object, or lacks its Content-Type: application/json"
    text = " ".join(f"{' '.join(where)}: {first['msg'].removeprefix('Value error, ')}".split())[:300]
    return text.encode(errors="backslashreplace").decode()  # a key may be half of a surrogate pair


def _page() -> tuple[str, str]:
    """The page, and the policy under which a browser runs its own script and style and no others."""
    text = resources("mmsa_lightning.inference.serve").joinpath("page.html").read_text("utf-8")
    script, style = (_sha256(re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)) for name in ("script", "style"))
    return text, (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _sha256(found: list[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in found)
