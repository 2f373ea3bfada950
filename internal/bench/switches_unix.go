//go:build unix

package bench

import "syscall"

// switches returns how often threads of this process have given their processor away because they had nothing to do.
func switches() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return float64(used.Nvcsw)
}
