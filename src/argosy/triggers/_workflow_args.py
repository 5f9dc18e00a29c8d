"""The options of the ``argo`` program that the ``args`` of an ``argoWorkflow`` trigger may hold, operation by operation.

Upstream hands ``args`` to that program; Argosy has none and understands the options that change the object
(``PopulateSubmitOpts`` and ``ApplySubmitOpts`` in ``workflow/util/util.go`` of Argo Workflows, and the flags in ``cmd/argo/commands``).
Options that only change what the program prints are read and left aside. All others are refused by name, so nothing that was
asked for is silently missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import Rejected

_SHORT = {"-p": "--parameter", "-l": "--labels", "-o": "--output"}
_PRINTING = frozenset(("--output", "--node-field-selector", "--status"))  # each takes a value
_PRINTING_FLAGS = frozenset(("--strict", "--no-color", "--no-utf8", "--verbose", "-v"))
_SUBMIT = ("--parameter", "--labels", "--name", "--generate-name", "--entrypoint", "--serviceaccount", "--priority")
_VALUED: dict[str, tuple[str, ...]] = {
    "submit": _SUBMIT,
    "submit-from": _SUBMIT,
    "resubmit": ("--parameter", "--priority"),
    "retry": ("--parameter", "--node-field-selector"),
    "resume": ("--node-field-selector",),
    "stop": ("--node-field-selector", "--message"),
    "suspend": (),
    "terminate": (),
}
_FLAGS: dict[str, tuple[str, ...]] = {"resubmit": ("--memoized",), "retry": ("--restart-successful",)}
_WAITING = frozenset(("--wait", "-w", "--watch", "--log"))


@dataclass
class SubmitOptions:
    """What ``args`` ask for. Empty means not asked."""

    parameters: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    name: str = ""
    generate_name: str = ""
    entrypoint: str = ""
    service_account: str = ""
    priority: int | None = None
    memoized: bool = False
    restart_successful: bool = False
    node_field_selector: str = ""
    message: str = ""

    def override(self, workflow: dict[str, Any]) -> None:
        """Change a Workflow that has run: its parameters, also where its status keeps a copy of its spec, and its priority."""
        stored = (workflow.get("status") or {}).get("storedWorkflowTemplateSpec")
        SubmitOptions(parameters=self.parameters, priority=self.priority).apply(workflow)
        if stored and self.parameters:
            given = workflow["spec"]["arguments"]["parameters"]
            stored["arguments"] = {**(stored.get("arguments") or {}), "parameters": given}

    def apply(self, workflow: dict[str, Any]) -> None:
        """Change the Workflow as the ``argo`` program does: the parameters given here come first.

        Raises Rejected where the Workflow has another shape than Workflows have.
        """
        try:
            self._apply(workflow)
        except (AttributeError, TypeError, ValueError) as error:
            raise Rejected(f"args cannot be set on the Workflow, its spec has another shape: {error}") from error

    def _apply(self, workflow: dict[str, Any]) -> None:
        about, spec = workflow["metadata"], workflow.setdefault("spec", {})
        if self.entrypoint:
            spec["entrypoint"] = self.entrypoint
        if self.service_account:
            spec["serviceAccountName"] = self.service_account
        if self.priority is not None:
            spec["priority"] = self.priority
        if self.labels:
            about["labels"] = {**(about.get("labels") or {}), **self.labels}
        if self.parameters:
            arguments = spec["arguments"] = dict(spec.get("arguments") or {})
            others = [each for each in arguments.get("parameters") or () if each.get("name") not in self.parameters]
            given = [{"name": name, "value": value} for name, value in self.parameters.items()]
            arguments["parameters"] = given + others
        if self.generate_name:
            about["generateName"] = self.generate_name
        if self.name:
            about["name"] = self.name


def parse(args: Sequence[str], operation: str) -> SubmitOptions:
    """The options in ``args``, written as the program takes them for the operation: ``-p a=1``, ``-pa=1``, ``--name=x``,
    ``--name x``.

    Raises Rejected for an option that cannot be honoured, or one without its value.
    """
    options = SubmitOptions()
    rest = list(args)
    valued, flags = _VALUED[operation], _FLAGS.get(operation, ())
    while rest:
        option, value = _split(rest.pop(0))
        if option in _PRINTING_FLAGS:
            continue
        if option in _WAITING:
            raise Rejected(
                f"args: {option} is not supported, an action does not wait for its workflow;"
                " use policy.k8s with the label workflows.argoproj.io/phase"
            )
        if option in flags and value is None:
            setattr(options, option.removeprefix("--").replace("-", "_"), True)
            continue
        if option not in valued and option not in _PRINTING:
            known = ", ".join(sorted((*valued, *flags))) or "none"
            raise Rejected(
                f"args: {option!r} is not supported with {operation}, there is no argo program here; known are: {known}"
            )
        if value is None:
            if not rest:
                raise Rejected(f"args: {option} needs a value")
            value = rest.pop(0)
        if option in valued:
            _take(options, option, value)
    return options


def _split(text: str) -> tuple[str, str | None]:
    """An option's long name, and its value where it stands in the same word."""
    if text.startswith("--"):
        option, equals, value = text.partition("=")
        return option, value if equals else None
    option = _SHORT.get(text[:2], text)
    if option == text or len(text) == 2:
        return option, None
    return option, text[2:].removeprefix("=")


def _take(options: SubmitOptions, option: str, value: str) -> None:
    if option == "--parameter":
        name, equals, text = value.partition("=")
        if not equals:
            raise Rejected(f"args: --parameter wants NAME=VALUE, not {value!r}")
        options.parameters[name] = text
    elif option == "--labels":
        for pair in value.split(","):
            name, equals, text = pair.partition("=")
            if not equals or not name or "=" in text:
                raise Rejected(f"args: --labels wants NAME=VALUE,NAME=VALUE, not {value!r}")
            options.labels[name] = text
    elif option == "--priority":
        try:
            options.priority = int(value)
        except ValueError as error:
            raise Rejected(f"args: --priority wants a whole number, not {value!r}") from error
    elif option == "--name":
        options.name = value
    elif option == "--generate-name":
        options.generate_name = value
    elif option == "--entrypoint":
        options.entrypoint = value
    elif option == "--serviceaccount":
        options.service_account = value
    elif option == "--node-field-selector":
        options.node_field_selector = value
    elif option == "--message":
        options.message = value
