package partition

import "slices"

// Candidate is a member that may own partitions of a projection.
type Candidate struct {
	Instance string

	// Max is the most partitions that it takes. 0: any number.
	Max int

	// Avoids are partitions that it cannot take for the time being. They count as its own for nobody.
	Avoids []int
}

// Assign says who should own each partition, given who does and the candidates in the order in which they joined. The result
// has an instance for each partition, "" where nobody may take it.
//
// Shares differ by one at most, except where a Max or an Avoids stands against it. As few partitions as possible change
// hands: members give up what is beyond their share, the highest partitions first, and nothing else. Everybody who looks at
// the same owners and candidates comes to the same result, so nobody has to lead.
func Assign(owners []string, candidates []Candidate) []string {
	a := assignment{targets: make([]string, len(owners)), candidates: candidates, at: map[string]int{}, owned: make([]int, len(candidates))}
	for i, c := range candidates {
		a.at[c.Instance] = i
	}
	for _, owner := range owners {
		if i, is := a.at[owner]; is {
			a.owned[i]++
		}
	}
	a.share(len(owners))
	a.keep(owners)
	a.give()
	return a.targets
}

type assignment struct {
	candidates []Candidate
	at         map[string]int // index by instance
	owned      []int          // how many each owns now
	quota      []int          // how many more each may get
	targets    []string
}

// share computes the quotas: everybody the same, as far as its Max allows, and what does not divide goes to those who own
// most, so that it need not move.
func (a *assignment) share(partitions int) {
	limit := func(i int) int {
		if m := a.candidates[i].Max; m > 0 {
			return min(m, partitions)
		}
		return partitions
	}
	a.quota = make([]int, len(a.candidates))
	for left := partitions; left > 0; {
		var open []int // those that may get more
		for i := range a.candidates {
			if a.quota[i] < limit(i) {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return
		}
		slices.SortStableFunc(open, func(i, j int) int { return a.owned[j] - a.owned[i] })
		each := left / len(open)
		if each == 0 {
			for _, i := range open[:left] {
				a.quota[i]++
			}
			return
		}
		for _, i := range open {
			more := min(each, limit(i)-a.quota[i])
			a.quota[i] += more
			left -= more
		}
	}
}

// keep leaves partitions where they are, up to the quotas.
func (a *assignment) keep(owners []string) {
	for p, owner := range owners {
		i, is := a.at[owner]
		if is && a.quota[i] > 0 && !slices.Contains(a.candidates[i].Avoids, p) {
			a.take(p, i)
		}
	}
}

// give hands out the rest, each to whoever lacks most. What everybody with room avoids goes to somebody beyond the quota.
func (a *assignment) give() {
	for p, target := range a.targets {
		if target != "" {
			continue
		}
		best := -1
		for i, c := range a.candidates {
			if !slices.Contains(c.Avoids, p) && a.quota[i] > 0 && (best < 0 || a.quota[i] > a.quota[best]) {
				best = i
			}
		}
		if best < 0 {
			best = a.spare(p)
		}
		if best >= 0 {
			a.take(p, best)
		}
	}
}

// spare finds somebody for a partition that all who have room avoid: whoever is least over its quota and below its Max.
func (a *assignment) spare(p int) int {
	best := -1
	for i, c := range a.candidates {
		room := c.Max == 0 || a.count(c.Instance) < c.Max
		if room && !slices.Contains(c.Avoids, p) && (best < 0 || a.quota[i] > a.quota[best]) {
			best = i
		}
	}
	return best
}

func (a *assignment) count(instance string) int {
	n := 0
	for _, target := range a.targets {
		if target == instance {
			n++
		}
	}
	return n
}

func (a *assignment) take(p, i int) {
	a.targets[p] = a.candidates[i].Instance
	a.quota[i]--
}
