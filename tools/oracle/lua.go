package main

import (
	"encoding/json"

	lua "github.com/yuin/gopher-lua"
)

// {"script": text, "event": {…}, "as": "table" | "text"}: a script's last value, with the event converted as
// Argo Events does it: as the JSON that a transform makes of a table, or as tostring writes it.
func init() {
	languages["lua"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Script string
			Event  map[string]any
			As     string
		}
		read(question, &q)
		state := lua.NewState()
		defer state.Close()
		state.SetGlobal("event", table(q.Event))
		script, err := state.LoadString(q.Script)
		if err != nil {
			return nil, atCompile(err)
		}
		state.Push(script)
		if err := state.PCall(0, lua.MultRet, nil); err != nil {
			return nil, atRun(err)
		}
		last := state.Get(-1)
		if q.As == "text" {
			return state.ToStringMeta(last).String(), nil
		}
		value := fromLua(last)
		if _, err := json.Marshal(value); err != nil {
			return nil, atRun(err)
		}
		return value, nil
	}
}

// table is an object as a script sees it: null members are absent, and of arrays only objects, numbers, texts
// and booleans remain.
func table(object map[string]any) *lua.LTable {
	made := &lua.LTable{}
	for key, member := range object {
		if items, isList := member.([]any); isList {
			list := &lua.LTable{}
			for _, item := range items {
				if _, nested := item.([]any); nested {
					continue
				}
				if value := toLua(item); value != nil {
					list.Append(value)
				}
			}
			made.RawSetString(key, list)
		} else if value := toLua(member); value != nil {
			made.RawSetString(key, value)
		}
	}
	return made
}

func toLua(value any) lua.LValue {
	switch v := value.(type) {
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case map[string]any:
		return table(v)
	}
	return nil
}

// fromLua makes an array of a table that is marked as one or has a positive integer key, else an object.
func fromLua(value lua.LValue) any {
	switch v := value.(type) {
	case *lua.LNilType:
		return nil
	case lua.LBool:
		return bool(v)
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return float64(v)
	case *lua.LTable:
		marked := false
		if meta, has := v.Metatable.(*lua.LTable); has {
			marked = meta.RawGetString("__is_array") == lua.LTrue
		}
		if length := v.MaxN(); length > 0 || marked {
			items := make([]any, 0, length)
			for index := 1; index <= length; index++ {
				items = append(items, fromLua(v.RawGetInt(index)))
			}
			return items
		}
		members := map[string]any{}
		v.ForEach(func(key, member lua.LValue) { members[key.String()] = fromLua(member) })
		return members
	}
	return value // a function, which then cannot be written as JSON
}
