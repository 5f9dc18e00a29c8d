"""What is said to a new Lua state before a script sees it: limits, the library that is left, and how numbers
print.

Runs inside the state. Python disarms with the C function ``sethook`` itself: a Lua function would be hit by
the hook first. Pattern functions: a call that could cost much (subject length to the power of the
repetitions) does not go to the C matcher, which nothing can interrupt, but to a matcher written in Lua, which
the budget stops like any other code."""

from __future__ import annotations

from argosy.lang._lua_concatenation import LIBRARY as JOINING
from argosy.lang._lua_patterns import PATTERNS

_START = r"""
local budget, cpu_seconds, interval, cheap_steps = ...
local sethook, clock, loadstring, setfenv = debug.sethook, os.clock, loadstring, setfenv
local getmetatable, rawget, type, pairs, error = getmetatable, rawget, type, pairs, error
local tonumber, select, unpack = tonumber, select, unpack
local byte, sub, format, rep, upper = string.byte, string.sub, string.format, string.rep, string.upper
local find, match, gmatch, gsub = string.find, string.match, string.gmatch, string.gsub
local insert, concat, floor, math_abs = table.insert, table.concat, math.floor, math.abs
local string_meta = getmetatable("")

-- limits ----------------------------------------
local left, deadline, verdict
local function stop(message)
  verdict = message
  sethook(function() error(message, 0) end, "", 1)   -- from now on every instruction fails, pcall or not
  error(message, 0)
end
local function tick()
  left = left - interval
  if left < 0 then stop("it ran longer than " .. budget .. " instructions") end
  if clock() > deadline then stop("it ran longer than " .. cpu_seconds .. " seconds") end
end
local function arm()
  left, deadline, verdict = budget, clock() + cpu_seconds, nil
  sethook(tick, "", interval)
end
local function judge() return verdict end

-- numbers as text ----------------------------------------
local function shortest(n)
  for digits = 14, 16 do
    local text = format("%." .. digits .. "e", n)
    if digits == 16 or tonumber(text) == n then return text end
  end
end
local function number_text(n, as_float)
  if n ~= n then return "NaN" end
  if n == 1/0 then return "+Inf" elseif n == -1/0 then return "-Inf" end
  if not as_float and n == floor(n) and n >= -9223372036854775808 and n < 9223372036854775808 then
    return format("%.0f", n + 0)
  end
  if n == 0 then return "0" end
  local sign, first, rest, exponent = match(shortest(n), "^(%-?)(%d)%.?(%d*)e([-+]%d+)$")
  rest, exponent = gsub(rest, "0+$", ""), tonumber(exponent)
  if exponent < -4 or exponent >= 6 then
    if rest ~= "" then rest = "." .. rest end
    return format("%s%s%se%s%02d", sign, first, rest, exponent < 0 and "-" or "+", math_abs(exponent))
  end
  local digits = first .. rest
  if exponent < 0 then return sign .. "0." .. rep("0", -exponent - 1) .. digits end
  if #digits <= exponent + 1 then return sign .. digits .. rep("0", exponent + 1 - #digits) end
  return sign .. sub(digits, 1, exponent + 1) .. "." .. sub(digits, exponent + 2)
end
local plain_tostring = tostring
local function tostring(...)
  if select("#", ...) == 0 then error("bad argument #1 to 'tostring' (value expected)", 2) end
  local value = ...
  if type(value) == "number" then return number_text(value) end
  return plain_tostring(value)
end
local function text_concat(list, ...)
  if type(list) == "table" then
    local copy
    for index, value in pairs(list) do
      if type(value) == "number" then
        copy = copy or setmetatable({}, {__index = list})
        copy[index] = number_text(value)
      end
    end
    if copy then
      local all = {}
      for index, value in pairs(list) do all[index] = value end
      for index, value in pairs(copy) do all[index] = value end
      list = all
    end
  end
  return concat(list, ...)
end
local function text_format(form, ...)
  if type(form) == "number" then form = number_text(form) end
  local values, count, at = {...}, select("#", ...), 0
  if type(form) == "string" then
    local position = 1
    while true do
      local start, stop_at, flags, verb = find(form, "%%([-+ #0-9.]*)(.)", position)
      if not start then break end
      if verb ~= "%" then
        at = at + 1
        if verb == "s" then values[at] = tostring(values[at]) end
        if verb == "q" and type(values[at]) == "number" then values[at] = number_text(values[at]) end
        if flags == "" and (verb == "g" or verb == "G") and type(values[at]) == "number" then
          -- Go's %g is the shortest text that means the number
          local text = number_text(values[at], true)
          values[at] = verb == "G" and upper(text) or text
          form = sub(form, 1, stop_at - 1) .. "s" .. sub(form, stop_at + 1)
        end
      end
      position = stop_at + 1
    end
  end
  return format(form, unpack(values, 1, count))
end

"""

_LIBRARY = r"""
-- the library that scripts see ----------------------------------------
local string_library, table_library, math_library = {}, {}, {}
for name, value in pairs(string) do string_library[name] = value end
for name, value in pairs(table) do table_library[name] = value end
for name, value in pairs(math) do math_library[name] = value end
string_library.dump, string_library.gfind = nil, safe_gmatch
for _, name in pairs({"len", "lower", "upper", "rep", "reverse", "sub", "byte"}) do
  -- C would write a number with 14 digits
  local plain = string[name]
  string_library[name] = function(text, ...)
    if type(text) == "number" then text = number_text(text) end
    return plain(text, ...)
  end
end
math_library.huge = 1.7976931348623157e308   -- as in gopher-lua
string_library.find, string_library.match = safe_find, safe_match
string_library.gmatch, string_library.gsub = safe_gmatch, safe_gsub
string_library.format = text_format
table_library.concat = text_concat
local os_library = {clock = os.clock, date = os.date, difftime = os.difftime, time = os.time}
local base = {
  _VERSION = _VERSION, assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs,
  pcall = pcall,
  print = function() end, rawequal = rawequal, rawget = rawget, rawset = rawset, select = select,
  setmetatable = safe_setmetatable, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
}
base.getmetatable = function(value)
  if type(value) == "string" then return nil end   -- one metatable serves all strings: it stays out of reach
  return getmetatable(value)
end
local function copied(library)
  local copy = {}
  for name, value in pairs(library) do copy[name] = value end
  return copy
end
local function environment(script, event)
  local env = copied(base)
  env._G, env.event = env, event
  env.string, env.table = copied(string_library), copied(table_library)
  env.math, env.os = copied(math_library), copied(os_library)
  string_meta.__index = env.string
  setfenv(script, env)
end
local function shape(value)
  -- the length of an array, or -1 for an object
  local meta = getmetatable(value)
  local last, marked = 0, type(meta) == "table" and rawget(meta, "__is_array") == true
  for key in pairs(value) do
    if type(key) == "number" and key > last and key == floor(key) and key < 67108864 then last = key end
  end
  if last > 0 or marked then return last end
  return -1
end
local function collect_last(...)
  local count = select("#", ...)
  if count == 0 then return nil end
  return (select(count, ...))
end
for _, name in pairs({"io", "debug", "package", "require", "dofile", "loadfile", "load", "loadstring",
    "collectgarbage", "newproxy", "python", "module", "setfenv", "getfenv", "gcinfo", "coroutine", "xpcall",
    "os"}) do
  _G[name] = nil
end
return arm, sethook, judge, loadstring, environment, shape, number_text, joint
"""

PRELUDE = _START + JOINING + PATTERNS + _LIBRARY
