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
func (h *App) watchRules(context.Context) {
	now := lookAtRules(h.pipeline.Load())
	if now != h.ruleFiles {
		h.ruleFiles, h.rulesSettled = now, false
		return
	}
	if h.rulesSettled {
		return
	}
	h.rulesSettled = true

	h.changing.Lock() // a reload that came meanwhile brought another configuration: that one stays
	defer h.changing.Unlock()
	before := h.pipeline.Load()
	if err := h.change(before.config); err != nil {
		h.out.Log.Warn("rules or maps have changed and can't be put in force: the old ones stay", "error", err)
		return
	}
	h.sayBadLines(h.pipeline.Load(), before.Maps)
	if j := h.pipeline.Load(); j.rules.Sum != before.rules.Sum {
		h.sayLeftOut(j)
		h.out.Log.Info("rules in force", "rules", j.rules.Set.Len())
	}
}

// sayLeftOut logs what of the rules does not work.
func (h *App) sayLeftOut(j *Pipeline) {
	for _, p := range j.Problems {
		if !p.Note() {
			h.out.Log.Warn("content rule left out", "problem", p.String())
		}
	}
}
