package deploy_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// stopBound is what a worker takes to stop at most: the batch in hand, and then giving up its partitions.
const stopBound = 15 * time.Second

// schemas make an empty object for every kind that may occur. Decoding is strict: a field that Kubernetes does not know, or of
// another type, is an error.
var schemas = map[string]func() any{
	"v1/ConfigMap":                           func() any { return &core.ConfigMap{} },
	"v1/Service":                             func() any { return &core.Service{} },
	"v1/ServiceAccount":                      func() any { return &core.ServiceAccount{} },
	"apps/v1/Deployment":                     func() any { return &apps.Deployment{} },
	"apps/v1/StatefulSet":                    func() any { return &apps.StatefulSet{} },
	"batch/v1/Job":                           func() any { return &batch.Job{} },
	"policy/v1/PodDisruptionBudget":          func() any { return &policy.PodDisruptionBudget{} },
	"keda.sh/v1alpha1/ScaledObject":          func() any { return &scaledObject{} },
	"keda.sh/v1alpha1/TriggerAuthentication": func() any { return &triggerAuthentication{} },
}

// build is what `kubectl kustomize FOLDER` prints, decoded, by kind.
func build(t *testing.T, folder string) map[string]any {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), path("deploy", "kubernetes", folder))
	require.NoError(t, err)
	objects := map[string]any{}
	for _, resource := range resources.Resources() {
		text, err := resource.MarshalJSON()
		require.NoError(t, err)
		id := resource.GetApiVersion() + "/" + resource.GetKind()
		require.Contains(t, schemas, id)
		require.NotContains(t, objects, resource.GetKind(), "one of each kind")
		object := schemas[id]()
		faults, err := json.UnmarshalStrict(text, object)
		require.NoError(t, err, "%s\n%s", id, text)
		require.Empty(t, faults, "%s\n%s", id, text)
		objects[resource.GetKind()] = object
	}
	return objects
}

// worker is the pod and its one container, which is checked for what holds of all pods.
func worker(t *testing.T, pod core.PodSpec) core.Container {
	t.Helper()
	require.Len(t, pod.Containers, 1)
	c := pod.Containers[0]
	require.NotNil(t, pod.SecurityContext)
	assert.True(t, *pod.SecurityContext.RunAsNonRoot)
	assert.Positive(t, *pod.SecurityContext.RunAsUser)
	assert.Equal(t, core.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.NotNil(t, c.SecurityContext)
	assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
	assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
	assert.Equal(t, []core.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
	assert.NotEmpty(t, c.Resources.Requests)
	assert.NotEmpty(t, c.Resources.Limits)
	for _, variable := range c.Env {
		assert.NotContains(t, strings.ToUpper(variable.Name), "PASSWORD", "passwords are files")
	}
	mounted := map[string]bool{}
	for _, volume := range pod.Volumes {
		mounted[volume.Name] = true
	}
	for _, mount := range c.VolumeMounts {
		assert.True(t, mounted[mount.Name], "the volume %s exists", mount.Name)
		assert.True(t, mount.ReadOnly)
	}
	return c
}

// serves checks the probes, and that a worker gets the time to stop in order.
func serves(t *testing.T, pod core.PodSpec, c core.Container) {
	t.Helper()
	require.NotNil(t, c.LivenessProbe)
	require.NotNil(t, c.ReadinessProbe)
	assert.Equal(t, "/healthz", c.LivenessProbe.HTTPGet.Path)
	assert.Equal(t, "/readyz", c.ReadinessProbe.HTTPGet.Path)
	require.Len(t, c.Ports, 1)
	for _, probe := range []*core.Probe{c.LivenessProbe, c.ReadinessProbe} {
		assert.Equal(t, c.Ports[0].Name, probe.HTTPGet.Port.StrVal)
	}
	require.NotNil(t, pod.TerminationGracePeriodSeconds)
	assert.Greater(t, time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second, stopBound)
}

// variable is the value of a variable, or the field of the pod that it comes from.
func variable(c core.Container, name string) string {
	for _, v := range c.Env {
		if v.Name != name {
			continue
		}
		if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
			return "field " + v.ValueFrom.FieldRef.FieldPath
		}
		return v.Value
	}
	return ""
}

// TestStaticOverlay: pods that are numbered, as many as TOTAL_WORKERS says, each with its name as WORKER_ID.
func TestStaticOverlay(t *testing.T) {
	t.Parallel()
	objects := build(t, "overlays/static")
	set := objects["StatefulSet"].(*apps.StatefulSet)
	c := worker(t, set.Spec.Template.Spec)
	serves(t, set.Spec.Template.Spec, c)
	assert.Equal(t, "field metadata.name", variable(c, "WORKER_ID"))
	assert.Equal(t, strconv.Itoa(int(*set.Spec.Replicas)), variable(c, "TOTAL_WORKERS"))
	assert.Nil(t, set.Spec.Ordinals, "the first pod is number 0, as the first worker is")
	assert.Equal(t, objects["Service"].(*core.Service).Name, set.Spec.ServiceName)
	selects(t, set.Spec.Selector.MatchLabels, set.Spec.Template.Labels)
	selects(t, objects["Service"].(*core.Service).Spec.Selector, set.Spec.Template.Labels)
	common(t, objects, set.Spec.Template, c)
}

// TestElasticOverlay: any number of pods, without TOTAL_WORKERS.
func TestElasticOverlay(t *testing.T) {
	t.Parallel()
	objects := build(t, "overlays/elastic")
	deployment := objects["Deployment"].(*apps.Deployment)
	c := worker(t, deployment.Spec.Template.Spec)
	serves(t, deployment.Spec.Template.Spec, c)
	assert.Equal(t, "field metadata.name", variable(c, "WORKER_ID"))
	assert.Empty(t, variable(c, "TOTAL_WORKERS"))
	selects(t, deployment.Spec.Selector.MatchLabels, deployment.Spec.Template.Labels)
	common(t, objects, deployment.Spec.Template, c)
}

// TestElasticScaledOverlay: the number of pods is left to whoever follows the lag.
func TestElasticScaledOverlay(t *testing.T) {
	t.Parallel()
	objects := build(t, "overlays/elastic-scaled")
	deployment := objects["Deployment"].(*apps.Deployment)
	assert.Nil(t, deployment.Spec.Replicas)
	scaled := objects["ScaledObject"].(*scaledObject)
	assert.Equal(t, deployment.Name, scaled.Spec.ScaleTargetRef.Name)
	assert.GreaterOrEqual(t, scaled.Spec.MinReplicaCount, 1)
	assert.LessOrEqual(t, scaled.Spec.MaxReplicaCount, 32, "as many as there are partitions")
	require.Len(t, scaled.Spec.Triggers, 1)
	trigger := scaled.Spec.Triggers[0]
	assert.Equal(t, objects["TriggerAuthentication"].(*triggerAuthentication).Metadata.Name, trigger.AuthenticationRef.Name)
	assert.ElementsMatch(t, []string{"host", "port", "userName", "dbName", "sslmode", "query", "targetQueryValue"},
		slices.Collect(maps.Keys(trigger.Metadata)))
}

// TestMigrateJob: the schema has a job of its own, which does not start over for ever.
func TestMigrateJob(t *testing.T) {
	t.Parallel()
	job := build(t, "migrate")["Job"].(*batch.Job)
	c := worker(t, job.Spec.Template.Spec)
	assert.Equal(t, []string{"migrate"}, c.Args)
	assert.Equal(t, core.RestartPolicyNever, job.Spec.Template.Spec.RestartPolicy)
	require.NotNil(t, job.Spec.BackoffLimit)
	address(t, variable(c, "DATABASE_URL"))
}

// common is what the overlays have from the base.
func common(t *testing.T, objects map[string]any, pod core.PodTemplateSpec, c core.Container) {
	t.Helper()
	budget := objects["PodDisruptionBudget"].(*policy.PodDisruptionBudget)
	selects(t, budget.Spec.Selector.MatchLabels, pod.Labels)
	assert.Equal(t, 1, budget.Spec.MaxUnavailable.IntValue())
	assert.Equal(t, objects["ServiceAccount"].(*core.ServiceAccount).Name, pod.Spec.ServiceAccountName)
	config := objects["ConfigMap"].(*core.ConfigMap)
	require.Len(t, c.EnvFrom, 1)
	assert.Equal(t, config.Name, c.EnvFrom[0].ConfigMapRef.Name)
	address(t, config.Data["DATABASE_URL"])
}

// selects tells that a selector finds pods with these labels.
func selects(t *testing.T, selector, labels map[string]string) {
	t.Helper()
	require.NotEmpty(t, selector)
	for key, value := range selector {
		assert.Equal(t, value, labels[key], key)
	}
}
