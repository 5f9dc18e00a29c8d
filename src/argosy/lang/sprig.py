"""sprig's text functions (v3.3), by name. Each file ``_sprig_*.py`` is one family.

A function behaves as its Go original does on the same Go values, errors included; where the original panics
or is random, it raises, or is random too. Refused are those that read the host. Those that make keys, certificates
and hashes of passwords need ``pip install 'argosy[crypto]'``."""

from __future__ import annotations

from argosy.lang import (
    _sprig_collections,
    _sprig_crypto,
    _sprig_dates,
    _sprig_encoding,
    _sprig_numbers,
    _sprig_paths,
    _sprig_regex,
    _sprig_semver,
    _sprig_strings,
    _sprig_values,
)
from argosy.lang._gotemplate_functions import Registry

FUNCTIONS: Registry = {
    **_sprig_strings.FUNCTIONS,
    **_sprig_numbers.FUNCTIONS,
    **_sprig_collections.FUNCTIONS,
    **_sprig_values.FUNCTIONS,
    **_sprig_dates.FUNCTIONS,
    **_sprig_encoding.FUNCTIONS,
    **_sprig_paths.FUNCTIONS,
    **_sprig_regex.FUNCTIONS,
    **_sprig_semver.FUNCTIONS,
    **_sprig_crypto.FUNCTIONS,
}

REFUSED: dict[str, str] = dict.fromkeys(
    ("env", "expandenv", "getHostByName"), "reads the host and is not available in templates here"
)
"""Functions that exist in sprig and not here: name to the rest of a sentence that begins with "the function
'x'"."""
