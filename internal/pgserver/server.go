package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/process"
	"github.com/rouse-es/rouse/internal/randid"
)

// Server is one private PostgreSQL server. Make it with Start. All methods may
// be called from several goroutines; those that start or stop the server wait
// for each other.
type Server struct {
	log      zerolog.Logger
	bin      binaries
	account  *account
	dataDir  string
	port     int
	cluster  string            // cluster_name, by which the start knows its own server
	settings map[string]string // defaults and Config.Settings
	recovery map[string]string // settings of a standby, else nil
	source   *Server           // what a standby follows, else nil
	slot     string            // replication slot on source, else ""

	mu      sync.Mutex       // protects following fields and the order of starts and stops
	keeper  *keeper          // nil after Stop
	process *process.Process // nil while halted or crashed
	frozen  []int            // processes stopped by Pause
	killed  bool             // the last end was by Kill
}

// Start runs a server and returns when it answers. ctx bounds the start only.
// The caller must call Stop; if this process dies first, the server goes too.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if !supported {
		return nil, ErrUnsupported
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s, filled, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if !filled {
		err = s.initialize(ctx)
	}
	if err == nil {
		err = s.protect(ctx)
	}
	if err == nil {
		err = s.firstRun(ctx, cfg.Port)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// prepare finds the programs and makes the folder. It reports whether the
// folder has data already.
func prepare(ctx context.Context, cfg Config) (s *Server, filled bool, err error) {
	s = &Server{log: cfg.Log, settings: cfg.Settings, cluster: "rouse_" + randid.Hex(6)}
	temporary, signal := "", "INT"
	if cfg.DataDir != "" {
		if s.dataDir, err = filepath.Abs(cfg.DataDir); err != nil {
			return nil, false, fmt.Errorf("pgserver: data folder: %w", err)
		}
	}
	if s.account, err = serverAccount(s.dataDir); err != nil {
		return nil, false, err
	}
	if s.bin, err = find(ctx, s.account, cfg.BinDir, dataMajor(s.dataDir)); err != nil {
		return nil, false, err
	}
	if s.dataDir != "" {
		filled, err = s.account.prepareDataDir(s.dataDir)
	} else {
		temporary, err = s.account.temporaryBase()
		temporary = filepath.Join(temporary, "rouse-postgres-"+randid.Hex(6))
		// Nobody will miss the data, so nobody has to wait for an orderly stop.
		s.dataDir, signal = temporary, "QUIT"
	}
	if err != nil {
		return nil, false, err
	}
	if s.keeper, err = startKeeper(s.account, temporary, signal); err != nil {
		return nil, false, err
	}
	return s, filled, nil
}

// initialize runs initdb, which lets nobody in: protect does. Nothing is synced: until the first start there is nothing to lose.
func (s *Server) initialize(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*startTimeout)
	defer cancel()
	output := &process.Lines{}
	cmd := s.keeper.command(ctx, s.dataDir, s.bin.initdb(), "-D", s.dataDir, "-U", "postgres", "-A", "reject",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgserver: making the data folder with initdb: %w; its last lines:\n%s", errors.Join(err, ctx.Err()), output)
	}
	return nil
}

// firstRun starts the server on the given port, or on a free one if it is 0.
// Between the choice and the start another process may take a free port; then it
// takes another.
func (s *Server) firstRun(ctx context.Context, port int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if port != 0 {
		s.port = port
		return s.run(ctx)
	}
	for attempt := 1; ; attempt++ {
		var err error
		if s.port, err = FreePort(); err != nil {
			return err
		}
		err = s.run(ctx)
		if err == nil || ctx.Err() != nil || attempt == 5 || portIsFree(s.port) {
			return err
		}
	}
}

// URL is the address of a database of this server, for pgx and for libpq. The role is postgres, a superuser. The password is
// not in the address, which may be shown and logged: it names a file that only the account of the server can read. PGPASSWORD
// comes before that file and must not be set.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Host: "127.0.0.1:" + strconv.Itoa(s.port),
		Path: "/" + database, RawQuery: encode(url.Values{"sslmode": {"disable"}, "passfile": {s.passPath()}}),
	}
	return u.String()
}

// encode writes the parameters of an address. libpq and pgx do not read a plus sign as a space.
func encode(parameters url.Values) string { return strings.ReplaceAll(parameters.Encode(), "+", "%20") }

// Port is the TCP port on 127.0.0.1. It stays the same through Crash and
// Restart.
func (s *Server) Port() int { return s.port }

// Major is the major version of PostgreSQL, such as 15.
func (s *Server) Major() int { return s.bin.major }

// DataDir is the folder of the data.
func (s *Server) DataDir() string { return s.dataDir }

// CreateDatabase makes an empty database in UTF8.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	err := s.exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()+" template template0 encoding 'UTF8'")
	if err != nil {
		return fmt.Errorf("pgserver: creating the database %q: %w", name, err)
	}
	return nil
}
