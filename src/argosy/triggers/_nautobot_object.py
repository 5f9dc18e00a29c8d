"""One object of Nautobot that should be so or so, or should not be: how it is found, made, changed and removed.

What is there decides, so doing it again does nothing. Whoever was faster is respected: where making it is refused, it is looked for again.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import orjson

from argosy.errors import Rejected, TriggerError
from argosy.manifests.fields import Json
from argosy.triggers import _nautobot_state as state
from argosy.triggers._base import Outcome
from argosy.triggers._nautobot_api import Api, Object, Refused

_SHOWN_BY_DEFAULT = frozenset(("tags", "content_types", "object_types"))
"""Lists that Nautobot shows without being asked."""
_IDS = uuid.UUID("6f2a2a52-8a3e-4d0c-9d0b-3c0e7a1c5b7e")
_MOST_NAMED = 5
SeenT = TypeVar("SeenT")


def id_of(text: str) -> str:
    """The id that belongs to an action's id, or to a key."""
    return str(uuid.uuid5(_IDS, text))


@dataclass(frozen=True)
class Key:
    """One entry of ``key`` with its value."""

    filter: str
    path: tuple[str, ...]
    value: Json

    @classmethod
    def of(cls, entry: str, wanted: Object) -> Key:
        """Read ``filter=path``, or the name of a field. Raises Rejected if the object does not have it."""
        name, given, text = entry.partition("=")
        path = tuple(text.split(".")) if given else (name,)
        said = ".".join(path)
        value: Json = wanted
        for step in path:
            if not isinstance(value, dict) or step not in value:
                raise Rejected(f"'key' names {said!r}, and 'object' has no such field")
            value = value[step]
        if isinstance(value, dict) and not given:
            found = [each for each in ("id", "name") if each in value]
            if not found:
                raise Rejected(f"'key' names {name!r}, which is a reference; write {name}={name}.FIELD")
            value = value[found[0]]
        if isinstance(value, dict | list):
            raise Rejected(f"'key' names {said!r}, which is no single value")
        if isinstance(value, str) and not value.strip():
            raise Rejected(f"'key' names {said!r}, which is empty")
        return cls(name, path, value)

    def matches(self, wanted: Object, there: Object, last: bool) -> bool:
        """Whether an object that passed the filter has the value; for filters also find what is below, or alike.

        Raises TooShallow, unless it is the ``last`` look: then the filter is believed.
        """
        try:
            return self._matches(wanted, there)
        except state.TooShallow:
            if last:
                return True
            raise

    def _matches(self, wanted: Object, there: Object) -> bool:
        first, *rest = self.path
        if first not in there:
            return True  # Nautobot knows by its filter what it does not show
        if first in state.MERGED:
            return bool(rest) and rest[0] in there[first] and state.same(wanted[first][rest[0]], there[first][rest[0]])
        return state.same(wanted[first], there[first])

    @property
    def text(self) -> str:
        """The value as a filter takes it."""
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)

    def __str__(self) -> str:
        return f"{self.filter}={'null' if self.value is None else self.text}"


@dataclass(frozen=True)
class Wanted:
    """What should be, and the conversation about it."""

    api: Api
    endpoint: str
    keys: Sequence[Key]
    object: Object
    defaults: Object
    action_id: str
    fields: dict[str, Json]
    """What Nautobot tells of the fields of such objects; empty where it does not."""
    dry_run: bool

    async def upsert(self) -> Outcome:
        """Make it, or change what differs."""
        there = await self._look()
        return await (self._make() if there is None else self._change(there))

    async def create(self) -> Outcome:
        """Make it where it is not there. Without keys: always, but once."""
        there = await self._look() if self.keys else None
        return await self._make(change=False) if there is None else _left(there)

    async def update(self) -> Outcome:
        """Change what differs. Raises Rejected where it is not there."""
        there = await self._look()
        if there is None:
            raise Rejected(f"there is no object of {self.endpoint!r} that has {self._said()}")
        return await self._change(there)

    async def delete(self) -> Outcome:
        """Remove it where it is there."""
        there = await self._look()
        if there is None:
            return Outcome(f"no object of {self.endpoint!r} has {self._said()}", {"did": "nothing"})
        if self.dry_run:
            return _told(f"would remove {_name(there)}", "delete", there, dryRun=True)
        try:
            await self.api.ask("DELETE", f"{self.endpoint}/{there['id']}/")
        except Refused as refused:
            if refused.status != 404:
                raise
            return _told(f"somebody else has removed {_name(there)}", "nothing", there)
        return _told(f"removed {_name(there)}", "delete", there)

    async def _make(self, change: bool = True) -> Outcome:
        body = {**self.defaults, **self.object}
        for name in state.MERGED:
            entries, more = self.object.get(name), self.defaults.get(name)
            if isinstance(entries, dict) and isinstance(more, dict):
                body[name] = {**more, **entries}
        self._check(body)
        if self.dry_run:
            said = f"would make an object of {self.endpoint!r}"
            return Outcome(said, {"did": "create", "dryRun": True, "object": state.shown(body)})
        ids = [] if "id" in body or self.fields.get("id", {}).get("read_only") else self._ids()
        try:
            made = await self._post({"id": ids[0], **body} if ids else body)
        except Refused as refused:
            if refused.status != 400:
                raise
            # Somebody may have made it meanwhile, or this action has, and the answer got lost.
            first = str(ids[0] if ids else body.get("id", ""))
            there = await self._look() if self.keys else await self._with(first)
            if there is not None:
                return await self._change(there) if change and self.keys else _left(there)
            # What was made by this key once goes by another now: it keeps the id.
            if len(ids) < 2 or await self._with(first) is None:
                raise
            made = await self._post({"id": ids[1], **body})
        _check_custom_fields(body, made)
        return _told(f"made {_name(made)}", "create", made)

    async def _post(self, body: Object) -> Object:
        made = await self.api.ask("POST", f"{self.endpoint}/", body=body)
        if not isinstance(made, dict) or "id" not in made:
            raise TriggerError(
                f"making an object of {self.endpoint!r} was answered with something else than the object"
            )
        return made

    def _ids(self) -> list[str]:
        """The ids that an object may get which is made here: that of its key, so that two who make the same at once do not make two where Nautobot
        would let them; then, as without a key, that of the action, so that it makes no second one when it is tried again.
        """
        own = id_of(self.action_id)
        if not self.keys:
            return [own]
        return [id_of(orjson.dumps([self.endpoint, *map(str, self.keys)]).decode()), own]

    async def _change(self, there: Object) -> Outcome:
        self._check(self.object)
        _check_custom_fields(self.object, there)
        changes = await self._differences(there)
        if not changes:
            return _told(f"{_name(there)} is as it should be", "nothing", there)
        changed = _changed(changes, there)
        said = f"{', '.join(changed)} of {_name(there)}"
        if self.dry_run:
            return _told(f"would change {said}", "update", there, changed=changed, dryRun=True)
        try:
            now = await self.api.ask("PATCH", f"{self.endpoint}/{there['id']}/", body=changes)
        except Refused as refused:
            if refused.status == 404:
                raise TriggerError(f"{_name(there)} was removed while it was to be changed") from refused
            raise
        return _told(f"changed {said}", "update", now if isinstance(now, dict) else there, changed=changed)

    async def _look(self) -> Object | None:
        """The object that has the keys. Raises Rejected where there are several."""
        filters = [(key.filter, key.text) for key in self.keys if key.value is not None]
        if not filters:
            raise Rejected(f"'key' has no value to look for: {self._said()}")

        async def matching(depth: int) -> list[Object]:
            found = await self.api.search(self.endpoint, [*filters, *self._opted()], depth)
            return [each for each in found if all(key.matches(self.object, each, depth > 1) for key in self.keys)]

        found = await self._seen(matching)
        if len(found) > 1:
            names = [f"{_name(each)} ({each.get('id')})" for each in found[:_MOST_NAMED]]
            more = ", …" if len(found) > _MOST_NAMED else ""
            many = f"{len(found)} objects of {self.endpoint!r} have {self._said()}: {', '.join(names)}{more}"
            raise Rejected(f"{many}; name more fields in 'key'")
        return found[0] if found else None

    async def _with(self, id: str) -> Object | None:
        """What has this id; None for the empty one."""
        try:
            return await self._at(id, 1) if id else None
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def _at(self, id: str, depth: int) -> Object:
        found = await self.api.ask("GET", f"{self.endpoint}/{id}/", [("depth", str(depth)), *self._opted()])
        if not isinstance(found, dict):
            raise TriggerError(f"object {id!r} of {self.endpoint!r} was answered with something else than an object")
        return found

    async def _differences(self, there: Object) -> dict[str, Json]:
        decimals = frozenset(name for name, about in self.fields.items() if about.get("type") == "decimal")

        async def compared(depth: int) -> dict[str, Json]:
            shown = there if depth == 1 else await self._at(there["id"], depth)
            return state.different(self.object, shown, decimals, last=depth > 1)

        return await self._seen(compared)

    async def _seen(self, look: Callable[[int], Awaitable[SeenT]]) -> SeenT:
        """Look one level deep; deeper if that does not show all by which others are referred to."""
        try:
            return await look(1)
        except state.TooShallow:
            return await look(max(2, *map(state.depth, self.object.values())))

    def _opted(self) -> list[tuple[str, str]]:
        """What must be asked for to be shown."""
        asked = [("include", "relationships")] if "relationships" in self.object else []
        lists = {name for name, value in self.object.items() if isinstance(value, list)}
        return [*asked, *([("exclude_m2m", "false")] if lists - _SHOWN_BY_DEFAULT else [])]

    def _said(self) -> str:
        return ", ".join(map(str, self.keys))

    def _check(self, given: Object) -> None:
        """Raise Rejected for fields that Nautobot would pass over in silence."""
        if not self.fields:
            return
        keys = {key.path[0] for key in self.keys}
        for name in given:
            if name not in self.fields:
                there_are = ", ".join(
                    sorted(field for field, about in self.fields.items() if not about.get("read_only"))
                )
                raise Rejected(f"objects of {self.endpoint!r} have no field {name!r}; there are {there_are}")
            if self.fields[name].get("read_only") and name not in keys:
                raise Rejected(f"field {name!r} of {self.endpoint!r} can only be read")


def _changed(changes: dict[str, Json], there: Object) -> dict[str, Json]:
    """For people: each field that is written, what it was and what it will be."""
    changed: dict[str, Json] = {}
    for field, value in changes.items():
        if field in state.MERGED:
            for entry, each in value.items():
                changed[f"{field}.{entry}"] = {"from": state.shown(there[field].get(entry)), "to": state.shown(each)}
        else:
            changed[field] = {"from": state.shown(there[field]), "to": state.shown(value)}
    return changed


def _check_custom_fields(given: Object, there: Object) -> None:
    """Raise Rejected for custom fields that Nautobot passes over in silence."""
    named, known = given.get("custom_fields"), there.get("custom_fields")
    if isinstance(named, dict) and isinstance(known, dict):
        unknown = [name for name in named if name not in known]
        if unknown:
            there_are = f"there are {', '.join(sorted(known))}" if known else "there are none"
            raise Rejected(f"{_name(there)} has no custom field {unknown[0]!r}; {there_are}")


def _left(there: Object) -> Outcome:
    return _told(f"{_name(there)} is there already", "nothing", there)


def _told(message: str, did: str, there: Object, **more: Json) -> Outcome:
    about = {name: there.get(name) for name in ("id", "url", "display")}
    return Outcome(" ".join(message.split()), {"did": did, **about, **more})


def _name(there: Object) -> str:
    return f"{there.get('object_type') or 'object'} {str(there.get('display') or there.get('id'))!r}"
