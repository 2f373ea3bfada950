package deploy_test

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// load reads compose.yaml as `docker compose` does, with the schema of the Compose specification, and all profiles.
func load(t *testing.T) *types.Project {
	t.Helper()
	folder := path("deploy", "compose")
	options, err := cli.NewProjectOptions([]string{folder + "/compose.yaml"}, cli.WithWorkingDirectory(folder),
		cli.WithEnvFiles(folder+"/.env.example"), cli.WithDotEnv, cli.WithProfiles([]string{"*"}))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestCompose(t *testing.T) {
	t.Parallel()
	project := load(t)
	require.ElementsMatch(t, []string{"postgres", "migrate", "tables", "roles", "worker", "appender"}, project.ServiceNames())
	for name, service := range project.Services {
		for variable := range service.Environment {
			assert.NotRegexp(t, `PASSWORD$`, variable, "%s: passwords are files", name)
		}
		for before := range service.DependsOn {
			assert.Contains(t, project.Services, before)
		}
		if service.Image != "myapp:latest" {
			continue
		}
		assert.True(t, service.ReadOnly, name)
		assert.Equal(t, []string{"ALL"}, service.CapDrop, name)
		require.Len(t, service.Secrets, 1, name)
		assert.Equal(t, "/run/secrets/"+service.Secrets[0].Source, *service.Environment["PGPASSFILE"], name)
	}
	w := project.Services["worker"]
	assert.Equal(t, 2, *w.Deploy.Replicas)
	require.NotNil(t, w.StopGracePeriod)
	assert.Greater(t, time.Duration(*w.StopGracePeriod), stopBound)
	assert.Equal(t, "worker", project.Services["worker"].Command[0])
}

// TestComposeEnvExample names every variable that compose.yaml reads, and no other.
func TestComposeEnvExample(t *testing.T) {
	t.Parallel()
	read := func(name, pattern string) map[string]bool {
		text, err := os.ReadFile(path("deploy", "compose", name))
		require.NoError(t, err)
		names := map[string]bool{}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return names
	}
	assert.Equal(t, read("compose.yaml", `(?:^|[^$])\$\{([A-Z_]+)`), read(".env.example", `(?m)^([A-Z_]+)=`))
}
