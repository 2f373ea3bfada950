package catchup

// Slots is the number of slots. An event's slot never changes; partitions are sets of slots.
const Slots = 1024

// SlotSet is a set of slots, in the order of bits that PostgreSQL's get_bit uses. The zero value is empty.
type SlotSet [Slots / 8]byte

// SlotsOf returns the slots of some partitions of a projection with total partitions, a power of two up to Slots.
func SlotsOf(partitions []int, total int) SlotSet {
	var s SlotSet
	for _, p := range partitions {
		for slot := p; slot < Slots; slot += total {
			s.add(slot)
		}
	}
	return s
}

// add adds slot to the set.
func (s *SlotSet) add(slot int) { s[slot/8] |= 1 << (slot % 8) }

// Has reports whether slot is in the set.
func (s *SlotSet) Has(slot int16) bool { return s[slot/8]&(1<<(slot%8)) != 0 }

// Full reports whether all slots are in the set, so that a read needs no filter.
func (s *SlotSet) Full() bool {
	for _, b := range s {
		if b != 0xff {
			return false
		}
	}
	return true
}

// join adds all slots of o.
func (s *SlotSet) join(o *SlotSet) {
	for i, b := range o {
		s[i] |= b
	}
}

// within reports whether all slots of s are in o.
func (s *SlotSet) within(o *SlotSet) bool {
	for i, b := range s {
		if b&^o[i] != 0 {
			return false
		}
	}
	return true
}
