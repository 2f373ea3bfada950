package apply

import (
	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/await"
)

// telling is whom a save tells how far the projection has come. The zero telling tells nobody.
type telling struct {
	asked *await.Asked
	total int // partitions of the projection

	// whole means that everything up to the position of the save is handled in all of owned, not only in the partitions that it moves.
	whole bool
	owned *await.Partitions
}

// telling returns whom a save tells. Those who wait are told of all partitions that are owned where one lane after the other handles the
// events of all of them, in the order of the log.
func (c *Checkpoints) telling(whole bool) telling {
	return telling{asked: c.asked, total: c.total, whole: whole, owned: &c.owned}
}

// Asked sets whom saves are told to; until then they are told to nobody. Call it before anything is saved.
func (c *Checkpoints) Asked(asked *await.Asked) {
	c.asked = asked
	for p, fence := range c.fences {
		if fence != nil {
			c.owned.Add(p)
		}
	}
}

// Reply returns the text by which those who wait learn that everything up to a position is handled in all partitions that are owned.
func (c *Checkpoints) Reply(to int64) string { return c.asked.Bare(to, c.owned, c.total) }

// Epochs returns the partitions that are owned, and the epoch of each.
func (c *Checkpoints) Epochs() (partitions []int32, epochs []int64) {
	for _, fence := range c.fences {
		if fence != nil {
			partitions, epochs = append(partitions, int32(fence.Partition)), append(epochs, fence.Epoch)
		}
	}
	return partitions, epochs
}

// queueReply queues what tells those who wait, if there are any. It travels with the save, and is heard only if that commits.
func (e txEnd) queueReply(batch *pgx.Batch, w *working) {
	if e.tell.asked.Replying() {
		w.exec("to tell who waits", e.tell.queue(batch, e.save, len(e.park)+len(e.done) > 0))
	}
}

// queue queues the reply for a save. look: what it moves past is not all handled.
func (t telling) queue(batch *pgx.Batch, save catchup.Save, look bool) *pgx.QueuedQuery {
	partitions := *t.owned
	if !t.whole {
		partitions = await.Partitions{}
		for _, f := range save.Fences {
			partitions.Add(f.Partition)
		}
	}
	return batch.Queue(await.SQLReply, t.asked.Channel(), t.asked.Reply(save.To, partitions, t.total, look))
}
