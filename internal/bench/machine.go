package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is what the numbers depend on beside the server. It says nothing of whose machine it is.
type Machine struct {
	OS     string    `json:"os"` // GOOS/GOARCH
	Kernel string    `json:"kernel,omitempty"`
	CPU    string    `json:"cpu,omitempty"` // the model
	Cores  int       `json:"cores"`
	Memory float64   `json:"memory_gib,omitempty"`
	Go     string    `json:"go"`
	Day    time.Time `json:"day"` // of the measurement, UTC
}

// ThisMachine reads what the system tells. What it does not tell stays empty.
func ThisMachine() Machine {
	m := Machine{
		OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Day: time.Now().UTC().Truncate(24 * time.Hour),
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = numbered(strings.TrimSpace(string(release)))
	}
	m.CPU = procValue("/proc/cpuinfo", "model name")
	if kib, err := strconv.ParseFloat(strings.TrimSuffix(procValue("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		m.Memory = kib / (1 << 20)
	}
	return m
}

// numbered is the version number that a kernel's release begins with; the rest is its maker's.
func numbered(release string) string {
	end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		return release
	}
	return release[:end]
}

// procValue is the first value of a name in a file of "name : value" lines; empty: there is none.
func procValue(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
