"""Rules of what upstream does and its documents do not say (``argosy.manifests.checks.traps``)."""

from argosy.manifests.checks.rules import Rule

_STRICT = "Write 'strict: true' in the sensor's spec to have the meaning that one expects"

RULES = (
    Rule(
        "text-counts-as-zero",
        ("info",),
        "A clause of type number that 0 passes.",
        "Text that is no number, objects and null count as 0 there, so they pass too.",
        f"{_STRICT}, or add a clause that 0 does not pass.",
    ),
    Rule(
        "anything-counts-as-false",
        ("info",),
        "A clause of type bool that false passes.",
        "Text, objects and null count as false there, so they pass too.",
        f"{_STRICT}.",
    ),
    Rule(
        "comparator-ignored",
        ("warning",),
        "A comparator beside 'type: bool'.",
        "It is not read there: the clause asks whether the values are equal, also with '!='.",
        f"Turn the value round instead of the comparator. {_STRICT}.",
    ),
    Rule(
        "strict-comparator",
        ("error",),
        "A comparator that does not fit the type, in a sensor with 'strict: true'.",
        "Booleans and texts are only equal or not.",
        "Use '=' or '!=', or another type.",
    ),
    Rule(
        "undecided-discards",
        ("warning",),
        "Filters joined by 'or', of which one may fail to be decided.",
        "Where a path is missing in the event, the event is discarded although another filter passes.",
        f"{_STRICT}, or use paths that every event has.",
    ),
    Rule(
        "or-without-filter",
        ("warning",),
        "'filtersLogicalOperator: or' without any filter.",
        "Of no filters none passes, so every event is discarded.",
        "Remove the operator, or write a filter.",
    ),
    Rule(
        "context-ignored",
        ("warning",),
        "A context filter with id, specversion or time.",
        "They are not compared, so events pass whatever these say.",
        "Remove them; a filter of 'time' has a block of its own.",
    ),
    Rule(
        "paths-without-brackets",
        ("warning",),
        "Several gjson paths joined by commas, without brackets around them.",
        "Upstream's documents write them so, but a comma outside brackets is part of a name, so nothing is found.",
        "Put brackets around the paths: '[body.action,body.label]' gives a JSON array as text.",
    ),
    Rule(
        "script-loses-items",
        ("info",),
        "A Lua script.",
        "It does not see nulls in arrays nor arrays in arrays, and what follows them moves up.",
        f"{_STRICT}, or use jq.",
    ),
    Rule(
        "context-outvoted",
        ("warning",),
        "A parameter that selects from the data and from the context.",
        "Only the data is read.",
        "Remove one of the two.",
    ),
    Rule(
        "raw-without-effect",
        ("warning",),
        "'useRawData' beside something else than a key.",
        "Templates, the whole event and 'value' always give text, so the type is not kept.",
        "Select with 'dataKey' or 'contextKey', or remove 'useRawData'.",
    ),
    Rule(
        "operation-without-effect",
        ("warning",),
        "An operation in a payload.",
        "A payload starts empty and every entry overwrites.",
        "Remove the operation, or build the text with a 'dataTemplate'.",
    ),
    Rule(
        "whole-event",
        ("info",),
        "A parameter that selects nothing.",
        "It is the whole event as JSON text, with its data in base64.",
        "Write 'dataKey' for a part of the data; a 'dataTemplate' can write all of it.",
    ),
    Rule(
        "event-may-be-missing",
        ("warning",),
        "A payload entry of a dependency that the condition can do without.",
        "Without its event the entry is left out here, and the process of Argo Events ends.",
        "Give the entry a 'value' for that case.",
    ),
    Rule(
        "condition-name",
        ("info",),
        "A dependency's name that Argo Events cannot read in conditions.",
        "There the trigger never starts; here it does.",
        "Begin the name with a letter, and use letters, digits, '-' and '_'.",
    ),
    Rule(
        "names-collide",
        ("warning",),
        "Two dependencies whose names differ in '-' and '_' alone.",
        "Argo Events takes them for one in conditions; here they are two.",
        "Rename one of them.",
    ),
    Rule(
        "policy-without-effect",
        ("warning",),
        "A policy that this kind of trigger does not follow.",
        "An action counts as done without it.",
        "Remove the policy, or write the one that the message names.",
    ),
)
