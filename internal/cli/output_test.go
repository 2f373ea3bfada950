package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// full is standard output on a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, errors.New("write /dev/stdout: no space left on device")
}

// TestOutputThatCannotBeWrittenIsAFault, also of what the library of the command line prints by itself.
func TestOutputThatCannotBeWrittenIsAFault(t *testing.T) {
	for _, args := range []string{"--help", "", "help", "help tail", "tail --help", "projection", "projection reset --help", "version", "completion bash", "migrate --print"} {
		var said bytes.Buffer
		code := Main(ofTest(), strings.Fields(args), full{}, &said)
		assert.Equal(t, exitOther, code, args)
		assert.Equal(t, 1, strings.Count(said.String(), "\n"), said.String())
		assert.Contains(t, said.String(), "no space left on device", args)
		assert.NotContains(t, said.String(), "see rouse", args)
	}
}
