package projector

import (
	"context"

	"github.com/rouse-es/rouse/internal/await"
	"github.com/rouse-es/rouse/internal/db"
)

// settleReplies begins to tell those who wait of each save, or ends it. Nothing is under way when it is called.
func (s *session) settleReplies() {
	s.cfg.Asked.Settle(max(s.done, s.checkpoints.Highest()))
}

// reply tells those who have asked for it that everything is handled up to done. Most hear it from the saves: not of an event that no
// handler wants, nor of what other partitions had to do. A waiter that must look at the database finds the checkpoints saved.
func (s *session) reply(ctx context.Context) error {
	any, save := s.cfg.Asked.Due(s.done)
	if !any {
		return nil
	}
	if save {
		if err := s.advanceIdle(ctx); err != nil {
			return err
		}
	}
	partitions, epochs := s.checkpoints.Epochs()
	return db.Exec(ctx, s.process.Pool, sqlReply.For(s.process.Pool), s.cfg.Asked.Channel(), s.checkpoints.Reply(s.done),
		s.cfg.Name, s.process.Instance, partitions, epochs)
}

// tellToLook has those who wait look at the database, because something was written there that no save tells of.
func (p *Projector) tellToLook(ctx context.Context) {
	if !p.cfg.Asked.Wanted() {
		return
	}
	if err := db.Exec(ctx, p.cfg.Process.Pool, await.SQLReply, p.cfg.Asked.Channel(), p.cfg.Asked.Look()); err != nil {
		p.log.Debug().Err(err).Msg("cannot tell those who wait, they look by themselves")
	}
}
