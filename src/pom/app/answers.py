"""Errors as answers of the server: a status, and one sentence under "error"."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from pom.errors import DiskError, PomError
from pom.words import listed


class NotFoundError(PomError):
    """There is nothing of that name or number."""


class ConflictError(PomError):
    """Whoever asks may not change this now."""


class DroppedError(PomError):
    """Nobody waits for the answer any more, or others were asked for since."""


# A disk that is full now may have room again soon: the browser keeps what it could not save, and tries again.
STATUS = {NotFoundError: 404, ConflictError: 409, DroppedError: 503, DiskError: 507}


def answer_errors(app: FastAPI) -> None:
    """Lets an app answer with {"error": sentence}: by ``STATUS``, else 422 to what a person can put right."""
    app.add_exception_handler(PomError, _answer_pom_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


async def _answer_pom_error(_request: Request, error: Exception) -> JSONResponse:
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 422)
    return _answer(status, str(error))


async def _answer_http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return _answer(error.status_code, error.detail)


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in error.errors()]
    return _answer(422, f"The request is not as it should be ({listed(faults)}).")


def _answer(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status, headers={"cache-control": "no-store"})
