package retention

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rouse-es/rouse/internal/randid"
)

// format is what the first line of an archive calls itself. Another layout of the lines has another number.
const format = "rouse-events-1"

// Manifest is the first line of an archive: what it holds.
type Manifest struct {
	Format string `json:"format"`

	// First and Last are the positions that it holds every event of, both included. The next archive begins at Last + 1.
	First int64 `json:"first"`
	Last  int64 `json:"last"`

	// Count is the number of events, and SHA256 that of their lines, uncompressed and with line ends, in hex.
	Count  int64  `json:"count"`
	SHA256 string `json:"sha256"`

	Schema    int       `json:"schema"` // the version of the schema that they come from
	CreatedAt time.Time `json:"created_at"`
}

// Name is the name of the file.
func (m Manifest) Name() string { return fmt.Sprintf("events-%d-%d.ndjson.zst", m.First, m.Last) }

func (m Manifest) sum() []byte {
	sum, err := hex.DecodeString(m.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
}

var archiveName = regexp.MustCompile(`^events-(\d{1,19})-(\d{1,19})\.ndjson\.zst$`)

// staleAfter is how old a file must be that a killed process has left half written, before it is deleted.
const staleAfter = 24 * time.Hour

// draft is an archive that is being written: the lines are compressed into a file, and the manifest comes before them once it is known.
type draft struct {
	body    *os.File
	zip     *zstd.Encoder
	sum     hash.Hash
	streams map[[sha256.Size]byte]struct{}
	m       Manifest
}

// newDraft begins a draft in dir; "": in the directory for temporary files.
func newDraft(dir string, first int64, schema int) (*draft, error) {
	body, err := os.CreateTemp(dir, ".events-*.body.tmp")
	if err != nil {
		return nil, fmt.Errorf("retention: %w", err)
	}
	zip, err := zstd.NewWriter(body, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, errors.Join(err, body.Close(), os.Remove(body.Name()))
	}
	m := Manifest{Format: format, First: first, Schema: schema, CreatedAt: time.Now().UTC().Truncate(time.Second)}
	return &draft{body: body, zip: zip, sum: sha256.New(), streams: map[[sha256.Size]byte]struct{}{}, m: m}, nil
}

func (d *draft) add(r *record) error {
	line := r.line()
	d.sum.Write(line)
	d.streams[r.stream()] = struct{}{}
	d.m.Count++
	d.m.Last = r.Position
	_, err := d.zip.Write(line)
	return err
}

// finish completes the manifest. Nothing can be added any more.
func (d *draft) finish() error {
	d.m.SHA256 = hex.EncodeToString(d.sum.Sum(nil))
	return d.zip.Close()
}

// copyTo writes the archive: two frames, which a decompressor reads as one file.
func (d *draft) copyTo(w io.Writer) error {
	first, err := json.Marshal(d.m)
	if err != nil {
		return err
	}
	zip, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := zip.Write(append(first, '\n')); err != nil {
		return errors.Join(err, zip.Close())
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if _, err := d.body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, d.body)
	return err
}

// drop deletes what the draft has written beside the archive.
func (d *draft) drop() {
	_ = d.zip.Close()
	_ = d.body.Close()
	_ = os.Remove(d.body.Name())
}

// store writes the archive into dir under a name that nobody reads, syncs it, reads it back, and returns the path.
func (d *draft) store(dir string) (path string, err error) {
	path = filepath.Join(dir, "."+d.m.Name()+"."+randid.Hex(4)+".tmp")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("retention: %w", err)
	}
	err = d.copyTo(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		var back Manifest
		if back, err = scan(path, nil); err == nil && (back.SHA256 != d.m.SHA256 || back.First != d.m.First || back.Last != d.m.Last) {
			err = fmt.Errorf("%w: %s does not read back as it was written (is the disk full, or failing?)", ErrFile, path)
		}
	}
	if err != nil {
		_ = os.Remove(path)
		return "", fmt.Errorf("retention: write %s: %w", d.m.Name(), err)
	}
	return path, nil
}

// publish gives a stored archive its name, for good.
func publish(tmp, path string) error {
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// scan reads an archive whole, calls each, unless it is nil, with every line and its event, and compares the whole with the manifest, which it
// returns. each must not keep the line.
func scan(path string, each func(line []byte, r *record) error) (Manifest, error) {
	m, err := scanLines(path, each)
	if err != nil && !errors.Is(err, ErrFile) && !errors.Is(err, ErrDiffers) && !errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return m, err
}

func scanLines(path string, each func(line []byte, r *record) error) (m Manifest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer f.Close()
	zip, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return m, err
	}
	defer zip.Close()
	in := bufio.NewReaderSize(zip, 1<<16)
	first, err := in.ReadBytes('\n')
	if err != nil {
		return m, fmt.Errorf("%w: %s has no manifest: %w", ErrFile, path, err)
	}
	if err := json.Unmarshal(first, &m); err != nil || m.Format != format || m.sum() == nil {
		return m, fmt.Errorf("%w: %s does not begin with a manifest of %s", ErrFile, path, format)
	}
	sum, count, last := sha256.New(), int64(0), m.First-1
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil {
			return m, fmt.Errorf("%w: %s ends in the middle of a line, or is damaged: %w", ErrFile, path, err)
		}
		sum.Write(line)
		count++
		r, err := parse(line)
		if err != nil {
			return m, fmt.Errorf("%s: %w", path, err)
		}
		if r.Position <= last || r.Position > m.Last || !bytes.Equal(r.line(), line) {
			return m, fmt.Errorf("%w: line %d of %s is out of place", ErrFile, count+1, path)
		}
		last = r.Position
		if each != nil {
			if err := each(line, r); err != nil {
				return m, err
			}
		}
	}
	if count != m.Count || hex.EncodeToString(sum.Sum(nil)) != m.SHA256 {
		return m, fmt.Errorf("%w: %s holds something else than its manifest says: %d events where it says %d (put it back from a copy)", ErrFile, path, count, m.Count)
	}
	return m, nil
}

// files returns the archives in dir by their names, in the order of their positions, without reading them.
func files(dir string) (out []Manifest, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("retention: %w", err)
	}
	for _, e := range entries {
		if m := archiveName.FindStringSubmatch(e.Name()); m != nil && !e.IsDir() {
			first, errFirst := strconv.ParseInt(m[1], 10, 64)
			last, errLast := strconv.ParseInt(m[2], 10, 64)
			if errFirst == nil && errLast == nil {
				out = append(out, Manifest{First: first, Last: last})
			}
		}
	}
	sortByFirst(out)
	return out, nil
}

// sweepDrafts deletes what processes that were killed have left half written in dir.
func sweepDrafts(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, ".events-*.tmp")) // the pattern is good
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(path)
		}
	}
}
