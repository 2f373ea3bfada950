package projector

// Keys of log fields.
const (
	keyVersion = "version"
	keyLive    = "live"
)

// Role is what a projector is among the versions of its projection.
type Role struct {
	// Version is the version of the projection that the handler is of. While another one is live, the projector rests. 0: it never does.
	Version int

	// Shadow means that the projection is made by somebody else, and that Run returns nil once it is gone.
	Shadow bool
}

// Reached returns the position up to which everything is handled here, below 0 if that is not known.
func (p *Projector) Reached() int64 {
	p.progress.mu.Lock()
	defer p.progress.mu.Unlock()
	return p.progress.to
}

// Resting reports whether another version of the projection is live, so that this process has no part in it.
func (p *Projector) Resting() bool { return p.resting.Load() }

// Rest notes which version of the projection is live.
func (p *Projector) Rest(live int) {
	rest := p.cfg.Role.Version != 0 && live != 0 && live != p.cfg.Role.Version
	if p.resting.Swap(rest) == rest {
		return
	}
	if rest {
		p.log.Info().Int(keyVersion, p.cfg.Role.Version).Int(keyLive, live).Msg("another version of the projection is live, this worker leaves it alone")
	} else {
		p.log.Info().Int(keyVersion, live).Msg("the version of this worker is live")
	}
	if control := p.cfg.Process.Control; control != nil {
		control.Beat() // others plan without it, or with it again
	}
}
