"""Signed tokens in the format of `Phoenix.Token`."""

from typing import Any

from . import _contract
from ._contract import token as host_token
from ._payload import count, parse, text, to_json


class TokenProblem(Exception):
    """A token isn't valid."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        #: `missing`: there is none. `invalid`: it wasn't signed with this secret and salt. `expired`: it is too old.
        self.problem = problem


class Token:
    """Signs and verifies tokens. The host needs a `secret_key_base`; without it, both are a fault."""

    def sign(self, salt: str, value: Any, max_age: int | None = None) -> str:
        """Signs a JSON value. The maximum age is in seconds; the default is a day."""
        return host_token.sign(text("a salt", salt), to_json(value), _seconds(max_age))

    def verify(self, salt: str, token: str, max_age: int | None = None) -> Any:
        """Returns the value that was signed. Raises `TokenProblem`. The maximum age, in seconds, replaces the one in the token."""
        try:
            return parse(host_token.verify(text("a salt", salt), text("a token", token), _seconds(max_age)))
        except _contract.types.Err as problem:
            raise TokenProblem(problem.value.name.lower()) from None


def _seconds(max_age: int | None) -> int | None:
    return None if max_age is None else count("a maximum age", max_age)


token = Token()
