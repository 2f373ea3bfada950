package cli

import (
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
