package migrations

import "regexp"

// functionText matches the functions of a migration: the name, and the text between the dollars.
var functionText = regexp.MustCompile(`(?s)create (?:or replace )?function (\w+)\([^)]*\).*?\$\$(.*?)\$\$`)

// FunctionBody returns the body that the latest schema gives to one of its functions, as pg_proc.prosrc has it; "" if
// it has no such function.
func FunctionBody(name string) string {
	body := ""
	for _, m := range all {
		for _, found := range functionText.FindAllStringSubmatch(m.sql, -1) {
			if found[1] == name {
				body = found[2]
			}
		}
	}
	return body
}
