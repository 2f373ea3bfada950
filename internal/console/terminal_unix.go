//go:build unix

package console

import (
	"os"

	"golang.org/x/sys/unix"
)

// Size is the width and height of a terminal in characters, 0 if the file is none.
func Size(file *os.File) (width, height int) {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}
