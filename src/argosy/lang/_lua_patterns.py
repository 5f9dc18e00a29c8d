"""Lua's pattern functions in Lua, for calls whose C matcher could run for minutes: the budget stops these.

A part of the prelude (``_lua_prelude``); uses its locals.
"""

from __future__ import annotations

PATTERNS = r"""
local function class_end(p, at, size)
  local c = sub(p, at, at)
  at = at + 1
  if c == "%" then
    if at > size then error("malformed pattern (ends with '%')", 0) end
    return at + 1
  end
  if c == "[" then
    if sub(p, at, at) == "^" then at = at + 1 end
    repeat
      if at > size then error("malformed pattern (missing ']')", 0) end
      local inner = sub(p, at, at)
      at = at + 1
      if inner == "%" then at = at + 1 end
    until sub(p, at, at) == "]"
    return at + 1
  end
  return at
end
local function matches_one(s, at, size, p, from, to)
  -- one character against one class: the C matcher on one character has nothing to go back to
  if at > size then return false end
  return find(sub(s, at, at), "^" .. sub(p, from, to - 1)) ~= nil
end
local do_match
local function captured(state, index, s, at, stop_at)
  if index > state.level then
    if index == 1 then return sub(s, at, stop_at - 1) end
    error("invalid capture index", 0)
  end
  local length = state.length[index]
  if length == -1 then error("unfinished capture", 0) end
  if length == -2 then return state.start[index] end
  return sub(s, state.start[index], state.start[index] + length - 1)
end
function do_match(state, s, at, p, from)
  local size, last = #s, #p
  while true do
    if from > last then return at end
    local c = sub(p, from, from)
    local following = sub(p, from + 1, from + 1)
    if c == "(" then
      local position = following == ")"
      local level = state.level + 1
      if level > 32 then error("too many captures", 0) end
      state.level, state.start[level], state.length[level] = level, at, position and -2 or -1
      local result = do_match(state, s, at, p, position and from + 2 or from + 1)
      if not result then state.level = level - 1 end
      return result
    elseif c == ")" then
      local level
      for index = state.level, 1, -1 do
        if state.length[index] == -1 then level = index break end
      end
      if not level then error("invalid pattern capture", 0) end
      state.length[level] = at - state.start[level]
      local result = do_match(state, s, at, p, from + 1)
      if not result then state.length[level] = -1 end
      return result
    elseif c == "$" and from == last then
      return at == size + 1 and at or nil
    elseif c == "%" and following == "b" then
      local open, close = sub(p, from + 2, from + 2), sub(p, from + 3, from + 3)
      if close == "" then error("unbalanced pattern", 0) end
      if sub(s, at, at) ~= open or at > size then return nil end
      local depth, walk = 1, at + 1
      while walk <= size do
        local char = sub(s, walk, walk)
        if char == close then
          depth = depth - 1
          if depth == 0 then break end
        elseif char == open then depth = depth + 1 end
        walk = walk + 1
      end
      if walk > size then return nil end
      at, from = walk + 1, from + 4
    elseif c == "%" and following == "f" then
      from = from + 2
      if sub(p, from, from) ~= "[" then error("missing '[' after '%f' in pattern", 0) end
      local to = class_end(p, from, last)
      local class = "^" .. sub(p, from, to - 1)
      local before = at == 1 and "\0" or sub(s, at - 1, at - 1)
      local here = at > size and "\0" or sub(s, at, at)
      if find(before, class) or not find(here, class) then return nil end
      from = to
    elseif c == "%" and match(following, "^%d") then
      local index = tonumber(following)
      if index == 0 or index > state.level or state.length[index] == -1 then
        error("invalid capture index", 0)
      end
      if state.length[index] == -2 then return nil end   -- a position is no text that could come again
      local text = captured(state, index, s, at, at)
      if sub(s, at, at + #text - 1) ~= text then return nil end
      at, from = at + #text, from + 2
    else
      local to = class_end(p, from, last)
      local quantifier = sub(p, to, to)
      if quantifier == "?" then
        if matches_one(s, at, size, p, from, to) then
          local result = do_match(state, s, at + 1, p, to + 1)
          if result then return result end
        end
        from = to + 1
      elseif quantifier == "*" or quantifier == "+" then
        local count = 0
        while matches_one(s, at + count, size, p, from, to) do count = count + 1 end
        local least = quantifier == "+" and 1 or 0
        while count >= least do
          local result = do_match(state, s, at + count, p, to + 1)
          if result then return result end
          count = count - 1
        end
        return nil
      elseif quantifier == "-" then
        while true do
          local result = do_match(state, s, at, p, to + 1)
          if result then return result end
          if not matches_one(s, at, size, p, from, to) then return nil end
          at = at + 1
        end
      else
        if not matches_one(s, at, size, p, from, to) then return nil end
        at, from = at + 1, to
      end
    end
  end
end
local function captures(state, s, at, stop_at, whole)
  local count = state.level
  if count == 0 and whole then count = 1 end
  local values = {}
  for index = 1, count do values[index] = captured(state, index, s, at, stop_at) end
  return values, count
end
local function cheap(s, p)
  -- the C matcher's worst case is about (subject length) ^ (repetitions + 1) steps
  local repetitions = 0
  for _ in gmatch(p, "[-*+?]") do repetitions = repetitions + 1 end
  for _ in gmatch(p, "%%b") do repetitions = repetitions + 1 end
  if repetitions == 0 then return #s * #p < cheap_steps end
  return (#s + 1) ^ (repetitions + 1) * #p < cheap_steps
end
local function text_argument(value, name, index)
  if type(value) == "number" then return number_text(value) end
  if type(value) ~= "string" then
    local got = value == nil and "no value" or type(value)
    error(format("bad argument #%d to '%s' (string expected, got %s)", index, name, got), 3)
  end
  return value
end
local function search(s, p, init, whole)
  local anchored = sub(p, 1, 1) == "^"
  local from = anchored and 2 or 1
  local at = init
  repeat
    local state = {level = 0, start = {}, length = {}}
    local stop_at = do_match(state, s, at, p, from)
    if stop_at then
      local values, count = captures(state, s, at, stop_at, whole)
      return at, stop_at - 1, values, count
    end
    at = at + 1
  until at > #s + 1 or anchored
end
local function start_of(s, init)
  init = tonumber(init) or 1
  init = init < 0 and init + #s + 1 or init
  if init < 1 then init = 1 elseif init > #s + 1 then init = #s + 1 end
  return floor(init)
end
local function safe_find(s, p, init, plain)
  s, p = text_argument(s, "find", 1), text_argument(p, "find", 2)
  if plain or cheap(s, p) or not find(p, "[%^%$%*%+%?%.%(%[%%%-]") then return find(s, p, init, plain) end
  local from, to, values, count = search(s, p, start_of(s, init), false)
  if not from then return nil end
  return from, to, unpack(values, 1, count)
end
local function safe_match(s, p, init)
  s, p = text_argument(s, "match", 1), text_argument(p, "match", 2)
  if cheap(s, p) then return match(s, p, init) end
  local from, to, values, count = search(s, p, start_of(s, init), true)
  if not from then return nil end
  return unpack(values, 1, count)
end
local function safe_gmatch(s, p)
  s, p = text_argument(s, "gmatch", 1), text_argument(p, "gmatch", 2)
  if sub(p, 1, 1) == "^" then
    -- gopher-lua takes it for an anchor, so there is one match at most
    local first = true
    return function()
      if not first then return nil end
      first = false
      return safe_match(s, p)
    end
  end
  if cheap(s, p) then return gmatch(s, p) end
  local at = 1
  return function()
    while at <= #s + 1 do
      local state = {level = 0, start = {}, length = {}}
      local stop_at = do_match(state, s, at, p, 1)
      if stop_at then
        local values, count = captures(state, s, at, stop_at, true)
        at = stop_at == at and at + 1 or stop_at
        return unpack(values, 1, count)
      end
      at = at + 1
    end
  end
end
local function replacement(s, state, at, stop_at, by, kind)
  local value
  if kind == "string" then
    value = gsub(by, "%%(.?)", function(c)
      if c == "0" then return sub(s, at, stop_at - 1) end
      if match(c, "^%d") then return plain_tostring(captured(state, tonumber(c), s, at, stop_at)) end
      return c
    end)
    return value
  end
  if kind == "table" then
    value = by[captured(state, 1, s, at, stop_at)]
  else
    local values, count = captures(state, s, at, stop_at, true)
    value = by(unpack(values, 1, count))
  end
  if not value then return sub(s, at, stop_at - 1) end
  if type(value) == "number" then return number_text(value) end
  if type(value) ~= "string" then error(format("invalid replacement value (a %s)", type(value)), 0) end
  return value
end
local function safe_gsub(s, p, by, limit)
  s, p = text_argument(s, "gsub", 1), text_argument(p, "gsub", 2)
  local kind = type(by)
  if kind == "number" then by, kind = number_text(by), "string" end
  if kind ~= "string" and kind ~= "table" and kind ~= "function" then
    error("bad argument #3 to 'gsub' (string/function/table expected)", 2)
  end
  if cheap(s, p) then return gsub(s, p, by, limit) end
  local anchored = sub(p, 1, 1) == "^"
  local from, at, count, out = anchored and 2 or 1, 1, 0, {}
  limit = tonumber(limit) or #s + 1
  while count < limit do
    local state = {level = 0, start = {}, length = {}}
    local stop_at = do_match(state, s, at, p, from)
    if stop_at then
      count = count + 1
      insert(out, replacement(s, state, at, stop_at, by, kind))
    end
    if stop_at and stop_at > at then at = stop_at
    elseif at <= #s then
      insert(out, sub(s, at, at))
      at = at + 1
    else break end
    if anchored then break end
  end
  insert(out, sub(s, at))
  return concat(out), count
end
"""
