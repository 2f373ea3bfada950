package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/rouse-es/rouse/partition"
)

// Trouble is what keeps a projection from getting on.
type Trouble struct {
	Worker     string  `json:"worker"` // label of the worker in which it does not get on
	State      string  `json:"state"`  // of the projection in that worker, such as retrying
	Text       string  `json:"text"`
	AgeSeconds float64 `json:"age_seconds"`
}

// troubles returns what keeps a projection from getting on in living workers, the oldest first.
func (r *Report) troubles(projection string) (found []Trouble) {
	for _, w := range r.Workers {
		if trouble, is := w.Troubles[projection]; is && w.Alive {
			found = append(found, trouble)
		}
	}
	slices.SortStableFunc(found, func(a, b Trouble) int { return cmp.Compare(b.AgeSeconds, a.AgeSeconds) })
	return found
}

// troubleLimit is the maximum length of a trouble's text, in bytes: a worker writes it as it likes.
const troubleLimit = 2000

// setTroubles reads the troubles of a row as of now. Those that cannot be read are another binary's, and left out.
func (w *Worker) setTroubles(troubles string, now time.Time) {
	var read map[string]partition.Trouble
	if json.Unmarshal([]byte(troubles), &read) != nil || len(read) == 0 {
		return
	}
	w.Troubles = map[string]Trouble{}
	for projection, trouble := range read {
		text := trouble.Text
		if len(text) > troubleLimit {
			text = strings.ToValidUTF8(text[:troubleLimit], "")
		}
		w.Troubles[projection] = Trouble{
			Worker: w.Label, State: w.States[projection], Text: text, AgeSeconds: max(now.Sub(trouble.Since).Seconds(), 0),
		}
	}
}
