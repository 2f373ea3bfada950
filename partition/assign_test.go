package partition_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rouse-es/rouse/partition"
)

func shares(targets []string) map[string]int {
	n := map[string]int{}
	for _, t := range targets {
		n[t]++
	}
	return n
}

// The walk from one worker to four and back, with 32 partitions.
func TestAssignFromOneToFourAndBack(t *testing.T) {
	t.Parallel()
	owners := make([]string, 32)
	members := []partition.Candidate{}
	step := func(join, leave string, want map[string]int, moved int) {
		t.Helper()
		if join != "" {
			members = append(members, partition.Candidate{Instance: join})
		}
		members = slices.DeleteFunc(members, func(c partition.Candidate) bool { return c.Instance == leave })
		before := owners
		owners = partition.Assign(owners, members)
		require.Equal(t, want, shares(owners))
		changed := 0
		for p := range owners {
			if owners[p] != before[p] {
				changed++
			}
		}
		require.Equal(t, moved, changed)
	}
	step("a", "", map[string]int{"a": 32}, 32)
	step("b", "", map[string]int{"a": 16, "b": 16}, 16)
	step("c", "", map[string]int{"a": 11, "b": 11, "c": 10}, 10)
	step("d", "", map[string]int{"a": 8, "b": 8, "c": 8, "d": 8}, 8)
	step("", "b", map[string]int{"a": 11, "c": 11, "d": 10}, 8)
	step("", "a", map[string]int{"c": 16, "d": 16}, 11)
	step("", "d", map[string]int{"c": 32}, 16)
	step("", "c", map[string]int{"": 32}, 32)
}

func TestAssignWithLimits(t *testing.T) {
	t.Parallel()
	got := shares(partition.Assign(make([]string, 32), []partition.Candidate{{Instance: "a", Max: 4}, {Instance: "b"}, {Instance: "c", Max: 10}}))
	require.Equal(t, map[string]int{"a": 4, "b": 18, "c": 10}, got)
	got = shares(partition.Assign(make([]string, 32), []partition.Candidate{{Instance: "a", Max: 4}, {Instance: "b", Max: 4}}))
	require.Equal(t, map[string]int{"a": 4, "b": 4, "": 24}, got, "what nobody may take")
	targets := partition.Assign([]string{"a", "a", "b", "b"}, []partition.Candidate{{Instance: "a", Avoids: []int{1}}, {Instance: "b"}})
	require.Equal(t, []string{"a", "b"}, targets[:2], "what one avoids goes to the other")
	require.Equal(t, []string{"a", "", "a", "a"}, partition.Assign([]string{"a", "a", "a", "a"}, []partition.Candidate{{Instance: "a", Avoids: []int{1}}}))
}

// For any owners and any members: every partition has one target, shares are fair, limits hold, nothing moves that could
// have stayed, and doing it again changes nothing.
func TestAssignIsFairAndMovesLittle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		partitions := 1 << rapid.IntRange(0, 7).Draw(t, "log2 partitions")
		var members []partition.Candidate
		for i := range rapid.IntRange(1, 40).Draw(t, "members") {
			members = append(members, partition.Candidate{Instance: fmt.Sprint("m", i), Max: rapid.SampledFrom([]int{0, 0, 0, 1, 3, 50}).Draw(t, "max")})
		}
		owners := make([]string, partitions)
		for p := range owners {
			// m40 and beyond have died.
			owners[p] = rapid.SampledFrom([]string{"", "m0", "m1", "m2", "m7", "m39", "m40"}).Draw(t, "owner")
		}
		targets := partition.Assign(owners, members)

		limited := map[string]int{}
		for _, m := range members {
			limited[m.Instance] = partitions
			if m.Max > 0 {
				limited[m.Instance] = m.Max
			}
		}
		share := shares(targets)
		least, most, room := partitions, 0, 0
		for instance, limit := range limited {
			if share[instance] > limit {
				t.Fatalf("%s has %d, its limit is %d", instance, share[instance], limit)
			}
			if share[instance] < limit {
				least = min(least, share[instance])
				room += limit - share[instance]
			}
			most = max(most, share[instance])
		}
		if least < most-1 {
			t.Fatalf("shares from %d to %d: %v", least, most, share)
		}
		if share[""] > 0 && room > 0 {
			t.Fatalf("%d partitions for nobody, and room for %d", share[""], room)
		}
		had := shares(owners)
		moved, needed := 0, 0
		for p, owner := range owners {
			if _, living := limited[owner]; living && targets[p] != owner {
				moved++
			}
		}
		for instance := range limited {
			needed += max(0, had[instance]-share[instance])
		}
		if moved != needed {
			t.Fatalf("%d partitions leave the living, %d would do", moved, needed)
		}
		// Whoever keeps more than the least is one of those who had most.
		for a := range limited {
			for b := range limited {
				if share[a] == most && share[b] == most-1 && share[b] < limited[b] && limited[a] >= most && had[b] > had[a] && had[a] < most {
					t.Fatalf("%s with %d before got %d, and %s with %d got %d", a, had[a], share[a], b, had[b], share[b])
				}
			}
		}
		again := partition.Assign(targets, members)
		if !slices.Equal(targets, again) {
			t.Fatalf("not at rest: %v then %v", targets, again)
		}
	})
}

// What does not divide goes to whoever owns most at the moment. So a claim can change the plan of a member that has looked
// already, and everybody has to look again until it is settled.
func TestPlanSaysWhetherEverybodyHasTheirs(t *testing.T) {
	t.Parallel()
	s := partition.Standing{Owners: make([]string, 32)}
	for _, name := range []string{"a", "b", "c"} {
		s.Members = append(s.Members, partition.Peer{Candidate: partition.Candidate{Instance: name}})
	}
	for p := range 24 {
		s.Owners[p] = []string{"a", "b", "c"}[p/8]
	}
	claim := func(name string) int {
		n := 0
		for _, p := range s.Plan(name, nil).Mine {
			if s.Owners[p] == "" {
				s.Owners[p] = name
				n++
			}
		}
		return n
	}
	require.Equal(t, 2, claim("c")) // it saw that it was to have 10
	require.Equal(t, 3, claim("a"))
	require.Equal(t, 2, claim("b"), "and b 10, because it has least now")
	require.False(t, s.Plan("c", nil).Balanced)
	require.Equal(t, 1, claim("b"), "who joined before c")
	require.True(t, s.Plan("c", nil).Balanced)
	require.Zero(t, s.Plan("c", nil).Nobody)
}
