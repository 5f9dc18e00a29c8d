package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/robfig/cron/v3"
)

const fields = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow

// {"spec": text, "zone": name, "at": seconds since 1970, "way": "next" | "previous"}: the neighbouring time of
// a schedule, null if there is none within five years.
func init() {
	languages["cron"] = func(question json.RawMessage) (any, error) {
		var q struct {
			Spec, Zone, Way string
			At              int64
		}
		read(question, &q)
		zone, err := time.LoadLocation(q.Zone)
		if err != nil {
			return nil, atCompile(err)
		}
		parsed, err := cron.NewParser(fields).Parse(q.Spec)
		if err != nil {
			return nil, atCompile(err)
		}
		schedule, plain := parsed.(*cron.SpecSchedule)
		if !plain {
			return nil, atCompile(errors.New("not a plain schedule"))
		}
		at := time.Unix(q.At, 0).In(zone)
		found := schedule.Next(at)
		if q.Way == "previous" {
			found = previous(schedule, at)
		}
		if found.IsZero() {
			return nil, nil
		}
		return found.Unix(), nil
	}
}

// previous goes back minute by minute from the last one that has begun before the moment, on the schedule's
// clock. Argo Events jumps; where its jumps end, they end at the same time.
func previous(schedule *cron.SpecSchedule, at time.Time) time.Time {
	zone := schedule.Location
	if zone == time.Local {
		zone = at.Location()
	}
	first := at.AddDate(-5, 0, 0)
	for t := at.Add(-time.Second).In(zone); t.Year() >= first.Year(); {
		t = t.Truncate(time.Minute)
		switch {
		case schedule.Month&(1<<uint(t.Month())) == 0 || !dayMatches(schedule, t):
			// Hour by hour: a day may have 23 of them, and no midnight.
			t = t.Add(-time.Duration(t.Minute()+1) * time.Minute)
		case schedule.Hour&(1<<uint(t.Hour())) == 0 || schedule.Minute&(1<<uint(t.Minute())) == 0:
			t = t.Add(-time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

const star = 1 << 63

func dayMatches(schedule *cron.SpecSchedule, t time.Time) bool {
	day := schedule.Dom&(1<<uint(t.Day())) != 0
	weekday := schedule.Dow&(1<<uint(t.Weekday())) != 0
	if schedule.Dom&star != 0 || schedule.Dow&star != 0 {
		return day && weekday
	}
	return day || weekday
}
