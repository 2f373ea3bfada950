package partition

import "slices"

// Candidate is a member that may own partitions of a projection.
type Candidate struct {
	Instance string

	// Max is the maximum number of partitions that it takes. 0: any number.
	Max int

	// Avoids are partitions that it cannot take for now. Such a partition may go to a candidate beyond that one's
	// share.
	Avoids []int
}

// Assign returns the instance that should own each partition, "" where none may take it, given the present owners and
// the candidates in the order in which they joined.
//
// Shares differ by one at most, except where a Max or an Avoids prevents it. As few partitions as possible change
// hands: members give up the partitions beyond their share, the highest first, and no others. Every member that sees
// the same owners and candidates computes the same result, so none has to lead.
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

// assignment is the state of one Assign.
type assignment struct {
	candidates []Candidate
	at         map[string]int // index by instance
	owned      []int          // the number of partitions that each candidate owns now
	quota      []int          // the number that each may still take; below 0 if it has one beyond its share
	targets    []string       // the result so far
}

// share computes the quotas: the same for every candidate, as far as its Max allows, and the remainder to those that
// own most, so that it need not move.
func (a *assignment) share(partitions int) {
	limit := func(i int) int {
		if m := a.candidates[i].Max; m > 0 {
			return min(m, partitions)
		}
		return partitions
	}
	a.quota = make([]int, len(a.candidates))
	for left := partitions; left > 0; {
		var open []int // the candidates whose quota may still rise
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

// give assigns the remaining partitions, each to the candidate with the largest quota. A partition that all candidates
// with a quota avoid goes to one beyond its quota.
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

// spare returns the candidate for a partition that all candidates with a quota avoid: the one that is least beyond its
// quota and below its Max; -1 if there is none.
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

// count returns the number of partitions assigned to instance so far.
func (a *assignment) count(instance string) int {
	n := 0
	for _, target := range a.targets {
		if target == instance {
			n++
		}
	}
	return n
}

// take assigns partition p to candidate i.
func (a *assignment) take(p, i int) {
	a.targets[p] = a.candidates[i].Instance
	a.quota[i]--
}
