"""Values as annotations describe them, and the parameters of handlers."""

import enum
import unittest
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from bennu import Payload, Refusal
from bennu._parameters import Handler
from bennu._payload import to_json
from bennu._values import Mismatch, kind_of, read_fields


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Place:
    x: int
    y: int = 0


@dataclass
class Board:
    places: dict[str, Place] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    size: tuple[int, int] = (1, 1)
    colour: Colour = Colour.RED


UserId = NewType("UserId", str)


class ValuesTest(unittest.TestCase):
    def test_values_that_fit_are_read(self):
        cases = [
            (str, "a", "a"),
            (int, 1, 1),
            (float, 1, 1),
            (bool, True, True),
            (None, None, None),
            (Any, [1], [1]),
            (int | None, None, None),
            (list[int], [1, 2], [1, 2]),
            (list[list[str]], [["a"]], [["a"]]),
            (dict[str, int], {"a": 1}, {"a": 1}),
            (dict[int, str], {"1": "a"}, {1: "a"}),
            (tuple[int, ...], [1, 2], (1, 2)),
            (tuple[int, str], [1, "a"], (1, "a")),
            (set[int], [1, 1], {1}),
            (Literal["a", 1], 1, 1),
            (Colour, "red", Colour.RED),
            (Place, {"x": 1, "z": 2}, Place(1)),
            (list[Place | None], [{"x": 1}, None], [Place(1), None]),
            (UserId, "ada", "ada"),
            ("unknown", 1, 1),
        ]
        for annotation, value, expected in cases:
            read = kind_of(annotation).read
            self.assertEqual(value if read is None else read(value), expected, annotation)

    def test_others_are_refused_with_their_place(self):
        cases = [
            (str, 1, "expected a string"),
            (int, True, "expected a whole number"),
            (int, 1.5, "expected a whole number"),
            (float, "1", "expected a number"),
            (bool, 1, "expected true or false"),
            (int | None, "a", "expected a whole number or null"),
            (list[int], [1, "a"], "1: expected a whole number"),
            (dict[str, list[int]], {"a": [None]}, "a.0: expected a whole number"),
            (tuple[int, int], [1], "expected a list of 2"),
            (Literal["a", "b"], "c", "expected one of a, b"),
            (Literal[1], True, "expected one of 1"),
            (Colour, "blue", "expected one of red"),
            (Place, {"y": 1}, "x: expected a whole number, and it is missing"),
            (dict[str, Place], {"ada": {"x": "1"}}, "ada.x: expected a whole number"),
            (Place | None, {"x": "1"}, "x: expected a whole number"),
        ]
        for annotation, value, expected in cases:
            with self.assertRaises(Mismatch, msg=annotation) as raised:
                kind_of(annotation).read(value)
            self.assertEqual(str(raised.exception), expected)

    def test_a_state_is_read_as_it_was_written(self):
        board = Board({"a": Place(1, 2)}, {"b", "a"}, (3, 4))
        text = to_json(board)
        self.assertEqual(text, '{"places":{"a":{"x":1,"y":2}},"seen":["a","b"],"size":[3,4],"colour":"red"}')
        self.assertEqual(read_fields(Board, {"places": {"a": {"x": 1, "y": 2}}, "seen": ["a", "b"], "size": [3, 4]}), board)
        self.assertEqual(read_fields(Board, {"gone": 1}), Board(), "fields that are missing or unknown")

    def test_what_is_no_json_is_refused(self):
        circle: list[Any] = []
        circle.append(circle)
        for value in [object(), float("nan"), b"bytes", {"a": "\ud800"}, {(1, 2): 3}, circle]:
            with self.assertRaises((TypeError, ValueError)):
                to_json(value)


class ParametersTest(unittest.TestCase):
    def test_fields_of_the_payload_become_arguments(self):
        def handle(self, socket, name: str, amount: int = 1, **rest): ...

        bind = Handler(handle, "self", "socket").bind
        self.assertEqual(bind({"name": "a"}), {"name": "a"})
        self.assertEqual(bind({"name": "a", "amount": 2, "more": 3}), {"name": "a", "amount": 2, "more": 3})
        refused = [
            ({}, "name: missing, expected a string"),
            ({"name": 1}, "name: expected a string"),
            ([], "expected an object"),
            (b"", "expected an object"),
        ]
        for payload, reason in refused:
            with self.assertRaises(Refusal) as raised:
                bind(payload)
            self.assertEqual(raised.exception.response, {"reason": reason})

    def test_unknown_fields_are_left_out_and_a_handler_without_parameters_takes_any_payload(self):
        self.assertEqual(Handler(lambda self, socket, a: ..., "self", "socket").bind({"a": 1, "b": 2}), {"a": 1})
        self.assertEqual(Handler(lambda self, socket: ..., "self", "socket").bind([1]), {})

    def test_the_whole_payload_can_be_one_argument(self):
        def whole(topic, payload: Payload): ...
        def binary(topic, data: bytes): ...
        def both(topic, payload: Payload, more: int): ...

        self.assertEqual(Handler(whole, "topic").bind([1]), {"payload": [1]})
        self.assertEqual(Handler(binary, "topic").bind(b"a"), {"data": b"a"})
        with self.assertRaises(Refusal):
            Handler(binary, "topic").bind({})
        with self.assertRaisesRegex(TypeError, "can't take fields of it"):
            Handler(both, "topic")

    def test_a_handler_needs_its_first_parameters(self):
        for function in (lambda self: ..., lambda self, *socket: ..., lambda self, socket, *rest: ...):
            with self.assertRaises(TypeError):
                Handler(function, "self", "socket")
