package partition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrWorkerID means that a static worker's id carries no usable number.
var ErrWorkerID = errors.New("partition: not the id of a static worker")

// ParseIndex returns the index of a static worker from its id: N, or NAME-N as the pods of a StatefulSet are named. The
// index has to be below total; other ids are errors that wrap ErrWorkerID.
func ParseIndex(id string, total int) (int, error) {
	digits := id[strings.LastIndexByte(id, '-')+1:]
	if strings.HasPrefix(id, "-") {
		digits = id
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || strings.HasPrefix(digits, "+") {
		return 0, fmt.Errorf("%w: %q is neither N nor NAME-N (with %d workers in all, give each a number from 0 to %d; in Kubernetes use a StatefulSet, whose pods are numbered)",
			ErrWorkerID, id, total, total-1)
	}
	if n >= total {
		return 0, fmt.Errorf("%w: %d is not below the %d workers there are in all (the first worker is 0)", ErrWorkerID, n, total)
	}
	return n, nil
}

// Share returns the partitions of static worker index of total: those p with p mod total = index. It is empty for a worker
// beyond the number of partitions.
func Share(index, total, partitions int) []int {
	var share []int
	for p := index; p < partitions; p += total {
		share = append(share, p)
	}
	return share
}

// All returns the numbers of all partitions.
func All(partitions int) []int { return Share(0, 1, partitions) }

// Of returns the partition of a slot in a projection with total partitions, a power of two.
func Of(slot int16, total int) int { return int(slot) & (total - 1) }
