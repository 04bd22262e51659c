"""Pure: values as plain data, and whether what comes back from JSON is what went in."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from celery.beat import BeatLazyFunc
from django.utils.functional import Promise
from kombu.utils.json import dumps, loads

from cutover.schedules.refusals import Unfit, require_storable


def json_of(kinds: tuple[type, ...], json_follows: bool, given: Any) -> str:
    """``given``, of one of ``kinds``, as a column's JSON; ``json_follows``: the message is JSON too. Raises Unfit."""
    if not isinstance(given, kinds):
        raise Unfit(f"is a {type(given).__name__}", f"give a {kinds[0].__name__.lower()}")
    plain = dict(given) if isinstance(given, Mapping) else list(given)  # type: ignore[call-overload]
    _require_present(plain)
    if any(isinstance(part, Promise) for part in _parts(plain)):
        raise Unfit("is translated again at each send (a lazy text)", "give the text itself")
    if isinstance(plain, dict) and not all(isinstance(key, str) for key in plain):
        raise Unfit("has a key that is no text", "give names as keys")
    same = "let JSON give back what went in: text keys, and no sets, tuples or objects"
    try:
        text = dumps(plain)
        back = loads(text)
        again = loads(dumps(back)) if json_follows else back
    except (TypeError, ValueError) as exc:
        raise Unfit(f"is no JSON ({exc})", same) from exc
    # With JSON on the wire the worker receives `back` from code and `again` from the row.
    if not alike(again, back if json_follows else plain):
        raise Unfit("comes back from JSON as something else", same)
    return str(text)


def data_of(value: Any) -> Any:
    """``value``, an option of celery's, as plain data for a JSON field; ``restored`` gives it back. Raises Unfit."""
    _require_present(value)
    remedy = "give it as what JSON can hold, or set it on the task"
    try:
        text = dumps(value)
        plain = json.loads(text)
        json.dumps(plain, allow_nan=False)
        back = loads(text)
    except (TypeError, ValueError) as exc:
        raise Unfit(f"is a {type(value).__name__}, which cannot be kept ({exc})", remedy) from exc
    if back != listed(value):
        raise Unfit("comes back from JSON as something else", remedy)
    require_storable(json.dumps(plain, ensure_ascii=False).replace("\\u0000", "\0"))
    return plain


def restored(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that ``data_of`` made plain data of, as celery is to be given them."""
    return dict(loads(json.dumps(options)))


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types throughout: 1 is neither True nor 1.0."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def listed(value: Any) -> Any:
    """The value with every mapping as a plain dict and every tuple as a list, as JSON gives it back."""
    if isinstance(value, Mapping):
        return {key: listed(part) for key, part in value.items()}
    return [listed(part) for part in value] if isinstance(value, list | tuple) else value


def _require_present(value: Any) -> None:
    if any(isinstance(part, BeatLazyFunc) for part in _parts(value)):
        raise Unfit("is computed again at each send (BeatLazyFunc)", "let the task compute it")


def _parts(value: Any) -> Iterable[Any]:
    yield value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        yield from _parts(part)
