//go:build unix

package bench

import (
	"os"
	"runtime"
	"syscall"
)

// peakMiB is the most memory that an ended process had at a time.
func peakMiB(state *os.ProcessState) float64 {
	used, known := state.SysUsage().(*syscall.Rusage)
	if !known {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return float64(used.Maxrss) / (1 << 20) // bytes there, KiB elsewhere
	}
	return float64(used.Maxrss) / (1 << 10)
}
