//go:build !unix

package pgserver

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

// On these systems Start returns ErrUnsupported before anything here is called;
// see the Unix files for what the functions do.

const supported = false

type account struct{}

func serverAccount(string) (*account, error)           { return nil, ErrUnsupported }
func (a *account) give(string) error                   { return ErrUnsupported }
func (a *account) temporaryBase() (string, error)      { return "", ErrUnsupported }
func (a *account) prepareDataDir(string) (bool, error) { return false, ErrUnsupported }
func (a *account) command(context.Context, string, ...string) *exec.Cmd {
	return &exec.Cmd{Err: ErrUnsupported}
}

type keeper struct{}

func startKeeper(*account, string, string) (*keeper, error) { return nil, ErrUnsupported }
func (k *keeper) command(context.Context, string, string, ...string) *exec.Cmd {
	return &exec.Cmd{Err: ErrUnsupported}
}
func (k *keeper) dismiss(time.Duration) error { return ErrUnsupported }
func (k *keeper) ending() bool                { return false }
func (k *keeper) freeze(int) ([]int, error)   { return nil, ErrUnsupported }
func (k *keeper) thaw([]int) error            { return ErrUnsupported }
func interrupt(*process.Process) error        { return ErrUnsupported }
func quit(*process.Process) error             { return ErrUnsupported }
func killAll([]int) error                     { return ErrUnsupported }
func ownedPrivately(os.FileInfo) bool         { return false }
