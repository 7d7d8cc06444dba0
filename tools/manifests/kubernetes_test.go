package manifests

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
)

const folder = "../../deploy/kubernetes"

// load reads every document as the API server does: strictly, so that an unknown or doubled field is an error, with its
// defaults, in its internal version.
func load(t *testing.T, text []byte) ([]runtime.Object, error) {
	t.Helper()
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDecoder()
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	var objects []runtime.Object
	for buffer := make([]byte, 1<<20); ; {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, _, err := decoder.Decode(buffer[:n], nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// validate is what the API server would refuse to create.
func validate(object runtime.Object) field.ErrorList {
	const namespace = "any"
	switch o := object.(type) {
	case *apps.StatefulSet:
		o.Namespace = namespace
		return appsvalidation.ValidateStatefulSet(o, podutil.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil))
	case *core.Service:
		o.Namespace = namespace
		if o.Spec.ClusterIP != "" {
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP} // as the server's storage does before it validates
		}
		return corevalidation.ValidateServiceCreate(o)
	case *policy.PodDisruptionBudget:
		o.Namespace = namespace
		return policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})
	}
	return field.ErrorList{field.InternalError(nil, errors.New("a kind that this test does not know"))}
}

// manifests are all objects of the folder, valid each by itself.
func manifests(t *testing.T) (set *apps.StatefulSet, services map[string]*core.Service, budget *policy.PodDisruptionBudget) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	services = map[string]*core.Service{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := load(t, text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, object := range objects {
			if errs := validate(object); len(errs) > 0 {
				t.Errorf("%s: %v", file, errs.ToAggregate())
			}
			switch o := object.(type) {
			case *apps.StatefulSet:
				set = o
			case *core.Service:
				services[o.Name] = o
			case *policy.PodDisruptionBudget:
				budget = o
			}
		}
	}
	if set == nil || budget == nil || len(services) != 2 {
		t.Fatal("a StatefulSet, a PodDisruptionBudget and two Services are wanted")
	}
	return set, services, budget
}

// TestTheyFitEachOther checks what the API server cannot: that each object means the others.
func TestTheyFitEachOther(t *testing.T) {
	set, services, budget := manifests(t)
	pod := labels.Set(set.Spec.Template.Labels)
	container := set.Spec.Template.Spec.Containers[0]
	if selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector); err != nil || !selector.Matches(pod) {
		t.Errorf("the budget is not for these pods: %v %v", selector, err)
	}
	for name, service := range services {
		if !labels.SelectorFromSet(service.Spec.Selector).Matches(pod) {
			t.Errorf("%s: not for these pods", name)
		}
		for _, port := range service.Spec.Ports {
			if !hasPort(container, port.TargetPort, port.Protocol) {
				t.Errorf("%s: port %s is no port of the container", name, port.Name)
			}
		}
	}
	headless := services[set.Spec.ServiceName]
	if headless == nil || headless.Spec.ClusterIP != core.ClusterIPNone || !headless.Spec.PublishNotReadyAddresses {
		t.Error("serviceName does not name a headless service that shows pods before they are ready")
	}
	if set.Spec.PodManagementPolicy != apps.ParallelPodManagement {
		t.Error("pods are started one by one, and the first would wait for the others for ever")
	}
}

func hasPort(container core.Container, port intstr.IntOrString, protocol core.Protocol) bool {
	return slices.ContainsFunc(container.Ports, func(p core.ContainerPort) bool { return p.Name == port.StrVal && p.Protocol == protocol })
}

// TestWhatWasPromised checks the container against the product: names, addresses, probes, time to stop, rights.
func TestWhatWasPromised(t *testing.T) {
	set, _, budget := manifests(t)
	spec := set.Spec.Template.Spec
	container := spec.Containers[0]
	env := map[string]string{}
	for _, e := range container.Env {
		env[e.Name] = e.Value
	}
	join := strings.Split(env["QUORATE_JOIN"], ",")
	if len(join) != int(set.Spec.Replicas) {
		t.Errorf("%d names to join, %d replicas", len(join), set.Spec.Replicas)
	}
	for i, name := range join {
		pod := set.Name + "-" + string(rune('0'+i))
		if want := strings.Replace(env["QUORATE_ADVERTISE"], "$(POD_NAME)", pod, 1) + ":7946"; name != want {
			t.Errorf("join %q, %s advertises %q", name, pod, want)
		}
	}
	for what, probe := range map[string]*core.Probe{"/readyz": container.ReadinessProbe, "/healthz": container.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != what || probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("no probe of %s", what)
		}
	}
	const drain = 9 + 2
	if pre := container.Lifecycle.PreStop.Sleep.Seconds; *spec.TerminationGracePeriodSeconds < pre+drain {
		t.Errorf("%d s to stop: %d of waiting and %d of draining do not fit", *spec.TerminationGracePeriodSeconds, pre, drain)
	}
	if s := container.SecurityContext; s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !*spec.SecurityContext.RunAsNonRoot {
		t.Error("rights that it does not need")
	}
	if spec.Affinity == nil || len(spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) == 0 {
		t.Error("two nodes may share a machine")
	}
	if container.Resources.Requests.CPU().IsZero() || container.Resources.Requests.Memory().IsZero() {
		t.Error("no resources are requested")
	}
	if budget.Spec.MaxUnavailable == nil || budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Error("more than one may be taken away at a time")
	}
}

// TestTheCheckRefuses holds the check itself to account.
func TestTheCheckRefuses(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "statefulset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"an unknown field":             {"serviceName:", "servicename:"},
		"a quantity that is none":      {"memory: 1Gi", "memory: much"},
		"a selector of other pods":     {"    matchLabels:\n      app.kubernetes.io/name: quorate\n  template", "    matchLabels:\n      app.kubernetes.io/name: other\n  template"},
		"a volume that does not exist": {"- name: data\n              mountPath", "- name: date\n              mountPath"},
		"a policy that does not exist": {"podManagementPolicy: Parallel", "podManagementPolicy: Together"},
		"a probe of two kinds":         {"          readinessProbe:\n", "          readinessProbe:\n            exec: {command: [x]}\n"},
		"requests above the limit":     {"memory: 1Gi", "memory: 3Gi"},
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Errorf("%s: nothing to change", what)
			continue
		}
		objects, err := load(t, []byte(changed))
		if err == nil && len(validate(objects[0])) == 0 {
			t.Errorf("%s is let through", what)
		}
	}
}
