package main

import (
	_ "embed" // the test
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

//go:embed frames.go.txt
var framesTest string

// frames puts a test into the checkout by an overlay, so that nothing is written there, and runs it: a worker with one
// BatchProjection handles one event, and a tracer of pgx that is called in SendBatch counts its callers.
func frames(t *tree) string {
	if !*withFrames {
		return "not measured"
	}
	cell, err := measureFrames(t.root)
	if err != nil {
		t.err = err
		return "?"
	}
	return cell
}

func measureFrames(root string) (string, error) {
	dir, err := os.MkdirTemp("", "house-numbers-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	test := filepath.Join(dir, "frames_test.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "internal", "housenumbers", "frames_test.go"): test}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(test, []byte(framesTest), 0o600); err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "frames.test") // run by itself, because its folder is not there
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", list, "-o", binary, "./internal/housenumbers")
	build.Dir = root
	out, err := build.CombinedOutput()
	if err == nil {
		measure := exec.Command(binary, "-test.v")
		measure.Dir = root
		out, err = measure.CombinedOutput()
	}
	if err != nil {
		return "", fmt.Errorf("counting frames in %s: %w\n%s", root, err, out)
	}
	found := regexp.MustCompile(`frames (\d+) closures (\d+)`).FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("counting frames in %s: no count in\n%s", root, out)
	}
	if os.Getenv("HOUSE_STACK") != "" { // the functions themselves, the innermost first
		fmt.Fprintf(os.Stderr, "%s\n", out)
	}
	cell := fmt.Sprintf("%s, %s", found[1], found[2])
	if below := regexp.MustCompile(`below the loop (\d+) closures (\d+)`).FindSubmatch(out); below != nil {
		cell += fmt.Sprintf("; below `loop` %s, %s", below[1], below[2])
	}
	return cell, nil
}
