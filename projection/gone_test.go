package projection_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/projection"
)

// Whoever names a projection that was dropped or renamed is told so, whatever they wanted of it.
func TestAVerbOnARetiredNameSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensured(2)
	require.NoError(t, projection.Rename(b.ctx, b.Pool, "p", "q"))
	_, err := projection.Create(b.ctx, b.Pool, "r", "", 1)
	require.NoError(t, err)
	require.NoError(t, projection.Drop(b.ctx, b.Pool, "r", false))

	for verb, do := range map[string]func(name string) error{
		"pause":   func(name string) error { return projection.Pause(b.ctx, b.Pool, name) },
		"resume":  func(name string) error { return projection.Resume(b.ctx, b.Pool, name) },
		"skip":    func(name string) error { return projection.Skip(b.ctx, b.Pool, name, 1) },
		"drop":    func(name string) error { return projection.Drop(b.ctx, b.Pool, name, false) },
		"force":   func(name string) error { return projection.Drop(b.ctx, b.Pool, name, true) },
		"rename":  func(name string) error { return projection.Rename(b.ctx, b.Pool, name, "s") },
		"rebuild": func(name string) error { return projection.Rebuild(b.ctx, b.Pool, name, "", nil) },
		"reset": func(name string) error {
			_, err := projection.Reset(b.ctx, b.Pool, name, 0, false)
			_, last := projection.LastReset(b.ctx, b.Pool, name)
			require.EqualError(t, last, err.Error())
			return err
		},
		"resize": func(name string) error {
			_, err := projection.Resize(b.ctx, b.Pool, name, 4)
			return err
		},
		"promote": func(name string) error {
			_, err := projection.Promote(b.ctx, b.Pool, name, 2)
			return err
		},
	} {
		for name, says := range map[string]string{
			"p": `^projection: there is no such projection: p is called q since 20\S+Z$`,
			"r": `^projection: there is no such projection: r was dropped at 20\S+Z$`,
			"x": `^projection: there is no such projection: x$`,
		} {
			err := do(name)
			require.ErrorIs(t, err, projection.ErrNoProjection, verb)
			require.Regexp(t, says, err.Error(), verb)
		}
	}
}
