//go:build unix

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// supported says that Start works on this system.
const supported = true

// account is the user that the server runs as when this process is root. Nil
// means this process's own user.
type account struct {
	uid, gid uint32
	name     string
}

// serverAccount picks the account: the owner of an existing data folder, else
// postgres, else nobody. It returns nil unless this process is root.
func serverAccount(dataDir string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if dataDir != "" {
		if info, err := os.Stat(filepath.Join(dataDir, "PG_VERSION")); err == nil {
			stat := info.Sys().(*syscall.Stat_t)
			if stat.Uid != 0 {
				return lookupAccount(user.LookupId(strconv.Itoa(int(stat.Uid))))
			}
		}
	}
	acc, err := lookupAccount(user.Lookup("postgres"))
	if err != nil {
		acc, err = lookupAccount(user.Lookup("nobody"))
	}
	if err != nil {
		return nil, fmt.Errorf("pgserver: PostgreSQL does not run as root, and there is neither a user postgres nor nobody; "+
			"add one of them or run as another user: %w", err)
	}
	return acc, nil
}

func lookupAccount(u *user.User, err error) (*account, error) {
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &account{uid: uint32(uid), gid: uint32(gid), name: u.Username}, nil
}

// attributes make a child run as the account in the process group; 0 means a
// new group.
func (a *account) attributes(group int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// command prepares a child that runs as the account and is not part of a server.
func (a *account) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = a.attributes(0)
	cmd.WaitDelay = time.Second
	return cmd
}

// give makes path belong to the account.
func (a *account) give(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// reaches says whether the account may pass through every folder above path. It
// looks at the permission bits only; a finer answer comes from the first
// program that is run there.
func (a *account) reaches(path string) bool {
	if a == nil {
		return true
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		stat := info.Sys().(*syscall.Stat_t)
		var need fs.FileMode = 0o001
		switch {
		case stat.Uid == a.uid:
			need = 0o100
		case stat.Gid == a.gid:
			need = 0o010
		}
		if info.Mode().Perm()&need == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// temporaryBase is the folder in which the account can make and remove folders.
func (a *account) temporaryBase() (string, error) {
	if a == nil {
		return os.TempDir(), nil
	}
	tried := []string{os.TempDir(), "/tmp", "/var/tmp"}
	for _, dir := range tried {
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() && info.Mode().Perm()&0o003 == 0o003 && a.reaches(filepath.Join(dir, "x")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("pgserver: the user %s can write to none of %v; set TMPDIR to a folder that everybody can write to", a.name, tried)
}

// prepareDataDir makes the folder for data that stay, or checks the one that is
// there. It reports whether the folder has data in it.
func (a *account) prepareDataDir(dir string) (filled bool, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return false, fmt.Errorf("pgserver: making the folder above the data folder: %w", err)
	}
	if !a.reaches(dir) {
		return false, fmt.Errorf("pgserver: PostgreSQL runs as the user %s, who cannot reach %s; "+
			"use a data folder outside folders that only root can enter", a.name, dir)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return false, fmt.Errorf("pgserver: opening the data folder: %w", err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err != nil {
			return false, fmt.Errorf("pgserver: %s has files in it but no PostgreSQL data; use another data folder", dir)
		}
		return true, nil
	}
	if err := errors.Join(a.give(dir), os.Chmod(dir, 0o700)); err != nil {
		return false, fmt.Errorf("pgserver: making the data folder private to the server: %w", err)
	}
	return false, nil
}

// ownedPrivately says that nobody but this process's user could have put
// anything into the folder.
func ownedPrivately(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && int(stat.Uid) == os.Geteuid() && info.Mode().Perm()&0o022 == 0
}

// environment is what children see: ours without the variables that would
// change what PostgreSQL does, and with messages in English.
func environment() []string {
	var env []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE" {
			continue
		}
		env = append(env, variable)
	}
	return append(env, "LC_ALL=C")
}
