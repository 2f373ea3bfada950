package cli

import (
	"bytes"
	"io"
	"net/http"
	"regexp"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// advice is a command that a sentence tells people to type. The packages below know no program but rouse. What stands behind a quotation
// mark is what a session calls itself, such as "rouse worker web-1" beside a program of another name.
var advice = regexp.MustCompile(`(^|[^\w"])rouse([ \n])([a-z]+)\b`)

// speak returns a text in which commands that it tells people to type begin with what they type for this program. What is no verb of
// the program stays as it is.
func (e *env) speak(text string) string {
	if e.path == "" || e.path == "rouse" && e.program.workerVerb() == "worker" {
		return text
	}
	return advice.ReplaceAllStringFunc(text, func(found string) string {
		parts := advice.FindStringSubmatch(found)
		before, space, verb := parts[1], parts[2], parts[3]
		if verb == "worker" {
			return before + e.path + space + e.program.workerVerb()
		}
		if e.verbs[verb] {
			return before + e.path + space + verb
		}
		return found
	})
}

// speaking serves what handler serves in the words of the program.
func (e *env) speaking(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { handler.ServeHTTP(speaker{rw, e}, r) })
}

// speakingPage is speaking for a dashboard: its page, and not what it shows of the database, which may hold any words.
func (e *env) speakingPage(page http.Handler) http.Handler {
	spoken := e.speaking(page)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" || r.URL.Path == "/app.js" {
			spoken.ServeHTTP(rw, r)
			return
		}
		page.ServeHTTP(rw, r)
	})
}

// speaker writes each text in the words of the program.
type speaker struct {
	http.ResponseWriter
	e *env
}

func (s speaker) Write(p []byte) (int, error) {
	_, err := io.WriteString(s.ResponseWriter, s.e.speak(string(p)))
	return len(p), err
}

// speakingLines writes the lines of a log in the words of the program.
type speakingLines struct {
	io.Writer
	e *env
}

func (s speakingLines) Write(p []byte) (int, error) {
	if !bytes.Contains(p, []byte("rouse ")) {
		return s.Writer.Write(p)
	}
	_, err := io.WriteString(s.Writer, s.e.speak(string(p)))
	return len(p), err
}

// learn takes note of what people type for the verbs of the program, and has their help say it.
func (e *env) learn(root *cobra.Command) {
	e.path, e.verbs = root.CommandPath(), map[string]bool{"help": true, "completion": true}
	for _, cmd := range root.Commands() {
		e.verbs[cmd.Name()] = true
	}
	e.translate(root)
}

// translate has the help of a command and of those below it say what people type.
func (e *env) translate(cmd *cobra.Command) {
	cmd.Short, cmd.Long = e.speak(cmd.Short), e.speak(cmd.Long)
	cmd.LocalNonPersistentFlags().VisitAll(func(flag *pflag.Flag) { flag.Usage = e.speak(flag.Usage) })
	for _, below := range cmd.Commands() {
		e.translate(below)
	}
}
