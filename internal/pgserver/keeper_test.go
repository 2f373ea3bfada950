//go:build unix

package pgserver

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// keep starts a keeper with a folder of its own.
func keep(t *testing.T) (k *keeper, folder string) {
	t.Helper()
	acc, err := serverAccount("")
	require.NoError(t, err)
	folder = filepath.Join(sharedTemp(t), "data")
	k, err = startKeeper(acc, folder, "QUIT")
	require.NoError(t, err)
	return k, folder
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// On a busy machine it takes long to remove the folder. No process of the server is there any more, and none is missed.
func TestSlowRemovalIsNoFault(t *testing.T) {
	programs := sharedTemp(t)
	began, goOn := filepath.Join(programs, "began"), filepath.Join(programs, "go-on")
	slow := fmt.Sprintf("#!/bin/sh\n: >%s\nuntil [ -e %s ]; do sleep 0.01; done\nexec /bin/rm \"$@\"\n", began, goOn)
	require.NoError(t, os.WriteFile(filepath.Join(programs, "rm"), []byte(slow), 0o755))
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	k, folder := keep(t)
	done := make(chan error, 1)
	const idle = time.Millisecond
	go func() { done <- k.dismiss(idle) }()
	require.Eventually(t, func() bool { return exists(began) }, time.Minute, time.Millisecond)
	for range 100 {
		select {
		case err := <-done:
			t.Fatalf("not waited for: %v", err)
		case <-time.After(idle):
		}
	}
	require.NoError(t, os.WriteFile(goOn, nil, 0o644))
	require.NoError(t, <-done)
	require.False(t, exists(folder))
}

// A process that is on its way out is waited for, as long as it takes.
func TestEndingProcessIsNoFault(t *testing.T) {
	t.Parallel()
	k, folder := keep(t)
	const idle = 100 * time.Millisecond
	slow := k.command(t.Context(), "/", "/bin/sh", "-c", "n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done")
	require.NoError(t, slow.Start())
	require.NoError(t, k.dismiss(idle))
	require.NoError(t, slow.Wait())
	require.False(t, exists(folder))
}

func TestProcessThatStaysIsFound(t *testing.T) {
	t.Parallel()
	if !exists("/proc/self/fdinfo") {
		t.Skip("this system does not show processes, so that it takes minutes to find one")
	}
	k, _ := keep(t)
	stays := k.command(t.Context(), "/", "sleep", "600")
	require.NoError(t, stays.Start())
	err := k.dismiss(50 * time.Millisecond)
	require.ErrorIs(t, err, errStays)
	require.ErrorContains(t, err, fmt.Sprintf("%d (sleep)", stays.Process.Pid))
	require.NoError(t, stays.Process.Kill())
	require.Error(t, stays.Wait())
}
