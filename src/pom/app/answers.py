"""Errors as answers of the server: a status, and one sentence under "error"."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from pom.errors import PomError


class NotFoundError(PomError):
    """There is nothing of that name or number."""


class DroppedError(PomError):
    """Nobody waits for the answer any more, or others were asked for since."""


def answer_errors(app: FastAPI) -> None:
    """Lets an app answer with {"error": sentence}: 404, 503, else 422 to what a person can put right."""
    app.add_exception_handler(PomError, _answer_pom_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


async def _answer_pom_error(_request: Request, error: Exception) -> JSONResponse:
    status = 404 if isinstance(error, NotFoundError) else 503 if isinstance(error, DroppedError) else 422
    return _answer(status, str(error))


async def _answer_http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return _answer(error.status_code, error.detail)


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    return _answer(422, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}.")


def _answer(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status, headers={"cache-control": "no-store"})
