"""The parts of a trigger's page that its tests wrote down: what it sends, and what becomes of an action that goes wrong."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from docs_models import table

_MEANS = {
    "retried": "tried again",
    "rejected": "a dead letter at once",
    "retried when the receiver says": "tried again, when the receiver wants it",
}


def parts(kind: str, sample: dict[str, Any]) -> list[str]:
    """The parts of the page for which the sample holds something."""
    failures = [one for part, one in sample.items() if part.startswith("failures.")]
    found = [_sent(kind, sample["sent"])] if "sent" in sample else []
    return [*found, _failures(failures)] if failures else found


def cut(value: Any, depth: int = 0) -> Any:
    """A sample as a page shows it: long texts are cut, and what is nested deep is left out."""
    if isinstance(value, str) and len(value) > 120:
        return f"{value[:100]}…"
    if isinstance(value, dict):
        return {name: cut(member, depth + 1) for name, member in value.items()} if depth < 5 else "…"
    return [cut(item, depth + 1) for item in value] if isinstance(value, list) else value


def _sent(kind: str, sent: dict[str, Any]) -> str:
    """What its test's receiver got, and how a repetition is told from another action."""
    block = yaml.safe_dump({kind: cut(sent["block"])}, sort_keys=False, allow_unicode=True)
    arrived = cut(sent["arrived"])
    places = [f"`{place}`" for place in _places(sent["arrived"], sent["action"])]
    where = f"Its id stands in {' and '.join(places[:3])}. " if places else ""
    again = "is the same again" + (" and can be told by the id" if places else "")
    if sent["deduplicates"]:
        again = "finds what the first one made: there is no second effect"
    return f"""## What it sends

For this block

```yml
{block.strip()}
```

an action sends what [its test received](triggers/samples/{kind}.json) (`…` stands for secrets and for what is long):

{_request(arrived) if "method" in arrived else _json(arrived)}

{where}An action that is tried again, or performed a second time after a crash, {again}.
"""


def _request(arrived: dict[str, Any]) -> str:
    body = arrived["body"] if isinstance(arrived["body"], str) else json.dumps(arrived["body"], ensure_ascii=False)
    lines = [f"{arrived['method']} {arrived['target']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in arrived["headers"].items()]
    text = "\n".join([*lines, "", body])
    return f"```http\n{text}\n```"


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _places(value: Any, action: str, where: str = "") -> list[str]:
    """Where the action's id stands."""
    if isinstance(value, dict):
        return [one for name, member in value.items() for one in _places(member, action, f"{where}.{name}".lstrip("."))]
    if isinstance(value, list):
        return [one for item in value for one in _places(item, action, where)]
    return [where] if isinstance(value, str) and action in value and "trace" not in where.lower() else []


def _failures(failures: list[dict[str, str]]) -> str:
    rows = [[one["when"], _MEANS[one["class"]], f"`{_short(one['says'])}`"] for one in failures]
    rows.append(["a parameter has no value, or makes the block wrong", "a dead letter at once", ""])
    return f"""## When it fails

How often and when it is tried again is `retryStrategy`'s to say; then it is a dead letter. `argosy actions show` says the last
sentence of an action, and of which class it is. What the test met:

{table(["what went wrong", "the action is", "what is said"], rows)}"""


def _short(text: str) -> str:
    """A sentence of a test, without the port and the file that it had by chance."""
    text = re.sub(r" \(kubeconfig '[^']*', context '[^']*'\)", "", text)
    text = re.sub(r"(127\.0\.0\.1|\.net):\d+", r"\1", text).replace("`", "'").replace("|", "/")
    return text if len(text) <= 220 else f"{text[:110]}…"
