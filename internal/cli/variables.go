package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// envNames is the annotation of a flag that names its variables.
const envNames = "env"

// fromEnv lets a flag be set by environment variables: by the first that is there and not empty, if the flag itself is not
// given.
func fromEnv(flags *pflag.FlagSet, name string, variables ...string) {
	flag := flags.Lookup(name)
	flag.Usage += " (env " + strings.Join(variables, ", ") + ")"
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[envNames] = variables
}

// readEnv sets the flags that were not given from their variables. An error names the variable and, unless it may hold a
// password, its value.
func readEnv(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed || err != nil {
			return
		}
		for _, variable := range flag.Annotations[envNames] {
			value := os.Getenv(variable)
			if value == "" {
				continue
			}
			if setErr := flags.Set(flag.Name, value); setErr != nil {
				err = fmt.Errorf("the variable %s=%q is not usable for --%s, which takes a %s", variable, value, flag.Name, flag.Value.Type())
			}
			return
		}
	})
	return err
}
