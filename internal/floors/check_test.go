package floors

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// beside is the floor of the packages under internal/. They stand next to the
// house: floors 3 and 4 and tests may use them, floors 0 to 2 may not, and
// they themselves import nothing above floor 0, so that the tests of every
// floor can use them without an import cycle.
const beside = -1

// publicTop is the highest floor that users receive with the root package.
const publicTop = 2

// room places the packages that path covers on a floor. path is relative to
// the module, "" is the root package, and "x/..." covers x and all below it.
type room struct {
	path  string
	floor int
}

// sideStep is one allowed import between two packages of floor 0.
type sideStep struct {
	from, to string
	reason   string // required
}

// helper is a package for tests, and the rooms that may import it.
type helper struct {
	path  string
	users []string
}

// pkg is what the checker needs of one package of `go list -deps -json`.
type pkg struct {
	ImportPath string
	Imports    []string
	Module     *struct {
		Path string
		Main bool
	}
}

// house is a full set of rules for the module with the given path.
type house struct {
	module    string
	rooms     []room
	sideSteps []sideStep
	unwanted  []string
	helpers   []helper
}

// check returns one sentence per broken rule, sorted; none means that the
// floors hold. pkgs are all packages of the module and all that they import.
func (h house) check(pkgs []pkg) []string {
	imports := make(map[string][]string, len(pkgs))
	for _, p := range pkgs {
		imports[p.ImportPath] = p.Imports
	}
	var faults []string
	used := make(map[sideStep]bool)
	for _, p := range pkgs {
		if p.Module == nil || !p.Module.Main {
			continue
		}
		from := h.relative(p.ImportPath)
		floor, ok := h.floorOf(from)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s has no floor: give it a row in internal/floors/rooms_test.go", name(from)))
			continue
		}
		for _, imp := range p.Imports {
			if fault := h.checkImport(from, floor, imp, used); fault != "" {
				faults = append(faults, fault)
			}
			if fault := h.checkHelper(from, imp); fault != "" {
				faults = append(faults, fault)
			}
		}
		if floor != beside && floor <= publicTop {
			faults = append(faults, h.checkUnwanted(p.ImportPath, imports)...)
		}
	}
	faults = append(faults, h.checkSideSteps(imports, used)...)
	slices.Sort(faults)
	return slices.Compact(faults)
}

// checkImport judges one import by the floors of both ends, and notes in used
// the side step that allowed it.
func (h house) checkImport(from string, floor int, imp string, used map[sideStep]bool) string {
	to, inside := h.inside(imp)
	if !inside {
		return ""
	}
	toFloor, ok := h.floorOf(to)
	if !ok {
		return "" // reported once, where the package itself is looked at
	}
	switch {
	case floor == beside && toFloor > 0:
		return fmt.Sprintf("%s stands beside the house and imports %s of floor %d: only floor 0 is allowed", name(from), name(to), toFloor)
	case floor == beside:
		return ""
	case toFloor == beside && floor <= publicTop:
		return fmt.Sprintf("%s of floor %d imports %s: floors 0 to %d use nothing from internal/ outside their tests", name(from), floor, name(to), publicTop)
	case toFloor > floor:
		return fmt.Sprintf("%s of floor %d imports %s of floor %d: a lower floor never imports a higher one", name(from), floor, name(to), toFloor)
	case floor == 0 && toFloor == 0:
		for _, s := range h.sideSteps {
			if s.from == from && s.to == to {
				used[s] = true
				return ""
			}
		}
		return fmt.Sprintf("%s imports %s: packages of floor 0 do not import each other", name(from), name(to))
	}
	return ""
}

// checkHelper judges one import by the table of test helpers.
func (h house) checkHelper(from, imp string) string {
	for _, hp := range h.helpers {
		path := hp.path
		if rel, ok := strings.CutPrefix(path, "./"); ok {
			path = h.module + "/" + rel
		}
		if !covers(path+"/...", imp) {
			continue
		}
		if covers(path+"/...", h.module+"/"+from) || slices.ContainsFunc(hp.users, func(u string) bool { return covers(u, from) }) {
			continue
		}
		return fmt.Sprintf("%s imports %s: a test helper stays out of ordinary code", name(from), imp)
	}
	return ""
}

// checkUnwanted searches everything that start imports, directly or not, and
// names the chain by which an unwanted package comes in. It stops at other
// packages of the module, which are searched on their own turn.
func (h house) checkUnwanted(start string, imports map[string][]string) []string {
	var faults []string
	via := map[string]string{start: ""}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, imp := range imports[queue[0]] {
			if _, seen := via[imp]; seen {
				continue
			}
			if _, inside := h.inside(imp); inside {
				continue
			}
			via[imp] = queue[0]
			if slices.ContainsFunc(h.unwanted, func(u string) bool { return covers(u+"/...", imp) }) {
				faults = append(faults, fmt.Sprintf("%s brings %s to users: %s", name(h.relative(start)), imp, chain(via, imp)))
				continue
			}
			queue = append(queue, imp)
		}
	}
	return faults
}

// checkSideSteps keeps the table of exceptions short, explained and in use.
func (h house) checkSideSteps(imports map[string][]string, used map[sideStep]bool) []string {
	var faults []string
	if len(h.sideSteps) > 1 {
		faults = append(faults, fmt.Sprintf("%d side steps on floor 0: one is the limit", len(h.sideSteps)))
	}
	for _, s := range h.sideSteps {
		if s.reason == "" {
			faults = append(faults, fmt.Sprintf("the side step from %s to %s has no reason", name(s.from), name(s.to)))
		}
		if _, exists := imports[h.module+"/"+s.from]; exists && !used[s] {
			faults = append(faults, fmt.Sprintf("the side step from %s to %s is not used: remove it", name(s.from), name(s.to)))
		}
	}
	return faults
}

// floorOf returns the floor of a package, by the most exact row that covers it.
func (h house) floorOf(rel string) (floor int, ok bool) {
	var rows []room
	for _, r := range h.rooms {
		if covers(r.path, rel) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return 0, false
	}
	best := slices.MaxFunc(rows, func(a, b room) int { return cmp.Compare(len(a.path), len(b.path)) })
	return best.floor, true
}

// inside returns the path of an import relative to the module, if it is in it.
func (h house) inside(imp string) (rel string, ok bool) {
	if !covers(h.module+"/...", imp) {
		return "", false
	}
	return h.relative(imp), true
}

func (h house) relative(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, h.module), "/")
}

// covers reports whether pattern, a path or "path/...", covers path.
func covers(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

// chain writes the way from the start of a search to its end.
func chain(via map[string]string, end string) string {
	way := []string{end}
	for at := via[end]; at != ""; at = via[at] {
		way = append(way, at)
	}
	slices.Reverse(way)
	return strings.Join(way, " -> ")
}

// name is how a package is called in messages.
func name(rel string) string {
	if rel == "" {
		return "the root package"
	}
	return rel
}
