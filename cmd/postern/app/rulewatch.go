package app

import (
	"context"
	"time"

	defaultrules "postern/rules/default"
)

// rulesLook is how often the folders of rules are looked at.
const rulesLook = 3 * time.Second

// lookAtRules tells the state of the files of rules and maps.
func lookAtRules(j *Pipeline) string {
	return defaultrules.Look(ruleFolders(j.config), j.rules.Included) + lookAtMaps(j.config)
}

// watchRules puts rules and maps in force when their files have changed, and the look after says that nobody is writing
// them any more. What is wrong with them is said once; the rules in force stay.
func (a *App) watchRules(context.Context) {
	now := lookAtRules(a.pipeline.Load())
	if now != a.ruleFiles {
		a.ruleFiles, a.rulesSettled = now, false
		return
	}
	if a.rulesSettled {
		return
	}
	a.rulesSettled = true

	a.changing.Lock() // a reload that came meanwhile brought another configuration: that one stays
	defer a.changing.Unlock()
	before := a.pipeline.Load()
	if err := a.change(before.config); err != nil {
		a.out.Log.Warn("rules or maps have changed and can't be put in force: the old ones stay", "error", err)
		return
	}
	a.sayBadLines(a.pipeline.Load(), before.Maps)
	if j := a.pipeline.Load(); j.rules.Sum != before.rules.Sum {
		a.sayLeftOut(j)
		a.out.Log.Info("rules in force", "rules", j.rules.Set.Len())
	}
}

// sayLeftOut logs what of the rules does not work.
func (a *App) sayLeftOut(j *Pipeline) {
	for _, p := range j.Problems {
		if !p.Note() {
			a.out.Log.Warn("content rule left out", "problem", p.String())
		}
	}
}
