package integration_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// code finds blocks and spans of code in a document, typed those of them that people may type.
var (
	code  = regexp.MustCompile("(?s)\n```.*?\n```|`[^`\n]+`")
	other = regexp.MustCompile("(?s)\n```(go|sql)\n.*?\n```")
	typed = func(text string) []string { return code.FindAllString(other.ReplaceAllString(text, ""), -1) }
)

// documents are the pages for people, by their path in the module.
func documents(t *testing.T, root string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			name, _ := filepath.Rel(root, path)
			texts[filepath.ToSlash(name)] = readText(t, path)
		}
		return nil
	}))
	require.Contains(t, texts, "README.md")
	return texts
}

// pages are what users read to operate Rouse; what they are told to type has to exist.
func pages(texts map[string]string) []string {
	var names []string
	for name := range texts {
		if !strings.HasPrefix(name, "docs/adr/") && name != "CHANGELOG.md" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestDocsNameTargetsThatExist(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	makefile := readText(t, root, "Makefile")
	texts := documents(t, root)
	seen := 0
	for _, page := range pages(texts) {
		for _, snippet := range typed(texts[page]) {
			for _, m := range regexp.MustCompile(`\bmake ([a-z][a-z-]*)`).FindAllStringSubmatch(snippet, -1) {
				seen++
				assert.Regexp(t, `(?m)^`+m[1]+`:`, makefile, "%s: make %s", page, m[1])
			}
		}
	}
	assert.GreaterOrEqual(t, seen, 3, "documents say what to type")
}

// TestDocsNameCommandsThatExist: every verb, and every flag that is shown with it.
func TestDocsNameCommandsThatExist(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	binary := checkout.Rouse(t)
	helpOf := func(words ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, append(words, "--help")...).CombinedOutput()
		require.NoError(t, err, "rouse %v: %s", words, out)
		return string(out)
	}
	command := regexp.MustCompile(`(?m)(?:^|[\s(` + "`" + `])(?:bin/|\./cmd/)?rouse((?: [a-z][a-z-]*)+)((?: [^\n#;|` + "`" + `]*)?)`)
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	helps := map[string]string{}
	texts := documents(t, root)
	seen := 0
	for _, page := range pages(texts) {
		for _, snippet := range typed(texts[page]) {
			for _, m := range command.FindAllStringSubmatch(snippet, -1) {
				words := strings.Fields(m[1])
				if _, known := helps[m[1]]; !known {
					helps[m[1]] = helpOf(words...)
				}
				help := helps[m[1]]
				seen++
				if words[0] != "help" {
					assert.True(t, typable(help, words), "%s: rouse%s\n%s", page, m[1], help)
				}
				for _, f := range flag.FindAllString(m[2], -1) {
					assert.Regexp(t, f+`\b`, help, "%s: rouse%s %s", page, m[1], f)
				}
			}
		}
	}
	assert.GreaterOrEqual(t, seen, 5, "documents say what to type")
}

// typable is whether words are the verb that a help is of, with no more names behind it than it takes.
func typable(help string, words []string) bool {
	for n := len(words); n > 0; n-- {
		usage := regexp.MustCompile(`(?m)^  rouse ` + strings.Join(words[:n], " ") + `( .*|)$`).FindStringSubmatch(help)
		if usage != nil {
			return len(words)-n <= len(regexp.MustCompile(` [A-Z]+\b`).FindAllString(usage[1], -1))
		}
	}
	return false
}

// TestDocsLinkToFilesThatExist: in all documents, pictures included, and to headings that are there.
func TestDocsLinkToFilesThatExist(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	links := regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	texts := documents(t, root)
	seen := 0
	for page, text := range texts {
		for _, m := range links.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			seen++
			path, heading, _ := strings.Cut(target, "#")
			name := page
			if path != "" {
				name = filepath.ToSlash(filepath.Join(filepath.Dir(page), path))
				_, err := os.Stat(filepath.Join(root, name))
				assert.NoError(t, err, "%s links to %s", page, target)
			}
			if heading != "" {
				assert.Contains(t, anchors(texts[name]), heading, "%s links to %s", page, target)
			}
		}
	}
	assert.GreaterOrEqual(t, seen, 4, "documents link to each other")
}

// anchors are the names of a document's headings, as GitHub makes them.
func anchors(text string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
