package catchup

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// A save finds the row of a checkpoint by its key. While somebody holds a snapshot, the versions that saves leave behind stay, and the
// key leads to all of them. So a claim returns the spot of what it has written, and so does a save now and then, and every one while the row
// moves; and the next save looks there where the key is dear. A spot that is wrong costs a look by the key, and nothing else.
//
// The server puts a new version on the page of the old one while there is room. Where there is none it chooses another page, makes new
// entries in the index, and for that looks at all entries of the same key, each of which is a page. With 32 rows on each page that is every
// second save. So a row that keeps moving gets a page of its own: its next version is made so large that it fits on an empty page
// only. The versions behind it are of the usual size, about forty of them fit there, and then it moves on in the same way.
//
// The server cleans up a page when a row is looked for by a key or by a scan, and not by its spot. So the spot serves only on a page of the
// row's own, and before the row moves on it is looked for by its key once: if the snapshot is gone, the page is cleaned up, and the row
// stays.

// Spot is where the row of a checkpoint was last, as its owner remembers it, with what is needed to choose between pages. The zero
// Spot is not known.
type Spot struct {
	at    pgtype.TID
	alone bool // it has moved to an empty page as a large one
	moves int  // rises with every move to another page, and falls slowly; of one that is not alone
}

// SpotAt returns the spot that a claim has returned.
func SpotAt(at pgtype.TID) Spot { return Spot{at: at} }

const (
	// moveWeight is how many saves without a move make up for one with a move, and restless how many moves in excess make a row large.
	moveWeight = 4
	restless   = 2 * moveWeight

	// filled is how many bytes of usual versions leave no room for a large one on a page that began with a large one, and rowBytes
	// the bytes of a usual version without the projection's name. There is some room for error in both: a page has 8 kB, a large
	// version 2.1 of them.
	filled   = 5000
	rowBytes = 108
)

// large reports whether the next version of the row is to be a large one.
func (p Spot) large(projection string) bool {
	if !p.alone {
		return p.moves >= restless
	}
	return int(p.at.OffsetNumber) > filled/(rowBytes+len(projection))
}

// use returns where the next save is to look for the row, and whether it is not to look by its key.
func (p Spot) use(projection string) (at pgtype.TID, use bool) {
	if !p.alone || !p.at.Valid || p.large(projection) {
		return pgtype.TID{}, false
	}
	return p.at, true
}

// moved returns the spot behind a save that has put the row to at.
func (p Spot) moved(at pgtype.TID, large bool) Spot {
	next := Spot{at: at, alone: p.alone, moves: p.moves}
	switch {
	case !p.at.Valid || p.at.BlockNumber == at.BlockNumber:
		next.moves = max(0, p.moves-1)
	case large:
		next.alone, next.moves = true, 0
	default:
		next.alone, next.moves = false, p.moves+moveWeight
	}
	return next
}

// WatchEvery is after how many saves one is to return the spots while all rows stay where they are, which is the rule: to return them
// costs a save more than all that it is told by them. A row that begins to move is noticed that much later.
const WatchEvery = 16

// watched reports whether the next save is to return where the row is: it moves, or that is not known.
func (p Spot) watched() bool { return p.alone || p.moves > 0 || !p.at.Valid }

// watches reports whether the save returns the spots.
func (s Save) watches() bool {
	return s.Watch || slices.ContainsFunc(s.Fences, func(f Fence) bool { return f.Spot.watched() })
}

// spotsOf returns what a save is told of the rows of fences: which are to be large, nil: none, and where to look for them, nil: for all
// by their key.
func (s Save) spotsOf(fences []Fence) (large []bool, spots []pgtype.TID) {
	for i, f := range fences {
		if f.Spot.large(s.Projection) {
			if large == nil {
				large = make([]bool, len(fences))
			}
			large[i] = true
		}
		if at, use := f.Spot.use(s.Projection); use {
			if spots == nil {
				spots = make([]pgtype.TID, len(fences))
			}
			spots[i] = at
		}
	}
	return large, spots
}

// Saved is what a save returns: what it has found of its session, and of the rows that it has written. Scan the one row of its result
// into it.
type Saved struct {
	Session        // where it is set before and the save has found the same, it is kept
	HadTables bool // the session has had temporary tables

	at []pgtype.TID // in the order of partitions; null: they were not asked for
}

// ScanRow implements pgx.RowScanner. It reads the texts as they came, because pgx makes a plan for each column of each row, and most saves
// return no spots.
func (s *Saved) ScanRow(rows pgx.Rows) error {
	raw := rows.RawValues()
	if len(raw) != savedColumns {
		return fmt.Errorf("catchup: a save has returned %d columns instead of %d", len(raw), savedColumns)
	}
	s.Role, s.Path = same(s.Role, raw[2]), same(s.Path, raw[3])
	s.HadTables = string(raw[4]) == "\x01" || string(raw[4]) == "t" // as binary and as text
	if s.at = nil; raw[7] == nil {
		return nil
	}
	return rows.Scan(nil, nil, nil, nil, nil, nil, nil, &s.at)
}

// savedColumns is the number of columns that a save of one projection returns.
const savedColumns = 8

// same returns raw as a text: text itself, where that is the same.
func same(text string, raw []byte) string {
	if text == string(raw) { // which makes none of raw
		return text
	}
	return string(raw)
}

// Spots returns the spots of the rows behind the save, in the order of its fences; nil: the save was not asked for them.
func (s Save) Spots(saved Saved) []Spot {
	if len(saved.at) != len(s.Fences) {
		return nil
	}
	spots, in := make([]Spot, len(s.Fences)), s.inOrder()
	for i, f := range s.Fences {
		at, _ := slices.BinarySearchFunc(in, f, Fence.compare)
		spots[i] = f.Spot.moved(saved.at[at], f.Spot.large(s.Projection))
	}
	return spots
}

// size is the order of the number of pages that the table has at least. A prepared statement keeps the plan that was made for a small
// table, which is to read it whole; so a table that has grown gets a statement of its own.
func (s Save) size() int {
	var furthest uint32
	for _, f := range s.Fences {
		furthest = max(furthest, f.Spot.at.BlockNumber)
	}
	return sizeOf(uint64(furthest))
}

// sizeOf returns the size of a table of so many pages.
func sizeOf(pages uint64) int { return (bits.Len64(pages>>4) + 1) / 2 }

// sized is a statement for a table of a size, which is mostly wanted for the same size again. The zero value is ready.
type sized struct {
	sql  string
	size int
	text string // forSize of the two
}

// of is forSize.
func (s *sized) of(sql string, size int) string {
	if s.sql != sql || s.size != size {
		*s = sized{sql, size, forSize(sql, size)}
	}
	return s.text
}

// forSize returns the statement for a table of a size.
func forSize(sql string, size int) string {
	if size == 0 {
		return sql
	}
	return sql + "\n-- for a table of " + strconv.Itoa(4<<(2*size)) + " pages or more"
}
