package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// emptyInCopy are the folders whose content belongs to the running server or is
// made anew by recovery. The copy has them, but empty. The log comes by
// streaming.
var emptyInCopy = []string{
	"pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_wal",
}

// notInCopy are files of the running server.
var notInCopy = []string{
	"postmaster.pid", "postmaster.opts", "backup_label", "backup_label.old", "tablespace_map", "current_logfiles",
	"standby.signal", "recovery.signal",
}

// copyData copies the files of a running server, as an online backup does: files
// may change and vanish under it. The copies belong to the account.
func copyData(ctx context.Context, from, to string, acc *account) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dropped since its folder was read
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case relative == ".":
			return nil // made by the keeper
		case entry.IsDir():
			if err := errors.Join(os.Mkdir(target, 0o700), acc.give(target)); err != nil {
				return err
			}
			if slices.Contains(emptyInCopy, relative) {
				return fs.SkipDir
			}
			return nil
		case slices.Contains(notInCopy, relative) || strings.HasPrefix(entry.Name(), "pgsql_tmp"):
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("pgserver: %s is not a plain file, so the server cannot be copied", path)
		}
		return copyFile(path, target, acc)
	})
}

func copyFile(from, to string, acc *account) (err error) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := acc.give(to); err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return err
}

// writeFile writes a file of the data folder.
func (s *Server) writeFile(name, content string) error {
	path := filepath.Join(s.dataDir, name)
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), s.account.give(path)); err != nil {
		return fmt.Errorf("pgserver: preparing the data folder: %w", err)
	}
	return nil
}
