"""``..`` in scripts writes numbers as gopher-lua does (16 digits where 14 do not tell them), which Lua 5.1 itself
cannot be told: it turns the numbers into text before it looks for a metamethod.

So every ``a .. b`` of a script is compiled as ``a .. joint .. b``. The operator groups to the right, so
``joint .. b`` comes first and gives a thing that holds b, and ``a .. thing`` puts both texts together."""

from __future__ import annotations

import re

JOINT = "_argosy_joint"
_START = f"local {JOINT} = ... "
_TOKEN = re.compile(
    r"--\[(?P<c>=*)\[.*?\](?P=c)\]"  # comments
    r"|--[^\n]*"
    r"|\[(?P<s>=*)\[.*?\](?P=s)\]"  # texts
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)[0-9A-Za-z_]*"  # numbers
    r"|\.\.\."
    r"|(?P<join>\.\.)",
    re.DOTALL,
)


def marked(text: str) -> str | None:
    """The script with its joints, on the same lines. It takes the joint as argument. None: it joins nothing."""
    changed = _TOKEN.sub(lambda token: f".. {JOINT} .." if token["join"] else token[0], text)
    return None if changed == text else _START + changed


LIBRARY = r"""
-- joining texts ----------------------------------------
local raw_metatable = debug.getmetatable
local locked = {}   -- all that scripts, which share these two, see of their metatables
local joint, pending = {}, {__metatable = locked}
local joinable = {string = true, number = true}
local function join(left, right)
  local meta = raw_metatable(left)
  local handler = meta and rawget(meta, "__concat")
  if not handler then
    meta = raw_metatable(right)
    handler = meta and rawget(meta, "__concat")
  end
  if handler then return handler(left, right) end
  local culprit = left
  if joinable[type(left)] then culprit = right end
  error("attempt to concatenate a " .. type(culprit) .. " value", 3)
end
setmetatable(joint, {__metatable = locked, __concat = function(_, right) return setmetatable({right}, pending) end})
pending.__concat = function(left, held)
  local right = held[1]
  local kind, other = type(left), type(right)
  if kind == "string" and other == "string" then return left .. right end
  if not (joinable[kind] and joinable[other]) then return join(left, right) end
  return (kind == "number" and number_text(left) or left) .. (other == "number" and number_text(right) or right)
end
local unwrapping = setmetatable({}, {__mode = "k"})
local plain_setmetatable = setmetatable
local function safe_setmetatable(value, meta)
  -- a script's own __concat on the left gets what the joint holds, not the thing that holds it
  local handler = type(meta) == "table" and rawget(meta, "__concat")
  if type(handler) == "function" and not unwrapping[handler] then
    local function unwrapped(left, right)
      if type(right) == "table" and raw_metatable(right) == pending then right = right[1] end
      return handler(left, right)
    end
    unwrapping[unwrapped] = true
    meta.__concat = unwrapped
  end
  return plain_setmetatable(value, meta)
end
"""
