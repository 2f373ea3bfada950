// Package containers gives a test a PostgreSQL server in a container that it may
// break, in any version that there is an image of.
//
// Where there is no Docker, or no image, the tests that need one are left out and
// say so; they fail instead if ROUSE_TEST_IMAGE names images.
package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
)

// EnvImage names the environment variable with the images that Images returns,
// separated by commas, such as postgres:17-alpine. Naming them makes containers
// required: without Docker the tests that need one fail then.
const EnvImage = "ROUSE_TEST_IMAGE"

// officialImages are used where EnvImage names none: the oldest and the newest
// major version that Rouse is made for.
const officialImages = "postgres:15-alpine,postgres:18-alpine"

// labelExpires is the label of every container of this package: when it may be
// removed by whoever finds it, in seconds since 1970.
const labelExpires = "rouse.test.expires"

const (
	// pullTimeout bounds the download of an image on a slow line.
	pullTimeout = 10 * time.Minute
	// dockerTimeout bounds a call of the engine that starts or ends nothing.
	dockerTimeout = 30 * time.Second
)

// engine is the Docker of this machine, looked for at the first use.
var engine = sync.OnceValues(func() (*dockertest.Pool, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, err
	}
	pool.MaxWait = startTimeout
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return nil, err
	}
	return pool, removeExpired(ctx, pool)
})

// Images returns the images of PostgreSQL to test with: those of EnvImage, or
// else the official ones of the oldest and the newest major version. Without
// Docker the test is skipped, or fails if EnvImage names images.
func Images(t testing.TB) []string {
	t.Helper()
	requireEngine(t)
	given := os.Getenv(EnvImage)
	if given == "" {
		given = officialImages
	}
	var images []string
	for image := range strings.SplitSeq(given, ",") {
		if image = strings.TrimSpace(image); image != "" {
			images = append(images, image)
		}
	}
	if len(images) == 0 {
		t.Fatalf("containers: %s names no image; write it as postgres:15-alpine,postgres:18-alpine", EnvImage)
	}
	return images
}

// Each runs a test on a server in a container of every one of Images,
// all at once. The version of PostgreSQL is part of the test's name, and so of
// every line that it reports.
func Each(t *testing.T, settings map[string]string, test func(t *testing.T, server *Server)) {
	t.Helper()
	for _, image := range Images(t) {
		t.Run(image, func(t *testing.T) {
			t.Parallel()
			server := Start(t, image, settings)
			t.Run("PostgreSQL_"+server.Version(), func(t *testing.T) { test(t, server) })
		})
	}
}

// Need leaves a test out that needs containers but none of Images, where no
// Docker answers; it fails instead if EnvImage names images.
func Need(t testing.TB) {
	t.Helper()
	requireEngine(t)
}

func requireEngine(t testing.TB) *dockertest.Pool {
	t.Helper()
	pool, err := engine()
	if err != nil {
		leaveOut(t, fmt.Sprintf("no Docker answers (%v)", err))
	}
	return pool
}

// leaveOut ends a test that needs a container and cannot have one.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(EnvImage) != "" {
		t.Fatalf("containers: %s names images, but %s; start Docker and see that the images are there, or unset it", EnvImage, why)
	}
	t.Skipf("containers: left out, because it needs a container and %s", why)
}

// requireImage pulls the image if it is not here.
func requireImage(t testing.TB, pool *dockertest.Pool, image string) (repository, tag string) {
	t.Helper()
	repository, tag = splitImage(image)
	_, err := pool.Client.InspectImage(repository + ":" + tag)
	if err == nil {
		return repository, tag
	}
	if errors.Is(err, docker.ErrNoSuchImage) {
		ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
		defer cancel()
		err = pool.Client.PullImage(docker.PullImageOptions{Repository: repository, Tag: tag, Context: ctx}, docker.AuthConfiguration{})
	}
	if err != nil {
		leaveOut(t, fmt.Sprintf("the image %s cannot be had (%v); scripts/postgres-image builds one without a registry", image, err))
	}
	return repository, tag
}

// splitImage parts the name of an image from its tag, without mistaking the port
// of a registry for one.
func splitImage(image string) (repository, tag string) {
	colon := strings.LastIndex(image, ":")
	if colon < 0 || strings.Contains(image[colon:], "/") {
		return image, "latest"
	}
	return image[:colon], image[colon+1:]
}

// removeExpired removes the containers of tests that were killed. Those of tests
// that run have not expired.
func removeExpired(ctx context.Context, pool *dockertest.Pool) error {
	left, err := pool.Client.ListContainers(docker.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {labelExpires}}, Context: ctx,
	})
	if err != nil {
		return fmt.Errorf("containers: listing containers: %w", err)
	}
	var errs []error
	for _, container := range left {
		at, err := strconv.ParseInt(container.Labels[labelExpires], 10, 64)
		if err != nil || time.Now().Before(time.Unix(at, 0)) {
			continue
		}
		errs = append(errs, removeContainer(ctx, pool, container.ID))
	}
	return errors.Join(errs...)
}

// removeContainer removes a container with its data, running or not. One that is
// gone already is no error: several test binaries may clean up at once.
func removeContainer(ctx context.Context, pool *dockertest.Pool, id string) error {
	err := pool.Client.RemoveContainer(docker.RemoveContainerOptions{ID: id, Force: true, RemoveVolumes: true, Context: ctx})
	var gone *docker.NoSuchContainer
	var failed *docker.Error
	switch {
	case errors.As(err, &gone):
		return nil
	case errors.As(err, &failed) && failed.Status == 409: // another process removes it at this moment
		return nil
	case err != nil:
		return fmt.Errorf("containers: removing a container: %w", err)
	}
	return nil
}
